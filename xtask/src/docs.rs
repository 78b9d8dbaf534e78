//! What the documents say against what the code holds, and the two languages of a page against each other.

use std::collections::BTreeSet;

use crate::{
    findings::Findings,
    markdown::{Page, links},
    rust::{code_only, is_word},
    tree::Tree,
};

const LABELS: &str = "crypto/src/label.rs";
const LABELS_PAGE: &str = "docs/CRYPTO.md";
const CODES: &str = "exchange/src/refusal.rs";
const CODES_PAGE: &str = "docs/PROTOCOL.md";

/// How label texts begin; anything on the page that begins so must be a label.
const LABEL_STARTS: [&str; 2] = ["xinqiao/v", "application/vnd.xinqiao."];

/// Pages that exist in English and Chinese, and whether all code blocks or only those of a shell must agree.
const TWINS: [(&str, &str, Blocks); 2] = [
    ("README.md", "README.zh-CN.md", Blocks::All),
    ("docs/WALKTHROUGH.md", "docs/WALKTHROUGH.zh-CN.md", Blocks::Shell),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocks {
    All,
    Shell,
}

/// Everything this file knows how to compare.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    labels(tree, &mut findings);
    codes(tree, &mut findings);
    for (path, text) in tree.ending(".md") {
        for (line, target) in links(text) {
            link(tree, path, line, &target, &mut findings);
        }
    }
    for (english, chinese, blocks) in TWINS {
        twins(tree, english, chinese, blocks, &mut findings);
    }
    verbs(tree, &mut findings);
    findings
}

/// A file that has to be there.
fn need<'a>(tree: &'a Tree, path: &str, findings: &mut Findings) -> Option<&'a str> {
    let text = tree.texts.get(path).map(String::as_str);
    if text.is_none() {
        findings.add(path, format!("{path} is missing"));
    }
    text
}

/// The rows `Name = "text"` inside the invocation of `macro_name!`: the texts, in order.
fn rows(source: &str, macro_name: &str) -> Vec<String> {
    let opening = format!("{macro_name}! {{");
    let body =
        source.split("\n}").find_map(|part| part.split_once(&format!("\n{opening}")).map(|(_, body)| body));
    let row = |line: &str| {
        let (name, value) = line.trim().split_once(" = \"")?;
        let named = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(is_word);
        named.then(|| value.split('"').next().map(str::to_owned)).flatten()
    };
    body.map(|body| body.lines().filter_map(row).collect()).unwrap_or_default()
}

fn labels(tree: &Tree, findings: &mut Findings) {
    let (code, page) = (need(tree, LABELS, findings), need(tree, LABELS_PAGE, findings));
    let (Some(code), Some(page)) = (code, page) else { return };
    let labels = rows(code, "labels");
    if labels.is_empty() {
        findings.add(LABELS, "no row `Name = \"text\",` found inside `labels! { … }`");
        return;
    }
    for label in labels.iter().filter(|label| !page.contains(&format!("`{label}`"))) {
        findings.add(LABELS_PAGE, format!("lacks the label `{label}` of {LABELS}"));
    }
    let known: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
    for (line, content) in page.lines().enumerate() {
        for found in label_like(content).into_iter().filter(|found| !known.contains(found)) {
            findings.at(
                LABELS_PAGE,
                line,
                format!("`{found}` looks like a label, and {LABELS} has no such label"),
            );
        }
    }
}

/// Texts of a line that begin as labels do and name something.
fn label_like(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for start in LABEL_STARTS.iter().flat_map(|opening| line.match_indices(opening)).map(|(start, _)| start) {
        let rest = &line[start..];
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "/.+-_".contains(c))).unwrap_or(rest.len());
        let text = rest[..end].trim_end_matches('.');
        let numbered =
            text.strip_prefix(LABEL_STARTS[0]).is_none_or(|v| v.starts_with(|c: char| c.is_ascii_digit()));
        if numbered && !text.ends_with('/') && text != "application/vnd.xinqiao" {
            found.push(text);
        }
    }
    found
}

