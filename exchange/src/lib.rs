//! One member of the federation without any I/O: messages in, one atomic batch and its effects out.
//!
//! *Not here*: sockets, files, clocks and randomness (`node`), what data means (`credit`), proofs (`ledger`). Nothing
//! in this crate waits; time, randomness and storage arrive as arguments.
//!
//! # Life of a record
//!
//! A department's file becomes sealed records in the node's intake. [`submit`] checks source and item, knows
//! duplicates and amendments by record id, appends one `Recorded` entry each and one signed `Batched` entry; payloads
//! and index rows go into the same batch. A question reaches [`query`], which decides field by field, writes
//! `Disclosed` or `Refused` and plans the answer; after the batch is durable, [`answer`] opens exactly the planned
//! fields and seals them to the asker. Predicates are judged before ([`check`]).
//!
//! # Life of a repair
//!
//! [`repair`] takes an application at any counter and forwards it to the authority, where a case runs to its
//! decision. The decision is one entry of the authority's status log; in the same batch [`propagation`] writes one
//! delivery row per recipient. Each recipient verifies it ([`receipt`]), stops using the record ([`project`]) and
//! acknowledges with an entry of its own; the acknowledgements make the certificate. [`sync`] brings what a push
//! missed, and brings a restored member back to where its peers have seen it, before it answers anything.
//!
//! # Life of a publication
//!
//! A decision about a subject of another province is pushed there by [`push`], in the batch that takes it in; the receiver keeps
//! it sealed, says when it has published it, and stops when the authority's log says so.
//!
//! # When two members differ
//!
//! [`summary`] keeps a digest of the standings under each authority; [`reconcile`] compares it with a peer's, finds the
//! records that differ, and mends them by the authority's log.
//!
//! # What happens by itself
//!
//! [`timer`] keeps the clocks of the law as rows of the due queue; a `Tick` ends publicity, reports steps of cases that
//! are late, and has withdrawn records erased.
//!
//! # When a member lies
//!
//! [`evidence`] compares what peers have been shown; two signed histories convict their owner, who is then frozen. [`bundle`] is
//! what an auditor takes away: what only one of two access logs has, and a member's log in one file.

pub mod accesses;
pub mod answer;
pub mod artifact;
pub mod backup;
pub mod ban;
pub mod bundle;
pub mod certificate;
pub mod check;
pub mod context;
pub mod ended;
pub mod erase;
pub mod evidence;
pub mod fsck;
pub mod grant;
pub mod kept;
pub mod limits;
pub mod logs;
pub mod mandate;
pub mod member;
pub mod misuse;
pub mod parts;
pub mod pass;
pub mod project;
pub mod propagation;
pub mod push;
pub mod query;
pub mod quota;
pub mod read;
pub mod receipt;
pub mod recognise;
pub mod reconcile;
pub mod refusal;
pub mod registry;
pub mod repair;
pub mod step;
pub mod submit;
pub mod summary;
pub mod sync;
pub mod tables;
pub mod timer;
pub mod trust;
pub mod turn;
pub mod turned_away;
pub mod wire;
pub mod witness;

#[cfg(test)]
mod tests;
