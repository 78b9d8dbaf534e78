//! Sealing: fields at rest under a record key, and answers to an asker under HPKE.
//!
//! | seal | key | bound by associated data to |
//! |---|---|---|
//! | field at rest | BLAKE3(record key); the nonce is the field | suite, and what the caller passes: member, record, catalog version, slot |
//! | answer | BLAKE3(secret exported from the HPKE context of an epoch, answer's number and question); the nonce counts the fields | member and asker (info string); question digest (key); version index, field, mode (per seal) |
//! | wrapped secret | one HPKE context | label, and to whom (info string) |
//! | box | a key of the caller, random nonce | label |

use std::sync::Arc;

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, UnboundKey};

use crate::{
    Bytes, Digest, label::Label, pseudonym, recent::Recent, secret::Secret, sign::PublicKey, suite::Suite,
};

type Kem = hpke::kem::X25519HkdfSha256;
/// The asker's end of a context.
type Opener = hpke::aead::AeadCtxR<AesGcm256, HkdfSha256, Kem>;
/// The answering member's end of a context.
type Sealer = hpke::aead::AeadCtxS<AesGcm256, HkdfSha256, Kem>;

/// A seal did not open: wrong key, wrong context, or changed bytes. Which of them is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealError;

impl core::fmt::Display for SealError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("sealed data does not open with this key and context")
    }
}

impl std::error::Error for SealError {}

/// The key of one record version, from which its sealing key and salts are derived; nothing per field is stored.
pub struct RecordKey(Secret);

impl RecordKey {
    pub(crate) fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The key for one content of this slot: another content never shares key or salt with it.
    #[must_use]
    pub fn bound_to(&self, content: &[u8; 32]) -> Self {
        Self(self.0.derive(Label::RecordContent, content))
    }

    /// The salt of a field's commitment.
    pub fn salt(&self, field: u16) -> [u8; 32] {
        pseudonym::keyed(&self.0, Label::FieldSalt, &[&field.to_be_bytes()])
    }

    /// The salt of the commitment to a masked field, as it is told for one question.
    pub fn mask_salt(&self, question: &Digest, field: u16) -> [u8; 32] {
        pseudonym::keyed(&self.0, Label::MaskSalt, &[&question.0, &field.to_be_bytes()])
    }

    /// The record's part in the salt of an outcome that was judged on it.
    pub fn check_salt(&self, question: &Digest, check: u16) -> [u8; 32] {
        pseudonym::keyed(&self.0, Label::CheckSalt, &[&question.0, &check.to_be_bytes()])
    }

    /// What seals and opens the record's fields, each bound to what the caller passes.
    pub fn cipher(&self, bound_to: &[u8]) -> FieldCipher {
        let key = Secret::new(pseudonym::keyed(&self.0, Label::FieldKey, &[]));
        let mut aad = Label::FieldAtRest.as_str().as_bytes().to_vec();
        aad.extend_from_slice(&[0, Suite::Standard.number()]);
        aad.extend_from_slice(bound_to);
        FieldCipher { key: aes(&key), aad }
    }
}

/// Seals and opens the fields of one record: one key, and the field's number as the nonce.
///
/// ring's AES-256-GCM and not the other one used here: on small messages it takes a third of the time, and a record has a
/// dozen of them.
pub struct FieldCipher {
    key: LessSafeKey,
    aad: Vec<u8>,
}

impl FieldCipher {
    /// Seals `content` of `field`. A record key belongs to one content, so it seals each field once.
    pub fn seal(&self, field: u16, content: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(content.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(content);
        match self.key.seal_in_place_append_tag(nonce(field), Aad::from(&self.aad), &mut sealed) {
            Ok(()) => sealed,
            // INVARIANT: AES-GCM refuses only messages of 64 GiB and more; a field is below 64 KiB.
            Err(_) => unreachable!("field too long for AES-GCM"),
        }
    }

    /// Opens what [`FieldCipher::seal`] sealed for the same field and binding.
    pub fn open(&self, field: u16, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        open(&self.key, nonce(field), &self.aad, sealed)
    }
}

fn nonce(number: u16) -> ring::aead::Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 2..].copy_from_slice(&number.to_be_bytes());
    ring::aead::Nonce::assume_unique_for_key(nonce)
}

