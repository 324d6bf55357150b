//! Has libuci read a text.

mod uci;

use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::Mutex;

/// A section that libuci has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its type.
    pub kind: Vec<u8>,
    /// Its name, generated if it has none.
    pub name: Vec<u8>,
    /// Whether the name was generated.
    pub anonymous: bool,
    /// Its options, in order: name, whether it is a list, values.
    pub options: Vec<(Vec<u8>, bool, Vec<Vec<u8>>)>,
}

/// libuci's `strtok` and its error text are global.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Reads `text` as `uci_load` reads a file.
///
/// # Errors
/// libuci's words for the fault, without the place.
///
/// # Panics
/// If libuci fails for another reason than the text.
pub fn read(text: &[u8]) -> Result<Vec<Section>, String> {
    let _guard = ONE_AT_A_TIME.lock();
    // SAFETY: no arguments; null is checked for.
    let context = unsafe { uci::uci_alloc_context() };
    assert!(!context.is_null(), "libuci has no memory");
    let mut package = ptr::null_mut();
    let file = open(text);
    // SAFETY: the context and the stream are alive, the name is a C string, and `package` is null,
    // which asks for a new one.
    let status = unsafe { uci::uci_import(context, file, c"ketuk".as_ptr(), &raw mut package, true) };
    let result = if status == 0 {
        // SAFETY: libuci has just filled the package in; it lives as long as the context.
        Ok(unsafe { sections(package) })
    } else {
        // SAFETY: the context is alive and holds the error of the call before.
        Err(unsafe { reason(context) })
    };
    // SAFETY: neither is used again.
    unsafe {
        libc::fclose(file);
        uci::uci_free_context(context);
    }
    result
}

/// A stream over `text`.
fn open(text: &[u8]) -> *mut libc::FILE {
    let file = if text.is_empty() {
        // SAFETY: two C strings.
        unsafe { libc::fopen(c"/dev/null".as_ptr(), c"r".as_ptr()) }
    } else {
        // SAFETY: opened for reading only, and closed before `text` goes.
        unsafe { libc::fmemopen(text.as_ptr().cast_mut().cast(), text.len(), c"r".as_ptr()) }
    };
    assert!(!file.is_null(), "no stream: {}", std::io::Error::last_os_error());
    file
}

/// The words in `Parse error (insufficient arguments) at line 1, byte 8`.
///
/// # Safety
/// `context` is alive.
unsafe fn reason(context: *mut uci::Context) -> String {
    let mut text: *mut c_char = ptr::null_mut();
    // SAFETY: as promised; `text` receives a string to be freed.
    let whole = unsafe {
        uci::uci_get_errorstr(context, &raw mut text, ptr::null());
        assert!(!text.is_null(), "libuci has no memory");
        let whole = CStr::from_ptr(text).to_string_lossy().into_owned();
        libc::free(text.cast());
        whole
    };
    let words = whole.split_once('(').and_then(|(_, rest)| rest.split_once(") at line"));
    words.unwrap_or_else(|| panic!("libuci fails in another way: {whole}")).0.to_owned()
}

/// # Safety
/// `package` is alive and its lists are whole.
unsafe fn sections(package: *mut uci::Package) -> Vec<Section> {
    // SAFETY: the elements of a package are sections, and an element is a section's first field.
    unsafe {
        elements(&raw const (*package).sections)
            .map(|element| {
                let section = element.cast::<uci::Section>();
                Section {
                    kind: bytes((*section).kind),
                    name: bytes((*section).element.name),
                    anonymous: (*section).anonymous,
                    options: elements(&raw const (*section).options).map(|element| option(element)).collect(),
                }
            })
            .collect()
    }
}

/// # Safety
/// `element` is an option.
unsafe fn option(element: *const uci::Element) -> (Vec<u8>, bool, Vec<Vec<u8>>) {
    // SAFETY: as promised; the option's type says which field of the union is set.
    unsafe {
        let option = element.cast::<uci::Option>();
        let name = bytes((*element).name);
        if (*option).kind == uci::UCI_TYPE_STRING {
            (name, false, vec![bytes((*option).v.string)])
        } else {
            (name, true, elements(&raw const (*option).v.list).map(|item| bytes((*item).name)).collect())
        }
    }
}

/// The elements of a list, each of which begins with its link.
///
/// # Safety
/// `head` is alive and its ring is whole as long as the iterator is used.
unsafe fn elements(head: *const uci::List) -> impl Iterator<Item = *const uci::Element> {
    // SAFETY: as promised.
    let mut at = unsafe { (*head).next.cast_const() };
    std::iter::from_fn(move || {
        if at == head {
            return None;
        }
        let element = at.cast::<uci::Element>();
        // SAFETY: as promised.
        at = unsafe { (*at).next };
        Some(element)
    })
}

/// # Safety
/// `text` is a C string.
unsafe fn bytes(text: *const c_char) -> Vec<u8> {
    // SAFETY: as promised.
    unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()
}
