//! The group that may use the control socket.

use std::fs::File;
use std::io::Read as _;

use nix::unistd::Gid;

/// The file of groups (group(5)).
const GROUPS: &str = "/etc/group";

/// The most bytes of [`GROUPS`] that are read.
const MAX_GROUPS: u64 = 256 * 1024;

/// The group of this name on this host; `None` if there is none.
///
/// The file is read directly. The C library's `getgrnam` uses name services, which a static program may lack (glibc), or
/// which add 8 kB (musl).
pub(super) fn find(name: &str) -> Option<Gid> {
    let mut text = Vec::new();
    File::open(GROUPS).ok()?.take(MAX_GROUPS).read_to_end(&mut text).ok()?;
    gid(&text, name).map(Gid::from_raw)
}

fn gid(text: &[u8], name: &str) -> Option<u32> {
    text.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let found = fields.next()? == name.as_bytes();
        let gid = fields.nth(1)?;
        if found { std::str::from_utf8(gid).ok()?.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let text = b"root:x:0:\nketuk2:x:7:\n# ketuk:x:8:\nketuk\nketuk:x:bad:\nketuk:x:990:alice,bob\n";
        assert_eq!(gid(text, "ketuk"), Some(990));
        assert_eq!(gid(text, "ketu"), None);
        assert_eq!(gid(b"\xff:x:1:\nketuk:!:12:", "ketuk"), Some(12));
    }

    #[test]
    fn this_host_has_root() {
        assert_eq!(find("root"), Some(Gid::from_raw(0)));
    }
}
