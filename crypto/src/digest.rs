//! SHA-256, plain and labelled.
//!
//! SHA-256 and not BLAKE3 for everything public: the open log formats demand it, and at 65 to 400 bytes it is also
//! the faster one where the processor has SHA instructions (docs/decisions/0003).

use sha2::Digest as _;

use crate::label::Label;

crate::id! {
    /// A SHA-256 digest.
    pub struct Digest(32);
}

impl Digest {
    /// 32 zero bytes: the `prev` of a first entry, which has no predecessor.
    pub const ZERO: Self = Self([0; 32]);

    /// SHA-256 of `bytes`. For formats that define it so (RFC 6962, file digests); our own objects use
    /// [`Digest::labelled`].
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// SHA-256 of the concatenation of `parts`; the caller's format must make the split unambiguous.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hash = sha2::Sha256::new();
        for part in parts {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// SHA-256(label ‖ 0x00 ‖ bytes). Labels contain no zero byte, so the split is unambiguous.
    pub fn labelled(label: Label, bytes: &[u8]) -> Self {
        Self::of_parts(&[label.as_str().as_bytes(), &[0], bytes])
    }
}

/// HMAC-SHA256 (RFC 2104), for receivers outside the federation that know nothing else.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Digest {
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key), message);
    let mut out = Digest::ZERO;
    out.0.copy_from_slice(tag.as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        // Test case 2.
        let tag = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(tag.to_string(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
