//! Elements of sets: adding, timeouts, renewing, listing and deleting.

use super::*;

#[test]
fn opening_puts_one_element_with_its_time() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), Some(Duration::from_secs(100)), false).expect("open");
        let listed = list("ketuk_ssh_4");
        assert!(listed.contains("203.0.113.9 timeout 1m40s expires 1m"), "{listed}");
        assert_eq!(addresses(&mut sets), [ip("203.0.113.9")]);
        let left = left(&mut sets, "203.0.113.9").expect("a timer");
        assert!(left > Duration::from_secs(95) && left <= Duration::from_secs(100), "{left:?}");
    });
}

#[test]
fn ipv6_goes_to_the_other_set() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("2001:db8::9"), HOUR, false).expect("open");
        assert!(list("ketuk_ssh_6").contains("2001:db8::9 timeout 1h expires"));
        assert!(!list("ketuk_ssh_4").contains("elements"));
        sets.shut("ssh", ip("2001:db8::9")).expect("shut");
        assert!(!list("ketuk_ssh_6").contains("elements"));
    });
}

#[test]
fn renewal_starts_the_timer_afresh() {
    in_namespace(|| {
        let mut sets = fw4();
        let ten = Duration::from_secs(10);
        sets.open("ssh", ip("203.0.113.9"), Some(ten), false).expect("open");
        wait("the timer has run for a while", || {
            left(&mut sets, "203.0.113.9") < Some(Duration::from_millis(9500))
        });
        sets.open("ssh", ip("203.0.113.9"), Some(ten), true).expect("the same time");
        let renewed = left(&mut sets, "203.0.113.9");
        assert!(renewed > Some(Duration::from_millis(9500)) && renewed <= Some(ten), "{renewed:?}");

        sets.open("ssh", ip("203.0.113.9"), Some(10 * ten), true).expect("a longer time");
        assert!(list("ketuk_ssh_4").contains("timeout 1m40s expires 1m"));
        sets.open("ssh", ip("203.0.113.9"), Some(ten), true).expect("a shorter time");
        assert!(list("ketuk_ssh_4").contains("timeout 10s expires"));
        assert!(left(&mut sets, "203.0.113.9") <= Some(ten));
        assert_eq!(addresses(&mut sets).len(), 1);
    });
}

#[test]
fn a_plain_add_would_have_kept_the_timer() {
    // This is the reason for delete and add: a plain add keeps the old timer.
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), Some(Duration::from_secs(10)), false).expect("open");
        wait("the timer has run for a while", || {
            left(&mut sets, "203.0.113.9") < Some(Duration::from_millis(9500))
        });
        nft("add element inet fw4 ketuk_ssh_4 { 203.0.113.9 timeout 10s }");
        assert!(left(&mut sets, "203.0.113.9") < Some(Duration::from_millis(9500)));
    });
}

#[test]
fn held_but_gone_and_not_held_but_there() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), HOUR, true).expect("held, but gone");
        assert!(list("ketuk_ssh_4").contains("203.0.113.9 timeout 1h expires"));
        sets.open("ssh", ip("203.0.113.9"), Some(Duration::from_secs(7200)), false)
            .expect("not held, but there");
        assert!(list("ketuk_ssh_4").contains("203.0.113.9 timeout 2h expires"));
        assert_eq!(addresses(&mut sets).len(), 1);
    });
}

#[test]
fn an_element_that_expired_is_no_obstacle() {
    in_namespace(|| {
        let mut sets = fw4();
        let short = Some(Duration::from_millis(50));
        sets.open("ssh", ip("203.0.113.9"), short, false).expect("open");
        wait("it has expired", || addresses(&mut sets).is_empty());
        sets.shut("ssh", ip("203.0.113.9")).expect("shut what is gone");
        sets.open("ssh", ip("203.0.113.9"), short, true).expect("held, but expired");
        wait("it has expired again", || addresses(&mut sets).is_empty());
        sets.open("ssh", ip("203.0.113.9"), HOUR, false).expect("open");
        assert_eq!(addresses(&mut sets), [ip("203.0.113.9")]);
    });
}

