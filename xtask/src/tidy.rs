//! Small truths about the source: every file says what it is, stays readable in one sitting, is part of a crate, and
//! holds no word that must not come back.

use std::collections::BTreeSet;

use crate::{
    findings::Findings,
    rust::{code_only, is_test_file, is_word, mod_declarations, test_lines},
    tree::Tree,
};

/// Lines of a file that are not tests; past it, ask which second noun moved in.
const CODE_LINES_MAX: usize = 800;

/// Longer files that are allowed, with the length they may have. A ratchet: rows go, numbers fall.
const LONGER: [(&str, usize, &str); 0] = [];

/// Files other people wrote; they are kept byte for byte.
const FOREIGN: [&str; 2] = ["conformance/vectors/", "credit/data/"];

/// The crates without clock, file, socket, environment or unordered container.
const PURE: [&str; 4] = ["crypto/", "ledger/", "credit/", "exchange/"];

/// Where a banned word counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Rust code, not in comments or strings.
    Code,
    /// Rust code that is not a test.
    Product,
    /// Rust files with comments and strings.
    Source,
    /// Every text of the repository.
    Text,
}

/// A word that must not come back.
struct Banned {
    word: &'static str,
    scope: Scope,
    /// Below which folders; everywhere when empty.
    below: &'static [&'static str],
    because: &'static str,
    instead: &'static str,
}

const PATHS_BECAUSE: &str = "a path of one machine means nothing on another";
const PATHS_INSTEAD: &str = "a path relative to the repository, or an argument";

/// Words that count in texts are put together here, so that this table does not find itself.
const BANNED: [Banned; 13] = [
    Banned {
        word: "todo!",
        scope: Scope::Code,
        below: &[],
        because: "a node must not panic at a gap",
        instead: "finish it, or a `Refusal` that says what is missing",
    },
    Banned {
        word: "unimplemented!",
        scope: Scope::Code,
        below: &[],
        because: "a node must not panic at a gap",
        instead: "finish it, or a `Refusal` that says what is missing",
    },
    Banned {
        word: "dbg!",
        scope: Scope::Code,
        below: &[],
        because: "it prints values, and values may be personal",
        instead: "an assertion in a test",
    },
    Banned {
        word: "#[ignore",
        scope: Scope::Code,
        below: &[],
        because: "a test that does not run says nothing",
        instead: "repair it, or take it out",
    },
    Banned {
        word: ".unwrap()",
        scope: Scope::Product,
        below: &[],
        because: "it ends the process without saying why",
        instead: "`?`, or `expect` with the invariant that holds",
    },
    Banned {
        word: "HashMap",
        scope: Scope::Code,
        below: &PURE,
        because: "its order changes between runs, so a seed would not be a full reproduction",
        instead: "`BTreeMap`",
    },
    Banned {
        word: "ring::rand",
        scope: Scope::Product,
        below: &PURE,
        because: "randomness is an argument, so that one seed is one history",
        instead: "a seed that the caller passes",
    },
    Banned {
        word: "PlainRecord",
        scope: Scope::Code,
        below: &["exchange/"],
        because: "plaintext never passes intake",
        instead: "`SealedRecord`",
    },
    Banned {
        word: concat!("FIX", "ME"),
        scope: Scope::Source,
        below: &[],
        because: "a known fault in the source is a fault nobody is told of",
        instead: "repair it, or refuse the input and say so",
    },
    Banned {
        word: concat!("X", "XX"),
        scope: Scope::Source,
        below: &[],
        because: "a known fault in the source is a fault nobody is told of",
        instead: "repair it, or refuse the input and say so",
    },
    Banned {
        word: concat!("/wo", "rk/"),
        scope: Scope::Text,
        below: &[],
        because: PATHS_BECAUSE,
        instead: PATHS_INSTEAD,
    },
    Banned {
        word: concat!("/ro", "ot/"),
        scope: Scope::Text,
        below: &[],
        because: PATHS_BECAUSE,
        instead: PATHS_INSTEAD,
    },
    Banned {
        word: concat!("/ho", "me/"),
        scope: Scope::Text,
        below: &[],
        because: PATHS_BECAUSE,
        instead: PATHS_INSTEAD,
    },
];

