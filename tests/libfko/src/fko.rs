//! The functions of libfko that are called here (fko.h of fwknop 2.6.10).

use std::ffi::{c_char, c_int, c_long, c_short};

/// A packet. Its fields are libfko's own.
#[repr(C)]
pub(crate) struct Fko {
    _opaque: [u8; 0],
}

pub(crate) type Context = *mut Fko;

/// `FKO_SUCCESS`
pub(crate) const SUCCESS: c_int = 0;
/// `FKO_ENC_MODE_CBC`
pub(crate) const CBC: c_int = 2;

#[link(name = "fko")]
unsafe extern "C" {
    pub(crate) fn fko_new(context: *mut Context) -> c_int;
    pub(crate) fn fko_new_with_data(
        context: *mut Context,
        packet: *const c_char,
        key: *const c_char,
        key_len: c_int,
        mode: c_int,
        hmac_key: *const c_char,
        hmac_key_len: c_int,
        hmac: c_int,
    ) -> c_int;
    pub(crate) fn fko_destroy(context: Context) -> c_int;
    pub(crate) fn fko_errstr(error: c_int) -> *const c_char;

    pub(crate) fn fko_set_username(context: Context, name: *const c_char) -> c_int;
    pub(crate) fn fko_set_spa_message_type(context: Context, kind: c_short) -> c_int;
    pub(crate) fn fko_set_spa_message(context: Context, message: *const c_char) -> c_int;
    pub(crate) fn fko_set_spa_nat_access(context: Context, nat: *const c_char) -> c_int;
    pub(crate) fn fko_set_spa_server_auth(context: Context, text: *const c_char) -> c_int;
    pub(crate) fn fko_set_spa_client_timeout(context: Context, seconds: c_int) -> c_int;
    pub(crate) fn fko_set_spa_digest_type(context: Context, digest: c_short) -> c_int;
    pub(crate) fn fko_set_spa_hmac_type(context: Context, hmac: c_short) -> c_int;
    pub(crate) fn fko_spa_data_final(
        context: Context,
        key: *const c_char,
        key_len: c_int,
        hmac_key: *const c_char,
        hmac_key_len: c_int,
    ) -> c_int;

    pub(crate) fn fko_get_spa_data(context: Context, packet: *mut *mut c_char) -> c_int;
    pub(crate) fn fko_get_username(context: Context, name: *mut *mut c_char) -> c_int;
    pub(crate) fn fko_get_timestamp(context: Context, time: *mut c_long) -> c_int;
    pub(crate) fn fko_get_version(context: Context, version: *mut *mut c_char) -> c_int;
    pub(crate) fn fko_get_spa_message_type(context: Context, kind: *mut c_short) -> c_int;
    pub(crate) fn fko_get_spa_message(context: Context, message: *mut *mut c_char) -> c_int;
    pub(crate) fn fko_get_spa_nat_access(context: Context, nat: *mut *mut c_char) -> c_int;
    pub(crate) fn fko_get_spa_client_timeout(context: Context, seconds: *mut c_int) -> c_int;
}
