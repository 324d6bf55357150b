//! Seals any text as fwknop's client does: with the right digest, encryption and HMAC-SHA-256.

use aes::Aes256;
use aes::cipher::{BlockModeEncrypt as _, KeyIvInit as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ketuk_protocol::base64;
use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::Keys;

const BLOCK: usize = 16;

/// A packet of these fields, joined by colons, and followed by their digest.
#[must_use]
pub fn seal(fields: &str, keys: Keys<'_>, salt: [u8; 8]) -> Vec<u8> {
    seal_text(&format!("{fields}:{}", encode(&Sha256::digest(fields))), keys, salt)
}

/// A packet of this text.
fn seal_text(text: &str, keys: Keys<'_>, salt: [u8; 8]) -> Vec<u8> {
    let mut blocks = text.as_bytes().to_vec();
    let pad = BLOCK - blocks.len() % BLOCK;
    blocks.resize(blocks.len() + pad, u8::try_from(pad).expect("at most 16"));
    // `EVP_BytesToKey` with MD5.
    let mut derived: Vec<u8> = Vec::new();
    while derived.len() < 48 {
        let last = derived.len().saturating_sub(16);
        let part = Md5::new().chain_update(&derived[last..]).chain_update(keys.key).chain_update(salt);
        derived.extend(part.finalize());
    }
    let mut cipher =
        cbc::Encryptor::<Aes256>::new_from_slices(&derived[..32], &derived[32..]).expect("32 and 16 bytes");
    for block in blocks.chunks_exact_mut(BLOCK) {
        cipher.encrypt_block(block.try_into().expect("a whole block"));
    }
    let text = encode(&[&b"Salted__"[..], &salt, &blocks].concat());
    let mac = Hmac::<Sha256>::new_from_slice(keys.hmac_key).expect("any length").chain_update(&text);
    let packet = text + &encode(&mac.finalize().into_bytes());
    packet.as_bytes()["U2FsdGVkX1".len()..].to_vec()
}

/// Base 64 without padding.
///
/// # Panics
/// Never: there is room.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut out = vec![0; bytes.len() * 2 + 4];
    base64::encode(bytes, &mut out).expect("room for it").trim_end_matches('=').to_owned()
}