/// Everything this file knows how to find.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    let own = |path: &str| !FOREIGN.iter().any(|folder| path.starts_with(folder));
    for (path, text) in tree.texts.iter().filter(|(path, _)| own(path)) {
        trailing_blanks(path, text, &mut findings);
        if path.ends_with(".rs") {
            let code = code_only(text);
            opens_with_docs(path, text, &mut findings);
            size(path, &code, &LONGER, &mut findings);
            banned(path, text, &code, &mut findings);
        } else {
            banned_in_text(path, text, &mut findings);
        }
    }
    dead_files(tree, &mut findings);
    findings
}

fn trailing_blanks(path: &str, text: &str, findings: &mut Findings) {
    for (line, content) in text.lines().enumerate() {
        if content.ends_with([' ', '\t', '\r']) {
            findings.at(path, line, "ends with blanks");
        }
    }
}

fn opens_with_docs(path: &str, text: &str, findings: &mut Findings) {
    if !text.starts_with("//!") {
        findings.at(path, 0, "does not open with `//!`: say in a sentence what is here and what is not");
    }
}

fn size(path: &str, code: &str, longer: &[(&str, usize, &str)], findings: &mut Findings) {
    let lines = if is_test_file(path) { 0 } else { test_lines(code).iter().filter(|test| !**test).count() };
    let row = longer.iter().find(|(longer, ..)| *longer == path);
    match row {
        None if lines > CODE_LINES_MAX => {
            findings.add(
                path,
                format!(
                    "has {lines} lines besides tests, more than {CODE_LINES_MAX}: a second noun moved in"
                ),
            );
        }
        Some((_, allowed, because)) if lines > *allowed => {
            findings.add(path, format!("grew to {lines} lines; {allowed} are allowed because {because}"));
        }
        Some(_) if lines <= CODE_LINES_MAX => {
            findings.add(path, "is short enough now: take its row out of `LONGER` in xtask/src/tidy.rs");
        }
        _ => {}
    }
}

fn banned(path: &str, text: &str, code: &str, findings: &mut Findings) {
    let tests = test_lines(code);
    for rule in BANNED.iter().filter(|rule| applies(rule, path)) {
        let searched = if matches!(rule.scope, Scope::Code | Scope::Product) { code } else { text };
        for (line, content) in searched.lines().enumerate() {
            let test = is_test_file(path) || tests.get(line).copied().unwrap_or(false);
            if !(rule.scope == Scope::Product && test) && has_word(content, rule.word) {
                report(rule, path, line, findings);
            }
        }
    }
}

fn banned_in_text(path: &str, text: &str, findings: &mut Findings) {
    for rule in BANNED.iter().filter(|rule| rule.scope == Scope::Text && applies(rule, path)) {
        for (line, content) in text.lines().enumerate() {
            if has_word(content, rule.word) {
                report(rule, path, line, findings);
            }
        }
    }
}

fn applies(rule: &Banned, path: &str) -> bool {
    rule.below.is_empty() || rule.below.iter().any(|folder| path.starts_with(folder))
}

fn report(rule: &Banned, path: &str, line: usize, findings: &mut Findings) {
    findings.at(
        path,
        line,
        format!("`{}` is banned because {}; use {}", rule.word, rule.because, rule.instead),
    );
}

/// Whether `word` stands in `line` by itself: not as part of a longer name, nor of an address.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        let joins_before = match word.chars().next() {
            Some('/') => before.is_some_and(|c| is_word(c) || c == '.' || c == '-'),
            Some(c) => is_word(c) && before.is_some_and(is_word),
            None => true,
        };
        let joins_after = word.chars().next_back().is_some_and(is_word) && after.is_some_and(is_word);
        !joins_before && (!joins_after || word == "#[ignore")
    })
}

