//! The upper device of a device: the bridge, bond or VRF whose port it is (rtnetlink(7)). A VRF counts as its own upper
//! device.

use std::ffi::CStr;
use std::fmt;
use std::io;

use super::links::index_of;
use super::netlink::dialogue::Dialogue;
use super::netlink::message::{Attributes, Datagram, Message};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const REQUEST: u16 = 0x001;
const ACK: u16 = 0x004;
/// The numbers of attributes are those of `linux/if_link.h`.
const IFNAME: u16 = 3;
const MASTER: u16 = 10;
const LINKINFO: u16 = 18;
const KIND: u16 = 1;
const SLAVE_KIND: u16 = 4;
/// Length of `struct ifinfomsg`, and the place of the index in it, in bytes.
const HEADER: usize = 16;
const INDEX: usize = 4;

/// The device that has another one as its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upper {
    /// Its name.
    pub(crate) name: String,
    /// Its kind.
    pub(crate) kind: UpperKind,
}

/// The kinds of devices with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpperKind {
    /// It takes all packets of its ports, and has the addresses.
    Bridge,
    /// Packets come by its ports, but it has the addresses.
    Bond,
    /// It separates routes. Its ports have the addresses, and sockets hear packets on the ports. But firewall rules see the
    /// VRF as the device that the packets came in by.
    Vrf,
    /// The device is a VRF itself. A socket on it hears nothing.
    VrfItself,
    /// Another kind. It has the addresses, as far as this program knows.
    Other,
}

/// A device that the configuration names, with its upper device.
pub type NamedDevice<'a> = (&'a str, Option<Upper>);

/// The upper device of the device with this index; `None` if it is no port. For a VRF it is the VRF itself.
///
/// # Errors
/// The kernel does not answer, or has no device with this index.
pub fn upper_of(index: u32) -> io::Result<Option<Upper>> {
    let mut kernel = Dialogue::open(libc::NETLINK_ROUTE)?;
    let mut port = None;
    let mut itself = None;
    ask(&mut kernel, index, &mut |message| {
        port = port_in(message);
        itself = name_in(message).filter(|_| is_vrf(message));
    })?;
    if let Some(name) = itself {
        return Ok(Some(Upper { name, kind: UpperKind::VrfItself }));
    }
    let Some((master, kind)) = port else { return Ok(None) };
    let mut name = None;
    ask(&mut kernel, master, &mut |message| name = name_in(message))?;
    Ok(name.map(|name| Upper { name, kind }))
}

/// The devices of a list, each with its upper device, as far as the kernel has them and answers.
pub fn with_uppers(devices: &[String]) -> Vec<NamedDevice<'_>> {
    let upper = |device: &str| upper_of(index_of(device)?).ok()?;
    devices.iter().map(|device| (&**device, upper(device))).collect()
}

