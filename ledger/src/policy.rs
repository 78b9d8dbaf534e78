//! Trust as a file (C2SP tlog-policy): the logs believed, the witnesses known, and which of them must have cosigned.
//!
//! ```text
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<k> <member>…
//! quorum <name>|none
//! ```
//!
//! Words are separated by spaces and tabs; `#` begins a line that is a comment. A name refers to a line above it and
//! stands in at most one group, so a witness counts in one way only and nothing can refer to itself.
//!
//! Deliberately narrower than the specification: keys are Ed25519 only (vkey type 0x01 for a log, 0x04 for a witness), since
//! a key that cannot be checked cannot be trusted either. Source: C2SP tlog-policy (2026-07).

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    checkpoint::{Checkpoint, SignedCheckpoint, decimal},
    note::{NoteError, NoteKey},
    proof::ProofError,
    witness::Cosigned,
};

/// Longest policy file read, in bytes: some 600 lines with keys, where implementations should take 32 logs, 32
/// witnesses and 32 groups. It bounds the number of names too.
pub const POLICY_BYTES_MAX: usize = 128 * 1024;

/// Name of the quorum that needs no cosignature.
const NONE: &[u8] = b"none";

/// Why a file is no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong there. Lower case, no full stop.
    pub why: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for PolicyError {}

/// Why a checkpoint, or a proof under one, is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disbelief {
    /// The policy lists no log of this origin.
    UnknownLog {
        /// Origin in the checkpoint.
        origin: String,
    },
    /// The log has not signed, or a line under a known name and id does not verify.
    Note(NoteError),
    /// Too few witnesses, or not the ones that are needed, have cosigned.
    Quorum {
        /// Good cosignatures by witnesses of the policy.
        found: usize,
    },
    /// The entry is not at this place under the checkpoint.
    Inclusion(ProofError),
    /// The receipt's own signature is not the log's.
    Receipt,
}

impl fmt::Display for Disbelief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownLog { origin } => write!(f, "the policy lists no log `{origin}`"),
            Self::Note(error) => error.fmt(f),
            Self::Quorum { found } => {
                write!(f, "the quorum is not reached: {found} known witnesses have cosigned")
            }
            Self::Inclusion(error) => write!(f, "the entry is not proven: {error}"),
            Self::Receipt => f.write_str("the receipt is not signed by the log's key"),
        }
    }
}

impl std::error::Error for Disbelief {}

/// A checkpoint that the policy accepts.
#[derive(Clone, Debug)]
pub struct Believed {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The key that has signed it.
    pub log: NoteKey,
    /// Every good cosignature by a witness of the policy, in the order of the file.
    pub cosigned: Vec<Cosigned>,
}

/// A witness, or a group of what stands before it.
#[derive(Clone, Debug)]
enum Node {
    Witness(NoteKey),
    /// At least `threshold` of `members`, which are places in the list of nodes before this one.
    Group {
        threshold: usize,
        members: Vec<usize>,
    },
}

/// A policy that was read.
#[derive(Clone, Debug)]
pub struct Policy {
    logs: Vec<NoteKey>,
    nodes: Vec<Node>,
    /// The node that must be met; `None` for `quorum none`.
    quorum: Option<usize>,
}

