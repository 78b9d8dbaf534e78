//! Who may know whom, from the resolved dependency graph, and what stays out of the pure crates.
//!
//! Shape: [`check`] is pure over `cargo metadata`'s JSON; only [`metadata`] runs a program. Edges between our own
//! crates count whatever their kind; what a pure crate must not bring along is looked for over normal dependencies.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::findings::Findings;

/// A row of the table: a crate of ours, those of ours it may use, and why no more.
struct Layer {
    name: &'static str,
    may_use: &'static [&'static str],
    because: &'static str,
}

const LAYERS: [Layer; 8] = [
    Layer { name: "crypto", may_use: &[], because: "anyone may review it alone" },
    Layer {
        name: "ledger",
        may_use: &["crypto"],
        because: "a log of opaque leaves can be checked against RFC 6962 alone",
    },
    Layer {
        name: "credit",
        may_use: &["crypto"],
        because: "the rules can be read by someone who has never seen a Merkle tree",
    },
    Layer {
        name: "exchange",
        may_use: &["credit", "ledger", "crypto"],
        because: "it is the only place where meaning meets log",
    },
    Layer {
        name: "node",
        may_use: &["exchange", "credit", "ledger", "crypto"],
        because: "it carries; it does not decide",
    },
    Layer {
        name: "cli",
        may_use: &["node", "exchange", "credit", "ledger", "crypto"],
        because: "it is the outermost layer: it starts a node and speaks to others over the wire",
    },
    Layer {
        name: "conformance",
        may_use: &["exchange", "credit", "ledger", "crypto"],
        because: "it drives `node` and `cli` only as processes, as any other implementation would be driven",
    },
    Layer { name: "xtask", may_use: &[], because: "it must build when our other crates do not" },
];

/// What tests of a crate may use beyond its row: name, used, and why.
const TESTS_MAY_USE: [(&str, &str, &str); 1] =
    [("conformance", "node", "it attacks the wire with the real transport")];

const PURE: [&str; 4] = ["crypto", "ledger", "credit", "exchange"];

const RUNTIME: &str = "pure crates never wait: a runtime belongs to `node` and `cli`";
const SOCKET: &str = "pure crates open no socket: the transport belongs to `node`";
const RANDOM: &str = "randomness is an argument, so that one seed is one history";

/// What no pure crate brings along, at any depth.
const NEVER_BELOW_PURE: [(&str, &str); 14] = [
    ("tokio", RUNTIME),
    ("mio", RUNTIME),
    ("quinn", SOCKET),
    ("quinn-proto", SOCKET),
    ("rustls", SOCKET),
    ("hyper", SOCKET),
    ("axum", SOCKET),
    ("reqwest", SOCKET),
    ("socket2", SOCKET),
    ("fjall", "pure crates touch no file: storage arrives as a `View`"),
    ("tracing", "pure crates do not log: a `Step` carries facts, `node` turns them into logs"),
    ("log", "pure crates do not log: a `Step` carries facts, `node` turns them into logs"),
    ("getrandom", RANDOM),
    ("rand", RANDOM),
];

/// What a crate may have below it for a part that pure crates do not use: who, what, and what keeps them from it.
const BELOW_FOR_OTHERS: [(&str, &str, &str); 1] =
    [("ring", "getrandom", "only `ring::rand` draws from it, and `tidy` bans that word in pure crates")];

/// What a pure crate does not name itself.
const NEVER_IN_PURE: [(&str, &str); 2] = [
    ("serde", "a serializable type is a promise; our one encoding is in `crypto::codec`"),
    ("serde_json", "a serializable type is a promise; our one encoding is in `crypto::codec`"),
];

/// The resolved graph of the workspace as it is locked.
pub(crate) fn metadata(root: &Path) -> Result<Value, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output();
    let output = run.map_err(|e| format!("cannot run cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata is not JSON: {e}"))
}

