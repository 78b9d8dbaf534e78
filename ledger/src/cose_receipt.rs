//! A proof as a COSE receipt of inclusion (RFC 9942, `RFC9162_SHA256`), for verifiers that know COSE and no signed notes.
//!
//! ```text
//! 18([ << { 1: -8, 4: key id, 15: {1: issuer, 2: origin, 6: second}, 395: 1, -65537: suite } >>,
//!      { 396: { -1: [ << [size, index, [+ hash]] >> ] }, -65538: checkpoint },
//!      null, signature ])
//! ```
//!
//! The payload is the root and is detached: a verifier computes it from entry and path. What is signed is therefore the
//! root, the issuer and the origin, and not size and index, which stand in the unprotected header. The checkpoint, a signed
//! note, is there for that: it binds the size to the root, and it carries the witnesses' cosignatures, so that this
//! form proves what a tlog-proof proves. Others skip that header. `docs/decisions/0012` has the reasons.
//!
//! Only the log's owner can make one: the signature is not that of the checkpoint. Source: RFC 9942 §5.2, RFC 9052
//! §4.4, RFC 9597.

use crypto::{
    Digest, Timestamp,
    codec::{self, CodecError, Decode, Encode},
    cose,
    sign::{KeyId, SigningKey, VerifyingKey},
    suite::Suite,
};
use minicbor::{Decoder, Encoder, data::Tag, decode, encode};

use crate::{
    checkpoint::SignedCheckpoint,
    policy::{Believed, Disbelief, Policy},
    proof::verify_inclusion,
    proof_file::PATH_HASHES_MAX,
    tree::LeafIndex,
};

/// Longest receipt read, in bytes. A path of 63 hashes takes 2.2 KiB and a checkpoint with the cosignatures of a whole
/// committee 3 KiB; names of 255 bytes make it 10 KiB.
pub const RECEIPT_BYTES_MAX: usize = 16 * 1024;

/// Verifiable data structure.
const VDS: i64 = 395;
const VDS_RFC9162_SHA256: i64 = 1;
/// Proofs of that structure.
const VDP: i64 = 396;
const VDP_INCLUSION: i64 = -1;
/// Private: the checkpoint, a text.
const CHECKPOINT: i64 = -65_538;

/// A receipt in the one accepted form; nothing in it is believed before [`CoseReceipt::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoseReceipt {
    issuer: String,
    key: KeyId,
    issued_s: u64,
    index: LeafIndex,
    path: Vec<Digest>,
    checkpoint: SignedCheckpoint,
    signature: [u8; 64],
}

impl CoseReceipt {
    /// Signs the root of `checkpoint`, whose log is the issuer's own and whose key is `key`, at `now`.
    ///
    /// The checkpoint must be one that the log has published: this is a second signature over the same root, and over
    /// no other. `None` when `path` is empty, which RFC 9942 has no form for: the log has one entry.
    pub fn sign(
        key: &SigningKey,
        issuer: &str,
        now: Timestamp,
        index: LeafIndex,
        path: Vec<Digest>,
        checkpoint: SignedCheckpoint,
    ) -> Option<Self> {
        if path.is_empty() {
            return None;
        }
        let mut receipt = Self {
            issuer: issuer.to_owned(),
            key: key.verifying_key().id(),
            issued_s: now.0 / 1000,
            index,
            path,
            checkpoint,
            signature: [0; 64],
        };
        receipt.signature = key.sign(&receipt.signed_message());
        Some(receipt)
    }

