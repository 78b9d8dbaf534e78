//! Every identifier of the domain, one line each: text identifiers that people read and write, byte identifiers
//! that are derived or drawn at random, and field numbers.
//!
//! Parsing is the proof: a value of one of these types has the shape its documentation states, wherever it came
//! from (a command line, a file or a decoded message).

use core::fmt;

use crypto::codec::{Decode, Encode};

use crate::normalize::is_seen;

/// Declares text identifiers. `$ok` is the whole shape: a value exists only if it returned true. Where a shape was wider
/// once, `$read` is that shape, for what is decoded: entries of a log stay, and must stay readable.
macro_rules! text_id {
    (@read $ok:expr) => { $ok };
    (@read $ok:expr, $read:expr) => { $read };
    ($($(#[$doc:meta])* pub struct $name:ident($ok:expr $(, decoded: $read:expr)?);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is, without trimming or folding; `None` if it has not the documented shape.
            pub fn parse(text: &str) -> Option<Self> {
                let ok: fn(&str) -> bool = $ok;
                ok(text).then(|| Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let (text, ok): (&str, fn(&str) -> bool) = (d.str()?, text_id!(@read $ok $(, $read)?));
                let found = ok(text).then(|| Self(text.to_owned()));
                found.ok_or_else(|| minicbor::decode::Error::message(concat!("not a ", stringify!($name))))
            }
        }
    )*};
}

text_id! {
    /// A member of the federation (成员单位): `sh`, `yp.sh`, `xyd`, `bank-a`.
    ///
    /// Shape: 1 to 32 characters of `[a-z0-9.-]`, the first a letter. Short enough for a log origin and for a
    /// file name, and without characters that either would have to escape.
    pub struct MemberId(is_label);

    /// A department that submits records to its node (数源单位); an account of that node, not a member.
    ///
    /// Shape: as [`MemberId`].
    pub struct SourceId(is_label);

    /// A record type of the catalog (目录项): `CF`, `XK`, `NSXY`.
    ///
    /// Shape: 1 to 16 characters of `[A-Z0-9_]`.
    pub struct ItemId(is_item);

    /// The person at an asking member in whose name a question is put (经办人). Named by the member as it likes.
    ///
    /// Shape: 1 to 64 characters that are seen ([`is_seen`]), and no blank at either end: it is shown in audit reports, where
    /// a line break or an escape sequence could forge a line, and a mark that nobody sees could make two clerks look like
    /// one. Entries of older builds, and of peers that have others, hold names of which only control characters are
    /// missing; they are read as they stand, and whoever shows one shows what nobody sees in it.
    pub struct ClerkId(is_clerk, decoded: is_printable);
}

/// A field of a catalog item, by number. 0 is the subject itself; the catalog's columns count from 1 in the order of
/// the official layout. Numbers are never reused between versions of a catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct FieldId(#[n(0)] pub u16);

impl FieldId {
    /// The subject: its identifier is committed as field 0 of every record.
    pub const SUBJECT: Self = Self(0);
}

impl fmt::Display for FieldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

crypto::id! {
    /// Names one record in the whole federation: a keyed hash of authority, item, document number and subject, so
    /// copies on several nodes have the same id and, without the key, the id says nothing.
    pub struct RecordId(32);
    /// Names one grant (授权书).
    pub struct GrantId(16);
    /// Names one repair or objection case (修复/异议案件).
    pub struct CaseId(16);
    /// Names one question; also its idempotency key.
    pub struct QuestionId(16);
}

fn is_label(text: &str) -> bool {
    let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    (1..=32).contains(&text.len()) && text.as_bytes()[0].is_ascii_lowercase() && text.bytes().all(label)
}

fn is_printable(text: &str) -> bool {
    (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn is_clerk(text: &str) -> bool {
    is_printable(text) && text.trim() == text && text.chars().all(is_seen)
}

fn is_item(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    (1..=16).contains(&text.len()) && text.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use crypto::codec::{from_slice, to_vec};

    use super::*;

    #[test]
    fn member_labels_have_their_shape() {
        for good in ["sh", "yp.sh", "bank-a", "a", &"x".repeat(32)] {
            assert!(MemberId::parse(good).is_some(), "{good}");
        }
        for bad in ["", "Sh", "1a", ".sh", "-a", "a_b", "上海", "a/b", "a b", &"x".repeat(33)] {
            assert!(MemberId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn item_and_clerk_ids_have_their_shape() {
        assert!(ItemId::parse("NSXY").is_some() && ItemId::parse("A_1").is_some());
        assert!(ItemId::parse("cf").is_none() && ItemId::parse("").is_none());
        for good in ["王五 (信贷部)", "王五\u{3000}信贷部", "𠮷田", "José", "Jose\u{301}", "王五 🙂"]
        {
            assert!(ClerkId::parse(good).is_some(), "{good}");
        }
        let long = "字".repeat(65);
        let bad = [
            "",
            "a\nb",
            "a\u{202e}b",
            "wang\u{200b}",
            "a\u{2028}b",
            "a\u{2029}b",
            " wang",
            "wang\u{3000}",
            "\u{a0}",
            "wang\u{a0}wu",
            "wang\u{2003}wu",
            "wang\u{2800}wu",
            "wang\u{e000}",
            "wang\u{378}",
        ];
        for bad in bad.into_iter().chain([&*long]) {
            assert!(ClerkId::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_decoded_id_is_as_checked_as_a_parsed_one() {
        let id = MemberId::parse("yp.sh").unwrap();
        assert_eq!(from_slice::<MemberId>(&to_vec(&id)).unwrap(), id);
        assert!(from_slice::<MemberId>(&to_vec(&"NOT OK")).is_err());
        assert_eq!(to_vec(&FieldId(3)), [3]);
        // A clerk as older entries may name it is read and comes out as it was; a control character never was one.
        let old = to_vec(&"wang\u{200b} ");
        assert_eq!(to_vec(&from_slice::<ClerkId>(&old).unwrap()), old);
        assert!(from_slice::<ClerkId>(&to_vec(&"a\nb")).is_err());
    }
}
