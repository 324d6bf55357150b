//! The part of uci.h that is called here. It is declared by hand, because bindgen needs a certain clang.

use std::ffi::{c_char, c_int, c_uint};

/// The link of a ring. A list is a link that is not an element itself.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct List {
    pub(crate) next: *mut List,
    previous: *mut List,
}

/// The common beginning of packages, sections, options and the values of lists.
#[repr(C)]
pub(crate) struct Element {
    list: List,
    kind: c_uint,
    pub(crate) name: *mut c_char,
}

/// A file. libuci has more fields behind these, and makes it itself.
#[repr(C)]
pub(crate) struct Package {
    element: Element,
    pub(crate) sections: List,
}

/// A section of a file.
#[repr(C)]
pub(crate) struct Section {
    pub(crate) element: Element,
    pub(crate) options: List,
    package: *mut Package,
    pub(crate) anonymous: bool,
    pub(crate) kind: *mut c_char,
}

/// An option or a list of a section.
#[repr(C)]
pub(crate) struct Option {
    element: Element,
    section: *mut Section,
    pub(crate) kind: c_uint,
    pub(crate) v: Value,
}

/// The value of an option: `string` if its kind is [`UCI_TYPE_STRING`].
#[repr(C)]
pub(crate) union Value {
    pub(crate) list: List,
    pub(crate) string: *mut c_char,
}

/// The kind of an option with one value.
pub(crate) const UCI_TYPE_STRING: c_uint = 0;

/// libuci's state, which only libuci reads.
#[repr(C)]
pub(crate) struct Context {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    pub(crate) fn uci_alloc_context() -> *mut Context;
    pub(crate) fn uci_free_context(context: *mut Context);
    pub(crate) fn uci_get_errorstr(context: *mut Context, text: *mut *mut c_char, prefix: *const c_char);
    pub(crate) fn uci_import(
        context: *mut Context,
        stream: *mut libc::FILE,
        name: *const c_char,
        package: *mut *mut Package,
        single: bool,
    ) -> c_int;
}
