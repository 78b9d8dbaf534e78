//! The fixed predicates by which a field is checked without being told (核验): yes, no or not on record.
//!
//! Which of them a field allows, and how many different ones an asker may have judged, is the file
//! `credit/data/catalog/2024/checks.csv`. What a predicate looks at is decided from what stands in clear beside a sealed
//! record ([`Predicate::looks_at`]), so that no more is opened than it needs; then it is judged ([`Predicate::judge`]).

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use crate::{
    catalog::{Catalog, CatalogError, Field, Item, Mode, table},
    id::{FieldId, ItemId},
    normalize::{normalize_code, normalize_text},
    value::{Amount, Date, FieldType, Value},
};

/// Longest run of months that can be asked about: three years, as long as the accounts a lender looks at.
pub const MONTHS_MAX: u16 = 36;
/// Most records one predicate looks at, the newest: three bills a month over [`MONTHS_MAX`] months, and some to spare.
pub const RECORDS_PER_CHECK_MAX: usize = 128;
/// Longest text that can be asked about, in bytes; identifiers and codes are far shorter, and a document is no guess.
pub const CHECKED_TEXT_BYTES_MAX: usize = 256;
/// Days over which the budget of a family counts. The amounts in these catalogs are settled once a month or once a year, so
/// that a new month's thresholds meet new amounts.
pub const BUDGET_DAYS: u16 = 30;

/// One predicate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Predicate {
    /// The value is this one.
    #[n(0)]
    Equals(#[n(0)] Value),
    /// The value is this one or larger; of dates, later.
    #[n(1)]
    AtLeast(#[n(0)] Value),
    /// The value is this one or smaller.
    #[n(2)]
    AtMost(#[n(0)] Value),
    /// The value lies between these two, both included.
    #[n(3)]
    InBand(#[n(0)] Value, #[n(1)] Value),
    /// No record of the item that may be told was decided on this day or later. A member without any such record says
    /// yes: whether there are older ones, or ones that were repaired, makes no difference.
    #[n(4)]
    NoneSince(#[n(0)] Date),
    /// Every record of each of so many successive months, of which this is the last, is one of the values that mean paid.
    #[n(5)]
    PaidMonths(#[n(0)] u16, #[n(1)] Month),
}

/// A calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Month(#[n(0)] u32);

impl Month {
    /// The month of a field that holds `YYYYMM`; `None` for any other number.
    pub fn from_number(number: i64) -> Option<Self> {
        let (year, month) = (number.div_euclid(100), number.rem_euclid(100));
        let real = (1900..=9999).contains(&year) && (1..=12).contains(&month);
        real.then_some(Self(number as u32))
    }

    /// Reads `YYYY-MM` or `YYYYMM`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = match text.split_once('-') {
            Some((year, month)) if year.len() == 4 && month.len() == 2 => format!("{year}{month}"),
            Some(_) => return None,
            None => text.to_owned(),
        };
        let plain = digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok().and_then(Self::from_number))?
    }

    /// Months since year 0.
    fn ordinal(self) -> u32 {
        self.0 / 100 * 12 + self.0 % 100 - 1
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 100, self.0 % 100)
    }
}

/// What kind of predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// [`Predicate::Equals`].
    #[n(0)]
    Equals,
    /// [`Predicate::AtLeast`].
    #[n(1)]
    AtLeast,
    /// [`Predicate::AtMost`].
    #[n(2)]
    AtMost,
    /// [`Predicate::InBand`].
    #[n(3)]
    InBand,
    /// [`Predicate::NoneSince`].
    #[n(4)]
    NoneSince,
    /// [`Predicate::PaidMonths`].
    #[n(5)]
    PaidMonths,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] =
        [Kind::Equals, Kind::AtLeast, Kind::AtMost, Kind::InBand, Kind::NoneSince, Kind::PaidMonths];

    /// The word in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Equals => "equals",
            Kind::AtLeast => "at-least",
            Kind::AtMost => "at-most",
            Kind::InBand => "in-band",
            Kind::NoneSince => "none-since",
            Kind::PaidMonths => "paid-months",
        }
    }

    /// The kind of a word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }

    /// What shares a budget: thresholds of one value narrow it down together, however they are put.
    pub const fn family(self) -> Family {
        match self {
            Kind::Equals => Family::Equality,
            Kind::AtLeast | Kind::AtMost | Kind::InBand => Family::Order,
            Kind::NoneSince => Family::History,
            Kind::PaidMonths => Family::Payment,
        }
    }
}

