//! Synthetic sample data: the files that `xinqiao demo` and the tests hand in, as departments would.
//!
//! Everything in them is plainly fictitious: names say 虚构, and every credit code has sound check digits but an
//! organisation code that begins with `Y`, which is not in use. No row is about a natural person, because a made-up
//! resident number with a right check digit may be somebody's.
//!
//! *Not here*: files on disk, clocks, randomness (all is a function of the arguments), and what becomes of the files.
//! `rows` writes the cells of one sound row; this file picks subjects and dates, damages rows and knows the story.

use credit::{
    calendar::Calendar,
    catalog::{Catalog, Item},
    id::{ItemId, MemberId, SourceId},
    rules::RuleBook,
    subject::{SubjectId, USCC_SENTINEL, uscc_from_parts},
    value::Date,
};

use rows::{Cells, Matter, SUBJECT};

// The paths are the usual ones. Stated, they also hold where another crate's tests take this file in by its path,
// which is the only way to use a module of a binary.
#[path = "sample/rows.rs"]
mod rows;
#[path = "sample/sandbox.rs"]
pub(crate) mod sandbox;
#[cfg(test)]
#[path = "sample/tests.rs"]
mod tests;

/// A file as one department hands it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SampleFile {
    /// The department's account at its node.
    pub source: SourceId,
    /// What the file holds.
    pub item: ItemId,
    /// File name, ASCII, unique among the files of all members.
    pub name: String,
    /// CSV in UTF-8, UTF-8 with byte order mark, or GBK.
    pub bytes: Vec<u8>,
    /// What `credit::csv::read` says of it.
    pub expect: Expected,
}

/// What reading a file must give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Rows that give a record.
    pub accepted: u64,
    /// Rows that do not.
    pub rejected: u64,
    /// Accepted rows with a cell that normalisation changed. No rejected row has one.
    pub normalised: u64,
    /// Line (from 1, the heading is line 1) and row error code of every error, in order; one per rejected row.
    pub damage: Vec<(u32, &'static str)>,
}

/// Who the demonstration is about: a company of one region with a penalty in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Story {
    /// A company registered in Jiangsu: penalised in `sh`; taxes, social insurance, utilities and registration in
    /// `js`; taxes and an honour in `zj`.
    pub subject: SubjectId,
    /// Its name.
    pub name: String,
    /// The number of the penalty as written on the decision, already in normal form.
    pub penalty_document: String,
    /// The member whose body decided: `sh`.
    pub penalty_authority: MemberId,
    /// `CF`.
    pub penalty_item: ItemId,
    /// Another company registered in Jiangsu, with clean records in `js` only.
    pub second_subject: SubjectId,
}

/// The credit codes of the deciding bodies whose records `member` is the authority for; empty for a member without
/// sample data. No two members share one. None follows the rules of market regulation in its penalties: the only
/// body that penalises is the transport office.
pub(crate) fn bodies(member: &str) -> Vec<String> {
    let place = PLACES.iter().find(|place| place.member == member);
    place.map_or_else(Vec::new, |place| (0..BODIES.len()).map(|at| place.body_code(at)).collect())
}

/// The files of `member`'s departments, about `records` rows together.
///
/// Shape: empty for a member without sample data. The story's rows come on top and are there whatever `records` is.
/// From 1 on every item of the catalog has at least one row, so small numbers give about a dozen rows. A file has at
/// most [`FILE_ROWS_MAX`] rows, a longer one is cut. From its eighth row on a file has damaged rows, one in ten.
/// Units: `today` is the day of submission; most decisions lie within the seven working days before it, some earlier.
pub(crate) fn files(member: &str, seed: u64, records: usize, today: Date) -> Vec<SampleFile> {
    let Some(place) = PLACES.iter().find(|place| place.member == member) else { return Vec::new() };
    let maker = Maker::new(seed, today);
    let mut files = Vec::new();
    for (at, kind) in KINDS.iter().enumerate() {
        let share = if records == 0 { 0 } else { (records * kind.share / 100).max(1) };
        let mut rng = Rng::new(seed ^ place.salt() ^ ((at as u64 + 1) << 32));
        let run = Run { place, kind, at, records };
        let mut story = maker.story_rows(place, kind);
        let mut made = 0;
        let mut part = 1;
        while made < share || !story.is_empty() {
            let upto = share.min(made + FILE_ROWS_MAX - story.len());
            let mut sheet = Sheet::new(&maker, kind, upto - made >= DAMAGED_FROM);
            for cells in story.drain(..) {
                sheet.push(cells, None, false);
            }
            for (row, number) in (made..upto).enumerate() {
                maker.bulk_row(&mut sheet, &run, row, number + 1, &mut rng);
            }
            let name = format!("{}-{}-{part:02}.csv", place.member, kind.item.to_ascii_lowercase());
            files.push(sheet.finish(BODIES[kind.body].source, name, kind.form));
            (made, part) = (upto, part + 1);
        }
    }
    files
}

