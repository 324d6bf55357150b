//! The kernel filter: which packets wake the daemon, compiled from the doors.
//!
//! In its exact form it passes the packets that [`packet::parse`](crate::core::packet::parse) reads and that
//! [`Engine::matters`] to, and no others; a test holds the three against each other on the kernel's own interpreter.
//! A packet that is forwarded, or is another host's, meets the first few instructions only.

mod search;

use core::hash::BuildHasher;
use core::net::IpAddr;

use libc::{
    BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_K, BPF_LD, BPF_LDX,
    BPF_LSH, BPF_MEM, BPF_MISC, BPF_MSH, BPF_MUL, BPF_RET, BPF_ST, BPF_SUB, BPF_TAX, BPF_TXA, BPF_W, BPF_X,
    sock_filter,
};

use self::search::{Interval, Word, search};
use super::bpf::{
    Label,
    Operand::K,
    Operand::X,
    Program,
    Test::{AnyBit, AtLeast, Equal, Greater},
};
use crate::core::door::Door;
use crate::core::engine::Engine;
use crate::core::network::AddressFamily;
use crate::core::packet::{MAX_EXTENSIONS, MAX_HEADERS, MAX_PACKET};
use crate::core::place::{self, Via};
use crate::core::ports::{PortRange, Scattered};
use crate::core::sequence::{FlagMatch, Protocol};
use crate::core::totp_knocks;

/// How much of what matters a filter tells from the rest. What it passes too much is refused by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It passes what matters and nothing else.
    Exact,
    /// All addresses that are knocked at have the same ports, in at most this many ranges for each protocol; of an IPv6
    /// address the last 32 bits are compared.
    Coarse(usize),
    /// The same, at any address.
    Anywhere,
}

/// From the best to the shortest, which every kernel has room for.
pub const FORMS: [Form; 5] =
    [Form::Exact, Form::Coarse(128), Form::Coarse(32), Form::Coarse(1), Form::Anywhere];

// Scratch memory.
/// The segment's TCP flags, or [`IS_UDP`].
const FLAGS: u32 = 0;
/// Destination port.
const PORT: u32 = 1;
/// Where the packet ends by its own length field.
const END: u32 = 2;
/// The next header's number.
const NEXT: u32 = 3;
/// For a moment.
const SPARE: u32 = 4;
/// The number of the addressee.
const ADDRESSEE: u32 = 5;
/// How many bytes of the packet pass.
const LENGTH: u32 = 6;

const IS_UDP: u32 = 0x100;

/// `struct sk_buff`'s packet type, and the index of the device: loads that `filter.rst` calls extensions.
const PACKET_TYPE: u32 = ancillary(4);
const DEVICE_INDEX: u32 = ancillary(8);
/// The packet is for this host (`PACKET_HOST`).
const FOR_THIS_HOST: u32 = 0;
/// The index of `lo`, the same in every network namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK_INDEX: u32 = 1;

#[expect(clippy::cast_sign_loss, reason = "the kernel takes the offset as a number without sign")]
const fn ancillary(offset: i32) -> u32 {
    (libc::SKF_AD_OFF + offset) as u32
}

/// The filter for a family, on a socket whose packets come in `via`; `None` if it is longer than the kernel takes.
pub fn compile<S: BuildHasher>(
    engine: &Engine<'_, S>,
    family: AddressFamily,
    via: Via,
    form: Form,
) -> Option<Vec<sock_filter>> {
    let mut p = Program::new();
    let labels = Labels { drop: p.label(), tcp: p.label(), udp: p.label(), judge: p.label() };
    p.op(BPF_LD | BPF_W | BPF_ABS, PACKET_TYPE);
    p.unless(Equal, K(FOR_THIS_HOST), labels.drop);
    if via == Via::Any {
        let (loopback, labels_there) =
            (p.label(), Labels { tcp: p.label(), udp: p.label(), judge: p.label(), ..labels });
        p.op(BPF_LD | BPF_W | BPF_ABS, DEVICE_INDEX);
        p.when(Equal, K(LOOPBACK_INDEX), loopback);
        packets(&mut p, labels, engine, (family, Via::Network, form));
        p.place(loopback);
        packets(&mut p, labels_there, engine, (family, Via::Loopback, form));
    } else {
        packets(&mut p, labels, engine, (family, via, form));
    }
    p.place(labels.drop);
    p.op(BPF_RET | BPF_K, 0);
    p.assemble()
}

