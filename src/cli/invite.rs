//! `ketukd invite`.

use std::io::IsTerminal as _;
use std::net::IpAddr;

use zeroize::Zeroizing;

use super::arguments::{App, Arguments};
use super::enrol::enrol;
use super::{CommandResult, Failure, foreign, print};
use crate::config::{self, Config, Door, User};
use crate::core::sequence::Protocol;
use crate::linux::links::own_addresses;
use crate::linux::output;
use crate::profile::{self, Profile};

/// Prints a user's invitation, and on a terminal a QR code of it.
pub(super) fn invite(arguments: &Arguments) -> CommandResult {
    let name = &arguments.operands[0];
    let config = arguments.config()?;
    let host = arguments.host.as_deref();
    let text = match (&arguments.page, arguments.app) {
        (None, Some(App::Fwknop)) => {
            let user = user(&config, name)?;
            let keys = foreign::fwknop(user)?;
            let host = outer_host(host).unwrap_or_else(|_| "ROUTER".to_owned());
            eprint!("{}", foreign::fwknop_commands(&config, user, &host));
            keys
        }
        // A file needs no QR code.
        (None, Some(App::Knockd)) => return print(&foreign::knockd(&config, user(&config, name)?)?),
        (Some(page), None) => text_of(link(arguments, &config, name, host, page)?),
        (None, None) => match &config.globals.page {
            // The line comes first, for 'ketuk add -'.
            Some(page) => {
                let link = text_of(link(arguments, &config, name, host, page)?);
                print(&line(&arguments.config()?, name, host)?)?;
                print("\n")?;
                link
            }
            None => line(&config, name, host)?,
        },
        (Some(_), Some(_)) => {
            return Err(Failure::Usage(
                "--page is not for apps: leave it or the app's option out".to_owned(),
            ));
        }
    };
    print(&text)?;
    print("\n")?;
    if output::descriptor().is_terminal() { print(&qr(&text)) } else { Ok(()) }
}

/// A user's profile in one line.
pub(super) fn line(config: &Config, name: &str, host: Option<&str>) -> Result<Zeroizing<String>, Failure> {
    Ok(profile(config, user(config, name)?, outer_host(host)?)?.to_line())
}

/// A link to the knock page.
pub(super) struct InviteLink {
    pub(super) text: Zeroizing<String>,
    /// Whether the daemon knows the secret in the link. It does not if the secret is new and no daemon answered.
    pub(super) known: bool,
}

/// The link's text. If the daemon does not know its secret yet, a note on standard error says so.
fn text_of(link: InviteLink) -> Zeroizing<String> {
    if !link.known {
        eprintln!(
            "ketukd: the user has a new changing sequence: it works once the daemon has read the configuration"
        );
    }
    link.text
}

/// A link to the knock page with the user's changing sequence after the `#`, which no browser sends to a server. A
/// user without one gets a new one. The packet's key is left out, because a browser cannot send packets.
pub(super) fn link(
    arguments: &Arguments,
    config: &Config,
    name: &str,
    host: Option<&str>,
    page: &str,
) -> Result<InviteLink, Failure> {
    if !config::is_page(page) {
        let problem =
            format!("'{page}' is not the address of a page: it begins with https://, http:// or file:///");
        return Err(Failure::Usage(problem));
    }
    let host = outer_host(host)?;
    let (enrolled, known);
    let config = if user(config, name)?.totp.is_empty() {
        (enrolled, known) = enrol(arguments, config, name)?;
        &enrolled
    } else {
        known = true;
        config
    };
    let mut profile = profile(config, user(config, name)?, host)?;
    profile.key = None;
    let fragment = profile.to_line();
    let mut text = Zeroizing::new(String::with_capacity(page.len() + 1 + fragment.len()));
    text.extend([page, "#", &fragment]);
    Ok(InviteLink { text, known })
}

