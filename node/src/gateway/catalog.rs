//! What can be asked about, as the registry pins it: items and their fields, what of them may be checked, purposes, and
//! the rules that answers name. It cannot change while the process runs, so it is made once.

use credit::{
    catalog::{Catalog, Item, Purpose},
    policy::Policy,
    value::{FieldType, Value},
};
use exchange::context::Context;
use serde_json::{Value as Json, json};

/// The document.
pub fn document(context: &Context) -> Json {
    let (catalog, policy): (&Catalog, &Policy) = (&context.catalog, &context.policy);
    let rules = policy.rules().map(
        |rule| json!({ "rule": rule.name.0, "text": rule.en, "text_zh": rule.zh, "source": rule.source }),
    );
    let purposes = Purpose::ALL.iter().map(|p| json!({ "purpose": p.as_str(), "name": p.zh() }));
    json!({
        "version": catalog.version(), "catalog": catalog.digest().to_string(), "policy": policy.digest().to_string(),
        "purposes": purposes.collect::<Vec<_>>(), "rules": rules.collect::<Vec<_>>(),
        "items": catalog.items().map(|one| item(catalog, one)).collect::<Vec<_>>(),
    })
}

fn item(catalog: &Catalog, item: &Item) -> Json {
    let fields = item.fields.iter().map(|field| {
        let checks = catalog.check_rule(&item.id, field.id);
        let kinds: Vec<&str> = checks.iter().flat_map(|rule| &rule.kinds).map(|kind| kind.as_str()).collect();
        let mut value = json!({
            "field": field.column, "name": field.name, "class": field.class.as_str(), "mode": field.mode.as_str(),
            "mask": field.mask.as_str(),
            "type": form_of(&field.ty), "names_subject": item.names_subject(field.id), "checks": kinds,
        });
        if let FieldType::Code(values) = &field.ty {
            value["values"] = json!(values);
        }
        value
    });
    json!({
        "item": item.id.as_str(), "name": item.name, "name_en": item.name_en, "category": item.category.as_str(),
        "fields": fields.collect::<Vec<_>>(),
    })
}

/// The form in which a field's value is written.
const fn form_of(ty: &FieldType) -> &'static str {
    match ty {
        FieldType::Text { .. } | FieldType::Code(_) | FieldType::Uscc | FieldType::Subject => "text",
        FieldType::Date => "date",
        FieldType::Amount => "amount",
        FieldType::Integer => "integer",
    }
}

/// The form in which this value is written; a masked form is text, whatever it masks.
pub const fn form(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => "text",
        Value::Date(_) => "date",
        Value::Amount(_) => "amount",
        Value::Integer(_) => "integer",
    }
}