/// An asker's private X25519 key.
pub struct OpeningKey {
    private: <Kem as hpke::Kem>::PrivateKey,
    public: PublicKey,
    epochs: Recent<Epoch, Arc<AnswerEpoch>, EPOCHS>,
}

/// What names an epoch at the asker: binding and encapsulated key.
type Epoch = (Vec<u8>, Vec<u8>);

/// Epochs remembered by an asker: every member of a federation has one or two at a time.
const EPOCHS: usize = 64;

impl OpeningKey {
    /// The key pair derived from a seed (RFC 9180 §7.1.3).
    pub fn from_seed(seed: &Secret) -> Self {
        let (private, public) = Kem::derive_keypair(seed.expose());
        Self { private, public: PublicKey(public.to_bytes().into()), epochs: Recent::default() }
    }

    /// The public half, as it stands in the registry.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Opens what [`wrap`] sealed to this key under the same label and binding.
    pub fn unwrap(
        &self,
        label: Label,
        bound_to: &[u8],
        encapsulated: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        self.context(label, bound_to, encapsulated)?.open(sealed, &[]).map_err(|_| SealError)
    }

    /// The asker's end of what [`AnswerEpoch::begin`] began with the same binding.
    ///
    /// One that was opened before is remembered. Nobody but the members can fill this memory, and then only their own
    /// answers take longer.
    pub fn epoch(&self, bound_to: &[u8], encapsulated: &[u8]) -> Result<Arc<AnswerEpoch>, SealError> {
        let name = (bound_to.to_vec(), encapsulated.to_vec());
        if let Some(epoch) = self.epochs.get(&name) {
            return Ok(epoch);
        }
        let context = self.context(Label::AnswerEpoch, bound_to, encapsulated)?;
        let epoch = Arc::new(AnswerEpoch::exported(|secret| context.export(EXPORT, secret))?);
        self.epochs.put(name, epoch.clone());
        Ok(epoch)
    }

    fn context(&self, label: Label, bound_to: &[u8], encapsulated: &[u8]) -> Result<Opener, SealError> {
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| SealError)?;
        hpke::setup_receiver(&OpModeR::Base, &self.private, &enc, &info(label, bound_to))
            .map_err(|_| SealError)
    }
}

/// Exporter context of an epoch's secret (RFC 9180 §5.3).
const EXPORT: &[u8] = Label::AnswerEpoch.as_str().as_bytes();

/// Seals `content` to `to` once; returns the encapsulated key and the ciphertext. `seed` must be fresh.
pub fn wrap(
    to: &PublicKey,
    label: Label,
    bound_to: &[u8],
    seed: &Secret,
    content: &[u8],
) -> Result<(Bytes, Bytes), SealError> {
    let (enc, mut context) = encapsulate(to, label, bound_to, seed)?;
    Ok((enc, Bytes(context.seal(content, &[]).map_err(|_| SealError)?)))
}

fn encapsulate(
    to: &PublicKey,
    label: Label,
    bound_to: &[u8],
    seed: &Secret,
) -> Result<(Bytes, Sealer), SealError> {
    let public = <Kem as hpke::Kem>::PublicKey::from_bytes(&to.0).map_err(|_| SealError)?;
    let info = info(label, bound_to);
    let made = hpke::setup_sender_with_rng(&OpModeS::Base, &public, &info, &mut SeedRng::new(seed));
    let (enc, context): (<Kem as hpke::Kem>::EncappedKey, Sealer) = made.map_err(|_| SealError)?;
    Ok((Bytes(enc.to_bytes().to_vec()), context))
}

/// What one member's answers to one asker are sealed with for a while: one encapsulation serves many answers, each of
/// which has a key of its own. Whoever learns it reads the answers of the epoch and no others.
pub struct AnswerEpoch(Secret);

impl AnswerEpoch {
    /// The answering member's end; returns also the encapsulated key, which travels with each answer. `bound_to` names
    /// both ends; `seed` must be fresh.
    pub fn begin(asker: &PublicKey, bound_to: &[u8], seed: &Secret) -> Result<(Self, Bytes), SealError> {
        let (enc, context) = encapsulate(asker, Label::AnswerEpoch, bound_to, seed)?;
        Ok((Self::exported(|secret| context.export(EXPORT, secret))?, enc))
    }

