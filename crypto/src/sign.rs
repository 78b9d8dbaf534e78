//! Ed25519 signatures as COSE_Sign1 (RFC 9052) with CWT claims in the protected header (RFC 9597).
//!
//! `Signed<T>` is what arrives; only [`Signed::verify`] turns it into `Verified<T>`, which alone gives access to the
//! statement. The content type is the statement's label, so a signature over one kind of statement never passes
//! for another.

use core::{fmt, marker::PhantomData, ops::Range};

use ed25519_dalek::{Signer, Verifier};
use minicbor::{Decode, Encode, data::Tag};

use crate::{
    Bytes, Digest, Timestamp, codec, cose, label::Label, recent::Recent, secret::Secret, suite::Suite,
};

/// Longest signed object: a question or grant is below 8 KiB; a batch statement below 1 KiB.
pub const SIGNED_BYTES_MAX: usize = 60 * 1024;

crate::id! {
    /// First 8 bytes of SHA-256 of a public key: finds a key, proves nothing.
    pub struct KeyId(8);
    /// An Ed25519 or X25519 public key as it stands in the registry.
    pub struct PublicKey(32);
}

/// A private Ed25519 key.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of a 32-byte seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &Secret) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed.expose()))
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Signs plain bytes: for formats that define their own envelope (signed notes).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifying_key().id())
    }
}

/// A public Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Reads a compressed point; `None` when it is not on the curve, or of small order: no signature of such a key holds
    /// ([`VerifyingKey::verify`]), so it is nobody's.
    pub fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak()).map(Self)
    }

    /// The compressed point.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The short name of this key.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.to_bytes())
    }

    /// Strict verification: small-order and non-canonical points are refused, so that two members never differ
    /// on a crafted signature.
    ///
    /// The same as `verify_strict` of ed25519-dalek, and quicker: what the signature's first half is compared with is in the
    /// canonical form, so that it need not be read as a point to see whether it is one of the eight.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let (point, _) = signature.split_at(32);
        let strict = SMALL_ORDER.iter().all(|small| point != small);
        strict && self.0.verify(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }
}

/// The eight points of small order, in their canonical form (RFC 8032 §5.1.2).
const SMALL_ORDER: [[u8; 32]; 8] = {
    const fn ends(first: u8, fill: u8, last: u8) -> [u8; 32] {
        let mut point = [fill; 32];
        point[0] = first;
        point[31] = last;
        point
    }
    const fn sign(mut point: [u8; 32]) -> [u8; 32] {
        point[31] |= 0x80;
        point
    }
    const EIGHTH: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    const OTHER_EIGHTH: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    [
        ends(1, 0, 0),
        ends(0xec, 0xff, 0x7f),
        ends(0, 0, 0),
        ends(0, 0, 0x80),
        EIGHTH,
        sign(EIGHTH),
        OTHER_EIGHTH,
        sign(OTHER_EIGHTH),
    ]
};

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.id())
    }
}

/// Signatures that were good before, and keys that were read before: what comes again is not computed again.
///
/// Bad ones are not remembered: whoever sends them pays with a whole verification each time, and crowds out nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    good: Recent<Digest, (), SEEN_SIGNATURES>,
    keys: Recent<[u8; 32], VerifyingKey, SEEN_KEYS>,
}

/// Signatures remembered; about 100 bytes each.
const SEEN_SIGNATURES: usize = 16_384;
/// Keys remembered; a federation has at most a few hundred.
const SEEN_KEYS: usize = 1_024;

impl Seen {
    /// [`VerifyingKey::from_bytes`].
    pub fn key(&self, bytes: [u8; 32]) -> Option<VerifyingKey> {
        if let Some(key) = self.keys.get(&bytes) {
            return Some(key);
        }
        let key = VerifyingKey::from_bytes(bytes)?;
        self.keys.put(bytes, key);
        Some(key)
    }

