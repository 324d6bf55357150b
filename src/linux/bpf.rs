//! Classic BPF as data: an assembler with labels, for the filter that the kernel runs on each packet.
//!
//! Semantics and opcodes: `Documentation/networking/filter.rst`. Loads are big-endian; a load beyond
//! the packet's end ends the program and drops the packet.

use libc::sock_filter;

/// Longest program that the kernel takes (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// A place in a program that jumps can lead to. [`Program::label`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// The value that a conditional jump compares A with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A constant.
    K(u32),
    /// Register X.
    X,
}

/// The unsigned comparison of a conditional jump, of A with its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// `A == operand`
    Equal,
    /// `A > operand`
    Greater,
    /// `A >= operand`
    AtLeast,
    /// `A & operand != 0`
    AnyBit,
}

#[derive(Clone, Copy, Debug)]
enum Instruction {
    /// An instruction that does not jump.
    Plain(sock_filter),
    /// A jump to the first label if the test holds, otherwise to the second.
    Branch(Test, Operand, Label, Label),
    Jump(Label),
}

/// A program being written. Jumps go forward only.
#[derive(Debug, Default)]
pub struct Program {
    instructions: Vec<Instruction>,
    /// For each label, the instruction it stands before.
    labels: Vec<Option<usize>>,
}

impl Program {
    /// An empty program.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new label that has no place yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places a label here.
    pub fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.instructions.len());
    }

    /// Adds an instruction that does not jump. For `code` see `linux/filter.h`.
    pub fn op(&mut self, code: u32, k: u32) {
        let code = u16::try_from(code).expect("opcodes have 16 bits");
        self.instructions.push(Instruction::Plain(sock_filter { code, jt: 0, jf: 0, k }));
    }

    /// Jumps unless the test holds.
    pub fn unless(&mut self, test: Test, operand: Operand, otherwise: Label) {
        let next = self.label();
        self.branch(test, operand, next, otherwise);
        self.place(next);
    }

    /// Jumps if the test holds.
    pub fn when(&mut self, test: Test, operand: Operand, then: Label) {
        let next = self.label();
        self.branch(test, operand, then, next);
        self.place(next);
    }

    /// Jumps to the first label if the test holds, otherwise to the second.
    pub fn branch(&mut self, test: Test, operand: Operand, then: Label, otherwise: Label) {
        self.instructions.push(Instruction::Branch(test, operand, then, otherwise));
    }

    /// Jumps.
    pub fn jump(&mut self, to: Label) {
        self.instructions.push(Instruction::Jump(to));
    }

    /// The program as the kernel takes it; `None` if it is longer than [`MAX_INSTRUCTIONS`].
    pub fn assemble(&self) -> Option<Vec<sock_filter>> {
        // A branch reaches 255 instructions. One that must go further is followed by two long jumps.
        let mut long = vec![false; self.instructions.len()];
        loop {
            let at = Self::positions(&long);
            let target = |label: Label| at[self.labels[label.0].expect("every label is placed")];
            let mut grew = false;
            for (n, instruction) in self.instructions.iter().enumerate() {
                if let Instruction::Branch(_, _, yes, no) = *instruction {
                    let far = |label| target(label) - at[n] - 1 > usize::from(u8::MAX);
                    if !long[n] && (far(yes) || far(no)) {
                        (long[n], grew) = (true, true);
                    }
                }
            }
            if !grew {
                let mut program = Vec::new();
                for (n, long) in long.iter().enumerate() {
                    self.encode(&mut program, n, *long, target);
                }
                return (program.len() <= MAX_INSTRUCTIONS).then_some(program);
            }
        }
    }

    /// The position of each instruction, and of the program's end.
    fn positions(long: &[bool]) -> Vec<usize> {
        let mut at = vec![0];
        for long in long {
            at.push(at[at.len() - 1] + if *long { 3 } else { 1 });
        }
        at
    }

    /// Appends an instruction to the program.
    fn encode(&self, program: &mut Vec<sock_filter>, n: usize, long: bool, target: impl Fn(Label) -> usize) {
        let at = program.len();
        // A jump from the instruction after `from` to `label`.
        let jump = |from: usize, label| sock_filter {
            code: code(libc::BPF_JMP | libc::BPF_JA),
            jt: 0,
            jf: 0,
            k: u32::try_from(target(label) - from - 1).expect("at most MAX_INSTRUCTIONS"),
        };
        match self.instructions[n] {
            Instruction::Plain(plain) => program.push(plain),
            Instruction::Jump(to) => program.push(jump(at, to)),
            Instruction::Branch(test, operand, yes, no) => {
                let near = |label| u8::try_from(target(label) - at - 1).expect("not long, so near");
                let (jt, jf) = if long { (0, 1) } else { (near(yes), near(no)) };
                let (source, k) = match operand {
                    Operand::K(k) => (libc::BPF_K, k),
                    Operand::X => (libc::BPF_X, 0),
                };
                let test = match test {
                    Test::Equal => libc::BPF_JEQ,
                    Test::Greater => libc::BPF_JGT,
                    Test::AtLeast => libc::BPF_JGE,
                    Test::AnyBit => libc::BPF_JSET,
                };
                program.push(sock_filter { code: code(libc::BPF_JMP | test | source), jt, jf, k });
                if long {
                    program.extend([jump(at + 1, yes), jump(at + 2, no)]);
                }
            }
        }
    }
}

fn code(code: u32) -> u16 {
    u16::try_from(code).expect("opcodes have 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(program: &Program) -> Vec<(u16, u8, u8, u32)> {
        program.assemble().unwrap().iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect()
    }

    #[test]
    fn near_jumps_fit_into_the_branch() {
        let mut program = Program::new();
        let drop = program.label();
        program.op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0);
        program.unless(Test::Equal, Operand::K(7), drop);
        program.op(libc::BPF_RET | libc::BPF_K, 1);
        program.place(drop);
        program.op(libc::BPF_RET | libc::BPF_K, 0);
        assert_eq!(text(&program), [(0x30, 0, 0, 0), (0x15, 0, 1, 7), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]);
    }

    #[test]
    fn far_jumps_go_by_a_long_jump() {
        let mut program = Program::new();
        let drop = program.label();
        program.when(Test::Greater, Operand::X, drop);
        (0..300).for_each(|_| program.op(libc::BPF_MISC | libc::BPF_TAX, 0));
        program.place(drop);
        program.op(libc::BPF_RET | libc::BPF_K, 0);
        let text = text(&program);
        assert_eq!(text[..3], [(0x2d, 0, 1, 0), (0x05, 0, 0, 301), (0x05, 0, 0, 0)]);
        assert_eq!((text.len(), text[303]), (304, (0x06, 0, 0, 0)));
    }

    #[test]
    fn the_kernels_limit_is_kept() {
        let mut program = Program::new();
        (0..MAX_INSTRUCTIONS).for_each(|_| program.op(libc::BPF_RET | libc::BPF_K, 0));
        assert_eq!(program.assemble().map(|program| program.len()), Some(MAX_INSTRUCTIONS));
        program.op(libc::BPF_RET | libc::BPF_K, 0);
        assert!(program.assemble().is_none());
    }
}
