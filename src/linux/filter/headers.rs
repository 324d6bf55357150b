//! The part of the filter that reads the headers of IPv4, IPv6, TCP and UDP, as [`crate::core::packet::parse`] does.

use libc::{
    BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_K, BPF_LD, BPF_LDX, BPF_LSH,
    BPF_MEM, BPF_MISC, BPF_MSH, BPF_ST, BPF_SUB, BPF_TAX, BPF_TXA, BPF_X,
};

use super::super::bpf::{
    Label,
    Operand::K,
    Operand::X,
    Program,
    Test::{AnyBit, AtLeast, Equal, Greater},
};
use crate::core::packet::{MAX_EXTENSIONS, MAX_HEADERS};

// Scratch memory.
/// The segment's TCP flags, or [`IS_UDP`].
pub(super) const FLAGS: u32 = 0;
/// Destination port.
pub(super) const PORT: u32 = 1;
/// The end of the packet according to its own length field.
const END: u32 = 2;
/// The next header's number.
const NEXT: u32 = 3;
/// A value that a later instruction needs.
const SPARE: u32 = 4;
/// The number of the addressee.
pub(super) const ADDRESSEE: u32 = 5;
/// The number of bytes of the packet that pass.
pub(super) const LENGTH: u32 = 6;

pub(super) const IS_UDP: u32 = 0x100;

/// The labels at which the parts of the program begin.
#[derive(Clone, Copy)]
pub(super) struct Labels {
    pub(super) drop: Label,
    pub(super) tcp: Label,
    pub(super) udp: Label,
    pub(super) judge: Label,
}

/// Reads the IPv4 header. X becomes the offset of the transport header, END the end of the packet.
pub(super) fn ipv4(p: &mut Program, labels: Labels) {
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

/// Reads the IPv6 header and its extension headers, with the same results.
pub(super) fn ipv6(p: &mut Program, labels: Labels) {
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

/// Reads the transport header at X, and stores FLAGS and PORT.
pub(super) fn transport(p: &mut Program, labels: Labels) {
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

/// Drops the packet unless a header of `len` bytes at X lies within it, within its length field, and within the bytes
/// that the parser reads.
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
