//! The cells of one sound row, item by item.
//!
//! *Not here*: which company and which day (`super`), and what is wrong with a row.

use credit::{
    catalog::Item,
    rules::{AuthorityKind, Penalty},
    value::{Amount, Date},
};

use super::{Company, Kind, Maker, Place};

/// The column that holds the company's credit code, without the item before it.
pub(super) const SUBJECT: &str = "XDR_SHXYM";

/// A [`Matter::choice`] that gives nothing to object to in taxes, insurance, utilities and registration. Its last two
/// bits and its third byte, which moves amounts, are still free.
pub(super) const CLEAN: u64 = 0;

/// The [`Matter::choice`] of a penalty 没收违法所得;罚款 of the general tier.
pub(super) const CONFISCATION_AND_FINE: u64 = 3 << 8;

/// What a row is about.
pub(super) struct Matter<'a> {
    /// The subject.
    pub(super) company: &'a Company,
    /// The document number in normal form.
    pub(super) document: String,
    /// The day of the decision.
    pub(super) decided: Date,
    /// Decides every detail: the two lowest bits which month or kind of utility, the others the rest.
    pub(super) choice: u64,
}

impl Matter<'_> {
    /// One of `list`; the first for [`CLEAN`]. Bytes of the choice are independent, so each column takes its own.
    fn one_of<'l>(&self, byte: u32, list: &[&'l str]) -> &'l str {
        list[(self.choice >> (8 * byte) & 0xff) as usize % list.len()]
    }

    /// A number in `from..from + span`; `from` for [`CLEAN`].
    fn number(&self, byte: u32, from: u64, span: u64) -> u64 {
        from + (self.choice >> (8 * byte) & 0xffff) % span
    }

    /// The month before the decision, or up to three earlier, as `YYYYMM`.
    fn month(&self) -> String {
        let (year, month, _) = self.decided.parts();
        let index = year * 12 + month as i32 - 2 - (self.choice & 3) as i32;
        format!("{:04}{:02}", index.div_euclid(12), index.rem_euclid(12) + 1)
    }
}

/// The cells of a row, in the order of the catalog.
#[derive(Clone)]
pub(super) struct Cells<'a> {
    item: &'a Item,
    values: Vec<String>,
    /// The cell of the column that may not be collected, in a file that has one.
    pub(super) forbidden: String,
}

impl<'a> Cells<'a> {
    fn new(item: &'a Item) -> Self {
        Self { item, values: vec![String::new(); item.fields.len()], forbidden: String::new() }
    }

    /// The cell at an index of the item's fields.
    pub(super) fn at(&self, at: usize) -> &str {
        &self.values[at]
    }

    /// Whether the item has the column `name`, written without the item: `XDR_MC`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// The cell in column `name`; empty if there is no such column.
    pub(super) fn get(&self, name: &str) -> &str {
        self.position(name).map_or("", |at| self.at(at))
    }

    /// Fills column `name`.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        let at = self.position(name);
        debug_assert!(at.is_some(), "{} has no column {name}", self.item.id);
        if let Some(at) = at {
            self.values[at] = value.into();
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        let id = self.item.id.as_str();
        let named = |column: &str| {
            let rest = column.strip_prefix(id).and_then(|rest| rest.strip_prefix('_'));
            rest == Some(name) || column == name
        };
        self.item.fields.iter().position(|field| named(&field.column))
    }
}

/// Indexes of the fields that files have: the official columns, without the catalog's own extensions of them.
pub(super) fn official(item: &Item) -> impl Iterator<Item = usize> {
    (0..item.fields.len()).filter(|at| !item.fields[*at].column.starts_with("X_"))
}

