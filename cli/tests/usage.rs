//! What the command says about itself: every verb and every verb under a verb has its help.

#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

use std::process::{Command, Output};

fn xinqiao(args: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xinqiao")).args(args).output().unwrap()
}

/// The verbs that a help text lists.
fn verbs(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // Further lines of a description are indented deeper.
    let named = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Asks for the help of a verb and of all below it; how many there are.
fn explained(verb: &[String]) -> usize {
    let out = xinqiao(&[verb, &["--help".to_owned()]].concat());
    let help = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success() && help.contains("Usage: xinqiao"), "{verb:?}: {help}");
    let first = help.lines().next().unwrap_or_default();
    assert!(!first.is_empty() && !first.starts_with("Usage"), "{verb:?} does not say what it does");
    let below = verbs(&help).into_iter().filter(|word| word != "help");
    1 + below.map(|word| explained(&[verb, &[word]].concat())).sum::<usize>()
}

#[test]
fn every_verb_says_what_it_does() {
    let count = explained(&[]);
    // Fewer would mean that the list was not read.
    assert!(count > 80, "{count}");
}

#[test]
fn what_is_no_verb_is_a_usage_error() {
    for args in [&["no-such-verb"][..], &["repair", "no-such-verb"], &["demo", "--no-such-option"]] {
        let out = xinqiao(&args.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        assert!(!out.stderr.is_empty() && out.stdout.is_empty(), "{args:?}");
    }
}