/// A filter that passes nothing: what a socket has until it knows better.
pub fn nothing() -> Vec<sock_filter> {
    let code = u16::try_from(BPF_RET | BPF_K).expect("an opcode");
    vec![sock_filter { code, jt: 0, jf: 0, k: 0 }]
}

/// An address, or several, and what is listened for there.
#[derive(Debug, Default, PartialEq)]
struct Addressee {
    addresses: Vec<IpAddr>,
    /// The kinds of segments that are knocks.
    tcp: Vec<Segments>,
    udp: Vec<PortRange>,
    /// UDP ports whose packets are read whole.
    whole: Vec<PortRange>,
}

/// Segments with these flags.
#[derive(Debug, PartialEq)]
struct Segments {
    flags: FlagMatch,
    /// The ports that matter.
    ports: Vec<PortRange>,
    /// Others that matter, by their hash, but for these.
    scattered: Option<(Scattered, Vec<PortRange>)>,
}

/// Everybody that packets of a family may be sent to. With any but the exact form it is one.
fn addressees<S: BuildHasher>(
    engine: &Engine<'_, S>,
    (family, via, form): (AddressFamily, Via, Form),
) -> Vec<Addressee> {
    let of_family = |address: &IpAddr| address.is_ipv4() == (family == AddressFamily::V4);
    let reached = engine.place().reached(via);
    let targets = engine.doors().filter_map(|(_, door)| door.target);
    // A target that is an address of this host counts only where that is reached.
    let targets = targets.filter(|target| !engine.place().is_own(*target) || reached.contains(target));
    let mut addresses: Vec<IpAddr> = reached.iter().copied().chain(targets).filter(of_family).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if form != Form::Exact {
        let all: Vec<&Door> = engine.doors().map(|(_, door)| door).collect();
        let mut one = addressee(engine, &all, true);
        let Form::Coarse(ranges) = form else { return vec![Addressee { addresses, ..coarse(one, 1) }] };
        one.addresses = addresses;
        return vec![coarse(one, ranges)];
    }
    let mut all: Vec<Addressee> = Vec::new();
    for address in addresses {
        let own = reached.contains(&address);
        let here: Vec<&Door> = engine
            .doors()
            .map(|(_, door)| door)
            .filter(|door| door.target.map_or(own, |target| target == address))
            .collect();
        let new = addressee(engine, &here, own);
        let same = |known: &&mut Addressee| {
            (&known.tcp, &known.udp, &known.whole) == (&new.tcp, &new.udp, &new.whole)
        };
        match all.iter_mut().find(same) {
            Some(known) => known.addresses.push(address),
            None => all.push(Addressee { addresses: vec![address], ..new }),
        }
    }
    all
}

