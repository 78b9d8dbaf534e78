//! Who publishes a decision, and how soon, and how soon it is taken down: the authority itself, or the province in which its
//! subject is registered.

use super::{AuthorityKind, WORKING_DAYS_MAX, authorities::Authorities, overlap};
use crate::{
    catalog::{CatalogError, Line, table},
    id::ItemId,
    value::Date,
};

/// How decisions of one kind about one item are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its name, as entries hold it: `samr-45`.
    pub id: String,
    /// The item.
    pub item: ItemId,
    /// Whose decisions.
    pub kind: AuthorityKind,
    from: Date,
    until: Option<Date>,
    /// Working days from the decision in which the authority publishes about subjects of its own province.
    pub publish_days: u32,
    /// Working days from the decision in which it pushes to the province of any other.
    pub push_days: u32,
    /// Working days from receipt in which that province publishes.
    pub receive_days: u32,
    /// Working days in which whoever has published takes down what has ended, is hidden or was corrected, from when it knows.
    pub take_down_days: u32,
    /// Kinds of penalty that are not published.
    unpublished_kinds: Vec<String>,
    /// The order, in Chinese.
    pub source: String,
}

impl Publication {
    /// Whether it is the rule for decisions of that day about an item.
    pub fn covers(&self, item: &ItemId, decided: Date) -> bool {
        self.item == *item && overlap((self.from, self.until), (decided, Some(decided)))
    }

    /// Whether a penalty of these kinds (处罚类别, joined with `;`) is published: of one that names none it is not said that
    /// it is not.
    pub fn publishes(&self, kinds: &str) -> bool {
        let hidden = |kind: &str| self.unpublished_kinds.iter().any(|known| known == kind);
        words(kinds, ';').next().is_none() || !words(kinds, ';').all(hidden)
    }
}

/// The words of a joined text.
fn words(text: &str, by: char) -> impl Iterator<Item = &str> {
    text.split(by).map(str::trim).filter(|word| !word.is_empty())
}

const COLUMNS: [&str; 12] = [
    "id",
    "item",
    "authority_kind",
    "valid_from",
    "valid_until",
    "publish_days",
    "push_days",
    "receive_days",
    "take_down_days",
    "unpublished_kinds",
    "source",
    "confidence",
];

/// Reads `publication.csv`. Errors: a malformed line, an id that stands twice, or two rules of one kind and item for a day.
pub(super) fn parse(text: &str, authorities: &Authorities) -> Result<Vec<Publication>, CatalogError> {
    let mut rules: Vec<Publication> = Vec::new();
    for line in table("publication.csv", text, &COLUMNS)? {
        let days = |column| line.parse(column, |text| text.parse().ok().filter(|n| *n <= WORKING_DAYS_MAX));
        let rule = Publication {
            id: line.required("id")?,
            item: line.parse("item", ItemId::parse)?,
            kind: line.parse("authority_kind", |id| authorities.by_id(id))?,
            from: line.parse("valid_from", Date::parse)?,
            until: line.optional("valid_until", Date::parse)?,
            publish_days: days("publish_days")?,
            push_days: days("push_days")?,
            receive_days: days("receive_days")?,
            take_down_days: days("take_down_days")?,
            unpublished_kinds: words(line.get("unpublished_kinds"), '|').map(str::to_owned).collect(),
            source: line.required("source")?,
        };
        check(&line, &rules, &rule)?;
        rules.push(rule);
    }
    Ok(rules)
}

fn check(line: &Line, known: &[Publication], rule: &Publication) -> Result<(), CatalogError> {
    if known.iter().any(|known| known.id == rule.id) {
        return Err(line.error("id", "stands twice"));
    }
    let clash = |known: &Publication| {
        (&known.item, known.kind) == (&rule.item, rule.kind)
            && overlap((known.from, known.until), (rule.from, rule.until))
    };
    if known.iter().any(clash) {
        return Err(line.error("valid_from", "overlaps another rule of the item and kind"));
    }
    Ok(())
}

/// The rule for a decision of that day.
pub(super) fn find<'a>(
    rules: &'a [Publication],
    item: &ItemId,
    kind: AuthorityKind,
    decided: Date,
) -> Option<&'a Publication> {
    rules.iter().find(|rule| rule.kind == kind && rule.covers(item, decided))
}

#[cfg(test)]
mod tests {
    use super::super::{AUTHORITIES, PUBLICATION};
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Publication>, CatalogError> {
        parse(text, &Authorities::parse(AUTHORITIES)?)
    }

    fn found(day: &str, kind: AuthorityKind) -> Option<[u32; 4]> {
        let rules = parsed(PUBLICATION).unwrap();
        let item = ItemId::parse("CF").unwrap();
        let rule = find(&rules, &item, kind, Date::parse(day).unwrap())?;
        Some([rule.publish_days, rule.push_days, rule.receive_days, rule.take_down_days])
    }

    #[test]
    fn market_regulators_publish_at_home_push_to_another_province_and_take_down_in_three_days() {
        assert_eq!(found("2026-01-05", AuthorityKind::SAMR), Some([20, 10, 10, 3]));
        assert_eq!(found("2021-08-31", AuthorityKind::SAMR), None, "before the order");
        assert_eq!(found("2026-01-05", AuthorityKind::GENERAL), None, "nothing is provided for the others");
    }

    #[test]
    fn a_warning_alone_is_not_published_and_a_fine_with_it_is() {
        let rules = parsed(PUBLICATION).unwrap();
        for (kinds, published) in [
            ("警告", false),
            ("警告;通报批评", false),
            ("警告;罚款", true),
            ("罚款", true),
            ("其他-警告", true),
            ("", true),
        ] {
            assert_eq!(rules[0].publishes(kinds), published, "{kinds}");
        }
    }

    #[test]
    fn two_rules_for_one_day_are_refused() {
        let more = format!("{PUBLICATION}samr-46,CF,samr,2026-01-01,,20,10,10,3,,示例,C\n");
        assert_eq!(parsed(&more).unwrap_err().column, "valid_from");
        let twice = format!("{PUBLICATION}samr-45,XK,samr,2026-01-01,,20,10,10,3,,示例,C\n");
        assert_eq!(parsed(&twice).unwrap_err().column, "id");
    }

    #[test]
    fn days_are_a_number_that_a_law_would_give() {
        for days in ["", "three", "-1", "100000"] {
            let line = PUBLICATION.replace(",20,10,10,3,", &format!(",20,10,10,{days},"));
            assert_eq!(parsed(&line).unwrap_err().column, "take_down_days", "{days}");
        }
    }
}