/// Who and what the demonstration is about. The records themselves are in [`files`] of the same seed and day.
pub(crate) fn story(seed: u64, today: Date) -> Story {
    let maker = Maker::new(seed, today);
    let (first, second) = maker.protagonists();
    Story {
        subject: first.id,
        name: first.name,
        penalty_document: maker.story_penalty(&PLACES[SH]).document,
        penalty_authority: known(MemberId::parse(PLACES[SH].member)),
        penalty_item: known(ItemId::parse("CF")),
        second_subject: second.id,
    }
}

/// The story's penalty once more, handed in by another department of `sh` in another writing: byte order mark,
/// Chinese headings, lower-case codes, the number full-width with spaces. Only its remark (备注) says something else,
/// so it is an amendment of the same record and neither a duplicate nor a second penalty.
pub(crate) fn again(seed: u64, today: Date) -> SampleFile {
    let maker = Maker::new(seed, today);
    let kind = &KINDS[0];
    let mut sheet = Sheet::new(&maker, kind, false);
    let mut cells = maker.story_penalty_cells();
    let document = maker.story_penalty(&PLACES[SH]).document;
    let document = document.replace('〔', " [").replace('〕', "] ");
    cells.set("WSH", wide(&document).replace('\u{ff3b}', "\u{3000}\u{ff3b}"));
    for code in [SUBJECT, "CFJGDM", "SJLYDM"] {
        let lower = cells.get(code).to_ascii_lowercase();
        cells.set(code, lower);
    }
    cells.set("BZ", "罚没款已缴清，由政务服务部门补充报送");
    sheet.push(cells, None, true);
    let form = Form { chinese: true, encoding: Encoding::Utf8Bom };
    sheet.finish("service-hall", format!("{}-cf-again.csv", PLACES[SH].member), form)
}

/// Rows of one file: about 20 MB of penalties, well under what intake reads.
pub(crate) const FILE_ROWS_MAX: usize = 20_000;

/// A file with fewer generated rows has no damaged one.
const DAMAGED_FROM: usize = 8;

/// A region with sample data.
struct Place {
    member: &'static str,
    region: &'static str,
    /// How document numbers call it.
    short: &'static str,
    /// How its bodies begin their names.
    town: &'static str,
    /// Where its companies are registered.
    districts: &'static [&'static str],
}

impl Place {
    fn body_code(&self, at: usize) -> String {
        known(uscc_from_parts("11", self.region, SERIAL_BASE + at as u64 + 1)).as_str().to_owned()
    }

    fn body_name(&self, at: usize) -> String {
        format!("{}{}（虚构）", self.town, BODIES[at].name)
    }

    /// The `n`-th company, the same whoever asks. Every seventh is an individual business if those are `allowed`.
    fn company(&self, n: u64, allowed: bool) -> Company {
        let n = if n % 7 == 6 && !allowed { n + 1 } else { n };
        let district = self.districts[n as usize % self.districts.len()];
        let (registrar, trade) = match n % 7 {
            6 => ("92", "便利店"),
            at => ("91", TRADES[at as usize]),
        };
        Company {
            id: known(uscc_from_parts(registrar, district, SERIAL_BASE + COMPANIES_FROM + n)),
            name: format!("示例{n:04}号{trade}（虚构）"),
            number: n,
            district,
            individual: registrar == "92",
        }
    }

