//! Everything against a naive model, which also plays crashes and reloads.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A step of a run.
#[derive(Clone, Debug)]
enum ModelStep {
    /// Somebody asks, for so many seconds.
    Ask(Opener, u8, u64),
    /// The firewall does not take what is asked for next.
    FirewallFails,
    /// Time passes, in seconds.
    Wait(u64),
    /// The operator shuts the door for one address.
    Shut(u8),
    /// The configuration changes: whether alice is there, whether bob may open the door.
    Reload(bool, bool),
    /// The daemon dies, and the next one adopts what the firewall has.
    Crash,
}

/// A grant as a fool would keep it: each opener's own claim, by the second in which it ends.
#[derive(Clone, Debug, Default)]
struct Claims {
    until: u64,
    user: Option<UserId>,
    hand: u64,
}

/// The kernel's element: the second of its end, and its comment.
type KernelElements = BTreeMap<u8, (u64, Opener)>;

fn address(n: u8) -> IpAddr {
    IpAddr::from([198, 51, 100, n])
}

fn step() -> impl Strategy<Value = ModelStep> {
    let opener = prop_oneof![
        3 => Just(Opener::Knock),
        2 => Just(Opener::User(ALICE)),
        1 => Just(Opener::User(BOB)),
        1 => Just(Opener::Hand)
    ];
    prop_oneof![
        8 => (opener, 0..4_u8, 1..60_u64).prop_map(|(opener, n, time)| ModelStep::Ask(opener, n, time)),
        1 => Just(ModelStep::FirewallFails),
        4 => (1..40_u64).prop_map(ModelStep::Wait),
        1 => (0..4_u8).prop_map(ModelStep::Shut),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(alice, bob)| ModelStep::Reload(alice, bob)),
        1 => Just(ModelStep::Crash)
    ]
}

/// The daemon as far as it matters here.
struct World {
    second: u64,
    house: House,
    firewall: KernelElements,
    model: BTreeMap<u8, Claims>,
    fails: bool,
}

impl World {
    fn may(&self, opener: Opener) -> bool {
        match opener {
            Opener::User(user) => self.house.user(user).is_some_and(|user| user.may_open(SSH)),
            _ => true,
        }
    }

    /// The model's turn: everything that is over goes.
    fn forget(&mut self) {
        let (second, house) = (self.second, &self.house);
        let may = |user: UserId| house.user(user).is_some_and(|user| user.may_open(SSH));
        self.model.retain(|_, claims| {
            if claims.until <= second {
                return false;
            }
            if claims.user.is_some_and(|user| !may(user)) {
                claims.user = None;
                claims.until = claims.hand;
            }
            claims.until > second
        });
    }

    /// The daemon's turn: everything that is over goes, and the firewall is told.
    fn end(&mut self, access: &mut Access<'_, Keyed>) {
        let moment = at(self.second);
        while let Some(end) = access.end_due(&moment, &self.house) {
            match end {
                End::Shut { grant, .. } => self.unlock(grant.address()),
                End::Operators { passage, .. } => self.put(access, passage.address),
            }
        }
    }

    fn put(&mut self, access: &mut Access<'_, Keyed>, address: IpAddr) {
        let lease = access.lease(at(self.second).now, SSH, address).expect("it was committed");
        if std::mem::take(&mut self.fails) {
            return access.reject(SSH, address);
        }
        let time = lease.time.expect("every time here has an end").as_secs();
        self.firewall.insert(last_byte(address), (self.second + time, lease.opener));
        access.confirm(SSH, address);
    }

    fn unlock(&mut self, address: IpAddr) {
        self.firewall.remove(&last_byte(address));
    }
}

fn last_byte(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(_) => unreachable!("all are IPv4"),
    }
}