/// The user with this name.
fn user<'c>(config: &'c Config, name: &str) -> Result<&'c User, Failure> {
    config.users.iter().find(|user| user.name == name).ok_or_else(|| {
        let names: Vec<_> = config.users.iter().map(|user| user.name.as_str()).collect();
        Failure::Failed(if names.is_empty() {
            format!(
                "there is no user '{name}', and no other: write a section config user '{name}' with the options \
                 that 'ketukd keygen' prints, and with list door"
            )
        } else {
            format!("there is no user '{name}'; there are: {}", names.join(", "))
        })
    })
}

/// The profile of a user.
fn profile(config: &Config, user: &User, host: String) -> Result<Profile, Failure> {
    let doors: Vec<_> =
        user.doors.iter().filter_map(|name| config.doors.iter().find(|door| door.name == *name)).collect();
    if doors.is_empty() {
        return Err(Failure::Failed(format!("user '{}' may open no door: add list door", user.name)));
    }
    let doors =
        doors.into_iter().map(|door| profile::ProfileDoor { name: door.name.clone(), port: answers(door) });
    let mut profile = Profile::new(Some(user.name.clone()), host, doors.collect());
    // The last key is the newest.
    profile.key = user.keys.last().cloned();
    profile.totp = user.totp.last().cloned();
    profile.port = config.globals.auth.spa_port.get();
    profile.range = config.globals.auth.totp_ports;
    if profile.key.is_none() && profile.totp.is_none() {
        return Err(Failure::Failed(format!(
            "user '{}' has neither a key nor a totp secret: add an option that 'ketukd keygen' prints to this section",
            user.name
        )));
    }
    Ok(profile)
}

/// A TCP port that answers while the door is open.
fn answers(door: &Door) -> Option<u16> {
    let opening = door.opening.as_ref().filter(|opening| opening.protocols.contains(&Protocol::Tcp))?;
    let outer = opening.forward.as_ref().map_or(&opening.dest_port, |forward| &forward.src_dport);
    outer.first().map(|range| range.first())
}

/// The host of `--host`, otherwise a public address of this host.
fn outer_host(named: Option<&str>) -> Result<String, Failure> {
    if let Some(host) = named {
        return Ok(match host.parse() {
            Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
            _ => host.to_owned(),
        });
    }
    let addresses = own_addresses().unwrap_or_default();
    let public = |address: &&IpAddr| match address {
        IpAddr::V4(v4) => !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000,
    };
    match addresses.iter().filter(public).min() {
        Some(IpAddr::V6(v6)) => Ok(format!("[{v6}]")),
        Some(v4) => Ok(v4.to_string()),
        None => {
            Err(Failure::Usage("this host has no public address: name the router with --host".to_owned()))
        }
    }
}

/// A QR code, drawn with half blocks, dark on light in any colours of the terminal.
#[cfg(feature = "qr")]
fn qr(text: &str) -> String {
    use qrcodegen_no_heap::{QrCode, QrCodeEcc, Version};
    // This size holds some 500 characters.
    const LARGEST: Version = Version::new(20);
    let (mut spare, mut buffer) = (vec![0; LARGEST.buffer_len()], vec![0; LARGEST.buffer_len()]);
    let encoded =
        QrCode::encode_text(text, &mut spare, &mut buffer, QrCodeEcc::Low, Version::MIN, LARGEST, None, true);
    let Ok(code) = encoded else { return String::new() };
    let mut drawn = String::from("\n");
    // The border is two modules wide, which is enough for most readers.
    let border = -2..code.size() + 2;
    for y in border.clone().step_by(2) {
        drawn.push_str("\x1b[30;47m");
        drawn.extend(border.clone().map(|x| match (code.get_module(x, y), code.get_module(x, y + 1)) {
            (true, true) => '\u{2588}',
            (true, false) => '\u{2580}',
            (false, true) => '\u{2584}',
            (false, false) => ' ',
        }));
        drawn.push_str("\x1b[0m\n");
    }
    drawn
}

#[cfg(not(feature = "qr"))]
fn qr(_: &str) -> String {
    String::new()
}