/// What is listened for at an address that these doors are knocked at; `own` if it is this host's.
fn addressee<S: BuildHasher>(engine: &Engine<'_, S>, doors: &[&Door], own: bool) -> Addressee {
    let ports = |wanted: &dyn Fn(&Door) -> bool, protocol| {
        let steps = doors.iter().filter(|door| wanted(door)).flat_map(|door| &door.sequence);
        let steps = steps.filter(|step| step.protocol == protocol).map(|step| PortRange::one(step.port));
        merge(steps.chain(engine.ports().traps(protocol).iter().copied()).collect())
    };
    let scattered = engine.ports().scattered().map(|(scattered, exempt)| (scattered, exempt.to_vec()));
    let mut flags: Vec<FlagMatch> = doors.iter().map(|door| door.tcp_flags).collect();
    flags.sort_unstable();
    flags.dedup();
    let mut tcp: Vec<_> = flags
        .into_iter()
        .map(|flags| Segments {
            flags,
            ports: ports(&|door| door.tcp_flags == flags, Protocol::Tcp),
            scattered: scattered.clone().filter(|_| flags.is_first_segment()),
        })
        .collect();
    let udp = if doors.is_empty() { Vec::new() } else { ports(&|_| true, Protocol::Udp) };
    let listening = engine.listening();
    if let Some(range) = listening.changing.filter(|_| own) {
        match tcp.iter_mut().find(|segments| segments.flags == totp_knocks::FLAGS) {
            Some(Segments { ports, .. }) => *ports = merge(ports.iter().copied().chain([range]).collect()),
            None => tcp.push(Segments { flags: totp_knocks::FLAGS, ports: vec![range], scattered: None }),
        }
    }
    let whole = listening.packets.filter(|_| own).map(PortRange::one).into_iter().collect();
    Addressee { addresses: Vec::new(), tcp, udp, whole }
}

/// The same with at most so many ranges for each protocol, and one kind of segment.
fn coarse(mut addressee: Addressee, ranges: usize) -> Addressee {
    let all = addressee.tcp.iter().flat_map(|segments| &segments.ports).copied().collect();
    // The flags that all of them ask for.
    let flags = addressee.tcp.iter().map(|segments| segments.flags).reduce(FlagMatch::common);
    let scattered = addressee.tcp.iter().find_map(|segments| segments.scattered.as_ref());
    // What is excepted passes too, if its hash says so.
    let scattered = scattered.map(|(scattered, _)| (*scattered, Vec::new()));
    let segments = flags.map(|flags| Segments { flags, ports: join(merge(all), ranges), scattered });
    addressee.tcp = segments.into_iter().collect();
    addressee.udp = join(addressee.udp, ranges);
    addressee
}

/// Sorted, and with neighbours joined.
fn merge(mut ports: Vec<PortRange>) -> Vec<PortRange> {
    ports.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::new();
    for range in ports {
        let joined = merged.last().and_then(|last| last.joined(range));
        match (merged.last_mut(), joined) {
            (Some(last), Some(joined)) => *last = joined,
            _ => merged.push(range),
        }
    }
    merged
}

/// The ports of `all` that are in none of `others`; both are sorted and disjoint.
fn less(all: &[PortRange], others: &[PortRange]) -> Vec<PortRange> {
    let mut left = Vec::new();
    for range in all {
        let mut first = range.first();
        for other in others.iter().filter(|other| other.overlaps(*range)) {
            left.extend(other.first().checked_sub(1).and_then(|last| PortRange::new(first, last)));
            first = other.last().saturating_add(1);
            if other.last() >= range.last() {
                break;
            }
        }
        let covered = others.iter().any(|other| other.contains(range.last()));
        left.extend(PortRange::new(first, range.last()).filter(|_| !covered));
    }
    left
}

/// At most so many ranges: those with the narrowest gaps between them become one.
fn join(mut ports: Vec<PortRange>, most: usize) -> Vec<PortRange> {
    let Some(gone) = ports.len().checked_sub(most).filter(|gone| *gone > 0) else { return ports };
    let mut gaps: Vec<(u16, usize)> =
        (1..ports.len()).map(|at| (ports[at].first() - ports[at - 1].last(), at)).collect();
    gaps.sort_unstable();
    let mut joined: Vec<usize> = gaps.into_iter().take(gone).map(|(_, at)| at).collect();
    joined.sort_unstable();
    for at in joined.into_iter().rev() {
        let next = ports.remove(at);
        ports[at - 1] = ports[at - 1].hull(next);
    }
    ports
}