    /// Reads the one form that encoding writes.
    ///
    /// Errors: `TooLong`, `Malformed`, `NotCanonical`.
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::from_slice_max(bytes, RECEIPT_BYTES_MAX)
    }

    /// The receipt's bytes, for a file.
    pub fn to_vec(&self) -> Vec<u8> {
        codec::to_vec(self)
    }

    /// Place of the entry in its log; proven once verified.
    pub fn index(&self) -> LeafIndex {
        self.index
    }

    /// The checkpoint the path leads to.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Checks that `leaf` (a leaf hash) is in a log that `policy` believes, and that the log's key has signed this
    /// receipt as well as the checkpoint in it.
    ///
    /// Errors: `Inclusion`, `Receipt`, and those of [`Policy::verify`].
    pub fn verify(&self, leaf: &Digest, policy: &Policy) -> Result<Believed, Disbelief> {
        let believed = policy.verify(&self.checkpoint)?;
        let (size, root) = (believed.checkpoint.size, &believed.checkpoint.root);
        verify_inclusion(self.index, size, leaf, root, &self.path).map_err(Disbelief::Inclusion)?;
        self.verify_signature(&believed.log.key)?;
        Ok(believed)
    }

    fn verify_signature(&self, key: &VerifyingKey) -> Result<(), Disbelief> {
        let good = key.id() == self.key && key.verify(&self.signed_message(), &self.signature);
        good.then_some(()).ok_or(Disbelief::Receipt)
    }

    /// `Sig_structure` of RFC 9052 §4.4 over the root, without external data.
    fn signed_message(&self) -> Vec<u8> {
        let root = self.checkpoint.claimed().root.0;
        written(|e| e.array(4)?.str("Signature1")?.bytes(&self.protected())?.bytes(&[])?.bytes(&root)?.ok())
    }

    /// The protected header; keys in the order of RFC 8949 §4.2.1.
    fn protected(&self) -> Vec<u8> {
        written(|e| {
            e.map(5)?.i64(cose::ALGORITHM)?.i64(cose::ED_DSA)?;
            e.i64(cose::KEY_ID)?.bytes(self.key.as_bytes())?;
            e.i64(cose::CWT_CLAIMS)?.map(3)?;
            e.i64(cose::ISSUER)?.str(&self.issuer)?;
            e.i64(cose::SUBJECT)?.str(&self.checkpoint.claimed().origin)?;
            e.i64(cose::ISSUED_AT)?.u64(self.issued_s)?;
            e.i64(VDS)?.i64(VDS_RFC9162_SHA256)?;
            e.i64(cose::SUITE)?.u8(Suite::Standard.number())?.ok()
        })
    }

    fn inclusion(&self) -> Vec<u8> {
        written(|e| {
            e.array(3)?.u64(self.checkpoint.claimed().size.0)?.u64(self.index.0)?;
            e.array(self.path.len() as u64)?;
            for hash in &self.path {
                e.bytes(&hash.0)?;
            }
            Ok(())
        })
    }
}

type Written = Result<(), encode::Error<core::convert::Infallible>>;

/// The bytes of an item inside a byte string.
fn written(write: impl Fn(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
    let mut out = Vec::new();
    match write(&mut Encoder::new(&mut out)) {
        Ok(()) => out,
        // INVARIANT: writing to a Vec cannot fail, and the items above are integers, texts and byte strings.
        Err(e) => unreachable!("encoding to memory failed: {e}"),
    }
}

impl<C> Encode<C> for CoseReceipt {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.tag(Tag::new(cose::SIGN1))?.array(4)?.bytes(&self.protected())?.map(2)?;
        e.i64(VDP)?.map(1)?.i64(VDP_INCLUSION)?.array(1)?.bytes(&self.inclusion())?;
        e.i64(CHECKPOINT)?.str(self.checkpoint.as_str())?;
        e.null()?.bytes(&self.signature)?.ok()
    }
}

