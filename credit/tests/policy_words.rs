//! The table of cases that is shipped with the rules, held against rules of which one word is another one. A change that no
//! case notices is a change that can slip in; what decides nothing otherwise stands in [`SAME`] with the reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test; what fails here fails the test")]

use std::collections::BTreeSet;

use credit::{
    catalog::{Catalog, Mode, Purpose},
    policy::{Policy, Role, cases::Cases},
};

const RULES: &str = include_str!("../data/policy/2026.csv");
/// Where the columns of a rule stand.
const COLUMNS: [&str; 10] =
    ["name", "effect", "roles", "purposes", "items", "classes", "basis", "mode", "from", "until"];

/// Rule, column, word more or less, why that changes no verdict.
const SAME: [(&str, &str, &str, &str); 2] = [
    ("bank-granted", "classes", "government", "`bank-government` comes before it and denies them"),
    (
        "bank-granted",
        "classes",
        "identity",
        "a grant is about a subject, and this question names none: `grant-other-subject`",
    ),
];

/// A rule's cells with one of them replaced, the column, and the word by which it differs.
type Mutant = (Vec<String>, &'static str, String);

/// Every change of one word of a rule.
fn mutants(cells: &[&str], items: &[String]) -> Vec<Mutant> {
    let at = |column: &str| COLUMNS.iter().position(|c| *c == column).unwrap();
    let mut found = Vec::new();
    let mut put = |column: &'static str, cell: &str, word: &str| {
        let mut changed: Vec<String> = cells.iter().map(ToString::to_string).collect();
        changed[at(column)] = cell.to_owned();
        found.push((changed, column, word.to_owned()));
    };
    let lists: [(&'static str, Vec<&str>); 3] = [
        ("roles", Role::ALL.iter().map(|role| role.as_str()).collect()),
        ("purposes", Purpose::ALL.iter().map(|purpose| purpose.as_str()).collect()),
        ("classes", vec!["public", "government", "authorised", "identity"]),
    ];
    for (column, words) in lists {
        let has: BTreeSet<&str> = cells[at(column)].split(' ').collect();
        for word in words {
            // In the list it is left out, else it is added; a list without a word is no rule.
            let changed: Vec<&str> = has.symmetric_difference(&BTreeSet::from([word])).copied().collect();
            if !changed.is_empty() {
                put(column, &changed.join(" "), word);
            }
        }
    }
    for basis in
        ["any", "own", "duty", "grant", "mandate"].iter().filter(|basis| **basis != cells[at("basis")])
    {
        put("basis", basis, basis);
    }
    // Of what is denied no mode is told.
    if cells[at("effect")] == "allow" {
        for mode in Mode::ALL.iter().filter(|mode| **mode != Mode::Value) {
            put("mode", mode.as_str(), mode.as_str());
        }
    }
    // No rule is about some items only, and one is in force from a day on.
    assert_eq!((cells[at("items")], cells[at("mode")], cells[at("until")]), ("", "", ""));
    for item in items {
        put("items", item, item);
    }
    if !cells[at("from")].is_empty() {
        put("from", "", "");
    }
    put("from", "2026-06-02", "2026-06-02");
    put("until", "2026-06-01", "2026-06-01");
    put("effect", if cells[at("effect")] == "allow" { "deny" } else { "allow" }, "");
    found
}

#[test]
fn the_table_of_cases_notices_every_word_of_the_rules() {
    let (catalog, cases) = (Catalog::builtin(), Cases::builtin());
    let items: Vec<String> = catalog.items().map(|item| item.id.to_string()).collect();
    let noticed = |text: &str| match Policy::parse("rules.csv", text, &catalog) {
        Ok(policy) => !cases.run(&policy, &catalog).is_empty(),
        Err(_) => true,
    };
    assert!(!noticed(RULES));
    let (mut tried, mut unnoticed) = (0, Vec::new());
    for line in RULES.lines().filter(|line| line.contains(",allow,") || line.contains(",deny,")) {
        assert!(!line.contains('"'), "a cell with a comma would be split: {line}");
        let cells: Vec<&str> = line.split(',').collect();
        for (changed, column, word) in mutants(&cells, &items) {
            tried += 1;
            if !noticed(&RULES.replace(line, &changed.join(","))) {
                unnoticed.push((changed[0].clone(), column, word));
            }
        }
    }
    assert!(tried > 150, "{tried}");
    let same = SAME.map(|(rule, column, word, _)| (rule.to_owned(), column, word.to_owned()));
    assert_eq!(
        unnoticed, same,
        "changes that no case notices: add the refusal beside the rule to 2026-cases.csv"
    );
}
