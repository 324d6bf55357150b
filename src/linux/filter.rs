//! The kernel filter: which packets wake the daemon, compiled from the doors.
//!
//! It passes exactly the packets that [`packet::parse`](crate::core::packet::parse) reads and that
//! [`Engine::matters`] to; a test holds the three against each other on the kernel's own interpreter.
//! The steps are those of the parser, in its order, without loops.

use core::hash::BuildHasher;
use core::net::IpAddr;

use libc::{
    BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_K, BPF_LD, BPF_LDX, BPF_LSH,
    BPF_MEM, BPF_MISC, BPF_MSH, BPF_RET, BPF_ST, BPF_SUB, BPF_TAX, BPF_TXA, BPF_W, BPF_X, sock_filter,
};

use super::bpf::{
    Label,
    Operand::K,
    Operand::X,
    Program,
    Test::{AnyBit, AtLeast, Equal, Greater},
};
use crate::core::door::Door;
use crate::core::engine::{Engine, Listening};
use crate::core::packet::{MAX_EXTENSIONS, MAX_HEADERS, MAX_PACKET};
use crate::core::ports::Ports;
use crate::core::sequence::{FlagMatch, Protocol};
use crate::core::totp_knocks;

/// The family whose packets a socket receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `ETH_P_IP`
    V4,
    /// `ETH_P_IPV6`
    V6,
}

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

const IS_UDP: u32 = 0x100;

/// The filter for a family. Where the exact one is longer than the kernel takes (hundreds of ports at
/// doors with different flags), the ranges between the lowest and the highest port pass, and the engine refuses.
pub fn compile<S: BuildHasher>(engine: &Engine<'_, S>, family: Family) -> Vec<sock_filter> {
    let mut sections = sections(engine, family);
    if let Some(exact) = program(family, &sections).assemble() {
        return exact;
    }
    for section in &mut sections {
        section.udp = hull(&section.udp);
        section.tcp.iter_mut().for_each(|(_, ports)| *ports = hull(ports));
    }
    program(family, &sections).assemble().unwrap_or_else(|| vec![ret(0)])
}

/// A filter that passes nothing: what a socket has until it knows better.
pub fn nothing() -> Vec<sock_filter> {
    vec![ret(0)]
}

fn ret(k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(BPF_RET | BPF_K).expect("an opcode"), jt: 0, jf: 0, k }
}

/// The doors that listen at the same addresses.
struct Section {
    addresses: Vec<IpAddr>,
    /// For each kind of segment that is a knock, the ports that matter.
    tcp: Vec<(FlagMatch, Vec<Ports>)>,
    udp: Vec<Ports>,
    /// UDP ports whose packets are read whole.
    whole: Vec<Ports>,
}

fn sections<S: BuildHasher>(engine: &Engine<'_, S>, family: Family) -> Vec<Section> {
    let of_family = |address: &IpAddr| address.is_ipv4() == (family == Family::V4);
    let doors: Vec<&Door> = engine.doors().map(|(_, door)| door).collect();
    let mut targets: Vec<Option<IpAddr>> = doors.iter().map(|door| door.target).collect();
    targets.sort_unstable();
    targets.dedup();
    let mut sections = Vec::new();
    for target in targets {
        let own = || engine.addresses().to_vec();
        let mut addresses = target.map_or_else(own, |target| vec![target]);
        addresses.retain(of_family);
        let here: Vec<&Door> = doors.iter().copied().filter(|door| door.target == target).collect();
        let ports = |wanted: &dyn Fn(&Door) -> bool, protocol| {
            let steps = here.iter().filter(|door| wanted(door)).flat_map(|door| &door.sequence);
            let steps = steps.filter(|step| step.protocol == protocol).map(|step| step.port.get());
            let steps = steps.map(|port| Ports { first: port, last: port });
            merge(steps.chain(engine.ports().traps(protocol).iter().copied()).collect())
        };
        let mut flags: Vec<FlagMatch> = here.iter().map(|door| door.tcp_flags).collect();
        flags.sort_unstable();
        flags.dedup();
        let tcp = flags
            .into_iter()
            .map(|flags| (flags, ports(&|door| door.tcp_flags == flags, Protocol::Tcp)))
            .collect();
        sections.push(Section { addresses, tcp, udp: ports(&|_| true, Protocol::Udp), whole: Vec::new() });
    }
    let own = engine.addresses().iter().copied().filter(of_family).collect();
    // What is read whole goes first: to a door it may be a knock like any other.
    sections.splice(0..0, proofs(engine.listening(), own));
    sections
}

