//! What a document in OpenAPI 3.1 says of a response, held against one: the words of JSON Schema that ours uses, and no
//! others. A word that is not known here fails, and so does a property that the document does not have.

use serde_json::Value;

/// The first disagreement of `value` with the schema named `name`, with its place.
pub(crate) fn against(document: &Value, name: &str, value: &Value) -> Result<(), String> {
    let schema = &document["components"]["schemas"][name];
    if schema.is_null() {
        return Err(format!("there is no schema `{name}`"));
    }
    check(document, schema, value, name)
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let words = schema.as_object().ok_or_else(|| format!("{at}: no schema"))?;
    let no = |why: String| Err(format!("{at}: {why}: {value}"));
    for (word, said) in words {
        match word.as_str() {
            "$ref" => {
                let name = said.as_str().and_then(|r| r.strip_prefix("#/components/schemas/"));
                against(document, name.ok_or_else(|| format!("{at}: {said}"))?, value)
                    .map_err(|e| format!("{at} > {e}"))?;
            }
            "type" => {
                let fits = match said.as_str() {
                    Some("object") => value.is_object(),
                    Some("array") => value.is_array(),
                    Some("string") => value.is_string(),
                    Some("integer") => value.is_u64() || value.is_i64(),
                    Some("boolean") => value.is_boolean(),
                    _ => return Err(format!("{at}: type {said}")),
                };
                if !fits {
                    return no(format!("not of type {said}"));
                }
            }
            "enum" if !said.as_array().is_some_and(|all| all.contains(value)) => {
                return no("none of the enum".into());
            }
            "pattern" => {
                let text = value.as_str().unwrap_or_default();
                if !pattern(said.as_str().unwrap_or_default(), text)? {
                    return no(format!("not {said}"));
                }
            }
            "format" if said == "date-time" => {
                let text = value.as_str().unwrap_or_default();
                // 2026-04-01T08:30:00.123Z
                let shape =
                    text.bytes().map(|b| if b.is_ascii_digit() { b'0' } else { b }).collect::<Vec<_>>();
                if shape != b"0000-00-00T00:00:00.000Z" && shape != b"0000-00-00T00:00:00Z" {
                    return no("no time".into());
                }
            }
            "minimum" if value.as_f64() < said.as_f64() => return no("too small".into()),
            "maximum" if value.as_f64() > said.as_f64() => return no("too large".into()),
            "maxItems" if value.as_array().map(|a| a.len() as u64) > said.as_u64() => {
                return no("too many".into());
            }
            "minLength" | "maxLength" => {
                let length = value.as_str().map(|s| s.chars().count() as u64);
                if (word == "minLength" && length < said.as_u64())
                    || (word == "maxLength" && length > said.as_u64())
                {
                    return no(word.clone());
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, said, item, &format!("{at}[{i}]"))?;
                }
            }
            "properties" => {
                for (name, one) in value.as_object().into_iter().flatten() {
                    let known = said.get(name);
                    let known = known.ok_or_else(|| format!("{at}: `{name}` is not in the document"))?;
                    check(document, known, one, &format!("{at}.{name}"))?;
                }
            }
            "required" => {
                for name in said.as_array().into_iter().flatten() {
                    if value.get(name.as_str().unwrap_or_default()).is_none() {
                        return no(format!("{name} is missing"));
                    }
                }
            }
            "enum"
            | "format"
            | "minimum"
            | "maximum"
            | "maxItems"
            | "description"
            | "default"
            | "contentEncoding"
            | "additionalProperties" => {}
            other => return Err(format!("{at}: the word `{other}` is not known here")),
        }
    }
    Ok(())
}

/// The patterns of the document: lower-case hexadecimal of one length, and dotted names.
fn pattern(pattern: &str, text: &str) -> Result<bool, String> {
    if let Some(length) = pattern.strip_prefix("^[0-9a-f]{").and_then(|rest| rest.strip_suffix("}$")) {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        return Ok(length.parse() == Ok(text.len()) && text.bytes().all(hex));
    }
    if pattern == "^[a-z]+(-[a-z]+)*(\\.[a-z]+(-[a-z]+)*)?$" {
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase());
        let name = |n: &str| n.split('-').all(word);
        return Ok(text.splitn(2, '.').all(name));
    }
    Err(format!("the pattern `{pattern}` is not known here"))
}