impl Policy {
    /// Reads a policy file. Urls are skipped: verifying needs none.
    ///
    /// Errors: the first line that is not as it should be; the last one when the quorum is missing.
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        let line_of = |at: usize| file[..at].iter().filter(|b| **b == b'\n').count() + 1;
        let fail = |at: usize, why: &str| PolicyError { line: line_of(at), why: why.to_owned() };
        if file.len() > POLICY_BYTES_MAX {
            return Err(fail(POLICY_BYTES_MAX, "the file is longer than 128 KiB"));
        }
        if let Some(at) = file.iter().position(|b| (*b < 0x20 && !b"\t\n".contains(b)) || *b == 0x7f) {
            return Err(fail(at, "a control character other than tab and newline"));
        }
        // A file that was cut off must not pass for a shorter one.
        let Some(body) = file.strip_suffix(b"\n") else {
            return Err(fail(file.len(), "the last line does not end with a newline"));
        };
        let mut reader = Reader::default();
        for (number, line) in body.split(|b| *b == b'\n').enumerate() {
            let words: Vec<&[u8]> =
                line.split(|b| b" \t".contains(b)).filter(|word| !word.is_empty()).collect();
            reader.line(&words).map_err(|why| PolicyError { line: number + 1, why })?;
        }
        let quorum = reader.quorum.ok_or_else(|| fail(body.len(), "there is no quorum line"))?;
        Ok(Self { logs: reader.logs, nodes: reader.nodes, quorum })
    }

    /// Checks that one of the logs has signed the checkpoint and that the quorum has cosigned it.
    ///
    /// Lines of unknown keys are ignored. A line under the name and id of any log or witness of the policy that does not
    /// verify refuses the checkpoint, also when enough others have signed.
    /// Errors: `UnknownLog`, `Note`, `Quorum`.
    pub fn verify(&self, signed: &SignedCheckpoint) -> Result<Believed, Disbelief> {
        let origin = &signed.claimed().origin;
        let note = signed.note().map_err(Disbelief::Note)?;
        let (mut known, mut log) = (false, None);
        for key in &self.logs {
            let own = key.name == *origin;
            known |= own;
            match note.verify(key) {
                Ok(()) if own => log = log.or(Some(key)),
                Ok(()) | Err(NoteError::Unsigned { .. }) => {}
                Err(error) => return Err(Disbelief::Note(error)),
            }
        }
        let log = match log {
            Some(log) => log.clone(),
            None if known => return Err(Disbelief::Note(NoteError::Unsigned { name: origin.clone() })),
            None => return Err(Disbelief::UnknownLog { origin: origin.clone() }),
        };
        let mut cosigned = Vec::new();
        // A group refers backwards only, so one pass in order decides every node.
        let mut met: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let holds = match node {
                Node::Witness(key) => match note.verify_cosignature(key) {
                    Ok(time_s) => {
                        cosigned.push(Cosigned { name: key.name.clone(), time_s });
                        true
                    }
                    Err(NoteError::Unsigned { .. }) => false,
                    Err(error) => return Err(Disbelief::Note(error)),
                },
                Node::Group { threshold, members } => {
                    members.iter().filter(|m| met.get(**m) == Some(&true)).count() >= *threshold
                }
            };
            met.push(holds);
        }
        if self.quorum.is_some_and(|at| met.get(at) != Some(&true)) {
            return Err(Disbelief::Quorum { found: cosigned.len() });
        }
        Ok(Believed { checkpoint: signed.claimed().clone(), log, cosigned })
    }
}

