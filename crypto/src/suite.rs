//! The algorithm suite. Its number stands in every signed and sealed object, so that a second suite can be added
//! without touching the first.

/// A set of algorithms used together.
///
/// Suite 2 (SM2, SM3, SM4-GCM) is reserved for this layer: QUIC itself cannot negotiate SM suites (RFC 9001 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Ed25519; X25519-HKDF-SHA256 with AES-256-GCM (HPKE, RFC 9180); SHA-256; BLAKE3 for keyed ids and derivation.
    Standard,
}

impl Suite {
    /// The number in encoded objects.
    pub const fn number(self) -> u8 {
        match self {
            Self::Standard => 1,
        }
    }

    /// The suite of a number; `None` for one this build does not have.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Standard),
            _ => None,
        }
    }
}
