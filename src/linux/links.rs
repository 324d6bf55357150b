//! Devices and addresses, and notices of their changes (rtnetlink(7)).

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrStorage;

use super::netlink::{Received, Socket};

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
    let is_up = getifaddrs().is_ok_and(|mut interfaces| {
        interfaces.any(|interface| {
            interface.interface_name == device && interface.flags.contains(InterfaceFlags::IFF_UP)
        })
    });
    Some(LinkState { index, is_up })
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
}

/// Every address of this host, with its device.
///
/// # Errors
/// Those of getifaddrs(3).
pub fn device_addresses() -> io::Result<Vec<DeviceAddress>> {
    let addresses = getifaddrs()?.filter_map(|interface| {
        let address = ip(interface.address.as_ref()?)?;
        // A network mask begins with ones, and nothing follows its zeros.
        let ones = match interface.netmask.as_ref().and_then(ip) {
            Some(IpAddr::V4(mask)) => mask.to_bits().count_ones(),
            Some(IpAddr::V6(mask)) => mask.to_bits().count_ones(),
            None if address.is_ipv4() => 32,
            None => 128,
        };
        // getifaddrs gives the address's label, which may be the device's name, a colon and more.
        let mut device = interface.interface_name;
        device.truncate(device.find(':').unwrap_or(device.len()));
        Some(DeviceAddress {
            is_loopback: interface.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            device,
            address,
            prefix: u8::try_from(ones).expect("at most 128"),
        })
    });
    Ok(addresses.collect())
}

/// The addresses with this label (`eth0:1`), which is the device's name if an address has no other.
///
/// # Errors
/// Those of getifaddrs(3).
pub fn labelled_addresses(label: &str) -> io::Result<impl Iterator<Item = IpAddr>> {
    let interfaces = getifaddrs()?.filter(move |interface| interface.interface_name == label);
    Ok(interfaces.filter_map(|interface| ip(interface.address.as_ref()?)))
}

/// Every address of this host.
///
/// # Errors
/// Those of getifaddrs(3).
pub fn own_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(device_addresses()?.iter().map(|known| known.address).collect())
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}
