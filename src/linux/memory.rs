//! Memory that the process does not need any more: the stack below the caller, and pages of the program itself.

use std::hint::black_box;
use std::ptr;

use libc::{c_int, c_void, dl_phdr_info, size_t};
use zeroize::Zeroize as _;

/// Bytes of the stack that are overwritten: more than the start, reading a configuration or a packet takes.
const WIPED_STACK: usize = 64 << 10;

/// Call this after work that is rare and uses much of the stack and of the program: it gives both back to the kernel, and overwrites the
/// stack below the caller.
#[inline(never)]
pub fn rest() {
    wipe_stack();
    release_program();
}

/// Overwrites the stack below the caller, and gives its pages back to the kernel. A value that is moved leaves its old bytes
/// there, which no destructor sees.
#[inline(never)]
#[expect(clippy::large_stack_arrays, reason = "the stack is what is overwritten")]
pub fn wipe_stack() {
    let mut below = [0_u8; WIPED_STACK];
    below.zeroize();
    let start = black_box(below.as_mut_ptr());
    let page = page();
    let skipped = start.align_offset(page);
    let len = WIPED_STACK.saturating_sub(skipped) / page * page;
    // SAFETY: the pages lie wholly in `below`, whose bytes nobody reads any more. The kernel replaces them by pages of zeros. An
    // error leaves them as they are.
    unsafe { libc::madvise(start.wrapping_add(skipped).cast(), len, libc::MADV_DONTNEED) };
}

/// Takes the pages of the program's code and constants out of this process. The kernel maps those that are used again, from the
/// file, and may forget the others.
///
/// The start uses nearly the whole program, and the loop a part of it.
fn release_program() {
    // SAFETY: the function has the form that the call asks for, and gets no data.
    unsafe { libc::dl_iterate_phdr(Some(release), ptr::null_mut()) };
}

/// Releases the segments of a loaded object that are not written to. Ends the iteration: the first object is the program.
unsafe extern "C" fn release(object: *mut dl_phdr_info, _: size_t, _: *mut c_void) -> c_int {
    // SAFETY: the C library passes a valid structure, with the place and the number of the object's headers.
    let (object, headers) = unsafe {
        let object = &*object;
        (object, std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()))
    };
    let page = page();
    for header in headers.iter().filter(|it| it.p_type == libc::PT_LOAD && it.p_flags & libc::PF_W == 0) {
        let (Ok(start), Ok(len)) =
            (usize::try_from(object.dlpi_addr.wrapping_add(header.p_vaddr)), usize::try_from(header.p_memsz))
        else {
            continue;
        };
        let end = (start + len).next_multiple_of(page);
        let start = start / page * page;
        // SAFETY: the kernel has mapped these whole pages of the program's file for this segment alone, and nothing can have written to
        // them. So their contents are the file's, before and after.
        unsafe { libc::madvise(ptr::without_provenance_mut(start), end - start, libc::MADV_DONTNEED) };
    }
    1
}

/// The size of a page, in bytes.
fn page() -> usize {
    // SAFETY: the call takes no pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| size.is_power_of_two()).unwrap_or(64 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    /// How often the test tries it.
    const TRIES: usize = 1000;

    /// Constants of the program, of many pages.
    static CONSTANTS: [u8; 512 << 10] = [7; 512 << 10];

    /// The kernel's table of this process's pages (`proc_pid_pagemap(5)`).
    fn page_map() -> File {
        File::open("/proc/self/pagemap").expect("the page map")
    }

    /// Whether this process has the page of this address.
    fn has_page(map: &File, address: usize) -> bool {
        let mut entry = [0; 8];
        let at = u64::try_from(address / page() * 8).expect("an offset");
        map.read_exact_at(&mut entry, at).expect("an entry");
        u64::from_ne_bytes(entry) >> 63 == 1
    }

    /// Uses 40 kB of the stack, and returns an address in their middle.
    #[inline(never)]
    #[expect(clippy::large_stack_arrays, reason = "the stack is what is used")]
    fn use_stack() -> usize {
        let mut used = [1_u8; 40 << 10];
        black_box(&mut used);
        used[used.len() / 2..].as_ptr().addr()
    }

    #[test]
    fn the_used_stack_is_given_back() {
        let map = page_map();
        let address = use_stack();
        assert!(has_page(&map, address));
        wipe_stack();
        assert!(!has_page(&map, address));
    }

    #[test]
    fn the_programs_pages_are_given_back_and_come_again() {
        let map = page_map();
        let middle = black_box(&CONSTANTS[CONSTANTS.len() / 2]);
        let address = ptr::from_ref(middle).addr();
        assert_eq!(*middle, 7);
        assert!(has_page(&map, address));
        // A page of 2 MB can hold these constants and others. Other tests use those at the same time, which brings it back.
        let is_released = (0..TRIES).any(|_| {
            release_program();
            !has_page(&map, address)
        });
        assert!(is_released);
        assert_eq!(*black_box(middle), 7);
        assert!(has_page(&map, address));
    }
}