#[derive(Clone, Copy)]
struct Labels {
    drop: Label,
    tcp: Label,
    udp: Label,
    judge: Label,
}

/// Everything about a packet for this host: destination, headers, port, source.
fn packets<S: BuildHasher>(
    p: &mut Program,
    labels: Labels,
    engine: &Engine<'_, S>,
    (family, via, form): (AddressFamily, Via, Form),
) {
    let addressees = addressees(engine, (family, via, form));
    let headers = p.label();
    if form == Form::Anywhere {
        p.jump(headers);
    } else {
        destination(p, labels, headers, family, form, &addressees);
    }
    p.place(headers);
    match family {
        AddressFamily::V4 => ipv4(p, labels),
        AddressFamily::V6 => ipv6(p, labels),
    }
    transport(p, labels);

    p.place(labels.judge);
    let (knock, whole, source) = (p.label(), p.label(), p.label());
    let each: Vec<Label> = addressees.iter().map(|_| p.label()).collect();
    let numbers: Vec<_> = (0..).zip(&each).map(|(n, to)| Interval { first: n, last: n, to: *to }).collect();
    if let [only] = each[..] {
        p.jump(only);
    } else {
        search(p, &[Word::Memory(ADDRESSEE)], &numbers, labels.drop);
    }
    for (addressee, label) in addressees.iter().zip(each) {
        p.place(label);
        judge(p, labels, addressee, knock, whole);
    }

    p.place(whole);
    p.op(BPF_LD | BPF_IMM, u32::try_from(MAX_PACKET).expect("a few thousand"));
    p.jump(source);
    p.place(knock);
    p.op(BPF_LD | BPF_IMM, u32::try_from(MAX_HEADERS).expect("a few hundred"));
    p.place(source);
    p.op(BPF_ST, LENGTH);
    let pass = p.label();
    let v4 = family == AddressFamily::V4;
    let refused = match (via, form) {
        (Via::Loopback, _) => place::never_on_loopback(v4),
        (_, Form::Exact) => engine.place().martians(v4).as_slice(),
        _ => place::never(v4),
    };
    let refused: Vec<_> = refused
        .iter()
        .map(|(first, last)| Interval { first: *first, last: *last, to: labels.drop })
        .collect();
    let words = if v4 { &[Word::Packet(12)][..] } else { &[8, 12, 16, 20].map(Word::Packet) };
    search(p, words, &refused, pass);
    p.place(pass);
    p.op(BPF_LD | BPF_MEM, LENGTH);
    p.op(BPF_RET | BPF_A, 0);
}

/// Goes on for packets to one of the addressees, and keeps which.
fn destination(
    p: &mut Program,
    labels: Labels,
    headers: Label,
    family: AddressFamily,
    form: Form,
    addressees: &[Addressee],
) {
    // The last words of an IPv6 address first: hosts of one network differ there, and most packets are for such.
    let words = match (family, form) {
        (AddressFamily::V4, _) => &[16][..],
        (AddressFamily::V6, Form::Exact) => &[36, 32, 28, 24],
        (AddressFamily::V6, _) => &[36],
    };
    let number = |address: &IpAddr| match *address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => {
            let word = |at: u32| v6.to_bits() >> (32 * ((36 - at) / 4)) & 0xffff_ffff;
            words.iter().fold(0, |number, at| number << 32 | word(*at))
        }
    };
    let found: Vec<Label> = addressees.iter().map(|_| p.label()).collect();
    let mut intervals: Vec<_> = addressees
        .iter()
        .zip(&found)
        .flat_map(|(addressee, to)| addressee.addresses.iter().map(|address| (number(address), *to)))
        .map(|(number, to)| Interval { first: number, last: number, to })
        .collect();
    intervals.sort_unstable_by_key(|interval| interval.first);
    intervals.dedup();
    let words: Vec<_> = words.iter().map(|at| Word::Packet(*at)).collect();
    search(p, &words, &intervals, labels.drop);
    for (n, label) in (0..).zip(&found) {
        p.place(*label);
        if found.len() > 1 {
            p.op(BPF_LD | BPF_IMM, n);
            p.op(BPF_ST, ADDRESSEE);
        }
        p.jump(headers);
    }
}

