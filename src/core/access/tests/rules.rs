//! Each rule alone, and each pair of rules.

use super::*;

/// A rule that refuses: its name, a change that breaks it, and its answer.
struct RefusingRule {
    name: &'static str,
    breaks: fn(&mut House, &mut OpenRequest),
    refusal: Refusal,
    /// Whether it binds the operator too.
    binds_hand: bool,
    /// Whether it is one of users only.
    of_users: bool,
}

static ELSEWHERE: [Network; 1] = [Network::of(IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 0)), 8).unwrap()];

/// In the order in which they are asked: of two that are broken, the first is named.
const RULES: [RefusingRule; 10] = [
    RefusingRule {
        name: "no such door",
        breaks: |house, _| house.doors[0] = None,
        refusal: Refusal::NoDoor,
        binds_hand: true,
        of_users: false,
    },
    RefusingRule {
        name: "no host",
        breaks: |house, request| {
            request.address = ip("255.255.255.255");
            if let Some(user) = &mut house.users[0] {
                user.other_address = true;
            }
        },
        refusal: Refusal::NoHost,
        binds_hand: true,
        of_users: false,
    },
    RefusingRule {
        name: "expired",
        breaks: |house, _| {
            if let Some(user) = &mut house.users[0] {
                user.expires = Some(WALL_S);
            }
        },
        refusal: Refusal::Expired,
        binds_hand: false,
        of_users: true,
    },
    RefusingRule {
        name: "not his door",
        breaks: |house, _| {
            if let Some(user) = &mut house.users[0] {
                user.doors = DoorSet(0b10);
            }
        },
        refusal: Refusal::Door,
        binds_hand: false,
        of_users: true,
    },
    RefusingRule {
        name: "the user's src",
        breaks: |house, _| {
            if let Some(user) = &mut house.users[0] {
                user.src = &ELSEWHERE;
            }
        },
        refusal: Refusal::Source,
        binds_hand: false,
        of_users: true,
    },
    RefusingRule {
        name: "another address",
        breaks: |_, request| request.sender = Some(ip(STRANGER)),
        refusal: Refusal::Address,
        binds_hand: false,
        of_users: true,
    },
    RefusingRule {
        name: "src",
        breaks: |house, _| change(house, |door| door.src = vec![Network::of(ip("10.0.0.0"), 8).unwrap()]),
        refusal: Refusal::DoorSource,
        binds_hand: false,
        of_users: false,
    },
    RefusingRule {
        name: "hours",
        breaks: |house, _| {
            change(house, |door| door.hours = Some(Hours { start: 0, stop: 3600, ..Hours::ALWAYS }));
        },
        refusal: Refusal::Hours,
        binds_hand: false,
        of_users: false,
    },
    RefusingRule {
        name: "a door that shuts others, by hand",
        breaks: |house, _| change(house, |door| door.closes = Some(DoorSet(0b10))),
        refusal: Refusal::Closing,
        binds_hand: true,
        of_users: false,
    },
    RefusingRule {
        name: "commands",
        breaks: |_, _| {},
        refusal: Refusal::CommandsFull,
        binds_hand: true,
        of_users: false,
    },
];

fn change(house: &mut House, change: impl FnOnce(&mut OwnedRules)) {
    if let Some(door) = &mut house.doors[0] {
        change(door);
    }
}

/// The decision when these rules are broken.
fn decided(opener: Opener, broken: &[&RefusingRule]) -> Decision {
    let (mut house, mut request) = (House::new(), asks(opener, CLIENT));
    for rule in broken {
        (rule.breaks)(&mut house, &mut request);
    }
    let full = broken.iter().any(|rule| rule.refusal == Refusal::CommandsFull);
    let load = CommandLoad { free: if full { 1 } else { 100 }, ..CommandLoad::default() };
    let mut decision = Decision::Unchanged;
    empty(|access| decision = access.decide(&at(0), &house, &request, Some(load)));
    decision
}

/// Whether the rule refuses this opener. A closing door refuses only the operator: a knock there shuts others.
fn binds(rule: &RefusingRule, opener: Opener) -> bool {
    match opener {
        Opener::Knock => !rule.of_users && rule.refusal != Refusal::Closing,
        Opener::User(_) => rule.refusal != Refusal::Closing,
        Opener::Hand => rule.binds_hand,
    }
}

