//! Who a record is about (信用主体): identifiers whose check digits have been verified.
//!
//! *Not here*: names, registration numbers or any register of subjects. A [`SubjectId`] says that the text is well
//! formed, not that such an organisation or person exists.
//!
//! Sources: GB 32100-2015 with amendment 1 of 2016 (unified social credit code), GB 11714 (organisation code inside
//! it), GB 11643 (resident number). docs/SOURCES.md.

use core::fmt;

use crypto::codec::{Decode, Encode, days_from_civil};

use crate::normalize::normalize_code;

/// The official filler for "has no code" in double-publicity data: seventeen zeros and `X`. Never an identity (its
/// true check digit would be `0`), so it is no [`SubjectId`] and must not serve as a key.
pub const USCC_SENTINEL: &str = "00000000000000000X";

/// What kind of identifier names a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// 统一社会信用代码: legal persons, other organisations and individual businesses (个体工商户).
    Uscc,
    /// 公民身份号码: a natural person.
    Resident,
}

impl SubjectKind {
    /// The Chinese name of the identifier.
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Uscc => "统一社会信用代码",
            Self::Resident => "公民身份号码",
        }
    }
}

/// A checked identifier of a subject, in its one normal form (18 characters, upper case, half width).
///
/// The kind is a function of the text. One resident number in 341 also passes as a credit code, by arithmetic alone;
/// a text that passes as both is a resident number, and the stricter rules apply. The price: a very rare credit code
/// of digits only (of an institution in a county whose code ends in 18 to 20) is refused where a credit code is due.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectId {
    kind: SubjectKind,
    text: String,
}

impl SubjectId {
    /// Reads an identifier: NFKC, trim and upper case first, then every check the kind knows.
    ///
    /// Errors: the check that failed. A text of seventeen digits and a digit or `X` with a real birth date in the
    /// right place is judged as a resident number, anything else as a credit code.
    pub fn parse(raw: &str) -> Result<Self, SubjectError> {
        let text = normalize_code(raw);
        if text.is_empty() {
            return Err(SubjectError::Empty);
        }
        // Eighteen zeros pass both check digits; it is the same filler written by somebody who knew the arithmetic.
        if text == USCC_SENTINEL || text.chars().all(|c| c == '0') {
            return Err(SubjectError::Sentinel);
        }
        if text.chars().count() != 18 {
            return Err(SubjectError::Length(text.chars().count()));
        }
        let resident = check_resident(text.as_bytes());
        if resident.is_ok() {
            return Ok(Self { kind: SubjectKind::Resident, text });
        }
        match (check_uscc(text.as_bytes()), resident) {
            (Ok(()), _) => Ok(Self { kind: SubjectKind::Uscc, text }),
            (Err(_), Err(SubjectError::ResidentCheckDigit)) => Err(SubjectError::ResidentCheckDigit),
            (Err(why), _) => Err(why),
        }
    }

    /// [`SubjectId::parse`] where the column says which kind is due, so that the error names the right check.
    ///
    /// Errors: the failed check of `kind`, or [`SubjectError::WrongKind`].
    pub fn parse_as(kind: SubjectKind, raw: &str) -> Result<Self, SubjectError> {
        match Self::parse(raw) {
            Ok(id) if id.kind == kind => Ok(id),
            Ok(_) => Err(SubjectError::WrongKind(kind)),
            Err(why @ (SubjectError::Empty | SubjectError::Sentinel | SubjectError::Length(_))) => Err(why),
            Err(why) => {
                let text = normalize_code(raw);
                let checked = match kind {
                    SubjectKind::Uscc => check_uscc(text.as_bytes()),
                    SubjectKind::Resident => check_resident(text.as_bytes()),
                };
                Err(checked.err().unwrap_or(why))
            }
        }
    }

    /// The normal form. A personal value if [`SubjectId::is_natural_person`]: never log it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Which kind of identifier this is.
    pub fn kind(&self) -> SubjectKind {
        self.kind
    }

    /// The province in which it is registered, six digits of GB/T 2260, by digits 3 to 8 of its credit code; `None` for a
    /// natural person, and for what the national registrar has registered (100000).
    pub fn province(&self) -> Option<String> {
        let region = self.text.get(2..8).filter(|_| self.kind == SubjectKind::Uscc)?;
        (region != "100000").then(|| province_of(region))
    }

