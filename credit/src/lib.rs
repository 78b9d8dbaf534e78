//! What public-credit data means: who a subject is, what may be collected, who may ask, when a record stops.
//!
//! *Not here*: logs and proofs (`ledger`), messages and what a member does with them (`exchange`), files, clocks and
//! sockets (`node`). Rules that a statute sets are dated data under `credit/data`, each row naming its source; the
//! code holds only the mechanism.
//!
//! | module | holds |
//! |---|---|
//! | [`id`], [`subject`], [`value`] | identifiers and typed values; parsing is the proof |
//! | [`catalog`] | record types, their fields, classes and modes |
//! | [`decode`], [`normalize`], [`csv`] | a department's file to checked rows |
//! | [`record`] | a plain record to a sealed one, and back field by field |
//! | [`question`], [`grant`], [`binding`], [`policy`] | who asks, with whose word, and one verdict per field |
//! | [`disclosure`], [`predicate`] | what a permitted reader receives of a field: a value, a masked form, or yes and no |
//! | [`status`] | the standing of a record: a value that merges |
//! | [`repair`], [`rules`], [`calendar`] | one application's way, dated rule sets, working days |
//! | [`entry`] | every fact a log can hold |

pub mod binding;
pub mod calendar;
pub mod catalog;
pub mod csv;
pub mod decode;
pub mod disclosure;
pub mod entry;
pub mod grant;
pub mod id;
pub mod mandate;
pub mod mask;
pub mod normalize;
pub mod policy;
pub mod predicate;
pub mod question;
pub mod record;
pub mod repair;
pub mod rules;
pub mod status;
pub mod subject;
pub mod value;