    fn salt(&self) -> u64 {
        self.member.bytes().fold(0, |salt, b| salt * 257 + u64::from(b))
    }
}

/// A made-up company.
#[derive(Clone)]
struct Company {
    id: SubjectId,
    name: String,
    number: u64,
    district: &'static str,
    individual: bool,
}

/// A department that decides, and hands in what it decided.
struct Body {
    source: &'static str,
    name: &'static str,
}

/// How an item's files look and what can be wrong in them.
struct Kind {
    item: &'static str,
    /// Index into [`BODIES`].
    body: usize,
    /// Percent of all rows.
    share: usize,
    /// How its document numbers are called.
    word: &'static str,
    form: Form,
    /// A required column, for the row that lacks it.
    required: &'static str,
    /// An amount that every row has, for the row that writes a unit.
    amount: Option<&'static str>,
    /// Whether companies of other regions occur.
    across: bool,
    /// Whether individual businesses occur.
    individuals: bool,
}

#[derive(Clone, Copy)]
struct Form {
    /// Chinese headings instead of column codes.
    chinese: bool,
    encoding: Encoding,
}

#[derive(Clone, Copy)]
enum Encoding {
    Utf8,
    /// With Windows line ends, as spreadsheets write it.
    Utf8Bom,
    Gbk,
}

/// What is wrong with a row.
#[derive(Clone, Copy)]
enum Damage {
    CheckDigit,
    Sentinel,
    Duplicate,
    Unit,
    Day,
    Missing,
    Forbidden,
}

impl Damage {
    /// The row error code that reading gives.
    fn code(self) -> &'static str {
        match self {
            Self::CheckDigit => "uscc_check_digit",
            Self::Sentinel => "sentinel_not_allowed",
            Self::Duplicate => "duplicate_in_file",
            Self::Unit => "amount_unit",
            Self::Day => "date_invalid",
            Self::Missing => "required_missing",
            Self::Forbidden => "forbidden_field",
        }
    }

    /// The damage of the `turn`-th damaged row of a file.
    fn pick(kind: &Kind, turn: usize) -> Self {
        const ROTATION: [Damage; 6] = [
            Damage::CheckDigit,
            Damage::Duplicate,
            Damage::Unit,
            Damage::Day,
            Damage::Sentinel,
            Damage::Missing,
        ];
        match ROTATION[turn % ROTATION.len()] {
            Self::Unit if kind.amount.is_none() => Self::Day,
            damage => damage,
        }
    }
}

/// One kind's rows at one member.
struct Run<'a> {
    place: &'a Place,
    kind: &'a Kind,
    /// Index of `kind`: damage begins with another fault in each, so that small amounts show them all.
    at: usize,
    /// Rows of all kinds.
    records: usize,
}

/// Everything that rows are made of.
struct Maker {
    catalog: Catalog,
    rules: RuleBook,
    calendar: Calendar,
    seed: u64,
    today: Date,
}

impl Maker {
    fn new(seed: u64, today: Date) -> Self {
        let (catalog, rules, calendar) = (Catalog::builtin(), RuleBook::builtin(), Calendar::builtin());
        Self { catalog, rules, calendar, seed, today }
    }

    fn item(&self, kind: &Kind) -> &Item {
        known(ItemId::parse(kind.item).and_then(|id| self.catalog.item(&id)))
    }

    /// A working day so many days before today, or the last one before that.
    fn working_day_before(&self, days: u64) -> Date {
        let mut day = self.today.plus_days(-(days as i32));
        while !self.calendar.is_working_day(day) {
            day = day.plus_days(-1);
        }
        day
    }

    /// A document number. Its first four digits follow from the seed, so that runs rarely share one.
    fn document(&self, place: &Place, word: &str, decided: Date, number: usize) -> String {
        let run = Rng::new(self.seed).next() % 10_000;
        format!("示{}{word}〔{}〕{run:04}{number:05}号", place.short, decided.year())
    }

