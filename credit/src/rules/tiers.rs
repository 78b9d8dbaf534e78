//! The tier of a penalty (失信程度), by the words that a rule set gives.
//!
//! Departments may refine the tiers of their field and then state the tier themselves; where they do not, the words of
//! `tiers.csv` decide. *Not here*: thresholds of fines, which are not national (docs/SOURCES.md).

use super::{RuleSet, Tier};
use crate::catalog::{CatalogError, Line, table};

/// What a file says of a penalty as far as its tier follows from it.
#[derive(Clone, Debug, Default)]
pub struct Penalty<'a> {
    /// 处罚类别, several joined by `;`.
    pub kinds: &'a str,
    /// 案件程序类别, if the source tells it.
    pub procedure: Option<&'a str>,
    /// 处罚依据 and 违法行为类型.
    pub grounds: [&'a str; 2],
    /// The tier as the deciding department states it.
    pub stated: Option<Tier>,
}

impl<'a> Penalty<'a> {
    /// One of which only the kinds are told.
    pub fn of_kinds(kinds: &'a str) -> Self {
        Self { kinds, ..Self::default() }
    }
}

/// Where a word is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Kind,
    OnlyKind,
    Procedure,
    Ground,
}

#[derive(Clone, Debug)]
struct Word {
    set: String,
    place: Place,
    word: String,
}

/// The words of every rule set.
#[derive(Clone, Debug)]
pub(super) struct Words(Vec<Word>);

const COLUMNS: [&str; 6] = ["set", "tier", "place", "word", "source", "confidence"];

impl Words {
    /// Reads `tiers.csv`. Errors: a malformed line, a set that is not among `sets`, or a tier that a place does not give.
    pub(super) fn parse(text: &str, sets: &[RuleSet]) -> Result<Self, CatalogError> {
        let word = |line: Line| {
            let set = line.required("set")?;
            if !sets.iter().any(|known| known.id == set) {
                return Err(line.error("set", "is no rule set of repair.csv"));
            }
            let (place, gives) = line.parse("place", |text| match text {
                "kind" => Some((Place::Kind, Tier::Serious)),
                "only-kind" => Some((Place::OnlyKind, Tier::Minor)),
                "procedure" => Some((Place::Procedure, Tier::Minor)),
                "ground" => Some((Place::Ground, Tier::Serious)),
                _ => None,
            })?;
            if line.parse("tier", Tier::parse)? != gives {
                return Err(line.error("tier", "is not the one that this place gives"));
            }
            line.required("source")?;
            line.required("confidence")?;
            Ok(Word { set, place, word: line.required("word")? })
        };
        table("tiers.csv", text, &COLUMNS)?.into_iter().map(word).collect::<Result<_, _>>().map(Self)
    }

