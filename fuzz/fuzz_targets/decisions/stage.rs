//! The core with a configuration, the senders of one run, and the checks.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;

use ketuk::config::{self, Config};
use ketuk::core::access::{
    self, ALL_KNOCK_GRANTS, Access, Cause, DOOR_KNOCK_GRANTS, Decision, OpenRequest, Opening, USER_GRANTS,
};
use ketuk::core::auth::{self, Auth};
use ketuk::core::door::DoorId;
use ketuk::core::doorkeeper::{Doorkeeper, Proven};
use ketuk::core::engine::{self, Engine};
use ketuk::core::grants::Opener;
use ketuk::core::hours::WallTime;
use ketuk::core::moment::Moment;
use ketuk::core::place::{OwnAddress, Via};
use ketuk::core::time::Instant;
use ketuk::core::user::{KnownUser, UserId};
use ketuk::daemon::household::Household;
use ketuk::protocol::{Protocol, totp};

type Keyed = BuildHasherDefault<DefaultHasher>;

const CONFIG: &str = "
config globals 'globals'
	option trust_clock '1'
config door 'ssh'
	list sequence '24817'
	list sequence '51203:udp'
	list sequence '38466'
	option proto 'tcp'
	option dest_port '22'
config door 'web'
	list sequence '24817'
	list sequence '24817'
	option proto 'tcp'
	option dest_port '443'
	option close 'session'
	option max_time '60'
config door 'vpn'
	option dest_port '51820'
	option max_time '0'
	list src '198.51.100.0/24'
config door 'hours'
	list sequence '40001'
	list sequence '40002:udp'
	list sequence '40003'
	option proto 'udp'
	option dest_port '53'
	option weekdays '!sun'
	option start_time '08:00:05'
	option stop_time '08:00:30'
	option grant_prefix_4 '24'
	option grant_prefix_6 '64'
config door 'nas'
	list sequence '40002'
	list sequence '40001'
	option proto 'tcp'
	option src_dport '8443'
	list dest_ip '192.168.1.10'
	list dest_ip '2001:db8:2::10'
	option dest_port '443'
config door 'any'
	option any_port '1'
	list allow_port 'tcp/8000-8100'
	list allow_port 'udp/500'
config door 'shut'
	list sequence '40003'
	list sequence '40001'
	option action 'close'
	list door 'ssh'
	list door 'nas'
config user 'alice'
	option key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='
	option totp 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'
	list door 'ssh'
	list door 'vpn'
config user 'bob'
	option key 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE='
	option totp 'KBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'
	option fwknop_key 'c2VjcmV0'
	option fwknop_hmac_key 'c2VjcmV0'
	list door 'web'
	list door 'any'
	list door 'nas'
	list door 'hours'
	option other_address '1'
";
/// A day at 08:00:00 UTC. Each run begins at this time of a day.
const EIGHT_O_CLOCK_S: u64 = 1_800_000_000;
pub(super) const ROUTER: [u8; 4] = [203, 0, 113, 1];
pub(super) const ROUTER_6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(super) const DOORS: [&str; 8] = ["ssh", "web", "vpn", "none", "hours", "nas", "any", "shut"];

/// The core with its memory. It is made once: a run begins a day after the one before, when all of that is forgotten.
pub(super) struct Stage {
    pub(super) keeper: Doorkeeper<'static, Keyed>,
    household: Household,
    pub(super) config: Config,
    /// The users, with their secrets.
    pub(super) known: Vec<KnownUser>,
    /// Seconds since the first run.
    pub(super) clock_s: u64,
}

