//! Damaged or inconsistent text → clean text, before anything is validated or hashed.
//!
//! What departments deliver comes as UTF-8 or GBK, with or without BOM, with full-width digits, lower-case codes and
//! many kinds of brackets (docs/SOURCES.md, §1.4). The digest of the original bytes is kept elsewhere as evidence.
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

/// The normal form of a code or identifier: NFKC, trimmed, without characters that cannot be seen, ASCII letters upper
/// case. Idempotent.
pub fn normalize_code(text: &str) -> String {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return text.trim().to_ascii_uppercase();
    }
    // Upper case can meet a combining mark it composes with, so composition runs once more.
    let seen: String = nfkc(text).chars().filter(|c| !is_invisible(*c)).collect();
    nfkc(&seen.trim().to_ascii_uppercase()).into_owned()
}

/// Headings and document numbers as they are shown: NFKC, without white space and characters that cannot be seen, every
/// pair of [`BRACKETS`] written `〔〕`, ASCII letters upper case. Idempotent. `市场【2019】1号` and `市场〔2019〕 1号` become
/// equal. Records are named by [`document_form`] of it.
pub fn normalize_document_number(text: &str) -> String {
    let text = nfkc(text);
    let folded = text.chars().filter(|c| !is_void(*c)).map(|c| match c {
        c if BRACKETS.iter().any(|(open, _)| *open == c) => '〔',
        c if BRACKETS.iter().any(|(_, close)| *close == c) => '〕',
        c => c.to_ascii_uppercase(),
    });
    nfkc(&folded.collect::<String>()).into_owned()
}

/// The form by which a record is named, of a document number in normal form: the same act is often numbered `第003号`,
/// `003号`, `3号` and `3`, and its letters are simplified or not. So traditional forms are folded ([`TRADITIONAL`]), and at
/// the end of the number `第`, leading zeros after a word or bracket, and `号` are left out.
///
/// What only looks alike stays apart: zeros inside (`沪0105执`), zeros of a plain code, and everything after `号`.
pub fn document_form(normalised: &str) -> String {
    let simplified = |c| TRADITIONAL.iter().find(|(from, _)| *from == c).map_or(c, |(_, to)| *to);
    let whole: String = normalised.chars().map(simplified).collect();
    let number = whole.trim_end_matches('号');
    let before = number.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = number.strip_prefix(before).unwrap_or_default();
    if digits.is_empty() {
        return whole;
    }
    let counted = before.ends_with(|c: char| !c.is_ascii());
    let digits = match digits.trim_start_matches('0') {
        _ if !counted => digits,
        "" => "0",
        rest => rest,
    };
    format!("{}{digits}", before.trim_end_matches('第'))
}

/// Clean running text: full-width ASCII letters and digits and the ideographic space are folded, control and
/// invisible characters removed (line breaks become spaces), ends trimmed. Idempotent.
///
/// Chinese punctuation is left alone although it has ASCII counterparts: `，` and `（）` belong to the text.
pub fn normalize_text(text: &str) -> String {
    let folded = text.chars().filter_map(|c| match c {
        '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' => char::from_u32(c as u32 - 0xfee0),
        '\u{3000}' | '\n' | '\r' | '\t' => Some(' '),
        c if is_invisible(c) => None,
        c => Some(c),
    });
    folded.collect::<String>().trim().to_owned()
}

/// Whether a character leaves nothing on paper: white space, control and invisible characters.
pub(crate) fn is_void(c: char) -> bool {
    c.is_whitespace() || is_invisible(c)
}

/// NFKC; text that is in that form already, as nearly all is, is not copied.
fn nfkc(text: &str) -> Cow<'_, str> {
    match is_nfkc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => Cow::Owned(text.nfkc().collect()),
    }
}

/// Characters that cannot be seen: a number with one inside looks right and compares unequal.
pub(crate) fn is_invisible(c: char) -> bool {
    // Nearly every character is an ASCII or a Han one.
    match c {
        ' '..='~' | '\u{4e00}'..='\u{9fff}' => false,
        c => c.is_control() || INVISIBLE.iter().any(|(from, to)| (*from..=*to).contains(&c)),
    }
}

/// Whether a person who reads a text sees that a character is there: not what is invisible, unassigned or of private use, and
/// no blank but U+0020 and U+3000, which all others look like.
pub fn is_seen(c: char) -> bool {
    match c {
        ' '..='~' | '\u{3000}' | '\u{4e00}'..='\u{9fff}' => true,
        c if BLANK.contains(&c) => false,
        // The standard library has the tables: behind another character it escapes whatever is neither seen nor a mark on it.
        c => !is_invisible(c) && !String::from_iter(['a', c]).escape_debug().any(|shown| shown == '\\'),
    }
}

/// Signs without a stroke that Unicode counts neither as blanks nor as ignorable: no dot of Braille, no head of a note.
const BLANK: [char; 2] = ['\u{2800}', '\u{1d159}'];

/// Pairs that documents put around a year, after NFKC.
const BRACKETS: [(char, char); 15] = [
    ('[', ']'),
    ('(', ')'),
    ('{', '}'),
    ('<', '>'),
    ('【', '】'),
    ('〖', '〗'),
    ('〘', '〙'),
    ('〚', '〛'),
    ('「', '」'),
    ('『', '』'),
    ('《', '》'),
    ('〈', '〉'),
    ('⟨', '⟩'),
    ('⦅', '⦆'),
    ('〔', '〕'),
];