/// A file under `src` that no `mod` leads to is compiled by nobody and read by everybody.
fn dead_files(tree: &Tree, findings: &mut Findings) {
    let sources: BTreeSet<&str> = tree
        .ending(".rs")
        .map(|(path, _)| path)
        .filter(|p| p.starts_with("src/") || p.contains("/src/"))
        .collect();
    let mut reached = BTreeSet::new();
    let mut next: Vec<String> =
        sources.iter().filter(|path| is_crate_root(tree, path)).map(|path| (*path).to_owned()).collect();
    while let Some(path) = next.pop() {
        if let Some(text) = tree.texts.get(&path)
            && reached.insert(path.clone())
        {
            next.extend(led_to(&path, text, is_crate_root(tree, &path)));
        }
    }
    for path in sources.iter().filter(|path| !reached.contains(**path)) {
        findings.add(*path, "no `mod` leads to this file: declare it or remove it");
    }
}

/// Files a crate starts from: by cargo's convention, or by a `path` in the crate's manifest.
fn is_crate_root(tree: &Tree, path: &str) -> bool {
    let Some((package, inside)) = path.rsplit_once("src/") else { return false };
    let conventional = match inside.split('/').collect::<Vec<_>>().as_slice() {
        ["lib.rs" | "main.rs"] | ["bin", _, "main.rs"] => true,
        ["bin", file] => file.ends_with(".rs"),
        _ => false,
    };
    let named = || {
        let manifest = tree.texts.get(&format!("{package}Cargo.toml"));
        manifest.is_some_and(|text| text.contains(&format!("path = \"src/{inside}\"")))
    };
    conventional || named()
}