    fn exported(export: impl FnOnce(&mut [u8]) -> Result<(), hpke::HpkeError>) -> Result<Self, SealError> {
        let mut secret = [0; 32];
        export(&mut secret).map_err(|_| SealError)?;
        Ok(Self(Secret::new(secret)))
    }

    /// What seals, or opens, the fields of one answer, in order. Of the sealing end each `number` must be fresh: chance
    /// makes it so.
    pub fn answer(&self, number: &[u8; 16], bound_to: &[u8]) -> AnswerCipher {
        let key = Secret::new(pseudonym::keyed(&self.0, Label::AnswerKey, &[number, bound_to]));
        AnswerCipher { key: aes(&key), next: 0 }
    }
}

/// Seals or opens the fields of one answer in order: one key, and the place in the order as the nonce.
pub struct AnswerCipher {
    key: LessSafeKey,
    next: u16,
}

impl AnswerCipher {
    /// Seals the next field. An answer has at most 65,535.
    pub fn seal(&mut self, bound_to: &[u8], content: &[u8]) -> Result<Bytes, SealError> {
        let mut sealed = Vec::with_capacity(content.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(content);
        let nonce = self.nonce()?;
        self.key.seal_in_place_append_tag(nonce, Aad::from(bound_to), &mut sealed).map_err(|_| SealError)?;
        Ok(Bytes(sealed))
    }

    /// Opens the next field.
    pub fn open(&mut self, bound_to: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce = self.nonce()?;
        open(&self.key, nonce, bound_to, sealed)
    }

    fn nonce(&mut self) -> Result<ring::aead::Nonce, SealError> {
        let place = self.next;
        self.next = place.checked_add(1).ok_or(SealError)?;
        Ok(nonce(place))
    }
}

fn aes(key: &Secret) -> LessSafeKey {
    match UnboundKey::new(&AES_256_GCM, key.expose()) {
        Ok(key) => LessSafeKey::new(key),
        // INVARIANT: the only error is a key of another length than 32 bytes.
        Err(_) => unreachable!("a key of 32 bytes"),
    }
}

fn open(
    key: &LessSafeKey,
    nonce: ring::aead::Nonce,
    bound_to: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let mut content = sealed.to_vec();
    let len = key.open_in_place(nonce, Aad::from(bound_to), &mut content).map_err(|_| SealError)?.len();
    content.truncate(len);
    Ok(content)
}

fn info(label: Label, bound_to: &[u8]) -> Vec<u8> {
    [label.as_str().as_bytes(), &[0, Suite::Standard.number()], bound_to].concat()
}

/// Seals a small file under `key`: nonce ‖ ciphertext. `nonce` must be fresh for the key.
pub fn seal_box(key: &Secret, label: Label, nonce: [u8; 12], content: &[u8]) -> Vec<u8> {
    let payload = Payload { msg: content, aad: label.as_str().as_bytes() };
    match Aes256Gcm::new(key.expose().into()).encrypt(&nonce.into(), payload) {
        Ok(sealed) => [&nonce[..], &sealed].concat(),
        // INVARIANT: as in `FieldCipher::seal`.
        Err(_) => unreachable!("content too long for AES-GCM"),
    }
}

/// Opens what [`seal_box`] sealed.
pub fn open_box(key: &Secret, label: Label, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, sealed) = sealed.split_first_chunk::<12>().ok_or(SealError)?;
    let payload = Payload { msg: sealed, aad: label.as_str().as_bytes() };
    Aes256Gcm::new(key.expose().into()).decrypt(&(*nonce).into(), payload).map_err(|_| SealError)
}

/// Randomness for the key encapsulation, expanded from a seed: the crate itself draws none.
struct SeedRng(blake3::OutputReader);

impl SeedRng {
    fn new(seed: &Secret) -> Self {
        Self(blake3::Hasher::new_keyed(seed.expose()).update(b"encapsulation").finalize_xof())
    }
}

impl hpke::rand_core::TryRng for SeedRng {
    type Error = core::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(dst);
        Ok(())
    }
}