    /// Adds the generated row `number` of a run; `row` counts from 0 in the file. Two rows in ten are not as they
    /// should be: one is written differently, one is damaged.
    fn bulk_row<'a>(
        &'a self,
        sheet: &mut Sheet<'a>,
        run: &Run<'_>,
        row: usize,
        number: usize,
        rng: &mut Rng,
    ) {
        let Run { place, kind, at, records } = *run;
        let damage = (row % 10 == 7).then(|| match kind.item {
            "GYHD" => Damage::Forbidden,
            _ => Damage::pick(kind, row / 10 + at),
        });
        let home = if kind.across && rng.below(6) == 0 { &PLACES[rng.index(PLACES.len())] } else { place };
        let individuals = kind.individuals && !matches!(damage, Some(Damage::Sentinel));
        let company = home.company(rng.below(records as u64 / 4 + 5) + 1, individuals);
        let back = if rng.below(12) == 0 { 15 + rng.below(60) } else { rng.below(7) };
        let decided = self.working_day_before(back);
        let document = self.document(place, kind.word, decided, number);
        let matter = Matter { company: &company, document, decided, choice: rng.next() };
        let mut cells = self.cells(place, kind, &matter);
        match damage {
            Some(Damage::CheckDigit) => {
                let code = company.id.as_str();
                cells.set(SUBJECT, format!("{}{}", &code[..17], if code.ends_with('0') { '1' } else { '0' }));
            }
            Some(Damage::Sentinel) => {
                cells.set(SUBJECT, USCC_SENTINEL);
                if cells.has("XDR_GSZC") {
                    // With the filler a registration number is due; without one there would be a second error.
                    cells.set("XDR_GSZC", format!("{}{:09}", company.district, company.number));
                }
            }
            Some(Damage::Duplicate) => {
                if let Some(last) = &sheet.last_sound {
                    cells = last.clone();
                }
            }
            Some(Damage::Unit) => cells.set(kind.amount.unwrap_or_default(), "2000元"),
            Some(Damage::Day) => cells.set("JDRQ", format!("{}/02/30", self.today.year())),
            Some(Damage::Missing) => cells.set(kind.required, ""),
            Some(Damage::Forbidden) => cells.forbidden = "无".into(),
            None if row % 10 == 4 => {
                match rng.below(4) {
                    0 => cells.set(SUBJECT, wide(company.id.as_str())),
                    1 => cells.set(SUBJECT, company.id.as_str().to_ascii_lowercase()),
                    2 => cells.set("JDRQ", wide(cells.get("JDRQ"))),
                    _ => cells.set("WSH", matter.document.replace('〔', "【").replace('〕', "】 ")),
                }
                sheet.push(cells, None, true);
                return;
            }
            None => {}
        }
        sheet.push(cells, damage, false);
    }

    /// The company of the story and the clean one beside it.
    fn protagonists(&self) -> (Company, Company) {
        let n = Rng::new(self.seed ^ 0x5707).below(9_000) + 1;
        let company = |n: u64, trade: &str| {
            let district = PLACES[JS].districts[0];
            Company {
                id: known(uscc_from_parts("91", district, SERIAL_BASE + PROTAGONISTS_FROM + n)),
                name: format!("示例{n:04}号{trade}有限公司（虚构）"),
                number: n,
                district,
                individual: false,
            }
        };
        (company(n, "精密制造"), company(n + 1, "环境工程"))
    }

    /// Number and day of the story's penalty: far enough back that the three months of a general matter are over.
    fn story_penalty(&self, sh: &Place) -> Penalty {
        let decided = self.working_day_before(STORY_PENALTY_DAYS);
        Penalty { document: self.document(sh, "交罚例", decided, 1), decided }
    }

    fn story_penalty_cells(&self) -> Cells<'_> {
        let sh = &PLACES[SH];
        let (company, _) = self.protagonists();
        let Penalty { document, decided } = self.story_penalty(sh);
        let matter = Matter { company: &company, document, decided, choice: rows::CONFISCATION_AND_FINE };
        self.cells(sh, &KINDS[0], &matter)
    }

    /// The story's rows in the files of one kind at one member.
    fn story_rows(&self, place: &Place, kind: &Kind) -> Vec<Cells<'_>> {
        let (first, second) = self.protagonists();
        let companies: &[(&Company, usize)] = match (place.member, kind.item) {
            ("sh", "CF") => return vec![self.story_penalty_cells()],
            ("js", "NSXY" | "DJ") => &[(&first, 1), (&second, 1)],
            // Three months; water, electricity and gas.
            ("js", "SBJN" | "SDQ") => &[(&first, 3), (&second, 3)],
            ("zj", "NSXY" | "GLRY") => &[(&first, 1)],
            _ => &[],
        };
        let mut rows = Vec::new();
        for (company, count) in companies {
            for n in 0..*count {
                let decided = self.working_day_before(2);
                let word = format!("{}例", kind.word);
                let document = self.document(place, &word, decided, rows.len() + 1);
                // The third byte moves amounts, so that the two companies differ.
                let choice = rows::CLEAN + n as u64 + ((company.number & 0xff) << 16);
                let matter = Matter { company, document, decided, choice };
                rows.push(self.cells(place, kind, &matter));
            }
        }
        rows
    }
}

