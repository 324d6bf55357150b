//! The user of a Unix socket, from the kernel (`sock_diag(7)`).

use std::io;

use super::netlink::Dialogue;
use super::netlink::message::{Attributes, u32_at};

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST` and `NLM_F_DUMP`
const LIST: u16 = 0x301;
/// `UDIAG_SHOW_NAME` and, since Linux 5.3, `UDIAG_SHOW_UID`.
const SHOW: u32 = 0x1 | 0x40;
/// `UNIX_DIAG_NAME`
const NAME: u16 = 0;
/// `UNIX_DIAG_UID`
const USER: u16 = 7;
/// Bytes of `struct unix_diag_msg`, which the attributes follow.
const FIXED: usize = 16;

/// The user who has made the socket with this abstract name; `None` if there is none, or if the kernel does not tell.
///
/// # Errors
/// The kernel has no such listing (`CONFIG_UNIX_DIAG`), or does not answer.
pub fn user_of(name: &[u8]) -> io::Result<Option<u32>> {
    let mut dialogue = Dialogue::open(libc::NETLINK_SOCK_DIAG)?;
    let (request, sequence) = dialogue.begin(1);
    request.message(BY_FAMILY, LIST, sequence, |body| {
        // `struct unix_diag_req`: the family, the protocol and padding, the states, the inode, what to show, a cookie.
        body.raw(&[u8::try_from(libc::AF_UNIX).expect("a small number"), 0, 0, 0]);
        body.raw(&u32::MAX.to_ne_bytes());
        body.raw(&0_u32.to_ne_bytes());
        body.raw(&SHOW.to_ne_bytes());
        body.raw(&[0; 8]);
    });
    let mut user = None;
    let outcome = dialogue.ask(sequence, &mut |message| {
        let attribute = |kind| Attributes::new(message.body.get(FIXED..).unwrap_or_default()).find(kind);
        // The kernel puts a zero byte before an abstract name.
        if attribute(NAME).and_then(|found| found.strip_prefix(&[0])) == Some(name) {
            user = attribute(USER).filter(|found| found.len() == 4).map(|found| u32_at(found, 0));
        }
    })?;
    if outcome == 0 { Ok(user) } else { Err(io::Error::from_raw_os_error(outcome)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    #[test]
    fn the_user_of_a_name_is_found_while_a_socket_has_it() {
        let name = format!("ketuk test {}", std::process::id());
        assert_eq!(user_of(name.as_bytes()).expect("a listing"), None);
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let held = UnixDatagram::bind_addr(&address).expect("a free name");
        let me = nix::unistd::geteuid().as_raw();
        assert_eq!(user_of(name.as_bytes()).expect("a listing"), Some(me));
        assert_eq!(user_of(&name.as_bytes()[1..]).expect("a listing"), None, "the whole name counts");
        drop(held);
        assert_eq!(user_of(name.as_bytes()).expect("a listing"), None);
    }
}
