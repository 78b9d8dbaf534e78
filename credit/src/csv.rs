//! A submitted file → records, or errors with row and column in Chinese and English.
//!
//! Reads the double-publicity layout of 2018 (发改办财金〔2018〕790号) and the catalog's local layouts as CSV, by column
//! code or Chinese heading, separated by commas or tabs.
//!
//! [`stream`] reads a file piece by piece; [`read`] is the same over a file that is in memory.
//!
//! *Not here*: XLSX, duplicates against what a node already holds (`RecordId`, later), and the layout of 2016. That one is refused by name: its numbered codes
//! changed meaning, and a resident number in slot `_5` would be published as a 事业单位证书号 (docs/SOURCES.md).
//!
//! No error carries a value of the file: it may be the personal one that was put in the wrong column.

pub mod error;
pub mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use zeroize::Zeroize;

use crate::catalog::{Catalog, Field, Forbidden, Item};
use crate::csv::error::{FileError, RowError};
use crate::csv::stream::Reader;
use crate::id::{FieldId, ItemId};
use crate::normalize::{
    Encoding, document_form, is_void, normalize_code, normalize_document_number, normalize_text,
};
use crate::subject::{SubjectId, SubjectKind, USCC_SENTINEL};
use crate::value::{Amount, Date, FieldType, Value};

/// 64 GiB: the back-fill of a whole province in one file; bounds a stream that does not end.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;

/// 200 million rows: the largest collection foreseen, in one file.
pub const ROWS_MAX: usize = 200_000_000;

/// 128 columns: four times the widest layout; a wider file is another table or has the wrong separator.
pub const COLUMNS_MAX: usize = 128;

/// 1,000 lines in one row: texts have line breaks, but so many mean that a quotation mark is not closed and the rest
/// of the file would silently become one cell.
pub const ROW_LINES_MAX: u64 = 1_000;

/// Reads a whole file of `item`, and finds rows that repeat an earlier one.
///
/// Shape: pure; one [`Row`] per row of the file that is not blank, in order. `today` bounds decision dates.
/// Errors: [`FileError`] if the file as a whole cannot be read; a fault in one row only rejects that row.
/// Invariant: a column that is neither in the catalog, nor forbidden, nor a known technical column stops the file:
/// outside the catalog nothing is collected, and nothing is dropped without a word.
pub fn read(bytes: &[u8], catalog: &Catalog, item: &Item, today: Date) -> Result<Intake, FileError> {
    let mut reader = Reader::new(catalog, item);
    let mut raw = reader.push(bytes)?;
    raw.extend(reader.finish()?);
    let layout = reader.layout().ok_or(FileError::Empty)?;
    let mut rows: Vec<Row> = raw.iter().map(|raw| layout.read(item, today, raw)).collect();
    let mut seen = BTreeSet::new();
    for row in &mut rows {
        let Ok(plain) = &row.outcome else { continue };
        let number = document_form(&plain.document);
        if !seen.insert((plain.subject.clone(), number, plain.authority_code.clone())) {
            let column = item.field(item.key).map_or_else(String::new, |key| key.column.clone());
            row.outcome = Err(vec![RowError::twice(row.number, column)]);
        }
    }
    Ok(Intake {
        encoding: reader.encoding(),
        rows,
        skipped: layout.0.skipped.clone(),
        forbidden: layout.0.forbidden.clone(),
    })
}

/// What a file holds.
#[derive(Debug)]
pub struct Intake {
    /// How it was encoded.
    pub encoding: Encoding,
    /// Its rows in order, blank ones left out.
    pub rows: Vec<Row>,
    /// Headings of technical columns that were read past and not kept.
    pub skipped: Vec<String>,
    /// Headings of columns that may not be collected. They were read past; rows with a value in one are rejected.
    pub forbidden: Vec<String>,
}

impl Intake {
    /// Rows that gave a record.
    pub fn accepted(&self) -> usize {
        self.rows.iter().filter(|row| row.outcome.is_ok()).count()
    }

    /// Rows that did not.
    pub fn rejected(&self) -> usize {
        self.rows.len() - self.accepted()
    }
}