    /// [`VerifyingKey::verify`].
    pub fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        // The first two have a fixed length, so the parts cannot be read otherwise.
        let seen = Digest::of_parts(&[&key.to_bytes(), signature, message]);
        if self.good.get(&seen).is_some() {
            return true;
        }
        let good = key.verify(message, signature);
        if good {
            self.good.put(seen, ());
        }
        good
    }
}

impl KeyId {
    /// The id of a public key.
    pub fn of(public: &[u8; 32]) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&Digest::of(public).0[..8]);
        Self(id)
    }
}

/// Something a member signs. The label is the content type in the protected header.
pub trait Statement: Encode<()> + for<'b> Decode<'b, ()> {
    /// What the signature is for.
    const LABEL: Label;
}

/// Why a signed object is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignError {
    /// Not a COSE_Sign1 of this profile; carries what is missing.
    Malformed(&'static str),
    /// A statement of another kind, or of a suite this build does not have.
    WrongKind,
    /// The key id in the header is not that of the key given.
    WrongKey,
    /// The signature does not belong to the content and the key.
    BadSignature,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "signed object is malformed: {what}"),
            Self::WrongKind => f.write_str("signed object is of another kind or suite"),
            Self::WrongKey => f.write_str("signed object names another key"),
            Self::BadSignature => f.write_str("signature does not verify"),
        }
    }
}

impl std::error::Error for SignError {}

/// A signed statement as received: well-formed, nothing checked.
pub struct Signed<T> {
    bytes: Vec<u8>,
    issuer: String,
    key: KeyId,
    issued_s: u64,
    signature: [u8; 64],
    /// Where the payload lies in `bytes`.
    payload: Range<usize>,
    statement: PhantomData<fn() -> T>,
}

/// A statement whose signature has been checked against a known key.
#[derive(Clone)]
pub struct Verified<T> {
    signed: Signed<T>,
    statement: T,
}

impl<T: Statement> Signed<T> {
    /// Signs `statement` as `issuer`, at `now` (seconds enter the header).
    pub fn new(key: &SigningKey, issuer: &str, now: Timestamp, statement: &T) -> Self {
        let (id, issued_s) = (key.verifying_key().id(), now.0 / 1000);
        let (header, payload) = (header::<T>(id, issuer, issued_s), codec::to_vec(statement));
        let unsigned = object(&header, &payload, &[0; 64]);
        let range = payload_range(unsigned.len(), payload.len());
        let signature = key.sign(&message(&unsigned, &range));
        let bytes = object(&header, &payload, &signature);
        Self {
            bytes,
            issuer: issuer.to_owned(),
            key: id,
            issued_s,
            signature,
            payload: range,
            statement: PhantomData,
        }
    }

