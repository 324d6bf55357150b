//! Devices and addresses, and notices of their changes (rtnetlink(7)).

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::net::if_::if_nametoindex;

use super::netlink::message::{Attributes, Message};
use super::netlink::{Dialogue, Received, Socket};

/// The numbers of messages and their attributes: `linux/rtnetlink.h`, `linux/if_link.h`, `linux/if_addr.h`.
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const REQUEST_DUMP: u16 = 0x301;
const NAME: u16 = 3;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const LABEL: u16 = 3;

/// Length of `struct ifinfomsg`, and the places of the device's index and flags in it, in bytes.
const LINK_HEADER: usize = 16;
const LINK_INDEX: usize = 4;
const LINK_FLAGS: usize = 8;

/// Length of `struct ifaddrmsg`, and the places of the prefix length and the device's index in it, in bytes.
const ADDRESS_HEADER: usize = 8;
const ADDRESS_PREFIX: usize = 1;
const ADDRESS_INDEX: usize = 4;

/// A socket for notices about devices and addresses.
#[derive(Debug)]
pub struct Links {
    socket: Socket,
}

impl Links {
    /// Listens for links that come, go or change, and for IPv4 and IPv6 addresses.
    ///
    /// # Errors
    /// Those of [`Socket::open`].
    pub fn open() -> io::Result<Self> {
        let groups = [libc::RTNLGRP_LINK, libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV6_IFADDR];
        Ok(Self { socket: Socket::open(libc::NETLINK_ROUTE, &groups, &[])? })
    }

    /// Empties the socket, and returns whether there was a notice. The content of notices is ignored: the caller reads all
    /// devices and addresses again, which is right even if notices were lost.
    pub fn drain(&mut self) -> bool {
        let mut news = false;
        // A message about a link has about 1,000 bytes. A larger one counts as a notice too.
        let mut buffer = [0; 2048];
        while !matches!(self.socket.recv(&mut buffer), Ok(Received::Nothing) | Err(_)) {
            news = true;
        }
        news
    }
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The state of an existing device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Its index.
    pub index: u32,
    /// Whether it is up.
    pub is_up: bool,
}

/// The index of a device; `None` if there is none of this name.
pub fn index_of(device: &str) -> Option<u32> {
    if_nametoindex(device).ok()
}

/// The device of this name; `None` if there is none.
pub fn state_of(device: &str) -> Option<LinkState> {
    let index = index_of(device)?;
    let is_up = links().is_ok_and(|links| links.iter().any(|link| link.index == index && link.is_up));
    Some(LinkState { index, is_up })
}

/// A device, as the kernel lists it.
#[derive(Debug)]
struct Link {
    index: u32,
    name: String,
    is_up: bool,
    is_loopback: bool,
}

/// An address of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAddress {
    /// The device's name.
    pub(crate) device: String,
    /// Whether it is the loopback device.
    pub(crate) is_loopback: bool,
    /// The address.
    pub(crate) address: IpAddr,
    /// The prefix length of the address's network.
    pub(crate) prefix: u8,
    /// The address's label (`eth0:1`), which is the device's name if it has no other.
    label: String,
}

/// Every address of this host, with its device.
///
/// # Errors
/// The kernel does not list its devices and addresses.
pub fn device_addresses() -> io::Result<impl Iterator<Item = DeviceAddress>> {
    let links = links()?;
    let mut addresses = Vec::new();
    dump(GET_ADDRESS, &mut |message| addresses.extend(address_in(message, &links)))?;
    Ok(addresses.into_iter())
}

/// The addresses with this label.
///
/// # Errors
/// Those of [`device_addresses`].
pub fn labelled_addresses(label: &str) -> io::Result<impl Iterator<Item = IpAddr>> {
    let labelled = device_addresses()?.filter(move |known| known.label == label);
    Ok(labelled.map(|known| known.address))
}

/// Every address of this host.
///
/// # Errors
/// Those of [`device_addresses`].
pub fn own_addresses() -> io::Result<impl Iterator<Item = IpAddr>> {
    Ok(device_addresses()?.map(|known| known.address))
}

fn links() -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    dump(GET_LINK, &mut |message| links.extend(link_in(message)))?;
    Ok(links)
}