/// One row of a file.
#[derive(Debug)]
pub struct Row {
    /// The line of the file on which it begins, from 1 (the heading is line 1).
    pub number: u32,
    /// The record, or at least one error.
    pub outcome: Result<PlainRecord, Vec<RowError>>,
    /// Some cell was changed by normalisation (full-width digits, case, brackets, spaces) before it was checked.
    pub normalised: bool,
}

/// A validated record in the clear. The value of every field has the type the catalog states.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainRecord {
    /// Who it is about: field 0. The column it came from is not repeated in `fields`.
    pub subject: SubjectId,
    /// Its record type.
    pub item: ItemId,
    /// The document number, normalised; also the value of the item's key field.
    pub document: String,
    /// The credit code of the deciding body; `None` if the item has no such column.
    pub authority_code: Option<String>,
    /// The date of the decision.
    pub decided: Option<Date>,
    /// The other fields that have a value.
    pub fields: BTreeMap<FieldId, Value>,
}

impl Drop for PlainRecord {
    /// A record in clear leaves no copy of its texts behind. Copies that the CSV reader made on the way are beyond reach.
    fn drop(&mut self) {
        self.document.zeroize();
        for value in self.fields.values_mut() {
            if let Value::Text(text) = value {
                text.zeroize();
            }
        }
    }
}

impl fmt::Debug for PlainRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Everything but the type of the record is somebody's data.
        write!(f, "PlainRecord({}, {} fields, redacted)", self.item, self.fields.len())
    }
}

/// What each column of the file is.
struct Header {
    /// Per field of the item, in its order: the position in the file.
    positions: Vec<Option<usize>>,
    /// Columns that may not be collected.
    never: Vec<(usize, String, Forbidden)>,
    /// Columns without heading.
    unnamed: Vec<usize>,
    columns: usize,
    skipped: Vec<String>,
    forbidden: Vec<String>,
}

impl Header {
    fn read(record: &::csv::StringRecord, catalog: &Catalog, item: &Item) -> Result<Self, FileError> {
        if record.len() > COLUMNS_MAX {
            return Err(FileError::TooManyColumns { columns: record.len() });
        }
        let mut known = BTreeMap::new();
        for (index, field) in item.fields.iter().enumerate() {
            for heading in [&field.column, &field.name].into_iter().chain(&field.aliases) {
                known.insert(normalize_document_number(heading), index);
            }
        }
        let headings: Vec<String> = record.iter().map(normalize_document_number).collect();
        if let Some(at) = headings.iter().position(|h| !known.contains_key(h) && is_2016(h)) {
            return Err(FileError::OldLayout { column: shown(&record[at]) });
        }
        if !headings.iter().any(|heading| known.contains_key(heading)) {
            return Err(FileError::NoHeader);
        }
        let mut header = Self {
            positions: vec![None; item.fields.len()],
            never: Vec::new(),
            unnamed: Vec::new(),
            columns: record.len(),
            skipped: Vec::new(),
            forbidden: Vec::new(),
        };
        for (at, heading) in headings.iter().enumerate() {
            let column = shown(&record[at]);
            if heading.is_empty() {
                header.unnamed.push(at);
            } else if let Some(index) = known.get(heading) {
                if header.positions[*index].replace(at).is_some() {
                    return Err(FileError::DuplicateColumn { column });
                }
            } else if let Some(never) = catalog.forbidden(heading) {
                header.never.push((at, column.clone(), never.clone()));
                header.forbidden.push(column);
            } else if catalog.skips(heading) {
                header.skipped.push(column);
            } else {
                let suggestion = nearest(heading, known.keys()).and_then(|near| known.get(near));
                let chinese = !heading.is_ascii();
                let suggestion = suggestion
                    .map(|index| &item.fields[*index])
                    .map(|field| if chinese { field.name.clone() } else { field.column.clone() });
                return Err(FileError::UnknownColumn { column, suggestion });
            }
        }
        let missing = item.fields.iter().zip(&header.positions).find(|(f, at)| f.required && at.is_none());
        if let Some((field, _)) = missing {
            return Err(FileError::MissingColumn { column: field.column.clone(), name: field.name.clone() });
        }
        Ok(header)
    }
}

