//! The catalog of public credit information (公共信用信息目录): what may be collected, what each field is, who may see
//! it and how. Outside the catalog nothing is collected (上海市社会信用条例 art. 11).
//!
//! *Not here*: reading submissions against it (`csv`), the decision who sees what (`policy`), regional retention
//! (`rules`). The content is dated data under `credit/data/catalog/<edition>/`, each line naming its source; this
//! file only reads it. Several editions can be parsed side by side: a record names the version it was taken under.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crypto::Digest;
use crypto::codec::{Decode, Encode};

use crate::id::{FieldId, ItemId};
use crate::mask::Mask;
use crate::normalize::normalize_document_number;
use crate::predicate::{CHECKS, CheckRule, CheckRules, parse_rules};
use crate::subject::SubjectId;
use crate::value::FieldType;

/// One edition of the catalog, checked for consistency.
#[derive(Clone, Debug)]
pub struct Catalog {
    version: u32,
    digest: Digest,
    items: BTreeMap<ItemId, Item>,
    checks: CheckRules,
    never: Vec<Forbidden>,
    skipped: BTreeSet<String>,
}

impl Catalog {
    /// The edition this build carries (2024).
    pub fn builtin() -> Self {
        match Self::parse(ITEMS, FIELDS) {
            Ok(catalog) => catalog,
            // INVARIANT: the embedded files are fixed at build time and a test parses them.
            Err(e) => unreachable!("embedded catalog: {e}"),
        }
    }

    /// Reads an edition from the texts of its `items.csv` and `fields.csv`. The lists of what may never be collected
    /// and of how fields may be checked are the build's own and cannot be left out by an edition.
    ///
    /// Errors: the first line that is malformed or contradicts another.
    pub fn parse(items: &str, fields: &str) -> Result<Self, CatalogError> {
        let version = items
            .lines()
            .find_map(|line| line.strip_prefix("# catalog-version:"))
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| CatalogError::new("items.csv", 1, "", "no `# catalog-version: <number>` line"))?;
        let mut by_item: BTreeMap<String, Vec<Field>> = BTreeMap::new();
        let lines = table("fields.csv", fields, &FIELD_COLUMNS)?;
        for line in &lines {
            let field = parse_field(line)?;
            let known = by_item.entry(line.get("item").to_owned()).or_default();
            if known.iter().any(|f| f.id == field.id || f.column == field.column) {
                return Err(line.error("field", "number or column used twice in one item"));
            }
            known.push(field);
        }
        for line in &lines {
            // A condition may look at a column further down, so conditions are resolved when all columns are known.
            let Some(fields) = by_item.get_mut(line.get("item")) else { continue };
            let condition = parse_condition(line, fields)?;
            if let Some(field) = fields.iter_mut().find(|f| f.column == line.get("column")) {
                field.required_when = condition;
            }
        }
        let mut parsed = BTreeMap::new();
        for line in table("items.csv", items, &ITEM_COLUMNS)? {
            let fields = by_item
                .remove(line.get("item"))
                .ok_or_else(|| line.error("item", "item has no line in fields.csv"))?;
            let item = parse_item(&line, fields)?;
            if parsed.insert(item.id.clone(), item).is_some() {
                return Err(line.error("item", "item stated twice"));
            }
        }
        if let Some(line) = lines.iter().find(|line| by_item.contains_key(line.get("item"))) {
            return Err(line.error("item", "fields of an item that items.csv does not state"));
        }
        let mut never = Vec::new();
        for line in table("never.csv", NEVER, &["keyword", "name_en", "law", "source"])? {
            never.push(Forbidden {
                keyword: line.required("keyword")?,
                name_en: line.required("name_en")?,
                law: line.required("law")?,
            });
        }
        let skipped = table("skipped.csv", SKIPPED, &["column", "name", "source"])?;
        let skipped = skipped.iter().flat_map(|line| [line.get("column"), line.get("name")]);
        Ok(Self {
            version,
            digest: digest_of(&[items, fields, NEVER, SKIPPED, CHECKS]),
            checks: parse_rules(CHECKS, &parsed)?,
            items: parsed,
            never,
            skipped: skipped.map(normalize_document_number).collect(),
        })
    }

    /// The edition, a year: `2024`.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// SHA-256 over the texts of the edition, each with its length before it (8 bytes, big endian): items, fields,
    /// the list of what may never be collected, the list of skipped columns, how fields may be checked.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The item, or `None`: then nothing of that kind may be collected or asked for.
    pub fn item(&self, id: &ItemId) -> Option<&Item> {
        self.items.get(id)
    }

    /// Every item, ordered by its id.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    /// How a field may be checked; `None`: not at all.
    pub fn check_rule(&self, item: &ItemId, field: FieldId) -> Option<&CheckRule> {
        self.checks.get(&(item.clone(), field))
    }

    /// The prohibition a column name falls under, whatever the item. Columns of the catalog itself are not asked.
    pub fn forbidden(&self, column: &str) -> Option<&Forbidden> {
        self.never.iter().find(|never| column.contains(&never.keyword))
    }

    /// Whether a column is a technical addition of some platform that is read past and not kept.
    pub fn skips(&self, column: &str) -> bool {
        self.skipped.contains(&normalize_document_number(column))
    }
}

