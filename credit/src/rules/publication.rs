//! Who publishes a decision, and how soon: the authority itself, or the province in which its subject is registered.

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
    /// The order, in Chinese.
    pub source: String,
}

const COLUMNS: [&str; 10] = [
    "id",
    "item",
    "authority_kind",
    "valid_from",
    "valid_until",
    "publish_days",
    "push_days",
    "receive_days",
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
    let covers = |rule: &&Publication| {
        (&rule.item, rule.kind) == (item, kind) && overlap((rule.from, rule.until), (decided, Some(decided)))
    };
    rules.iter().find(covers)
}

#[cfg(test)]
mod tests {
    use super::super::{AUTHORITIES, PUBLICATION};
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Publication>, CatalogError> {
        parse(text, &Authorities::parse(AUTHORITIES)?)
    }

    fn found(day: &str, kind: AuthorityKind) -> Option<(u32, u32, u32)> {
        let rules = parsed(PUBLICATION).unwrap();
        let item = ItemId::parse("CF").unwrap();
        let rule = find(&rules, &item, kind, Date::parse(day).unwrap())?;
        Some((rule.publish_days, rule.push_days, rule.receive_days))
    }

    #[test]
    fn market_regulators_publish_at_home_and_push_to_another_province() {
        assert_eq!(found("2026-01-05", AuthorityKind::SAMR), Some((20, 10, 10)));
        assert_eq!(found("2021-08-31", AuthorityKind::SAMR), None, "before the order");
        assert_eq!(found("2026-01-05", AuthorityKind::GENERAL), None, "nothing is provided for the others");
    }

    #[test]
    fn two_rules_for_one_day_are_refused() {
        let more = format!("{PUBLICATION}samr-46,CF,samr,2026-01-01,,20,10,10,示例,C\n");
        assert_eq!(parsed(&more).unwrap_err().column, "valid_from");
        let twice = format!("{PUBLICATION}samr-45,XK,samr,2026-01-01,,20,10,10,示例,C\n");
        assert_eq!(parsed(&twice).unwrap_err().column, "id");
    }
}
