//! Damaged or inconsistent text → clean text, before anything is validated or hashed.
//!
//! What departments deliver comes as UTF-8 or GBK, with or without BOM, with full-width digits, lower-case codes and
//! four kinds of brackets (docs/SOURCES.md, §1.4). The digest of the original bytes is kept elsewhere as evidence.
//!
//! *Not here*: repair of two rarer damages, 社會(huì)信用 (traditional characters with pinyin) and GBK runs shifted by
//! one byte. They occur in published policy texts; a submission with them is rejected by its fields' own checks.

use core::fmt;
use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfkc_quick};

/// How a file's text was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8 without byte order mark; also pure ASCII.
    Utf8,
    /// UTF-8 after a byte order mark, as spreadsheets write it.
    Utf8Bom,
    /// GB 18030, which contains GBK and GB 2312.
    Gb18030,
}

impl Encoding {
    /// The name people know.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf8Bom => "UTF-8 with BOM",
            Self::Gb18030 => "GB18030 (GBK)",
        }
    }
}

/// Why bytes are no text. Offsets count bytes from 0 in the file, lines from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormalizeError {
    /// Starts with a UTF-16 byte order mark.
    Utf16,
    /// UTF-8 with a damaged place: it must not be read as GBK, which would turn it into other characters.
    DamagedUtf8 {
        /// First byte that is not UTF-8.
        offset: usize,
        /// Line it stands in.
        line: usize,
    },
    /// Neither UTF-8 nor GB 18030.
    Undecodable {
        /// First byte that is not GB 18030.
        offset: usize,
        /// Line it stands in.
        line: usize,
    },
}

impl NormalizeError {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Utf16 => "encoding_utf16",
            Self::DamagedUtf8 { .. } => "encoding_damaged_utf8",
            Self::Undecodable { .. } => "encoding_unknown",
        }
    }

    /// The same statement in Chinese.
    pub fn zh(self) -> String {
        match self {
            Self::Utf16 => "文件为UTF-16编码，请另存为UTF-8或GBK的CSV".into(),
            Self::DamagedUtf8 { offset, line } => {
                format!("文件为UTF-8编码，但第{line}行（字节偏移{offset}）已损坏")
            }
            Self::Undecodable { offset, line } => {
                format!("文件既不是UTF-8也不是GB18030编码：第{line}行（字节偏移{offset}）无法解码")
            }
        }
    }
}

impl fmt::Display for NormalizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf16 => f.write_str("file is UTF-16; save it as CSV in UTF-8 or GBK"),
            Self::DamagedUtf8 { offset, line } => {
                write!(f, "file is UTF-8 but damaged at byte {offset}, line {line}")
            }
            Self::Undecodable { offset, line } => {
                write!(f, "file is neither UTF-8 nor GB 18030: byte {offset}, line {line}")
            }
        }
    }
}

impl std::error::Error for NormalizeError {}

/// The normal form of a code or identifier: NFKC, trimmed, ASCII letters upper case. Idempotent.
pub fn normalize_code(text: &str) -> String {
    if text.is_ascii() {
        return text.trim().to_ascii_uppercase();
    }
    // Upper case can meet a combining mark it composes with, so composition runs once more.
    nfkc(&nfkc(text).trim().to_ascii_uppercase()).into_owned()
}

/// The form on which document numbers are compared: NFKC, without white space, every pair of `[]`, `()`, `【】`, `〔〕`
/// written `〔〕`, ASCII letters upper case. Idempotent. `市场【2019】1号` and `市场〔2019〕 1号` become equal.
pub fn normalize_document_number(text: &str) -> String {
    let text = nfkc(text);
    let folded = text.chars().filter(|c| !c.is_whitespace() && !is_invisible(*c)).map(|c| match c {
        '[' | '(' | '【' => '〔',
        ']' | ')' | '】' => '〕',
        c => c.to_ascii_uppercase(),
    });
    nfkc(&folded.collect::<String>()).into_owned()
}

/// Clean running text: full-width ASCII letters and digits and the ideographic space are folded, control and
/// invisible characters removed (line breaks become spaces), ends trimmed. Idempotent.
///
/// Chinese punctuation is left alone although it has ASCII counterparts: `，` and `（）` belong to the text.
pub fn normalize_text(text: &str) -> String {
    let folded = text.chars().filter_map(|c| match c {
        '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' => char::from_u32(c as u32 - 0xfee0),
        '\u{3000}' | '\n' | '\r' | '\t' => Some(' '),
        c if c.is_control() || is_invisible(c) => None,
        c => Some(c),
    });
    folded.collect::<String>().trim().to_owned()
}

/// Whether a character leaves nothing on paper: white space, control and invisible characters.
pub(crate) fn is_void(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_invisible(c)
}

/// NFKC; text that is in that form already, as nearly all is, is not copied.
fn nfkc(text: &str) -> Cow<'_, str> {
    match is_nfkc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => Cow::Owned(text.nfkc().collect()),
    }
}

/// Characters that take no room: a code with one inside looks right and compares unequal.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn document_numbers_in_all_brackets_are_equal() {
        let forms = [
            "沪市监长处〔2021〕052号",
            "沪市监长处【2021】052号",
            "沪市监长处[2021] 052 号",
            "沪市监长处（２０２１）052号",
        ];
        for form in forms {
            assert_eq!(normalize_document_number(form), forms[0]);
        }
        assert_eq!(normalize_document_number("（2020）沪0105执1234号"), "〔2020〕沪0105执1234号");
    }

    #[test]
    fn running_text_keeps_its_punctuation() {
        assert_eq!(
            normalize_text("\u{3000}罚款２０００元，（Ａ类）\u{0}\u{200b}\r\n"),
            "罚款2000元，（A类）"
        );
        assert_eq!(normalize_code(" ９１ｘ "), "91X");
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC{0,24}") {
            for f in [normalize_code, normalize_document_number, normalize_text] {
                let once = f(&text);
                prop_assert_eq!(f(&once), once);
            }
        }
    }
}
