//! Bytes, hashes, keys and seals: everything a reviewer of the cryptography has to read, and nothing else.
//!
//! *Not here*: logs and their proofs (`ledger`), what a field means (`credit`), where keys are kept on disk
//! (`node`), any clock, file, socket or random generator. Randomness and time arrive as arguments.
//!
//! | module | holds |
//! |---|---|
//! | [`codec`] | the one canonical encoding (deterministic CBOR) and the `id!` macro |
//! | [`label`] | every domain-separation label, in one table |
//! | [`digest`] | SHA-256 with labels |
//! | [`merkle`] | RFC 6962 hashing over lists that fit in memory |
//! | [`commit`] | salted field commitments, the record root, openings with one multi-proof |
//! | [`sign`] | Ed25519 as COSE_Sign1; `Signed<T>` becomes `Verified<T>` |
//! | [`seal`] | field sealing at rest; HPKE to an asker |
//! | [`keytree`] | the puncturable key tree: erasing a key for good |
//! | [`pseudonym`] | keyed identifiers: record ids, subject tags, subject links |
//! | [`recent`] | a bounded memory of results |
//! | [`keystore`] | secrets under a passphrase or a key file |
//! | [`secret`] | bytes that wipe themselves and cannot be printed |
//! | [`suite`] | the algorithm suite number that stands in every signed or sealed object |

pub mod codec;
pub mod commit;
pub mod cose;
pub mod digest;
pub mod keystore;
pub mod keytree;
pub mod label;
pub mod merkle;
pub mod pseudonym;
pub mod recent;
pub mod seal;
pub mod secret;
pub mod sign;
pub mod suite;

pub use codec::{Bytes, Timestamp};
pub use digest::Digest;
