//! The part of the gateway's clients that follows from its document: one method for each operation, with its parameters, in
//! Python and in Java. It stands between two marks in `conformance/clients`; what is around it is written by hand.
//!
//! `cargo xtask clients` fails when what stands there is not what `docs/openapi.json` gives; `--write` puts it there.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

const DOCUMENT: &str = "docs/openapi.json";
/// What is generated stands after a line with the one and before a line with the other.
const MARKS: (&str, &str) =
    ("what follows is written by `cargo xtask clients --write`", "End of what is written by");
/// Columns of a line of generated comment.
const WIDTH: usize = 110;

/// A client: its file, and what the document gives for it.
type Client = (&'static str, fn(&[Operation]) -> String);

const CLIENTS: [Client; 2] =
    [("conformance/clients/gateway.py", python), ("conformance/clients/Gateway.java", java)];

/// Compares the clients with the document, or writes them.
pub(crate) fn run(root: &Path, write: bool) -> Result<(), String> {
    let read = |path: &str| fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"));
    let document: Value = serde_json::from_str(&read(DOCUMENT)?).map_err(|e| format!("{DOCUMENT}: {e}"))?;
    let operations = operations(&document)?;
    for (path, generate) in CLIENTS {
        let text = read(path)?;
        let wanted = replaced(&text, &generate(&operations)).map_err(|why| format!("{path}: {why}"))?;
        match (wanted == text, write) {
            (true, _) => {}
            (false, true) => fs::write(root.join(path), wanted).map_err(|e| format!("{path}: {e}"))?,
            (false, false) => {
                return Err(format!(
                    "{path} is not what {DOCUMENT} gives; run `cargo xtask clients --write`, and look at what has changed"
                ));
            }
        }
    }
    println!("clients: ok");
    Ok(())
}

/// The text with what stands between the marks replaced.
fn replaced(text: &str, between: &str) -> Result<String, String> {
    let line_of = |mark: &str, from: usize| text[from..].find(mark).map(|at| from + at);
    let start = line_of(MARKS.0, 0).and_then(|at| line_of("\n", at)).map(|at| at + 1);
    let start = start.ok_or_else(|| format!("no line with `{}`", MARKS.0))?;
    let end = line_of(MARKS.1, start).and_then(|at| text[..at].rfind('\n')).map(|at| at + 1);
    let end = end.filter(|end| *end >= start).ok_or_else(|| format!("no line with `{}`", MARKS.1))?;
    Ok(format!("{}{between}{}", &text[..start], &text[end..]))
}

/// Something a caller gives.
#[derive(Debug)]
struct Given {
    /// As the document writes it: `Idempotency-Key`.
    name: String,
    /// Whether it is a number; else it is text, or JSON in a body.
    number: bool,
    required: bool,
    says: String,
}

/// One method at one address.
#[derive(Debug)]
struct Operation {
    id: String,
    method: String,
    path: String,
    says: String,
    in_path: Vec<Given>,
    query: Vec<Given>,
    headers: Vec<Given>,
    /// Properties of the body; `None` when it takes none.
    body: Option<Vec<Given>>,
    /// The schema of the answer and its properties; `None` for a file.
    gives: Option<(String, Vec<String>)>,
}

impl Operation {
    /// Everything a caller gives, what is required first.
    fn given(&self) -> Vec<&Given> {
        let body = self.body.iter().flatten();
        let mut all: Vec<&Given> =
            self.in_path.iter().chain(body).chain(&self.query).chain(&self.headers).collect();
        all.sort_by_key(|given| !given.required);
        all
    }

    /// What it gives back, in words.
    fn answer(&self) -> String {
        match &self.gives {
            None => "Gives a file.".to_owned(),
            Some((name, properties)) if properties.is_empty() => format!("Gives {name}."),
            Some((name, properties)) => format!("Gives {name}: {}.", properties.join(", ")),
        }
    }
}

/// Every operation of the document, in the order of addresses.
fn operations(document: &Value) -> Result<Vec<Operation>, String> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, said) in methods.as_object().into_iter().flatten() {
            found.push(operation(document, path, method, said).ok_or_else(|| {
                format!("{DOCUMENT}: {method} {path} is written in a way that is not known here")
            })?);
        }
    }
    if found.is_empty() { Err(format!("{DOCUMENT} has no operations")) } else { Ok(found) }
}

