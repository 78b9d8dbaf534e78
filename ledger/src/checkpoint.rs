//! Checkpoints: origin, size and root of a log, as a signed note.
//!
//! Three lines and no extension lines: they are not recommended, some witnesses refuse them, and nothing of ours needs
//! one, so a checkpoint that has any is not a checkpoint of our logs.
//! Source: C2SP tlog-checkpoint v1.0.0.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto::{
    Digest,
    codec::{Decode, Encode},
    sign::{Seen, SigningKey},
};

use crate::{
    note,
    note::{Note, NoteError, NoteKey, NoteSignature},
    tree::TreeSize,
};

/// What a log states about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log; also the name of the key that signs.
    pub origin: String,
    /// Entries of the log.
    pub size: TreeSize,
    /// Root of the tree over them.
    pub root: Digest,
}

impl Checkpoint {
    /// The text that is signed: three lines, each with its newline.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Reads the form that [`Checkpoint::text`] writes, and no other.
    ///
    /// Errors: `NoteError::Malformed`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("checkpoint");
        let mut lines = text.strip_suffix('\n').ok_or(malformed.clone())?.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed);
        };
        let root: Option<[u8; 32]> = STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok());
        let (Some(size), Some(root), false) = (decimal(size), root, origin.is_empty()) else {
            return Err(malformed);
        };
        Ok(Self { origin: origin.to_owned(), size: TreeSize(size), root: Digest(root) })
    }

    /// Signs with the log's key; the key's name is the origin.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> SignedCheckpoint {
        let text = self.text();
        let note = format!("{text}\n{}", note::sign(&text, &self.origin, key));
        SignedCheckpoint { note, claimed: self.clone() }
    }
}

/// A decimal number in its one form; printing it again refuses signs and leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|n| n.to_string() == text)
}

/// A checkpoint as a note, in the form of one; nothing about its signatures is known until [`SignedCheckpoint::verify`].
///
/// Invariant: `note` parses as a note whose text is `claimed.text()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: String,
    claimed: Checkpoint,
}

impl SignedCheckpoint {
    /// Reads a note whose text is a checkpoint without extension lines.
    ///
    /// Errors: `TooLong`, `Malformed`.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let claimed = Checkpoint::parse(Note::parse(note)?.text())?;
        Ok(Self { note: note.to_owned(), claimed })
    }

    /// The note, verbatim.
    pub fn as_str(&self) -> &str {
        &self.note
    }

    /// What the note says, unverified: enough to choose the key by the origin, and nothing more.
    pub fn claimed(&self) -> &Checkpoint {
        &self.claimed
    }

    /// The note with its lines taken apart.
    ///
    /// Errors: none in practice, since the form was checked when this value was made.
    pub fn note(&self) -> Result<Note, NoteError> {
        Note::parse(&self.note)
    }

    /// Checks the log's own signature and that the origin is the key's name.
    ///
    /// Errors: `WrongOrigin`, `Unsigned`, `BadSignature`.
    pub fn verify(&self, key: &NoteKey) -> Result<Checkpoint, NoteError> {
        self.note_of(key)?.verify(key)?;
        Ok(self.claimed.clone())
    }

    /// As [`SignedCheckpoint::verify`], for checkpoints that come again and again.
    pub fn verify_seen(&self, key: &NoteKey, seen: &Seen) -> Result<Checkpoint, NoteError> {
        self.note_of(key)?.verify_seen(key, seen)?;
        Ok(self.claimed.clone())
    }

    fn note_of(&self, key: &NoteKey) -> Result<Note, NoteError> {
        if self.claimed.origin != key.name {
            return Err(NoteError::WrongOrigin { origin: self.claimed.origin.clone() });
        }
        self.note()
    }

    /// The same checkpoint with the lines of its log alone, as answers carry it: whoever passes an answer on could change
    /// other lines unseen.
    #[must_use]
    pub fn bare(&self) -> Self {
        let text = self.claimed.text();
        let lines = self.note.get(text.len() + 1..).unwrap_or_default().split_inclusive('\n');
        let own = |line: &&str| note::parse_line(line).is_ok_and(|line| line.name == self.claimed.origin);
        let own: String = lines.filter(own).collect();
        if own.is_empty() {
            // No checkpoint without a line; this one does not verify.
            return self.clone();
        }
        Self { note: format!("{text}\n{own}"), claimed: self.claimed.clone() }
    }

    /// The same checkpoint with one more cosignature line, which is verified first: a forged line once stored would
    /// make the note unreadable to everybody who knows that key. A witness has one line: what it signed before makes
    /// way, because strict readers (aics-tlog is one) refuse a note with two lines of one key.
    ///
    /// Errors: `Malformed`, `Unsigned` when the line is not by `key`, `BadSignature`, `TooLong`.
    pub fn with_cosignature(&self, line: &str, key: &NoteKey) -> Result<Self, NoteError> {
        let NoteSignature { name, id, .. } = note::parse_line(line)?;
        let line = line.strip_suffix('\n').unwrap_or(line);
        let alone = Note::parse(&format!("{}\n{line}\n", self.claimed.text()))?;
        alone.verify_cosignature(key)?;
        let text = self.claimed.text();
        let others = self.note[text.len() + 1..].split_inclusive('\n');
        let same = |other: &&str| note::parse_line(other).is_ok_and(|o| o.name == name && o.id == id);
        let others: String = others.filter(|other| !same(other)).collect();
        Self::parse(&format!("{text}\n{others}{line}\n"))
    }
}

