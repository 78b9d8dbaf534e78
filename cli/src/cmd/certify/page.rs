//! The page a person prints, and reading it again: one file, no script, nothing loaded from elsewhere.

use credit::{catalog::Catalog, rules::RuleBook, subject::SubjectId, value::Date};
use exchange::{
    certificate::{About, RepairCode, RepairStatement},
    registry::Registry,
};

use super::{by, effect, name_of, source, to_text};
use crate::code;

const PAGE: &str = include_str!("page.html");

/// Label of the subject's name, the one row that nobody signs.
const NAME: &str = "申请人";
const DOCUMENT: &str = "决定书文号";
const ITEM: &str = "信息类别";

/// What stands on the page besides the statement.
pub(super) struct Shown {
    /// Name of the subject, as the operator typed it.
    pub(super) name: Option<String>,
    /// What the statement commits to.
    pub(super) about: About,
}

fn day(date: Date) -> String {
    let (year, month, day) = date.parts();
    format!("{year}年{month}月{day}日")
}

/// The rows of the table: label and text.
pub(super) fn rows(
    code: &RepairCode,
    said: &RepairStatement,
    shown: &Shown,
    registry: &Registry,
) -> Vec<(&'static str, String)> {
    let (decision, about) = (&said.decision, &shown.about);
    let mut rows = Vec::new();
    rows.extend(shown.name.clone().map(|name| (NAME, name)));
    rows.extend([
        (about.subject.kind().zh(), about.subject.as_str().to_owned()),
        (DOCUMENT, about.document.clone()),
        (ITEM, item_text(about)),
    ]);
    if let Some(facts) = &said.facts {
        rows.extend(facts.body.clone().map(|body| ("认定单位", body)));
        rows.extend(facts.decided.map(|date| ("处罚（认定）日期", day(date))));
        rows.extend(facts.published.map(|date| ("公示日期", format!("{}{}", day(date), by(facts)))));
        rows.extend(facts.tier.map(|tier| ("失信程度", tier.zh().to_owned())));
    }
    let moment = |at| day(Date::from_timestamp(at));
    let case = match (&decision.case, decision.recognises()) {
        (Some(case), _) => case.to_string(),
        (None, true) => "（互认，无本平台案件）".to_owned(),
        (None, false) => "（无）".to_owned(),
    };
    rows.push(("案件编号", case));
    rows.extend(said.applied_at.map(|at| ("申请日期", moment(at))));
    rows.extend(said.accepted_at.map(|at| ("受理日期", moment(at))));
    rows.push(("修复决定平台", name_of(registry, code.statement.issuer())));
    let decided = if decision.recognises() { "互认日期" } else { "决定日期" };
    rows.extend([
        (decided, moment(decision.decided_at)),
        ("依据", ground(said)),
        ("记录编号", decision.record.to_string()),
        ("登记表", format!("{} 第{}版", registry.federation, said.registry)),
        ("登记表摘要", said.registry_digest.to_string()),
    ]);
    rows
}

fn item_text(about: &About) -> String {
    let catalog = Catalog::builtin();
    let name = catalog.item(&about.item).map_or("", |item| &item.name);
    format!("{name}（{}）", about.item)
}

/// The order decided under, with its id here and what it demands of a matter of this gravity.
fn ground(said: &RepairStatement) -> String {
    let rule = &said.decision.rule;
    if said.decision.recognises() {
        return rule.clone();
    }
    if rule.is_empty() {
        return "（作出决定时无适用的规则集）".to_owned();
    }
    let tier = said.facts.as_ref().and_then(|facts| facts.tier);
    let book = RuleBook::builtin();
    let months = tier.and_then(|tier| book.rule_of_set(rule, tier)?.min_months);
    let months = months.map_or_else(String::new, |months| format!("，最短公示期{months}个月"));
    format!("{}（规则集 {rule}{months}）", source(rule))
}

/// What the page says in whole sentences. HTML.
fn words(said: &RepairStatement, registry: &Registry) -> String {
    let decision = &said.decision;
    if let Some(because) = &decision.refused {
        let barred = because.barred_until.map_or_else(String::new, |last| {
            format!("因提供虚假材料或者违背承诺，至{}止不得再次申请信用修复。", day(last))
        });
        let what = if said.declined { "不予受理" } else { "不予信用修复" };
        // Neither terms nor addressees of a remedy are in the sources (docs/SOURCES.md), so none is made up.
        return format!(
            "<p>上述失信信息的信用修复申请，经本单位审查，{what}。理由：{}。{barred}该信息的状态不变。</p><p>不服本决定的救济途径（行政复议、行政诉讼）与期限，由作出本决定的单位依法另行书面告知，本页不代替该告知。办理信用修复不收取任何费用。</p>",
            escaped(because.reason.trim_end_matches('。'))
        );
    }
    let follow = "收到本决定的各平台和曾取得该信息的机构应当同步处理。";
    let first = if decision.recognises() {
        let other = said.recognised.as_ref().map(|other| name_of(registry, other.as_str()));
        let other = other.unwrap_or_else(|| "同一地区的另一平台".to_owned());
        format!(
            "上述失信信息，已由{}准予信用修复。本单位对该结果予以互认，未另行审查；自互认之日起，该信息在本单位的状态为“已修复”。{follow}",
            escaped(&other)
        )
    } else {
        let effect = effect(said).unwrap_or_else(|| format!("按规则集 {} 办理", decision.rule));
        format!(
            "上述失信信息，经本单位审查，符合规定的信用修复条件，准予信用修复。自决定之日起，对该信息{}；{follow}",
            escaped(&effect)
        )
    };
    format!("<p>{first}</p><p>信用修复不收取任何费用。特此证明。</p>")
}