// What is fixed (lengths, keys and their order, values) and what stands there twice (origin, size) is skipped here: `codec`
// encodes what was decoded and compares, so anything else in its place is refused there.
impl<'b, C> Decode<'b, C> for CoseReceipt {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let refuse = decode::Error::message;
        d.tag()?;
        d.array()?;
        let protected = &mut Decoder::new(d.bytes()?);
        protected.map()?;
        skip(protected, 3)?; // alg and its value, kid
        let key = protected.decode_with(ctx)?;
        skip(protected, 1)?; // claims
        protected.map()?;
        skip(protected, 1)?; // iss
        let issuer = protected.str()?.to_owned();
        skip(protected, 3)?; // sub and its value, iat
        let issued_s = protected.u64()?;
        d.map()?;
        skip(d, 1)?; // vdp
        d.map()?;
        skip(d, 1)?; // inclusion
        d.array()?;
        let inclusion = &mut Decoder::new(d.bytes()?);
        inclusion.array()?;
        skip(inclusion, 1)?; // size
        let index = LeafIndex(inclusion.u64()?);
        let hashes = inclusion.array()?.unwrap_or_default();
        if hashes == 0 || hashes > PATH_HASHES_MAX as u64 {
            return Err(refuse("a path of no hashes, or of more than 63"));
        }
        let path = (0..hashes).map(|_| inclusion.decode_with(ctx)).collect::<Result<_, _>>()?;
        skip(d, 1)?; // checkpoint
        let checkpoint = d.decode_with(ctx)?;
        d.null()?;
        let signature = d.bytes()?.try_into().map_err(|_| refuse("no signature of 64 bytes"))?;
        Ok(Self { issuer, key, issued_s, index, path, checkpoint, signature })
    }
}

