//! Right knocks, each of which is watched until it opens a door or is lost, and wrong knocks.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ketuk::linux::clock;
use ketuk::protocol::packet::{DoorName, Keys, NONCE, Request, TAG};
use ketuk::protocol::{SPA_PORT, totp};
use socket2::{Domain, Socket, Type};

use super::fault::{Fault, Kind};
use super::site::{PLAIN, Site, User, strangers};
use super::support::wire::Lcg;
use super::support::{ROUTER, ROUTER_6};

/// The time between two knocks of a sequence, the same as the client's.
const BETWEEN: Duration = Duration::from_millis(100);

/// The time after a knock within which the door opens, if there is no fault.
const SOON: Duration = Duration::from_millis(1500);

/// The time that a busy machine's daemon may need to hear a knock. A fault in this time may cost the knock: for example, the
/// router may have lost the address that the knock was sent to.
const IN_FLIGHT: Duration = Duration::from_millis(500);

/// The time between two looks at the ledger.
const TICK: Duration = Duration::from_millis(50);

/// The pause after a lost knock.
const AGAIN: Duration = Duration::from_millis(500);

/// The last part of a door's time. In it the door may shut, and is not expected to be open.
const NEARLY: Duration = Duration::from_millis(1500);

/// One in this many opened doors is renewed halfway.
const RENEWED: usize = 4;

/// The number of the last packets that opened a door. They are replayed.
const KEPT: usize = 16;

/// The length of a window of a changing sequence.
const WINDOW: Duration = Duration::from_secs(totp::WINDOW_S);

/// Packets that opened a door.
#[derive(Debug, Default)]
pub(crate) struct Overheard(Mutex<Vec<Vec<u8>>>);

/// A packet or a sequence that a user sent.
#[derive(Debug)]
struct Sent {
    from: Instant,
    until: Instant,
    packet: Option<Vec<u8>>,
}

/// A user knocks until the time is over.
pub(crate) fn knock_on(
    site: &Site<'_>,
    user: &User,
    overheard: &Overheard,
    random: &mut Lcg,
    until: Instant,
) {
    let mut kept_out = None;
    if user.kind == Kind::Changing {
        // A sequence counts only if its half minute began after the daemon's start.
        wait_for_window(until);
    }
    // A packet of the second in which the daemon started does not count.
    thread::sleep(Fault::Killed.settles());
    pause(random, 5000);
    while Instant::now() < until && !site.ledger.is_enough() {
        let sent = knock(site, user, random);
        site.ledger.tally(user.kind, |tally| tally.sent += 1);
        let since = *kept_out.get_or_insert(sent.from);
        if let Some(reason) = wait_for_door(site, user, &sent) {
            site.ledger.note(format_args!("{} at {}: lost, {reason}", user.entry.address, user.entry.door));
            site.ledger.tally(user.kind, |tally| *tally.lost.entry(reason).or_default() += 1);
            thread::sleep(AGAIN);
            wait_until(until, || !site.ledger.is_open(&user.entry));
            continue;
        }
        kept_out = None;
        let took = since.elapsed();
        site.ledger.tally(user.kind, |tally| {
            tally.opened += 1;
            tally.longest = tally.longest.max(took);
        });
        if let (Some(packet), true) = (&sent.packet, since == sent.from) {
            overheard.keep(packet);
        }
        let mut end = sent.until + user.open;
        if user.kind == Kind::Packet && random.below(RENEWED) == 0 {
            end = renew(site, user, &sent, random);
        }
        watch_the_end(site, user, end);
        // If the door were still open, a lost knock would look as if it had been heard. Then the door would shut before its
        // time, and a stranger could be the first to deliver the packet.
        wait_until(until, || site.ledger.is_over(&user.entry));
        pause(random, 4000);
        // A changing sequence opens once.
        if user.kind == Kind::Changing {
            wait_for_window(until);
            pause(random, 10_000);
        }
    }
}

/// Waits until something is true, or until the soak is over.
fn wait_until(until: Instant, is_true: impl Fn() -> bool) {
    while Instant::now() < until && !is_true() {
        thread::sleep(TICK);
    }
}

/// Waits for the next changing sequences, or for the end.
fn wait_for_window(until: Instant) {
    let now = clock::wall_s();
    let next = (totp::window(now) + 1) * totp::WINDOW_S;
    let wait = Duration::from_secs(next - now);
    thread::sleep(wait.min(until.saturating_duration_since(Instant::now())));
}

