//! Has libfko read and write packets.

mod fko;
pub mod sealing;

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_short};
use std::ptr;

/// The fields that libfko reads in a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The client's user.
    pub user: String,
    /// When it was made, in seconds since 1970.
    pub time: i64,
    /// The protocol's version.
    pub version: String,
    /// The kind of request, 0 to 6.
    pub kind: i16,
    /// The address and the ports.
    pub message: String,
    /// `-N`, if the kind has it.
    pub nat: Option<String>,
    /// Seconds to open for; 0 if the packet does not say.
    pub seconds: i32,
}

/// The fields that libfko writes.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The client's user.
    pub user: String,
    /// The address and the ports.
    pub message: String,
    /// `-N`.
    pub nat: Option<String>,
    /// Whether `-N` is the router itself.
    pub local: bool,
    /// Seconds to open for; none are not sent.
    pub seconds: Option<i32>,
    /// The text of `server_auth`.
    pub server_auth: Option<String>,
    /// The digest in the text, 1 (MD5) to 5 (SHA-512).
    pub digest: i16,
    /// The HMAC, 1 (MD5) to 5 (SHA-512).
    pub hmac: i16,
}

/// A context that is freed.
struct Context(fko::Context);

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context is alive, and is not used again.
        unsafe { fko::fko_destroy(self.0) };
    }
}

/// Keys of a client, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'k> {
    /// For the encryption.
    pub key: &'k [u8],
    /// For the HMAC.
    pub hmac_key: &'k [u8],
}

/// Reads a packet as fwknopd does, with encryption mode CBC and this kind of HMAC, 1 (MD5) to 5 (SHA-512).
///
/// # Errors
/// libfko's words for the fault.
pub fn read(packet: &[u8], keys: Keys<'_>, hmac: i16) -> Result<Message, String> {
    let packet = CString::new(packet).map_err(|_| "a zero ends a C string".to_owned())?;
    let mut context = ptr::null_mut();
    // SAFETY: the packet is a C string, the keys have the lengths that go with them, and all outlive the call.
    check(unsafe {
        fko::fko_new_with_data(
            &raw mut context,
            packet.as_ptr(),
            keys.key.as_ptr().cast(),
            len(keys.key),
            fko::CBC,
            keys.hmac_key.as_ptr().cast(),
            len(keys.hmac_key),
            hmac.into(),
        )
    })?;
    let context = Context(context);
    let (mut time, mut kind, mut seconds): (c_long, c_short, c_int) = (0, 0, 0);
    // SAFETY: the context is alive, and the pointers are to live values.
    unsafe {
        check(fko::fko_get_timestamp(context.0, &raw mut time))?;
        check(fko::fko_get_spa_message_type(context.0, &raw mut kind))?;
        check(fko::fko_get_spa_client_timeout(context.0, &raw mut seconds))?;
    }
    Ok(Message {
        user: context.text(fko::fko_get_username)?.unwrap_or_default(),
        time,
        version: context.text(fko::fko_get_version)?.unwrap_or_default(),
        kind,
        message: context.text(fko::fko_get_spa_message)?.unwrap_or_default(),
        nat: context.text(fko::fko_get_spa_nat_access)?,
        seconds,
    })
}

/// Writes a packet as fwknop's client does.
///
/// # Errors
/// libfko's words for the fault.
pub fn write(wish: &Wish, keys: Keys<'_>) -> Result<Vec<u8>, String> {
    let mut context = ptr::null_mut();
    // SAFETY: the pointer is to a live value.
    check(unsafe { fko::fko_new(&raw mut context) })?;
    let context = Context(context);
    let text = |text: &str| CString::new(text).map_err(|_| "a zero ends a C string".to_owned());
    let kind = match (&wish.nat, wish.local) {
        (None, _) => 1,
        (Some(_), false) => 2,
        (Some(_), true) => 5,
    };
    // SAFETY: the context is alive, and the texts outlive the calls, which copy them.
    unsafe {
        check(fko::fko_set_username(context.0, text(&wish.user)?.as_ptr()))?;
        check(fko::fko_set_spa_message_type(context.0, kind))?;
        check(fko::fko_set_spa_message(context.0, text(&wish.message)?.as_ptr()))?;
        if let Some(nat) = &wish.nat {
            check(fko::fko_set_spa_nat_access(context.0, text(nat)?.as_ptr()))?;
        }
        if let Some(auth) = &wish.server_auth {
            check(fko::fko_set_spa_server_auth(context.0, text(auth)?.as_ptr()))?;
        }
        if let Some(seconds) = wish.seconds {
            check(fko::fko_set_spa_client_timeout(context.0, seconds))?;
        }
        check(fko::fko_set_spa_digest_type(context.0, wish.digest))?;
        check(fko::fko_set_spa_hmac_type(context.0, wish.hmac))?;
        let (key, hmac_key) = (keys.key.as_ptr().cast(), keys.hmac_key.as_ptr().cast());
        check(fko::fko_spa_data_final(context.0, key, len(keys.key), hmac_key, len(keys.hmac_key)))?;
    }
    let packet = context.text(fko::fko_get_spa_data)?;
    packet.map(String::into_bytes).ok_or_else(|| "no packet".to_owned())
}

type Getter = unsafe extern "C" fn(fko::Context, *mut *mut c_char) -> c_int;

impl Context {
    /// A text of the context; `None` if it has none.
    fn text(&self, getter: Getter) -> Result<Option<String>, String> {
        let mut text = ptr::null_mut();
        // SAFETY: the context is alive, and the pointer is to a live value.
        check(unsafe { getter(self.0, &raw mut text) })?;
        if text.is_null() {
            return Ok(None);
        }
        // SAFETY: not null, so a C string that lives as long as the context.
        Ok(Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()))
    }
}

fn check(status: c_int) -> Result<(), String> {
    if status == fko::SUCCESS {
        return Ok(());
    }
    // SAFETY: libfko's own text, which lives as long as the program.
    Err(unsafe { CStr::from_ptr(fko::fko_errstr(status)) }.to_string_lossy().into_owned())
}

fn len(bytes: &[u8]) -> c_int {
    c_int::try_from(bytes.len()).expect("a short key")
}