/// A kind of information that may not be collected at all ([`FieldClass::Never`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// The word that gives a column away.
    pub keyword: String,
    /// The same in English.
    pub name_en: String,
    /// The provisions that forbid it, in Chinese.
    pub law: String,
}

/// A record type (目录项).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// `CF`, `XK`, …
    pub id: ItemId,
    /// Chinese name.
    pub name: String,
    /// English name.
    pub name_en: String,
    /// Which of the eight categories it belongs to.
    pub category: Category,
    /// The layout of its files: `790-2018` (official) or `local-2024`.
    pub layout: String,
    /// Its fields in the order of the layout; field 0, the subject, is not among them.
    pub fields: Vec<Field>,
    /// Years after the end of the act or event during which it may be queried, where no regional rule says otherwise.
    pub retention_years: u32,
    /// The document number, which with authority and subject names the record.
    pub key: FieldId,
    /// The column that holds a credit code of the subject.
    pub uscc_field: Option<FieldId>,
    /// The column that holds a resident number of the subject; `None` if the item is about organisations only.
    pub resident_field: Option<FieldId>,
    /// The column 行政相对人类别, which says which of the two names the subject.
    pub subject_category_field: Option<FieldId>,
    /// The column that says what kind of document the resident number's column holds.
    pub resident_document_field: Option<FieldId>,
    /// The column 工商注册号, due when an individual business has no credit code.
    pub registration_field: Option<FieldId>,
    /// The credit code of the deciding body (`CF_CFJGDM`): the record's authority.
    pub authority_field: Option<FieldId>,
    /// The name of the deciding body, which tells whose rules of repair hold.
    pub body_field: Option<FieldId>,
    /// The date of the decision: start of the submission clock.
    pub decided_field: Option<FieldId>,
    /// The date of publication, from which publicity counts under some rule sets.
    pub published_field: Option<FieldId>,
    /// The day on which the act or event ended, from which retention counts in some regions.
    pub ended_field: Option<FieldId>,
    /// The column 公示截止期: the last day of publicity as the source states it.
    pub until_field: Option<FieldId>,
    /// The column 处罚类别, from which the repair tier follows.
    pub penalty_field: Option<FieldId>,
    /// The column 案件程序类别, which decides the tier of lesser penalties.
    pub procedure_field: Option<FieldId>,
    /// The column 处罚依据, whose words may make a penalty serious.
    pub basis_field: Option<FieldId>,
    /// The column 违法行为类型, likewise.
    pub act_field: Option<FieldId>,
    /// The column 失信程度: the tier as the deciding department states it.
    pub degree_field: Option<FieldId>,
    /// Whether a record of this item can be the object of credit repair.
    pub repairable: bool,
    /// Whether a record is an entry of a list, which stands until it is removed from it (移出): no maximum ends it.
    pub listing: bool,
}

impl Item {
    /// The field with this number.
    pub fn field(&self, id: FieldId) -> Option<&Field> {
        self.fields.iter().find(|field| field.id == id)
    }

    /// The field with this column code (`CF_WSH`), exactly as the catalog writes it.
    pub fn field_by_column(&self, column: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.column == column)
    }

    /// Whether `id` is a column that names the subject. Its value is kept once, as field 0.
    pub fn names_subject(&self, id: FieldId) -> bool {
        self.uscc_field == Some(id) || self.resident_field == Some(id)
    }
}