    /// True for a resident number. An individual business (个体工商户) has a credit code and counts as an
    /// organisation here, although a natural person stands behind it.
    pub fn is_natural_person(&self) -> bool {
        self.kind == SubjectKind::Resident
    }

    /// The form people may see: first six characters, stars, and the last four (credit code) or two (resident
    /// number). Two, because region, last four and the check rule together leave few people to guess among.
    pub fn masked(&self) -> String {
        let (stars, tail) = match self.kind {
            SubjectKind::Uscc => ("********", 14),
            SubjectKind::Resident => ("**********", 16),
        };
        // INVARIANT: eighteen ASCII characters, checked by `parse`.
        format!("{}{stars}{}", &self.text[..6], &self.text[tail..])
    }
}

/// The province of a region, each six digits of GB/T 2260: `310000` of `310118`.
pub fn province_of(region: &str) -> String {
    format!("{}0000", region.get(..2).unwrap_or_default())
}

impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The identifier itself is a personal value; a log may show only what kind it is.
        write!(f, "SubjectId({:?}, redacted)", self.kind)
    }
}

impl<C> Encode<C> for SubjectId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.text)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SubjectId {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let text = d.str()?;
        match Self::parse(text) {
            // Only the normal form is an encoding; leniency would give one subject two encodings.
            Ok(id) if id.text == text => Ok(id),
            _ => Err(minicbor::decode::Error::message("not a subject identifier in normal form")),
        }
    }
}

/// Which check an identifier failed. Carries no part of the input: it may be somebody's resident number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectError {
    /// Nothing but white space.
    Empty,
    /// The filler `00000000000000000X` (or eighteen zeros): "has no code", never an identity.
    Sentinel,
    /// Not 18 characters; carries how many there were.
    Length(usize),
    /// A character outside the credit code's alphabet; carries its position from 1.
    Alphabet(u8),
    /// GB 32100 check digit (mod 31, character 18).
    UsccCheckDigit,
    /// GB 11714 check digit of the organisation code inside a credit code (mod 11, character 17).
    OrganisationCheckDigit,
    /// Not seventeen digits and a digit or `X`.
    ResidentDigits,
    /// The first two digits are no province of GB/T 2260.
    Region,
    /// Digits 7 to 14 are no calendar date.
    BirthDate,
    /// GB 11643 check digit (mod 11-2, character 18).
    ResidentCheckDigit,
    /// A sound identifier, but not of the kind that was due; carries the kind that was due.
    WrongKind(SubjectKind),
}