    /// Reads a COSE_Sign1 of this profile; refuses every other form of the same content.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignError> {
        if bytes.len() > SIGNED_BYTES_MAX {
            return Err(SignError::Malformed("longer than 60 KiB"));
        }
        let Parts { protected, payload, signature } =
            Parts::read(bytes).map_err(|_| SignError::Malformed("not a COSE_Sign1"))?;
        let claimed =
            Header::read(protected).map_err(|_| SignError::Malformed("not a header of this profile"))?;
        if claimed.algorithm != cose::ED_DSA || claimed.kind != T::LABEL.as_str() {
            return Err(SignError::WrongKind);
        }
        let Header { key, issuer, issued_s, .. } = claimed;
        let key = KeyId(key.try_into().map_err(|_| SignError::Malformed("no key id of 8 bytes"))?);
        let signature = signature.try_into().map_err(|_| SignError::Malformed("no signature of 64 bytes"))?;
        // One encoding per object: built from what was read, and compared.
        if object(&header::<T>(key, issuer, issued_s), payload, &signature) != bytes {
            return Err(SignError::Malformed("not in the one accepted form"));
        }
        let payload = payload_range(bytes.len(), payload.len());
        let (bytes, issuer) = (bytes.to_vec(), issuer.to_owned());
        Ok(Self { bytes, issuer, key, issued_s, signature, payload, statement: PhantomData })
    }

    /// Checks a statement that carries its author's own key, which `key` finds in it: proof of possession, as in a
    /// request for admission. It says nothing about who the author is.
    pub fn verify_by_own_key(&self, key: impl Fn(&T) -> [u8; 32]) -> Result<Verified<T>, SignError> {
        let claims = self.claimed()?;
        self.verify(&VerifyingKey::from_bytes(key(&claims)).ok_or(SignError::WrongKey)?)
    }

    /// Checks a statement that says itself whose word its author's key rests on. `key` sees what it claims, checks that word,
    /// and answers with the key.
    pub fn verify_by<E: From<SignError>>(
        &self,
        seen: &Seen,
        key: impl FnOnce(&T) -> Result<VerifyingKey, E>,
    ) -> Result<Verified<T>, E> {
        let key = key(&self.claimed()?)?;
        Ok(self.verify_seen(&key, seen)?)
    }

    /// Checks the signature and gives access to the statement.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Verified<T>, SignError> {
        self.verify_with(key, |message, signature| key.verify(message, signature))
    }

    /// As [`Signed::verify`], for statements that come again and again.
    pub fn verify_seen(&self, key: &VerifyingKey, seen: &Seen) -> Result<Verified<T>, SignError> {
        self.verify_with(key, |message, signature| seen.verify(key, message, signature))
    }

    /// What it says, unchecked.
    fn claimed(&self) -> Result<T, SignError> {
        codec::from_slice(&self.bytes[self.payload.clone()])
            .map_err(|_| SignError::Malformed("payload is not canonical"))
    }

    fn verify_with(
        &self,
        key: &VerifyingKey,
        verify: impl FnOnce(&[u8], &[u8; 64]) -> bool,
    ) -> Result<Verified<T>, SignError> {
        if key.id() != self.key {
            return Err(SignError::WrongKey);
        }
        if !verify(&message(&self.bytes, &self.payload), &self.signature) {
            return Err(SignError::BadSignature);
        }
        Ok(Verified { signed: self.clone(), statement: self.claimed()? })
    }
}

impl<T> Signed<T> {
    /// The member (or governor, or collector) that claims to have signed.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key that claims to have signed.
    pub fn key_id(&self) -> KeyId {
        self.key
    }

    /// When it claims to have been signed, to the second.
    pub fn issued_at(&self) -> Timestamp {
        Timestamp(self.issued_s.saturating_mul(1000))
    }

    /// The signature alone: with the object it proves who signed, without it it says nothing.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// The COSE_Sign1 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How entries and answers refer to this object.
    pub fn digest(&self) -> Digest {
        Digest::labelled(Label::ObjectDigest, &self.bytes)
    }
}

impl<T: Statement> Verified<T> {
    /// Signs `statement` as [`Signed::new`] does, and keeps it: whoever has just signed need not check that they did.
    pub fn own(key: &SigningKey, issuer: &str, now: Timestamp, statement: T) -> Self {
        Self { signed: Signed::new(key, issuer, now, &statement), statement }
    }
}

impl<T> Verified<T> {
    /// The statement.
    pub fn get(&self) -> &T {
        &self.statement
    }

    /// The statement, by value.
    pub fn into_inner(self) -> T {
        self.statement
    }

    /// The signed form, for passing on.
    pub fn signed(&self) -> &Signed<T> {
        &self.signed
    }
}

// Derives would ask `T` for traits that the bytes do not need.
impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            issuer: self.issuer.clone(),
            key: self.key,
            issued_s: self.issued_s,
            signature: self.signature,
            payload: self.payload.clone(),
            statement: PhantomData,
        }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for Signed<T> {}

impl<T> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({} by {}, {} bytes)", self.key, self.issuer, self.bytes.len())
    }
}

impl<T> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({:?})", self.signed)
    }
}

impl<T, C> Encode<C> for Signed<T> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.bytes)?.ok()
    }
}

impl<'b, T: Statement, C> Decode<'b, C> for Signed<T> {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes: Bytes = d.decode_with(ctx)?;
        Self::parse(&bytes).map_err(|e| minicbor::decode::Error::message(e.to_string()))
    }
}

