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

    /// Empties the socket. Returns whether there was any notice. The notices are not read: the caller looks at the devices
    /// and addresses, which is right even if notices were lost.
    pub fn drain(&mut self) -> bool {
        let mut news = false;
        // Messages about links have about 1,000 bytes. One that does not fit is a notice too.
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

/// The device of this name; `None` if there is none.
pub fn state_of(device: &str) -> Option<LinkState> {
    let index = if_nametoindex(device).ok()?;
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
    pub device: String,
    /// Whether it is the loopback device.
    pub is_loopback: bool,
    /// The address.
    pub address: IpAddr,
    /// How many bits the addresses of its network share.
    pub prefix: u8,
}

/// Every address of this host, with its device.
///
/// # Errors
/// As getifaddrs(3).
pub fn device_addresses() -> io::Result<impl Iterator<Item = DeviceAddress>> {
    Ok(getifaddrs()?.filter_map(|interface| {
        let address = ip(interface.address.as_ref()?)?;
        // A network mask begins with ones, and nothing follows its zeros.
        let ones = match interface.netmask.as_ref().and_then(ip) {
            Some(IpAddr::V4(mask)) => mask.to_bits().count_ones(),
            Some(IpAddr::V6(mask)) => mask.to_bits().count_ones(),
            None if address.is_ipv4() => 32,
            None => 128,
        };
        Some(DeviceAddress {
            is_loopback: interface.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            device: interface.interface_name,
            address,
            prefix: u8::try_from(ones).expect("at most 128"),
        })
    }))
}

/// Every address of this host.
///
/// # Errors
/// As getifaddrs(3).
pub fn own_addresses() -> io::Result<impl Iterator<Item = IpAddr>> {
    Ok(device_addresses()?.map(|known| known.address))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}
