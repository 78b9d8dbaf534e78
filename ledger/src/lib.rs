//! Append-only logs of opaque leaves: trees, tiles, signed checkpoints, proofs, and the storage contract under them.
//!
//! *Not here*: what an entry means (`credit`, `exchange`), who may read it (`exchange`), HTTP and files (`node`),
//! any clock or random generator. Keys, times and storage arrive as arguments.
//!
//! # Life of a leaf
//!
//! 1. A caller hands the bytes of an entry to [`Log::append`] and learns its index. Nothing is stored yet.
//! 2. [`Log::seal`] hashes every pending entry (RFC 6962 §2.1), extends the right-edge tiles, computes the new root
//!    by two paths, signs a checkpoint and puts all of it into one [`Batch`].
//! 3. [`Store::apply`] makes the batch durable, all or nothing. Only now may anybody be told of the entry.
//! 4. Readers take tiles, bundles and proofs from any [`View`] with the functions of [`log`]; they never need the writer.
//! 5. Others verify: [`proof`] for one entry, [`audit`] for the whole log, [`witness`] for what others cosigned.
//!
//! | module | holds |
//! |---|---|
//! | [`tree`] | leaf indexes, tree sizes, the frontier |
//! | [`proof`] | inclusion and consistency: build and verify |
//! | [`tile`] | coordinates, paths and contents of tiles and entry bundles |
//! | [`note`] | signed notes and cosignatures |
//! | [`checkpoint`] | the three lines a log signs |
//! | [`store`] | `View`, `Batch`, `Store`, `Overlay`; the in-memory store and the suite for every store |
//! | [`log`], [`prover`] | one log in a store: append, seal, read; paths for many askers |
//! | [`witness`] | quorum rule and its verification |
//! | [`policy`] | trust as a file (tlog-policy) and what it makes of a checkpoint |
//! | [`proof_file`], [`cose_receipt`] | a proof as a file: tlog-proof, and COSE receipt (RFC 9942) |
//! | [`audit`], [`fsck`] | every byte of a published log checked; of a stored one |

pub mod add_checkpoint;
pub mod audit;
pub mod checkpoint;
pub mod cose_receipt;
pub mod fsck;
pub mod log;
pub mod newest;
pub mod note;
pub mod policy;
pub mod proof;
pub mod proof_file;
pub mod prover;
pub mod store;
pub mod tile;
pub mod tree;
pub mod witness;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use log::{Log, LogError};
pub use note::{NoteError, NoteKey};
pub use proof::ProofError;
pub use store::{Batch, Overlay, Space, Store, StoreError, View};
pub use tile::Tile;
pub use tree::{Frontier, LeafIndex, TreeSize};
