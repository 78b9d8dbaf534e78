//! Whose rules a decision falls under, told by the name of the deciding body (`authorities.csv`).

use crypto::codec::{Decode, Encode};

use crate::catalog::{CatalogError, Line, table};

/// Whose rules a decision falls under: the number of a line of `authorities.csv`. A kind that this build has no line for has
/// no rule set either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct AuthorityKind(#[n(0)] u8);

impl AuthorityKind {
    /// Any department without rules of its own: the orders of the NDRC.
    pub const GENERAL: Self = Self(0);
    /// Market regulation (市场监管): the orders of the SAMR.
    pub const SAMR: Self = Self(1);
}

#[derive(Clone, Debug)]
struct Kind {
    number: AuthorityKind,
    id: String,
    name: String,
    words: Vec<String>,
}

/// Every kind, in the order in which they are tried.
#[derive(Clone, Debug)]
pub(super) struct Authorities(Vec<Kind>);

const COLUMNS: [&str; 6] = ["number", "kind", "name", "words", "source", "confidence"];

impl Authorities {
    /// Reads `authorities.csv`. Errors: a malformed line, a number or a kind twice, a line after the one without words, or no
    /// such line.
    pub(super) fn parse(text: &str) -> Result<Self, CatalogError> {
        let mut kinds: Vec<Kind> = Vec::new();
        let mut last: Option<Line> = None;
        for line in table("authorities.csv", text, &COLUMNS)? {
            let kind = Kind {
                number: AuthorityKind(line.parse("number", |text| text.parse().ok())?),
                id: line.required("kind")?,
                name: line.required("name")?,
                words: line.get("words").split('|').filter(|w| !w.is_empty()).map(str::to_owned).collect(),
            };
            line.required("source")?;
            line.required("confidence")?;
            if kinds.iter().any(|known| known.number == kind.number) {
                return Err(line.error("number", "stands in another line"));
            }
            if kinds.iter().any(|known| known.id == kind.id) {
                return Err(line.error("kind", "stands in another line"));
            }
            if kinds.last().is_some_and(|before| before.words.is_empty()) {
                return Err(line.error("words", "are never tried after a line without words"));
            }
            kinds.push(kind);
            last = Some(line);
        }
        match last {
            Some(line) if kinds.last().is_none_or(|kind| !kind.words.is_empty()) => {
                Err(line.error("words", "the last line has none: every body has a kind"))
            }
            _ => Ok(Self(kinds)),
        }
    }

    /// The kind with this code.
    pub(super) fn by_id(&self, id: &str) -> Option<AuthorityKind> {
        self.0.iter().find(|kind| kind.id == id).map(|kind| kind.number)
    }

    /// The kind of a body.
    pub(super) fn of_body(&self, name: &str) -> AuthorityKind {
        let name = bare(name);
        let named = |kind: &&Kind| kind.words.is_empty() || kind.words.iter().any(|word| ends(name, word));
        self.0.iter().find(named).map_or(AuthorityKind::GENERAL, |kind| kind.number)
    }

    /// Code and Chinese name of a kind.
    pub(super) fn names(&self, kind: AuthorityKind) -> (String, String) {
        let known = self.0.iter().find(|k| k.number == kind);
        known.map_or_else(|| (kind.0.to_string(), kind.0.to_string()), |k| (k.id.clone(), k.name.clone()))
    }
}

/// A name without the brackets at its end, in which a body's other name stands: 市场监督管理局（知识产权局）.
fn bare(name: &str) -> &str {
    let inside = name.trim_end().strip_suffix(['）', ')']);
    inside.and_then(|rest| rest.rsplit_once(['（', '('])).map_or(name, |(before, _)| before).trim_end()
}

/// Whether a name ends with a word; with `A*B`, with `B` and `A` somewhere before it.
fn ends(name: &str, word: &str) -> bool {
    match word.split_once('*') {
        Some((before, end)) => name.strip_suffix(end).is_some_and(|rest| rest.contains(before)),
        None => name.ends_with(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::AUTHORITIES;

    #[test]
    fn a_body_is_told_by_its_name_and_every_body_has_a_kind() {
        let kinds = Authorities::parse(AUTHORITIES).unwrap();
        let of = |name| kinds.names(kinds.of_body(name)).0;
        assert_eq!(of("示例市市场监督管理局"), "samr");
        assert_eq!(of("示例区市场监管局"), "samr");
        for name in [
            "示例市市场监督管理局示例分局",
            "示例区市场监督管理局示例市场监督管理所",
            "示例市市场监督管理局执法总队",
            "示例市市场监督管理局（知识产权局）",
            "示例市市场监督管理局(知识产权局)",
            "示例区市场监管局 （食品安全委员会办公室） ",
            "示例市市场监管局执法总队",
            "示例区市场监管综合行政执法队",
            "示例市市场监管综合行政执法支队",
            "示例区市场监管综合行政执法大队",
            "示例市市场监管综合行政执法总队",
        ] {
            assert_eq!(of(name), "samr", "{name}");
        }
        for name in
            ["示例市文化旅游市场监管服务中心", "示例市市场监督管理学会", "示例市药品监督管理局", "示例分局"]
        {
            assert_eq!(of(name), "general", "{name}");
        }
        for name in ["示例市生态环境局", "", "（市场监督管理局）", "示例市生态环境局（市场监督管理局）"]
        {
            assert_eq!(of(name), "general", "{name}");
        }
        for name in [
            "示例市示例区人民法院",
            "示例市第一中级人民法院",
            "示例海事法院",
            "示例市中院",
            "示例区人民法院执行局",
            "示例区人民法院示例人民法庭",
        ] {
            assert_eq!(of(name), "court", "{name}");
        }
    }

    #[test]
    fn another_kind_is_another_line_and_no_code() {
        let tax = "9,tax,税务机关,税务局,示例办法,K\n0,general";
        let kinds = Authorities::parse(&AUTHORITIES.replace("0,general", tax)).unwrap();
        assert_eq!(kinds.names(kinds.of_body("国家税务总局示例市税务局")).0, "tax");
        assert_eq!(kinds.of_body("示例市市场监督管理局"), AuthorityKind::SAMR);
    }

    #[test]
    fn refuses_lines_that_leave_it_open() {
        let column = |text: &str| Authorities::parse(text).unwrap_err().column;
        assert_eq!(column(&AUTHORITIES.replace("1,samr", "0,samr")), "number");
        assert_eq!(column(&AUTHORITIES.replace("0,general", "0,samr")), "kind");
        assert_eq!(column(&AUTHORITIES.replace("一般部门,,", "一般部门,局,")), "words");
        assert_eq!(column(&format!("{AUTHORITIES}9,tax,税务机关,税务局,示例办法,K\n")), "words");
    }
}