fn pause(random: &mut Lcg, most_ms: usize) {
    let ms = u64::try_from(random.below(most_ms)).expect("a short time");
    thread::sleep(Duration::from_millis(ms));
}

/// Sends the knock that opens the user's door.
fn knock(site: &Site<'_>, user: &User, random: &mut Lcg) -> Sent {
    let address = user.entry.address;
    site.ledger.note(format_args!("{address} at {}: knocks", user.entry.door));
    // This comes before the first packet, because the door may open before the last call returns.
    let from = site.ledger.knock(&user.entry);
    let mut packet = None;
    match user.kind {
        Kind::Packet | Kind::Renewal => {
            let door = DoorName::new(user.entry.door).expect("a door");
            let request = Request { time: clock::wall_s(), seconds: 0, address: None, door };
            let mut nonce = [0; NONCE];
            nonce.fill_with(|| u8::try_from(random.below(256)).expect("a byte"));
            let sealed = Keys::derive(&user.secret).seal(nonce, &request);
            datagram(address, SPA_PORT, &sealed);
            site.ledger.note(format_args!("{address}: sent packet {}", name_of(&sealed)));
            packet = Some(sealed.to_vec());
        }
        Kind::Changing => {
            let window = totp::window(clock::wall_s());
            let ports = totp::sequence(&user.secret, user.entry.door, window, totp::TotpPorts::default());
            steps(address, &ports.map(|port| port.to_string()));
        }
        Kind::Plain => steps(address, &PLAIN),
    }
    Sent { from, until: site.ledger.knock(&user.entry), packet }
}

/// Waits until the door is open. If it does not open, returns the fault that explains it, or `None` if no fault does.
fn wait_for_door(site: &Site<'_>, user: &User, sent: &Sent) -> Option<String> {
    let ledger = &site.ledger;
    loop {
        if ledger.was_seen(&user.entry, sent.from) {
            return None;
        }
        let now = Instant::now();
        let is_over = now > ledger.heard(sent.until) + user.open;
        if is_over || now > sent.until + SOON && !ledger.is_delayed(sent.from) {
            // The next look shows the present state.
            ledger.wait_for_look(now);
            if ledger.was_seen(&user.entry, sent.from) {
                return None;
            }
            break;
        }
        thread::sleep(TICK);
    }
    if let Some(fault) =
        ledger.reason(sent.from, ledger.heard(sent.until) + IN_FLIGHT, |fault| fault.loses(user.kind))
    {
        return Some(fault.name().to_owned());
    }
    // A changing sequence that is refused while the disk is full is used up, until its window is over.
    let window_ago = sent.from.checked_sub(WINDOW).unwrap_or(sent.from);
    if user.kind == Kind::Changing
        && let Some(fault) = ledger.reason(window_ago, sent.from, |fault| fault == Fault::DiskFull)
    {
        return Some(fault.name().to_owned());
    }
    // The knock was heard, and the grant was kept while the firewall was missing.
    if ledger
        .reason(sent.until, Instant::now(), |fault| matches!(fault, Fault::Killed | Fault::Restarted))
        .is_some()
    {
        return Some("daemon ended before the firewall was back".to_owned());
    }
    site.broken("a right knock is lost", &user.entry);
    Some("NO REASON".to_owned())
}

/// Knocks again halfway. Returns the new end of the door's time.
fn renew(site: &Site<'_>, user: &User, first: &Sent, random: &mut Lcg) -> Instant {
    thread::sleep((first.until + user.open / 2).saturating_duration_since(Instant::now()));
    let renewal = knock(site, user, random);
    let old_end = first.until + user.open;
    // A moment after the old end, and well before the new one.
    let look = old_end + Duration::from_millis(700);
    thread::sleep(look.saturating_duration_since(Instant::now()));
    site.ledger.wait_for_look(look);
    let is_open = site.ledger.was_seen(&user.entry, look);
    let new_end = renewal.until + user.open;
    let now = Instant::now();
    let excuse = site.ledger.reason(renewal.from, now, |fault| fault.loses(Kind::Renewal) || fault.delays());
    site.ledger.tally(Kind::Renewal, |tally| {
        tally.sent += 1;
        if is_open {
            tally.opened += 1;
        } else {
            let reason = excuse.map_or("NO REASON", Fault::name);
            *tally.lost.entry(reason.to_owned()).or_default() += 1;
        }
    });
    if !is_open && excuse.is_none() && now < new_end {
        site.broken("a renewal is lost", &user.entry);
    }
    if is_open { new_end } else { old_end }
}

