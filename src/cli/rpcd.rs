//! `ketukd rpcd`: the plugin through which OpenWrt's rpcd, and so the router's web page, speaks to ketuk.
//!
//! rpcd runs `/usr/libexec/rpcd/ketuk list` once and `... call METHOD` for each call, with the arguments as
//! one JSON object on standard input, and takes one JSON object from standard output (rpcd, `plugin.c`).
//! Before that, rpcd checks by its ACLs that the caller may call the method. The arguments can still be anything.

use std::io::{self, Read as _};

use super::arguments::Arguments;
use super::{CommandResult, Failure, control, invite, print};
use crate::config::{self, Config};
use crate::control::json::{Object, Writer, unescaped};
use crate::control::request::{ControlRequest, Verb};
use crate::profile::{self, Profile};

/// Longest arguments, in bytes. rpcd writes no more than a pipe holds.
const MAX_INPUT: u64 = 64 * 1024;

/// The methods and the types of their arguments, as `ubus -v list` shows them.
const METHODS: &str = r#"{"status":{},"open":{"door":"","address":"","seconds":0},"close":{"door":"","address":""},"check":{"config":""},"doctor":{},"keygen":{},"invite":{"user":"","host":"","page":""}}
"#;

/// The arguments of every method; rpcd adds the caller's session, which is ignored.
#[derive(Debug, Default)]
struct MethodArguments<'a> {
    door: Option<&'a str>,
    address: Option<&'a str>,
    seconds: Option<u32>,
    config: Option<&'a str>,
    user: Option<&'a str>,
    host: Option<&'a str>,
    page: Option<&'a str>,
}

impl<'a> MethodArguments<'a> {
    /// `None` if a member has a value of another kind.
    fn of(object: Object<'a>) -> Option<Self> {
        // A value of the wrong kind is a mistake, and does not count as none.
        let text = |name| object.get(name).map(|_| object.raw(name).ok_or(())).transpose();
        let seconds = object.get("seconds").map(str::parse).transpose();
        Some(Self {
            door: text("door").ok()?,
            address: text("address").ok()?,
            seconds: seconds.ok()?,
            config: text("config").ok()?,
            user: text("user").ok()?,
            host: text("host").ok()?,
            page: text("page").ok()?,
        })
    }
}

/// Answers rpcd.
pub(super) fn answer(arguments: &Arguments) -> CommandResult {
    let operands: Vec<_> = arguments.operands.iter().map(String::as_str).collect();
    let method = match operands[..] {
        ["list"] => return print(METHODS),
        ["call", method] => method,
        _ => return Err(Failure::Usage("'ketukd rpcd' takes list, or call METHOD".to_owned())),
    };
    let answered = match method {
        "status" => read(arguments, status),
        "open" => read(arguments, open),
        "close" => read(arguments, close),
        "check" => read(arguments, check),
        "doctor" => read(arguments, doctor),
        "keygen" => read(arguments, keygen),
        "invite" => read(arguments, invite),
        _ => return Err(Failure::Usage(format!("ketuk has no method '{method}'"))),
    };
    let json = answered.unwrap_or_else(|failure| {
        // The code is the exit code of the command line.
        let (code, message) = failure.parts();
        Writer::default().add("ok", false).add("code", code).add("error", &*message).end()
    });
    print(&format!("{json}\n"))
}

/// A method: answers a call with JSON.
type Method = fn(&Arguments, &MethodArguments<'_>) -> Result<String, Failure>;

/// Reads the arguments of a call and calls the method.
fn read(arguments: &Arguments, method: Method) -> Result<String, Failure> {
    let bad = |what: &str| Failure::Usage(format!("the arguments {what}"));
    let mut input = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_INPUT + 1)
        .read_to_end(&mut input)
        .map_err(|error| bad(&format!("cannot be read: {error}")))?;
    if input.len() as u64 > MAX_INPUT {
        return Err(bad("are longer than 64 KiB"));
    }
    // A call by hand, without arguments.
    if input.iter().all(u8::is_ascii_whitespace) {
        return method(arguments, &MethodArguments::default());
    }
    let object = str::from_utf8(&input).ok().and_then(Object::parse);
    let object = object.ok_or_else(|| bad("are not one flat JSON object"))?;
    method(arguments, &MethodArguments::of(object).ok_or_else(|| bad("have a value of the wrong kind"))?)
}

