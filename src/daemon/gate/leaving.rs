//! Addresses whose grant has ended but which the firewall has failed to remove.
//!
//! The kernel's timer removes such an element later, or never if the door has no end. So the gate tries again.

use std::rc::Rc;

use crate::config::Door;
use crate::core::grants::MAX_GRANTS;
use crate::core::passage::Passage;

/// The list holds at most [`MAX_GRANTS`] addresses. Beyond that only the kernel's timers remove elements.
#[derive(Debug, Default)]
pub(super) struct Leaving(Vec<(Rc<Door>, Passage)>);

impl Leaving {
    /// Adds a passage that must leave the firewall.
    pub(super) fn add(&mut self, door: &Rc<Door>, passage: Passage) {
        self.cancel(&door.name, passage);
        if self.0.len() < MAX_GRANTS {
            self.0.push((Rc::clone(door), passage));
        }
    }

    /// Drops a passage that has a grant again.
    pub(super) fn cancel(&mut self, door: &str, passage: Passage) {
        self.0.retain(|(left, who)| left.name != door || *who != passage);
    }

    /// Tries each address once more. `has_left` returns whether the firewall removed it.
    pub(super) fn retry(&mut self, mut has_left: impl FnMut(&Door, Passage) -> bool) {
        self.0.retain(|(door, passage)| !has_left(door, *passage));
    }

    /// Whether the list is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn who_does_not_leave_is_tried_again_unless_he_came_back() {
        let (ssh, nas) = (Rc::new(Door::named("ssh")), Rc::new(Door::named("nas")));
        let address = |n: u16| Passage::from(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]));
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
