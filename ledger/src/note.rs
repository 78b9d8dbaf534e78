//! Signed notes: a text, a blank line, signature lines.
//!
//! Two kinds of signature are made and checked: Ed25519 over the text (type 0x01, what a log does) and the
//! timestamped cosignature/v1 (type 0x04, what a witness does). Lines of other types or unknown keys are carried along
//! and ignored, as the format demands.
//! Source: C2SP signed-note v1.0.0, tlog-cosignature v1.0.1.

use core::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto::{
    Digest,
    sign::{Seen, SigningKey, VerifyingKey},
};

/// Most signature lines read. Verifiers must accept at least 16; the limit is that of the Go reference.
pub const NOTE_SIGNATURES_MAX: usize = 100;
/// Longest note read, in bytes; the limit of the Go reference.
pub const NOTE_BYTES_MAX: usize = 1_000_000;
/// Longest key name, in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 255;

const TYPE_ED25519: u8 = 0x01;
const TYPE_COSIGNATURE: u8 = 0x04;

/// Why a note, a key or a signature is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`], or more lines than [`NOTE_SIGNATURES_MAX`].
    TooLong,
    /// Not in the form of a note, a checkpoint or a key; says which part.
    Malformed(&'static str),
    /// No signature by this key.
    Unsigned {
        /// Name of the key looked for.
        name: String,
    },
    /// A signature under the key's name and id does not verify; the whole note is refused.
    BadSignature {
        /// Name of the key.
        name: String,
    },
    /// The checkpoint is of another log than the key's.
    WrongOrigin {
        /// Origin in the checkpoint.
        origin: String,
    },
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("the note is too long"),
            Self::Malformed(part) => write!(f, "malformed {part}"),
            Self::Unsigned { name } => write!(f, "no signature by `{name}`"),
            Self::BadSignature { name } => write!(f, "the signature by `{name}` is wrong"),
            Self::WrongOrigin { origin } => write!(f, "the checkpoint is of the log `{origin}`"),
        }
    }
}

impl std::error::Error for NoteError {}

/// A public key with the name under which its signatures stand in notes.
///
/// The same pair serves a log (type 0x01) and a witness (type 0x04); the ids differ, so neither kind of line can be
/// taken for the other.
#[derive(Clone, Debug)]
pub struct NoteKey {
    /// For a log the origin, for a witness its own name. Not empty, no white space, no `+`.
    pub name: String,
    /// The Ed25519 key.
    pub key: VerifyingKey,
}

impl NoteKey {
    /// A key under `name`.
    ///
    /// Errors: `Malformed` when the name is not allowed in a note.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        if !valid_name(name) {
            return Err(NoteError::Malformed("key name"));
        }
        Ok(Self { name: name.to_owned(), key })
    }

    /// Id of the key as a log's: first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key).
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, TYPE_ED25519, &self.key)
    }

    /// Id of the key as a witness's: the same with type 0x04.
    pub fn cosigner_id(&self) -> [u8; 4] {
        key_id(&self.name, TYPE_COSIGNATURE, &self.key)
    }

    /// Text form of a log's key: `name+hex id+base64(0x01 ‖ key)`.
    pub fn vkey(&self) -> String {
        self.encode(TYPE_ED25519)
    }

    /// Text form of a witness's key, with type 0x04.
    pub fn cosigner_vkey(&self) -> String {
        self.encode(TYPE_COSIGNATURE)
    }

    /// Reads the text form of a log's key.
    ///
    /// Errors: `Malformed`, also for a key of another type or with an id that is not the key's.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        Self::decode(vkey, TYPE_ED25519)
    }

    /// Reads the text form of a witness's key.
    ///
    /// Errors: as [`NoteKey::parse`].
    pub fn parse_cosigner(vkey: &str) -> Result<Self, NoteError> {
        Self::decode(vkey, TYPE_COSIGNATURE)
    }

    fn encode(&self, kind: u8) -> String {
        let id = crypto::codec::hex(&key_id(&self.name, kind, &self.key));
        let bytes: Vec<u8> = core::iter::once(kind).chain(self.key.to_bytes()).collect();
        format!("{}+{id}+{}", self.name, STANDARD.encode(bytes))
    }

    fn decode(vkey: &str, kind: u8) -> Result<Self, NoteError> {
        // The base64 part may hold a `+` itself, so only the first two divide.
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Malformed("key"));
        };
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Malformed("key"))?;
        let Some((&[found], key)) = bytes.split_first_chunk::<1>() else {
            return Err(NoteError::Malformed("key"));
        };
        if found != kind {
            return Err(NoteError::Malformed("key type"));
        }
        let key = <[u8; 32]>::try_from(key).ok().and_then(VerifyingKey::from_bytes);
        let key = Self::new(name, key.ok_or(NoteError::Malformed("key"))?)?;
        if id != crypto::codec::hex(&key_id(name, kind, &key.key)) {
            return Err(NoteError::Malformed("key id"));
        }
        Ok(key)
    }
}