impl<C> Encode<C> for SignedCheckpoint {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.note)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SignedCheckpoint {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::parse(d.str()?).map_err(|e| minicbor::decode::Error::message(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::{codec, secret::Secret};

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "xinqiao/east/sh/records".into(), size: TreeSize(7), root: Digest::of(b"r") }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    #[test]
    fn a_signed_checkpoint_verifies_under_the_logs_key_only() {
        let signed = checkpoint().sign(&key(1));
        let public = |seed: u8, name: &str| NoteKey::new(name, key(seed).verifying_key()).unwrap();
        assert_eq!(signed.verify(&public(1, "xinqiao/east/sh/records")), Ok(checkpoint()));
        assert!(matches!(signed.verify(&public(1, "other")), Err(NoteError::WrongOrigin { .. })));
        // Another key has another id: a stranger, not a bad signature.
        assert!(matches!(
            signed.verify(&public(2, "xinqiao/east/sh/records")),
            Err(NoteError::Unsigned { .. })
        ));
        let altered = SignedCheckpoint::parse(&signed.as_str().replace("\n7\n", "\n8\n")).unwrap();
        assert!(matches!(
            altered.verify(&public(1, "xinqiao/east/sh/records")),
            Err(NoteError::BadSignature { .. })
        ));
    }

    #[test]
    fn travels_as_text_and_is_checked_when_decoded() {
        let signed = checkpoint().sign(&key(1));
        let bytes = codec::to_vec(&signed);
        assert_eq!(codec::from_slice::<SignedCheckpoint>(&bytes).unwrap(), signed);
        assert_eq!(codec::from_slice::<String>(&bytes).unwrap(), signed.as_str());
        assert!(codec::from_slice::<SignedCheckpoint>(&codec::to_vec(&"x\n".to_owned())).is_err());
    }

    #[test]
    fn refuses_every_other_text_as_a_checkpoint() {
        let good = checkpoint().text();
        assert_eq!(Checkpoint::parse(&good), Ok(checkpoint()));
        for bad in [
            String::new(),
            "\n".into(),
            good.trim_end().into(),
            format!("{good}extension\n"),
            format!("{good}\n"),
            good.replace("\n7\n", "\n07\n"),
            good.replace("\n7\n", "\n+7\n"),
            good.replace("\n7\n", "\n-7\n"),
            good.replace("\n7\n", "\n18446744073709551616\n"),
            good.replace("xinqiao/east/sh/records", ""),
            good.replace("=\n", "\n"),
            good.replace("=\n", "A=\n"),
        ] {
            assert!(Checkpoint::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_forged_cosignature_is_never_attached() {
        let signed = checkpoint().sign(&key(1));
        let witness = NoteKey::new("w", key(2).verifying_key()).unwrap();
        let good = note::cosign(&checkpoint().text(), "w", &key(2), 5);
        let both = signed.with_cosignature(&good, &witness).unwrap();
        assert_eq!(both.as_str(), format!("{}{good}", signed.as_str()));
        assert_eq!(both.note().unwrap().verify_cosignature(&witness), Ok(5));
        let later = note::cosign(&checkpoint().text(), "w", &key(2), 6);
        let again = both.with_cosignature(&later, &witness).unwrap();
        assert_eq!(again.as_str(), format!("{}{later}", signed.as_str()), "one line for each witness");
        let forged = note::cosign("another\n", "w", &key(2), 5);
        let stranger = note::cosign(&checkpoint().text(), "w", &key(3), 5);
        for bad in [forged, stranger, format!("{good}{good}"), format!("\n{good}"), String::new()] {
            assert!(signed.with_cosignature(&bad, &witness).is_err(), "{bad}");
        }
    }
}