fn operation(document: &Value, path: &str, method: &str, said: &Value) -> Option<Operation> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut by_place: BTreeMap<String, Vec<Given>> = BTreeMap::new();
    for parameter in said["parameters"].as_array().into_iter().flatten() {
        // What every operation has is no parameter of one: the node makes a request id where there is none.
        if parameter["$ref"] == "#/components/parameters/RequestId" {
            continue;
        }
        let given = Given {
            name: parameter["name"].as_str()?.to_owned(),
            number: parameter["schema"]["type"] == "integer",
            required: parameter["required"] == true,
            says: text(&parameter["description"]),
        };
        by_place.entry(parameter["in"].as_str()?.to_owned()).or_default().push(given);
    }
    let body = match said.get("requestBody") {
        None => None,
        Some(body) => {
            let (_, schema) = schema(document, &body["content"]["application/json"]["schema"])?;
            let required =
                |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|r| r == name));
            let properties = schema["properties"].as_object()?.iter();
            let given = properties.map(|(name, property)| Given {
                name: name.clone(),
                number: property["type"] == "integer",
                required: required(name),
                says: text(&property["description"]),
            });
            Some(given.collect())
        }
    };
    let (_, success) = said["responses"].as_object()?.iter().find(|(status, _)| status.starts_with('2'))?;
    let gives = match success["content"].get("application/json") {
        None => None,
        Some(content) => {
            let (name, schema) = schema(document, &content["schema"])?;
            let properties = schema["properties"].as_object().into_iter().flatten();
            Some((name, properties.map(|(name, _)| name.clone()).collect()))
        }
    };
    let mut place = |name: &str| by_place.remove(name).unwrap_or_default();
    let (in_path, query, headers) = (place("path"), place("query"), place("header"));
    Some(Operation {
        id: said["operationId"].as_str()?.to_owned(),
        method: method.to_uppercase(),
        path: path.to_owned(),
        says: said["summary"].as_str()?.to_owned(),
        in_path,
        query,
        headers,
        body,
        gives,
    })
}

/// A schema and its name, also where it is only named.
fn schema<'a>(document: &'a Value, schema: &'a Value) -> Option<(String, &'a Value)> {
    match schema["$ref"].as_str() {
        None => Some(("an object".to_owned(), schema)),
        Some(reference) => {
            let name = reference.strip_prefix("#/components/schemas/")?;
            Some((name.to_owned(), document["components"]["schemas"].get(name)?))
        }
    }
}

/// `Idempotency-Key`, `listQueries` and `deadline_ms` as words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '-';
    for c in name.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() && before.is_lowercase() {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words
}

fn snake(name: &str) -> String {
    words(name).join("_")
}

fn camel(name: &str) -> String {
    let upper = |word: &String| word.get(..1).map(|c| c.to_uppercase() + &word[1..]).unwrap_or_default();
    let words = words(name);
    words.iter().take(1).cloned().chain(words.iter().skip(1).map(upper)).collect()
}

