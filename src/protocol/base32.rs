//! Base 32 (RFC 4648, section 6), the usual notation of TOTP secrets.

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// An error in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base32Error {
    /// A character that is not in the alphabet.
    Character,
    /// No whole number of bytes has this many characters, or unused bits are set.
    Length,
    /// It has more bytes than fit into `out`.
    TooLong,
}

/// Decodes `text` into `out` and returns the number of bytes. Lower case, `=` at the end, and blanks and `-` between groups
/// are accepted.
///
/// # Errors
/// The first error in the text.
pub fn decode(text: &str, out: &mut [u8]) -> Result<usize, Base32Error> {
    let (mut bits, mut held, mut len, mut characters) = (0_u32, 0, 0, 0);
    for byte in text.trim_end_matches('=').bytes().filter(|byte| !matches!(byte, b' ' | b'-')) {
        let upper = byte.to_ascii_uppercase();
        let value = ALPHABET.iter().position(|known| *known == upper).ok_or(Base32Error::Character)?;
        bits = bits << 5 | u32::try_from(value).expect("below 32");
        held += 5;
        characters += 1;
        if held >= 8 {
            held -= 8;
            *out.get_mut(len).ok_or(Base32Error::TooLong)? = (bits >> held & 0xff) as u8;
            len += 1;
        }
    }
    // RFC 4648: the last group has 2, 4, 5 or 7 characters, and its unused bits are zero.
    if matches!(characters % 8, 1 | 3 | 6) || bits & ((1 << held) - 1) != 0 {
        return Err(Base32Error::Length);
    }
    Ok(len)
}

/// The characters that stand for `bytes`, without `=`.
pub fn encode(bytes: &[u8]) -> impl Iterator<Item = char> + '_ {
    (0..(bytes.len() * 8).div_ceil(5)).map(|at| {
        let bit = |offset: usize| {
            let place = at * 5 + offset;
            bytes.get(place / 8).map_or(0, |byte| usize::from(byte >> (7 - place % 8) & 1))
        };
        char::from(ALPHABET[(0..5).fold(0, |value, offset| value << 1 | bit(offset))])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<Vec<u8>, Base32Error> {
        let mut out = [0; 8];
        decode(text, &mut out).map(|len| out[..len].to_vec())
    }

    /// RFC 4648, section 10.
    #[test]
    fn vectors_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY======"),
            ("fo", "MZXQ===="),
            ("foo", "MZXW6==="),
            ("foob", "MZXW6YQ="),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI======"),
        ] {
            assert_eq!(decoded(text), Ok(bytes.as_bytes().to_vec()), "{text}");
            assert_eq!(encode(bytes.as_bytes()).collect::<String>(), text.trim_end_matches('='));
        }
    }

    #[test]
    fn as_people_write_it_and_nothing_else() {
        assert_eq!(decoded("mzxw 6ytb-oi"), Ok(b"foobar".to_vec()));
        assert_eq!(decoded("MZXW6YT1"), Err(Base32Error::Character));
        for wrong in ["M", "MZX", "MZXW6Y", "MZ", "A", "AAA", "AAAAAA"] {
            assert_eq!(decoded(wrong), Err(Base32Error::Length), "{wrong}");
        }
        assert_eq!(decoded(&"A".repeat(16)), Err(Base32Error::TooLong));
    }
}