pub(super) fn new_stage() -> Stage {
    let config = config::parse("doors", CONFIG.as_bytes()).expect("it is right");
    let household = Household::default().with(&config);
    let config::AuthOptions { max_age, totp_ports, .. } = config.globals.auth;
    let rules = auth::AuthRules { max_age_s: max_age.as_secs(), range: totp_ports };
    let mut keeper = Doorkeeper {
        engine: Engine::new(Box::leak(Box::new(engine::EngineTables::new())), Keyed::default()),
        auth: Auth::new(Box::leak(Box::new(auth::AuthTables::new())), Keyed::default(), rules),
        access: Access::new(Box::leak(Box::new(access::AccessTables::new())), Keyed::default()),
    };
    keeper.engine.set_doors(&household.slots.knocks(), &[]).expect("few ports");
    keeper.engine.set_addresses(&[IpAddr::from(ROUTER), IpAddr::from(ROUTER_6)].map(OwnAddress::from));
    keeper.engine.set_listening(household.listening(&config));
    let users = household.users.for_core(&household.slots);
    keeper.auth.set_users(rules, &users);
    keeper.auth.trust_clock(1);
    let known = users.into_iter().flatten().collect();
    Stage { keeper, household, config, known, clock_s: 0 }
}

/// The deeds of the senders of one run.
#[derive(Default)]
pub(super) struct Senders {
    knocks: HashMap<IpAddr, usize>,
    /// Payloads that were made with a user's key, each with the user.
    pub(super) made: HashMap<Vec<u8>, UserId>,
    /// The payloads that have opened a door.
    used: HashSet<Vec<u8>>,
    /// The user whose changing sequence the last knocks of each source ended with, if they did.
    pub(super) sequences: HashMap<IpAddr, Vec<u16>>,
    pub(super) sent: Vec<Vec<u8>>,
}

impl Stage {
    pub(super) fn moment(&self, ms: u64) -> Moment {
        let wall_s = EIGHT_O_CLOCK_S + self.clock_s + ms / 1000;
        let (day, second) = (wall_s / 86_400, wall_s % 86_400);
        Moment {
            now: Instant::from_millis(self.clock_s * 1000 + ms),
            wall_s,
            local: WallTime {
                weekday: u8::try_from(day % 7).expect("a week"),
                second: u32::try_from(second).expect("a day"),
            },
        }
    }

    /// Asks that a door opens, and has the firewall answer.
    pub(super) fn open(&mut self, moment: &Moment, request: &OpenRequest, firewall_takes_it: bool) {
        let Self { keeper, household, .. } = self;
        let opening = match keeper.access.decide(moment, household, request, None) {
            Decision::Open(opening) => opening,
            Decision::Shut { doors, address } => {
                for door in doors.iter() {
                    let of_door = household.slots.get(door).expect("it is a door");
                    let address = of_door.grant_prefix.group(address);
                    while keeper.access.end(door, Some(address), Cause::Knock).is_some() {}
                }
                return;
            }
            Decision::Unchanged | Decision::Refused(_) => return,
        };
        self.check(moment, request, &opening);
        let (door, passage) = (opening.door(), opening.passage());
        let access = &mut self.keeper.access;
        access.commit(moment, &self.household, &opening);
        if access.lease(moment.now, door, passage).is_some() {
            if firewall_takes_it {
                access.confirm(door, passage);
            } else {
                access.reject(door, passage);
            }
        }
    }

    /// Checks that a door opens in its hours, and only a port that it may open.
    fn check(&self, moment: &Moment, request: &OpenRequest, opening: &Opening) {
        let door = &self.config.doors[opening.door().index()];
        if door.name == "hours" && request.opener != Opener::Hand {
            let WallTime { weekday, second } = moment.local;
            assert!(weekday != 0 && (28_805..=28_830).contains(&second), "day {weekday}, {second} s");
        }
        let asked = opening.passage().port.map(|port| (port.protocol, port.port.get()));
        let is_allowed = match asked {
            Some((Protocol::Tcp, number)) => (8000..=8100).contains(&number),
            Some((Protocol::Udp, number)) => number == 500,
            None => door.name != "any",
        };
        assert!(is_allowed && (asked.is_none() || door.name == "any"), "{}: {asked:?}", door.name);
    }