/// The status of the daemon, and of the service around it.
#[expect(clippy::unnecessary_wraps, reason = "it is a Method")]
fn status(arguments: &Arguments, _: &MethodArguments<'_>) -> Result<String, Failure> {
    let (config, config_error) = match config::load(arguments.config_path()) {
        Ok(config) => (Some(config), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let asked = control::ask_status(arguments);
    let error = asked.as_ref().err().map(ToString::to_string);
    let enabled = config.is_some_and(|config| config.globals.enabled);
    let mut to = Writer::default();
    to.add("running", error.is_none()).add_some("error", error.as_deref()).add("enabled", enabled);
    // A running daemon keeps its earlier configuration.
    let mut all = to.add_some("config_error", config_error.as_deref()).end();
    if let Ok(status) = asked {
        let mut text = String::new();
        status.json(&mut text).expect("a String takes everything");
        all.truncate(all.len() - 1);
        all.push(',');
        all.push_str(text.trim_end().trim_start_matches('{'));
    }
    Ok(all)
}

fn open(arguments: &Arguments, call: &MethodArguments<'_>) -> Result<String, Failure> {
    let address = control::address(&argument("address", call.address)?)?.to_string();
    let (door, address) = (&argument("door", call.door)?, Some(address.as_str()));
    ask(arguments, &ControlRequest { request: Verb::Open, door: Some(door), address, seconds: call.seconds })
}

fn close(arguments: &Arguments, call: &MethodArguments<'_>) -> Result<String, Failure> {
    // An empty address is a mistake. It does not mean everybody.
    let address = call.address.map(|address| argument("address", Some(address))).transpose()?;
    let address = address.map(|address| control::address(&address)).transpose()?.map(|it| it.to_string());
    let (door, address) = (&argument("door", call.door)?, address.as_deref());
    ask(arguments, &ControlRequest { request: Verb::Close, door: Some(door), address, seconds: None })
}

fn ask(arguments: &Arguments, request: &ControlRequest<'_>) -> Result<String, Failure> {
    control::talk(arguments, request, &mut |_, _| Ok(true))?;
    Ok(good().end())
}

/// Checks the configuration in the arguments, which is not saved yet, otherwise the file.
fn check(arguments: &Arguments, call: &MethodArguments<'_>) -> Result<String, Failure> {
    let Config { doors, .. } = match call.config {
        Some(text) => {
            let text =
                unescaped(text).ok_or_else(|| Failure::Usage("config is no JSON string".to_owned()))?;
            config::parse(&arguments.config_path().to_string_lossy(), text.as_bytes())
                .map_err(|error| Failure::Config(error.to_string()))?
        }
        None => arguments.config()?,
    };
    Ok(good().add("doors", doors.len()).end())
}

/// The doctor's findings.
#[cfg(feature = "doctor")]
fn doctor(arguments: &Arguments, _: &MethodArguments<'_>) -> Result<String, Failure> {
    super::doctor::examination(arguments)
}

#[cfg(not(feature = "doctor"))]
fn doctor(_: &Arguments, _: &MethodArguments<'_>) -> Result<String, Failure> {
    Err(super::left_out("doctor"))
}

/// Makes new secrets on the router, where they will be kept.
fn keygen(_: &Arguments, _: &MethodArguments<'_>) -> Result<String, Failure> {
    let [key, totp] = profile::new_secret_pair().map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(good().add("key", &**key).add("totp", &**totp).end())
}

/// A user's profile as a URI, and as a link to the knock page if one is named.
fn invite(arguments: &Arguments, call: &MethodArguments<'_>) -> Result<String, Failure> {
    let user = argument("user", call.user)?;
    let host = call.host.map(|host| argument("host", Some(host))).transpose()?;
    let page = call.page.map(|page| argument("page", Some(page))).transpose()?;
    let link = page
        .map(|page| invite::link(arguments, &arguments.config()?, &user, host.as_deref(), &page))
        .transpose()?;
    let uri = invite::line(&arguments.config()?, &user, host.as_deref())?;
    // The client would refuse a wrong host name.
    uri.parse::<Profile>().map_err(|error| Failure::Usage(error.to_string()))?;
    let link = link.as_ref().map(|link| link.text.as_str());
    Ok(good().add("uri", &**uri).add_some("link", link).end())
}

fn argument(name: &str, value: Option<&str>) -> Result<String, Failure> {
    let value = value.and_then(unescaped).filter(|value| !value.is_empty());
    value.ok_or_else(|| Failure::Usage(format!("the call has no {name}")))
}

/// The beginning of an answer to a call that succeeded.
fn good() -> Writer {
    let mut to = Writer::default();
    to.add("ok", true);
    to
}