struct Penalty {
    document: String,
    decided: Date,
}

/// A file under construction, with what reading it must give.
struct Sheet<'a> {
    item: &'a Item,
    rows: Vec<Cells<'a>>,
    last_sound: Option<Cells<'a>>,
    /// Whether the file has a column that may not be collected.
    forbidden: bool,
    expect: Expected,
}

impl<'a> Sheet<'a> {
    fn new(maker: &'a Maker, kind: &Kind, damaged: bool) -> Self {
        let forbidden = damaged && kind.item == "GYHD";
        let (rows, expect) = (Vec::new(), Expected::default());
        Self { item: maker.item(kind), rows, last_sound: None, forbidden, expect }
    }

    fn push(&mut self, cells: Cells<'a>, damage: Option<Damage>, normalised: bool) {
        let line = self.rows.len() as u32 + 2;
        match damage {
            Some(damage) => {
                self.expect.rejected += 1;
                self.expect.damage.push((line, damage.code()));
            }
            None => {
                self.expect.accepted += 1;
                self.expect.normalised += u64::from(normalised);
                if !normalised {
                    self.last_sound = Some(cells.clone());
                }
            }
        }
        self.rows.push(cells);
    }

    fn finish(self, source: &str, name: String, form: Form) -> SampleFile {
        let end = if matches!(form.encoding, Encoding::Utf8Bom) { "\r\n" } else { "\n" };
        let mut text = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let quoted: Vec<_> = cells.map(quote).collect();
            text.push_str(&quoted.join(","));
            text.push_str(end);
        };
        let columns: Vec<usize> = rows::official(self.item).collect();
        let heading = |at: &usize| {
            let field = &self.item.fields[*at];
            if form.chinese { field.name.as_str() } else { field.column.as_str() }
        };
        line(&mut columns.iter().map(heading).chain(self.forbidden.then_some("宗教信仰")));
        for row in &self.rows {
            let cells = columns.iter().map(|at| row.at(*at));
            line(&mut cells.chain(self.forbidden.then_some(row.forbidden.as_str())));
        }
        let bytes = match form.encoding {
            Encoding::Utf8 => text.into_bytes(),
            Encoding::Utf8Bom => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            Encoding::Gbk => encoding_rs::GBK.encode(&text).0.into_owned(),
        };
        let source = known(SourceId::parse(source));
        SampleFile { source, item: self.item.id.clone(), name, bytes, expect: self.expect }
    }
}

/// splitmix64 (Steele, Lea, Flood 2014): every seed gives a full-period sequence, so small seeds are no worse.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0. The bias of the remainder is below 2^-40 here.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}

/// ASCII as it comes from an input method left in full-width mode.
fn wide(text: &str) -> String {
    let fold = |c: char| match c {
        '!'..='~' => char::from_u32(c as u32 + 0xfee0).unwrap_or(c),
        c => c,
    };
    text.chars().map(fold).collect()
}

