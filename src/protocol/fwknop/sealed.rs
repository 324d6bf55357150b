//! The outside of fwknop's packet: its HMAC and its encryption.

use aes::Aes256;
use aes::cipher::{
    BlockCipherDecrypt as _, BlockCipherEncrypt as _, BlockModeDecrypt as _, BlockModeEncrypt as _,
    KeyInit as _, KeyIvInit as _,
};
use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{FwknopError, FwknopKeys, MAX_PACKET};
use crate::{Identity, base64};

/// The characters of "Salted__" in base 64 that do not depend on the salt. The client leaves them out.
pub(super) const PREFIX: &[u8; 10] = b"U2FsdGVkX1";
const BLOCK: usize = 16;
pub(super) const SALT: usize = 8;
/// Longest MAC in base 64 without padding, SHA-512's.
const MAX_MAC_TEXT: usize = 86;
/// fwknop's digits at the beginning of the plaintext: one block of AES.
const RANDOM: usize = 16;

/// Which HMAC a client makes (fwknop: `HMAC_DIGEST_TYPE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HmacType {
    /// HMAC-MD5.
    Md5,
    /// HMAC-SHA-1.
    Sha1,
    /// HMAC-SHA-256, the client's default.
    #[default]
    Sha256,
    /// HMAC-SHA-384.
    Sha384,
    /// HMAC-SHA-512.
    Sha512,
}

impl HmacType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// fwknop's word for it, in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the MAC, in characters of base 64 without padding.
    const fn text_len(self) -> usize {
        match self {
            Self::Md5 => 22,
            Self::Sha1 => 27,
            Self::Sha256 => 43,
            Self::Sha384 => 64,
            Self::Sha512 => MAX_MAC_TEXT,
        }
    }

    /// The MAC of `parts`, one behind the other, in base 64; and its first bytes.
    fn mac<'o>(self, key: &[u8], parts: &[&[u8]], out: &'o mut [u8]) -> Option<(&'o [u8], Identity)> {
        macro_rules! mac {
            ($hash:ty) => {{
                let mut mac = Hmac::<$hash>::new_from_slice(key).expect("HMAC takes keys of any length");
                for part in parts {
                    mac.update(part);
                }
                let mac = mac.finalize().into_bytes();
                // No easier to meet by chance than a whole MAC of MD5's.
                let (identity, _) = mac.split_first_chunk::<16>().expect("no MAC is shorter");
                (base64::encode(&mac, out)?, *identity)
            }};
        }
        let (text, identity) = match self {
            Self::Md5 => mac!(Md5),
            Self::Sha1 => mac!(Sha1),
            Self::Sha256 => mac!(Sha256),
            Self::Sha384 => mac!(Sha384),
            Self::Sha512 => mac!(Sha512),
        };
        Some((&text.as_bytes()[..self.text_len()], identity))
    }
}

/// Whether a plausible packet was made with this key and this HMAC; the MAC's first bytes, which are the packet's
/// identity.
pub fn authenticate(hmac: HmacType, hmac_key: &[u8], packet: &[u8]) -> Option<Identity> {
    let (text, sent) = packet.split_at_checked(packet.len().checked_sub(hmac.text_len())?)?;
    let mut written = [0; MAX_MAC_TEXT + 2];
    let (written, identity) = hmac.mac(hmac_key, &[PREFIX, text], &mut written)?;
    // The texts are compared, not the bytes: some bits of the last character mean nothing, and a second spelling must not
    // pass.
    bool::from(written.ct_eq(sent)).then_some(identity)
}

/// Decrypts a packet that [`authenticate`] has accepted into `plain`; the text.
pub(super) fn open<'b>(
    keys: &FwknopKeys,
    packet: &[u8],
    plain: &'b mut [u8; MAX_PACKET],
) -> Result<&'b str, FwknopError> {
    // Base 64 without padding is decoded in one piece, and begins with the characters that the client left out.
    let mut text = [0; PREFIX.len() + MAX_PACKET];
    let body = packet.len().checked_sub(keys.hmac.text_len()).ok_or(FwknopError::Rules)?;
    text[..PREFIX.len()].copy_from_slice(PREFIX);
    text[PREFIX.len()..PREFIX.len() + body].copy_from_slice(&packet[..body]);
    let text = core::str::from_utf8(&text[..PREFIX.len() + body]).map_err(|_| FwknopError::Rules)?;
    let len = base64::decode(text, &mut plain[..]).ok_or(FwknopError::Rules)?.len();
    let sealed = plain[..len].strip_prefix(b"Salted__").ok_or(FwknopError::Rules)?;
    let (salt, blocks) = sealed.split_first_chunk::<SALT>().ok_or(FwknopError::Rules)?;
    let salt = *salt;
    let first = *blocks.first_chunk::<BLOCK>().ok_or(FwknopError::Rules)?;
    // CBC pads to whole blocks. A packet without them was encrypted in another mode.
    if !blocks.len().is_multiple_of(BLOCK) {
        return Err(why_not(keys.key.bytes(), salt, first));
    }
    let blocks = &mut plain[BLOCK..len];
    let derived = Derived::new(keys.key.bytes(), salt);
    let mut cipher =
        cbc::Decryptor::<Aes256>::new_from_slices(derived.key(), derived.iv()).expect("32 and 16 bytes");
    for block in blocks.chunks_exact_mut(BLOCK) {
        cipher.decrypt_block(block.try_into().expect("a whole block"));
    }
    // PKCS#7 padding, checked in full. The MAC is right, so only an owner of the keys gets here: it is no padding oracle.
    let pad = *blocks.last().expect("not empty");
    let message = blocks.len().saturating_sub(usize::from(pad));
    let (message, padding) = blocks.split_at(message);
    let padded = (1..=16).contains(&pad) && padding.iter().all(|byte| *byte == pad);
    if !padded || !message.iter().all(u8::is_ascii_graphic) {
        return Err(why_not(keys.key.bytes(), salt, first));
    }
    core::str::from_utf8(message).map_err(|_| FwknopError::Rules)
}