/// Leaves the transport header's place in X and the packet's end in END.
fn ipv4(p: &mut Program, labels: Labels) {
    p.op(BPF_LD | BPF_B | BPF_ABS, 0);
    p.op(BPF_ALU | BPF_AND | BPF_K, 0xf0);
    p.unless(Equal, K(0x40), labels.drop);
    p.op(BPF_LDX | BPF_B | BPF_MSH, 0); // X = header length
    p.op(BPF_MISC | BPF_TXA, 0);
    p.unless(AtLeast, K(20), labels.drop);
    p.op(BPF_LD | BPF_H | BPF_ABS, 6);
    p.when(AnyBit, K(0x3fff), labels.drop); // a fragment
    p.op(BPF_LD | BPF_H | BPF_ABS, 2);
    p.op(BPF_ST, END);
    p.op(BPF_LD | BPF_B | BPF_ABS, 9);
    p.when(Equal, K(6), labels.tcp);
    p.when(Equal, K(17), labels.udp);
    p.jump(labels.drop);
}

/// The same, through the chain of extension headers.
fn ipv6(p: &mut Program, labels: Labels) {
    p.op(BPF_LD | BPF_B | BPF_ABS, 0);
    p.op(BPF_ALU | BPF_AND | BPF_K, 0xf0);
    p.unless(Equal, K(0x60), labels.drop);
    p.op(BPF_LD | BPF_H | BPF_ABS, 4);
    p.op(BPF_ALU | BPF_ADD | BPF_K, 40);
    p.op(BPF_ST, END);
    p.op(BPF_LDX | BPF_IMM, 40);
    p.op(BPF_LD | BPF_B | BPF_ABS, 6);
    for _ in 0..MAX_EXTENSIONS {
        let (units, words, fragment, advance) = (p.label(), p.label(), p.label(), p.label());
        p.op(BPF_ST, NEXT);
        p.when(Equal, K(6), labels.tcp);
        p.when(Equal, K(17), labels.udp);
        for number in [0, 43, 60] {
            p.when(Equal, K(number), units);
        }
        p.when(Equal, K(51), words);
        p.when(Equal, K(44), fragment);
        p.jump(labels.drop);

        p.place(units);
        p.op(BPF_LD | BPF_B | BPF_IND, 1);
        p.op(BPF_ALU | BPF_ADD | BPF_K, 1);
        p.op(BPF_ALU | BPF_LSH | BPF_K, 3);
        p.jump(advance);

        p.place(words);
        p.op(BPF_LD | BPF_B | BPF_IND, 1);
        p.op(BPF_ALU | BPF_ADD | BPF_K, 2);
        p.op(BPF_ALU | BPF_LSH | BPF_K, 2);
        p.jump(advance);

        p.place(fragment);
        p.op(BPF_LD | BPF_H | BPF_IND, 2);
        p.when(AnyBit, K(0xfff9), labels.drop); // but for an atomic one
        p.op(BPF_LD | BPF_IMM, 8);

        p.place(advance); // A = this header's length, X = its place
        p.op(BPF_ST, SPARE);
        p.op(BPF_LD | BPF_B | BPF_IND, 0);
        p.op(BPF_ST, NEXT);
        p.op(BPF_LD | BPF_MEM, SPARE);
        p.op(BPF_ALU | BPF_ADD | BPF_X, 0);
        p.op(BPF_MISC | BPF_TAX, 0);
        p.op(BPF_LD | BPF_MEM, NEXT);
    }
    p.when(Equal, K(6), labels.tcp);
    p.when(Equal, K(17), labels.udp);
    p.jump(labels.drop);
}