fn skip(d: &mut Decoder<'_>, items: usize) -> Result<(), decode::Error> {
    (0..items).try_for_each(|_| d.skip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::Checkpoint, note, note::NoteKey, policy, proof::ProofError, proof_file::ProofFile,
        tree::TreeSize,
    };
    use crypto::{codec::hex, merkle, secret::Secret};
    use proptest::prelude::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    fn leaves(n: u64) -> Vec<Digest> {
        (0..n).map(|i| merkle::leaf_hash(&i.to_be_bytes())).collect()
    }

    fn cosigned(size: u64) -> SignedCheckpoint {
        let root = merkle::root(&leaves(size));
        let checkpoint = Checkpoint { origin: "o".into(), size: TreeSize(size), root };
        let line = note::cosign(&checkpoint.text(), "w", &key(2), 9);
        SignedCheckpoint::parse(&format!("{}{line}", checkpoint.sign(&key(1)).as_str())).unwrap()
    }

    fn receipt(index: u64, size: u64) -> Option<CoseReceipt> {
        let path = merkle::path(&leaves(size), index as usize);
        CoseReceipt::sign(&key(1), "sh", Timestamp(5_999), LeafIndex(index), path, cosigned(size))
    }

    fn policy() -> Policy {
        let named = |seed: u8, name: &str| NoteKey::new(name, key(seed).verifying_key()).unwrap();
        let file = policy::one_log((&[named(1, "o")], ""), &[(vec![named(2, "w")], String::new())], 1);
        Policy::parse(file.as_bytes()).unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_the_rfc() {
        let bytes = receipt(1, 2).unwrap().to_vec();
        // {1: -8, 4: key id, 15: {1: "sh", 2: "o", 6: 5}, 395: 1, -65537: 1}, 34 bytes
        let key_id = hex(key(1).verifying_key().id().as_bytes());
        let protected = format!("a501270448{key_id}0fa30162736802616f060519018b013a0001000001");
        // [2, 1, [leaf 0]], 38 bytes
        let inclusion = format!("830201815820{}", hex(&leaves(2)[0].0));
        // 18([<<protected>>, {396: {-1: [<<inclusion>>]}, -65538: checkpoint}, null, signature of 64 bytes])
        let start = format!("d2845822{protected}a219018ca120815826{inclusion}3a00010001");
        assert!(hex(&bytes).starts_with(&start), "{}", hex(&bytes));
        let (rest, signature) = bytes.split_last_chunk::<64>().unwrap();
        assert!(hex(rest).ends_with("f65840"));
        // ["Signature1", <<protected>>, h'', root]
        let root = hex(&cosigned(2).claimed().root.0);
        let message = codec::unhex(&format!("846a5369676e6174757265315822{protected}405820{root}"));
        assert!(key(1).verifying_key().verify(&message.unwrap(), signature));
    }

    #[test]
    fn refuses_every_single_changed_byte_and_every_truncation() {
        let (good, leaf, policy) = (receipt(5, 13).unwrap(), leaves(13)[5], policy());
        let judge = |bytes: &[u8]| CoseReceipt::parse(bytes).ok()?.verify(&leaf, &policy).ok();
        let bytes = good.to_vec();
        assert!(judge(&bytes).is_some());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                assert!(judge(&bytes).is_none(), "bit {bit} of byte {at}");
            }
            assert!(judge(&bytes[..at]).is_none(), "cut at {at}");
        }
        assert!(judge(&[&bytes[..], &[0]].concat()).is_none());
        assert!(matches!(CoseReceipt::parse(&[0; RECEIPT_BYTES_MAX + 1]), Err(CodecError::TooLong { .. })));
    }

    #[test]
    fn another_leaf_place_signer_or_checkpoint_is_refused() {
        let (good, leaves) = (receipt(5, 13).unwrap(), leaves(13));
        let refused = |receipt: CoseReceipt, leaf: u64| {
            receipt.verify(&leaves[leaf as usize], &policy()).map(|b| b.cosigned).unwrap_err()
        };
        let inclusion = Disbelief::Inclusion(ProofError::WrongRoot);
        assert_eq!(refused(good.clone(), 4), inclusion);
        assert_eq!(refused(CoseReceipt { index: LeafIndex(4), ..good.clone() }, 5), inclusion);
        // A receipt by another key, or for another log's root with the same key, under a good checkpoint.
        let CoseReceipt { path, checkpoint, .. } = good.clone();
        let by = |seed: u8| {
            let (path, note) = (path.clone(), checkpoint.clone());
            CoseReceipt::sign(&key(seed), "sh", Timestamp(5_999), LeafIndex(5), path, note).unwrap()
        };
        assert_eq!(by(1), good);
        assert_eq!(refused(by(3), 5), Disbelief::Receipt);
        let claims = CoseReceipt { key: good.key, ..by(3) };
        assert_eq!(refused(claims, 5), Disbelief::Receipt);
        assert_eq!(refused(CoseReceipt { issuer: "js".into(), ..good.clone() }, 5), Disbelief::Receipt);
        let older = CoseReceipt { checkpoint: cosigned(12), ..good };
        assert!(matches!(refused(older, 5), Disbelief::Inclusion(_)));
    }

    #[test]
    fn a_log_of_one_entry_has_no_receipt() {
        assert!(receipt(0, 1).is_none());
        let two = receipt(0, 2).unwrap();
        let none = codec::to_vec(&CoseReceipt { path: Vec::new(), ..two.clone() });
        assert!(CoseReceipt::parse(&none).is_err());
        let long = codec::to_vec(&CoseReceipt { path: vec![Digest::ZERO; PATH_HASHES_MAX + 1], ..two });
        assert!(CoseReceipt::parse(&long).is_err());
    }

    #[test]
    fn neither_form_passes_for_the_other() {
        let receipt = receipt(0, 2).unwrap();
        let file = ProofFile {
            extra: None,
            index: LeafIndex(0),
            path: receipt.path.clone(),
            checkpoint: receipt.checkpoint.clone(),
        };
        assert!(CoseReceipt::parse(file.to_string().as_bytes()).is_err());
        assert!(core::str::from_utf8(&receipt.to_vec()).is_err());
    }

    proptest! {
        #[test]
        fn what_is_signed_reads_back_and_verifies(size in 2..200u64, at in any::<prop::sample::Index>()) {
            let index = at.index(size as usize) as u64;
            let receipt = receipt(index, size).unwrap();
            let read = CoseReceipt::parse(&receipt.to_vec()).unwrap();
            prop_assert_eq!(&read, &receipt);
            prop_assert!(read.verify(&leaves(size)[index as usize], &policy()).is_ok());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..120), at in any::<prop::sample::Index>()
        ) {
            let _ = CoseReceipt::parse(&bytes);
            let mut spliced = receipt(1, 3).unwrap().to_vec();
            let at = at.index(spliced.len());
            spliced.splice(at.., bytes);
            let _ = CoseReceipt::parse(&spliced);
        }
    }
}