/// The files that `path`'s declarations may mean; those that do not exist are the compiler's to refuse.
fn led_to(path: &str, text: &str, root: bool) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.trim_end_matches(".rs");
    let base = if root || stem == "mod" { folder.to_owned() } else { format!("{folder}/{stem}") };
    let mut found = Vec::new();
    for declared in mod_declarations(&code_only(text)) {
        let inside: String = declared.inside.iter().map(|name| format!("{name}/")).collect();
        found.push(format!("{base}/{inside}{}.rs", declared.name));
        found.push(format!("{base}/{inside}{}/mod.rs", declared.name));
    }
    for opening in ["#[path = \"", "include!(\""] {
        for (start, _) in text.match_indices(opening) {
            if let Some(target) = text[start + opening.len()..].split('"').next() {
                found.push(format!("{folder}/{target}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{check, size};
    use crate::{findings::Findings, tree::Tree};

    fn text(files: &[(&str, &str)]) -> String {
        check(&Tree::of(files)).text()
    }

    #[test]
    fn accepts_a_tidy_tree() {
        let files = [
            ("credit/Cargo.toml", "[package]\n"),
            ("credit/src/lib.rs", "//! Here.\n\npub mod a;\n#[cfg(test)]\nmod tests;\n"),
            (
                "credit/src/a.rs",
                "//! A.\nmod b;\n/// Never todo! here: `.unwrap()` is for tests.\nfn f() {}\n",
            ),
            ("credit/src/a/b.rs", "//! B.\n#[cfg(test)]\nmod tests {\n    fn t() { x().unwrap(); }\n}\n"),
            ("credit/src/tests.rs", "//! T.\nfn t() { x().unwrap(); }\n"),
            ("docs/A.md", "see https://example.org/work/paper\n"),
        ];
        assert_eq!(text(&files), "");
    }

    #[test]
    fn refuses_a_file_that_does_not_say_what_it_is() {
        assert!(
            text(&[("cli/src/main.rs", "fn main() {}\n")])
                .contains("cli/src/main.rs:1: does not open with `//!`")
        );
    }

    #[test]
    fn refuses_banned_words_with_their_reason() {
        let bad = "//! Bad.\nfn f() {\n    todo!();\n    x.unwrap();\n    dbg!(x);\n    unimplemented!();\n}\n#[ignore = \"slow\"]\nfn g() {}\n";
        let found = text(&[("node/src/lib.rs", bad)]);
        for (line, word) in
            [(3, "todo!"), (4, ".unwrap()"), (5, "dbg!"), (6, "unimplemented!"), (8, "#[ignore")]
        {
            assert!(
                found.contains(&format!("node/src/lib.rs:{line}: `{word}` is banned because")),
                "{word}: {found}"
            );
        }
    }

    #[test]
    fn refuses_known_faults_in_comments() {
        let bad = ["//! Bad.\n// ", "FIX", "ME later\n// ", "X", "XX: why\n"].concat();
        assert_eq!(text(&[("node/src/lib.rs", &bad)]).lines().count(), 2);
    }

    #[test]
    fn refuses_an_unordered_map_only_in_pure_crates() {
        let file = "//! Map.\nuse std::collections::HashMap;\n";
        assert!(text(&[("ledger/src/lib.rs", file)]).contains("use `BTreeMap`"));
        assert_eq!(text(&[("node/src/lib.rs", file)]), "");
    }

    #[test]
    fn refuses_plaintext_in_exchange() {
        let file = "//! Plain.\nuse credit::csv::PlainRecord;\n";
        assert!(text(&[("exchange/src/lib.rs", file)]).contains("plaintext never passes intake"));
        assert_eq!(text(&[("node/src/lib.rs", file)]), "");
    }

    #[test]
    fn refuses_a_path_of_one_machine_in_any_text() {
        let page = ["run `/ho", "me/me/node`\n"].concat();
        assert!(text(&[("docs/A.md", &page)]).contains("docs/A.md:1"));
    }

    #[test]
    fn refuses_trailing_blanks_but_leaves_foreign_files_alone() {
        assert!(text(&[("docs/A.md", "a\nb \n")]).contains("docs/A.md:2: ends with blanks"));
        assert_eq!(text(&[("conformance/vectors/x/README.md", "b \n")]), "");
    }

    #[test]
    fn refuses_a_file_no_module_leads_to() {
        let files = [
            ("cli/src/main.rs", "//! M.\nmod a;\n// mod dead;\n"),
            ("cli/src/a.rs", "//! A.\n"),
            ("cli/src/dead.rs", "//! D.\n"),
            ("cli/src/a/dead.rs", "//! D.\n"),
        ];
        let found = text(&files);
        assert!(
            found.contains("cli/src/dead.rs: no `mod` leads")
                && found.contains("cli/src/a/dead.rs: no `mod` leads")
        );
        assert_eq!(found.lines().count(), 2);
    }

    #[test]
    fn follows_binaries_named_paths_and_inline_modules() {
        let files = [
            ("c/Cargo.toml", "[lib]\npath = \"src/start.rs\"\n"),
            ("c/src/start.rs", "//! S.\nmod a { mod b; }\n#[path = \"odd_name.rs\"]\nmod c;\n"),
            ("c/src/a/b.rs", "//! B.\n"),
            ("c/src/odd_name.rs", "//! O.\n"),
            ("c/src/bin/sim.rs", "//! S.\n"),
        ];
        assert_eq!(text(&files), "");
    }

    #[test]
    fn refuses_a_file_that_is_too_long_and_a_row_that_is_no_longer_needed() {
        let long = "fn f() {}\n".repeat(801);
        let sized = |code: &str, rows: &[(&str, usize, &str)]| {
            let mut findings = Findings::default();
            size("credit/src/a.rs", code, rows, &mut findings);
            findings.text()
        };
        let row = |lines| [("credit/src/a.rs", lines, "it is one story")];
        assert!(sized(&long, &[]).contains("has 801 lines"));
        assert_eq!(sized(&long, &row(801)), "");
        assert!(sized(&long, &row(800)).contains("grew to 801"));
        assert!(sized("fn f() {}\n", &row(900)).contains("short enough now"));
        let tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert_eq!(sized(&tests, &[]), "");
    }
}
