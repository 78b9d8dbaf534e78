//! Tags, header parameters and values of COSE that our objects have.

/// Tag of a COSE_Sign1 (RFC 9052 §4.2).
pub const SIGN1: u64 = 18;
/// Header parameter: the algorithm (RFC 9052 §3.1).
pub const ALGORITHM: i64 = 1;
/// Header parameter: the content type (RFC 9052 §3.1).
pub const CONTENT_TYPE: i64 = 3;
/// Header parameter: what finds the key (RFC 9052 §3.1).
pub const KEY_ID: i64 = 4;
/// Header parameter: CWT claims (RFC 9597).
pub const CWT_CLAIMS: i64 = 15;
/// Private header parameter: the suite of all our signed objects.
pub const SUITE: i64 = -65_537;
/// Algorithm: EdDSA (RFC 9053 §2.2), here with Ed25519.
pub const ED_DSA: i64 = -8;
/// Claim: who says it (RFC 8392 §3.1.1).
pub const ISSUER: i64 = 1;
/// Claim: about what (RFC 8392 §3.1.2).
pub const SUBJECT: i64 = 2;
/// Claim: when (RFC 8392 §3.1.6).
pub const ISSUED_AT: i64 = 6;
