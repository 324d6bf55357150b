//! A door that opens the port that a user asks for: `any_port` and `allow_port`.

use super::options::{SectionOptions, Text};
use super::value::{blanks, boolean, port_range, protocol};
use crate::config::error::{Fault, quoted};
use crate::config::{MAX_ALLOW_PORT, PortRange};
use crate::core::ports::ProtocolPorts;
use crate::core::sequence::Protocol;

/// The options that such a door may have: limits on its users, its times, and how it shuts.
const ALLOWED: &[&str] = &[
    "enabled",
    "any_port",
    "allow_port",
    "src",
    "start_time",
    "stop_time",
    "weekdays",
    "open_time",
    "cmd_timeout",
    "max_time",
    "close",
    "kill",
    "on_stop",
    "trap_except",
];

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// UDP ports that open only if `allow_port` names them. This host hears the answers of DHCP servers there (RFC 2131,
/// RFC 8415), and backend `own` must not shut these out.
const DHCP_CLIENT: [u16; 2] = [68, 546];

/// The ports of which a user may open any; empty for a door whose ports are fixed.
pub(super) fn read(options: &SectionOptions<'_>) -> Result<Vec<ProtocolPorts>, Fault> {
    let is_any = options.one("any_port")?.map_or(Ok(false), boolean)?;
    let named = options.many("allow_port", blanks)?;
    if !is_any {
        return match named.first() {
            None => Ok(Vec::new()),
            Some(_) => Err(Fault::new(options.place("allow_port"), "allow_port without any_port '1'")
                .help("the ports of other doors are named with dest_port")),
        };
    }
    if let Some(other) = options.other_than(ALLOWED) {
        return Err(Fault::new(other.span, format!("{} in a door with any_port", quoted(&other.bytes)))
            .help("such a door opens the port that an fwknop client asks for, and nothing else"));
    }
    if named.is_empty() {
        return Ok(all());
    }
    let mut allowed = Vec::new();
    for value in named {
        let (ports, protocols) = ports(value)?;
        if allowed.len() + protocols.len() > MAX_ALLOW_PORT {
            return Err(value
                .fault(format!("more than {MAX_ALLOW_PORT} ports or ranges in allow_port"))
                .help("one without a protocol counts twice"));
        }
        allowed.extend(protocols.iter().map(|&protocol| ProtocolPorts { protocol, ports }));
    }
    Ok(allowed)
}

/// Reads `tcp/22` as fwknop writes it, `22:tcp` as in a sequence, or `22` for both protocols. Instead of the port there may
/// be a range.
fn ports(value: Text<'_>) -> Result<(PortRange, Vec<Protocol>), Fault> {
    if let Some((word, range)) = value.split_once('/') {
        return Ok((port_range(range)?, vec![protocol(word)?]));
    }
    match value.split_once(':') {
        Some((range, word)) => Ok((port_range(range)?, vec![protocol(word)?])),
        None => Ok((port_range(value)?, BOTH.to_vec())),
    }
}

/// Every port but [`DHCP_CLIENT`].
fn all() -> Vec<ProtocolPorts> {
    let [v4, v6] = DHCP_CLIENT;
    let range =
        |protocol, first, last| PortRange::new(first, last).map(|ports| ProtocolPorts { protocol, ports });
    [
        range(Protocol::Tcp, 1, u16::MAX),
        range(Protocol::Udp, 1, v4 - 1),
        range(Protocol::Udp, v4 + 1, v6 - 1),
        range(Protocol::Udp, v6 + 1, u16::MAX),
    ]
    .into_iter()
    .flatten()
    .collect()
}