/// From X and END to FLAGS and PORT.
fn transport(p: &mut Program, labels: Labels) {
    p.place(labels.tcp);
    fits(p, labels, 20);
    p.op(BPF_LD | BPF_B | BPF_IND, 12);
    p.unless(AtLeast, K(5 << 4), labels.drop); // data offset
    p.op(BPF_LD | BPF_H | BPF_IND, 2);
    p.op(BPF_ST, PORT);
    p.op(BPF_LD | BPF_B | BPF_IND, 13);
    p.op(BPF_ST, FLAGS);
    p.jump(labels.judge);

    p.place(labels.udp);
    fits(p, labels, 8);
    p.op(BPF_LD | BPF_H | BPF_IND, 4);
    p.unless(AtLeast, K(8), labels.drop); // length
    p.op(BPF_LD | BPF_H | BPF_IND, 2);
    p.op(BPF_ST, PORT);
    p.op(BPF_LD | BPF_IMM, IS_UDP);
    p.op(BPF_ST, FLAGS);
}

/// A header of `len` bytes at X lies within the packet, by its own length field and in fact, and within
/// what the parser looks at.
fn fits(p: &mut Program, labels: Labels, len: u32) {
    p.op(BPF_LD | BPF_B | BPF_IND, len - 1);
    p.op(BPF_MISC | BPF_TXA, 0);
    p.op(BPF_ALU | BPF_ADD | BPF_K, len);
    p.when(Greater, K(u32::try_from(MAX_HEADERS).expect("a few hundred")), labels.drop);
    p.op(BPF_ST, SPARE);
    p.op(BPF_LDX | BPF_MEM, END);
    p.when(Greater, X, labels.drop);
    p.op(BPF_ALU | BPF_SUB | BPF_K, len);
    p.op(BPF_MISC | BPF_TAX, 0);
}

/// Where a packet to an addressee goes on, by its flags and port.
fn judge(p: &mut Program, labels: Labels, addressee: &Addressee, knock: Label, whole: Label) {
    let udp = p.label();
    p.op(BPF_LD | BPF_MEM, FLAGS);
    p.when(Equal, K(IS_UDP), udp);
    for Segments { flags, ports, scattered } in &addressee.tcp {
        let other = p.label();
        p.op(BPF_LD | BPF_MEM, FLAGS);
        p.op(BPF_ALU | BPF_AND | BPF_K, flags.mask.into());
        p.unless(Equal, K(flags.value.into()), other);
        let by_hash = p.label();
        let exempt = scattered.as_ref().map_or(&[][..], |(_, exempt)| exempt);
        let mut known = intervals(ports, knock);
        known.extend(intervals(&less(exempt, ports), other));
        known.sort_unstable_by_key(|interval| interval.first);
        search(p, &[Word::Memory(PORT)], &known, if scattered.is_some() { by_hash } else { other });
        p.place(by_hash);
        if let Some((Scattered { factor }, _)) = scattered {
            p.op(BPF_LD | BPF_MEM, PORT);
            p.op(BPF_ALU | BPF_MUL | BPF_K, *factor);
            p.branch(AtLeast, K(Scattered::THRESHOLD), knock, other);
        }
        p.place(other);
    }
    p.jump(labels.drop);
    p.place(udp);
    let other = p.label();
    // What is read whole goes first: to a door it may be a knock like any other.
    search(p, &[Word::Memory(PORT)], &intervals(&addressee.whole, whole), other);
    p.place(other);
    search(p, &[Word::Memory(PORT)], &intervals(&addressee.udp, knock), labels.drop);
}

fn intervals(ports: &[PortRange], to: Label) -> Vec<Interval> {
    ports
        .iter()
        .map(|ports| Interval { first: ports.first().into(), last: ports.last().into(), to })
        .collect()
}

#[cfg(test)]
mod tests;