impl hpke::rand_core::TryCryptoRng for SeedRng {}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(b: u8) -> Secret {
        Secret::new([b; 32])
    }

    #[test]
    fn a_field_opens_only_where_it_was_sealed() {
        let key = RecordKey::new(secret(1));
        let here = key.cipher(b"sh/record/2024");
        let sealed = here.seal(3, b"value");
        assert_eq!(here.open(3, &sealed).unwrap(), b"value");
        assert_eq!(here.open(4, &sealed), Err(SealError));
        assert_eq!(key.cipher(b"js/record/2024").open(3, &sealed), Err(SealError));
        let other = RecordKey::new(secret(2));
        assert_eq!(other.cipher(b"sh/record/2024").open(3, &sealed), Err(SealError));
        // Another implementation of AES-256-GCM gives the same bytes.
        let raw = pseudonym::keyed(&secret(1), Label::FieldKey, &[]);
        let aad = [Label::FieldAtRest.as_str().as_bytes(), &[0, 1], b"sh/record/2024"].concat();
        let nonce = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3].into();
        let other = Aes256Gcm::new((&raw).into()).encrypt(&nonce, Payload { msg: b"value", aad: &aad });
        assert_eq!(other.unwrap(), sealed);
        // Equal values of two fields do not look equal.
        assert_ne!(here.seal(4, b"value"), sealed);
    }

    #[test]
    fn an_answer_opens_only_for_the_asker_and_in_order() {
        let asker = OpeningKey::from_seed(&secret(5));
        let (epoch, enc) = AnswerEpoch::begin(&asker.public(), b"sh to bank", &secret(9)).unwrap();
        let mut sealer = epoch.answer(&[1; 16], b"q");
        let (a, b) = (sealer.seal(b"1", b"first").unwrap(), sealer.seal(b"2", b"second").unwrap());
        let theirs = asker.epoch(b"sh to bank", &enc).unwrap();
        let mut opener = theirs.answer(&[1; 16], b"q");
        assert_eq!(opener.open(b"1", &a).unwrap(), b"first");
        assert_eq!(opener.open(b"2", &b).unwrap(), b"second");
        let elsewhere = [
            theirs.answer(&[1; 16], b"other question"),
            theirs.answer(&[2; 16], b"q"),
            asker.epoch(b"js to bank", &enc).unwrap().answer(&[1; 16], b"q"),
            OpeningKey::from_seed(&secret(6)).epoch(b"sh to bank", &enc).unwrap().answer(&[1; 16], b"q"),
        ];
        for mut other in elsewhere {
            assert!(other.open(b"1", &a).is_err());
        }
        let mut out_of_order = theirs.answer(&[1; 16], b"q");
        assert!(out_of_order.open(b"2", &b).is_err());
        // Equal contents of two answers do not look equal.
        assert_ne!(epoch.answer(&[2; 16], b"q").seal(b"1", b"first").unwrap(), a);
    }

    #[test]
    fn a_wrapped_secret_opens_only_for_its_member_and_purpose() {
        let member = OpeningKey::from_seed(&secret(5));
        let (enc, sealed) = wrap(&member.public(), Label::RecordKeyWrap, b"sh", &secret(9), b"key").unwrap();
        assert_eq!(member.unwrap(Label::RecordKeyWrap, b"sh", &enc, &sealed).unwrap(), b"key");
        assert!(member.unwrap(Label::BackupKeyWrap, b"sh", &enc, &sealed).is_err());
        assert!(member.unwrap(Label::RecordKeyWrap, b"js", &enc, &sealed).is_err());
        let other = OpeningKey::from_seed(&secret(6));
        assert!(other.unwrap(Label::RecordKeyWrap, b"sh", &enc, &sealed).is_err());
    }

    #[test]
    fn a_box_opens_only_with_its_key_and_label() {
        let sealed = seal_box(&secret(1), Label::Keystore, [7; 12], b"keys");
        assert_eq!(open_box(&secret(1), Label::Keystore, &sealed).unwrap(), b"keys");
        assert!(open_box(&secret(1), Label::KeyTreeFile, &sealed).is_err());
        assert!(open_box(&secret(1), Label::Keystore, &sealed[..11]).is_err());
    }
}
