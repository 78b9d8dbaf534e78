//! Just enough of Rust's surface to look at code without comments and strings, and to tell tests from the rest.
//!
//! *Not here*: a parser. What this cannot tell apart, clippy and the compiler do.

/// `source` with comments and the insides of strings and characters blanked; lines and columns stay.
pub(crate) fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out: Vec<char> = chars.clone();
    let blank = |out: &mut Vec<char>, from: usize, to: usize| {
        for c in &mut out[from..to.min(chars.len())] {
            if *c != '\n' {
                *c = ' ';
            }
        }
    };
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut i = 0;
    while i < chars.len() {
        let end = match (at(i), at(i + 1)) {
            ('/', '/') => {
                let end = (i..chars.len()).find(|&j| at(j) == '\n').unwrap_or(chars.len());
                blank(&mut out, i, end);
                end
            }
            ('/', '*') => {
                let end = comment_end(&chars, i);
                blank(&mut out, i, end);
                end
            }
            ('"', _) => {
                let end = quoted_end(&chars, i + 1, '"');
                blank(&mut out, i + 1, end - 1);
                end
            }
            ('r', '"' | '#') if i == 0 || !is_word(at(i - 1)) || at(i - 1) == 'b' || at(i - 1) == 'c' => {
                let hashes = (i + 1..chars.len()).take_while(|&j| at(j) == '#').count();
                let open = i + 1 + hashes;
                if at(open) != '"' {
                    i += 1; // a raw identifier
                    continue;
                }
                let close = |j: &usize| at(*j) == '"' && (1..=hashes).all(|k| at(j + k) == '#');
                let end = (open + 1..chars.len()).find(close).unwrap_or(chars.len());
                blank(&mut out, open + 1, end);
                end + 1 + hashes
            }
            ('\'', '\\') => {
                let end = quoted_end(&chars, i + 1, '\'');
                blank(&mut out, i + 1, end - 1);
                end
            }
            ('\'', _) if at(i + 2) == '\'' => {
                blank(&mut out, i + 1, i + 2);
                i + 3
            }
            _ => i + 1, // also a lifetime
        };
        i = end;
    }
    out.into_iter().collect()
}

fn comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut i = start;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => {
                depth += 1;
                i += 2;
            }
            ('*', '/') => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    chars.len()
}

/// The place after the closing quote of a literal that may hold escapes.
fn quoted_end(chars: &[char], mut i: usize, quote: char) -> usize {
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            c if c == quote => return i + 1,
            _ => i += 1,
        }
    }
    chars.len().max(1)
}

/// Whether `c` can stand inside a name.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a file is test code as a whole, by its place.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/benches/")
}

/// For each line of `code` (see [`code_only`]), whether it belongs to an item under `#[cfg(test)]`.
pub(crate) fn test_lines(code: &str) -> Vec<bool> {
    let mut marks = vec![code.trim_start().starts_with("#![cfg(test)]"); code.lines().count()];
    for attribute in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (start, _) in code.match_indices(attribute) {
            let end = item_end(code, start + attribute.len());
            let first = code[..start].matches('\n').count();
            let last = code[..end].matches('\n').count();
            let end = (last + 1).min(marks.len());
            marks[first..end].fill(true);
        }
    }
    marks
}

/// The place after the item that follows: after its `;`, or after the brace that closes it.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0usize;
    for (offset, c) in code[start..].char_indices() {
        match c {
            ';' if depth == 0 => return start + offset,
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return start + offset;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// A `mod name;`: the inline modules around it, and its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ModDeclaration {
    /// Enclosing `mod a { … }` names, outermost first.
    pub inside: Vec<String>,
    /// The declared name.
    pub name: String,
}

/// Every `mod name;` of `code` (see [`code_only`]).
pub(crate) fn mod_declarations(code: &str) -> Vec<ModDeclaration> {
    let mut found = Vec::new();
    let mut inside: Vec<(usize, String)> = Vec::new();
    let (mut depth, mut word, mut words) = (0usize, String::new(), Vec::<String>::new());
    for c in code.chars() {
        if is_word(c) {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        let declared = match words.as_slice() {
            [.., keyword, name] if keyword == "mod" => Some(name.clone()),
            _ => None,
        };
        match (c, declared) {
            (';', Some(name)) => {
                found.push(ModDeclaration { inside: inside.iter().map(|(_, n)| n.clone()).collect(), name });
            }
            ('{', declared) => {
                if let Some(name) = declared {
                    inside.push((depth, name));
                }
                depth += 1;
            }
            ('}', _) => {
                depth = depth.saturating_sub(1);
                if inside.last().is_some_and(|(opened, _)| *opened == depth) {
                    inside.pop();
                }
            }
            _ => {}
        }
        if !c.is_whitespace() {
            words.clear();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{code_only, mod_declarations, test_lines};

    #[test]
    fn blanks_comments_strings_and_characters_and_keeps_places() {
        let source =
            "let a = \"x // y\"; // z\nlet b = r#\"q\"w\"#; /* m /* n */ o */ let c = '\"'; let d: &'a str;";
        let code = code_only(source);
        assert_eq!(code.chars().count(), source.chars().count());
        for gone in ["x //", "z", "q", "w", "m", "n */", " o "] {
            assert!(!code.contains(gone), "{gone} stays in {code}");
        }
        assert!(code.contains("let c = ' ';") && code.contains("&'a str"));
    }

    #[test]
    fn knows_escapes_raw_identifiers_and_byte_strings() {
        let code = code_only("let a = \"\\\"todo\"; let r#type = br\"todo\"; let q = '\\''; let after = 1;");
        assert!(!code.contains("todo"));
        assert!(code.contains("r#type") && code.contains("let after = 1;"));
    }

    #[test]
    fn marks_the_lines_of_items_under_cfg_test() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod more;\nfn d() {}\n";
        assert_eq!(test_lines(code), [false, true, true, true, true, false, true, true, false]);
    }

    #[test]
    fn finds_declared_modules_and_the_inline_ones_around_them() {
        let found =
            mod_declarations("pub mod a;\nmod b { fn f() {} pub(crate) mod c; }\nmod d;\nfn module() {}");
        let names: Vec<String> =
            found.iter().map(|m| [m.inside.clone(), vec![m.name.clone()]].concat().join("/")).collect();
        assert_eq!(names, ["a", "b/c", "d"]);
    }
}