#[test]
fn the_shortest_time_is_a_time() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), Some(Duration::ZERO), false).expect("open");
        wait("it has expired", || addresses(&mut sets).is_empty());
    });
}

#[test]
fn no_time_is_until_it_is_shut() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), None, false).expect("open");
        assert!(list("ketuk_ssh_4").contains("elements = { 203.0.113.9 }"));
        assert_eq!(left(&mut sets, "203.0.113.9"), None);
        sets.open("ssh", ip("203.0.113.9"), HOUR, true).expect("from now on with a time");
        assert!(list("ketuk_ssh_4").contains("203.0.113.9 timeout 1h"));
        sets.open("ssh", ip("203.0.113.9"), None, true).expect("and back");
        assert!(list("ketuk_ssh_4").contains("elements = { 203.0.113.9 }"));
        sets.shut("ssh", ip("203.0.113.9")).expect("shut");
        assert!(addresses(&mut sets).is_empty());
        sets.shut("ssh", ip("203.0.113.9")).expect("shut again");
    });
}

#[test]
fn the_longest_time_is_taken() {
    in_namespace(|| {
        let mut sets = fw4();
        sets.open("ssh", ip("203.0.113.9"), Some(Duration::MAX), false).expect("open");
        assert!(left(&mut sets, "203.0.113.9") > Some(Duration::from_secs(99 * 365 * 24 * 3600)));
    });
}

#[test]
fn what_is_missing_is_named() {
    in_namespace(|| {
        let mut sets = Sets::connect(table(TableFamily::Inet, "fw4")).expect("connect");
        let no_table = NftError::MissingTable { table: "inet fw4".into() };
        assert_eq!(sets.table_exists(), Ok(false));
        assert_eq!(missing(&mut sets, "ssh"), ["ketuk_ssh_4", "ketuk_ssh_6"]);
        for held in [false, true] {
            assert_eq!(sets.open("ssh", ip("192.0.2.1"), HOUR, held), Err(no_table.clone()));
        }
        assert_eq!(sets.shut("ssh", ip("192.0.2.1")), Err(no_table.clone()));
        assert_eq!(sets.list("ssh", V4, &mut |_| ()), Err(no_table.clone()));

        nft("add table inet fw4; add set inet fw4 ketuk_ssh_6 { type ipv6_addr; flags timeout; }");
        assert_eq!(sets.table_exists(), Ok(true));
        assert_eq!(missing(&mut sets, "ssh"), ["ketuk_ssh_4"]);
        let no_set = |error: Result<(), NftError>| {
            let error = error.expect_err("the set is missing");
            assert!(matches!(error, NftError::MissingSet { .. }), "{error:?}");
            assert!(error.to_string().starts_with("table inet fw4 has no set ketuk_ssh_4: "), "{error}");
        };
        for held in [false, true] {
            no_set(sets.open("ssh", ip("192.0.2.1"), HOUR, held));
        }
        no_set(sets.shut("ssh", ip("192.0.2.1")));
        no_set(sets.list("ssh", V4, &mut |_| ()));

        nft("add set inet fw4 ketuk_ssh_4 { type ipv4_addr; flags timeout; }");
        assert_eq!(missing(&mut sets, "ssh"), [""; 0]);
        sets.open("ssh", ip("192.0.2.1"), HOUR, true).expect("now it is there");
        assert_eq!(sets.open("x".repeat(33).as_str(), ip("192.0.2.1"), HOUR, true), Err(NftError::DoorName));
    });
}

