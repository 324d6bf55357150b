//! Evaluates a rule for a packet. Each expression runs in turn on registers, as in the kernel.

use super::effect::{Effect, Tri};
use super::lookup::{LookupResult, Registers, SetPath};
use super::packet::Packet;
use super::{Family, LoadedRules, number, text, xt};
use crate::linux::netlink::message::Attributes;

/// `NFT_REG_VERDICT`.
const VERDICT: u32 = 0;

/// An expression of a rule, with its name and attributes.
struct Expression<'e> {
    name: &'e [u8],
    data: Attributes<'e>,
}

impl<'e> Expression<'e> {
    fn read(attributes: &'e [u8]) -> Option<Self> {
        let attributes = Attributes::new(attributes);
        let name = attributes.clone().find(1)?;
        let data = Attributes::new(attributes.find(2).unwrap_or(&[]));
        Some(Self { name: name.strip_suffix(b"\0").unwrap_or(name), data })
    }

    /// An attribute as a number.
    fn get(&self, kind: u16) -> Option<u32> {
        self.data.clone().find(kind).and_then(number)
    }

    /// An attribute as a length in bytes.
    fn len(&self, kind: u16) -> usize {
        self.get(kind).and_then(|len| usize::try_from(len).ok()).unwrap_or(0)
    }

    /// `NFTA_DATA_VALUE` in an attribute.
    fn value(&self, kind: u16) -> Option<&'e [u8]> {
        Attributes::new(self.data.clone().find(kind)?).find(1)
    }

    /// The contents of the register that an attribute names.
    fn held(&self, kind: u16, len: usize, registers: &Registers) -> Option<Vec<u8>> {
        registers.get(self.get(kind)?, len)
    }

    /// The port in the register that an attribute names.
    fn port(&self, kind: u16, registers: &Registers) -> Option<u16> {
        Some(u16::from_be_bytes(*self.held(kind, 2, registers)?.first_chunk()?))
    }
}

/// The result of an expression.
enum ExpressionResult {
    /// A condition.
    Is(Tri),
    /// An effect, which ends the rule.
    Does(Effect),
}

impl LoadedRules {
    /// Whether a rule matches a packet, and its effect then.
    pub(super) fn evaluate(
        &mut self,
        family: Family,
        table: &str,
        expressions: &[u8],
        packet: &mut Packet<'_>,
    ) -> (Tri, Effect) {
        let mut registers = Registers([None; 20]);
        let mut applies = Tri::Yes;
        let expressions = Attributes::new(expressions);
        for expression in expressions.filter_map(|(_, expression)| Expression::read(expression)) {
            let surely = applies == Tri::Yes;
            let step = match expression.name {
                b"lookup" => self.look_up(family, table, &expression, &mut registers, packet),
                b"match" | b"target" => legacy(&expression, packet, surely),
                _ => load(&expression, &mut registers, packet, surely)
                    .or_else(|| test(&expression, &registers).map(ExpressionResult::Is))
                    .or_else(|| end(&expression, &registers, packet, surely))
                    .unwrap_or_else(|| {
                        // An unknown expression may load any value, and may match or not.
                        for register in [1, 2].into_iter().filter_map(|kind| expression.get(kind)) {
                            registers.set(register, None, 16);
                        }
                        ExpressionResult::Is(Tri::Maybe)
                    }),
            };
            match step {
                ExpressionResult::Is(Tri::No) => return (Tri::No, Effect::Continue),
                ExpressionResult::Is(Tri::Maybe) => applies = Tri::Maybe,
                ExpressionResult::Is(Tri::Yes) => {}
                ExpressionResult::Does(effect) => return (applies, effect),
            }
        }
        (applies, Effect::Continue)
    }

