//! Secret bytes: wiped when dropped, compared in constant time, never printed.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes.
///
/// Deliberately without `Encode`: a secret leaves this type only through `expose`, which a review can search for.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes ownership of `bytes`.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a computation; never for a message or a log.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// An independent secret for `label` and `context`: keyed BLAKE3(self, label ‖ 0x00 ‖ len(context) ‖ context).
    #[must_use]
    pub fn derive(&self, label: crate::label::Label, context: &[u8]) -> Self {
        Self(crate::pseudonym::keyed(self, label, &[context]))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
