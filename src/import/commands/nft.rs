//! Recognises commands of nft.

use super::{ByHandle, Deed, ForeignChain, ForeignFirewall, ForeignRule, ports, protocol_of};
use crate::core::network::AddressFamily;

/// Reads `nft add rule [FAMILY] TABLE input ip saddr %IP% tcp dport 22 accept`. `words` follow the program.
pub(super) fn read(words: &[String]) -> Option<Deed> {
    // nft joins its arguments into one line of its own language, in which braces and commas are words.
    let line = words.join(" ");
    let spaced: String =
        line.chars().flat_map(|c| if "{},".contains(c) { vec![' ', c, ' '] } else { vec![c] }).collect();
    let mut words = spaced.split_whitespace().peekable();
    let (verb, what) = (words.next()?, words.next()?);
    if what == "element" && matches!(verb, "add" | "delete") {
        return Some(Deed::Foreign("nft add element"));
    }
    if !matches!(verb, "add" | "insert") || what != "rule" {
        return None;
    }
    let table_family = words.next_if(|word| matches!(*word, "inet" | "ip" | "ip6")).unwrap_or("ip");
    let table = words.next()?;
    if words.next()? != "input" {
        return None;
    }
    let (mut family, mut ports, mut accepts) = (None, None, false);
    while let Some(word) = words.next() {
        match word {
            "ip" | "ip6" if family.is_none() => {
                if words.next()? != "saddr" || words.next()? != "%IP%" {
                    return None;
                }
                family = Some(if word == "ip" { AddressFamily::V4 } else { AddressFamily::V6 });
            }
            "tcp" | "udp" if ports.is_none() => {
                let protocol = protocol_of(word)?;
                if words.next()? != "dport" {
                    return None;
                }
                let mut list = words.next()?.to_owned();
                if list == "{" {
                    let inside: Vec<_> = words.by_ref().take_while(|word| *word != "}").collect();
                    list = inside.concat();
                }
                ports = Some((protocol, ports::list(&list, '-')?));
            }
            "ct" => {
                if words.next()? != "state" {
                    return None;
                }
                let mut new = words.next()? == "new";
                while words.next_if_eq(&",").is_some() {
                    new |= words.next()? == "new";
                }
                if !new {
                    return None;
                }
            }
            "counter" => {}
            "accept" if !accepts => accepts = true,
            "comment" if accepts => drop(words.by_ref().last()),
            _ => return None,
        }
    }
    let (protocol, ports) = ports.filter(|_| accepts)?;
    let program = ForeignFirewall::Nft(format!("{table_family} {table}"));
    Some(Deed::Open(ForeignRule {
        program,
        chain: ForeignChain::Input,
        protocol,
        ports,
        family: family?,
        device: None,
    }))
}

/// Recognises a pipeline or a loop that finds the rules of `%IP%` and deletes them by their handles. nft can delete a rule
/// only by its handle. The command is recognised only if it changes nothing else.
pub(super) fn by_handle(command: &str) -> Option<ByHandle> {
    const MAY_STAND_IN_IT: &[&str] = &[
        "nft", "sudo", "usr", "sbin", "bin", "h", "i", "-a", "list", "chain", "table", "ruleset", "awk",
        "gawk", "grep", "sed", "cut", "tail", "head", "tr", "xargs", "for", "in", "do", "done", "while",
        "read", "delete", "rule", "handle", "inet", "ip", "ip6", "input", "print", "$NF", "0-9", "-n", "-E",
        "-o", "-oP", "-m1", "-F", "-d", "-f", "-f2", "-r", "-I", "-I{}", "-L1", "accept", "saddr", "dport",
        "tcp", "udp", "%IP%",
    ];
    let (_, behind) = command.split_once("delete rule ")?;
    let mut words = behind.split_whitespace().peekable();
    words.next_if(|word| matches!(*word, "inet" | "ip" | "ip6"));
    let table = words.next()?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
    if words.next()? != "input" || words.next()? != "handle" || !plain(table) || !command.contains("%IP%") {
        return None;
    }
    // Each word must be a known one, a number, the table or a variable. Any other word could do anything.
    let ends = |c: char| c.is_whitespace() || "\"'`(){}[]|;/*.+\\,:^".contains(c);
    let mut numbers = Vec::new();
    for piece in command.split(ends).filter(|piece| !piece.is_empty()) {
        let piece = piece.trim_end_matches('$');
        let variable = piece.strip_prefix('$').unwrap_or(piece);
        let is_variable = piece.starts_with('$')
            && variable.len() <= 6
            && variable.bytes().all(|byte| byte.is_ascii_alphabetic());
        let known = MAY_STAND_IN_IT.contains(&piece) || piece.is_empty() || piece == table || is_variable;
        if let Some(number) = ports::number(piece) {
            numbers.extend(u16::try_from(number).ok().filter(|number| *number > 9));
        } else if !known {
            return None;
        }
    }
    Some(ByHandle { table: table.to_owned(), numbers })
}
