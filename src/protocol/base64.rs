//! Base 64 (RFC 4648, section 4), the notation of keys, with or without `=`.

use base64ct::{Base64Unpadded, Encoding as _};

/// Decodes `text` into `out` in constant time and returns the bytes. `None` if it is no base 64, or longer than `out`.
pub fn decode<'o>(text: &str, out: &'o mut [u8]) -> Option<&'o [u8]> {
    let bare = text.trim_end_matches('=');
    // If there is padding, it must be right.
    if bare.len() != text.len() && (!text.len().is_multiple_of(4) || text.len() - bare.len() > 2) {
        return None;
    }
    Base64Unpadded::decode(bare, out).ok()
}

/// Encodes `bytes` into `out`, with `=`; `None` if there is no room.
pub fn encode<'o>(bytes: &[u8], out: &'o mut [u8]) -> Option<&'o str> {
    base64ct::Base64::encode(bytes, out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_or_not_and_canonical() {
        let decoded = |text: &str| decode(text, &mut [0; 8]).map(<[u8]>::to_vec);
        assert_eq!(decoded("Zm9vYg=="), Some(b"foob".to_vec()));
        assert_eq!(decoded("Zm9vYg"), Some(b"foob".to_vec()));
        for wrong in ["Zm9vYg=", "Zm9vYh", "Zm9v=", "Zm9vYg===", "Zm9v====", "Zm9v Yg", "Z", "Zm9v_w"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
        assert_eq!(encode(b"foob", &mut [0; 8]), Some("Zm9vYg=="));
    }
}