/// Compares the graph with the tables above.
pub(crate) fn check(metadata: &Value) -> Result<Findings, String> {
    let graph = Graph::read(metadata).ok_or("cargo metadata has no resolved graph in the known form")?;
    let mut findings = Findings::default();
    for (id, name) in &graph.ours {
        let Some(layer) = LAYERS.iter().find(|l| l.name == *name) else {
            findings.add(
                *name,
                "is no row of the table of layers; add it to xtask/src/layers.rs with its reason",
            );
            continue;
        };
        for edge in graph.edges(id) {
            if let Some(used) = graph.ours.get(edge.to)
                && used != name
                && !layer.may_use.contains(used)
                && (edge.normal || !TESTS_MAY_USE.iter().any(|(by, what, _)| by == name && what == used))
            {
                findings.add(*name, format!("may not use `{used}`, because {}", layer.because));
            }
        }
        if PURE.contains(name) {
            pure(&graph, id, name, &mut findings);
        }
    }
    Ok(findings)
}

fn pure(graph: &Graph<'_>, id: &str, name: &str, findings: &mut Findings) {
    for edge in graph.edges(id).iter().filter(|e| e.normal) {
        let direct = graph.name(edge.to);
        if let Some((banned, because)) = NEVER_IN_PURE.iter().find(|(banned, _)| *banned == direct) {
            findings.add(name, format!("depends on `{banned}`, but {because}"));
        }
    }
    // Breadth first, so that the way printed is a shortest one.
    let mut ways: Vec<Vec<&str>> = vec![vec![id]];
    let mut seen = BTreeSet::from([id]);
    let mut next = 0;
    while let Some(way) = ways.get(next).cloned() {
        next += 1;
        for edge in graph.edges(way[way.len() - 1]).iter().filter(|e| e.normal) {
            let from = graph.name(way[way.len() - 1]);
            if BELOW_FOR_OTHERS.iter().any(|(by, what, _)| (*by, *what) == (from, graph.name(edge.to))) {
                continue;
            }
            if !seen.insert(edge.to) {
                continue;
            }
            let way = [way.clone(), vec![edge.to]].concat();
            if let Some((_, because)) =
                NEVER_BELOW_PURE.iter().find(|(banned, _)| *banned == graph.name(edge.to))
            {
                let names: Vec<&str> = way.iter().map(|id| graph.name(id)).collect();
                findings.add(name, format!("brings along {}, but {because}", names.join(" → ")));
            }
            ways.push(way);
        }
    }
}

struct Edge<'a> {
    to: &'a str,
    normal: bool,
}

struct Graph<'a> {
    names: BTreeMap<&'a str, &'a str>,
    /// Members of the workspace: id and name.
    ours: BTreeMap<&'a str, &'a str>,
    edges: BTreeMap<&'a str, Vec<Edge<'a>>>,
}

impl<'a> Graph<'a> {
    /// `None` when a part is missing: better no verdict than one over half a graph.
    fn read(metadata: &'a Value) -> Option<Self> {
        let mut names = BTreeMap::new();
        for package in metadata["packages"].as_array()? {
            names.insert(package["id"].as_str()?, package["name"].as_str()?);
        }
        let mut ours = BTreeMap::new();
        for id in metadata["workspace_members"].as_array()? {
            let id = id.as_str()?;
            ours.insert(id, *names.get(id)?);
        }
        let mut edges = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array()? {
            let mut out = Vec::new();
            for dep in node["deps"].as_array()? {
                let kinds = dep["dep_kinds"].as_array()?;
                out.push(Edge {
                    to: dep["pkg"].as_str()?,
                    normal: kinds.iter().any(|k| k["kind"].is_null()),
                });
            }
            edges.insert(node["id"].as_str()?, out);
        }
        Some(Self { names, ours, edges })
    }