/// What was read so far.
#[derive(Default)]
struct Reader<'a> {
    logs: Vec<NoteKey>,
    nodes: Vec<Node>,
    /// Place of each name in `nodes`. Names are octets: the specification keeps them out of Unicode.
    names: BTreeMap<&'a [u8], usize>,
    /// Places that are a member of a group already.
    grouped: BTreeSet<usize>,
    log_keys: BTreeSet<[u8; 32]>,
    witness_keys: BTreeSet<[u8; 32]>,
    quorum: Option<Option<usize>>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, words: &[&'a [u8]]) -> Result<(), String> {
        match words {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] | [b"log", key, _] => self.log(key),
            [b"witness", name, key] | [b"witness", name, key, _] => self.witness(name, key),
            [b"group", name, threshold, members @ ..] => self.group(name, threshold, members),
            [b"quorum", name] => self.quorum(name),
            [first @ (b"log" | b"witness" | b"group" | b"quorum"), ..] => {
                Err(format!("`{}` with too few or too many words", shown(first)))
            }
            [first, ..] => Err(format!("`{}` is neither log, witness, group nor quorum", shown(first))),
        }
    }

    fn log(&mut self, vkey: &[u8]) -> Result<(), String> {
        let key = NoteKey::parse(text(vkey)?).map_err(|e| format!("the log's key: {e}"))?;
        if !self.log_keys.insert(key.key.to_bytes()) {
            return Err("another log above has the same public key".into());
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &'a [u8], vkey: &[u8]) -> Result<(), String> {
        let key = NoteKey::parse_cosigner(text(vkey)?).map_err(|e| format!("the witness's key: {e}"))?;
        if !self.witness_keys.insert(key.key.to_bytes()) {
            return Err("another witness above has the same public key".into());
        }
        self.define(name, Node::Witness(key))
    }

    fn group(&mut self, name: &'a [u8], threshold: &[u8], members: &[&'a [u8]]) -> Result<(), String> {
        if members.is_empty() {
            return Err("a group without members".into());
        }
        let threshold = match threshold {
            b"all" => members.len(),
            b"any" => 1,
            digits => core::str::from_utf8(digits)
                .ok()
                .and_then(decimal)
                .and_then(|k| usize::try_from(k).ok())
                .filter(|k| (1..=members.len()).contains(k))
                .ok_or_else(|| format!("`{}` is not all, any, or 1 to {}", shown(digits), members.len()))?,
        };
        let mut places = Vec::with_capacity(members.len());
        for member in members {
            let place = self.place(member)?;
            if !self.grouped.insert(place) {
                return Err(format!("`{}` is a member of a group already", shown(member)));
            }
            places.push(place);
        }
        self.define(name, Node::Group { threshold, members: places })
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), String> {
        if self.quorum.is_some() {
            return Err("a second quorum line".into());
        }
        self.quorum = Some(if name == NONE { None } else { Some(self.place(name)?) });
        Ok(())
    }

    fn define(&mut self, name: &'a [u8], node: Node) -> Result<(), String> {
        if name == NONE {
            return Err("`none` is reserved for the quorum line".into());
        }
        if self.names.insert(name, self.nodes.len()).is_some() {
            return Err(format!("`{}` is defined above already", shown(name)));
        }
        self.nodes.push(node);
        Ok(())
    }

    fn place(&self, name: &[u8]) -> Result<usize, String> {
        self.names.get(name).copied().ok_or_else(|| format!("`{}` is not defined above", shown(name)))
    }
}

fn text(vkey: &[u8]) -> Result<&str, String> {
    core::str::from_utf8(vkey).map_err(|_| "the key is not UTF-8".to_owned())
}

fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