/// A sentence broken into lines, each after `indent`.
fn wrapped(indent: &str, text: &str) -> String {
    let (mut out, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&format!("{indent}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    format!("{out}{indent}{line}\n")
}

/// The comment of a method: what it does, what is given, what comes back.
fn says(operation: &Operation, indent: &str, named: fn(&str) -> String) -> String {
    let mut out = wrapped(indent, &format!("{}: {} {}", operation.says, operation.method, operation.path));
    for given in operation.given() {
        let need = if given.required { "needed" } else { "not needed" };
        out.push_str(&wrapped(indent, &format!("{} ({need}): {}", named(&given.name), given.says)));
    }
    out.push_str(&wrapped(indent, &operation.answer()));
    out
}

fn python(operations: &[Operation]) -> String {
    let dict = |given: &[Given]| -> String {
        let pairs: Vec<String> =
            given.iter().map(|g| format!("\"{}\": {}", g.name, snake(&g.name))).collect();
        format!("{{{}}}", pairs.join(", "))
    };
    let mut out =
        "class Operations:\n    \"\"\"Every operation of the document, one call each.\"\"\"\n".to_owned();
    for operation in operations {
        let mut arguments = vec!["self".to_owned()];
        arguments.extend(operation.in_path.iter().map(|given| snake(&given.name)));
        let named: Vec<&Given> = operation
            .given()
            .into_iter()
            .filter(|g| !operation.path.contains(&format!("{{{}}}", g.name)))
            .collect();
        if !named.is_empty() {
            arguments.push("*".to_owned());
        }
        arguments.extend(named.iter().map(|g| {
            let name = snake(&g.name);
            if g.required { name } else { format!("{name}=None") }
        }));
        let mut path = operation.path.clone();
        for given in &operation.in_path {
            path =
                path.replace(&format!("{{{}}}", given.name), &format!("{{_quoted({})}}", snake(&given.name)));
        }
        let text = if operation.in_path.is_empty() { "" } else { "f" };
        let mut call = vec![format!("\"{}\"", operation.method), format!("{text}\"{path}\"")];
        if !operation.query.is_empty() {
            call.push(format!("query={}", dict(&operation.query)));
        }
        if !operation.headers.is_empty() {
            call.push(format!("headers={}", dict(&operation.headers)));
        }
        if let Some(body) = &operation.body {
            call.push(format!("body={}", dict(body)));
        }
        if operation.gives.is_none() {
            call.push("file=True".to_owned());
        }
        out.push_str(&format!(
            "\n    def {}({}):\n        \"\"\"\n{}        \"\"\"\n        return self._call(\n            {},\n        )\n",
            snake(&operation.id),
            arguments.join(", "),
            says(operation, "        ", snake),
            call.join(",\n            "),
        ));
    }
    out.push_str("\n\n");
    out
}

fn java(operations: &[Operation]) -> String {
    let map = |given: &[Given]| -> String {
        let pairs: Vec<String> =
            given.iter().map(|g| format!("\"{}\", {}", g.name, camel(&g.name))).collect();
        format!("given({})", pairs.join(", "))
    };
    let mut out = String::new();
    for operation in operations {
        let typed = |g: &Given| format!("{} {}", if g.number { "Long" } else { "String" }, camel(&g.name));
        let mut arguments: Vec<String> = operation.in_path.iter().map(typed).collect();
        if operation.body.is_some() {
            arguments.push("Map<String, Object> body".to_owned());
        }
        arguments.extend(operation.query.iter().chain(&operation.headers).map(typed));
        let mut path = format!("\"{}\"", operation.path);
        for given in &operation.in_path {
            path = path.replace(
                &format!("{{{}}}", given.name),
                &format!("\" + encoded({}) + \"", camel(&given.name)),
            );
        }
        let path = path.trim_end_matches(" + \"\"");
        let body = if operation.body.is_some() { "body" } else { "null" };
        let call = format!(
            "call(\"{}\", {path}, {}, {}, {body})",
            operation.method,
            map(&operation.query),
            map(&operation.headers)
        );
        let (kind, call) = match operation.gives {
            Some(_) => ("Map<String, Object>", format!("json({call})")),
            None => ("byte[]", format!("{call}.body()")),
        };
        // A body keeps the names of the document.
        let name = if operation.body.is_some() { str::to_owned } else { camel };
        out.push_str(&format!(
            "    /**\n{}     */\n    {kind} {}({}) throws Exception {{\n        return {call};\n    }}\n\n",
            says(operation, "     * ", name),
            camel(&operation.id),
            arguments.join(", "),
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        serde_json::json!({
            "paths": { "/v1/things/{id}": { "post": {
                "operationId": "changeThing", "summary": "Change a thing",
                "parameters": [
                    { "$ref": "#/components/parameters/RequestId" },
                    { "name": "id", "in": "path", "required": true, "schema": { "type": "string" }, "description": "Its id." },
                    { "name": "If-Match", "in": "header", "schema": { "type": "string" } },
                    { "name": "wait", "in": "query", "schema": { "type": "integer" } },
                ],
                "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Change" } } } },
                "responses": { "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } } } },
            } } },
            "components": { "schemas": {
                "Change": { "properties": { "colour": {}, "new_size": {} }, "required": ["new_size"] },
                "Thing": { "properties": { "id": {}, "colour": {} } },
            } },
        })
    }

    #[test]
    fn every_parameter_reaches_the_call_in_both_languages() {
        let operations = operations(&document()).unwrap();
        let python = python(&operations);
        assert!(
            python
                .contains("def change_thing(self, id, *, new_size, colour=None, wait=None, if_match=None):"),
            "{python}"
        );
        for part in [
            "f\"/v1/things/{_quoted(id)}\"",
            "query={\"wait\": wait}",
            "headers={\"If-Match\": if_match}",
            "body={\"colour\": colour, \"new_size\": new_size}",
            "Gives Thing: colour, id.",
        ] {
            assert!(python.contains(part), "`{part}` is not in {python}");
        }
        let java = java(&operations);
        for part in [
            "Map<String, Object> changeThing(String id, Map<String, Object> body, Long wait, String ifMatch) throws Exception {",
            "json(call(\"POST\", \"/v1/things/\" + encoded(id), given(\"wait\", wait), given(\"If-Match\", ifMatch), body))",
            "new_size (needed)",
        ] {
            assert!(java.contains(part), "`{part}` is not in {java}");
        }
    }

    #[test]
    fn what_stands_between_the_marks_is_replaced_and_nothing_else() {
        let (start, end) = MARKS;
        let text = format!("head\n# {start}\nold\nold\n# {end}\ntail\n");
        assert_eq!(replaced(&text, "new\n").unwrap(), format!("head\n# {start}\nnew\n# {end}\ntail\n"));
        assert!(replaced("head\n", "new\n").is_err());
        assert!(replaced(&format!("# {end}\n# {start}\n"), "new\n").is_err());
    }

    #[test]
    fn a_document_written_in_another_way_is_refused() {
        let mut other = document();
        other["components"]["schemas"] = Value::Null;
        assert!(operations(&other).unwrap_err().contains("/v1/things/{id}"));
        assert!(operations(&Value::Null).is_err());
    }
}