    /// Looks up a register in a set, or in a map that gives a verdict.
    fn look_up(
        &mut self,
        family: Family,
        table: &str,
        expression: &Expression<'_>,
        registers: &mut Registers,
        packet: &Packet<'_>,
    ) -> ExpressionResult {
        let set = text(&expression.data, 1).unwrap_or_default();
        let inverted = expression.get(5).is_some_and(|flags| flags & 1 != 0);
        let to = expression.get(3);
        let path = SetPath { family, table, set: &set };
        let element = match self.find(path, expression.get(2).unwrap_or(0), registers, packet) {
            LookupResult::Unknown if to == Some(VERDICT) => return ExpressionResult::Does(Effect::Unknown),
            LookupResult::Unknown => {
                registers.set(to.unwrap_or(0), None, 16);
                return ExpressionResult::Is(Tri::Maybe);
            }
            LookupResult::No => return ExpressionResult::Is(Tri::of(inverted)),
            LookupResult::Yes(element) => element,
        };
        let element = element.unwrap_or_default();
        let data = Attributes::new(Attributes::new(&element).find(2).unwrap_or(&[]));
        match (to, data.clone().find(2)) {
            (Some(VERDICT), Some(verdict)) => return ExpressionResult::Does(verdict_of(verdict)),
            (Some(register), None) => {
                let bytes = data.find(1).unwrap_or(&[]);
                registers.set(register, Some(bytes), bytes.len());
            }
            _ => {}
        }
        ExpressionResult::Is(Tri::of(!inverted))
    }
}

/// Runs an expression that loads a register, or that does not matter here.
fn load(
    expression: &Expression<'_>,
    registers: &mut Registers,
    packet: &mut Packet<'_>,
    surely: bool,
) -> Option<ExpressionResult> {
    let number = |kind| expression.get(kind).unwrap_or(0);
    match expression.name {
        b"meta" => match (expression.get(1), expression.get(3)) {
            (Some(register), _) => {
                let bytes = packet.meta(number(2));
                registers.set(register, bytes.as_deref(), bytes.as_ref().map_or(16, Vec::len));
            }
            // NFT_META_MARK
            (None, Some(_)) if number(2) == 3 => {
                let mark = expression.held(3, 4, registers).filter(|_| surely);
                packet.mark = mark.and_then(|mark| mark.first_chunk().copied()).map(u32::from_ne_bytes);
            }
            _ => {}
        },
        b"ct" => {
            let bytes = packet.connection(number(2));
            registers.set(number(1), bytes.as_deref(), bytes.as_ref().map_or(16, Vec::len));
        }
        // Without a destination register the expression changes the packet.
        b"payload" => {
            let len = expression.len(4);
            registers.set(number(1), packet.payload(number(2), number(3), len), len);
        }
        b"bitwise" => {
            let len = expression.len(3);
            let result = match (expression.held(1, len, registers), expression.value(4), expression.value(5))
            {
                (Some(source), Some(mask), Some(xor)) if number(6) == 0 => {
                    let bytes = source.iter().zip(mask).zip(xor);
                    Some(bytes.map(|((byte, mask), xor)| byte & mask ^ xor).collect::<Vec<_>>())
                }
                _ => None,
            };
            registers.set(number(2), result.as_deref(), len);
        }
        b"byteorder" => {
            let (len, size) = (expression.len(4), expression.len(5).max(1));
            let turned = expression.held(1, len, registers).map(|mut bytes| {
                if cfg!(target_endian = "little") {
                    bytes.chunks_mut(size).for_each(<[u8]>::reverse);
                }
                bytes
            });
            registers.set(number(2), turned.as_deref(), len);
        }
        b"fib" => {
            let result = packet.fib(number(2), number(3)).map(u32::to_ne_bytes);
            registers.set(number(1), result.as_ref().map(|bytes| &bytes[..]), 4);
        }
        b"immediate" if number(1) != VERDICT => {
            let bytes = expression.value(2).unwrap_or(&[]);
            registers.set(number(1), Some(bytes), bytes.len());
        }
        b"counter" | b"log" | b"notrack" | b"last" | b"objref" | b"flow_offload" | b"dup" => {}
        _ => return None,
    }
    Some(ExpressionResult::Is(Tri::Yes))
}