/// Writes the policy that believes one log when `needed` of `witnesses` have cosigned; 0 for `quorum none`. Log and
/// witnesses come with every key they have had, the present one first; any of them will do, and counts once. Urls are left
/// out where they are empty.
///
/// One log, because the format allows each public key once and a member signs its logs with one key.
/// Errors: none here; a `needed` beyond the number of witnesses makes a file that [`Policy::parse`] refuses.
pub fn one_log(log: (&[NoteKey], &str), witnesses: &[(Vec<NoteKey>, String)], needed: usize) -> String {
    let line = |words: &[&str]| {
        let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
        words.join(" ") + "\n"
    };
    let mut file = String::new();
    for key in log.0 {
        file += &line(&["log", &key.vkey(), log.1]);
    }
    let mut members = Vec::new();
    for (keys, url) in witnesses {
        // The names of the file are its own. A witness with past keys is a group of which any will do.
        let names: Vec<String> =
            keys.iter().enumerate().map(|(n, key)| format!("{}{}", key.name, ".past".repeat(n))).collect();
        for (name, key) in names.iter().zip(keys) {
            file += &line(&["witness", name, &key.cosigner_vkey(), url]);
        }
        members.push(match &names[..] {
            [] => continue,
            [one] => one.clone(),
            [first, ..] => {
                let group = format!("{first}.any");
                file += &format!("group {group} any {}\n", names.join(" "));
                group
            }
        });
    }
    if needed == 0 {
        return file + "quorum none\n";
    }
    // A key's name holds what the registry put there; a group's name must be none of them.
    let group = "committee";
    file + &format!("group {group} {needed} {}\nquorum {group}\n", members.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{note, tree::TreeSize};
    use crypto::{Digest, secret::Secret, sign::SigningKey};
    use proptest::prelude::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    fn log_key(seed: u8, name: &str) -> NoteKey {
        NoteKey::new(name, key(seed).verifying_key()).unwrap()
    }

    /// The vkey of the witness `w<seed>`.
    fn w(seed: u8) -> String {
        log_key(seed, &format!("w{seed}")).cosigner_vkey()
    }

    /// A checkpoint of log `o`, signed by key 1 and cosigned by these.
    fn cosigned(by: &[u8]) -> SignedCheckpoint {
        let checkpoint = Checkpoint { origin: "o".into(), size: TreeSize(3), root: Digest::of(b"r") };
        let mut note = checkpoint.sign(&key(1)).as_str().to_owned();
        for seed in by {
            note += &note::cosign(&checkpoint.text(), &format!("w{seed}"), &key(*seed), 7);
        }
        SignedCheckpoint::parse(&note).unwrap()
    }

    fn log() -> String {
        format!("log {}\n", log_key(1, "o").vkey())
    }

    #[test]
    fn groups_of_groups_decide_as_the_specification_says() {
        // The example of the specification: two of the first three and any of the second three.
        let mut file = format!("# example\n\n{}", log());
        for n in 2..8u8 {
            file += &format!(" witness\t{n} {}  https://w.example/\n", w(n));
        }
        file += "group X 2 2 3 4\n\t# between\ngroup Y any 5 6 7\ngroup both all X Y\nquorum both\n";
        let policy = Policy::parse(file.as_bytes()).unwrap();
        for (by, good) in [
            (&[2, 3, 5][..], true),
            (&[4, 2, 7, 9], true),
            (&[2, 3, 4, 5, 6, 7], true),
            (&[2, 5, 6, 7], false),
            (&[2, 3, 4], false),
            (&[], false),
        ] {
            let found = by.iter().filter(|n| (2..8).contains(*n)).count();
            match policy.verify(&cosigned(by)) {
                Ok(believed) => assert_eq!((good, believed.cosigned.len()), (true, found), "{by:?}"),
                Err(why) => assert_eq!((good, why), (false, Disbelief::Quorum { found }), "{by:?}"),
            }
        }
    }

    #[test]
    fn one_witness_or_none_may_be_the_quorum() {
        let alone = format!("{}witness a {}\nquorum a\n", log(), w(2));
        let policy = Policy::parse(alone.as_bytes()).unwrap();
        assert_eq!(policy.verify(&cosigned(&[2])).unwrap().cosigned.len(), 1);
        assert_eq!(policy.verify(&cosigned(&[3])).unwrap_err(), Disbelief::Quorum { found: 0 });
        let policy = Policy::parse(format!("quorum none\n{}", log()).as_bytes()).unwrap();
        assert_eq!(policy.verify(&cosigned(&[2])).unwrap().cosigned.len(), 0);
    }

    #[test]
    fn a_known_line_that_fails_refuses_even_with_enough_others() {
        let file = format!("{}witness a {}\nwitness b {}\ngroup g any a b\nquorum g\n", log(), w(2), w(3));
        let policy = Policy::parse(file.as_bytes()).unwrap();
        let good = cosigned(&[2]);
        let forged = |by: u8| {
            let line = note::cosign("another text\n", &format!("w{by}"), &key(by), 7);
            SignedCheckpoint::parse(&format!("{}{line}", good.as_str())).unwrap()
        };
        let bad = |name: &str| Disbelief::Note(NoteError::BadSignature { name: name.into() });
        assert_eq!(policy.verify(&forged(3)).unwrap_err(), bad("w3"));
        // The same line of a witness that the policy does not know is carried along.
        assert!(policy.verify(&forged(4)).is_ok());
        let line = note::sign("another text\n", "o", &key(1));
        let twice = SignedCheckpoint::parse(&format!("{}{line}", good.as_str())).unwrap();
        assert_eq!(policy.verify(&twice).unwrap_err(), bad("o"));
    }

    #[test]
    fn only_a_listed_log_that_has_signed_is_believed() {
        let policy = |line: String| Policy::parse(format!("{line}quorum none\n").as_bytes()).unwrap();
        let unknown = Disbelief::UnknownLog { origin: "o".into() };
        assert_eq!(policy(String::new()).verify(&cosigned(&[])).unwrap_err(), unknown);
        let other = format!("log {}\n", log_key(1, "p").vkey());
        assert_eq!(policy(other).verify(&cosigned(&[])).unwrap_err(), unknown);
        let stranger = format!("log {}\n", log_key(9, "o").vkey());
        let unsigned = Disbelief::Note(NoteError::Unsigned { name: "o".into() });
        assert_eq!(policy(stranger.clone()).verify(&cosigned(&[])).unwrap_err(), unsigned);
        // A log may have two keys: either will do.
        assert_eq!(
            policy(stranger + &log()).verify(&cosigned(&[])).unwrap().log.vkey(),
            log_key(1, "o").vkey()
        );
    }

    #[test]
    fn every_error_names_its_line() {
        let (two, three) = (w(2), w(3));
        let four = log_key(2, "renamed").cosigner_vkey();
        let logs = format!("{}log {}\n", log(), log_key(1, "another").vkey());
        let as_log = log_key(2, "w2").vkey();
        for (line, file, why) in [
            (1, String::new(), "newline"),
            (1, "\n".into(), "no quorum"),
            (1, "quorum none".into(), "newline"),
            (2, "#\nquorum none\r\n".into(), "control"),
            (2, "#\n# \u{7f}\nquorum none\n".into(), "control"),
            (2, "quorum none\nquorum none\n".into(), "second quorum"),
            (1, "quorum none extra\n".into(), "too few or too many"),
            (1, "quorum\n".into(), "too few or too many"),
            (1, "log\n".into(), "too few or too many"),
            (1, "witness a\n".into(), "too few or too many"),
            (1, "group g\n".into(), "too few or too many"),
            (1, "Quorum none\n".into(), "neither"),
            (1, "quorum a\n".into(), "not defined above"),
            (1, "log x\n".into(), "malformed"),
            (1, format!("log {two}\n"), "malformed key type"),
            (1, format!("witness a {as_log}\n"), "malformed key type"),
            (2, logs, "same public key"),
            (2, format!("witness a {two}\nwitness b {four}\n"), "same public key"),
            (2, format!("witness a {two}\nwitness a {three}\n"), "defined above already"),
            (2, format!("witness a {two}\ngroup a all a\n"), "defined above already"),
            (1, format!("witness none {two}\n"), "reserved"),
            (2, format!("witness a {two}\ngroup g all\n"), "without members"),
            (2, format!("witness a {two}\ngroup g 0 a\n"), "1 to 1"),
            (2, format!("witness a {two}\ngroup g 2 a\n"), "1 to 1"),
            (2, format!("witness a {two}\ngroup g 01 a\n"), "1 to 1"),
            (2, format!("witness a {two}\ngroup g +1 a\n"), "1 to 1"),
            (2, format!("witness a {two}\ngroup g all none\n"), "not defined above"),
            (2, format!("witness a {two}\ngroup g all g\n"), "not defined above"),
            (2, format!("witness a {two}\ngroup g all a a\n"), "already"),
            (3, format!("witness a {two}\ngroup g all a\ngroup h all a\n"), "already"),
            (3, "\n#\n\u{4fe1}\n".into(), "neither"),
        ] {
            let error = Policy::parse(file.as_bytes()).unwrap_err();
            assert!(error.line == line && error.why.contains(why), "{file}: {error}");
        }
        let long = [b"quorum none\n".repeat(POLICY_BYTES_MAX / 12 + 1)].concat();
        assert!(Policy::parse(&long).unwrap_err().why.contains("128 KiB"));
        // Names are octets, not text.
        let octets = [b"witness \xff ", two.as_bytes(), b"\nquorum \xff\n"].concat();
        assert!(Policy::parse(&octets).is_ok());
    }

    #[test]
    fn more_names_than_the_specification_asks_for_are_read() {
        let mut file = String::new();
        for n in 1..=40u8 {
            file += &format!("log {}\nwitness w{n} {}\ngroup g{n} all w{n}\n", log_key(n, "o").vkey(), w(n));
        }
        // A chain of groups as deep as the file: deciding it takes no stack.
        let mut deepest = "g1".to_owned();
        for n in 0..5_000 {
            file += &format!("group h{n} any {deepest}\n");
            deepest = format!("h{n}");
        }
        file += &format!("quorum {deepest}\n");
        let policy = Policy::parse(file.as_bytes()).unwrap();
        assert_eq!(policy.logs.len(), 40);
        assert!(policy.verify(&cosigned(&[1])).is_ok());
        assert_eq!(policy.verify(&cosigned(&[2])).unwrap_err(), Disbelief::Quorum { found: 1 });
    }

    #[test]
    fn the_written_policy_demands_what_it_was_told() {
        let witnesses: Vec<(Vec<NoteKey>, String)> = (2..6u8)
            .map(|n| (vec![log_key(n, &format!("w{n}"))], format!("http://w{n}.example/witness")))
            .collect();
        let log = [log_key(1, "o")];
        let file = one_log((&log, "http://o.example"), &witnesses, 3);
        assert_eq!(file.lines().count(), 7);
        let policy = Policy::parse(file.as_bytes()).unwrap();
        assert!(policy.verify(&cosigned(&[2, 3, 5])).is_ok());
        assert_eq!(policy.verify(&cosigned(&[2, 3])).unwrap_err(), Disbelief::Quorum { found: 2 });
        assert!(Policy::parse(one_log((&log, ""), &witnesses, 5).as_bytes()).is_err());
        let open = one_log((&log, ""), &[], 0);
        assert_eq!(open, format!("log {}\nquorum none\n", log[0].vkey()));
    }

    #[test]
    fn keys_that_were_replaced_go_on_to_count_once() {
        let log = [log_key(9, "o"), log_key(1, "o")];
        let both = vec![log_key(2, "w2"), log_key(3, "w2")];
        let witnesses = [(both, String::new()), (vec![log_key(4, "w4")], String::new())];
        let policy = Policy::parse(one_log((&log, ""), &witnesses, 2).as_bytes()).unwrap();
        let signed = |by: &[(u8, &str)]| {
            let mut note = cosigned(&[]).as_str().to_owned();
            for (seed, name) in by {
                note += &note::cosign(cosigned(&[]).note().unwrap().text(), name, &key(*seed), 7);
            }
            SignedCheckpoint::parse(&note).unwrap()
        };
        for past in [2, 3] {
            assert!(policy.verify(&signed(&[(past, "w2"), (4, "w4")])).is_ok());
        }
        let twice = policy.verify(&signed(&[(2, "w2"), (3, "w2")])).unwrap_err();
        assert!(matches!(twice, Disbelief::Quorum { .. }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_and_no_cut_off_file_passes(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()
        ) {
            let _ = Policy::parse(&bytes);
            let file = one_log((&[log_key(1, "o")], ""), &[(vec![log_key(2, "w2")], String::new())], 1);
            prop_assert!(Policy::parse(&file.as_bytes()[..cut.index(file.len())]).is_err());
        }
    }
}