#[test]
fn each_rule_and_each_pair_of_rules() {
    for opener in [Opener::Knock, Opener::User(ALICE), Opener::Hand] {
        assert!(matches!(decided(opener, &[]), Decision::Open(_)), "{opener:?}");
        for (number, first) in RULES.iter().enumerate() {
            for second in &RULES[number..] {
                let decision = decided(opener, &[first, second]);
                let label = format!("{opener:?}: {} and {}: {decision:?}", first.name, second.name);
                let refusal = [first, second].into_iter().find(|rule| binds(rule, opener));
                let shuts = [first, second].iter().any(|rule| rule.refusal == Refusal::Closing);
                match refusal.map(|rule| rule.refusal) {
                    // A door that shuts others needs no room for commands.
                    Some(Refusal::CommandsFull) | None if shuts && opener != Opener::Hand => {
                        assert!(matches!(decision, Decision::Shut { .. }), "{label}");
                    }
                    Some(refusal) => assert_eq!(decision, Decision::Refused(refusal), "{label}"),
                    None => assert!(matches!(decision, Decision::Open(_)), "{label}"),
                }
            }
        }
    }
}

#[test]
fn src_binds_the_sender_and_the_address_that_he_names() {
    let mut house = House::with(|door| door.src = vec![Network::of(ip("198.51.100.0"), 24).unwrap()]);
    house.users[0].as_mut().unwrap().other_address = true;
    for (sender, address, allowed) in [
        (CLIENT, CLIENT, true),
        (CLIENT, "198.51.100.77", true),
        (CLIENT, STRANGER, false),
        (STRANGER, CLIENT, false),
    ] {
        let request = OpenRequest { sender: Some(ip(sender)), ..asks(Opener::User(ALICE), address) };
        empty(|access| {
            let decision = access.decide(&at(0), &house, &request, None);
            assert_eq!(
                matches!(decision, Decision::Open(_)),
                allowed,
                "{sender} for {address}: {decision:?}"
            );
            assert!(allowed || decision == Decision::Refused(Refusal::DoorSource));
        });
    }
}

/// The time of an opening. `max_time` and the user's own end limit the time that a user asks for.
#[test]
fn how_long_a_door_opens() {
    let s = |s| Some(Duration::from_secs(s));
    let long = AskedTime::For(Duration::from_secs(5000));
    let bounded = || House::with(|door| door.max_time = s(60));
    let expiring = || House::with_user(|user| user.expires = Some(WALL_S + 20));
    let endless = || House::with(|door| door.until_shut = true);
    let user = Opener::User(ALICE);
    for (opener, house, time, expected) in [
        (Opener::Knock, House::new(), AskedTime::OpenTime, s(30)),
        (Opener::Knock, endless(), AskedTime::OpenTime, None),
        (user, House::new(), long, s(5000)),
        (user, bounded(), long, s(60)),
        (user, bounded(), AskedTime::OpenTime, s(30)),
        (user, expiring(), long, s(20)),
        (user, House { doors: endless().doors, ..expiring() }, AskedTime::OpenTime, s(20)),
        (Opener::Hand, bounded(), long, s(5000)),
        (Opener::Hand, bounded(), AskedTime::UntilShut, None),
    ] {
        let request = OpenRequest { time, ..asks(opener, CLIENT) };
        empty(|access| match access.decide(&at(0), &house, &request, None) {
            Decision::Open(opening) => assert_eq!(opening.time, expected, "{opener:?} {time:?}"),
            other => panic!("{opener:?} {time:?}: {other:?}"),
        });
    }
}

#[test]
fn a_one_time_line_is_asked_for_by_plain_knocks_that_are_let_in_and_by_nothing_else() {
    let house = House::with(|door| door.one_time = true);
    let uses = |opener, house: &House| {
        let mut uses = None;
        empty(|access| {
            uses = match access.decide(&at(0), house, &asks(opener, CLIENT), None) {
                Decision::Open(opening) => Some(opening.uses_line),
                _ => None,
            };
        });
        uses
    };
    assert_eq!(uses(Opener::Knock, &house), Some(true));
    assert_eq!(uses(Opener::User(ALICE), &house), Some(false));
    assert_eq!(uses(Opener::Hand, &house), Some(false));
    let elsewhere = House::with(|door| {
        door.one_time = true;
        door.src = vec![Network::of(ip("10.0.0.0"), 8).unwrap()];
    });
    assert_eq!(uses(Opener::Knock, &elsewhere), None, "no line is used up");
}

