//! Typed values of fields: civil dates, amounts, integers and text.
//!
//! *Not here*: what a field means or who may see it (`catalog`), cleaning of raw text (`normalize`).

use core::fmt;

use crypto::Timestamp;
use crypto::codec::{Decode, Encode, civil_from_days, days_from_civil};

/// A civil date in Asia/Shanghai, as days since 1970-01-01.
///
/// Shape: any day; texts are read for years 1900 to 9999. Encoded as the bare integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Date(#[n(0)] pub i32);

impl Date {
    /// 2099-12-31, which the double-publicity layouts write for "long term" (长期).
    pub const LONG_TERM: Self = Self(47_481);

    /// The date with these parts; `None` if there is no such day or the year is not in 1900..=9999.
    pub fn new(year: i32, month: u32, day: u32) -> Option<Self> {
        let parts = (i64::from(year), month, day);
        let in_range = (1900..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        let days = in_range.then(|| days_from_civil(parts.0, month, day))?;
        // 31 April becomes 1 May in the arithmetic; a real date survives the way back.
        (civil_from_days(days) == parts).then_some(Self(days as i32))
    }

    /// Reads `YYYY/MM/DD`, `YYYY-MM-DD` (one or two digits for month and day), `YYYYMMDD` or `YYYY年M月D日`.
    ///
    /// Strict: half-width digits, no time of day, no trailing text, and the day must exist.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month, day) = if text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) {
            (&text[..4], &text[4..6], &text[6..])
        } else if let Some((year, rest)) = text.split_once('年') {
            let (month, rest) = rest.split_once('月')?;
            (year, month, rest.strip_suffix('日')?)
        } else {
            let separator = if text.contains('/') { '/' } else { '-' };
            let (year, rest) = text.split_once(separator)?;
            let (month, day) = rest.split_once(separator)?;
            (year, month, day)
        };
        let digits = |part: &str, len: core::ops::RangeInclusive<usize>| {
            (len.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
                .then(|| part.parse::<u32>().ok())?
        };
        Self::new(digits(year, 4..=4)? as i32, digits(month, 1..=2)?, digits(day, 1..=2)?)
    }

    /// The civil date in Asia/Shanghai (UTC+8, no summer time since 1991) at `at`.
    pub fn from_timestamp(at: Timestamp) -> Self {
        Self((at.0.saturating_add(8 * 3_600_000) / 86_400_000).min(i32::MAX as u64) as i32)
    }

    /// The first millisecond of this date in Asia/Shanghai; dates before 1970-01-02 give 0.
    pub fn start(self) -> Timestamp {
        Timestamp((i64::from(self.0) * 86_400_000 - 8 * 3_600_000).max(0) as u64)
    }

    /// Year, month (1 to 12) and day (1 to 31).
    pub fn parts(self) -> (i32, u32, u32) {
        let (year, month, day) = civil_from_days(i64::from(self.0));
        (year as i32, month, day)
    }

    /// The calendar year.
    pub fn year(self) -> i32 {
        self.parts().0
    }

    /// Day of the week, 1 = Monday to 7 = Sunday.
    pub fn weekday(self) -> u8 {
        // Day 0 was a Thursday.
        (i64::from(self.0) + 3).rem_euclid(7) as u8 + 1
    }

