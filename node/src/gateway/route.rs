//! Every address of the gateway. What is not in [`ROUTES`] is not there, and the document has exactly these.

use super::trouble::Trouble;

/// What an address does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Whether the node is ready.
    Health,
    /// The document.
    Document,
    /// Ask a question.
    Ask,
    /// Questions asked, page by page.
    List,
    /// One question and its answer.
    Query,
    /// The sealed answer as a file.
    Evidence,
    /// Hand in a grant.
    AddGrant,
    /// One grant.
    Grant,
    /// What other members said.
    Events,
    /// What can be asked about.
    Catalog,
}

/// Method, address, what it does.
pub const ROUTES: [(&str, &str, Route); 10] = [
    ("GET", "/openapi.json", Route::Document),
    ("GET", "/v1/health", Route::Health),
    ("POST", "/v1/queries", Route::Ask),
    ("GET", "/v1/queries", Route::List),
    ("GET", "/v1/queries/{id}", Route::Query),
    ("GET", "/v1/queries/{id}/evidence", Route::Evidence),
    ("POST", "/v1/grants", Route::AddGrant),
    ("GET", "/v1/grants/{id}", Route::Grant),
    ("GET", "/v1/events", Route::Events),
    ("GET", "/v1/catalog", Route::Catalog),
];

/// The route of a request, and the `{id}` in its path.
pub fn find(method: &str, path: &str) -> Result<(Route, String), Trouble> {
    let mut methods = [false; 2];
    for (takes, address, route) in ROUTES {
        let Some(id) = matches(address, path) else { continue };
        if takes == method {
            return Ok((route, id.to_owned()));
        }
        methods[usize::from(takes == "POST")] = true;
    }
    let allow = match methods {
        [false, false] => return Err(Trouble::not_found(format!("there is no address `{path}`"))),
        [true, false] => "GET",
        [false, true] => "POST",
        [true, true] => "GET, POST",
    };
    Err(Trouble { allow: Some(allow), ..Trouble::own("method.not-allowed", format!("`{method}`")) })
}

/// The `{id}` of a path that an address describes; empty where it has none.
fn matches<'a>(address: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, after)) = address.split_once("{id}") else { return (address == path).then_some("") };
    let id = path.strip_prefix(before)?.strip_suffix(after)?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_has_these_addresses_and_no_others() {
        let document: serde_json::Value = serde_json::from_str(super::super::DOCUMENT).unwrap();
        let mut documented = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys().filter(|m| *m != "parameters") {
                documented.insert((method.to_uppercase(), path.clone()));
            }
        }
        let ours = ROUTES.map(|(method, path, _)| (method.to_owned(), path.to_owned()));
        assert_eq!(documented, BTreeSet::from(ours));
    }

    #[test]
    fn an_address_is_found_by_method_and_path_alone() {
        assert_eq!(find("GET", "/v1/queries/abc"), Ok((Route::Query, "abc".into())));
        assert_eq!(find("GET", "/v1/queries/abc/evidence"), Ok((Route::Evidence, "abc".into())));
        assert_eq!(find("POST", "/v1/queries").unwrap().0, Route::Ask);
        for path in ["/", "/v1", "/v1/queries/", "/v1/queries/a/b", "/v1/queries//evidence", "/v1/health/"] {
            assert_eq!(find("GET", path).unwrap_err().status, 404, "{path}");
        }
        assert_eq!(find("DELETE", "/v1/queries").unwrap_err().allow, Some("GET, POST"));
        assert_eq!(find("POST", "/v1/events").unwrap_err().allow, Some("GET"));
        assert_eq!(find("GET", "/v1/grants").unwrap_err().status, 405);
    }
}