#[test]
fn an_opening_tells_the_daemon_what_the_decision_was() {
    let opening = |change: fn(&mut OwnedRules), opener| {
        let mut found = None;
        let house = House::with(change);
        empty(|access| {
            if let Decision::Open(opening) = access.decide(&at(0), &house, &asks(opener, CLIENT), None) {
                found = Some((opening.time(), opening.uses_line(), opening.is_momentary()));
            }
        });
        found.expect("it opens")
    };
    let half_a_minute = Some(Duration::from_secs(30));
    assert_eq!(opening(|_| {}, Opener::Knock), (half_a_minute, false, false));
    assert_eq!(opening(|door| door.until_shut = true, Opener::Knock), (None, false, false));
    assert_eq!(opening(|door| door.one_time = true, Opener::Knock), (half_a_minute, true, false));
    assert!(opening(|door| door.momentary = true, Opener::Hand).2);
}

#[test]
fn a_knock_right_after_another_changes_nothing() {
    let house = House::new();
    empty(|access| {
        assert!(matches!(open(access, &at(0), &house, &asks(Opener::Knock, CLIENT)), Decision::Open(_)));
        assert_eq!(open(access, &at(0), &house, &asks(Opener::Knock, CLIENT)), Decision::Unchanged);
    });
}

#[test]
fn causes_have_names_and_sentences_of_their_own() {
    let causes = [Cause::TimeOver, Cause::Knock, Cause::Hand, Cause::Reload, Cause::User, Cause::Stop];
    let names = causes.map(Cause::name);
    assert_eq!(names, ["timeout", "knock", "hand", "reload", "user", "stop"]);
    let mut sentences = causes.map(|cause| cause.to_string());
    sentences.sort_unstable();
    assert!(sentences.iter().all(|sentence| sentence.contains(' ')));
    assert!(sentences.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn networks_are_let_in_together_and_a_momentary_door_is_never_open() {
    let house = House::with(|door| door.prefix.v4 = Some(24));
    empty(|access| {
        open(access, &at(0), &house, &asks(Opener::Knock, CLIENT));
        let again = open(access, &at(1), &house, &asks(Opener::Knock, "198.51.100.200"));
        assert!(matches!(again, Decision::Open(Opening { is_new: false, .. })), "{again:?}");
        assert_eq!(access.grants().iter().map(Grant::address).collect::<Vec<_>>(), [ip("198.51.100.0")]);
        let shown = |address| GrantPrefix { v4: Some(24), v6: None }.shown(ip(address)).to_string();
        assert_eq!([shown(CLIENT), shown("2001:db8::1")], ["198.51.100.0/24", "2001:db8::1"]);
    });
    let house = House::with(|door| door.momentary = true);
    empty(|access| {
        assert!(matches!(open(access, &at(0), &house, &asks(Opener::Knock, CLIENT)), Decision::Open(_)));
        assert!(access.grants().is_empty());
    });
}

#[test]
fn a_door_that_the_firewall_would_not_take_is_told_once_it_has_it() {
    let house = House::new();
    empty(|access| {
        let Decision::Open(opening) = access.decide(&at(0), &house, &asks(Opener::Knock, CLIENT), None)
        else {
            panic!("nothing is against it");
        };
        access.commit(&at(0), &house, &opening);
        assert!(!access.grants().is_empty());
        access.reject(SSH, opening.address);
        let lease = |access: &mut Access<'_, Keyed>| access.lease(at(5).now, SSH, opening.address).unwrap();
        let has = |access: &mut Access<'_, Keyed>| {
            let grant = *access.grant(SSH, opening.address).unwrap();
            assert_eq!(grant.is_in_firewall(), lease(access).is_there());
            (grant.is_in_firewall(), grant.is_told())
        };
        assert_eq!(lease(access).time(), Some(Duration::from_secs(25)));
        assert_eq!(has(access), (false, false));
        let told = access.confirm(SSH, opening.address).map(|grant| grant.address());
        assert_eq!((told, has(access)), (Some(opening.address), (true, true)));
        assert!(access.confirm(SSH, opening.address).is_none(), "once");
        access.reject(SSH, opening.address);
        assert_eq!(has(access), (false, true));
        access.confirm(SSH, opening.address);
        access.forget_firewall();
        assert_eq!(has(access), (false, true));
    });
}