    fn name(&self, id: &str) -> &'a str {
        self.names.get(id).copied().unwrap_or("?")
    }

    fn edges(&self, id: &str) -> &[Edge<'a>] {
        self.edges.get(id).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::check;

    /// A graph of `(from, to, kind)`, all of ours in the workspace.
    fn graph(edges: &[(&str, &str, Option<&str>)]) -> Value {
        let ours = ["crypto", "ledger", "credit", "exchange", "node", "cli", "conformance", "xtask"];
        let mut all: Vec<&str> = ours.to_vec();
        all.extend(edges.iter().flat_map(|(from, to, _)| [*from, *to]));
        all.sort_unstable();
        all.dedup();
        let nodes: Vec<Value> = all
            .iter()
            .map(|id| {
                let deps = edges.iter().filter(|(from, ..)| from == id);
                let deps: Vec<Value> =
                    deps.map(|(_, to, kind)| json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] })).collect();
                json!({ "id": id, "deps": deps })
            })
            .collect();
        json!({
            "packages": all.iter().map(|n| json!({ "id": n, "name": n })).collect::<Vec<_>>(),
            "workspace_members": ours,
            "resolve": { "nodes": nodes },
        })
    }

    fn text(edges: &[(&str, &str, Option<&str>)]) -> String {
        check(&graph(edges)).unwrap().text()
    }

    #[test]
    fn accepts_the_allowed_direction() {
        let edges = [
            ("ledger", "crypto", None),
            ("credit", "crypto", None),
            ("exchange", "ledger", None),
            ("exchange", "credit", None),
            ("node", "exchange", None),
            ("cli", "node", None),
            ("conformance", "exchange", Some("dev")),
            ("conformance", "node", Some("dev")),
            ("node", "tokio", None),
            ("credit", "csv", None),
            ("csv", "serde", None),
        ];
        assert_eq!(text(&edges), "");
    }

    #[test]
    fn refuses_ledger_and_credit_knowing_each_other() {
        assert!(
            text(&[("ledger", "credit", None)])
                .contains("may not use `credit`, because a log of opaque leaves")
        );
        assert!(text(&[("credit", "ledger", None)]).contains("never seen a Merkle tree"));
    }

    #[test]
    fn refuses_an_upward_edge_of_any_kind() {
        assert!(text(&[("exchange", "node", Some("dev"))]).contains("may not use `node`"));
        assert!(text(&[("conformance", "node", None)]).contains("only as processes"));
        assert!(text(&[("conformance", "cli", Some("dev"))]).contains("only as processes"));
        assert!(text(&[("xtask", "crypto", None)]).contains("must build when"));
    }

    #[test]
    fn refuses_a_runtime_below_a_pure_crate_and_prints_the_way() {
        let found = text(&[("credit", "csv", None), ("csv", "tokio", None)]);
        assert_eq!(
            found,
            "credit: brings along credit → csv → tokio, but pure crates never wait: a runtime belongs to `node` and `cli`\n"
        );
    }

    #[test]
    fn leaves_what_only_tests_or_build_scripts_use_alone() {
        assert_eq!(text(&[("crypto", "proptest", Some("dev")), ("proptest", "rand", None)]), "");
        assert_eq!(text(&[("crypto", "cc", Some("build")), ("cc", "log", None)]), "");
    }

    #[test]
    fn randomness_below_ring_is_no_finding_and_below_anybody_else_it_is() {
        let by = |who| text(&[("crypto", who, None), (who, "getrandom", None)]);
        assert!(!by("ring").contains("getrandom"), "{}", by("ring"));
        assert!(by("x25519").contains("getrandom"), "{}", by("x25519"));
    }

    #[test]
    fn refuses_a_serializer_named_by_a_pure_crate() {
        assert!(text(&[("credit", "serde", None)]).contains("is a promise"));
    }

    #[test]
    fn gives_no_verdict_over_half_a_graph() {
        assert!(check(&json!({ "packages": [] })).is_err());
        let mut half = graph(&[]);
        half["resolve"]["nodes"] = Value::Null;
        assert!(check(&half).is_err());
    }

    #[test]
    fn refuses_a_crate_without_a_row() {
        let mut graph = graph(&[("plugin", "crypto", None)]);
        graph["workspace_members"].as_array_mut().unwrap().push(json!("plugin"));
        assert!(check(&graph).unwrap().text().contains("plugin: is no row"));
    }
}
