//! The point about the hosts behind the router.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::finding::Finding;
use super::subject::Subject;
use crate::core::sequence::Protocol;

/// The time that a host has for its answer. A host on a LAN answers in milliseconds.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// The time for all hosts. The web page waits for it.
const ALL: Duration = Duration::from_secs(8);

/// Whether the hosts that doors forward to answer.
pub(super) fn hosts(subject: &Subject<'_>) -> Vec<Finding> {
    let config = match subject.config() {
        Ok(config) => config,
        Err(unknown) => return unknown,
    };
    let deadline = Instant::now() + ALL;
    let mut findings = Vec::new();
    for door in config.doors.iter().filter(|door| door.enabled) {
        let Some((opening, forward)) = door.opening.as_ref().and_then(|it| Some((it, it.forward.as_ref()?)))
        else {
            continue;
        };
        let Some(port) = opening.dest_port.first().map(|range| range.first()) else { continue };
        let has_tcp = opening.protocols.contains(&Protocol::Tcp);
        for host in &forward.dest_ip {
            findings.extend(answer(*host, port, deadline).finding(
                &door.name,
                SocketAddr::new(*host, port),
                has_tcp,
            ));
        }
    }
    findings
}

/// How a host answered a connection.
enum HostAnswer {
    /// It took the connection.
    Taken,
    /// It refused: it is there, and no program listens.
    Refused,
    /// No answer came.
    Silent,
    /// There was no time left to ask.
    NotAsked,
}

fn answer(host: IpAddr, port: u16, deadline: Instant) -> HostAnswer {
    let left = deadline.saturating_duration_since(Instant::now()).min(ANSWER_TIME);
    if left.is_zero() {
        return HostAnswer::NotAsked;
    }
    match TcpStream::connect_timeout(&SocketAddr::new(host, port), left) {
        Ok(_) => HostAnswer::Taken,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => HostAnswer::Refused,
        Err(_) => HostAnswer::Silent,
    }
}

impl HostAnswer {
    /// The finding about a door's host. Only a program behind TCP has to answer.
    fn finding(self, door: &str, host: SocketAddr, has_tcp: bool) -> Option<Finding> {
        match self {
            Self::Taken => None,
            Self::Refused if !has_tcp => None,
            Self::Refused => Some(Finding::wrong(
                format!(
                    "door '{door}': {} is there, and no program listens at its TCP port {}",
                    host.ip(),
                    host.port()
                ),
                "start the service there, or correct dest_port",
            )),
            Self::Silent if has_tcp => Some(Finding::wrong(
                format!("door '{door}': {host} does not answer"),
                "is the host on, with this address, and does its own firewall let the port through?",
            )),
            Self::Silent => Some(Finding::not_known(format!(
                "door '{door}': {} answers no TCP, and UDP alone does not tell whether it is there",
                host.ip()
            ))),
            Self::NotAsked => Some(Finding::not_known(format!(
                "door '{door}': {host} was not asked, because other hosts did not answer within {} s",
                ALL.as_secs()
            ))),
        }
    }
}
