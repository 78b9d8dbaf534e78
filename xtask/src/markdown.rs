//! Just enough of Markdown: headings, fenced blocks, links, code between backticks.

use std::collections::BTreeSet;

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// Line of the opening fence, from zero.
    pub line: usize,
    /// The info string.
    pub info: String,
    /// The lines between the fences.
    pub lines: Vec<String>,
}

impl Block {
    /// Whether a reader would type it into a shell.
    pub(crate) fn is_shell(&self) -> bool {
        let language = self.info.split([' ', ',', '{']).next().unwrap_or("");
        matches!(language, "sh" | "bash" | "shell" | "console" | "shell-session")
    }

    /// The lines without those that are only a comment: they are translated.
    pub(crate) fn without_comments(&self) -> String {
        let comment = |line: &&String| {
            let line = line.trim_start();
            line.starts_with('#') || line.starts_with("//")
        };
        self.lines.iter().filter(|line| !comment(line)).map(|line| format!("{line}\n")).collect()
    }
}

/// A page, read.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Line, level and text of each heading.
    heads: Vec<(usize, usize, String)>,
    /// Fenced blocks, in order.
    pub blocks: Vec<Block>,
    /// Line and text of every line outside of blocks.
    prose: Vec<(usize, String)>,
}

impl Page {
    /// Reads a page.
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut fence: Option<(String, Block)> = None;
        for (line, content) in text.lines().enumerate() {
            let trimmed = content.trim_start();
            let mark: String = trimmed.chars().take_while(|c| *c == '`' || *c == '~').collect();
            if let Some((open, mut block)) = fence.take() {
                if mark.starts_with(&open) && trimmed.trim_end() == mark {
                    page.blocks.push(block);
                } else {
                    block.lines.push(content.to_owned());
                    fence = Some((open, block));
                }
            } else if mark.len() >= 3 && !trimmed[mark.len()..].contains('`') {
                let info = trimmed[mark.len()..].trim().to_owned();
                fence = Some((mark, Block { line, info, lines: Vec::new() }));
            } else {
                let level = content.chars().take_while(|c| *c == '#').count();
                if (1..=6).contains(&level) && content[level..].starts_with(' ') {
                    page.heads.push((line, level, content[level..].trim().to_owned()));
                }
                page.prose.push((line, content.to_owned()));
            }
        }
        page.blocks.extend(fence.map(|(_, block)| block));
        page
    }

    /// Line and level of each heading, the level as it is written.
    pub(crate) fn headings(&self) -> Vec<(usize, String)> {
        self.heads.iter().map(|(line, level, _)| (*line, "#".repeat(*level))).collect()
    }

    /// What a fragment may name, by the rule the usual hosts apply to headings.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for (_, _, text) in &self.heads {
            let kept = text
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .collect::<String>();
            let slug = kept.replace(' ', "-");
            let numbered = (1..).map(|n| format!("{slug}-{n}"));
            let free = [slug.clone()].into_iter().chain(numbered).find(|name| !anchors.contains(name));
            anchors.extend(free);
        }
        anchors
    }

    /// Every line of a fenced block, and every text between backticks, with its line.
    pub(crate) fn code_lines(&self) -> Vec<(usize, &str)> {
        let fenced = self.blocks.iter().flat_map(|block| {
            block.lines.iter().enumerate().map(move |(i, content)| (block.line + 1 + i, content.as_str()))
        });
        let inline = self
            .prose
            .iter()
            .flat_map(|(line, content)| content.split('`').skip(1).step_by(2).map(move |code| (*line, code)));
        fenced.chain(inline).collect()
    }
}

/// Line and target of every link outside of code.
pub(crate) fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, content) in &Page::read(text).prose {
        let prose: String = content.split('`').step_by(2).collect::<Vec<_>>().join("``");
        let targets = prose.match_indices("](").map(|(start, _)| &prose[start + 2..]);
        let reference =
            prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
        for rest in targets.chain(reference) {
            let target = match rest.strip_prefix('<') {
                Some(rest) => rest.split('>').next(),
                None => rest.split([')', ' ', '\t']).next(),
            };
            found.extend(target.filter(|target| !target.is_empty()).map(|target| (*line, target.to_owned())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Page, links};

    const PAGE: &str = "# A `b` c!\n\n~~~sh\n# not a heading\n```\nx\n~~~\n\n## A\n## A\n\n[t](a.md \"title\") ![i](<b c.png>) `[no](x)` [r][1]\n\n[1]: d.md\n";

    #[test]
    fn reads_headings_blocks_and_anchors() {
        let page = Page::read(PAGE);
        assert_eq!(page.headings(), [(0, "#".to_owned()), (8, "##".to_owned()), (9, "##".to_owned())]);
        assert_eq!(page.blocks.len(), 1);
        assert!(page.blocks[0].is_shell());
        assert_eq!(page.blocks[0].without_comments(), "```\nx\n");
        assert_eq!(page.anchors().into_iter().collect::<Vec<_>>(), ["a", "a-1", "a-b-c"]);
    }

    #[test]
    fn finds_links_outside_of_code() {
        let found: Vec<String> = links(PAGE).into_iter().map(|(_, target)| target).collect();
        assert_eq!(found, ["a.md", "b c.png", "d.md"]);
    }

    #[test]
    fn a_block_that_is_never_closed_ends_with_the_page() {
        assert_eq!(Page::read("```\na\n").blocks.len(), 1);
    }
}