    /// This date `days` later (earlier if negative), saturating.
    #[must_use]
    pub fn plus_days(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// The same day of the month `months` later, or the last day of that month if it is shorter.
    #[must_use]
    pub fn plus_months(self, months: u32) -> Self {
        let (year, month, day) = self.parts();
        let index = i64::from(year) * 12 + i64::from(month) - 1 + i64::from(months);
        let (year, month) = (index.div_euclid(12), index.rem_euclid(12) as u32 + 1);
        let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        let last = days_from_civil(next_year, next_month, 1) - 1;
        let wanted = days_from_civil(year, month, day);
        Self(wanted.min(last).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.parts();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Date({self})")
    }
}

/// An amount of money in 万元 (10,000 yuan) with six decimals, held as millionths of 万元.
///
/// One millionth of 万元 is exactly one fen, so the integer is also the amount in fen. The unit is the trap of the
/// official layouts: a fine of 2,000 yuan is written `0.2`. Range: N(18,6), `0 <= fen < 10^18`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub struct Amount(#[n(0)] i64);

impl Amount {
    /// The amount of so many fen; `None` outside N(18,6).
    pub fn from_fen(fen: i64) -> Option<Self> {
        (0..AMOUNT_FEN_END).contains(&fen).then_some(Self(fen))
    }

    /// The amount in fen.
    pub fn fen(self) -> i64 {
        self.0
    }

    /// Reads 万元: up to twelve digits, and up to six decimals after a point. No sign, unit or grouping.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').map_or((text, None), |(w, d)| (w, Some(d)));
        let digits = |part: &str, max: usize| {
            (1..=max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        };
        if !digits(whole, 12) || !decimals.is_none_or(|d| digits(d, 6)) {
            return None;
        }
        let decimals = format!("{:0<6}", decimals.unwrap_or_default());
        Self::from_fen(whole.parse::<i64>().ok()? * 1_000_000 + decimals.parse::<i64>().ok()?)
    }
}

impl<'b, C> Decode<'b, C> for Amount {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::from_fen(d.i64()?).ok_or_else(|| minicbor::decode::Error::message("amount out of range"))
    }
}

impl fmt::Display for Amount {
    /// The shortest form that [`Amount::parse`] reads: `0.2`, `12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Somebody's tax or fine: a value like any other.
        f.write_str("Amount(redacted)")
    }
}

/// What a field holds, as the catalog states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Text of at most `max` characters.
    Text {
        /// Characters (not bytes) allowed.
        max: u16,
    },
    /// A civil date.
    Date,
    /// An amount in 万元.
    Amount,
    /// A whole number.
    Integer,
    /// A value of this list. An entry ending in `-` opens a family: `其他-` allows `其他` and `其他-取缔`. Whether
    /// several values may be joined by `;` is said by the field.
    Code(Vec<String>),
    /// A unified social credit code with both check digits right.
    Uscc,
    /// An identifier of the subject itself: a credit code or a resident number.
    Subject,
}

impl FieldType {
    /// A few words for people, Chinese then English.
    pub fn describe(&self) -> (&'static str, &'static str) {
        match self {
            Self::Text { .. } => ("文本", "text"),
            Self::Date => ("日期", "a date"),
            Self::Amount => ("金额（万元）", "an amount in 10,000 yuan"),
            Self::Integer => ("整数", "a whole number"),
            Self::Code(_) => ("代码", "a value of a list"),
            Self::Uscc => ("统一社会信用代码", "a unified social credit code"),
            Self::Subject => ("主体代码", "a subject identifier"),
        }
    }
}