fn ask(kernel: &mut Dialogue, index: u32, each: &mut dyn FnMut(&Message<'_>)) -> io::Result<()> {
    let (request, sequence) = kernel.begin(1);
    question(request, sequence, index);
    match kernel.ask(sequence, each)? {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// A request for one device. The acknowledgement ends the answer.
fn question(request: &mut Datagram, sequence: u32, index: u32) {
    request.message(RTM_GETLINK, REQUEST | ACK, sequence, |r| {
        let mut header = [0; HEADER];
        header[INDEX..INDEX + 4].copy_from_slice(&index.to_ne_bytes());
        r.raw(&header);
    });
}

/// The index and the kind of the device that has this one as a port.
fn port_in(message: &Message<'_>) -> Option<(u32, UpperKind)> {
    let attributes = attributes(message)?;
    let master = u32::from_ne_bytes(*attributes.clone().find(MASTER)?.first_chunk()?);
    let info = attributes.find(LINKINFO).map(Attributes::new);
    let kind = match info.and_then(|info| info.find(SLAVE_KIND)).and_then(text) {
        Some("bridge") => UpperKind::Bridge,
        Some("bond") => UpperKind::Bond,
        Some("vrf") => UpperKind::Vrf,
        _ => UpperKind::Other,
    };
    Some((master, kind))
}

fn is_vrf(message: &Message<'_>) -> bool {
    let info = attributes(message).and_then(|attributes| attributes.find(LINKINFO)).map(Attributes::new);
    info.and_then(|info| info.find(KIND)).and_then(text) == Some("vrf")
}

fn name_in(message: &Message<'_>) -> Option<String> {
    attributes(message)?.find(IFNAME).and_then(text).map(str::to_owned)
}

fn attributes<'a>(message: &Message<'a>) -> Option<Attributes<'a>> {
    let attributes = message.body.get(HEADER..).filter(|_| message.kind == RTM_NEWLINK)?;
    Some(Attributes::new(attributes))
}

/// A text that ends with a zero byte.
fn text(bytes: &[u8]) -> Option<&str> {
    CStr::from_bytes_until_nul(bytes).ok()?.to_str().ok()
}

impl Upper {
    /// Whether the configuration names what it must beside the port: a VRF as well as its port. `named` are all named devices,
    /// each with its upper device.
    pub fn is_right_beside(&self, named: &[NamedDevice<'_>]) -> bool {
        match self.kind {
            UpperKind::Vrf => named.iter().any(|(name, _)| *name == self.name),
            UpperKind::VrfItself => {
                let vrf = Self { kind: UpperKind::Vrf, ..self.clone() };
                named.iter().any(|(_, upper)| upper.as_ref() == Some(&vrf))
            }
            UpperKind::Bridge | UpperKind::Bond | UpperKind::Other => false,
        }
    }

    /// Whether the firewall's rules see this device instead of its port, or may do so.
    pub fn hides_port(&self) -> bool {
        self.kind != UpperKind::VrfItself
    }

    /// Whether a port of this device hears none of the packets for this host.
    pub fn takes_all(&self) -> bool {
        matches!(self.kind, UpperKind::Bridge | UpperKind::VrfItself)
    }

    /// Describes the port. The port's name comes before this text.
    pub fn what(&self) -> String {
        let name = &self.name;
        match self.kind {
            UpperKind::Bridge => format!("is a port of bridge {name}, which takes its packets"),
            UpperKind::Bond => format!("is a port of bond {name}, which has the addresses"),
            UpperKind::Vrf => format!("is a port of VRF {name}: rules of the firewall see {name} instead"),
            UpperKind::VrfItself => "is a VRF: knocks are heard on its ports only".to_owned(),
            UpperKind::Other => format!("is a port of {name}"),
        }
    }

    /// The device to listen on.
    pub fn advice(&self) -> String {
        let name = &self.name;
        match self.kind {
            UpperKind::Bridge | UpperKind::Bond => format!("listen on {name}"),
            UpperKind::Vrf => format!("name {name} too, or backend 'own' does NOT shut the port there"),
            UpperKind::VrfItself => "name its ports too".to_owned(),
            UpperKind::Other => format!("if {name} has the addresses, listen there"),
        }
    }
}

/// The description and the advice, to follow the name of the port.
impl fmt::Display for Upper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what(), self.advice())
    }
}

#[cfg(test)]
mod tests {
    use super::super::netlink::message::Messages;
    use super::*;

    /// The kernel's answer about a port of this kind.
    fn answer(own: &str, kind: &str) -> Vec<u8> {
        let mut datagram = Datagram::new();
        datagram.message(RTM_NEWLINK, 0, 1, |r| {
            r.raw(&[0; HEADER]);
            r.string(IFNAME, "eth0");
            r.attribute(MASTER, &7_u32.to_ne_bytes());
            r.nested(LINKINFO, |r| {
                r.string(KIND, own);
                r.string(SLAVE_KIND, kind);
            });
        });
        datagram.bytes().to_vec()
    }

    #[test]
    fn a_vrf_and_its_port_must_both_be_named() {
        for (other, kind, is_right) in [
            ("up0", UpperKind::Vrf, true),
            ("wan1", UpperKind::Vrf, false),
            ("up0", UpperKind::Bridge, false),
            ("up0", UpperKind::Bond, false),
            ("up0", UpperKind::Other, false),
        ] {
            let upper = Upper { name: "up0".to_owned(), kind };
            let named = [("wan0", Some(upper.clone())), (other, None)];
            assert_eq!(upper.is_right_beside(&named), is_right, "{kind:?} {other}");
            assert!(upper.hides_port());
        }
        let vrf = Upper { name: "up0".to_owned(), kind: UpperKind::VrfItself };
        for (kind, name, is_right) in
            [(UpperKind::Vrf, "up0", true), (UpperKind::Vrf, "up1", false), (UpperKind::Bridge, "up0", false)]
        {
            let named = [("up0", Some(vrf.clone())), ("wan0", Some(Upper { name: name.to_owned(), kind }))];
            assert_eq!(vrf.is_right_beside(&named), is_right, "{kind:?} {name}");
        }
        assert!(!vrf.hides_port());
    }

    #[test]
    fn the_kind_of_the_upper_device_is_read() {
        for (kind, expected) in [
            ("bridge", UpperKind::Bridge),
            ("bond", UpperKind::Bond),
            ("vrf", UpperKind::Vrf),
            ("team", UpperKind::Other),
        ] {
            let bytes = answer("veth", kind);
            let message = Messages::new(&bytes).next().expect("a message");
            assert!(!is_vrf(&message));
            assert_eq!(port_in(&message), Some((7, expected)));
            assert_eq!(name_in(&message).as_deref(), Some("eth0"));
        }
        let bytes = answer("vrf", "");
        assert!(is_vrf(&Messages::new(&bytes).next().expect("a message")));
    }
}