fn play(world: &mut World, access: &mut Access<'_, Keyed>, step: &ModelStep) {
    let moment = at(world.second);
    match *step {
        ModelStep::Ask(opener, n, time) => {
            let time_asked = AskedTime::For(Duration::from_secs(time));
            let sender = (opener != Opener::Hand).then_some(address(n));
            let request =
                OpenRequest { opener, door: SSH, sender, address: address(n), port: None, time: time_asked };
            let decision = access.decide(&moment, &world.house, &request, None);
            assert_eq!(decision == Decision::Refused(Refusal::Door), !world.may(opener), "{decision:?}");
            if let Decision::Open(opening) = decision {
                access.commit(&moment, &world.house, &opening);
                world.put(access, address(n));
                let claims = world.model.entry(n).or_default();
                claims.until = claims.until.max(world.second + time);
                match opener {
                    Opener::Knock => {}
                    Opener::User(user) => claims.user = Some(user),
                    Opener::Hand => claims.hand = claims.hand.max(world.second + time),
                }
            }
        }
        ModelStep::FirewallFails => world.fails = true,
        ModelStep::Wait(seconds) => world.second += seconds,
        ModelStep::Shut(n) => {
            while access.end(SSH, Some(address(n)), Cause::Hand).is_some() {
                world.unlock(address(n));
            }
            world.model.remove(&n);
        }
        ModelStep::Reload(alice, bob) => {
            let user = House::new().users[0];
            let lost = UserRules { doors: DoorSet(0b10), ..user.unwrap_or_default() };
            world.house.users =
                [user.filter(|_| alice), Some(if bob { user.unwrap_or_default() } else { lost })];
        }
        ModelStep::Crash => unreachable!("the caller plays it"),
    }
}

proptest! {
    #[test]
    fn the_model_and_the_daemon_let_the_same_people_in(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World {
            second: 0,
            house: House::new(),
            firewall: KernelElements::new(),
            model: BTreeMap::new(),
            fails: false,
        };
        for life in steps.split(|step| matches!(step, ModelStep::Crash)) {
            let mut tables = Box::new(AccessTables::new());
            let mut access = Access::new(&mut tables, Keyed::default());
            // What the firewall has is adopted, under the name that it keeps; of others nothing is known any more.
            let second = world.second;
            world.firewall.retain(|_, (until, _)| *until > second);
            world.model.retain(|n, _| world.firewall.contains_key(n));
            for (n, (until, opener)) in world.firewall.clone() {
                let left = Some(Duration::from_secs(until - second));
                let adopted = Adopted { door: SSH, passage: address(n).into(), left, opener, is_held: false };
                prop_assert!(access.adopt(at(second).now, &world.house, &adopted));
                let user = match opener { Opener::User(user) => Some(user), _ => None };
                let hand = if opener == Opener::Hand { until } else { 0 };
                world.model.insert(n, Claims { until, user, hand });
            }
            world.end(&mut access);
            world.forget();
            for step in life {
                play(&mut world, &mut access, step);
                world.end(&mut access);
                world.forget();
                let now = at(world.second).now;
                let known: BTreeMap<u8, u64> = access
                    .grants()
                    .iter()
                    .map(|grant| (last_byte(grant.address()), grant.until().unwrap().as_millis() / 1000))
                    .collect();
                let expected: BTreeMap<u8, u64> =
                    world.model.iter().map(|(n, claims)| (*n, claims.until)).collect();
                prop_assert_eq!(&known, &expected);
                // The kernel lets in the addresses that the daemon knows, and for no longer. The exception: the kernel
                // refused a change, and the daemon tries it again.
                for (n, (until, _)) in world.firewall.iter().filter(|(_, (until, _))| *until > world.second) {
                    let known_until = known.get(n);
                    prop_assert!(known_until.is_some());
                    let is_retried = access.grant(SSH, address(*n)).is_some_and(|grant| !grant.is_in_firewall());
                    prop_assert!(is_retried || known_until.is_some_and(|known| until <= known));
                }
                for grant in access.grants().iter() {
                    let claims = &world.model[&last_byte(grant.address())];
                    prop_assert_eq!(grant.user(), claims.user);
                    prop_assert_eq!(grant.is_by_hand(now), claims.hand > world.second);
                }
            }
        }
    }
}