impl Maker {
    /// A sound row of `kind`, decided by the body of `place` that is responsible for it.
    pub(super) fn cells(&self, place: &Place, kind: &Kind, matter: &Matter<'_>) -> Cells<'_> {
        let mut cells = Cells::new(self.item(kind));
        let (body, code) = (place.body_name(kind.body), place.body_code(kind.body));
        cells.set("XDR_MC", &matter.company.name);
        cells.set(SUBJECT, matter.company.id.as_str());
        cells.set("WSH", &matter.document);
        let official = matches!(kind.item, "CF" | "XK");
        let day = |date: Date| match official {
            true => date.to_string().replace('-', "/"),
            false => date.to_string(),
        };
        cells.set("JDRQ", day(matter.decided));
        let authority = match kind.item {
            "CF" => ["CFJG", "CFJGDM"],
            "XK" => ["XKJG", "XKJGDM"],
            _ => ["JG", "JGDM"],
        };
        cells.set(authority[0], &body);
        cells.set(authority[1], &code);
        if official {
            let category =
                if matter.company.individual { "个体工商户" } else { "法人及非法人组织" };
            cells.set("XDR_LB", category);
            cells.set("FRDB", manager(matter.company));
            let source = if kind.item == "CF" { ["SJLY", "SJLYDM"] } else { ["LYDW", "LYDWDM"] };
            cells.set(source[0], &body);
            cells.set(source[1], &code);
        }
        match kind.item {
            "CF" => self.penalty(&mut cells, matter, day),
            "XK" => permit(&mut cells, matter, day),
            "DJ" => registration(&mut cells, matter),
            "ZZ" => qualification(&mut cells, matter),
            "PJ" => judgment(&mut cells, place, matter),
            "ZX" => self.enforcement(&mut cells, place, matter),
            "NSXY" => tax(&mut cells, matter),
            "SBJN" => insurance(&mut cells, matter),
            "SDQ" => utilities(&mut cells, matter),
            "GLRY" => honour(&mut cells, matter),
            "GYHD" => benefit(&mut cells, matter),
            "YCML" => abnormal(&mut cells, matter),
            // INVARIANT: `KINDS` has no other item.
            _ => unreachable!("no rows for {}", kind.item),
        }
        cells
    }

    fn penalty(&self, cells: &mut Cells<'_>, matter: &Matter<'_>, day: impl Fn(Date) -> String) {
        let kinds = matter.one_of(1, &PENALTIES);
        let fine = matter.number(3, 2, 300) * 1_000;
        let gain = matter.number(5, 1, 90) * 500;
        let mut content: Vec<String> = Vec::new();
        for kind in kinds.split(';') {
            content.push(match kind {
                "罚款" => format!("罚款{fine}元"),
                "没收违法所得" => format!("没收违法所得{gain}元"),
                "暂扣许可证件" => "暂扣道路运输经营许可证30日".into(),
                "责令停产停业" => "责令停业整顿15日".into(),
                other => other.into(),
            });
        }
        let act = matter
            .one_of(2, &["未按规定报送经营信息", "超出许可范围经营", "未按规定维护车辆", "转让许可证件"]);
        cells.set("WFXW", act);
        cells.set("SY", format!("经查，当事人{act}，违法事实清楚（本条为虚构示例）"));
        cells.set("YJ", "《示例市道路运输管理办法（虚构）》第十二条、第三十一条第一款");
        cells.set("CFLB", kinds);
        cells.set("NR", content.join("，"));
        if kinds.contains("罚款") {
            cells.set("NR_FK", in_ten_thousands(fine));
        }
        if kinds.contains("没收") {
            cells.set("NR_WFFF", in_ten_thousands(gain));
        }
        if kinds.contains("暂扣") {
            cells.set("NR_ZKDX", format!("道路运输经营许可证（虚构）第{:06}号", matter.company.number));
        }
        cells.set("YXQ", day(Date::LONG_TERM));
        // Publicity ends when the rules say so; under the rules that do not say, the cell stays empty.
        let (general, penalty) = (AuthorityKind::GENERAL, Penalty::of_kinds(kinds));
        let tier = self.rules.tier_of_penalty(general, Some(matter.decided), &penalty);
        let rule = self.rules.rule(general, matter.decided, tier);
        if let Some(end) = rule.ok().and_then(|rule| rule.publicity_end(matter.decided, matter.decided)) {
            cells.set("GSJZQ", day(end));
        }
    }

    fn enforcement(&self, cells: &mut Cells<'_>, place: &Place, matter: &Matter<'_>) {
        let sum = matter.number(3, 20, 4_000) * 1_000;
        cells.set("AH", case_number(place, matter, "执"));
        cells.set("YW", format!("支付货款{sum}元及利息"));
        cells.set("LX", matter.one_of(1, &["全部未履行", "部分未履行", "全部未履行", "全部已履行"]));
        cells.set("XW", matter.one_of(2, &["有履行能力而拒不履行生效法律文书确定义务", "违反财产报告制度"]));
        // Published some days after the decision, but not later than today.
        cells.set("FBRQ", matter.decided.plus_days(3).min(self.today).to_string());
        cells.set("BD", in_ten_thousands(sum));
    }
}

fn permit(cells: &mut Cells<'_>, matter: &Matter<'_>, day: impl Fn(Date) -> String) {
    let number = matter.number(1, 100_000, 60_000);
    cells.set("XKWS", "准予交通行政许可决定书");
    cells.set("XKLB", matter.one_of(3, &["普通", "普通", "核准", "其他-备案"]));
    cells.set("XKZS", "道路运输经营许可证（虚构）");
    cells.set("XKBH", format!("示运{number}"));
    cells.set(
        "NR",
        matter.one_of(4, &["道路普通货物运输", "城市配送", "机动车维修（一类）", "道路货物运输站场经营"]),
    );
    cells.set("YXQZ", day(matter.decided));
    let long = matter.one_of(5, &["", "", "长期"]) == "长期";
    let end = if long { Date::LONG_TERM } else { matter.decided.plus_months(48).plus_days(-1) };
    cells.set("YXQZI", day(end));
    cells.set("ZT", matter.one_of(6, &["1", "1", "1", "1", "2"]));
}

fn registration(cells: &mut Cells<'_>, matter: &Matter<'_>) {
    let kind = if matter.company.individual { "个体工商户" } else { "有限责任公司" };
    cells.set("LX", kind);
    cells.set("FRDB", manager(matter.company));
    cells.set("ZCZB", in_ten_thousands(matter.number(1, 500, 2_000) * 10_000));
    cells.set("CLRQ", matter.decided.plus_days(-(matter.number(2, 1_200, 3_000) as i32)).to_string());
    cells.set("YXQZ", Date::LONG_TERM.to_string());
    cells.set("ZS", format!("示例市示例路{}号（虚构）", matter.company.number));
    cells.set("JYFW", "一般项目：货物销售；技术服务（依法须经批准的项目除外）");
    cells.set("ZT", matter.one_of(4, &["存续", "存续", "存续", "在业", "歇业", "注销"]));
}

fn qualification(cells: &mut Cells<'_>, matter: &Matter<'_>) {
    let kind = matter.one_of(1, &["高新技术企业", "专精特新", "科技型中小企业", "其他-绿色工厂"]);
    cells.set("LX", kind);
    cells.set("MC", format!("示例市{}认定（虚构）", kind.trim_start_matches("其他-")));
    cells.set("DJ", matter.one_of(2, &["省级", "市级"]));
    cells.set("YXQZ", matter.decided.to_string());
    cells.set("YXQZI", matter.decided.plus_months(36).plus_days(-1).to_string());
    cells.set("ZT", "有效");
}

fn judgment(cells: &mut Cells<'_>, place: &Place, matter: &Matter<'_>) {
    let sum = matter.number(3, 10, 5_000) * 1_000;
    cells.set("AH", case_number(place, matter, "民初"));
    cells.set("AY", matter.one_of(1, &["买卖合同纠纷", "租赁合同纠纷", "承揽合同纠纷"]));
    cells.set("DW", matter.one_of(2, &["被告", "被告", "原告", "第三人"]));
    cells.set("JG_NR", format!("被告于判决生效之日起十日内支付{sum}元（本条为虚构示例）"));
    cells.set("BD", in_ten_thousands(sum));
    // A judgment takes effect when nobody appealed within fifteen days.
    cells.set("SXRQ", matter.decided.plus_days(16).to_string());
}

fn tax(cells: &mut Cells<'_>, matter: &Matter<'_>) {
    let grade = matter.one_of(1, &["A", "A", "B", "B", "M", "C", "D"]);
    let paid = matter.number(2, 320_000, 60_000) * 10;
    let bad = matches!(grade, "C" | "D");
    cells.set("PJND", (matter.decided.year() - 1).to_string());
    cells.set("DJ", grade);
    cells.set("NSZE", in_ten_thousands(paid));
    cells.set("QSJE", in_ten_thousands(if bad { matter.number(4, 5, 800) * 100 } else { 0 }));
    cells.set("XSSR", in_ten_thousands(paid * 18));
    cells.set("WFWZ", if bad { "1" } else { "0" });
}

fn insurance(cells: &mut Cells<'_>, matter: &Matter<'_>) {
    let people = matter.number(2, 46, 200);
    let state = matter.one_of(1, &["正常", "正常", "正常", "正常", "缓缴", "欠费"]);
    let due = people * 1_350;
    let (paid, owed) = if state == "正常" { (due, 0) } else { (0, due) };
    cells.set("YF", matter.month());
    cells.set("CBRS", people.to_string());
    cells.set("JFZT", state);
    cells.set("JFJE", in_ten_thousands(paid));
    cells.set("QFJE", in_ten_thousands(owed));
}

fn utilities(cells: &mut Cells<'_>, matter: &Matter<'_>) {
    // The two free bits choose the utility; a price per unit in yuan makes up the bill.
    let (what, price, first) =
        [("电", 1, 38_000), ("水", 5, 1_200), ("气", 4, 2_600)][(matter.choice & 3) as usize % 3];
    let used = matter.number(2, first, 9_000);
    let state = matter.one_of(1, &["正常", "正常", "正常", "正常", "正常", "欠费", "停供"]);
    let owed = if state == "正常" { 0 } else { used * price };
    let days = if state == "正常" { 0 } else { matter.number(4, 5, 90) };
    let (year, month, _) = matter.decided.parts();
    let last = year * 12 + month as i32 - 2;
    cells.set("LB", what);
    cells.set("ZQ", format!("{:04}{:02}", last.div_euclid(12), last.rem_euclid(12) + 1));
    cells.set("YL", used.to_string());
    cells.set("JE", in_ten_thousands(used * price));
    cells.set("JFZT", state);
    cells.set("QFJE", in_ten_thousands(owed));
    cells.set("QFTS", days.to_string());
}

fn honour(cells: &mut Cells<'_>, matter: &Matter<'_>) {
    let name = matter.one_of(1, &["质量标杆企业", "诚信示范企业", "和谐劳动关系企业"]);
    cells.set("MC", format!("示例市{name}（虚构）"));
    cells.set("JB", matter.one_of(2, &["市级", "省级", "区县级", "其他-行业"]));
    cells.set("NR", format!("授予“{name}”称号"));
    cells.set("YXQZI", matter.decided.plus_months(24).to_string());
}

fn benefit(cells: &mut Cells<'_>, matter: &Matter<'_>) {
    let kind = matter.one_of(1, &["慈善捐赠", "志愿服务"]);
    cells.set("LX", kind);
    cells.set("MC", "示例市社区助老活动（虚构）");
    match kind {
        "慈善捐赠" => cells.set("JE", in_ten_thousands(matter.number(2, 10, 500) * 1_000)),
        _ => cells.set("SC", matter.number(2, 8, 400).to_string()),
    }
}

fn abnormal(cells: &mut Cells<'_>, matter: &Matter<'_>) {
    let reason = ["未依照规定期限公示年度报告", "通过登记的住所或者经营场所无法联系"];
    cells.set("LRYY", matter.one_of(1, &reason));
    cells.set("LRRQ", matter.decided.to_string());
    cells.set("GSRQ", matter.decided.to_string());
}

/// A case number of the court. It stands in a text column, where the brackets that courts write are left alone.
fn case_number(place: &Place, matter: &Matter<'_>, what: &str) -> String {
    let number = matter.number(6, 1, 9_999);
    format!("（{}）示{}{what}{number}号", matter.decided.year(), place.short)
}

/// Who stands for the company; nobody is called so.
fn manager(company: &Company) -> String {
    format!("虚构负责人{:04}", company.number)
}

/// Yuan as the layouts want them: a bare number of 万元.
fn in_ten_thousands(yuan: u64) -> String {
    let amount = i64::try_from(yuan).ok().and_then(|yuan| Amount::from_fen(yuan.checked_mul(100)?));
    // INVARIANT: every sum here is far below the range of the layouts, N(18,6).
    amount.map_or_else(|| unreachable!("sample amounts are in range"), |amount| amount.to_string())
}

/// Kinds of penalties: the fourth is the story's; the second last is serious, the first minor.
const PENALTIES: [&str; 7] =
    ["警告", "罚款", "警告;罚款", "没收违法所得;罚款", "通报批评", "责令停产停业;罚款", "暂扣许可证件"];