fn codes(tree: &Tree, findings: &mut Findings) {
    let (code, page) = (need(tree, CODES, findings), need(tree, CODES_PAGE, findings));
    let (Some(code), Some(page)) = (code, page) else { return };
    let codes = rows(code, "codes");
    if codes.is_empty() {
        findings.add(CODES, "no row `Name = \"code\", …` found inside `codes! { … }`");
        return;
    }
    let shown = shown_codes(page, &codes);
    let mut same = true;
    for code in codes.iter().filter(|code| !shown.iter().any(|(_, shown)| shown == *code)) {
        same = false;
        findings.add(CODES_PAGE, format!("the table of refusal codes lacks `{code}` of {CODES}"));
    }
    for (i, (line, code)) in shown.iter().enumerate() {
        if !codes.contains(code) {
            same = false;
            findings.at(CODES_PAGE, *line, format!("`{code}` is no refusal code of {CODES}"));
        } else if shown[..i].iter().any(|(_, earlier)| earlier == code) {
            same = false;
            findings.at(CODES_PAGE, *line, format!("`{code}` stands in the table twice"));
        }
    }
    if same
        && let Some(((line, shown), code)) =
            shown.iter().zip(&codes).find(|((_, shown), code)| shown != *code)
    {
        findings.at(
            CODES_PAGE,
            *line,
            format!("`{shown}` stands where {CODES} has `{code}`: keep the order of the code"),
        );
    }
}

/// The codes a page lists: of every table at least half of whose rows begin with a known code, the first
/// backticked cell of each row.
fn shown_codes(page: &str, codes: &[String]) -> Vec<(usize, String)> {
    let mut shown = Vec::new();
    let mut table: Vec<(usize, String)> = Vec::new();
    for (line, content) in page.lines().chain([""]).enumerate() {
        if content.trim_start().starts_with('|') {
            let cell = content.split('|').map(str::trim).find(|cell| {
                cell.len() > 2
                    && cell.starts_with('`')
                    && cell.ends_with('`')
                    && cell.matches('`').count() == 2
            });
            table.extend(cell.map(|cell| (line, cell.trim_matches('`').to_owned())));
            continue;
        }
        let known = table.iter().filter(|(_, code)| codes.contains(code)).count();
        if known > 0 && known * 2 >= table.len() {
            shown.append(&mut table);
        }
        table.clear();
    }
    shown
}

/// A relative link leads to a file or folder of the repository, and its fragment to a heading there.
fn link(tree: &Tree, path: &str, line: usize, target: &str, findings: &mut Findings) {
    if target.contains("://") || target.starts_with("mailto:") {
        return;
    }
    let (file, fragment) =
        target.split_once('#').map_or((target, None), |(file, fragment)| (file, Some(fragment)));
    let Some(resolved) = resolve(path, file) else {
        findings.at(path, line, format!("the link `{target}` leads out of the repository"));
        return;
    };
    if !resolved.is_empty() && !tree.paths.contains(&resolved) {
        findings.at(path, line, format!("the link `{target}` leads nowhere: there is no `{resolved}`"));
        return;
    }
    if let Some(fragment) = fragment
        && let Some(text) = tree.texts.get(&resolved)
        && resolved.ends_with(".md")
        && !Page::read(text).anchors().contains(fragment)
    {
        findings.at(
            path,
            line,
            format!("the link `{target}` names a heading that `{resolved}` does not have"),
        );
    }
}

/// The path `target` means when it stands in the page `from`; `None` above the root.
fn resolve(from: &str, target: &str) -> Option<String> {
    if target.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => from.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/").replace("%20", " "))
}

/// A page and its translation: the same headings by level, the same code blocks but for comments.
fn twins(tree: &Tree, english: &str, chinese: &str, blocks: Blocks, findings: &mut Findings) {
    let (first, second) = (need(tree, english, findings), need(tree, chinese, findings));
    let (Some(first), Some(second)) = (first, second) else { return };
    let (first, second) = (Page::read(first), Page::read(second));
    if blocks == Blocks::All {
        differ(english, chinese, "heading", &first.headings(), &second.headings(), findings);
    }
    let wanted = |page: &Page| -> Vec<(usize, String)> {
        page.blocks
            .iter()
            .filter(|block| blocks == Blocks::All || block.is_shell())
            .map(|block| (block.line, format!("{}\n{}", block.info, block.without_comments())))
            .collect()
    };
    differ(english, chinese, "code block", &wanted(&first), &wanted(&second), findings);
}

/// Reports the first pair that is not equal, or the first that has no counterpart.
fn differ<T: PartialEq + std::fmt::Display>(
    english: &str,
    chinese: &str,
    what: &str,
    first: &[(usize, T)],
    second: &[(usize, T)],
    findings: &mut Findings,
) {
    let pairs = first.iter().zip(second);
    if let Some(((line, a), (other, b))) = pairs.into_iter().find(|((_, a), (_, b))| a != b) {
        let (a, b) = (a.to_string(), b.to_string());
        let (a, b) = a.lines().zip(b.lines()).find(|(a, b)| a != b).unwrap_or((a.as_str(), b.as_str()));
        let place = other + 1;
        findings.at(
            english,
            *line,
            format!("this {what} differs from {chinese}:{place}: `{a}` against `{b}`"),
        );
    } else if let Some((line, _)) = first.get(second.len()) {
        findings.at(english, *line, format!("this {what} is missing in {chinese}"));
    } else if let Some((line, _)) = second.get(first.len()) {
        findings.at(chinese, *line, format!("this {what} is missing in {english}"));
    }
}