/// `Default_Ignorable_Code_Point` and the general category Cf (Unicode 16.0: DerivedCoreProperties.txt and
/// DerivedGeneralCategory.txt), first and last of each run. Cc is [`char::is_control`].
const INVISIBLE: [(char, char); 25] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Traditional letters in the numbers of decisions, with their one `kSimplifiedVariant` (Unihan, Unicode 16.0): the short
/// names of provinces, and the words for deciding bodies and kinds of decision. A closed list: of another letter the two
/// forms stay apart, and intake asks when one of them has ended.
const TRADITIONAL: [(char, char); 44] = [
    ('晉', '晋'),
    ('遼', '辽'),
    ('滬', '沪'),
    ('蘇', '苏'),
    ('閩', '闽'),
    ('贛', '赣'),
    ('魯', '鲁'),
    ('粵', '粤'),
    ('瓊', '琼'),
    ('貴', '贵'),
    ('雲', '云'),
    ('陝', '陕'),
    ('隴', '陇'),
    ('寧', '宁'),
    ('號', '号'),
    ('罰', '罚'),
    ('處', '处'),
    ('決', '决'),
    ('強', '强'),
    ('執', '执'),
    ('許', '许'),
    ('準', '准'),
    ('監', '监'),
    ('場', '场'),
    ('長', '长'),
    ('藥', '药'),
    ('質', '质'),
    ('檢', '检'),
    ('證', '证'),
    ('稅', '税'),
    ('環', '环'),
    ('應', '应'),
    ('緊', '紧'),
    ('衛', '卫'),
    ('農', '农'),
    ('漁', '渔'),
    ('運', '运'),
    ('輸', '输'),
    ('職', '职'),
    ('勞', '劳'),
    ('財', '财'),
    ('審', '审'),
    ('規', '规'),
    ('區', '区'),
];

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
    fn no_bracket_and_nothing_invisible_makes_another_number() {
        let pairs = [
            "〖〗", "「」", "『』", "《》", "〈〉", "〘〙", "{}", "<>", "＜＞", "｛｝", "﹙﹚", "［］", "⟨⟩",
        ];
        for pair in pairs {
            let (open, close) = (pair.chars().next().unwrap(), pair.chars().last().unwrap());
            let form = format!("沪罚{open}2021{close}52号");
            assert_eq!(normalize_document_number(&form), "沪罚〔2021〕52号", "{pair}");
        }
        let ranges = INVISIBLE.iter().flat_map(|(from, to)| *from..=*to);
        for c in ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}').chain(ranges) {
            let form = format!("沪罚〔2021〕5{c}2号");
            assert_eq!(normalize_document_number(&form), "沪罚〔2021〕52号", "U+{:04X}", c as u32);
            assert_eq!(normalize_code(&format!("9{c}1x")), "91X", "U+{:04X}", c as u32);
        }
        assert!(INVISIBLE.windows(2).all(|w| w[0].0 <= w[0].1 && w[0].1 < w[1].0), "in order, apart");
    }

    #[test]
    fn a_record_has_one_name_in_whatever_form_its_number_comes() {
        // Forms, and what names the record; a line break stands between acts.
        let table: [(&[&str], &str); 8] = [
            (
                &["沪罚〔2021〕第003号", "沪罚〔2021〕3号", "滬罰〔2021〕003號", "沪罚[2021]第3"],
                "沪罚〔2021〕3",
            ),
            (&["沪市监长处字第000012号", "滬市監長處字12號"], "沪市监长处字12"),
            (&["〔2020〕沪0105执0034号", "(2020)滬0105執34號"], "〔2020〕沪0105执34"),
            (&["沪罚〔2021〕第000号", "沪罚〔2021〕0"], "沪罚〔2021〕0"),
            // Other acts, or not surely the same: zeros of a code, a part of a number, a letter before it.
            (&["00123"], "00123"),
            (&["沪罚〔2021〕3-01号"], "沪罚〔2021〕3-01"),
            (&["沪罚〔2021〕A003号"], "沪罚〔2021〕A003"),
            (&["沪罚〔2021〕3号之一"], "沪罚〔2021〕3号之一"),
        ];
        for (forms, name) in table {
            for form in forms {
                assert_eq!(document_form(&normalize_document_number(form)), name, "{form}");
            }
        }
        let names: std::collections::BTreeSet<_> = table.iter().map(|(_, name)| name).collect();
        assert_eq!(names.len(), table.len());
        assert!(TRADITIONAL.iter().all(|(_, to)| TRADITIONAL.iter().all(|(from, _)| from != to)));
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
        fn every_way_to_write_a_number_names_the_same_record(
            number in 0u32..1_000_000,
            zeros in 0usize..4,
            bracket in proptest::sample::select(BRACKETS.to_vec()),
            ordinal in any::<bool>(),
            suffix in proptest::sample::select(vec!["", "号", "號"]),
            (invisible, at) in (proptest::sample::select(INVISIBLE.to_vec()), any::<prop::sample::Index>()),
        ) {
            let (open, close) = bracket;
            let ordinal = if ordinal { "第" } else { "" };
            let written = format!("沪市监处{open}2026{close}{ordinal}{}{number}{suffix}", "0".repeat(zeros));
            let mut letters: Vec<char> = written.chars().collect();
            letters.insert(at.index(letters.len() + 1), invisible.0);
            let written: String = letters.into_iter().collect();
            prop_assert_eq!(
                document_form(&normalize_document_number(&written)),
                format!("沪市监处〔2026〕{number}")
            );
        }

        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC{0,24}") {
            for f in [normalize_code, normalize_document_number, normalize_text] {
                let once = f(&text);
                prop_assert_eq!(f(&once), once);
            }
        }
    }
}
