//! `ketukd rpcd`: the plugin through which OpenWrt's rpcd, and so the router's web page, speaks to ketuk.
//!
//! rpcd runs `/usr/libexec/rpcd/ketuk list` once and `... call METHOD` for each call, with the arguments as
//! one JSON object on standard input, and takes one JSON object from standard output (rpcd, `plugin.c`).
//! Before that, rpcd checks by its ACLs that the caller may call the method. The arguments can still be anything.

use std::io::{self, Read as _};

use serde::{Deserialize, Serialize};
use serde_json_core::str::EscapedStr;

use super::arguments::Arguments;
use super::{CommandResult, Failure, control, invite, print};
use crate::config::{self, Config};
use crate::control::message::{ControlRequest, Verb, unescaped};
use crate::profile::{self, Profile};

/// Longest arguments, in bytes. rpcd writes no more than a pipe holds.
const MAX_INPUT: u64 = 64 * 1024;

/// The methods and the types of their arguments, as `ubus -v list` shows them.
const METHODS: &str = r#"{"status":{},"open":{"door":"","address":"","seconds":0},"close":{"door":"","address":""},"check":{"config":""},"doctor":{},"keygen":{},"invite":{"user":"","host":"","page":""}}
"#;

/// The arguments of every method; rpcd adds the caller's session, which is ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MethodArguments<'a> {
    #[serde(borrow)]
    door: Option<EscapedStr<'a>>,
    #[serde(borrow)]
    address: Option<EscapedStr<'a>>,
    seconds: Option<u32>,
    #[serde(borrow)]
    config: Option<EscapedStr<'a>>,
    #[serde(borrow)]
    user: Option<EscapedStr<'a>>,
    #[serde(borrow)]
    host: Option<EscapedStr<'a>>,
    #[serde(borrow)]
    page: Option<EscapedStr<'a>>,
}

/// The first fields of every answer.
#[derive(Debug, Default, Serialize)]
struct RpcdAnswer<'a> {
    /// Whether the call succeeded.
    ok: bool,
    /// The command line's exit code, if the call failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
    /// The reason, if the call failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// `check`: the number of doors.
    #[serde(skip_serializing_if = "Option::is_none")]
    doors: Option<usize>,
    /// `keygen`: 32 random bytes, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// `keygen`: 20 random bytes, base32.
    #[serde(skip_serializing_if = "Option::is_none")]
    totp: Option<&'a str>,
    /// `invite`: the `ketuk://` URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    /// `invite` with a page: the link to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
}

/// The fields of `status` before those of the daemon.
#[derive(Debug, Serialize)]
struct Service<'a> {
    /// Whether the daemon answers.
    running: bool,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// Whether the service starts with the router.
    enabled: bool,
    /// The error in the configuration file. A running daemon keeps its earlier configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_error: Option<&'a str>,
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
        let (code, message) = failure.parts();
        json(&RpcdAnswer { code: Some(code), error: Some(&message), ..RpcdAnswer::default() }, message.len())
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
    if !is_flat(&input) {
        return Err(bad("are not one flat JSON object"));
    }
    let (call, _) = serde_json_core::from_slice(&input)
        .map_err(|error| bad(&format!("cannot be understood: {error}")))?;
    method(arguments, &call)
}

/// Whether the JSON has no nested values. The parser recurses, and a caller must not be able to exhaust its stack.
fn is_flat(json: &[u8]) -> bool {
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_u32);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            _ => {}
        }
    }
    depth == 1 && json.trim_ascii_start().starts_with(b"{")
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
    let service = Service {
        running: error.is_none(),
        error: error.as_deref(),
        enabled: config.as_ref().is_some_and(|config| config.globals.enabled),
        config_error: config_error.as_deref(),
    };
    let mut all = json(&service, [&error, &config_error].into_iter().flatten().map(String::len).sum());
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
    Ok(json(&RpcdAnswer { ok: true, ..RpcdAnswer::default() }, 0))
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
    Ok(json(&RpcdAnswer { ok: true, doors: Some(doors.len()), ..RpcdAnswer::default() }, 0))
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
    let len = key.len() + totp.len();
    Ok(json(&RpcdAnswer { ok: true, key: Some(&key), totp: Some(&totp), ..RpcdAnswer::default() }, len))
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
    let len = uri.len() + link.map_or(0, str::len);
    Ok(json(&RpcdAnswer { ok: true, uri: Some(&uri), link, ..RpcdAnswer::default() }, len))
}

fn argument(name: &str, value: Option<EscapedStr<'_>>) -> Result<String, Failure> {
    let value = value.and_then(unescaped).filter(|value| !value.is_empty());
    value.ok_or_else(|| Failure::Usage(format!("the call has no {name}")))
}

/// `value` as JSON. Its strings have `text` bytes together.
fn json(value: &impl Serialize, text: usize) -> String {
    // JSON takes up to six bytes for one byte of a string. The 256 bytes are for the names of the fields.
    let mut buffer = vec![0; 256 + 6 * text];
    let len = serde_json_core::to_slice(value, &mut buffer).expect("it has room");
    buffer.truncate(len);
    String::from_utf8(buffer).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_flat() {
        for flat in [r"{}", r#" {"a":"{[","b":1}"#, r#"{"a":"\"{"}"#] {
            assert!(is_flat(flat.as_bytes()), "{flat}");
        }
        for nested in [r#"{"a":{}}"#, r#"{"a":[]}"#, r#"{"a":"\\"}{}"#, "[1]", "1", "[[", ""] {
            assert!(!is_flat(nested.as_bytes()), "{nested}");
        }
    }
}