/// Kinds that tell of one thing, and so share a budget. The number is part of a row's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// Guesses of a value.
    Equality = 0,
    /// Thresholds.
    Order = 1,
    /// Days since which nothing was decided.
    History = 2,
    /// Runs of paid months.
    Payment = 3,
}

impl Family {
    /// The word for people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Family::Equality => "equality",
            Family::Order => "order",
            Family::History => "history",
            Family::Payment => "payment",
        }
    }
}

/// What is told of a predicate, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Outcome {
    /// It holds.
    #[n(0)]
    Yes,
    /// It does not hold.
    #[n(1)]
    No,
    /// There is nothing here to judge it by.
    #[n(2)]
    NotOnRecord,
}

impl Outcome {
    /// The word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Yes => "yes",
            Outcome::No => "no",
            Outcome::NotOnRecord => "not-on-record",
        }
    }

    /// For people, in both languages.
    pub const fn words(self) -> &'static str {
        match self {
            Outcome::Yes => "yes / 是",
            Outcome::No => "no / 否",
            Outcome::NotOnRecord => "not on record / 无记录",
        }
    }
}

/// A predicate about a field of an item, as a question carries it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Check {
    /// The item.
    #[n(0)]
    pub item: ItemId,
    /// The field: for [`Kind::NoneSince`] the day of the decision, for [`Kind::PaidMonths`] what says whether it is paid.
    #[n(1)]
    pub field: FieldId,
    /// What is asked of it.
    #[n(2)]
    pub predicate: Predicate,
}

/// What stands in clear beside a sealed record, as far as a predicate chooses by it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Day of the decision; a record that does not tell it counts as the newest.
    pub decided: Option<Date>,
    /// Position of the version: of two decisions of one day the one recorded later is the newer.
    pub version: u64,
    /// Whether it has the field.
    pub field: bool,
    /// Whether it has the month's field.
    pub month: bool,
}

/// One opened record, as a predicate judges it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Day of the decision.
    pub decided: Option<Date>,
    /// The field's value.
    pub value: Option<Value>,
    /// The month's value.
    pub month: Option<Value>,
}