fn quote(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

/// INVARIANT: every argument is built from the constants of this module, and the tests build every one.
fn known<T>(value: Option<T>) -> T {
    match value {
        Some(value) => value,
        None => unreachable!("sample constants are sound"),
    }
}

/// 30 × 31^7: organisation codes that begin with `Y`, which no registrar hands out.
const SERIAL_BASE: u64 = 30 * 31_u64.pow(7);
const COMPANIES_FROM: u64 = 1_000;
const PROTAGONISTS_FROM: u64 = 500_000_000;

/// More than three months, and short enough that on every day from 2026-09-01 the decision is not older than Order 36.
const STORY_PENALTY_DAYS: u64 = 150;

const TRADES: [&str; 6] =
    ["贸易有限公司", "科技有限公司", "物流有限公司", "建筑工程有限公司", "餐饮管理有限公司", "食品有限公司"];

const SH: usize = 0;
const JS: usize = 1;

const PLACES: [Place; 5] = [
    Place {
        member: "sh",
        region: "310000",
        short: "沪",
        town: "示例市",
        districts: &["310101", "310104", "310110", "310115"],
    },
    Place {
        member: "js",
        region: "320000",
        short: "苏",
        town: "示例市",
        districts: &["320505", "320102", "320213"],
    },
    Place {
        member: "zj",
        region: "330000",
        short: "浙",
        town: "示例市",
        districts: &["330106", "330203", "330402"],
    },
    Place {
        member: "ah",
        region: "340000",
        short: "皖",
        town: "示例市",
        districts: &["340104", "340202", "340503"],
    },
    Place {
        member: "cn.sh", region: "310105", short: "沪长", town: "示例市示例区", districts: &["310105"]
    },
];

const BODIES: [Body; 8] = [
    Body { source: "transport", name: "交通运输局" },
    Body { source: "market", name: "市场监督管理局" },
    Body { source: "tax", name: "税务局" },
    Body { source: "social-security", name: "人力资源和社会保障局" },
    Body { source: "court", name: "人民法院" },
    Body { source: "utilities", name: "公用事业服务局" },
    Body { source: "industry", name: "经济和信息化局" },
    Body { source: "civil-affairs", name: "民政局" },
];

const CODES: Form = Form { chinese: false, encoding: Encoding::Utf8 };
const NAMES: Form = Form { chinese: true, encoding: Encoding::Utf8 };

const fn kind(item: &'static str, body: usize, share: usize, word: &'static str, form: Form) -> Kind {
    Kind {
        item,
        body,
        share,
        word,
        form,
        required: "XDR_MC",
        amount: None,
        across: false,
        individuals: false,
    }
}

/// The first is CF, which the story's penalty belongs to. Shares add up to 100.
const KINDS: [Kind; 12] = [
    Kind {
        required: "WFXW",
        amount: Some("NR_FK"),
        across: true,
        individuals: true,
        ..kind("CF", 0, 20, "交罚", CODES)
    },
    Kind {
        required: "NR",
        across: true,
        individuals: true,
        ..kind("XK", 0, 15, "交许", Form { chinese: true, encoding: Encoding::Gbk })
    },
    Kind {
        required: "FRDB",
        amount: Some("ZCZB"),
        individuals: true,
        ..kind("DJ", 1, 10, "市监登", Form { chinese: false, encoding: Encoding::Utf8Bom })
    },
    Kind { required: "MC", ..kind("ZZ", 6, 7, "经信证", CODES) },
    Kind { required: "AY", amount: Some("BD"), across: true, ..kind("PJ", 4, 6, "民判", NAMES) },
    Kind { required: "YW", amount: Some("BD"), across: true, ..kind("ZX", 4, 4, "执信", NAMES) },
    Kind { required: "PJND", amount: Some("NSZE"), ..kind("NSXY", 2, 10, "税评", CODES) },
    Kind { required: "CBRS", amount: Some("JFJE"), ..kind("SBJN", 3, 10, "社缴", CODES) },
    Kind { required: "ZQ", amount: Some("JE"), individuals: true, ..kind("SDQ", 5, 8, "公用账", CODES) },
    Kind { required: "JB", across: true, ..kind("GLRY", 6, 4, "经信荣", NAMES) },
    kind("GYHD", 7, 3, "民公益", NAMES),
    Kind { required: "LRYY", individuals: true, ..kind("YCML", 1, 3, "市监异", CODES) },
];