/// Encrypts a message and adds the HMAC; the packet. `None` if there is no room for it.
pub(super) fn seal<'b>(
    keys: &FwknopKeys,
    salt: [u8; SALT],
    message: &[u8],
    packet: &'b mut [u8; PREFIX.len() + MAX_PACKET],
) -> Option<&'b [u8]> {
    let mut sealed = Zeroizing::new([0; MAX_PACKET]);
    let end = BLOCK + message.len();
    let pad = BLOCK - message.len() % BLOCK;
    sealed[..SALT].copy_from_slice(b"Salted__");
    sealed[SALT..BLOCK].copy_from_slice(&salt);
    sealed.get_mut(BLOCK..end)?.copy_from_slice(message);
    sealed.get_mut(end..end + pad)?.fill(u8::try_from(pad).expect("at most 16"));
    let derived = Derived::new(keys.key.bytes(), salt);
    let mut cipher =
        cbc::Encryptor::<Aes256>::new_from_slices(derived.key(), derived.iv()).expect("32 and 16 bytes");
    for block in sealed[BLOCK..end + pad].chunks_exact_mut(BLOCK) {
        cipher.encrypt_block(block.try_into().expect("a whole block"));
    }
    let text = base64::encode(&sealed[..end + pad], packet)?.trim_end_matches('=').len();
    let mut mac = [0; MAX_MAC_TEXT + 2];
    let (mac, _) = keys.hmac.mac(keys.hmac_key.bytes(), &[&packet[..text]], &mut mac)?;
    packet.get_mut(text..text + mac.len())?.copy_from_slice(mac);
    Some(&packet[PREFIX.len()..text + mac.len()])
}

/// Why a packet with a right HMAC cannot be decrypted: the key differs, or the mode does. The first block shows which,
/// because it is always 16 digits.
fn why_not(key: &[u8], salt: [u8; SALT], first: [u8; BLOCK]) -> FwknopError {
    let is_random = |block: &[u8]| block.iter().all(u8::is_ascii_digit);
    let xor = |a: &[u8; BLOCK], b: &[u8]| -> Zeroizing<[u8; RANDOM]> {
        let mut out = Zeroizing::new(*a);
        out.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
        out
    };
    let derived = Derived::new(key, salt);
    let cipher = Aes256::new_from_slice(derived.key()).expect("32 bytes");
    let mut decrypted = Zeroizing::new(first);
    cipher.decrypt_block((&mut *decrypted).into());
    let mut stream: Zeroizing<[u8; BLOCK]> = Zeroizing::new(derived.iv().try_into().expect("16 bytes"));
    cipher.encrypt_block((&mut *stream).into());
    // ECB; CBC and PCBC; CFB, OFB and CTR, which begin with the same block.
    if is_random(&*decrypted)
        || is_random(&*xor(&decrypted, derived.iv()))
        || is_random(&*xor(&first, &*stream))
    {
        return FwknopError::Mode;
    }
    FwknopError::Key
}

/// Key and IV, derived as OpenSSL did (`EVP_BytesToKey` with MD5).
struct Derived(Zeroizing<[u8; 48]>);

impl Derived {
    fn new(key: &[u8], salt: [u8; SALT]) -> Self {
        let mut derived = Zeroizing::new([0; 48]);
        let mut digest = None;
        for part in derived.chunks_exact_mut(16) {
            let mut md5 = Md5::new();
            if let Some(before) = digest {
                md5.update(before);
            }
            md5.update(key);
            md5.update(salt);
            let now: [u8; 16] = md5.finalize().into();
            part.copy_from_slice(&now);
            digest = Some(now);
        }
        Self(derived)
    }

    fn key(&self) -> &[u8] {
        &self.0[..32]
    }

    fn iv(&self) -> &[u8] {
        &self.0[32..]
    }
}