/// The page; `None` when the code is too long to be drawn.
pub(super) fn write(
    code: &RepairCode,
    said: &RepairStatement,
    shown: &Shown,
    registry: &Registry,
) -> Option<String> {
    let (authority, text) = (code.statement.issuer(), to_text(code));
    let rows: String = rows(code, said, shown, registry)
        .iter()
        .map(|(label, value)| {
            // Ids are long: in a narrow face each stays on one line.
            let id = value.len() >= 32 && value.bytes().all(|b| b.is_ascii_hexdigit());
            let class = if id { " class=\"id\"" } else { "" };
            format!("<tr><th>{label}</th><td{class}>{}</td></tr>", escaped(value))
        })
        .collect();
    let (title, kind) = match (&said.decision.refused, said.decision.recognises()) {
        (Some(_), _) if said.declined => ("信用修复申请不予受理证明", "不予受理决定"),
        (Some(_), _) => ("不予信用修复证明", "不予信用修复决定"),
        (None, true) => ("信用修复证明", "互认信用修复结果"),
        (None, false) => ("信用修复证明", "准予信用修复决定"),
    };
    let index = said.decision.index;
    let parts = [
        ("{title}", title.to_owned()),
        ("{kind}", kind.to_owned()),
        ("{rows}", rows),
        ("{words}", words(said, registry)),
        ("{authority}", escaped(&name_of(registry, authority))),
        ("{issued}", day(Date::from_timestamp(code.statement.issued_at()))),
        ("{number}", format!("{} 状态日志序号 {index}", escaped(authority))),
        ("{drawing}", code::svg(&text)?),
        ("{code}", escaped(&text)),
    ];
    // Filled place by place, so that no value is read as a place of its own.
    let (mut page, mut rest) = (String::new(), PAGE);
    while let Some((at, (place, value))) =
        parts.iter().filter_map(|part| Some((rest.find(part.0)?, part))).min_by_key(|(at, _)| *at)
    {
        page.push_str(&rest[..at]);
        page.push_str(value);
        rest = &rest[at + place.len()..];
    }
    page.push_str(rest);
    Some(page)
}

/// A page as it was found: the text of its code and its rows.
pub(super) struct Found {
    /// The text of the code.
    pub(super) text: String,
    /// Label and text of each row.
    pub(super) rows: Vec<(String, String)>,
}

/// Reads a page; `None` for other files.
pub(super) fn read(bytes: &[u8]) -> Option<Found> {
    let html = core::str::from_utf8(bytes).ok()?;
    let (_, text) = html.split_once("<code>")?;
    let (text, _) = text.split_once("</code>")?;
    let mut rows = Vec::new();
    let mut rest = html;
    while let Some((_, row)) = rest.split_once("<tr><th>") {
        let (label, row) = row.split_once("</th><td")?;
        let (_, row) = row.split_once('>')?;
        let (value, row) = row.split_once("</td></tr>")?;
        rows.push((unescaped(label), unescaped(value)));
        rest = row;
    }
    Some(Found { text: unescaped(text), rows })
}

impl Found {
    fn row(&self, label: &str) -> Option<&str> {
        self.rows.iter().find(|(known, _)| known == label).map(|(_, value)| value.as_str())
    }

    /// Whom and what the page names; `None` where one of the three is missing or is nothing this build knows.
    pub(super) fn shown(&self) -> Option<Shown> {
        let known = |label: &str| ["统一社会信用代码", "公民身份号码"].contains(&label);
        let (_, code) = self.rows.iter().find(|(label, _)| known(label))?;
        let subject = SubjectId::parse(code).ok()?;
        let document = self.row(DOCUMENT)?.to_owned();
        let (_, item) = self.row(ITEM)?.trim_end_matches('）').rsplit_once('（')?;
        let item = credit::id::ItemId::parse(item)?;
        Some(Shown { name: self.row(NAME).map(str::to_owned), about: About { item, document, subject } })
    }
}

/// A text as HTML shows it, in an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Marks that turn the direction of writing could make a name read as another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// What [`escaped`] has written.
fn unescaped(text: &str) -> String {
    let marks = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    marks.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_types_stays_text_on_the_page() {
        let typed = "<script>alert(\"1\")</script> & 'x'\u{202e}\n";
        let written = escaped(typed);
        assert_eq!(written, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39; ");
        assert_eq!(unescaped(&written), "<script>alert(\"1\")</script> & 'x' ");
        assert_eq!(unescaped("&amp;lt;"), "&lt;");
    }

    #[test]
    fn the_page_loads_nothing() {
        for word in ["<script", "http:", "https:", "src=", "@import", "url("] {
            assert!(!PAGE.contains(word), "{word}");
        }
        for place in ["{rows}", "{words}", "{authority}", "{issued}", "{number}", "{drawing}", "{code}"] {
            assert_eq!(PAGE.matches(place).count(), 1, "{place}");
        }
    }
}
