//! Secrets under a credential. A passphrase becomes a key by Argon2id (RFC 9106), the 32 bytes of a key file by one keyed
//! hash, since nobody guesses them; AES-256-GCM seals the content.

use core::fmt;

use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::{
    Bytes, Digest, codec,
    label::Label,
    pseudonym::keyed,
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

/// What opens a keystore.
#[derive(Clone)]
pub enum Credential {
    /// Words that a person or a service manager keeps.
    Passphrase(Zeroizing<Vec<u8>>),
    /// 32 random bytes.
    Key(Secret),
}

impl<T: AsRef<[u8]> + ?Sized> From<&T> for Credential {
    /// The bytes as a passphrase.
    fn from(passphrase: &T) -> Self {
        Self::Passphrase(Zeroizing::new(passphrase.as_ref().to_vec()))
    }
}

impl From<&Credential> for Credential {
    fn from(credential: &Credential) -> Self {
        credential.clone()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

/// Why a keystore does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeystoreError {
    /// The bytes are not a keystore of this version.
    Malformed,
    /// Wrong passphrase or key, or the file was changed. Which of them cannot be told.
    WrongCredential,
    /// It is under a key file, and a passphrase was given.
    NeedsKey,
    /// It is under a passphrase, and a key file was given.
    NeedsPassphrase,
}

impl fmt::Display for KeystoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a keystore file",
            Self::WrongCredential => "wrong passphrase or key, or the file was changed",
            Self::NeedsKey => "it opens with a key file, and a passphrase was given",
            Self::NeedsPassphrase => "it opens with a passphrase, and a key file was given",
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
    /// Cost of Argon2id; both are 0 where the credential is a key.
    #[n(2)]
    memory_kib: u32,
    #[n(3)]
    passes: u32,
    #[n(4)]
    sealed: Bytes,
}

/// The key that a credential opened: seals new content into the same keystore without asking again.
pub struct Unlocked {
    key: Secret,
    salt: Digest,
    memory_kib: u32,
    passes: u32,
}

impl Unlocked {
    /// Derives the key of a new keystore. `salt` must be fresh.
    pub fn new(credential: impl Into<Credential>, salt: [u8; 32]) -> Result<Self, KeystoreError> {
        let credential = credential.into();
        let (memory_kib, passes) = match credential {
            Credential::Passphrase(_) => (ARGON2_MEMORY_KIB, ARGON2_PASSES),
            Credential::Key(_) => (0, 0),
        };
        let key = derive(&credential, &salt, memory_kib, passes)?;
        Ok(Self { key, salt: Digest(salt), memory_kib, passes })
    }

    /// Opens a keystore file: its content, and the key to seal it again.
    pub fn open(
        credential: impl Into<Credential>,
        bytes: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Self), KeystoreError> {
        Self::open_for(Label::Keystore, credential, bytes)
    }

    /// As [`Unlocked::open`], for content that was sealed for another purpose.
    pub fn open_for(
        label: Label,
        credential: impl Into<Credential>,
        bytes: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Self), KeystoreError> {
        let file: File = codec::from_slice(bytes).map_err(|_| KeystoreError::Malformed)?;
        let known = Suite::from_number(file.suite.into()).is_some();
        if !known || file.memory_kib > ARGON2_MEMORY_KIB_MAX || file.passes > ARGON2_PASSES_MAX {
            return Err(KeystoreError::Malformed);
        }
        let key = derive(&credential.into(), &file.salt.0, file.memory_kib, file.passes)?;
        let content = open_box(&key, label, &file.sealed).map_err(|_| KeystoreError::WrongCredential)?;
        let unlocked = Self { key, salt: file.salt, memory_kib: file.memory_kib, passes: file.passes };
        Ok((Zeroizing::new(content), unlocked))
    }

    /// The keystore file with this content. `nonce` must be fresh.
    pub fn seal(&self, nonce: [u8; 12], content: &[u8]) -> Vec<u8> {
        self.seal_for(Label::Keystore, nonce, content)
    }

    /// As [`Unlocked::seal`], for another purpose than a keystore.
    pub fn seal_for(&self, label: Label, nonce: [u8; 12], content: &[u8]) -> Vec<u8> {
        codec::to_vec(&File {
            suite: Suite::Standard.number(),
            salt: self.salt,
            memory_kib: self.memory_kib,
            passes: self.passes,
            sealed: seal_box(&self.key, label, nonce, content).into(),
        })
    }
}

fn derive(
    credential: &Credential,
    salt: &[u8; 32],
    memory_kib: u32,
    passes: u32,
) -> Result<Secret, KeystoreError> {
    let passphrase = match (credential, memory_kib, passes) {
        (Credential::Key(key), 0, 0) => return Ok(Secret::new(keyed(key, Label::KeyFile, &[salt]))),
        (Credential::Key(_), ..) => return Err(KeystoreError::NeedsPassphrase),
        (Credential::Passphrase(_), 0, 0) => return Err(KeystoreError::NeedsKey),
        (Credential::Passphrase(passphrase), ..) => passphrase,
    };
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
        assert_eq!(Unlocked::open(b"wrong horse", &file).err(), Some(KeystoreError::WrongCredential));
        assert_eq!(Unlocked::open(b"correct horse", &file[1..]).err(), Some(KeystoreError::Malformed));
        let elsewhere = Unlocked::open_for(Label::BackupKey, b"correct horse", &file);
        assert_eq!(elsewhere.err(), Some(KeystoreError::WrongCredential));
    }

    #[test]
    fn a_key_file_needs_no_passphrase_and_does_not_pass_for_one() {
        let key = |byte| Credential::Key(Secret::new([byte; 32]));
        let file = Unlocked::new(key(7), [1; 32]).unwrap().seal([2; 12], b"secrets");
        assert_eq!(Unlocked::open(key(7), &file).unwrap().0.as_slice(), b"secrets");
        assert_eq!(Unlocked::open(key(8), &file).err(), Some(KeystoreError::WrongCredential));
        assert_eq!(Unlocked::open(&[7; 32], &file).err(), Some(KeystoreError::NeedsKey));
        let file = Unlocked::new(&[7; 32], [1; 32]).unwrap().seal([2; 12], b"secrets");
        assert_eq!(Unlocked::open(key(7), &file).err(), Some(KeystoreError::NeedsPassphrase));
    }
}