/// Where the payload lies in an object of the one accepted form: before the signature of 64 bytes, which has a head of two.
fn payload_range(bytes: usize, payload_bytes: usize) -> Range<usize> {
    let end = bytes - (2 + 64);
    end - payload_bytes..end
}

/// Bytes of the head of a CBOR byte string (RFC 8949 §3).
const fn head_bytes(string_bytes: usize) -> usize {
    match string_bytes {
        0..24 => 1,
        24..256 => 2,
        256..65_536 => 3,
        _ => 5,
    }
}

/// What the signature is over: the `Sig_structure` of RFC 9052 §4.4, without external data. It has the header and the payload in
/// the very bytes in which they stand in the object, of which there is one form.
fn message(object: &[u8], payload: &Range<usize>) -> Vec<u8> {
    let payload = payload.start - head_bytes(payload.len())..payload.end;
    // Between the two stands the empty unprotected header; before them the tag and the array.
    let protected = 2..payload.start - 1;
    [b"\x84\x6aSignature1", &object[protected], b"\x40", &object[payload]].concat()
}

/// The protected header; its keys stand in the order of RFC 8949 §4.2.1.
fn header<T: Statement>(key: KeyId, issuer: &str, issued_s: u64) -> Vec<u8> {
    codec::encoded(|e| {
        e.map(5)?.i64(cose::ALGORITHM)?.i64(cose::ED_DSA)?;
        e.i64(cose::CONTENT_TYPE)?.str(T::LABEL.as_str())?;
        e.i64(cose::KEY_ID)?.bytes(&key.0)?;
        e.i64(cose::CWT_CLAIMS)?
            .map(2)?
            .i64(cose::ISSUER)?
            .str(issuer)?
            .i64(cose::ISSUED_AT)?
            .u64(issued_s)?;
        e.i64(cose::SUITE)?.u8(Suite::Standard.number())?.ok()
    })
}

/// A COSE_Sign1 (RFC 9052 §4.2), tagged, with an empty unprotected header.
fn object(protected: &[u8], payload: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    codec::encoded(|e| {
        e.tag(Tag::new(cose::SIGN1))?
            .array(4)?
            .bytes(protected)?
            .map(0)?
            .bytes(payload)?
            .bytes(signature)?
            .ok()
    })
}

/// The parts of a COSE_Sign1, as they are claimed.
struct Parts<'a> {
    protected: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, minicbor::decode::Error> {
        let mut d = minicbor::Decoder::new(bytes);
        d.tag()?;
        d.array()?;
        let protected = d.bytes()?;
        d.map()?;
        Ok(Self { protected, payload: d.bytes()?, signature: d.bytes()? })
    }
}

