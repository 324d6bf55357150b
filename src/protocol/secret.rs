//! Secret bytes. They are compared in constant time, overwritten when dropped, and never printed.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A secret of 1 to `N` bytes.
#[derive(Clone)]
pub struct Secret<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Secret<N> {
    /// A secret; `None` if it is empty or too long.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > N {
            return None;
        }
        let mut secret = Self { bytes: [0; N], len: bytes.len() };
        secret.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(secret)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().ct_eq(other.bytes()).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_equality_and_silence() {
        let secret = |bytes: &[u8]| Secret::<4>::new(bytes);
        assert_eq!((secret(b""), secret(b"12345")), (None, None));
        assert_eq!(secret(b"12"), secret(b"12"));
        assert_ne!(secret(b"12"), secret(b"13"));
        assert_ne!(secret(b"12"), secret(b"12\0"));
        assert_eq!(format!("{:?}", secret(b"12").unwrap()), "Secret(2 bytes)");
    }
}