/// A column of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// From 1, in the order of the layout; never reused.
    pub id: FieldId,
    /// Column code: `CF_XDR_MC`.
    pub column: String,
    /// Chinese name of the column.
    pub name: String,
    /// Other headings under which files carry the column.
    pub aliases: Vec<String>,
    /// What it holds.
    pub ty: FieldType,
    /// Who may see it.
    pub class: FieldClass,
    /// How it is disclosed unless more is granted.
    pub mode: Mode,
    /// What its masked form is like.
    pub mask: Mask,
    /// Whether every record must have it.
    pub required: bool,
    /// When it must be given although not every record has it.
    pub required_when: Option<Condition>,
    /// For [`FieldType::Uscc`]: whether the filler of seventeen zeros and `X` may stand for "has no code".
    pub filler: bool,
    /// For [`FieldType::Code`]: whether several values may be given, joined by `;`.
    pub several: bool,
}

impl Field {
    /// The most that is said of it in a record about `subject`: a natural person's name is masked (个人信息保护法 art. 6;
    /// 双公示 publishes it so).
    pub fn mode_about(&self, subject: &SubjectId) -> Mode {
        match self.mask {
            Mask::SubjectName if subject.is_natural_person() => self.mode.min(Mode::Mask),
            _ => self.mode,
        }
    }
}

/// A condition on another column of the same row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The column looked at.
    pub field: FieldId,
    /// True: one of `values` occurs in it. False: it equals one of them.
    pub contains: bool,
    /// The values, in the order of the catalog.
    pub values: Vec<String>,
}

impl Condition {
    /// Whether the condition holds for the looked-at column's normalised text.
    pub fn holds(&self, text: &str) -> bool {
        self.values
            .iter()
            .any(|value| if self.contains { text.contains(value.as_str()) } else { text == value })
    }
}

