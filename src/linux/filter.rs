//! The kernel filter, compiled from the doors: it decides which packets wake the daemon.
//!
//! The exact form passes the packets that [`packet::parse`](crate::core::packet::parse) reads and that
//! [`Engine::matters`] accepts, and no others. A test compares all three, with the filter on the kernel's own
//! interpreter. Packets that are forwarded or for another host pass only the first few instructions.

mod addressee;
mod headers;
mod ranges;
mod search;

use core::hash::BuildHasher;
use core::net::IpAddr;

use libc::{
    BPF_A, BPF_ABS, BPF_ALU, BPF_AND, BPF_IMM, BPF_K, BPF_LD, BPF_MEM, BPF_MUL, BPF_RET, BPF_ST, BPF_W,
    sock_filter,
};

use self::addressee::{Addressee, Segments, addressees};
use self::headers::{ADDRESSEE, FLAGS, IS_UDP, LENGTH, Labels, PORT, ipv4, ipv6, transport};
use self::ranges::less;
use self::search::{Interval, WordPlace, search};
use super::bpf::{
    Label,
    Operand::K,
    Program,
    Test::{AtLeast, Equal},
};
use crate::core::engine::Engine;
use crate::core::network::AddressFamily;
use crate::core::packet::{MAX_HEADERS, MAX_PACKET};
use crate::core::place::{self, Via};
use crate::core::ports::{PortRange, Scattered};

/// How exactly a filter tells knocks from other packets. The engine refuses other packets that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It passes exactly the packets that matter.
    Exact,
    /// It passes the ports of all doors at every address that is knocked at, in at most this many ranges for each
    /// protocol. It compares only the last 32 bits of an IPv6 address.
    Coarse(usize),
    /// It passes these ports at any address.
    Anywhere,
}

/// The forms from the most exact to the shortest, for which every kernel has room.
pub const FORMS: [Form; 5] =
    [Form::Exact, Form::Coarse(128), Form::Coarse(32), Form::Coarse(1), Form::Anywhere];

/// The loads of `struct sk_buff`'s packet type and device index, which `filter.rst` calls extensions.
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

/// The packets that a filter selects, and the filter's form.
#[derive(Clone, Copy, Debug)]
struct FilterSpec {
    family: AddressFamily,
    /// The kind of the device that the packets come in over.
    via: Via,
    form: Form,
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
        packets(&mut p, labels, engine, FilterSpec { family, via: Via::Network, form });
        p.place(loopback);
        packets(&mut p, labels_there, engine, FilterSpec { family, via: Via::Loopback, form });
    } else {
        packets(&mut p, labels, engine, FilterSpec { family, via, form });
    }
    p.place(labels.drop);
    p.op(BPF_RET | BPF_K, 0);
    p.assemble()
}

/// A filter that passes nothing. A socket has it until its own filter is made.
pub fn nothing() -> Vec<sock_filter> {
    let code = u16::try_from(BPF_RET | BPF_K).expect("an opcode");
    vec![sock_filter { code, jt: 0, jf: 0, k: 0 }]
}

/// Checks a packet for this host: destination, headers, port and source.
fn packets<S: BuildHasher>(p: &mut Program, labels: Labels, engine: &Engine<'_, S>, target: FilterSpec) {
    let FilterSpec { family, via, form } = target;
    let addressees = addressees(engine, target);
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
        search(p, &[WordPlace::Memory(ADDRESSEE)], &numbers, labels.drop);
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
    let words = if v4 { &[WordPlace::Packet(12)][..] } else { &[8, 12, 16, 20].map(WordPlace::Packet) };
    search(p, words, &refused, pass);
    p.place(pass);
    p.op(BPF_LD | BPF_MEM, LENGTH);
    p.op(BPF_RET | BPF_A, 0);
}

/// Drops packets that are not for one of the addressees. Stores the addressee's number in ADDRESSEE.
fn destination(
    p: &mut Program,
    labels: Labels,
    headers: Label,
    family: AddressFamily,
    form: Form,
    addressees: &[Addressee],
) {
    // The last words of an IPv6 address come first: hosts of one network differ there, and most packets are for such
    // hosts.
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
    let mut intervals = Vec::new();
    for (addressee, to) in addressees.iter().zip(&found) {
        for address in &addressee.addresses {
            let number = number(address);
            intervals.push(Interval { first: number, last: number, to: *to });
        }
    }
    intervals.sort_unstable_by_key(|interval| interval.first);
    intervals.dedup();
    let words: Vec<_> = words.iter().map(|at| WordPlace::Packet(*at)).collect();
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

/// Judges a packet to an addressee by its flags and port.
fn judge(p: &mut Program, labels: Labels, addressee: &Addressee, knock: Label, whole: Label) {
    let udp = p.label();
    p.op(BPF_LD | BPF_MEM, FLAGS);
    p.when(Equal, K(IS_UDP), udp);
    for Segments { flags, ports, scattered } in &addressee.tcp {
        let other = p.label();
        p.op(BPF_LD | BPF_MEM, FLAGS);
        p.op(BPF_ALU | BPF_AND | BPF_K, flags.mask().into());
        p.unless(Equal, K(flags.value().into()), other);
        let by_hash = p.label();
        let exempt = scattered.as_ref().map_or(&[][..], |(_, exempt)| exempt);
        let mut known = intervals(ports, knock);
        known.extend(intervals(&less(exempt, ports), other));
        known.sort_unstable_by_key(|interval| interval.first);
        search(p, &[WordPlace::Memory(PORT)], &known, if scattered.is_some() { by_hash } else { other });
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
    // Ports whose packets are read whole come first, because such a packet may be a door's knock too.
    search(p, &[WordPlace::Memory(PORT)], &intervals(&addressee.whole, whole), other);
    p.place(other);
    search(p, &[WordPlace::Memory(PORT)], &intervals(&addressee.udp, knock), labels.drop);
}

fn intervals(ports: &[PortRange], to: Label) -> Vec<Interval> {
    ports
        .iter()
        .map(|ports| Interval { first: ports.first().into(), last: ports.last().into(), to })
        .collect()
}

#[cfg(test)]
mod tests;