impl SubjectError {
    /// The stable code, as it stands in row errors and refusals.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "subject_empty",
            Self::Sentinel => "sentinel_not_identity",
            Self::Length(_) => "subject_length",
            Self::Alphabet(_) => "uscc_alphabet",
            Self::UsccCheckDigit => "uscc_check_digit",
            Self::OrganisationCheckDigit => "uscc_organisation_check_digit",
            Self::ResidentDigits => "resident_digits",
            Self::Region => "resident_region",
            Self::BirthDate => "resident_birth_date",
            Self::ResidentCheckDigit => "resident_check_digit",
            Self::WrongKind(_) => "subject_kind",
        }
    }

    /// The same statement in Chinese.
    pub fn zh(self) -> String {
        match self {
            Self::Empty => "信用主体代码为空".into(),
            Self::Sentinel => "17个0加X是“无代码”的占位符，不能作为主体身份".into(),
            Self::Length(n) => format!("应为18位，实为{n}位"),
            Self::Alphabet(at) => format!("第{at}位不是统一社会信用代码允许的字符（不含I、O、S、V、Z）"),
            Self::UsccCheckDigit => "统一社会信用代码第18位校验码不符（GB 32100）".into(),
            Self::OrganisationCheckDigit => "第9至17位组织机构代码校验码不符（GB 11714）".into(),
            Self::ResidentDigits => "公民身份号码应为17位数字加1位数字或X（GB 11643）".into(),
            Self::Region => "公民身份号码前两位不是有效的省级行政区划代码".into(),
            Self::BirthDate => "公民身份号码第7至14位不是有效的出生日期".into(),
            Self::ResidentCheckDigit => "公民身份号码第18位校验码不符（GB 11643）".into(),
            Self::WrongKind(kind) => format!("此处应填{}", kind.zh()),
        }
    }

    /// What a person can do about it, Chinese then English.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Empty => "请填写统一社会信用代码或公民身份号码 / give a credit code or a resident number",
            Self::Sentinel => {
                "请查询并填写真实代码；占位符只表示没有代码 / look up the real code; the filler only says there is none"
            }
            Self::Length(_) => {
                "请核对是否漏位或多位；15位旧号码须换成18位 / count the characters; 15-digit numbers must be the new 18"
            }
            Self::Alphabet(_) => {
                "常见错误：把0写成O、把1写成I、把2写成Z / common slips: O for 0, I for 1, Z for 2"
            }
            Self::UsccCheckDigit | Self::OrganisationCheckDigit => {
                "请对照营业执照逐位核对；网上名录中的代码常有错误 / compare with the licence; lists on the web are often wrong"
            }
            Self::ResidentDigits | Self::Region | Self::BirthDate | Self::ResidentCheckDigit => {
                "请对照身份证件逐位核对 / compare with the identity card, digit by digit"
            }
            Self::WrongKind(_) => {
                "请核对行政相对人类别与代码是否对应 / check that the subject's category and the number belong together"
            }
        }
    }
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("subject identifier is empty"),
            Self::Sentinel => f.write_str("the filler of seventeen zeros and X is not an identity"),
            Self::Length(n) => write!(f, "subject identifier must have 18 characters, not {n}"),
            Self::Alphabet(at) => {
                write!(f, "character {at} is not allowed in a credit code (no I, O, S, V, Z)")
            }
            Self::UsccCheckDigit => f.write_str("credit code fails its check digit (GB 32100, character 18)"),
            Self::OrganisationCheckDigit => f.write_str(
                "organisation code inside the credit code fails its check digit (GB 11714, character 17)",
            ),
            Self::ResidentDigits => {
                f.write_str("resident number must be 17 digits and a digit or X (GB 11643)")
            }
            Self::Region => f.write_str("resident number does not start with a province code"),
            Self::BirthDate => f.write_str("resident number does not contain a calendar date"),
            Self::ResidentCheckDigit => f.write_str("resident number fails its check digit (GB 11643)"),
            Self::WrongKind(SubjectKind::Uscc) => f.write_str("a unified social credit code is due here"),
            Self::WrongKind(SubjectKind::Resident) => f.write_str("a resident number is due here"),
        }
    }
}

impl std::error::Error for SubjectError {}

/// Builds a credit code whose two check digits are right, for synthetic data only: whether it belongs to anybody is
/// not known.
///
/// Shape: `registrar` two characters (positions 1-2), `region` six (3-8), both of the credit code's alphabet.
/// `serial` is written in that alphabet (base 31) as the eight characters of the organisation code. `None` if a
/// part has the wrong shape or `serial >= 31^8`.
pub fn uscc_from_parts(registrar: &str, region: &str, serial: u64) -> Option<SubjectId> {
    if registrar.len() != 2 || region.len() != 6 || serial >= 31_u64.pow(8) {
        return None;
    }
    let mut text = format!("{registrar}{region}");
    for place in (0..8).rev() {
        let digit = serial / 31_u64.pow(place) % 31;
        text.push(char::from(USCC_ALPHABET[digit as usize]));
    }
    text.push(char::from(organisation_check(&text.as_bytes()[8..16])?));
    text.push(char::from(uscc_check(text.as_bytes()).ok()?));
    // Parsing decides: it also refuses the rare code that would pass as a resident number.
    SubjectId::parse(&text).ok().filter(|id| id.kind == SubjectKind::Uscc)
}

/// Digits and letters without I, O, S, V, Z, in order of their values 0 to 30. Source: GB 32100 table 2.
const USCC_ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

/// 3^(i-1) mod 31. Source: GB 32100, appendix on the check character.
const USCC_WEIGHTS: [u32; 17] = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];

/// Source: GB 11714.
const ORGANISATION_WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];

/// 2^(17-i) mod 11. Source: GB 11643.
const RESIDENT_WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];

/// Check characters by residue. Source: GB 11643.
const RESIDENT_CHECKS: &[u8; 11] = b"10X98765432";

/// Province codes, current and as they stand in old numbers (GB/T 2260; 83: residence permits of Taiwan).
const PROVINCES: [u8; 35] = [
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52, 53, 54,
    61, 62, 63, 64, 65, 71, 81, 82, 83,
];