/// Every `xinqiao <verb>` in code of the README is a word or a variant of the command's source.
fn verbs(tree: &Tree, findings: &mut Findings) {
    let source: String =
        tree.ending(".rs").filter(|(p, _)| p.starts_with("cli/src/")).map(|(_, t)| t).collect();
    let code = code_only(&source);
    let words: BTreeSet<&str> = code.split(|c| !is_word(c)).collect();
    for path in ["README.md", "README.zh-CN.md"] {
        let Some(text) = tree.texts.get(path) else { continue };
        let mut told = BTreeSet::new();
        for (line, verb) in mentioned_verbs(text) {
            let variant: String = verb.split('-').map(capital).collect();
            let known = words.contains(variant.as_str()) || source.contains(&format!("\"{verb}\""));
            if !known && told.insert(verb.clone()) {
                findings.at(path, line, format!("`xinqiao {verb}` is no verb of cli/src"));
            }
        }
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// The word after `xinqiao` in fenced blocks and between backticks, comments aside.
fn mentioned_verbs(text: &str) -> Vec<(usize, String)> {
    let page = Page::read(text);
    let mut found = Vec::new();
    for (line, code) in page.code_lines() {
        let code = if code.trim_start().starts_with('#') { "" } else { code };
        for (start, name) in code.match_indices("xinqiao ") {
            let alone = code[..start].chars().next_back().is_none_or(|c| !is_word(c) && c != '-' && c != '.');
            let rest = &code[start + name.len()..];
            let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(rest.len());
            let verb = &rest[..end];
            if alone && verb.starts_with(|c: char| c.is_ascii_lowercase()) {
                found.push((line, verb.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{check, label_like, rows, shown_codes};
    use crate::tree::Tree;

    const LABELS: &str = "//! L.\nmacro_rules! labels {\n    ($($name:ident = $text:literal,)*) => {};\n}\n\nlabels! {\n    /// A: \"quoted\".\n    FieldKey = \"xinqiao/v1/field-key\",\n    SignGrant = \"application/vnd.xinqiao.v1.grant+cbor\",\n}\n\nconst X: &str = \"no\";\n";
    const CODES: &str = "//! C.\n\ncodes! {\n    /// A.\n    A = \"frame.malformed\", \"中\", \"en = x\";\n    B = \"not-found\", \"中\", \"en\";\n}\n";
    const CRYPTO: &str = "# C\n\n| label |\n|---|\n| `xinqiao/v1/field-key` |\n| `application/vnd.xinqiao.v1.grant+cbor` |\n\nAll begin with `xinqiao/v1/`.\n";
    const PROTOCOL: &str = "# P\n\n| message | x |\n|---|---|\n| `query` | y |\n\n| code | x |\n|---|---|\n| `frame.malformed` | y |\n| `not-found` | z |\n";
    const README: &str = "# X\n\n## A\n\n```sh\n# build\nxinqiao demo\n```\n\nSee [the walk](docs/WALKTHROUGH.md#start-here) and `xinqiao node run`.\n";
    const README_ZH: &str = "# 信\n\n## 甲\n\n```sh\n# 构建\nxinqiao demo\n```\n";
    const WALK: &str = "# W\n\n## Start here\n\n```sh\nxinqiao demo\n```\n\n```text\nok\n```\n";
    const WALK_ZH: &str = "# 走\n\n## 从这里开始\n\n```sh\nxinqiao demo\n```\n\n```text\n好\n```\n";
    const CLI: &str = "//! M.\nenum Verb { Demo, Node }\n";

    /// A tree in which all agrees, with some files replaced.
    fn text(changed: &[(&str, &str)]) -> String {
        let mut files = vec![
            ("crypto/src/label.rs", LABELS),
            ("exchange/src/refusal.rs", CODES),
            ("docs/CRYPTO.md", CRYPTO),
            ("docs/PROTOCOL.md", PROTOCOL),
            ("README.md", README),
            ("README.zh-CN.md", README_ZH),
            ("docs/WALKTHROUGH.md", WALK),
            ("docs/WALKTHROUGH.zh-CN.md", WALK_ZH),
            ("cli/src/main.rs", CLI),
        ];
        files.retain(|(path, _)| !changed.iter().any(|(other, _)| other == path));
        files.extend(changed.iter().filter(|(_, text)| !text.is_empty()));
        check(&Tree::of(&files)).text()
    }

    #[test]
    fn accepts_pages_that_agree() {
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn reads_the_rows_of_a_table_in_code() {
        assert_eq!(rows(LABELS, "labels"), ["xinqiao/v1/field-key", "application/vnd.xinqiao.v1.grant+cbor"]);
        assert_eq!(rows(CODES, "codes"), ["frame.malformed", "not-found"]);
        assert!(rows("nothing", "codes").is_empty());
    }

    #[test]
    fn names_every_missing_file() {
        for path in ["docs/CRYPTO.md", "docs/PROTOCOL.md", "README.zh-CN.md", "docs/WALKTHROUGH.zh-CN.md"] {
            assert!(text(&[(path, "")]).contains(&format!("{path} is missing")));
        }
        assert!(text(&[("docs/WALKTHROUGH.md", "")]).contains("docs/WALKTHROUGH.md is missing"));
    }

    #[test]
    fn refuses_a_label_that_the_page_lacks_and_one_that_the_code_lacks() {
        let page = CRYPTO.replace("xinqiao/v1/field-key", "xinqiao/v1/field-kez");
        let found = text(&[("docs/CRYPTO.md", &page)]);
        assert!(found.contains("docs/CRYPTO.md: lacks the label `xinqiao/v1/field-key`"));
        assert!(found.contains("docs/CRYPTO.md:5: `xinqiao/v1/field-kez` looks like a label"));
        assert_eq!(
            label_like("see xinqiao/v1/a-b. And xinqiao/<federation>/x, xinqiao/v1/"),
            ["xinqiao/v1/a-b"]
        );
    }

    #[test]
    fn refuses_a_table_of_codes_that_differs() {
        let codes: Vec<String> = rows(CODES, "codes");
        assert_eq!(shown_codes(PROTOCOL, &codes).len(), 2);
        let lacks = PROTOCOL.replace("| `not-found` | z |\n", "");
        assert!(text(&[("docs/PROTOCOL.md", &lacks)]).contains("lacks `not-found`"));
        let more = PROTOCOL.replace("| `not-found` | z |", "| `not-found` | z |\n| `new.code` | z |");
        assert!(
            text(&[("docs/PROTOCOL.md", &more)])
                .contains("docs/PROTOCOL.md:11: `new.code` is no refusal code")
        );
        let twice = PROTOCOL.replace("| `not-found` | z |", "| `not-found` | z |\n| `not-found` | z |");
        assert!(text(&[("docs/PROTOCOL.md", &twice)]).contains("twice"));
        let turned = PROTOCOL.replace("`not-found`", "`t`").replace("`frame.malformed`", "`not-found`");
        let turned = turned.replace("`t`", "`frame.malformed`");
        assert!(text(&[("docs/PROTOCOL.md", &turned)]).contains("keep the order"));
    }

    #[test]
    fn refuses_links_that_lead_nowhere() {
        let page = "# A\n\n[a](B.md) [b](../README.md) [c](../../x.md) [d](CRYPTO.md#none) [e](https://x.org/y)\n\n```\n[f](no.md)\n```\n";
        let found = text(&[("docs/A.md", page)]);
        assert!(found.contains("docs/A.md:3: the link `B.md` leads nowhere: there is no `docs/B.md`"));
        assert!(found.contains("`../../x.md` leads out"));
        assert!(found.contains("`CRYPTO.md#none` names a heading"));
        assert_eq!(found.lines().count(), 3);
    }

    #[test]
    fn refuses_a_translation_with_other_headings() {
        let other = README_ZH.replace("## 甲", "### 甲");
        assert!(
            text(&[("README.zh-CN.md", &other)])
                .contains("README.md:3: this heading differs from README.zh-CN.md:3")
        );
        let more = format!("{README_ZH}\n## 乙\n");
        assert!(text(&[("README.zh-CN.md", &more)]).contains("this heading is missing in README.md"));
    }

    #[test]
    fn refuses_a_translation_with_other_code() {
        let other = README_ZH.replace("xinqiao demo", "xinqiao demo --keep");
        let found = text(&[("README.zh-CN.md", &other)]);
        assert!(
            found.contains("this code block differs")
                && found.contains("`xinqiao demo` against `xinqiao demo --keep`")
        );
        let other = WALK_ZH.replace("xinqiao demo", "xinqiao node");
        assert!(
            text(&[("docs/WALKTHROUGH.zh-CN.md", &other)])
                .contains("docs/WALKTHROUGH.md:5: this code block differs")
        );
    }

    #[test]
    fn refuses_a_verb_the_command_does_not_have() {
        let page = README.replace("xinqiao node run", "xinqiao fly");
        assert!(text(&[("README.md", &page)]).contains("README.md:10: `xinqiao fly` is no verb"));
    }
}