/// One signature line, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// Id of the key.
    pub id: [u8; 4],
    /// What follows the id; its shape depends on the type.
    pub bytes: Vec<u8>,
}

/// A note whose form has been checked and whose signatures have not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Reads a note.
    ///
    /// Errors: `TooLong`, `Malformed`.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::Malformed("note: control character"));
        }
        // The last blank line divides; the text keeps its final newline and the blank line is not signed.
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed("note: no blank line"))?;
        let (text, lines) = (&note[..=at], &note[at + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed("note: no signature"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == NOTE_SIGNATURES_MAX {
                return Err(NoteError::TooLong);
            }
            signatures.push(parse_line(line)?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The signed text, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every signature line, known or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Checks the signature of a log's key over the text.
    ///
    /// Errors: `Unsigned` when there is none, `BadSignature` when any line under this name and id fails.
    pub fn verify(&self, key: &NoteKey) -> Result<(), NoteError> {
        self.verify_by(key, |message, signature| key.key.verify(message, signature))
    }

    /// As [`Note::verify`], for notes that come again and again.
    pub fn verify_seen(&self, key: &NoteKey, seen: &Seen) -> Result<(), NoteError> {
        self.verify_by(key, |message, signature| seen.verify(&key.key, message, signature))
    }

    fn verify_by(&self, key: &NoteKey, verify: impl Fn(&[u8], &[u8; 64]) -> bool) -> Result<(), NoteError> {
        let mut found = false;
        for line in self.lines_of(&key.name, key.id()) {
            let good = <&[u8; 64]>::try_from(line.bytes.as_slice())
                .is_ok_and(|signature| verify(self.text.as_bytes(), signature));
            if !good {
                return Err(NoteError::BadSignature { name: key.name.clone() });
            }
            found = true;
        }
        if found { Ok(()) } else { Err(NoteError::Unsigned { name: key.name.clone() }) }
    }

    /// Checks the cosignature of a witness's key and returns its time, in seconds since 1970; the latest when the
    /// witness signed more than once.
    ///
    /// Errors: as [`Note::verify`]. A time of 0 is refused: it means no statement about time, which no checkpoint's
    /// cosignature may make.
    pub fn verify_cosignature(&self, key: &NoteKey) -> Result<u64, NoteError> {
        let mut latest = None;
        for line in self.lines_of(&key.name, key.cosigner_id()) {
            let time = cosignature_time(&self.text, &key.key, &line.bytes);
            latest =
                latest.max(Some(time.ok_or_else(|| NoteError::BadSignature { name: key.name.clone() })?));
        }
        latest.ok_or_else(|| NoteError::Unsigned { name: key.name.clone() })
    }

    /// The note with one line of the log's `key` and one of the witness alone, for who keeps only what it knows. The lines
    /// are not verified here. More lines of the same key would say the same, and strict readers refuse them.
    ///
    /// Errors: `None` when the log's line is missing.
    pub fn only(&self, key: &NoteKey, witness: Option<&NoteKey>) -> Option<String> {
        let of = |name: &str, id| self.lines_of(name, id).next().map(|s| line(&s.name, s.id, &s.bytes));
        let own = of(&key.name, key.id())?;
        let theirs = witness.and_then(|w| of(&w.name, w.cosigner_id())).unwrap_or_default();
        Some(format!("{}\n{own}{theirs}", self.text))
    }

    fn lines_of<'a>(&'a self, name: &'a str, id: [u8; 4]) -> impl Iterator<Item = &'a NoteSignature> {
        self.signatures.iter().filter(move |line| line.name == name && line.id == id)
    }
}

/// Signature line (with its newline) of a log's key over `text`. The text ends in a newline.
pub fn sign(text: &str, name: &str, key: &SigningKey) -> String {
    line(name, key_id(name, TYPE_ED25519, &key.verifying_key()), &key.sign(text.as_bytes()))
}

/// Cosignature line (with its newline) of a witness's key over `text` at `time_s`, seconds since 1970.
///
/// Meaning: as of this time, the largest consistent tree the witness has seen of this origin is the text's. The format
/// does not bind the witness's name, so a key must serve one witness only.
pub fn cosign(text: &str, name: &str, key: &SigningKey, time_s: u64) -> String {
    let mut bytes = time_s.to_be_bytes().to_vec();
    bytes.extend_from_slice(&key.sign(cosigned_message(text, time_s).as_bytes()));
    line(name, key_id(name, TYPE_COSIGNATURE, &key.verifying_key()), &bytes)
}

/// Reads one signature line, without or with its newline.
///
/// Errors: `Malformed`.
pub fn parse_line(line: &str) -> Result<NoteSignature, NoteError> {
    let malformed = NoteError::Malformed("signature line");
    let line = line.strip_suffix('\n').unwrap_or(line);
    let (name, bytes) =
        line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')).ok_or(malformed.clone())?;
    let bytes = STANDARD.decode(bytes).map_err(|_| malformed.clone())?;
    match bytes.split_first_chunk::<4>() {
        Some((id, bytes)) if valid_name(name) && !bytes.is_empty() => {
            Ok(NoteSignature { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
        }
        _ => Err(malformed),
    }
}

fn line(name: &str, id: [u8; 4], bytes: &[u8]) -> String {
    format!("\u{2014} {name} {}\n", STANDARD.encode([&id, bytes].concat()))
}

fn cosigned_message(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

/// Time of a valid cosignature; `None` for anything else.
fn cosignature_time(text: &str, key: &VerifyingKey, bytes: &[u8]) -> Option<u64> {
    let (time, signature) = bytes.split_first_chunk::<8>()?;
    let time = u64::from_be_bytes(*time);
    // The format limits times to 63 bits.
    let valid = time != 0 && i64::try_from(time).is_ok();
    let signature = <&[u8; 64]>::try_from(signature).ok()?;
    (valid && key.verify(cosigned_message(text, time).as_bytes(), signature)).then_some(time)
}

fn key_id(name: &str, kind: u8, key: &VerifyingKey) -> [u8; 4] {
    let [a, b, c, d, ..] = Digest::of_parts(&[name.as_bytes(), b"\n", &[kind], &key.to_bytes()]).0;
    [a, b, c, d]
}

fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= KEY_NAME_BYTES_MAX
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::secret::Secret;
    use proptest::prelude::*;

    fn pair(seed: u8, name: &str) -> (SigningKey, NoteKey) {
        let key = SigningKey::from_seed(&Secret::new([seed; 32]));
        let public = NoteKey::new(name, key.verifying_key()).unwrap();
        (key, public)
    }

    #[test]
    fn verifies_what_it_signs_and_ignores_lines_of_strangers() {
        let (key, public) = pair(1, "log.example/a");
        let (witness_key, witness) = pair(2, "w.example");
        let text = "log.example/a\nblank line follows\n\nend\n";
        let note = format!(
            "{text}\n{}{}",
            sign(text, "log.example/a", &key),
            cosign(text, "w.example", &witness_key, 77)
        );
        let parsed = Note::parse(&note).unwrap();
        assert_eq!(parsed.text(), text);
        assert_eq!(parsed.verify(&public), Ok(()));
        assert_eq!(parsed.verify_cosignature(&witness), Ok(77));
        // The same key under its other type is a stranger.
        assert_eq!(parsed.verify(&witness), Err(NoteError::Unsigned { name: "w.example".into() }));
        assert_eq!(
            parsed.verify_cosignature(&public),
            Err(NoteError::Unsigned { name: "log.example/a".into() })
        );
    }

    #[test]
    fn refuses_a_note_with_one_good_and_one_bad_line_of_a_known_key() {
        let (key, public) = pair(1, "a");
        let note = format!("x\n\n{}{}", sign("x\n", "a", &key), sign("y\n", "a", &key));
        assert_eq!(
            Note::parse(&note).unwrap().verify(&public),
            Err(NoteError::BadSignature { name: "a".into() })
        );
        let note = format!("x\n\n{}{}", cosign("x\n", "a", &key, 9), cosign("x\n", "a", &key, 0));
        assert_eq!(
            Note::parse(&note).unwrap().verify_cosignature(&public),
            Err(NoteError::BadSignature { name: "a".into() })
        );
    }

    #[test]
    fn refuses_a_cosignature_moved_to_another_text_or_time() {
        let (key, public) = pair(1, "a");
        let line = cosign("x\n", "a", &key, 9);
        assert!(Note::parse(&format!("y\n\n{line}")).unwrap().verify_cosignature(&public).is_err());
        let mut moved = parse_line(&line).unwrap();
        moved.bytes[7] ^= 1;
        let moved = super::line("a", moved.id, &moved.bytes);
        assert!(Note::parse(&format!("x\n\n{moved}")).unwrap().verify_cosignature(&public).is_err());
    }

    #[test]
    fn refuses_what_is_not_a_note() {
        let (key, _) = pair(1, "a");
        let good = format!("x\n\n{}", sign("x\n", "a", &key));
        assert!(Note::parse(&good).is_ok());
        for bad in [
            String::new(),
            "x\n".into(),
            "x\n\n".into(),
            good.trim_end().to_owned(),
            good.replace('x', "x\t"),
            good.replace('\n', "\r\n"),
            good.replace("\u{2014} ", "- "),
            good.replace("\u{2014} a ", "\u{2014} a+b "),
            good.replace("\u{2014} a ", "\u{2014}  "),
            good.replace("=\n", "\n"),
            format!("{good}\n"),
            format!("{good}trailing\n"),
            "x\n\n\u{2014} a AAAAAA==\n".into(),
            format!("x\n\n{}", sign("x\n", "a", &key).repeat(NOTE_SIGNATURES_MAX + 1)),
            format!("{}{good}", "x".repeat(NOTE_BYTES_MAX)),
        ] {
            assert!(Note::parse(&bad).is_err(), "{bad:.80}");
        }
        assert!(Note::parse(&format!("x\n\n{}", sign("x\n", "a", &key).repeat(NOTE_SIGNATURES_MAX))).is_ok());
    }

    #[test]
    fn a_key_reads_back_from_its_text_and_only_as_its_own_type() {
        let (_, public) = pair(7, "node-a.example/ledger/records");
        let text = "node-a.example/ledger/records+713e36c5+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
        assert_eq!(public.vkey(), text);
        assert_eq!(NoteKey::parse(text).unwrap().key.to_bytes(), public.key.to_bytes());
        assert!(NoteKey::parse_cosigner(text).is_err());
        assert_eq!(NoteKey::parse_cosigner(&public.cosigner_vkey()).unwrap().name, public.name);
        for bad in [
            "",
            "a",
            "a+00000000",
            &text.replace("713e36c5", "713e36c6"),
            &text.replace("713e36c5", "713E36C5"),
            &text.replace("node-a", "node-b"),
            &text[..text.len() - 4],
        ] {
            assert!(NoteKey::parse(bad).is_err(), "{bad}");
        }
        for name in ["", "a b", "a+b", "a\u{3000}b", "a\nb", &"n".repeat(256)] {
            assert!(NoteKey::new(name, public.key).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_as_a_note_or_key(text in "[\n a+=\u{2014}A-Z0-9]{0,120}") {
            let _ = Note::parse(&text);
            let _ = NoteKey::parse(&text);
            let _ = parse_line(&text);
        }
    }
}