fn check_uscc(text: &[u8]) -> Result<(), SubjectError> {
    let check = uscc_check(text)?;
    let given = text.get(17).ok_or(SubjectError::Length(text.len()))?;
    if !USCC_ALPHABET.contains(given) {
        return Err(SubjectError::Alphabet(18));
    }
    if *given != check {
        return Err(SubjectError::UsccCheckDigit);
    }
    // Fabricated codes often pass mod 31 and fail here, so the inner digit is no luxury (docs/SOURCES.md).
    match organisation_check(&text[8..16]) {
        Some(inner) if inner == text[16] => Ok(()),
        _ => Err(SubjectError::OrganisationCheckDigit),
    }
}

/// The 18th character for the first 17 of `text`.
fn uscc_check(text: &[u8]) -> Result<u8, SubjectError> {
    let mut sum = 0;
    for (at, weight) in USCC_WEIGHTS.iter().enumerate() {
        let value = text.get(at).and_then(|c| uscc_value(*c));
        sum += weight * value.ok_or(SubjectError::Alphabet(at as u8 + 1))?;
    }
    Ok(USCC_ALPHABET[((31 - sum % 31) % 31) as usize])
}

/// The value of a character; digits, the common case, without a search.
fn uscc_value(c: u8) -> Option<u32> {
    match c {
        b'0'..=b'9' => Some(u32::from(c - b'0')),
        _ => USCC_ALPHABET.iter().position(|a| *a == c).map(|at| at as u32),
    }
}

/// The ninth character of an organisation code; letters count from A = 10. `None` outside `[0-9A-Z]`.
fn organisation_check(body: &[u8]) -> Option<u8> {
    let mut sum = 0;
    for (c, weight) in body.iter().zip(ORGANISATION_WEIGHTS) {
        sum += weight * char::from(*c).to_digit(36)?;
    }
    Some(match 11 - sum % 11 {
        10 => b'X',
        11 => b'0',
        digit => b'0' + digit as u8,
    })
}

fn check_resident(text: &[u8]) -> Result<(), SubjectError> {
    let digits = text.len() == 18 && text[..17].iter().all(u8::is_ascii_digit);
    if !digits || !(text[17].is_ascii_digit() || text[17] == b'X') {
        return Err(SubjectError::ResidentDigits);
    }
    let number = |from: usize, to: usize| text[from..to].iter().fold(0, |n, c| n * 10 + u32::from(c - b'0'));
    if !PROVINCES.contains(&(number(0, 2) as u8)) {
        return Err(SubjectError::Region);
    }
    let (year, month, day) = (number(6, 10), number(10, 12), number(12, 14));
    // Whether the date lies in the future is a question for someone with a clock.
    let days = days_from_civil(i64::from(year), month, day);
    if !(1850..2100).contains(&year) || crypto::codec::civil_from_days(days) != (i64::from(year), month, day)
    {
        return Err(SubjectError::BirthDate);
    }
    let sum: u32 = text.iter().zip(RESIDENT_WEIGHTS).map(|(c, weight)| weight * u32::from(c - b'0')).sum();
    if text[17] == RESIDENT_CHECKS[(sum % 11) as usize] {
        Ok(())
    } else {
        Err(SubjectError::ResidentCheckDigit)
    }
}

#[cfg(test)]
mod tests {
    use crypto::codec::{from_slice, to_vec};
    use proptest::prelude::*;

    use super::*;

    /// Real codes, as check-digit vectors only (docs/SOURCES.md): nothing else is ever said about these companies.
    const REAL: [&str; 11] = [
        "91310000132260250X",
        "91310000631696382C",
        "91330100799655058B",
        "9144030071526726XG",
        "91440300708461136T",
        "91110000710926094P",
        "91100000100003962T",
        "91320000608950987L",
        "91340000711771143J",
        "9131000010000595XD",
        "91110000600037341L",
    ];

    #[test]
    fn accepts_the_worked_credit_codes() {
        for text in REAL {
            let id = SubjectId::parse(text).unwrap();
            assert_eq!((id.kind(), id.as_str()), (SubjectKind::Uscc, text));
        }
    }

