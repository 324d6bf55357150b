//! Waits until the port behind a door answers, and says what is likely wrong if it does not.
//! Without a port to ask, waits a moment.

use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::arguments::DEFAULT_DELAY;
use super::failure::ClientFailure;
use super::socket;
use super::way::Way;
use crate::profile::ProfileKind;
use crate::protocol::totp;

/// The time limit for a door to open. It covers lost knocks, and the wait for the next window if the current one has
/// been used.
const PATIENCE: Duration = Duration::from_secs(40);
/// The time limit of one try to connect: two round trips by satellite.
const CONNECT: Duration = Duration::from_millis(1500);
/// The time after which the client knocks again, because packets get lost.
const KNOCK_AGAIN: Duration = Duration::from_secs(4);
/// The time between two tries to connect if the host refuses at once.
const RETRY: Duration = Duration::from_millis(100);
/// The time after which the client prints what it waits for.
const SAY: Duration = Duration::from_secs(2);

/// Waits as long as between two knocks, at most [`DEFAULT_DELAY`]. The next command of a script often connects, and the router
/// needs a moment to open the door.
pub fn a_moment(delay: Duration) {
    thread::sleep(delay.min(DEFAULT_DELAY));
}

/// Waits until a port answers at one of the addresses, and knocks again now and then. Returns the connection.
///
/// # Errors
/// The port did not answer. The message says what is likely wrong.
pub fn until_it_answers(way: &Way<'_>, port: u16) -> Result<TcpStream, ClientFailure> {
    let addresses: Vec<_> = way.targets.iter().map(|target| SocketAddr::new(target.ip(), port)).collect();
    let begun = Instant::now();
    let (mut knocked, mut knocks, mut said) = (begun, 1, false);
    loop {
        let tried = match first_of(&addresses, way) {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        if begun.elapsed() > PATIENCE {
            return Err(ClientFailure::failed(unanswered(way, port, knocks, &tried)));
        }
        if !said && begun.elapsed() > SAY {
            said = true;
            eprintln!("ketuk: knocked; waiting until {} answers{}", list(&addresses), next_window(way));
        }
        thread::sleep(RETRY);
        if knocked.elapsed() > KNOCK_AGAIN {
            (knocked, knocks) = (Instant::now(), knocks + 1);
            way.knock()?;
        }
    }
}

/// Connects to all addresses at once. Returns the first connection, or the last error.
fn first_of(addresses: &[SocketAddr], way: &Way<'_>) -> io::Result<TcpStream> {
    let (sender, answers) = mpsc::channel();
    for address in addresses {
        let (address, source, sender) = (*address, way.source().cloned(), sender.clone());
        // The receiver may be gone already, with another connection.
        thread::spawn(move || sender.send(socket::connect(address, source.as_ref(), CONNECT)));
    }
    drop(sender);
    let mut failed = io::Error::from(ErrorKind::TimedOut);
    for answer in answers {
        match answer {
            Ok(connection) => return Ok(connection),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" or ")
}

/// The addresses without their port.
fn bare(targets: &[SocketAddr]) -> String {
    targets.iter().map(|target| target.ip().to_string()).collect::<Vec<_>>().join(" and ")
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The note that the client may have to wait for the next window, because a changing sequence opens a door once in each
/// window. Empty for other knocks.
fn next_window(way: &Way<'_>) -> String {
    if way.profile.kind() != ProfileKind::ChangingSequence {
        return String::new();
    }
    let left = totp::WINDOW_S - unix_s() % totp::WINDOW_S;
    format!("; if this sequence has been used already, the next one is valid in {left} s")
}

/// The failure, with the likely reasons.
fn unanswered(way: &Way<'_>, port: u16, knocks: u32, tried: &io::Error) -> String {
    let (profile, host) = (way.profile, &way.profile.host);
    let seconds = unix_s() % 86_400;
    let clock = format!("{:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = if tried.kind() == ErrorKind::ConnectionRefused {
        format!("port {port} of {host} refuses: the door is shut, or no program listens behind it")
    } else {
        format!("port {port} of {host} does not answer: {tried}")
    };
    let _ = write!(text, "\nketuk knocked {knocks} times at {}. Likely reasons:", bare(&way.targets));
    let _ = match profile.kind() {
        ProfileKind::Packet | ProfileKind::Fwknop => write!(
            text,
            "\n- UDP port {} is blocked in this network. Port 443 passes in most hotels, 53 and 123 in some: the router's \
             owner can set option spa_port '443'.\n- this machine's clock is wrong. It says {clock}; two minutes are too many.",
            profile.port
        ),
        ProfileKind::ChangingSequence => write!(
            text,
            "\n- TCP ports {} are blocked in this network, as in hotels that let only 80 and 443 pass. A packet to UDP port 443 \
             may pass: the router's owner can give you a key.\n- this machine's clock is wrong. It says {clock}; half a minute is too much.",
            profile.range.range()
        ),
        ProfileKind::Sequence => write!(
            text,
            "\n- a port of the sequence is blocked in this network, or the sequence was changed.\n- somebody behind the \
             same address knocks at other ports of the router."
        ),
    };
    text.push_str("\n- the router is not at this address any more, or you may not open this door any more. The router's log says more.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::arguments::Options;
    use crate::client::command::OpenCommand;

    #[test]
    fn what_is_likely_depends_on_the_knock() {
        let key = "A".repeat(43);
        for (query, expected) in [
            (format!("key={key}&port=1234"), ["UDP port 1234", "spa_port '443'", "UTC; two minutes"]),
            (
                "totp=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP".to_owned(),
                ["TCP ports 20000-29999", "a key", "UTC; half a minute"],
            ),
            ("sequence=7000".to_owned(), ["a port of the sequence", "same address", "log"]),
        ] {
            let profile = format!("ketuk://h/ssh?{query}").parse().expect("a profile");
            let opening = OpenCommand {
                profile: "h".to_owned(),
                door: None,
                options: Options::default(),
                command: Vec::new(),
            };
            let targets = vec!["192.0.2.1:0".parse().expect("an address")];
            let crate::profile::Profile { doors, .. } = &profile;
            let way = Way { profile: &profile, door: &doors[0], targets, opening: &opening };
            let text = unanswered(&way, 22, 3, &io::Error::from(ErrorKind::TimedOut));
            assert!(
                text.starts_with(
                    "port 22 of h does not answer: timed out\nketuk knocked 3 times at 192.0.2.1"
                ),
                "{text}"
            );
            for part in expected {
                assert!(text.contains(part), "{part}: {text}");
            }
            let text = unanswered(&way, 22, 3, &io::Error::from(ErrorKind::ConnectionRefused));
            assert!(text.starts_with("port 22 of h refuses: "), "{text}");
        }
    }
}