/// Declares enums with a stable code, a Chinese name and an index encoding.
macro_rules! coded {
    ($($(#[$doc:meta])* pub enum $name:ident {
        $($(#[$vdoc:meta])* $variant:ident = $index:literal, $code:literal, $zh:literal;)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum $name { $($(#[$vdoc])* #[n($index)] $variant,)* }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The Chinese name.
            pub const fn zh(self) -> &'static str {
                match self { $(Self::$variant => $zh,)* }
            }

            /// Reads the code or the Chinese name.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| text == one.as_str() || text == one.zh())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}

pub(crate) use coded;

coded! {
    /// The eight categories of public credit information (seed 001 of 2018).
    pub enum Category {
        /// Registration.
        Registration = 0, "registration", "登记";
        /// Permits and qualifications.
        Qualification = 1, "qualification", "资质";
        /// Supervision, with penalties.
        Supervision = 2, "supervision", "监管";
        /// Court judgments.
        Judgment = 3, "judgment", "判决";
        /// Enforcement of judgments.
        Enforcement = 4, "enforcement", "执行";
        /// Performance of duties and contracts: taxes, social insurance, utilities.
        Performance = 5, "performance", "履约";
        /// Management and honours.
        Management = 6, "management", "管理";
        /// Public benefit.
        PublicBenefit = 7, "public-benefit", "公益";
    }

    /// Who may see a field (公开属性).
    pub enum FieldClass {
        /// 主动公开: anybody, as long as the record is published.
        Public = 0, "public", "公开";
        /// 政务共享: bodies with an administrative purpose.
        Government = 1, "government", "政务共享";
        /// 授权查询: only under the subject's grant.
        Authorised = 2, "authorised", "授权查询";
        /// May not be collected. No field of a catalog has this class; a column of a file can.
        Never = 3, "never", "禁止采集";
    }

    /// How a field is disclosed, ordered from the one that says least.
    pub enum Mode {
        /// 核验: whether it equals, exceeds or falls in a band; yes or no.
        Verify = 0, "verify", "核验";
        /// 脱敏: partly hidden.
        Mask = 1, "mask", "脱敏";
        /// The value itself.
        Value = 2, "value", "原值";
    }

    /// What a question is asked for (查询用途). Bound into grants and into every entry about an access
    /// (征信业管理条例 art. 18 and 20: consent names the purpose, and no other use is allowed).
    pub enum Purpose {
        /// Before a loan is granted.
        LoanReview = 0, "pre-loan", "贷前审查";
        /// Approval of a credit line.
        CreditApproval = 1, "approval", "授信审批";
        /// While a loan runs.
        PostLoan = 2, "post-loan", "贷后管理";
        /// Review of a guarantor.
        Guarantee = 3, "guarantee", "担保审查";
        /// An administrative act with a legal basis of its own.
        Administration = 4, "administration", "行政管理";
        /// The subject asks about itself.
        Self_ = 5, "self", "本人查询";
        /// An audit of accesses and records.
        Audit = 6, "audit", "稽核";
    }
}

/// Why a dated data file (catalog, calendar, rules) was not read: where and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogError {
    /// File name.
    pub file: &'static str,
    /// Line from 1.
    pub line: u64,
    /// Column name; empty if the line as a whole is meant.
    pub column: String,
    /// What is wrong.
    pub what: String,
}

impl CatalogError {
    pub(crate) fn new(file: &'static str, line: u64, column: &str, what: impl Into<String>) -> Self {
        Self { file, line, column: column.to_owned(), what: what.into() }
    }
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", self.file, self.line)?;
        if !self.column.is_empty() {
            write!(f, ", column `{}`", self.column)?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for CatalogError {}

/// One line of a dated data file.
pub(crate) struct Line {
    file: &'static str,
    number: u64,
    cells: BTreeMap<String, String>,
}

impl Line {
    /// The cell, trimmed; empty if it is empty. Columns were checked by [`table`].
    pub(crate) fn get(&self, column: &str) -> &str {
        self.cells.get(column).map_or("", String::as_str)
    }

    /// The cell, which must not be empty.
    pub(crate) fn required(&self, column: &str) -> Result<String, CatalogError> {
        match self.get(column) {
            "" => Err(self.error(column, "must not be empty")),
            text => Ok(text.to_owned()),
        }
    }

    /// The cell through `read`; an empty cell is `None`.
    pub(crate) fn optional<T>(
        &self,
        column: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, CatalogError> {
        match self.get(column) {
            "" => Ok(None),
            text => read(text).map(Some).ok_or_else(|| self.error(column, format!("cannot read `{text}`"))),
        }
    }

    /// The cell through `read`; it must not be empty.
    pub(crate) fn parse<T>(
        &self,
        column: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, CatalogError> {
        self.optional(column, read)?.ok_or_else(|| self.error(column, "must not be empty"))
    }

    pub(crate) fn error(&self, column: &str, what: impl Into<String>) -> CatalogError {
        CatalogError::new(self.file, self.number, column, what)
    }
}

/// Reads a dated data file: UTF-8 CSV with `#` comment lines and exactly the header `columns`.
pub(crate) fn table(file: &'static str, text: &str, columns: &[&str]) -> Result<Vec<Line>, CatalogError> {
    let mut reader =
        ::csv::ReaderBuilder::new().comment(Some(b'#')).trim(::csv::Trim::All).from_reader(text.as_bytes());
    let bad = |e: ::csv::Error| {
        let (line, column, what) = misread(text, columns, &e);
        CatalogError::new(file, line, column.unwrap_or(""), what)
    };
    if let Some((line, column, what)) = misheaded(text, columns, reader.headers().map_err(bad)?) {
        return Err(CatalogError::new(file, line, column, what));
    }
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(bad)?;
        lines.push(Line {
            file,
            number: record.position().map_or(0, |p| line_of(text, p)),
            cells: columns.iter().zip(&record).map(|(c, v)| ((*c).to_owned(), v.to_owned())).collect(),
        });
    }
    Ok(lines)
}

/// Where a header that is not exactly `columns` first departs from it: line, column, and what it must be.
pub(crate) fn misheaded<'a>(
    text: &str,
    columns: &[&'a str],
    header: &::csv::StringRecord,
) -> Option<(u64, &'a str, String)> {
    let wrong = columns.iter().zip(0..).find(|(column, at)| header.get(*at) != Some(**column));
    let column = match wrong {
        Some((column, _)) => column,
        None if header.len() == columns.len() => return None,
        None => columns.last()?,
    };
    let start = ::csv::Position::new();
    Some((line_of(text, &start), *column, format!("the header must be `{}`", columns.join(","))))
}

/// A line that the reader cannot take apart: line, the column where it ends too early or too late, and what is wrong.
pub(crate) fn misread<'a>(
    text: &str,
    columns: &[&'a str],
    error: &::csv::Error,
) -> (u64, Option<&'a str>, String) {
    let line = error.position().map_or(1, |at| line_of(text, at));
    match error.kind() {
        ::csv::ErrorKind::UnequalLengths { len, .. } => {
            let at = usize::try_from(*len).unwrap_or(usize::MAX).min(columns.len().saturating_sub(1));
            let why = format!("{len} cells, and the header has {}; see to commas and quotes", columns.len());
            (line, columns.get(at).copied(), why)
        }
        _ => (line, None, error.to_string()),
    }
}

/// The line of a record: what the reader calls its position is where the comments before it begin.
pub(crate) fn line_of(text: &str, at: &::csv::Position) -> u64 {
    let from = usize::try_from(at.byte()).ok().and_then(|byte| text.get(byte..)).unwrap_or_default();
    let passed = |line: &&str| line.starts_with('#') || line.trim().is_empty();
    at.line() + from.split('\n').take_while(passed).count() as u64
}

/// SHA-256 over texts, each preceded by its length, so that no two lists of texts share a digest.
pub(crate) fn digest_of(texts: &[&str]) -> Digest {
    let lengths: Vec<[u8; 8]> = texts.iter().map(|text| (text.len() as u64).to_be_bytes()).collect();
    let parts: Vec<&[u8]> =
        lengths.iter().zip(texts).flat_map(|(length, text)| [length.as_slice(), text.as_bytes()]).collect();
    Digest::of_parts(&parts)
}

fn parse_field(line: &Line) -> Result<Field, CatalogError> {
    let class = line.parse("class", FieldClass::parse)?;
    if class == FieldClass::Never {
        return Err(
            line.error("class", "what may not be collected cannot be a field; it belongs in never.csv")
        );
    }
    let ty = line.get("type");
    let list = |text: &str| text.split('|').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    let form = line.parse("type", |text| {
        Some(match text.split_once(':') {
            Some(("text", max)) => FieldType::Text { max: max.parse().ok().filter(|n| *n > 0)? },
            Some(("code" | "codes", values)) => FieldType::Code(list(values)),
            Some(_) => return None,
            None => match text {
                "date" => FieldType::Date,
                "amount" => FieldType::Amount,
                "integer" => FieldType::Integer,
                "uscc" | "uscc+filler" => FieldType::Uscc,
                "subject" => FieldType::Subject,
                _ => return None,
            },
        })
    })?;
    Ok(Field {
        id: line.parse("field", |text| text.parse().ok().filter(|n| *n > 0).map(FieldId))?,
        column: line.required("column")?,
        name: line.required("name")?,
        aliases: list(line.get("aliases")),
        ty: form.clone(),
        class,
        mode: line.parse("mode", Mode::parse)?,
        mask: line
            .optional("mask", |text| Mask::parse(text).filter(|mask| mask.fits(&form)))?
            .unwrap_or(Mask::of_type(&form)),
        required: line.get("required") == "yes",
        required_when: None,
        filler: ty == "uscc+filler",
        several: ty.starts_with("codes:"),
    })
}

fn parse_condition(line: &Line, fields: &[Field]) -> Result<Option<Condition>, CatalogError> {
    line.required("source")?;
    let text = line.get("required");
    if text.is_empty() || text == "yes" {
        return Ok(None);
    }
    let at = text
        .find(['=', '~'])
        .ok_or_else(|| line.error("required", "not empty, `yes`, `C=A|B` or `C~A|B`"))?;
    let field = fields.iter().find(|f| f.column == text[..at]);
    Ok(Some(Condition {
        field: field.ok_or_else(|| line.error("required", format!("no column `{}`", &text[..at])))?.id,
        contains: text[at..].starts_with('~'),
        values: text[at + 1..].split('|').map(str::to_owned).collect(),
    }))
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn parse_item(line: &Line, fields: Vec<Field>) -> Result<Item, CatalogError> {
    let named = |column: &str| -> Result<Option<FieldId>, CatalogError> {
        line.optional(column, |text| fields.iter().find(|f| f.column == text).map(|f| f.id))
    };
    line.required("source")?;
    let item = Item {
        id: line.parse("item", ItemId::parse)?,
        name: line.required("name")?,
        name_en: line.required("name_en")?,
        category: line.parse("category", Category::parse)?,
        layout: line.required("layout")?,
        retention_years: line.parse("retention", |text| text.parse().ok())?,
        key: named("key")?.ok_or_else(|| line.error("key", "must not be empty"))?,
        uscc_field: named("uscc")?,
        resident_field: named("resident")?,
        subject_category_field: named("subject_category")?,
        resident_document_field: named("resident_document")?,
        registration_field: named("registration")?,
        authority_field: named("authority")?,
        body_field: named("body")?,
        decided_field: named("decided")?,
        published_field: named("published")?,
        ended_field: named("ended")?,
        until_field: named("until")?,
        penalty_field: named("penalty")?,
        procedure_field: named("procedure")?,
        basis_field: named("basis")?,
        act_field: named("act")?,
        degree_field: named("degree")?,
        repairable: line.parse("repairable", flag)?,
        listing: line.parse("listing", flag)?,
        fields,
    };
    if item.uscc_field.is_none() && item.resident_field.is_none() {
        return Err(line.error("uscc", "an item needs a column that names its subject"));
    }
    Ok(item)
}

const ITEM_COLUMNS: [&str; 26] = [
    "item",
    "name",
    "name_en",
    "category",
    "layout",
    "key",
    "uscc",
    "resident",
    "subject_category",
    "resident_document",
    "registration",
    "authority",
    "body",
    "decided",
    "published",
    "ended",
    "until",
    "penalty",
    "procedure",
    "basis",
    "act",
    "degree",
    "repairable",
    "listing",
    "retention",
    "source",
];

const FIELD_COLUMNS: [&str; 12] = [
    "item", "field", "column", "name", "aliases", "type", "class", "mode", "mask", "required", "source",
    "note",
];

const ITEMS: &str = include_str!("../data/catalog/2024/items.csv");
const FIELDS: &str = include_str!("../data/catalog/2024/fields.csv");
const NEVER: &str = include_str!("../data/catalog/2024/never.csv");
const SKIPPED: &str = include_str!("../data/catalog/2024/skipped.csv");

#[cfg(test)]
mod tests {
    use super::*;

    fn item(catalog: &Catalog, id: &str) -> Item {
        catalog.item(&ItemId::parse(id).unwrap()).unwrap().clone()
    }

    #[test]
    fn the_builtin_edition_holds_the_official_layouts_in_order() {
        let catalog = Catalog::builtin();
        assert_eq!(catalog.version(), 2024);
        assert!(catalog.items().count() >= 11);
        let cf = item(&catalog, "CF");
        let official: Vec<_> = cf.fields.iter().filter(|f| !f.column.starts_with("X_")).collect();
        assert_eq!(official.len(), 30);
        assert!(official.iter().zip(1..).all(|(f, n)| f.id == FieldId(n)));
        assert_eq!(cf.field(cf.key).unwrap().column, "CF_WSH");
        assert_eq!(cf.field(cf.authority_field.unwrap()).unwrap().column, "CF_CFJGDM");
        assert_eq!(cf.field_by_column("CF_SJLYDM").unwrap().id, FieldId(29));
        let xk = item(&catalog, "XK");
        assert_eq!(xk.fields.len(), 28);
        assert_eq!(xk.field(xk.decided_field.unwrap()).unwrap().name, "许可决定日期");
        assert_eq!(cf.category, Category::Supervision);
        assert_eq!(item(&catalog, "NSXY").field_by_column("NSXY_NSZE").unwrap().mode, Mode::Verify);
    }

    #[test]
    fn every_category_has_an_item_and_every_item_an_authority_and_a_date() {
        let catalog = Catalog::builtin();
        for category in Category::ALL {
            assert!(catalog.items().any(|item| item.category == *category), "{category}");
        }
        for item in catalog.items() {
            assert!(item.authority_field.is_some() && item.decided_field.is_some(), "{}", item.id);
            // Without a name nobody knows whose rules hold, and every body would fall under those of the NDRC.
            let body = item.field(item.body_field.unwrap()).unwrap();
            assert!(body.required, "{}", item.id);
            assert!(item.fields.iter().all(|f| f.class != FieldClass::Never));
            // A certificate of repair says who decided: everybody may see that name.
            assert!(!item.repairable || body.class == FieldClass::Public, "{}", item.id);
            let headings: Vec<_> =
                item.fields.iter().flat_map(|f| [&f.column, &f.name].into_iter().chain(&f.aliases)).collect();
            let unique: BTreeSet<_> = headings.iter().map(|h| normalize_document_number(h)).collect();
            assert_eq!(unique.len(), headings.len(), "{}", item.id);
            assert!(headings.iter().all(|h| catalog.forbidden(h).is_none()), "{}", item.id);
        }
    }

    #[test]
    fn an_entry_of_a_list_stands_until_it_is_removed() {
        let catalog = Catalog::builtin();
        let lists: Vec<_> =
            catalog.items().filter(|item| item.listing).map(|item| item.id.as_str()).collect();
        assert_eq!(lists, ["YCML", "ZX"]);
        let abnormal = item(&catalog, "YCML");
        assert_eq!(abnormal.field(abnormal.until_field.unwrap()).unwrap().name, "移出日期");
    }

    #[test]
    fn identity_documents_are_never_public() {
        for item in Catalog::builtin().items() {
            for field in item.fields.iter().filter(|f| f.column.ends_with("ZJHM")) {
                assert_eq!(field.class, FieldClass::Government, "{}", field.column);
            }
        }
    }

    #[test]
    fn names_the_law_that_forbids_a_column() {
        let catalog = Catalog::builtin();
        for column in ["宗教信仰", "法定代表人血型", "既往病史"] {
            assert!(catalog.forbidden(column).unwrap().law.contains("第十四条"), "{column}");
        }
        assert_eq!(catalog.forbidden("备注"), None);
        assert!(catalog.skips("add_time") && !catalog.skips("CF_SYFW"));
    }

    #[test]
    fn an_error_names_file_line_and_column() {
        let broken = FIELDS.replacen("date,public", "datum,public", 1);
        let e = Catalog::parse(ITEMS, &broken).unwrap_err();
        assert_eq!((e.file, e.column.as_str()), ("fields.csv", "type"));
        let text = broken.lines().nth(e.line as usize - 1).unwrap();
        assert!(text.contains("datum"), "line {} is {text}", e.line);
        let e = Catalog::parse(&ITEMS.replace("CF_WSH", "CF_WHS"), FIELDS).unwrap_err();
        assert_eq!((e.file, e.column.as_str()), ("items.csv", "key"));
        assert_eq!(e.to_string(), format!("items.csv line {}, column `key`: cannot read `CF_WHS`", e.line));
        let e = Catalog::parse(ITEMS, &FIELDS.replacen(",public,", ",never,", 1)).unwrap_err();
        assert_eq!(e.column, "class");
        // A masked form that the type cannot have, one that is no word, and a line with a cell too few.
        for broken in [
            FIELDS.replacen("date,public,value,,", "date,public,value,phone,", 1),
            FIELDS.replacen("value,subject-name", "value,subject", 1),
        ] {
            let e = Catalog::parse(ITEMS, &broken).unwrap_err();
            assert_eq!((e.file, e.column.as_str()), ("fields.csv", "mask"));
        }
        let e = Catalog::parse(ITEMS, &FIELDS.replacen("value,subject-name", "value", 1)).unwrap_err();
        assert_eq!((e.line, e.column.as_str()), (9, "note"));
        let e = Catalog::parse(ITEMS, &FIELDS.replacen("mode,mask", "mask,mode", 1)).unwrap_err();
        assert_eq!((e.line, e.column.as_str()), (8, "mode"));
        assert!(Catalog::parse(&ITEMS.replace("# catalog-version: 2024", ""), FIELDS).is_err());
        assert!(Catalog::parse("", "").is_err());
    }

    #[test]
    fn the_digest_changes_with_any_text() {
        let other = Catalog::parse(ITEMS, &FIELDS.replacen("text:200", "text:201", 1)).unwrap();
        assert_ne!(other.digest(), Catalog::builtin().digest());
        assert_ne!(digest_of(&["ab", "c"]), digest_of(&["a", "bc"]));
    }

    #[test]
    fn purposes_are_read_by_code_and_by_name() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::parse(purpose.as_str()), Some(*purpose));
            assert_eq!(Purpose::parse(purpose.zh()), Some(*purpose));
        }
        assert_eq!(Purpose::parse("marketing"), None);
        assert!(Mode::Verify < Mode::Mask && Mode::Mask < Mode::Value);
    }
}