impl Predicate {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Predicate::Equals(_) => Kind::Equals,
            Predicate::AtLeast(_) => Kind::AtLeast,
            Predicate::AtMost(_) => Kind::AtMost,
            Predicate::InBand(..) => Kind::InBand,
            Predicate::NoneSince(_) => Kind::NoneSince,
            Predicate::PaidMonths(..) => Kind::PaidMonths,
        }
    }

    /// The first limit it breaks, as a short English phrase, or `None`.
    pub fn malformed(&self) -> Option<&'static str> {
        match self {
            Predicate::Equals(Value::Text(text)) if text.len() > CHECKED_TEXT_BYTES_MAX => {
                Some("a check compares with more than 256 bytes")
            }
            Predicate::InBand(low, high) if low > high => Some("a band ends before it begins"),
            Predicate::PaidMonths(months, _) if !(1..=MONTHS_MAX).contains(months) => {
                Some("a check is about 1 to 36 months")
            }
            Predicate::PaidMonths(months, until)
                if Month::from_number(i64::from(until.0)).is_none()
                    || until.ordinal() < u32::from(*months) =>
            {
                Some("a check ends with a month that does not exist")
            }
            _ => None,
        }
    }

    /// Whether its values are of the field's type.
    pub fn fits(&self, ty: &FieldType) -> bool {
        let of_type = |value: &Value| match value {
            Value::Text(_) => {
                matches!(
                    ty,
                    FieldType::Text { .. } | FieldType::Code(_) | FieldType::Uscc | FieldType::Subject
                )
            }
            Value::Date(_) => matches!(ty, FieldType::Date),
            Value::Amount(_) => matches!(ty, FieldType::Amount),
            Value::Integer(_) => matches!(ty, FieldType::Integer),
        };
        match self {
            Predicate::Equals(value) | Predicate::AtLeast(value) | Predicate::AtMost(value) => of_type(value),
            Predicate::InBand(low, high) => of_type(low) && of_type(high),
            Predicate::NoneSince(_) => matches!(ty, FieldType::Date),
            Predicate::PaidMonths(..) => matches!(ty, FieldType::Code(_)),
        }
    }

    /// How many records an outcome can be judged on at most. It follows from the question alone: an answer keeps as many
    /// places, whatever was found.
    pub fn places(&self) -> usize {
        match self {
            Predicate::PaidMonths(months, _) => usize::from(*months),
            _ => 1,
        }
    }

    /// Which of the candidates it looks at, the newest first: positions in `candidates`.
    ///
    /// One value is that of the newest record that has the field. Of days only the last one counts, and of months as many
    /// records as [`RECORDS_PER_CHECK_MAX`].
    pub fn looks_at(&self, candidates: &[Candidate]) -> Vec<usize> {
        let (most, field, month) = match self {
            Predicate::NoneSince(_) => (1, false, false),
            Predicate::PaidMonths(..) => (RECORDS_PER_CHECK_MAX, true, true),
            _ => (1, true, false),
        };
        let fits = |c: &Candidate| (c.field || !field) && (c.month || !month);
        let mut found: Vec<usize> = (0..candidates.len()).filter(|i| fits(&candidates[*i])).collect();
        found.sort_by_key(|i| {
            let c = &candidates[*i];
            core::cmp::Reverse((c.decided.is_none(), c.decided, c.version))
        });
        found.truncate(most);
        found
    }

    /// Judges the records chosen by [`Predicate::looks_at`]: the outcome, and the positions in `seen` that it rests on, at
    /// most [`Predicate::places`].
    pub fn judge(&self, rule: &CheckRule, seen: &[Seen]) -> (Outcome, Vec<usize>) {
        let yes = |holds: bool| if holds { Outcome::Yes } else { Outcome::No };
        let holds: &dyn Fn(&Value) -> bool = match self {
            Predicate::Equals(wanted) => &move |value| value == wanted,
            Predicate::AtLeast(least) => &move |value| value >= least,
            Predicate::AtMost(most) => &move |value| value <= most,
            Predicate::InBand(low, high) => &move |value| low <= value && value <= high,
            Predicate::NoneSince(since) => {
                // An unknown day may be any day.
                let later = seen.iter().position(|s| s.decided.is_none_or(|day| day >= *since));
                return (yes(later.is_none()), later.into_iter().collect());
            }
            Predicate::PaidMonths(months, until) => {
                return paid(rule, seen, usize::from(*months), *until);
            }
        };
        match seen.first().and_then(|s| s.value.as_ref()) {
            Some(value) => (yes(holds(value)), vec![0]),
            None => (Outcome::NotOnRecord, Vec::new()),
        }
    }
}

/// No when any record of these months is not paid; yes when every month has one and all are; else nothing can be said.
fn paid(rule: &CheckRule, seen: &[Seen], months: usize, until: Month) -> (Outcome, Vec<usize>) {
    let first = until.ordinal() as usize + 1 - months;
    let mut newest_of: Vec<Option<usize>> = vec![None; months];
    let mut unpaid = Vec::new();
    for (position, one) in seen.iter().enumerate() {
        let (Some(Value::Integer(month)), Some(Value::Text(value))) = (&one.month, &one.value) else {
            continue;
        };
        let Some(month) = Month::from_number(*month) else { continue };
        let Some(place) = (month.ordinal() as usize).checked_sub(first).and_then(|at| newest_of.get_mut(at))
        else {
            continue;
        };
        place.get_or_insert(position);
        if !rule.paid.contains(value) {
            unpaid.push(position);
        }
    }
    if !unpaid.is_empty() {
        unpaid.truncate(months);
        return (Outcome::No, unpaid);
    }
    match newest_of.into_iter().collect::<Option<Vec<usize>>>() {
        Some(all) => (Outcome::Yes, all),
        None => (Outcome::NotOnRecord, Vec::new()),
    }
}