    /// In this order: what the department states; a serious kind; simple procedure, or nothing but minor kinds; a serious
    /// ground, which never makes a penalty serious that is not published at all; else general.
    pub(super) fn tier(&self, set: &str, penalty: &Penalty<'_>) -> Tier {
        if let Some(stated) = penalty.stated {
            return stated;
        }
        let kinds: Vec<&str> = penalty
            .kinds
            .split([';', '；', ',', '，', '、'])
            .map(str::trim)
            .filter(|kind| !kind.is_empty())
            .collect();
        let any = |place, meets: &dyn Fn(&str) -> bool| {
            self.0.iter().any(|w| w.set == set && w.place == place && meets(&w.word))
        };
        let minor = |kind: &&str| any(Place::OnlyKind, &|word| word == *kind);
        if any(Place::Kind, &|word| kinds.iter().any(|kind| kind.contains(word))) {
            Tier::Serious
        } else if any(Place::Procedure, &|word| penalty.procedure.is_some_and(|text| text.trim() == word))
            || !kinds.is_empty() && kinds.iter().all(minor)
        {
            Tier::Minor
        } else if any(Place::Ground, &|word| penalty.grounds.iter().any(|text| text.contains(word))) {
            Tier::Serious
        } else {
            Tier::General
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::{AuthorityKind, RuleBook};
    use crate::value::Date;

    use super::*;

    fn tier(day: &str, penalty: &Penalty<'_>) -> Tier {
        RuleBook::builtin().tier_of_penalty(AuthorityKind::GENERAL, Date::parse(day), penalty)
    }

    #[test]
    fn the_tier_follows_from_kinds_and_procedure() {
        let table: [(&str, Option<&str>, Tier); 12] = [
            ("罚款", Some("简易程序"), Tier::Minor),
            ("罚款", Some("01"), Tier::Minor),
            ("警告", Some("普通程序"), Tier::Minor),
            ("警告;通报批评", None, Tier::Minor),
            ("警告;罚款", None, Tier::General),
            ("罚款;没收违法所得", Some("普通程序"), Tier::General),
            ("暂扣许可证件", None, Tier::General),
            ("行政拘留", None, Tier::General),
            ("", None, Tier::General),
            ("罚款；吊销许可证件", None, Tier::Serious),
            ("暂扣或者吊销执照", None, Tier::Serious),
            ("责令停产停业", Some("简易程序"), Tier::Serious),
        ];
        for (kinds, procedure, expected) in table {
            for day in ["2026-03-31", "2026-04-01"] {
                let penalty = Penalty { procedure, ..Penalty::of_kinds(kinds) };
                assert_eq!(tier(day, &penalty), expected, "{kinds} {procedure:?} {day}");
            }
        }
        // No order rules over the day: nothing is taken from another.
        assert_eq!(tier("2023-04-30", &Penalty::of_kinds("吊销许可证件")), Tier::General);
    }

    #[test]
    fn under_order_58_the_area_decides_and_under_order_36_it_does_not() {
        // 处罚依据, 违法行为类型, 处罚类别, tier under Order 58, under Order 36.
        let table = [
            ("《中华人民共和国安全生产法》第一百条", "", "罚款", Tier::Serious, Tier::General),
            ("《中华人民共和国消防法》第六十条", "", "罚款", Tier::Serious, Tier::General),
            ("《中华人民共和国药品管理法》", "", "罚款;没收违法所得", Tier::Serious, Tier::General),
            ("《特种设备安全监察条例》", "", "罚款", Tier::Serious, Tier::General),
            ("《示例办法（虚构）》第一条", "经营超过保质期的食品", "罚款", Tier::Serious, Tier::General),
            ("《中华人民共和国公路法》", "超限运输", "罚款", Tier::General, Tier::General),
            // Not published at all, so no least time of publicity either.
            ("《中华人民共和国消防法》第六十条", "", "警告", Tier::Minor, Tier::Minor),
        ];
        for (basis, act, kinds, before, after) in table {
            let penalty = Penalty { grounds: [basis, act], ..Penalty::of_kinds(kinds) };
            assert_eq!(
                (tier("2026-03-31", &penalty), tier("2026-04-01", &penalty)),
                (before, after),
                "{basis}"
            );
            for stated in [Tier::Minor, Tier::General, Tier::Serious] {
                let penalty = Penalty { stated: Some(stated), ..penalty.clone() };
                assert_eq!(tier("2026-03-31", &penalty), stated, "the department's word goes first");
            }
        }
    }

    #[test]
    fn refuses_words_that_no_set_asks_for() {
        let book = RuleBook::builtin();
        let parse = |line: &str| Words::parse(&format!("{}\n{line}\n", COLUMNS.join(",")), book.sets());
        assert!(parse("ndrc-36,serious,kind,吊销,示例,K").is_ok());
        assert_eq!(parse("ndrc-99,serious,kind,吊销,示例,K").unwrap_err().column, "set");
        assert_eq!(parse("ndrc-36,minor,kind,吊销,示例,K").unwrap_err().column, "tier");
        assert_eq!(parse("ndrc-36,serious,column,吊销,示例,K").unwrap_err().column, "place");
        assert_eq!(parse("ndrc-36,serious,kind,,示例,K").unwrap_err().column, "word");
    }
}
