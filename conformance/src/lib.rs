//! What the other crates must do, held against them: vectors made elsewhere, a naive second implementation, and a
//! simulation of whole federations.
//!
//! *Not here*: anything a node needs to run. Nothing depends on this crate, and it knows the others only through what
//! they export.
//!
//! | module | holds |
//! |---|---|
//! | [`appending`] | a short history of a store and what it must hold after every batch |
//! | [`guesses`] | a bank that guesses identifiers, and what it can tell from the refusals |
//! | [`oracle`] | RFC 6962 and the standing of records, written a second time and as plainly as possible |
//! | [`published`] | a log of sample entries as a directory of files, as a node serves it |
//! | [`sim`] | a federation in one process on one virtual clock: one seed is one history |

pub mod appending;
pub mod guesses;
pub mod oracle;
pub mod published;
pub mod sim;