    pub(super) fn hear(
        &mut self,
        moment: &Moment,
        senders: &mut Senders,
        packet: &[u8],
        firewall_takes_it: bool,
    ) {
        let Ok(heard) = self.keeper.hear(moment, &self.household, Via::Network, packet) else { return };
        let source = heard.probe().source;
        *senders.knocks.entry(source).or_default() += 1;
        let payload = ketuk::core::packet::udp_payload(packet);
        if let Some(Proven::Request(asked)) = heard.proof() {
            let by_key = senders.made.get(payload) == Some(&asked.user());
            if by_key {
                assert!(senders.used.insert(payload.to_vec()), "a packet was taken twice");
            } else {
                let ports = senders.sequences.get(&source).map_or(&[][..], Vec::as_slice);
                assert!(
                    self.is_sequence_of(asked.user(), moment, ports),
                    "user {:?} was taken for another",
                    asked.user()
                );
            }
            let own = self.keeper.engine.place().own().to_vec();
            if let Ok(requests) = access::requests(&self.household, &own, source, &asked) {
                for request in requests {
                    assert!(matches!(request.opener, Opener::User(user) if user == asked.user()));
                    self.open(moment, &request, firewall_takes_it);
                }
            }
        }
        let Some(judgement) = heard.judgement() else { return };
        for verdict in judgement.verdicts() {
            let Some(request) = heard.request(verdict) else { continue };
            let steps = self.config.doors[verdict.door().index()].knock.sequence.len();
            assert!(senders.knocks[&source] >= steps, "too few knocks opened a door");
            self.open(moment, &request, firewall_takes_it);
        }
    }

    /// Whether the last knocks of a source hold, in order, the ports of this user for one of his doors now.
    fn is_sequence_of(&self, user: UserId, moment: &Moment, knocks: &[u16]) -> bool {
        let known = &self.known[user.index()];
        let now = totp::window(moment.wall_s);
        let range = self.config.globals.auth.totp_ports;
        known.totp.iter().any(|secret| {
            DOORS.iter().any(|door| {
                (now - 1..=now + 1).any(|window| {
                    let ports = totp::sequence(secret.bytes(), door, window, range);
                    let mut left = ports.iter();
                    let mut wanted = left.next();
                    for knock in knocks {
                        if wanted == Some(knock) {
                            wanted = left.next();
                        }
                    }
                    wanted.is_none()
                })
            })
        })
    }

    pub(super) fn end_what_is_due(&mut self, moment: &Moment) {
        let Self { keeper, household, .. } = self;
        keeper.engine.expire(moment.now, |_, _| {});
        let none = keeper.access.grants().iter().map(|_| 0).collect::<Vec<_>>();
        if keeper.access.is_count_due(moment.now) {
            keeper.access.count_connections(moment.now, none.into_iter());
        }
        while keeper.access.end_due(moment, household).is_some() {}
        for grant in keeper.access.grants().iter() {
            assert!(grant.until().is_none_or(|until| until > moment.now), "a grant has outlived its time");
        }
    }

    pub(super) fn check_quotas(&self) {
        let of_knocks = |door: Option<DoorId>| {
            let grants = self.keeper.access.grants().iter();
            grants
                .filter(|grant| grant.user().is_none() && !grant.was_by_hand())
                .filter(|grant| door.is_none_or(|door| grant.door() == door))
                .count()
        };
        assert!(of_knocks(None) <= ALL_KNOCK_GRANTS);
        for slot in (0..).take(self.config.doors.len()) {
            assert!(of_knocks(Some(DoorId(slot))) <= DOOR_KNOCK_GRANTS);
        }
        for user in 0..2 {
            let grants = self.keeper.access.grants().iter();
            assert!(grants.filter(|grant| grant.user() == Some(UserId(user))).count() <= USER_GRANTS);
        }
    }
}