    #[test]
    fn any_single_wrong_character_of_a_credit_code_is_noticed() {
        for text in REAL {
            for at in 0..18 {
                let mut bytes = text.as_bytes().to_vec();
                let value = USCC_ALPHABET.iter().position(|c| *c == bytes[at]).unwrap();
                bytes[at] = USCC_ALPHABET[(value + 1) % 31];
                assert!(SubjectId::parse(core::str::from_utf8(&bytes).unwrap()).is_err());
            }
        }
    }

    #[test]
    fn refuses_a_fabricated_code_by_its_inner_check_digit() {
        assert_eq!(SubjectId::parse("91310000631295002H"), Err(SubjectError::OrganisationCheckDigit));
        assert_eq!(SubjectId::parse("91310000132260250Y"), Err(SubjectError::UsccCheckDigit));
        assert_eq!(SubjectId::parse("9131000O132260250X"), Err(SubjectError::Alphabet(8)));
        assert_eq!(SubjectId::parse("91310000132260250"), Err(SubjectError::Length(17)));
        assert_eq!(SubjectId::parse("  "), Err(SubjectError::Empty));
    }

    #[test]
    fn the_sentinel_is_never_an_identity() {
        assert_eq!(SubjectId::parse("00000000000000000x"), Err(SubjectError::Sentinel));
        assert_eq!(SubjectId::parse("000000000000000000"), Err(SubjectError::Sentinel));
    }

    #[test]
    fn normalises_width_case_and_space_first() {
        assert_eq!(SubjectId::parse(" ９１３３０２０３674737244ｗ "), SubjectId::parse("91330203674737244W"));
        assert_eq!(SubjectId::parse(" ９１３１００００132260250ｘ\u{3000}").unwrap().as_str(), REAL[0]);
    }

    #[test]
    fn reads_the_standards_own_resident_number() {
        let id = SubjectId::parse("11010519491231002x").unwrap();
        assert!(id.is_natural_person());
        assert_eq!(id.masked(), "110105**********2X");
        assert_eq!(format!("{id:?}"), "SubjectId(Resident, redacted)");
        assert_eq!(SubjectId::parse("110105194912310021"), Err(SubjectError::ResidentCheckDigit));
        let as_person = |text| SubjectId::parse_as(SubjectKind::Resident, text);
        assert_eq!(as_person("110105194902310029"), Err(SubjectError::BirthDate));
        assert_eq!(as_person("990105194912310029"), Err(SubjectError::Region));
        assert_eq!(as_person("A10105194912310029"), Err(SubjectError::ResidentDigits));
        assert_eq!(as_person(REAL[0]), Err(SubjectError::WrongKind(SubjectKind::Resident)));
    }

    #[test]
    fn masks_the_middle_of_a_credit_code() {
        assert_eq!(SubjectId::parse(REAL[0]).unwrap().masked(), "913100********250X");
    }

    #[test]
    fn decodes_only_the_normal_form() {
        let id = SubjectId::parse(REAL[0]).unwrap();
        assert_eq!(from_slice::<SubjectId>(&to_vec(&id)).unwrap(), id);
        assert!(from_slice::<SubjectId>(&to_vec(&"91310000132260250x")).is_err());
        assert!(from_slice::<SubjectId>(&to_vec(&"91310000132260250Y")).is_err());
    }

    #[test]
    fn no_message_repeats_the_input() {
        let why = SubjectId::parse("110105194912310021").unwrap_err();
        assert!(!format!("{why} {why:?} {} {}", why.zh(), why.hint()).contains("1949"));
    }

    #[test]
    fn synthetic_codes_need_well_shaped_parts() {
        assert!(uscc_from_parts("91", "310110", 0).is_some());
        assert!(uscc_from_parts("9I", "310110", 0).is_none());
        assert!(uscc_from_parts("91", "31011", 0).is_none());
        assert!(uscc_from_parts("91", "310110", 31_u64.pow(8)).is_none());
        assert!(uscc_from_parts("九", "310110", 1).is_none());
    }

    proptest! {
        #[test]
        fn every_synthetic_code_parses(serial in 0..31_u64.pow(8), region in 310_101..310_152_u32) {
            let id = uscc_from_parts("91", &region.to_string(), serial).unwrap();
            prop_assert_eq!(SubjectId::parse(id.as_str()).unwrap(), id);
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,20}") {
            let _ = SubjectId::parse(&text);
            let _ = SubjectId::parse_as(SubjectKind::Resident, &text);
        }
    }
}