/// How one field may be checked: a line of `checks.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRule {
    /// The predicates.
    pub kinds: BTreeSet<Kind>,
    /// For [`Kind::PaidMonths`]: the field that holds the month.
    pub month: Option<FieldId>,
    /// For [`Kind::PaidMonths`]: the values that mean paid.
    pub paid: BTreeSet<String>,
    /// Different predicates of one family that an asker may have judged about one subject in [`BUDGET_DAYS`].
    pub budget: u16,
}

/// How fields may be checked.
pub(crate) type CheckRules = BTreeMap<(ItemId, FieldId), CheckRule>;

/// The lines that this build ships.
pub(crate) const CHECKS: &str = include_str!("../data/catalog/2024/checks.csv");

/// Reads `checks.csv` against the items it speaks of.
///
/// Errors: the first line that is malformed, names what the catalog has not, or contradicts a field's type; a field that
/// can only be checked and has no line.
pub(crate) fn parse_rules(text: &str, items: &BTreeMap<ItemId, Item>) -> Result<CheckRules, CatalogError> {
    const FILE: &str = "checks.csv";
    let mut rules = CheckRules::new();
    for line in table(FILE, text, &["item", "column", "predicates", "month", "paid", "budget", "source"])? {
        line.required("source")?;
        let id = line.parse("item", ItemId::parse)?;
        let item = items.get(&id).ok_or_else(|| line.error("item", format!("no item `{id}`")))?;
        let field = line.parse("column", |column| item.field_by_column(column))?;
        let kinds: BTreeSet<Kind> = line
            .required("predicates")?
            .split_whitespace()
            .map(|word| {
                Kind::parse(word).ok_or_else(|| line.error("predicates", format!("unknown word `{word}`")))
            })
            .collect::<Result<_, _>>()?;
        if let Some(kind) = kinds.iter().find(|kind| !possible(**kind, item, field)) {
            let why = format!("`{}` cannot be asked of this column", kind.as_str());
            return Err(line.error("predicates", why));
        }
        let month = line.optional("month", |column| {
            item.field_by_column(column).filter(|f| f.ty == FieldType::Integer).map(|f| f.id)
        })?;
        let paid: BTreeSet<String> =
            line.get("paid").split('|').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let listed = |value: &String| matches!(&field.ty, FieldType::Code(list) if list.contains(value));
        if !paid.iter().all(listed) {
            return Err(line.error("paid", "not a value of this column"));
        }
        let monthly = kinds.contains(&Kind::PaidMonths);
        if monthly != month.is_some() || monthly == paid.is_empty() {
            return Err(line.error("month", "month and paid belong to paid-months, and it needs both"));
        }
        let budget = line.parse("budget", |text| text.parse().ok().filter(|n| *n > 0))?;
        if rules.insert((id, field.id), CheckRule { kinds, month, paid, budget }).is_some() {
            return Err(line.error("column", "stated twice"));
        }
    }
    for item in items.values() {
        let only_checked = item.fields.iter().find(|field| {
            field.mode == Mode::Verify
                && !item.names_subject(field.id)
                && !rules.contains_key(&(item.id.clone(), field.id))
        });
        if let Some(field) = only_checked {
            let why = format!("`{}` can only be verified and has no line", field.column);
            return Err(CatalogError::new(FILE, 1, "column", why));
        }
    }
    Ok(rules)
}

/// Whether a kind can be asked of a field at all. What names the subject is not: the question names it.
fn possible(kind: Kind, item: &Item, field: &Field) -> bool {
    let ordered = matches!(field.ty, FieldType::Date | FieldType::Amount | FieldType::Integer);
    !item.names_subject(field.id)
        && match kind {
            Kind::Equals => !field.several,
            Kind::AtLeast | Kind::AtMost | Kind::InBand => ordered,
            Kind::NoneSince => item.decided_field == Some(field.id),
            Kind::PaidMonths => matches!(field.ty, FieldType::Code(_)) && !field.several,
        }
}