/// What a protected header claims. Whether it is all that stands there, and in its one form, shows when it is built anew.
struct Header<'a> {
    algorithm: i64,
    kind: &'a str,
    key: &'a [u8],
    issuer: &'a str,
    issued_s: u64,
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, minicbor::decode::Error> {
        let mut d = minicbor::Decoder::new(bytes);
        d.map()?;
        d.u8()?;
        let algorithm = d.i64()?;
        d.u8()?;
        let kind = d.str()?;
        d.u8()?;
        let key = d.bytes()?;
        d.u8()?;
        d.map()?;
        d.u8()?;
        let issuer = d.str()?;
        d.u8()?;
        Ok(Self { algorithm, kind, key, issuer, issued_s: d.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use coset::{
        CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, cbor::value::Value, iana,
    };
    use proptest::prelude::*;

    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        core::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    #[test]
    fn the_points_of_small_order_are_eight_and_nobodys_key() {
        let different: std::collections::BTreeSet<_> = SMALL_ORDER.into_iter().collect();
        assert_eq!(different.len(), 8);
        for point in SMALL_ORDER {
            assert!(ed25519_dalek::VerifyingKey::from_bytes(&point).unwrap().is_weak());
            assert!(VerifyingKey::from_bytes(point).is_none());
        }
    }

    /// Vector 2 of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020): its equation holds, and its first half is a
    /// point of small order.
    #[test]
    fn a_signature_with_a_point_of_small_order_is_none() {
        let key = bytes("f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43");
        let message: [u8; 32] = bytes("aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab");
        let signature: [u8; 64] = bytes(
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
        );
        let theirs = ed25519_dalek::VerifyingKey::from_bytes(&key).unwrap();
        let parsed = ed25519_dalek::Signature::from_bytes(&signature);
        assert!(theirs.verify(&message, &parsed).is_ok(), "the vector shows nothing");
        assert!(theirs.verify_strict(&message, &parsed).is_err());
        assert!(!VerifyingKey::from_bytes(key).unwrap().verify(&message, &signature));
    }

    #[test]
    fn the_quicker_way_is_the_strict_one() {
        let (signing, message) = (SigningKey::from_seed(&Secret::new([7; 32])), b"message");
        let key = signing.verifying_key();
        let good = signing.sign(message);
        let same = |signature: &[u8; 64]| {
            let strict =
                key.0.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok();
            assert_eq!(key.verify(message, signature), strict);
            strict
        };
        assert!(same(&good));
        for bit in 0..512 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!same(&bad), "bit {bit}");
        }
        for point in SMALL_ORDER {
            let mut bad = good;
            bad[..32].copy_from_slice(&point);
            assert!(!same(&bad));
        }
    }

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Note(#[n(0)] u64);
    impl Statement for Note {
        const LABEL: Label = Label::SignStatus;
    }
    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Other(#[n(0)] u64);
    impl Statement for Other {
        const LABEL: Label = Label::SignGrant;
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    #[test]
    fn what_was_seen_is_good_for_the_same_bytes_and_key_only() {
        let seen = Seen::default();
        let (one, two) = (key(1).verifying_key(), key(2).verifying_key());
        let signature = key(1).sign(b"message");
        for _ in 0..2 {
            assert!(seen.verify(&one, b"message", &signature));
            assert!(!seen.verify(&one, b"messagf", &signature));
            assert!(!seen.verify(&two, b"message", &signature));
            assert!(!seen.verify(&one, b"message", &[0; 64]));
            assert_eq!(seen.key(one.to_bytes()), Some(one));
        }
        let signed = Signed::new(&key(1), "sh", Timestamp(5_000), &Note(7));
        for _ in 0..2 {
            assert_eq!(signed.verify_seen(&one, &seen).unwrap().get(), &Note(7));
            assert_eq!(signed.verify_seen(&two, &seen).unwrap_err(), SignError::WrongKey);
        }
    }

    #[test]
    fn a_point_of_small_order_is_nobodys_key() {
        for first in [0, 1] {
            let mut point = [0; 32];
            point[0] = first;
            assert_eq!(VerifyingKey::from_bytes(point), None);
        }
        let key = key(1).verifying_key();
        assert_eq!(VerifyingKey::from_bytes(key.to_bytes()), Some(key));
    }

    #[test]
    fn gives_the_statement_only_with_the_right_key() {
        let signed = Signed::new(&key(1), "sh", Timestamp(5_000), &Note(7));
        let parsed = Signed::<Note>::parse(signed.as_bytes()).unwrap();
        assert_eq!((parsed.issuer(), parsed.issued_at()), ("sh", Timestamp(5_000)));
        assert_eq!(parsed.verify(&key(1).verifying_key()).unwrap().get(), &Note(7));
        assert_eq!(parsed.verify(&key(2).verifying_key()).unwrap_err(), SignError::WrongKey);
        assert_eq!(Signed::<Other>::parse(signed.as_bytes()).unwrap_err(), SignError::WrongKind);
    }

    #[test]
    fn refuses_every_single_changed_byte() {
        let signed = Signed::new(&key(1), "sh", Timestamp(5_000), &Note(7));
        for at in 0..signed.as_bytes().len() {
            let mut bytes = signed.as_bytes().to_vec();
            bytes[at] ^= 1;
            let accepted = Signed::<Note>::parse(&bytes).and_then(|s| s.verify(&key(1).verifying_key()));
            assert!(accepted.is_err(), "byte {at}");
        }
    }

    #[test]
    fn what_is_signed_is_the_structure_of_the_standard() {
        #[derive(Debug, PartialEq, Encode, Decode)]
        struct Long(#[n(0)] Bytes);
        impl Statement for Long {
            const LABEL: Label = Label::SignStatus;
        }
        // Around every length at which the head of the payload, of its string or of the header grows.
        let lengths = (0..300).chain(65_520..65_545);
        for length in lengths {
            let statement = Long(Bytes(vec![7; length]));
            let issuer = &"i".repeat(1 + length % 200);
            let signed = Signed::new(&key(1), issuer, Timestamp(length as u64 * 40_000), &statement);
            let cose = CoseSign1::from_tagged_slice(signed.as_bytes()).unwrap();
            assert_eq!(message(signed.as_bytes(), &signed.payload), cose.tbs_data(&[]), "{length}");
            assert_eq!(Some(&signed.bytes[signed.payload.clone()]), cose.payload.as_deref());
            // Built by the library, it is the same to the byte.
            let claims =
                Value::Map(vec![(1.into(), issuer.as_str().into()), (6.into(), signed.issued_s.into())]);
            let header = HeaderBuilder::new()
                .algorithm(iana::Algorithm::EdDSA)
                .content_type(Long::LABEL.as_str().to_owned())
                .key_id(key(1).verifying_key().id().0.to_vec())
                .value(cose::CWT_CLAIMS, claims)
                .value(cose::SUITE, u64::from(Suite::Standard.number()).into())
                .build();
            let built = CoseSign1Builder::new()
                .protected(header)
                .payload(codec::to_vec(&statement))
                .create_signature(&[], |message| key(1).sign(message).to_vec())
                .build();
            assert_eq!(built.to_tagged_vec().unwrap(), signed.as_bytes());
            assert_eq!(signed.verify(&key(1).verifying_key()).unwrap().get(), &statement);
            if signed.as_bytes().len() <= SIGNED_BYTES_MAX {
                let parsed = Signed::<Long>::parse(signed.as_bytes()).unwrap();
                assert_eq!((&parsed, &parsed.payload), (&signed, &signed.payload));
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_but_what_is_signed_is_read(
            at in any::<prop::sample::Index>(),
            with in prop::collection::vec(any::<u8>(), 0..4),
            out in 0usize..4,
        ) {
            let signed = Signed::new(&key(1), "sh", Timestamp(5_000), &Note(7));
            let mut bytes = signed.as_bytes().to_vec();
            let at = at.index(bytes.len());
            let end = (at + out).min(bytes.len());
            bytes.splice(at..end, with);
            if let Ok(parsed) = Signed::<Note>::parse(&bytes) {
                // The library reads it too, and reads the same.
                let cose = CoseSign1::from_tagged_slice(&bytes).unwrap();
                prop_assert_eq!(message(&bytes, &parsed.payload), cose.tbs_data(&[]));
                prop_assert_eq!(&parsed.signature[..], &cose.signature[..]);
                prop_assert_eq!(cose.to_tagged_vec().unwrap(), &bytes[..]);
            }
        }
    }

    #[test]
    fn refuses_trailing_bytes_and_an_unprotected_header() {
        let signed = Signed::new(&key(1), "sh", Timestamp(5_000), &Note(7));
        let mut longer = signed.as_bytes().to_vec();
        longer.push(0);
        assert!(Signed::<Note>::parse(&longer).is_err());
        let mut cose = CoseSign1::from_tagged_slice(signed.as_bytes()).unwrap();
        cose.unprotected = HeaderBuilder::new().key_id(vec![1]).build();
        assert!(Signed::<Note>::parse(&cose.to_tagged_vec().unwrap()).is_err());
    }
}