/// Calls `each` with every device, or every address.
fn dump(kind: u16, each: &mut dyn FnMut(&Message<'_>)) -> io::Result<()> {
    let mut kernel = Dialogue::open(libc::NETLINK_ROUTE)?;
    let (request, sequence) = kernel.begin(1);
    // `struct rtgenmsg`: any family.
    request.message(kind, REQUEST_DUMP, sequence, |r| r.raw(&[0; 4]));
    match kernel.ask(sequence, each)? {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The device in a message.
fn link_in(message: &Message<'_>) -> Option<Link> {
    let header: &[u8; LINK_HEADER] = message.body.first_chunk().filter(|_| message.kind == NEW_LINK)?;
    let flags = number(header, LINK_FLAGS);
    let has = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
    Some(Link {
        index: number(header, LINK_INDEX),
        name: text(Attributes::new(&message.body[LINK_HEADER..]).find(NAME)?),
        is_up: has(libc::IFF_UP),
        is_loopback: has(libc::IFF_LOOPBACK),
    })
}

/// The address in a message. An address of a device that has come meanwhile is left out: a notice about it follows.
fn address_in(message: &Message<'_>, links: &[Link]) -> Option<DeviceAddress> {
    let header: &[u8; ADDRESS_HEADER] = message.body.first_chunk().filter(|_| message.kind == NEW_ADDRESS)?;
    let link = links.iter().find(|link| link.index == number(header, ADDRESS_INDEX))?;
    let attributes = Attributes::new(&message.body[ADDRESS_HEADER..]);
    // Where both are there, the other one is the address at the other end.
    let bytes = attributes.clone().find(LOCAL).or_else(|| attributes.clone().find(ADDRESS))?;
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    Some(DeviceAddress {
        device: link.name.clone(),
        is_loopback: link.is_loopback,
        address: v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()?,
        prefix: header[ADDRESS_PREFIX],
        label: attributes.find(LABEL).map_or_else(|| link.name.clone(), text),
    })
}

/// A number in a header, which has room for it.
fn number(header: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(header[at..at + 4].try_into().expect("four bytes"))
}

/// A text that ends with a zero byte.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C library lists the same.
    #[test]
    fn the_addresses_are_those_of_the_c_library() {
        use nix::net::if_::InterfaceFlags;
        let listed = nix::ifaddrs::getifaddrs().expect("getifaddrs").filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            let address = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
            let is_loopback = interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
            Some((interface.interface_name, address, is_loopback))
        });
        let mut listed: Vec<_> = listed.collect();
        let ours = device_addresses().expect("addresses");
        let mut ours: Vec<_> = ours.map(|known| (known.label, known.address, known.is_loopback)).collect();
        listed.sort();
        ours.sort();
        assert_eq!(ours, listed);
        assert!(ours.contains(&("lo".to_owned(), IpAddr::from([127, 0, 0, 1]), true)), "{ours:?}");
        let lo = device_addresses().expect("addresses").find(|known| known.device == "lo").expect("lo");
        assert_eq!(lo.prefix, 8);
        let state = state_of("lo").expect("lo");
        assert!(state.is_up && Some(state.index) == index_of("lo"));
        assert!(state_of("none such").is_none());
    }

    #[test]
    fn the_near_end_counts() {
        use crate::linux::netlink::message::{Datagram, Messages};
        let links = [Link { index: 7, name: "ppp0".to_owned(), is_up: true, is_loopback: false }];
        let mut datagram = Datagram::new();
        datagram.message(NEW_ADDRESS, 0, 1, |r| {
            r.raw(&[2, 32, 0, 0]);
            r.raw(&7_u32.to_ne_bytes());
            r.attribute(ADDRESS, &[192, 0, 2, 1]);
            r.attribute(LOCAL, &[192, 0, 2, 2]);
            r.string(LABEL, "ppp0:1");
        });
        let message = Messages::new(datagram.bytes()).next().expect("a message");
        let known = address_in(&message, &links).expect("an address");
        assert_eq!((known.address, known.prefix), (IpAddr::from([192, 0, 2, 2]), 32));
        assert_eq!((known.device.as_str(), known.label.as_str()), ("ppp0", "ppp0:1"));
        assert!(address_in(&message, &[]).is_none(), "a device that was not listed");
    }
}