#[test]
fn a_set_of_the_wrong_kind_is_explained() {
    in_namespace(|| {
        nft("add table inet fw4; add set inet fw4 ketuk_ssh_4 { type ipv4_addr; }");
        let mut sets = Sets::connect(table(TableFamily::Inet, "fw4")).expect("connect");
        let error = sets.open("ssh", ip("192.0.2.1"), HOUR, false).expect_err("no timeouts there");
        assert!(matches!(error, NftError::Kernel { errno: Errno::EINVAL, .. }), "{error:?}");
        assert!(error.to_string().contains("flags timeout"), "{error}");

        nft("add set inet fw4 ketuk_nas_4 { type ipv4_addr; flags timeout; size 1; }");
        sets.open("nas", ip("192.0.2.1"), HOUR, false).expect("the first fits");
        let error = sets.open("nas", ip("192.0.2.2"), HOUR, false).expect_err("it is full");
        assert!(error.to_string().contains("larger `size`"), "{error}");
        sets.open("nas", ip("192.0.2.1"), HOUR, true).expect("a renewal needs no more room");
    });
}

#[test]
fn tables_of_one_family_have_one_set() {
    in_namespace(|| {
        nft("add table ip filter; add table ip6 filter");
        let mut sets = Sets::connect(table(TableFamily::Ip, "filter")).expect("connect");
        assert_eq!(missing(&mut sets, "ssh"), ["ketuk_ssh_4"]);
        nft("add set ip filter ketuk_ssh_4 { type ipv4_addr; flags timeout; }");
        sets.open("ssh", ip("192.0.2.1"), HOUR, false).expect("open");
        let error = sets.open("ssh", ip("2001:db8::1"), HOUR, false).expect_err("no IPv6 there");
        assert!(matches!(error, NftError::MissingSet { .. }), "{error:?}");
        assert!(error.to_string().contains("only a table of family inet"), "{error}");
        let mut sets = Sets::connect(table(TableFamily::Ip6, "filter")).expect("connect");
        assert_eq!(missing(&mut sets, "ssh"), ["ketuk_ssh_6"]);
    });
}

#[test]
fn thousands_are_listed() {
    in_namespace(|| {
        let mut sets = fw4();
        let all = many(&mut sets, 3000);
        assert_eq!(addresses(&mut sets), all.into_iter().collect::<Vec<_>>());
        // The socket still works.
        sets.shut("ssh", ip("10.0.0.0")).expect("shut");
        assert_eq!(addresses(&mut sets).len(), 2999);
    });
}

#[test]
fn a_listing_that_a_change_interrupts_begins_anew() {
    in_namespace(|| {
        let mut sets = fw4();
        let all = many(&mut sets, 3000);
        let mut other = Sets::connect(table(TableFamily::Inet, "fw4")).expect("connect");
        let (mut seen, mut calls) = (BTreeSet::new(), 0);
        sets.list("ssh", V4, &mut |element| {
            let address = element.passage.address;
            calls += 1;
            if calls == 10 {
                other.open("ssh", ip("2001:db8::1"), HOUR, false).expect("a change meanwhile");
            }
            seen.insert(address);
        })
        .expect("list");
        assert_eq!(seen, all);
        assert!(calls > 3000, "the listing went on as if nothing had happened");
        let listed = sets.list("ssh", V4, &mut |_| {
            other.open("ssh", ip("2001:db8::1"), HOUR, true).expect("a change each time");
        });
        assert_eq!(listed, Err(NftError::Busy));
        assert_eq!(addresses(&mut sets).len(), 3000);
    });
}

#[test]
fn without_the_capability_it_says_so() {
    const INNER: &str = "KETUK_TEST_WITHOUT_CAPABILITY";
    if std::env::var_os(INNER).is_some() {
        let mut sets = Sets::connect(table(TableFamily::Inet, "fw4")).expect("connect");
        for error in [
            sets.table_exists().map(drop),
            sets.open("ssh", ip("192.0.2.1"), HOUR, true),
            sets.shut("ssh", ip("192.0.2.1")),
            sets.list("ssh", V4, &mut |_| ()),
        ] {
            assert_eq!(error, Err(NftError::Denied));
        }
        return;
    }
    // A process in a new user namespace has no capability over its old network namespace.
    in_namespace(|| {
        let output = Command::new("unshare")
            .arg("--user")
            .arg(std::env::current_exe().expect("this test"))
            .args(["--exact", "sets::without_the_capability_it_says_so", "--nocapture"])
            .env(INNER, "1")
            .output()
            .expect("unshare");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
    });
}
