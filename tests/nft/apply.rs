//! Many changes in one transaction, and the opener of each element.

use super::*;

fn open(address: &str, by: OpenedBy<'static>, held: bool) -> Change<'static> {
    Change {
        door: "ssh".into(),
        passage: ip(address).into(),
        to: AddressState::Open { time: HOUR, note: by.into(), held },
    }
}

fn shut(address: &str) -> Change<'static> {
    Change { door: "ssh".into(), passage: ip(address).into(), to: AddressState::Shut }
}

/// Makes the changes, and returns those that failed.
fn apply(sets: &mut Sets, changes: &[Change<'_>]) -> Vec<(usize, NftError)> {
    let mut failed = Vec::new();
    sets.apply(changes, &mut |index, error| failed.push((index, error)));
    failed.sort_by_key(|(index, _)| *index);
    failed
}

#[test]
fn nft_shows_who_opened_a_door_and_a_listing_tells() {
    in_namespace(|| {
        let mut sets = fw4();
        let by = [OpenedBy::User("alice", SecretsId(7)), OpenedBy::Hand, OpenedBy::Knock];
        let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::3"];
        let changes: Vec<_> =
            addresses.iter().zip(by).map(|(address, by)| open(address, by, false)).collect();
        assert_eq!(apply(&mut sets, &changes), []);
        let listed = list("ketuk_ssh_4");
        assert!(
            listed.contains("192.0.2.1 timeout 1h expires ") && listed.contains(" comment \"user alice\"")
        );
        assert!(listed.contains(" comment \"hand\""), "{listed}");
        assert!(!list("ketuk_ssh_6").contains("comment"));
        let mut found = Vec::new();
        for family in [V4, V6] {
            sets.list("ssh", family, &mut |element| match element.note.by {
                OpenedBy::User(name, _) => found.push((element.passage.address, name.to_owned())),
                OpenedBy::Hand => found.push((element.passage.address, "hand".to_owned())),
                OpenedBy::Knock => found.push((element.passage.address, String::new())),
            })
            .expect("list");
        }
        found.sort_unstable();
        let expected = [("192.0.2.1", "alice"), ("192.0.2.2", "hand"), ("2001:db8::3", "")];
        assert_eq!(found, expected.map(|(address, by)| (ip(address), by.to_owned())));
        // A comment that nft wrote is read, too.
        nft("add element inet fw4 ketuk_ssh_4 { 192.0.2.9 timeout 1h comment \"user bob\" }");
        let mut bob = false;
        sets.list("ssh", V4, &mut |element| bob |= element.note.by == OpenedBy::User("bob", SecretsId(0)))
            .expect("list");
        assert!(bob);
    });
}

/// Each change is made, also if the daemon was wrong about the existing elements. A change that fails stops no other change.
#[test]
fn wrong_beliefs_and_what_fails_keep_nothing_back() {
    in_namespace(|| {
        let mut sets = fw4();
        for there in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            sets.open("ssh", ip(there), Some(DEADLINE), false).expect("open");
        }
        let elsewhere = Change { door: "nowhere".into(), ..open("192.0.2.1", OpenedBy::Hand, false) };
        let changes = [
            open("192.0.2.1", OpenedBy::Hand, false), // is there
            open("192.0.2.2", OpenedBy::Hand, true),  // is there
            shut("192.0.2.3"),                        // is there
            shut("192.0.2.4"),                        // is not
            elsewhere,
            open("192.0.2.5", OpenedBy::Hand, true), // is not there
            Change { to: AddressState::Shut, ..elsewhere },
            open("2001:db8::6", OpenedBy::Hand, false),
        ];
        let failed = apply(&mut sets, &changes);
        assert_eq!(failed.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [4, 6]);
        for (_, error) in failed {
            let NftError::MissingSet { set, .. } = &error else { panic!("{error}") };
            assert_eq!(set.as_str(), "ketuk_nowhere_4");
        }
        assert_eq!(addresses(&mut sets), ["192.0.2.1", "192.0.2.2", "192.0.2.5"].map(ip));
        let listed = list("ketuk_ssh_4");
        assert_eq!(listed.matches("timeout 1h expires").count(), 3, "all are new: {listed}");
        assert!(list("ketuk_ssh_6").contains("2001:db8::6"));
    });
}

#[test]
fn hundreds_of_changes() {
    in_namespace(|| {
        let mut sets = fw4();
        let all: Vec<IpAddr> = (0..300_u32).map(|n| Ipv4Addr::from(0x0a00_0000 + n).into()).collect();
        let to =
            AddressState::Open { time: HOUR, note: OpenedBy::User("alice", SecretsId(7)).into(), held: true };
        let changes: Vec<_> =
            all.iter().map(|&address| Change { door: "ssh".into(), passage: address.into(), to }).collect();
        // The kernel refuses each of these changes at first.
        assert_eq!(apply(&mut sets, &changes), []);
        assert_eq!(addresses(&mut sets), all);
        let changes: Vec<_> =
            changes.iter().map(|change| Change { to: AddressState::Shut, ..*change }).collect();
        let begun = Instant::now();
        assert_eq!(apply(&mut sets, &changes), []);
        assert!(addresses(&mut sets).is_empty());
        // If the changes were made one after the other, this would take more than a second.
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
        nft("delete table inet fw4");
        let failed = apply(&mut sets, &changes);
        assert_eq!(failed.len(), 300);
        assert!(failed.iter().all(|(_, error)| matches!(error, NftError::MissingTable { .. })));
    });
}