/// One row on its way to a record. Collects every error of the row instead of stopping at the first.
struct RowReader<'a> {
    item: &'a Item,
    today: Date,
    row: u32,
    normalised: bool,
    errors: Vec<RowError>,
}

impl RowReader<'_> {
    /// 1. Refuse what does not fit the heading or may not be collected. 2. Clean every cell. 3. Find the subject.
    /// 4. Check and type every other field. The result counts only if no error was noted.
    fn read(&mut self, header: &Header, record: &::csv::StringRecord) -> Option<PlainRecord> {
        // 1. A row of another width has slipped; its cells would be checked under the wrong headings.
        if record.len() != header.columns {
            self.fault(
                None,
                "column_count",
                &format!("有{}列，表头为{}列", record.len(), header.columns),
                &format!("has {} cells, the heading has {}", record.len(), header.columns),
            );
            return None;
        }
        for (at, column, never) in &header.never {
            if !is_blank(&record[*at]) {
                self.errors.push(RowError {
                    row: self.row,
                    column: column.clone(),
                    code: "forbidden_field",
                    zh: format!("禁止采集“{}”信息（{}），该行已拒收，请删除此列", never.keyword, never.law),
                    en: format!("{} may not be collected ({}); remove the column", never.name_en, never.law),
                });
            }
        }
        if header.unnamed.iter().any(|at| !is_blank(&record[*at])) {
            self.fault(None, "column_unnamed", "没有表头的列中有内容", "a cell without heading has content");
        }
        // 2. INVARIANT: from here every field of the item has an entry in `cells`, empty if the file has no such column.
        let mut cells = BTreeMap::new();
        for (field, at) in self.item.fields.iter().zip(&header.positions) {
            let raw = at.map_or("", |at| &record[at]);
            let clean = if is_blank(raw) { String::new() } else { self.clean(field, raw) };
            cells.insert(field.id, clean);
        }
        // Some sources write the filler for everybody without a credit code; for a person it says nothing.
        let person = self.item.subject_category_field.is_some_and(|id| cells[&id] == "自然人");
        if person
            && let Some(id) = self.item.uscc_field
            && cells[&id] == USCC_SENTINEL
        {
            cells.insert(id, String::new());
            self.normalised = true;
        }
        // 3.
        let subject = self.subject(&cells);
        // 4.
        let item = self.item;
        let mut fields = BTreeMap::new();
        for field in &item.fields {
            let text = &cells[&field.id];
            if text.is_empty() {
                let due = field.required_when.as_ref().is_some_and(|when| when.holds(&cells[&when.field]));
                if field.required || due {
                    let zh = if due { "在此情形下为必填项" } else { "为必填项" };
                    self.fault(Some(field), "required_missing", zh, "is required here and is empty");
                }
            } else if !item.names_subject(field.id)
                && let Some(value) = self.value(field, text)
            {
                fields.insert(field.id, value);
            }
        }
        let date = |id: Option<FieldId>| match id.and_then(|id| fields.get(&id)) {
            Some(Value::Date(date)) => Some(*date),
            _ => None,
        };
        let decided = date(item.decided_field);
        for id in [item.decided_field, item.published_field, item.ended_field] {
            if date(id).is_some_and(|date| date > self.today) {
                let field = id.and_then(|id| item.field(id));
                self.fault(field, "date_in_future", "晚于今日", "lies in the future");
            }
        }
        // Its clocks would run before there is anything to count: a least time of publicity would be over at the decision.
        let decided_column =
            item.decided_field.and_then(|id| item.field(id)).map_or("", |field| field.column.as_str());
        for id in [item.published_field, item.until_field] {
            if date(id).zip(decided).is_some_and(|(day, decided)| day < decided) {
                let field = id.and_then(|id| item.field(id));
                let zh = format!("早于决定日期（{decided_column}），请核对这两列");
                let en = format!("lies before the decision (`{decided_column}`); see to both columns");
                self.fault(field, "date_before_decision", &zh, &en);
            }
        }
        let authority = item.authority_field.and_then(|id| cells.get(&id)).filter(|text| !text.is_empty());
        Some(PlainRecord {
            subject: subject?,
            item: item.id.clone(),
            document: cells[&item.key].clone(),
            authority_code: authority.cloned(),
            decided,
            fields,
        })
    }

    /// The cell in the normal form of its type.
    fn clean(&mut self, field: &Field, raw: &str) -> String {
        let clean = match &field.ty {
            _ if field.id == self.item.key => normalize_document_number(raw),
            FieldType::Text { .. } => normalize_text(raw),
            FieldType::Code(_) if field.several => {
                let code = normalize_code(raw);
                let parts = code.split([';', ',', '、']).map(str::trim).filter(|part| !part.is_empty());
                parts.collect::<Vec<_>>().join(";")
            }
            FieldType::Date => {
                let code = normalize_code(raw);
                // Databases append midnight to a date. Any other time of day stays and is refused.
                let date = [" 00:00:00.0", " 00:00:00", "T00:00:00", " 0:00:00", " 0:00"]
                    .iter()
                    .find_map(|midnight| code.strip_suffix(midnight))
                    .unwrap_or(&code);
                // Live registers write 9999 where the official layouts write 2099/12/31.
                let long = matches!(date, "长期" | "永久" | "9999-9-9" | "9999/9/9" | "99990909")
                    || matches!(date, "9999-12-31" | "9999/12/31" | "99991231" | "9999-09-09" | "9999/09/09");
                if long { Date::LONG_TERM.to_string() } else { date.to_owned() }
            }
            FieldType::Amount
            | FieldType::Integer
            | FieldType::Code(_)
            | FieldType::Uscc
            | FieldType::Subject => normalize_code(raw),
        };
        self.normalised |= clean != raw;
        clean
    }

    /// Who the row is about. Notes its own errors, except for an empty column that the catalog requires anyway.
    fn subject(&mut self, cells: &BTreeMap<FieldId, String>) -> Option<SubjectId> {
        let item = self.item;
        let field = |id: Option<FieldId>| id.and_then(|id| item.field(id));
        let text = |id: Option<FieldId>| id.and_then(|id| cells.get(&id)).map_or("", String::as_str);
        let (uscc, resident) = (text(item.uscc_field), text(item.resident_field));
        let (uscc_field, resident_field) = (field(item.uscc_field), field(item.resident_field));
        let person = match (item.subject_category_field, text(item.subject_category_field)) {
            (Some(_), "自然人") => true,
            (Some(_), "法人及非法人组织" | "个体工商户") => false,
            // An unknown or missing category has its own error; without it nothing says which number counts.
            (Some(_), _) => return None,
            (None, _) => uscc.is_empty() && item.resident_field.is_some() && !resident.is_empty(),
        };
        if person {
            if !uscc.is_empty() {
                self.mismatch(
                    uscc_field,
                    "自然人不应填写统一社会信用代码",
                    "a natural person has no credit code",
                );
            }
            let document = text(item.resident_document_field);
            if !document.is_empty() && !RESIDENT_DOCUMENTS.contains(&document) {
                self.fault(
                    field(item.resident_document_field),
                    "identity_type_unsupported",
                    "目前只能以居民身份证识别自然人",
                    "only the resident identity card can name a natural person yet",
                );
                return None;
            }
            if resident.is_empty() {
                return None;
            }
            return self.identify(resident_field, SubjectKind::Resident, resident);
        }
        if !resident.is_empty() {
            // More personal data than the record needs, and a second identity for one row.
            self.mismatch(
                resident_field,
                "只有自然人才能填写证件号码",
                "only a natural person's row may carry a resident number",
            );
        }
        if uscc == USCC_SENTINEL {
            let business = text(item.subject_category_field) == "个体工商户";
            let (code, zh, en) = if business {
                (
                    "sentinel_not_identity",
                    "占位符（17个0加X）表示没有代码；工商注册号不能跨平台识别主体，无法归集，请补办或查询统一社会信用代码",
                    "the filler says there is no code, and a registration number does not name a subject across \
                     platforms; look up the credit code",
                )
            } else {
                (
                    "sentinel_not_allowed",
                    "占位符（17个0加X）只允许用于个体工商户",
                    "the filler of seventeen zeros and X is allowed for individual businesses only",
                )
            };
            self.fault(uscc_field, code, zh, en);
            return None;
        }
        if uscc.is_empty() {
            let noted = uscc_field.is_some_and(|f| {
                f.required || f.required_when.as_ref().is_some_and(|when| when.holds(&cells[&when.field]))
            });
            if !noted {
                let (zh, en) = ("未填写任何可识别主体的代码", "no number names the subject");
                self.fault(uscc_field.or(resident_field), "required_missing", zh, en);
            }
            return None;
        }
        self.identify(uscc_field, SubjectKind::Uscc, uscc)
    }

    fn identify(&mut self, field: Option<&Field>, kind: SubjectKind, text: &str) -> Option<SubjectId> {
        match SubjectId::parse_as(kind, text) {
            Ok(id) => Some(id),
            Err(why) => {
                self.fault(field, why.code(), &why.zh(), &why.to_string());
                None
            }
        }
    }

    /// The typed value of a cleaned cell that is not empty.
    fn value(&mut self, field: &Field, text: &str) -> Option<Value> {
        match &field.ty {
            FieldType::Text { max } => {
                let len = text.chars().count();
                if len > usize::from(*max) {
                    let zh = format!("有{len}个字，超过上限{max}");
                    self.fault(
                        Some(field),
                        "text_too_long",
                        &zh,
                        &format!("has {len} characters, more than {max}"),
                    );
                    return None;
                }
                // The trap of slot _5, whichever way the number came here: it would be published.
                let open = field.class == crate::catalog::FieldClass::Public && field.id != self.item.key;
                if open && len == 18 && SubjectId::parse(text).is_ok_and(|id| id.is_natural_person()) {
                    let zh = "填写的是公民身份号码，而此列会公示";
                    self.fault(
                        Some(field),
                        "resident_number_misplaced",
                        zh,
                        "is a resident number in a public column",
                    );
                    return None;
                }
                Some(Value::Text(text.to_owned()))
            }
            FieldType::Date => {
                let date = Date::parse(text);
                if date.is_none() {
                    let zh = "不是有效日期，应为YYYY/MM/DD（长期填2099/12/31）";
                    self.fault(
                        Some(field),
                        "date_invalid",
                        zh,
                        "is no date; write YYYY/MM/DD (2099/12/31 for long term)",
                    );
                }
                date.map(Value::Date)
            }
            FieldType::Amount => {
                let amount = Amount::parse(text);
                if amount.is_none() && text.contains(['元', '万', '¥', '￥']) {
                    let zh = "只填数字，单位固定为万元：2000元填0.2";
                    let en = "write the bare number; the unit is 10,000 yuan, so 2000 yuan is 0.2";
                    self.fault(Some(field), "amount_unit", zh, en);
                } else if amount.is_none() {
                    let zh = "不是有效金额：单位万元，至多12位整数、6位小数，不加千分位";
                    let en = "is no amount: unit 10,000 yuan, at most 12 digits and 6 decimals, no grouping";
                    self.fault(Some(field), "amount_invalid", zh, en);
                }
                amount.map(Value::Amount)
            }
            FieldType::Integer => {
                let digits = text.len() <= INTEGER_DIGITS_MAX && text.bytes().all(|b| b.is_ascii_digit());
                let number = digits.then(|| text.parse().ok()).flatten();
                if number.is_none() {
                    self.fault(
                        Some(field),
                        "integer_invalid",
                        "应为非负整数",
                        "must be a whole number without sign",
                    );
                }
                number.map(Value::Integer)
            }
            FieldType::Code(list) => {
                let allowed = |part: &str| list.iter().any(|entry| matches_code(entry, part));
                let good = if field.several { text.split(';').all(allowed) } else { allowed(text) };
                if !good {
                    let joined = if field.several { "（可用;连接多项）" } else { "" };
                    let zh = format!("不在代码表内，可填：{}{joined}", list.join("、"));
                    self.fault(
                        Some(field),
                        "code_unknown",
                        &zh,
                        &format!("must be of the list: {}", list.join(", ")),
                    );
                    return None;
                }
                Some(Value::Text(text.to_owned()))
            }
            FieldType::Uscc if field.filler && text == USCC_SENTINEL => Some(Value::Text(text.to_owned())),
            FieldType::Uscc => self
                .identify(Some(field), SubjectKind::Uscc, text)
                .map(|id| Value::Text(id.as_str().to_owned())),
            FieldType::Subject => match SubjectId::parse(text) {
                Ok(id) => Some(Value::Text(id.as_str().to_owned())),
                Err(why) => {
                    self.fault(Some(field), why.code(), &why.zh(), &why.to_string());
                    None
                }
            },
        }
    }

    fn mismatch(&mut self, field: Option<&Field>, zh: &str, en: &str) {
        self.fault(field, "subject_kind_mismatch", zh, en);
    }

    fn fault(&mut self, field: Option<&Field>, code: &'static str, zh: &str, en: &str) {
        let (column, zh, en) = match field {
            Some(field) => (
                field.column.clone(),
                format!("{}（{}）：{zh}", field.name, field.column),
                format!("`{}`: {en}", field.column),
            ),
            None => (String::new(), zh.to_owned(), en.to_owned()),
        };
        self.errors.push(RowError { row: self.row, column, code, zh, en });
    }
}

