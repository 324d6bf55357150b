//! Reads networks as fwknopd writes them: an IPv4 address with a prefix length or a mask.

use std::net::Ipv4Addr;

/// The network with its prefix length; `None` if the text is no network or its mask has holes.
pub(super) fn network(text: &str) -> Option<String> {
    let (address, mask) = text.split_once('/').unwrap_or((text, "32"));
    let address: Ipv4Addr = address.parse().ok()?;
    let bits = if let Ok(bits) = mask.parse::<u32>() {
        bits
    } else {
        let mask = u32::from(mask.parse::<Ipv4Addr>().ok()?);
        (mask.leading_ones() == mask.count_ones()).then_some(mask.leading_ones())?
    };
    // fwknopd refuses /0 too.
    if !(1..=32).contains(&bits) {
        return None;
    }
    let kept = u32::MAX << (32 - bits);
    Some(format!("{}/{bits}", Ipv4Addr::from(u32::from(address) & kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_masks() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1/32")),
            ("192.0.2.1/24", Some("192.0.2.0/24")),
            ("192.0.2.0/255.255.255.0", Some("192.0.2.0/24")),
            ("192.0.2.0/255.0.255.0", None),
            ("192.0.2.0/0", None),
            ("192.0.2.0/33", None),
            ("2001:db8::/32", None),
            ("ANY # all", None),
            ("", None),
        ] {
            assert_eq!(network(text).as_deref(), expected, "{text}");
        }
    }
}
