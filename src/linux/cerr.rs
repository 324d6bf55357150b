//! Turns the C library's error convention into Rust's.

use std::io;

/// The return value of a system call, or the error in `errno` if it is -1.
///
/// # Errors
/// Those of the call.
pub fn cerr<T: Copy + PartialEq + From<i8>>(returned: T) -> io::Result<T> {
    if returned == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_minus_one_is_an_error() {
        assert_eq!(cerr(0_i32).expect("zero"), 0);
        assert_eq!(cerr(-2_isize).expect("minus two"), -2);
        assert!(cerr(-1_i32).is_err());
    }
}