impl Check {
    /// Reads a check as it is written on a command line, the value in the form in which files hold it:
    ///
    /// `NSXY:NSXY_DJ=A`, `NSXY:6>=100`, `NSXY:6<=500`, `NSXY:6=100..500`, `CF:none-since=2024-01-01`,
    /// `SBJN:paid=12@2026-03` (so many months, and the last of them).
    ///
    /// Errors: what is wrong, in English, and nothing of the value; also where the catalog does not allow the predicate.
    pub fn parse(catalog: &Catalog, text: &str) -> Result<Self, String> {
        let check = Self::read(catalog, text)?;
        let kind = check.predicate.kind();
        match catalog.check_rule(&check.item, check.field) {
            Some(rule) if rule.kinds.contains(&kind) => Ok(check),
            _ => {
                let field = catalog.item(&check.item).and_then(|item| item.field(check.field));
                let column = field.map_or("?", |field| &field.column);
                Err(format!("`{}` cannot be asked of `{column}`", kind.as_str()))
            }
        }
    }

    /// As [`Check::parse`], whether or not the catalog allows the predicate: to learn what the rules say of it.
    pub fn read(catalog: &Catalog, text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(':').ok_or("a check begins with ITEM:")?;
        let item = ItemId::parse(name).and_then(|id| catalog.item(&id));
        let item = item.ok_or_else(|| format!("`{name}` is not in the catalog"))?;
        let at = rest.find(['=', '<', '>']).ok_or("a check has one of =, >= and <=")?;
        let (word, rest) = rest.split_at(at);
        let operator = ["=", ">=", "<="].into_iter().find(|o| rest.starts_with(o));
        let operator = operator.ok_or("a check has one of =, >= and <=")?;
        let (word, value) = (word.trim(), rest[operator.len()..].trim());
        let ruled = |kind: Kind| {
            let found = item
                .fields
                .iter()
                .find(|f| catalog.check_rule(&item.id, f.id).is_some_and(|rule| rule.kinds.contains(&kind)));
            found.ok_or_else(|| format!("`{}` cannot be asked of `{name}`", kind.as_str()))
        };
        let (field, predicate) = match (word, operator) {
            ("none-since", "=") => {
                let day = Date::parse(value).ok_or("a day is written YYYY-MM-DD")?;
                (ruled(Kind::NoneSince)?, Predicate::NoneSince(day))
            }
            ("paid", "=") => {
                let how = "paid months are written N@YYYY-MM: how many, and the last of them";
                let (months, until) = value.split_once('@').ok_or(how)?;
                let months = months.parse().map_err(|_| how)?;
                (ruled(Kind::PaidMonths)?, Predicate::PaidMonths(months, Month::parse(until).ok_or(how)?))
            }
            _ => {
                let by_number = word.parse().ok().map(FieldId).and_then(|id| item.field(id));
                let by_name = || item.fields.iter().find(|f| f.name == word);
                let field = by_number.or_else(|| item.field_by_column(word)).or_else(by_name);
                let field = field.ok_or_else(|| format!("`{word}` is no field of `{name}`"))?;
                let read = |text: &str| {
                    let (_, wanted) = field.ty.describe();
                    read_value(field, text.trim()).ok_or_else(|| format!("`{}` is {wanted}", field.column))
                };
                let ordered = matches!(field.ty, FieldType::Date | FieldType::Amount | FieldType::Integer);
                let predicate = match (operator, value.split_once("..").filter(|_| ordered)) {
                    (">=", _) => Predicate::AtLeast(read(value)?),
                    ("<=", _) => Predicate::AtMost(read(value)?),
                    (_, Some((low, high))) => Predicate::InBand(read(low)?, read(high)?),
                    (_, None) => Predicate::Equals(read(value)?),
                };
                (field, predicate)
            }
        };
        if let Some(why) = predicate.malformed() {
            return Err(why.to_owned());
        }
        Ok(Self { item: item.id.clone(), field: field.id, predicate })
    }

    /// The check as [`Check::parse`] reads it. It holds what the asker asked, a guess of a value perhaps: for the asker's own
    /// screen only.
    pub fn to_display(&self, catalog: &Catalog) -> String {
        let column = catalog.item(&self.item).and_then(|i| i.field(self.field)).map_or("?", |f| &f.column);
        let plain = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            Value::Date(date) => date.to_string(),
            Value::Amount(amount) => amount.to_string(),
            Value::Integer(n) => n.to_string(),
        };
        let item = &self.item;
        match &self.predicate {
            Predicate::Equals(value) => format!("{item}:{column}={}", plain(value)),
            Predicate::AtLeast(value) => format!("{item}:{column}>={}", plain(value)),
            Predicate::AtMost(value) => format!("{item}:{column}<={}", plain(value)),
            Predicate::InBand(low, high) => format!("{item}:{column}={}..{}", plain(low), plain(high)),
            Predicate::NoneSince(day) => format!("{item}:none-since={day}"),
            Predicate::PaidMonths(months, until) => format!("{item}:paid={months}@{until}"),
        }
    }
}

