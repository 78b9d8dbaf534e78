//! Secrets under a passphrase: Argon2id (RFC 9106) to a key, AES-256-GCM over the content.

use core::fmt;

use minicbor::{Decode, Encode};

use crate::{
    Bytes, Digest, codec,
    label::Label,
    seal::{open_box, seal_box},
    secret::Secret,
    suite::Suite,
};

/// Memory of one derivation in KiB: the second recommended option of RFC 9106 §4 (64 MiB, 3 passes), which one
/// start of a node can afford and a guesser cannot.
pub const ARGON2_MEMORY_KIB: u32 = 64 * 1024;
/// Passes over the memory.
pub const ARGON2_PASSES: u32 = 3;
/// Largest cost a file may ask for: a forged file must not be able to exhaust the machine.
const ARGON2_MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// As above.
const ARGON2_PASSES_MAX: u32 = 64;

/// Why a keystore does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeystoreError {
    /// The bytes are not a keystore of this version.
    Malformed,
    /// Wrong passphrase, or the file was changed. Which of them cannot be told.
    WrongPassphrase,
}

impl fmt::Display for KeystoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a keystore file",
            Self::WrongPassphrase => "wrong passphrase, or the keystore file was changed",
        })
    }
}

impl std::error::Error for KeystoreError {}

#[derive(Encode, Decode)]
#[cbor(map)]
struct File {
    #[n(0)]
    suite: u8,
    #[n(1)]
    salt: Digest,
    #[n(2)]
    memory_kib: u32,
    #[n(3)]
    passes: u32,
    #[n(4)]
    sealed: Bytes,
}

/// The key that a passphrase opened: seals new content into the same keystore without asking again.
pub struct Unlocked {
    key: Secret,
    salt: Digest,
    memory_kib: u32,
    passes: u32,
}

impl Unlocked {
    /// Derives the key of a new keystore. `salt` must be fresh.
    pub fn new(passphrase: &[u8], salt: [u8; 32]) -> Result<Self, KeystoreError> {
        let (memory_kib, passes) = (ARGON2_MEMORY_KIB, ARGON2_PASSES);
        Ok(Self {
            key: derive(passphrase, &salt, memory_kib, passes)?,
            salt: Digest(salt),
            memory_kib,
            passes,
        })
    }

    /// Opens a keystore file: its content, and the key to seal it again.
    pub fn open(
        passphrase: &[u8],
        bytes: &[u8],
    ) -> Result<(zeroize::Zeroizing<Vec<u8>>, Self), KeystoreError> {
        let file: File = codec::from_slice(bytes).map_err(|_| KeystoreError::Malformed)?;
        let known = Suite::from_number(file.suite.into()).is_some();
        if !known || file.memory_kib > ARGON2_MEMORY_KIB_MAX || file.passes > ARGON2_PASSES_MAX {
            return Err(KeystoreError::Malformed);
        }
        let key = derive(passphrase, &file.salt.0, file.memory_kib, file.passes)?;
        let content =
            open_box(&key, Label::Keystore, &file.sealed).map_err(|_| KeystoreError::WrongPassphrase)?;
        let unlocked = Self { key, salt: file.salt, memory_kib: file.memory_kib, passes: file.passes };
        Ok((zeroize::Zeroizing::new(content), unlocked))
    }

    /// The keystore file with this content. `nonce` must be fresh.
    pub fn seal(&self, nonce: [u8; 12], content: &[u8]) -> Vec<u8> {
        codec::to_vec(&File {
            suite: Suite::Standard.number(),
            salt: self.salt,
            memory_kib: self.memory_kib,
            passes: self.passes,
            sealed: seal_box(&self.key, Label::Keystore, nonce, content).into(),
        })
    }
}

fn derive(passphrase: &[u8], salt: &[u8; 32], memory_kib: u32, passes: u32) -> Result<Secret, KeystoreError> {
    let params =
        argon2::Params::new(memory_kib, passes, 1, Some(32)).map_err(|_| KeystoreError::Malformed)?;
    let mut key = [0; 32];
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut key)
        .map_err(|_| KeystoreError::Malformed)?;
    Ok(Secret::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_with_its_passphrase_only_and_seals_again_without_it() {
        let file = Unlocked::new(b"correct horse", [1; 32]).unwrap().seal([2; 12], b"secrets");
        let (content, unlocked) = Unlocked::open(b"correct horse", &file).unwrap();
        assert_eq!(content.as_slice(), b"secrets");
        let again = unlocked.seal([3; 12], b"other");
        assert_eq!(Unlocked::open(b"correct horse", &again).unwrap().0.as_slice(), b"other");
        assert_eq!(Unlocked::open(b"wrong horse", &file).err(), Some(KeystoreError::WrongPassphrase));
        assert_eq!(Unlocked::open(b"correct horse", &file[1..]).err(), Some(KeystoreError::Malformed));
    }
}