/// Runs an expression that is a condition.
fn test(expression: &Expression<'_>, registers: &Registers) -> Option<Tri> {
    let operator = expression.get(2);
    let is = |condition: Option<bool>| condition.map_or(Tri::Maybe, Tri::of);
    Some(match expression.name {
        b"cmp" => {
            let wanted = expression.value(3).unwrap_or(&[]);
            is(expression.held(1, wanted.len(), registers).map(|found| {
                let order = found.as_slice().cmp(wanted);
                match operator {
                    Some(0) => order.is_eq(),
                    Some(1) => order.is_ne(),
                    Some(2) => order.is_lt(),
                    Some(3) => order.is_le(),
                    Some(4) => order.is_gt(),
                    _ => order.is_ge(),
                }
            }))
        }
        b"range" => {
            let (from, to) = (expression.value(3).unwrap_or(&[]), expression.value(4).unwrap_or(&[]));
            let found = expression.held(1, from.len(), registers);
            is(found.map(|found| (from <= &found[..] && &found[..] <= to) == (operator == Some(0))))
        }
        // The packet is taken to be within the limit, so a rule for packets over the limit does not match.
        b"limit" => Tri::of(expression.get(5).is_none_or(|flags| flags & 1 == 0)),
        b"connlimit" | b"quota" => Tri::of(operator.is_none_or(|flags| flags & 1 == 0)),
        _ => return None,
    })
}

/// Runs an expression that ends the rule.
fn end(
    expression: &Expression<'_>,
    registers: &Registers,
    packet: &mut Packet<'_>,
    surely: bool,
) -> Option<ExpressionResult> {
    Some(ExpressionResult::Does(match expression.name {
        b"immediate" => {
            let data = Attributes::new(expression.data.clone().find(2).unwrap_or(&[]));
            data.find(2).map_or(Effect::Continue, verdict_of)
        }
        b"reject" => Effect::Drop,
        // NFT_NAT_DNAT
        b"nat" if expression.get(1) == Some(1) && surely => {
            let len = if packet.is_ipv4() { 4 } else { 16 };
            packet.translate(expression.held(3, len, registers).as_deref(), expression.port(5, registers));
            Effect::Accept
        }
        b"redir" if surely => {
            packet.translate(None, expression.port(1, registers));
            Effect::Accept
        }
        b"nat" | b"redir" | b"masq" => Effect::Accept,
        b"queue" | b"tproxy" | b"synproxy" => Effect::Unknown,
        _ => return None,
    }))
}

/// Runs a match or target of iptables.
fn legacy(expression: &Expression<'_>, packet: &mut Packet<'_>, surely: bool) -> ExpressionResult {
    let name = text(&expression.data, 1).unwrap_or_default();
    let info = expression.data.clone().find(3).unwrap_or(&[]);
    let revision = expression.get(2).unwrap_or(0);
    if expression.name == b"match" {
        return ExpressionResult::Is(xt::matches(&name, revision, info, packet));
    }
    match xt::target(&name, revision, info, packet, surely) {
        Effect::Continue => ExpressionResult::Is(Tri::Yes),
        effect => ExpressionResult::Does(effect),
    }
}

fn verdict_of(verdict: &[u8]) -> Effect {
    let verdict = Attributes::new(verdict);
    let chain = || text(&verdict, 2).unwrap_or_default();
    match verdict.clone().find(1).and_then(number).map(u32::cast_signed) {
        Some(0) => Effect::Drop,
        Some(1) => Effect::Accept,
        Some(-1) => Effect::Continue,
        Some(-3) => Effect::Jump(chain()),
        Some(-4) => Effect::Goto(chain()),
        Some(-5) => Effect::Return,
        _ => Effect::Unknown,
    }
}
