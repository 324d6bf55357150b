//! The functions that libFuzzer calls to print which parts of the program the inputs reached. They print addresses, and run.sh
//! finds the lines of the source.

use std::ffi::{c_char, c_int, c_void};

/// Prints an address.
///
/// # Safety
///
/// `text` has room for `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_symbolize_pc(
    address: *const c_void,
    _format: *const c_char,
    text: *mut c_char,
    size: usize,
) {
    // SAFETY: the format has one pointer, and the buffer has `size` bytes.
    unsafe { libc::snprintf(text, size, c" %p".as_ptr(), address) };
}

/// Says that an address belongs to no other file. libFuzzer prints nothing without this function.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_get_module_and_offset_for_pc(
    _address: *const c_void,
    _path: *mut c_char,
    _size: usize,
    _offset: *mut *mut c_void,
) -> c_int {
    0
}