/// Whether a cell says nothing. Databases export `NULL` and `\N` for it.
fn is_blank(cell: &str) -> bool {
    let cell = cell.trim();
    cell.is_empty() || matches!(cell, "NULL" | "null" | "\\N" | "\\n") || cell.chars().all(is_void)
}

/// `entry` as the catalog lists it: a value, or with a final `-` a family that any text may specify.
fn matches_code(entry: &str, text: &str) -> bool {
    match entry.strip_suffix('-') {
        Some(family) => text == family || text.strip_prefix(entry).is_some_and(|rest| !rest.is_empty()),
        None => text == entry,
    }
}

/// Whether a normalised heading, not of the catalog, is one of the 2016 layout or a bare numbered code.
fn is_2016(heading: &str) -> bool {
    let numbered = heading
        .split_once("代码")
        .is_some_and(|(_, rest)| rest.trim_start_matches('_').starts_with(|c: char| c.is_ascii_digit()));
    numbered || HEADINGS_2016.contains(&heading)
}

/// A heading as errors show it: without control characters, cut.
fn shown(heading: &str) -> String {
    normalize_text(heading).chars().take(HEADING_SHOWN_CHARS).collect()
}

/// The heading of least edit distance, if at most a third of its characters differ.
fn nearest<'a>(heading: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let length = heading.chars().count();
    let bound = (length / 3).max(1);
    let near = known.filter(|k| k.chars().count().abs_diff(length) <= bound);
    let best = near.map(|k| (edit_distance(heading, k), k)).min_by_key(|(distance, _)| *distance)?;
    (best.0 <= bound).then_some(best.1)
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Headings that only the 2016 layout has (docs/SOURCES.md), normalised.
const HEADINGS_2016: [&str; 12] = [
    "项目名称",
    "审批类别",
    "许可截止期",
    "行政许可编码",
    "处罚名称",
    "处罚类别1",
    "处罚类别2",
    "处罚事由",
    "处罚结果",
    "公示期限",
    "地方编码",
    "数据更新时间戳",
];

/// Names of the resident identity card in 证件类型. The foreigners' 外国人永久居留身份证 is another document.
const RESIDENT_DOCUMENTS: [&str; 4] = ["身份证", "居民身份证", "中华人民共和国居民身份证", "二代居民身份证"];

/// An i64 holds every number of 18 digits.
const INTEGER_DIGITS_MAX: usize = 18;

/// Longer than every heading of the catalog, and short enough for one line of a terminal.
pub const HEADING_SHOWN_CHARS: usize = 40;

#[cfg(test)]
mod tests;
