//! Who is out, and still in the firewall because it would not take the change.
//!
//! An element's own timer ends it some day, or never where the door has no end: so the change is tried again.

use std::net::IpAddr;
use std::rc::Rc;

use crate::config::Door;
use crate::core::grants::MAX_GRANTS;

/// At most [`MAX_GRANTS`]; of more, the kernel's timers alone take care.
#[derive(Debug, Default)]
pub(super) struct Leaving(Vec<(Rc<Door>, IpAddr)>);

impl Leaving {
    /// `address` is to leave.
    pub(super) fn add(&mut self, door: &Rc<Door>, address: IpAddr) {
        self.cancel(&door.name, address);
        if self.0.len() < MAX_GRANTS {
            self.0.push((Rc::clone(door), address));
        }
    }

    /// `address` may stay after all.
    pub(super) fn cancel(&mut self, door: &str, address: IpAddr) {
        self.0.retain(|(left, who)| left.name != door || *who != address);
    }

    /// Tries each once more; `has_left` says whether it worked.
    pub(super) fn retry(&mut self, mut has_left: impl FnMut(&Door, IpAddr) -> bool) {
        self.0.retain(|(door, address)| !has_left(door, *address));
    }

    /// Whether nobody is left.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_leave_is_tried_again_unless_he_came_back() {
        let (ssh, nas) = (Rc::new(Door::named("ssh")), Rc::new(Door::named("nas")));
        let address = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        let mut leaving = Leaving::default();
        for (door, n) in [(&ssh, 1), (&ssh, 1), (&ssh, 2), (&nas, 1)] {
            leaving.add(door, address(n));
        }
        leaving.cancel("ssh", address(2));
        let mut tried = Vec::new();
        for works in [false, true, true] {
            leaving.retry(|door, address| {
                tried.push((door.name.clone(), address));
                works
            });
        }
        let both = [("ssh".to_owned(), address(1)), ("nas".to_owned(), address(1))];
        assert_eq!(tried, [both.clone(), both].concat());
        assert!(leaving.is_empty());
        (0..).take(MAX_GRANTS + 1).for_each(|n| leaving.add(&ssh, address(n)));
        assert_eq!(leaving.0.len(), MAX_GRANTS);
    }
}