/// The value of one field of one record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(flat)]
pub enum Value {
    /// Text, codes and identifiers, normalised.
    #[n(0)]
    Text(#[n(0)] String),
    /// A civil date.
    #[n(1)]
    Date(#[n(0)] Date),
    /// An amount in 万元.
    #[n(2)]
    Amount(#[n(0)] Amount),
    /// A whole number.
    #[n(3)]
    Integer(#[n(0)] i64),
}

impl Value {
    /// The value as people read it: dates as `YYYY-MM-DD`, amounts with their unit. A personal value: for the
    /// permitted reader only.
    pub fn to_display(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Date(Date::LONG_TERM) => "长期".into(),
            Self::Date(date) => date.to_string(),
            Self::Amount(amount) => format!("{amount} 万元"),
            Self::Integer(n) => n.to_string(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the kind: the content is what the whole system exists to keep back.
        f.write_str(match self {
            Self::Text(_) => "Text(redacted)",
            Self::Date(_) => "Date(redacted)",
            Self::Amount(_) => "Amount(redacted)",
            Self::Integer(_) => "Integer(redacted)",
        })
    }
}

/// N(18,6): twelve digits of 万元 and six decimals.
const AMOUNT_FEN_END: i64 = 1_000_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use crypto::codec::{from_slice, to_vec};
    use proptest::prelude::*;

    use super::*;

    fn date(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    #[test]
    fn reads_the_four_written_forms_of_a_date() {
        for text in ["2024/02/29", "2024-02-29", "20240229", "2024年2月29日", "2024/2/29"] {
            assert_eq!(date(text).to_string(), "2024-02-29", "{text}");
        }
        assert_eq!(date("2099/12/31"), Date::LONG_TERM);
    }

    #[test]
    fn refuses_days_that_do_not_exist_and_loose_forms() {
        let bad = [
            "",
            "2023-02-29",
            "2024-13-01",
            "2024-00-10",
            "2024-04-31",
            "24-04-30",
            "2024/04-30",
            "2024-4",
            "2024-04-30 ",
            "2024-04-30 00:00:00",
            "+024-04-30",
            "２０２４-04-30",
            "2024年4月",
            "1899-12-31",
            "99991-01-01",
            "2024-004-30",
        ];
        for text in bad {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_day_changes_at_midnight_in_shanghai() {
        // 2026-04-01T00:00 in Shanghai is 2026-03-31T16:00Z.
        let midnight = date("2026-04-01").start();
        assert_eq!(midnight.rfc3339(), "2026-03-31T16:00:00.000Z");
        assert_eq!(Date::from_timestamp(midnight), date("2026-04-01"));
        assert_eq!(Date::from_timestamp(Timestamp(midnight.0 - 1)), date("2026-03-31"));
    }

    #[test]
    fn months_are_clamped_to_the_end_of_the_month() {
        assert_eq!(date("2025-11-30").plus_months(3), date("2026-02-28"));
        assert_eq!(date("2024-01-31").plus_months(1), date("2024-02-29"));
        assert_eq!(date("2024-12-31").plus_months(12), date("2025-12-31"));
        assert_eq!(date("2026-04-01").plus_months(0), date("2026-04-01"));
    }

    #[test]
    fn knows_the_day_of_the_week() {
        assert_eq!(date("2026-02-28").weekday(), 6);
        assert_eq!(date("2024-02-05").weekday(), 1);
        assert_eq!(date("1901-01-06").weekday(), 7);
    }

    #[test]
    fn two_thousand_yuan_are_two_tenths_of_the_unit() {
        let amount = Amount::parse("0.2").unwrap();
        assert_eq!(amount.fen(), 200_000);
        assert_eq!(amount.to_string(), "0.2");
        assert_eq!(Value::Amount(amount).to_display(), "0.2 万元");
        assert_eq!(Amount::parse("0.000001").unwrap().fen(), 1);
        assert_eq!(Amount::parse("120.000000").unwrap().to_string(), "120");
        assert_eq!(Amount::parse("0").unwrap().to_string(), "0");
        assert!(Amount::parse("999999999999.999999").is_some());
        for bad in
            ["", ".5", "5.", "-1", "+1", "1,000", "0.0000001", "1000000000000", "2000元", "1e3", "1.2.3"]
        {
            assert_eq!(Amount::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn values_have_one_encoding_and_do_not_print() {
        let values = [
            (Value::Text("警告".into()), "820066e8ada6e5918a"),
            (Value::Date(Date::LONG_TERM), "820119b979"),
            (Value::Amount(Amount::parse("0.2").unwrap()), "82021a00030d40"),
            (Value::Integer(-1), "820320"),
        ];
        for (value, hex) in values {
            assert_eq!(crypto::codec::hex(&to_vec(&value)), hex);
            assert_eq!(from_slice::<Value>(&to_vec(&value)).unwrap(), value);
            assert!(format!("{value:?}").ends_with("(redacted)"));
        }
    }

    proptest! {
        #[test]
        fn every_date_is_read_back_as_printed(days in -25_567..2_932_897_i32) {
            let date = Date(days);
            prop_assert_eq!(Date::parse(&date.to_string()), Some(date));
            let (y, m, d) = date.parts();
            prop_assert_eq!(Date::parse(&format!("{y}年{m}月{d}日")), Some(date));
        }

        #[test]
        fn every_amount_is_read_back_as_printed(fen in 0..AMOUNT_FEN_END) {
            let amount = Amount::from_fen(fen).unwrap();
            prop_assert_eq!(Amount::parse(&amount.to_string()), Some(amount));
        }

        #[test]
        fn dates_and_amounts_never_panic(text in "\\PC{0,14}") {
            let _ = (Date::parse(&text), Amount::parse(&text));
        }
    }
}