/// Reads a value as intake reads it from a file.
fn read_value(field: &Field, text: &str) -> Option<Value> {
    match &field.ty {
        FieldType::Text { .. } => Some(Value::Text(normalize_text(text))),
        FieldType::Code(list) => {
            let code = normalize_code(text);
            let known = |entry: &String| match entry.strip_suffix('-') {
                Some(family) => code == family || code.starts_with(entry.as_str()),
                None => code == *entry,
            };
            list.iter().any(known).then_some(Value::Text(code))
        }
        FieldType::Uscc | FieldType::Subject => Some(Value::Text(normalize_code(text))),
        FieldType::Date => Date::parse(text).map(Value::Date),
        FieldType::Amount => Amount::parse(text).map(Value::Amount),
        FieldType::Integer => text.parse().ok().map(Value::Integer),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(item: &str, column: &str) -> CheckRule {
        let catalog = Catalog::builtin();
        let item = catalog.item(&ItemId::parse(item).unwrap()).unwrap();
        catalog.check_rule(&item.id, item.field_by_column(column).unwrap().id).unwrap().clone()
    }

    fn month(text: &str) -> Month {
        Month::parse(text).unwrap()
    }

    fn bill(month: i64, state: &str) -> Seen {
        Seen {
            decided: Some(Date(0)),
            value: Some(Value::Text(state.into())),
            month: Some(Value::Integer(month)),
        }
    }

    #[test]
    fn a_check_is_written_as_it_is_read() {
        let catalog = Catalog::builtin();
        for text in [
            "NSXY:NSXY_DJ=A",
            "NSXY:NSXY_NSZE>=100.5",
            "NSXY:NSXY_NSZE<=0",
            "NSXY:NSXY_NSZE=100..500",
            "CF:none-since=2024-01-01",
            "SBJN:paid=12@2026-03",
            "CF:CF_FR_ZJHM=11010519491231002X",
        ] {
            let check = Check::parse(&catalog, text).unwrap();
            assert_eq!(check.to_display(&catalog), text);
        }
        assert_eq!(
            Check::parse(&catalog, "NSXY:6 >= 100").unwrap(),
            Check::parse(&catalog, "NSXY:年度纳税总额(万元)>=100").unwrap()
        );
        for (text, why) in [
            ("NSXY", "ITEM:"),
            ("ABCD:1=2", "catalog"),
            ("NSXY:6", "one of ="),
            ("NSXY:6>100", "one of ="),
            ("NSXY:99=1", "no field"),
            ("NSXY:6=100", "`equals` cannot be asked"),
            ("NSXY:6>=many", "an amount"),
            ("NSXY:6=500..100", "ends before"),
            ("NSXY:NSXY_DJ=E", "a value of a list"),
            ("NSXY:none-since=2024-01-01", "`none-since` cannot"),
            ("CF:none-since=2024-02-30", "YYYY-MM-DD"),
            ("CF:CF_JDRQ>=2024-01-01", "`at-least` cannot"),
            ("SBJN:paid=12", "N@YYYY-MM"),
            ("SBJN:paid=37@2026-03", "36 months"),
            ("SBJN:paid=12@2026-13", "N@YYYY-MM"),
        ] {
            let error = Check::parse(&catalog, text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_line_that_does_not_fit_the_catalog_is_refused_with_its_place() {
        let items = Catalog::builtin().items().map(|i| (i.id.clone(), i.clone())).collect();
        let parse = |from: &str, to: &str| {
            let text = CHECKS.replacen(from, to, 1);
            assert_ne!(text, CHECKS, "{from}");
            let e = parse_rules(&text, &items).unwrap_err();
            let said = text.lines().nth(e.line as usize - 1).unwrap().to_owned();
            assert!(e.column == "month" || said.contains(to) || e.line == 1, "{e}: {said}");
            e.to_string()
        };
        assert!(parse("NSXY,NSXY_DJ,equals", "NSXY,NSXY_DJ,equal").contains("column `predicates`"));
        assert!(parse("NSXY,NSXY_DJ,equals", "NSXY,NSXY_DJ,at-least").contains("cannot be asked"));
        assert!(parse("CF,CF_JDRQ,", "CF,CF_YXQ,").contains("cannot be asked"));
        assert!(parse("CF,CF_FR_ZJHM,", "CF,CF_XDR_ZJHM,").contains("cannot be asked"));
        assert!(parse("NSXY,NSXY_DJ,", "NSXY,NSXY_XX,").contains("cannot read `NSXY_XX`"));
        assert!(parse(",SBJN_YF,正常,", ",SBJN_JFZT,正常,").contains("column `month`"));
        assert!(parse(",SBJN_YF,正常,", ",SBJN_YF,,").contains("needs both"));
        assert!(parse(",SBJN_YF,正常,", ",SBJN_YF,付清,").contains("column `paid`"));
        assert!(parse("NSXY,NSXY_DJ,equals,,,3,", "NSXY,NSXY_DJ,equals,,,0,").contains("column `budget`"));
        assert!(parse("DJ,DJ_ZT,", "DJ,DJ_ZCZB,").contains("stated twice"));
        let lost: String =
            CHECKS.lines().filter(|l| !l.contains("NSXY_NSZE")).map(|l| format!("{l}\n")).collect();
        assert!(parse_rules(&lost, &items).unwrap_err().to_string().contains("can only be verified"));
    }

    #[test]
    fn one_value_is_the_newest_that_has_the_field() {
        let at = |decided: i32, version: u64, field: bool| Candidate {
            decided: Some(Date(decided)),
            version,
            field,
            month: true,
        };
        let records = [at(10, 1, true), at(20, 2, true), at(20, 3, true), at(30, 0, false)];
        assert_eq!(Predicate::Equals(Value::Integer(1)).looks_at(&records), [2]);
        assert_eq!(Predicate::NoneSince(Date(0)).looks_at(&records), [3]);
        assert_eq!(Predicate::PaidMonths(3, month("2026-03")).looks_at(&records), [2, 1, 0]);
        assert!(Predicate::Equals(Value::Integer(1)).looks_at(&records[3..]).is_empty());
    }

    #[test]
    fn months_are_paid_when_each_is_there_and_none_is_open() {
        let rule = rule("SBJN", "SBJN_JFZT");
        let asked = Predicate::PaidMonths(3, month("2026-02"));
        let paid = [bill(202602, "正常"), bill(202601, "正常"), bill(202512, "正常")];
        assert_eq!(asked.judge(&rule, &paid), (Outcome::Yes, vec![2, 1, 0]));
        // What lies outside the three months does not count.
        let more = [paid.as_slice(), &[bill(202511, "欠费"), bill(202603, "欠费")]].concat();
        assert_eq!(asked.judge(&rule, &more).0, Outcome::Yes);
        assert_eq!(asked.judge(&rule, &paid[..2]), (Outcome::NotOnRecord, vec![]));
        let open = [paid[0].clone(), bill(202601, "缓缴")];
        assert_eq!(asked.judge(&rule, &open), (Outcome::No, vec![1]));
        // A second bill of a month that is paid.
        let twice = [paid.as_slice(), &[bill(202601, "欠费")]].concat();
        assert_eq!(asked.judge(&rule, &twice), (Outcome::No, vec![3]));
        assert_eq!(asked.judge(&rule, &[]), (Outcome::NotOnRecord, vec![]));
    }

    #[test]
    fn nothing_since_a_day_is_yes_where_there_is_nothing() {
        let rule = rule("CF", "CF_JDRQ");
        let seen = |decided| [Seen { decided, value: None, month: None }];
        let asked = Predicate::NoneSince(Date(100));
        assert_eq!(asked.judge(&rule, &[]), (Outcome::Yes, vec![]));
        assert_eq!(asked.judge(&rule, &seen(Some(Date(99)))), (Outcome::Yes, vec![]));
        assert_eq!(asked.judge(&rule, &seen(Some(Date(100)))), (Outcome::No, vec![0]));
        assert_eq!(asked.judge(&rule, &seen(None)), (Outcome::No, vec![0]));
    }

    proptest! {
        #[test]
        fn thresholds_agree_with_the_value(value in -50i64..50, low in -50i64..50, width in 0i64..30) {
            let rule = rule("SBJN", "SBJN_CBRS");
            let seen = [Seen { decided: None, value: Some(Value::Integer(value)), month: None }];
            let holds = |p: Predicate| p.judge(&rule, &seen).0 == Outcome::Yes;
            let (a, b) = (Value::Integer(low), Value::Integer(low + width));
            prop_assert_eq!(holds(Predicate::AtLeast(a.clone())), value >= low);
            prop_assert_eq!(holds(Predicate::AtMost(b.clone())), value <= low + width);
            prop_assert_eq!(holds(Predicate::InBand(a.clone(), b)), (low..=low + width).contains(&value));
            prop_assert_eq!(holds(Predicate::Equals(a)), value == low);
        }

        #[test]
        fn what_is_looked_at_decides_as_all_records_would(
            days in proptest::collection::vec((0i32..20, any::<bool>()), 0..12), since in 0i32..20,
        ) {
            let candidates: Vec<Candidate> = days
                .iter()
                .enumerate()
                .map(|(n, (day, field))| Candidate {
                    decided: Some(Date(*day)), version: n as u64, field: *field, month: true,
                })
                .collect();
            let seen = |at: &[usize]| -> Vec<Seen> {
                at.iter()
                    .map(|i| Seen {
                        decided: candidates[*i].decided,
                        value: candidates[*i].field.then(|| Value::Date(Date(days[*i].0))),
                        month: None,
                    })
                    .collect()
            };
            let rule = rule("CF", "CF_JDRQ");
            let none = Predicate::NoneSince(Date(since));
            let (outcome, on) = none.judge(&rule, &seen(&none.looks_at(&candidates)));
            prop_assert_eq!(outcome == Outcome::Yes, days.iter().all(|(day, _)| *day < since));
            prop_assert!(on.len() <= none.places());
            let least = Predicate::AtLeast(Value::Date(Date(since)));
            let newest = days.iter().filter(|(_, field)| *field).map(|(day, _)| *day).max();
            let expected = match newest {
                None => Outcome::NotOnRecord,
                Some(day) if day >= since => Outcome::Yes,
                Some(_) => Outcome::No,
            };
            prop_assert_eq!(least.judge(&rule, &seen(&least.looks_at(&candidates))).0, expected);
        }

        #[test]
        fn paid_months_agree_with_a_count_by_hand(
            bills in proptest::collection::vec((0usize..18, any::<bool>()), 0..30), months in 1u16..13,
        ) {
            let rule = rule("SBJN", "SBJN_JFZT");
            let number = |n: usize| (2025 + n as i64 / 12) * 100 + n as i64 % 12 + 1;
            let seen: Vec<Seen> =
                bills.iter().map(|(n, paid)| bill(number(*n), if *paid { "正常" } else { "欠费" })).collect();
            let asked = Predicate::PaidMonths(months, Month::from_number(number(14)).unwrap());
            let wanted = (15 - usize::from(months))..15;
            let within = || bills.iter().filter(|(n, _)| wanted.contains(n));
            let expected = if within().any(|(_, paid)| !paid) {
                Outcome::No
            } else if wanted.clone().all(|m| within().any(|(n, _)| *n == m)) {
                Outcome::Yes
            } else {
                Outcome::NotOnRecord
            };
            let (outcome, on) = asked.judge(&rule, &seen);
            prop_assert_eq!(outcome, expected);
            prop_assert!(on.len() <= asked.places());
        }

        #[test]
        fn no_text_and_no_predicate_panics(text in "\\PC{0,24}", months in any::<u16>(), until in any::<u32>()) {
            let _ = Check::parse(&Catalog::builtin(), &text);
            let _ = Check::parse(&Catalog::builtin(), &format!("NSXY:6={text}"));
            let asked = Predicate::PaidMonths(months, Month(until));
            if asked.malformed().is_none() {
                asked.judge(&rule("SBJN", "SBJN_JFZT"), &[bill(202601, "正常")]);
            }
        }
    }
}
