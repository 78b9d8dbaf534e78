//! A long content sealed piece by piece, so that neither end holds all of it: STREAM (Hoang, Reyhanitabar, Rogaway, Vizár:
//! "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015) over AES-256-GCM.
//!
//! The nonce of a chunk is its number (11 bytes, big-endian) and one byte that is 1 for the last: a chunk that is
//! missing, moved or repeated, and an end that comes too early, do not open.

use aes_gcm::{Aes256Gcm, KeyInit, aead::Aead};

use crate::{label::Label, pseudonym::keyed, seal::SealError, secret::Secret};

/// Plain bytes of every chunk but the last, which may have fewer. What is opened is held until its tag was checked.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes that sealing adds to a chunk.
pub const TAG_BYTES: usize = 16;

/// Seals the chunks of one content, in order.
pub struct StreamSealer(Chunks);

/// Opens the chunks of one content, in order.
pub struct StreamOpener(Chunks);

struct Chunks {
    cipher: Aes256Gcm,
    next: u64,
}

impl Chunks {
    fn new(key: &Secret, header: &[u8]) -> Self {
        let key = Secret::new(keyed(key, Label::BackupChunks, &[header]));
        Self { cipher: Aes256Gcm::new(key.expose().into()), next: 0 }
    }

    fn nonce(&mut self, last: bool) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.next.to_be_bytes());
        nonce[11] = u8::from(last);
        self.next += 1;
        nonce
    }
}

impl StreamSealer {
    /// Chunks under `key`, which must be fresh for this content, bound to `header`.
    pub fn new(key: &Secret, header: &[u8]) -> Self {
        Self(Chunks::new(key, header))
    }

    /// Seals the next chunk, of at most [`CHUNK_BYTES`].
    pub fn seal(&mut self, chunk: &[u8], last: bool) -> Vec<u8> {
        let nonce = self.0.nonce(last);
        match self.0.cipher.encrypt(&nonce.into(), chunk) {
            Ok(sealed) => sealed,
            // INVARIANT: AES-GCM refuses only messages of 64 GiB and more.
            Err(_) => unreachable!("chunk too long for AES-GCM"),
        }
    }
}

impl StreamOpener {
    /// As [`StreamSealer::new`].
    pub fn new(key: &Secret, header: &[u8]) -> Self {
        Self(Chunks::new(key, header))
    }

    /// Opens the next chunk. Errors: another key, header, place or end than it was sealed with, or changed bytes.
    pub fn open(&mut self, sealed: &[u8], last: bool) -> Result<Vec<u8>, SealError> {
        let nonce = self.0.nonce(last);
        self.0.cipher.decrypt(&nonce.into(), sealed).map_err(|_| SealError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opener(header: &[u8]) -> StreamOpener {
        StreamOpener::new(&Secret::new([1; 32]), header)
    }

    #[test]
    fn chunks_open_in_their_order_to_their_end_and_under_their_header_only() {
        let mut sealer = StreamSealer::new(&Secret::new([1; 32]), b"header");
        let sealed: Vec<Vec<u8>> = [(&b"a"[..], false), (b"b", false), (b"", true)]
            .map(|(chunk, last)| sealer.seal(chunk, last))
            .into();
        let mut whole = opener(b"header");
        assert_eq!(whole.open(&sealed[0], false).unwrap(), b"a");
        assert_eq!(whole.open(&sealed[1], false).unwrap(), b"b");
        assert_eq!(whole.open(&sealed[2], true).unwrap(), b"");
        assert_eq!(sealed[0].len(), 1 + TAG_BYTES);

        assert!(opener(b"header").open(&sealed[1], false).is_err(), "moved");
        assert!(opener(b"header").open(&sealed[0], true).is_err(), "cut off");
        assert!(opener(b"another").open(&sealed[0], false).is_err(), "another header");
        let mut repeated = opener(b"header");
        repeated.open(&sealed[0], false).unwrap();
        assert!(repeated.open(&sealed[0], false).is_err(), "repeated");
    }
}