/// Knocks that prove who sent them, whatever the doors listen to.
fn proofs(listening: Listening, addresses: Vec<IpAddr>) -> Option<Section> {
    let Listening { packets, changing } = listening;
    if packets.is_none() && changing.is_none() {
        return None;
    }
    let whole = packets.map(|port| Ports { first: port.get(), last: port.get() }).into_iter().collect();
    let tcp = changing.map(|ports| (totp_knocks::FLAGS, vec![ports])).into_iter().collect();
    Some(Section { addresses, tcp, udp: Vec::new(), whole })
}

/// Sorted, and with neighbours joined.
fn merge(mut ports: Vec<Ports>) -> Vec<Ports> {
    ports.sort_unstable();
    let mut merged: Vec<Ports> = Vec::new();
    for range in ports {
        match merged.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => last.last = last.last.max(range.last),
            _ => merged.push(range),
        }
    }
    merged
}

fn hull(ports: &[Ports]) -> Vec<Ports> {
    let ends = ports.first().zip(ports.last());
    ends.map(|(low, high)| Ports { first: low.first, last: high.last }).into_iter().collect()
}

fn program(family: Family, sections: &[Section]) -> Program {
    let mut p = Program::new();
    let labels = Labels {
        pass: p.label(),
        whole: p.label(),
        drop: p.label(),
        tcp: p.label(),
        udp: p.label(),
        judge: p.label(),
    };
    match family {
        Family::V4 => ipv4(&mut p, labels),
        Family::V6 => ipv6(&mut p, labels),
    }
    transport(&mut p, labels);
    p.place(labels.judge);
    for section in sections {
        judge(&mut p, labels, family, section);
    }
    p.jump(labels.drop);
    if sections.iter().any(|section| !section.whole.is_empty()) {
        p.place(labels.whole);
        p.op(BPF_RET | BPF_K, u32::try_from(MAX_PACKET).expect("a few thousand"));
    }
    p.place(labels.pass);
    p.op(BPF_RET | BPF_K, u32::try_from(MAX_HEADERS).expect("a few hundred"));
    p.place(labels.drop);
    p.op(BPF_RET | BPF_K, 0);
    p
}

#[derive(Clone, Copy)]
struct Labels {
    pass: Label,
    whole: Label,
    drop: Label,
    tcp: Label,
    udp: Label,
    judge: Label,
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

/// Passes what matters to the doors of a section; goes on with the next section otherwise.
fn judge(p: &mut Program, labels: Labels, family: Family, section: &Section) {
    let (addressed, next) = (p.label(), p.label());
    match family {
        Family::V4 => p.op(BPF_LD | BPF_W | BPF_ABS, 16),
        Family::V6 => {}
    }
    for address in &section.addresses {
        match address {
            IpAddr::V4(v4) => p.when(Equal, K(v4.to_bits()), addressed),
            IpAddr::V6(v6) => {
                let other = p.label();
                for (at, word) in (24..).step_by(4).zip(v6.octets().chunks_exact(4)) {
                    p.op(BPF_LD | BPF_W | BPF_ABS, at);
                    let word = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
                    p.unless(Equal, K(word), other);
                }
                p.jump(addressed);
                p.place(other);
            }
        }
    }
    p.jump(next);

    p.place(addressed);
    let udp = p.label();
    p.op(BPF_LD | BPF_MEM, FLAGS);
    p.when(Equal, K(IS_UDP), udp);
    for (flags, ports) in &section.tcp {
        let other = p.label();
        p.op(BPF_LD | BPF_MEM, FLAGS);
        p.op(BPF_ALU | BPF_AND | BPF_K, flags.mask.into());
        p.unless(Equal, K(flags.value.into()), other);
        any_of(p, labels.pass, other, ports);
        p.place(other);
    }
    p.jump(next);
    p.place(udp);
    if !section.whole.is_empty() {
        let other = p.label();
        any_of(p, labels.whole, other, &section.whole);
        p.place(other);
    }
    any_of(p, labels.pass, next, &section.udp);
    p.place(next);
}

/// Jumps to `pass` if PORT lies in one of the ranges, which are sorted; to `none` otherwise.
fn any_of(p: &mut Program, pass: Label, none: Label, ports: &[Ports]) {
    if !ports.is_empty() {
        p.op(BPF_LD | BPF_MEM, PORT);
    }
    for range in ports {
        let above = p.label();
        p.when(Greater, K(range.last.into()), above);
        p.branch(AtLeast, K(range.first.into()), pass, none);
        p.place(above);
    }
    p.jump(none);
}

#[cfg(test)]
mod tests;