/// A door that was open is open until its time is nearly over, unless something that takes elements away is to blame.
fn watch_the_end(site: &Site<'_>, user: &User, end: Instant) {
    let look = end.checked_sub(NEARLY).unwrap_or(end);
    thread::sleep(look.saturating_duration_since(Instant::now()));
    if Instant::now() > look + NEARLY / 3 {
        return;
    }
    site.ledger.wait_for_look(look);
    let now = Instant::now();
    if site.ledger.was_seen(&user.entry, look) {
        site.ledger.stayed_open();
    } else if now < look + NEARLY / 2 {
        // If the daemon itself ended, it cannot be known which fault removed the element.
        let since = if site.restarts { end.checked_sub(2 * user.open).unwrap_or(look) } else { look };
        let excuse = |fault: Fault| fault.delays() || matches!(fault, Fault::Killed | Fault::Restarted);
        if site.ledger.reason(since, now, excuse).is_none() {
            site.broken("it shut before its time", &user.entry);
        }
    }
    thread::sleep(end.saturating_duration_since(Instant::now()) + Duration::from_millis(200));
}

/// Strangers knock wrong until the time is over. Returns the number of their knocks.
pub(crate) fn knock_wrong(site: &Site<'_>, overheard: &Overheard, random: &mut Lcg, until: Instant) -> u32 {
    let addresses: Vec<IpAddr> = strangers().collect();
    let mut sent = 0;
    while Instant::now() < until && !site.ledger.is_enough() {
        let from = addresses[random.below(addresses.len())];
        match random.below(4) {
            // A packet that has opened a door for somebody else.
            0 => {
                if let Some(packet) = overheard.any(random) {
                    site.ledger.note(format_args!("{from}: replays packet {}", name_of(&packet)));
                    datagram(from, SPA_PORT, &packet);
                }
            }
            // The same with one bit changed.
            1 => {
                if let Some(mut packet) = overheard.any(random) {
                    let at = random.below(packet.len());
                    packet[at] ^= 1 << random.below(8);
                    datagram(from, SPA_PORT, &packet);
                }
            }
            // All steps but the first. With all steps in a wrong order, losses could leave the right order.
            2 => steps(from, &[PLAIN[2], PLAIN[1]]),
            // A changing sequence of some minutes ago.
            _ => {
                let user = &site.users[random.below(site.users.len())];
                let window = totp::window(clock::wall_s()) - 5;
                let ports = totp::sequence(&user.secret, "web", window, totp::TotpPorts::default());
                steps(from, &ports.map(|port| port.to_string()));
            }
        }
        sent += 1;
        pause(random, 500);
    }
    sent
}

impl Overheard {
    fn keep(&self, packet: &[u8]) {
        let mut packets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if packets.len() == KEPT {
            packets.remove(0);
        }
        packets.push(packet.to_vec());
    }

    fn any(&self, random: &mut Lcg) -> Option<Vec<u8>> {
        let packets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!packets.is_empty()).then(|| packets[random.below(packets.len())].clone())
    }
}

/// A packet's name in the story of the run: the first bytes of its nonce.
fn name_of(packet: &[u8]) -> String {
    packet.iter().skip(TAG).take(6).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn steps(from: IpAddr, steps: &[impl AsRef<str>]) {
    for (number, step) in steps.iter().enumerate() {
        if number > 0 {
            thread::sleep(BETWEEN);
        }
        match step.as_ref().split_once(':') {
            Some((port, _)) => datagram(from, port.parse().expect("a port"), b"knock"),
            None => syn(from, step.as_ref().parse().expect("a port")),
        }
    }
}

/// The router's address for a client with this address.
fn router(from: IpAddr, port: u16) -> SocketAddr {
    let address = if from.is_ipv4() { ROUTER } else { ROUTER_6 };
    SocketAddr::new(address.parse().expect("an address"), port)
}

/// A network that is down refuses to send; then the knock is lost, which the ledger finds.
fn datagram(from: IpAddr, port: u16, payload: &[u8]) {
    let socket = UdpSocket::bind((from, 0)).expect("an address of this host");
    let _lost = socket.send_to(payload, router(from, port));
}

fn syn(from: IpAddr, port: u16) {
    let to = router(from, port);
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
    socket.set_nonblocking(true).expect("a socket");
    socket.bind(&SocketAddr::new(from, 0).into()).expect("an address of this host");
    // The connection attempt does not wait for the answer.
    let _begun = socket.connect(&to.into());
}
