// SPDX-License-Identifier: Apache-2.0
//! How much a caller may say: every text, list and number in the body of a request has a bound. The bounds stand in the
//! API's description, and bodies are checked against that very description: what is written there is what holds.
//!
//! A field that says nothing of its own has the bounds below; another bound is written at the field (`schema(...)`).

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use provisioner_api::limits;
use serde_json::{Map, Value, json};

use super::openapi;
use super::problem::{Fault, Kind};

/// Where the description keeps its types.
const SCHEMAS: &str = "#/components/schemas/";
/// Fields of a map.
const ENTRIES: u64 = 256;
/// No figure of a machine is this large; what is larger cannot be kept as a number of 32 bits.
const LARGEST_NUMBER: f64 = 1e15;

/// Writes the bounds into the types of a description that callers send.
pub(super) fn write_into(document: &mut Value) {
    let sent = sent(document);
    let schemas = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut);
    for (name, schema) in schemas.into_iter().flatten() {
        if sent.contains(name) {
            bound(schema);
        }
    }
    let paths = document
        .get_mut("paths")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten();
    let operations = paths.filter_map(|(_, item)| item.as_object_mut()).flatten();
    let parameters = operations.filter_map(|(_, operation)| operation.get_mut("parameters")?.as_array_mut());
    for parameter in parameters.flatten() {
        if let Some(schema) = parameter.get_mut("schema") {
            bound(schema);
        }
    }
}

/// Names of the types that callers send, with those that they are made of.
fn sent(document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut look_at: Vec<String> = bodies(document).collect();
    while let Some(name) = look_at.pop() {
        let schema = &document["components"]["schemas"][&name];
        if found.insert(name) {
            references(schema, &mut look_at);
        }
    }
    found
}

/// Names of the types of requests' bodies.
fn bodies(document: &Value) -> impl Iterator<Item = String> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.filter_map(|(_, item)| item.as_object()).flatten();
    operations.filter_map(|(_, operation)| {
        let schema = operation.pointer("/requestBody/content/application~1json/schema/$ref")?;
        Some(schema.as_str()?.trim_start_matches(SCHEMAS).to_owned())
    })
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str);
            found.extend(name.map(|name| name.trim_start_matches(SCHEMAS).to_owned()));
            fields.values().for_each(|inner| references(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
        _ => {}
    }
}

/// Gives a schema, and all that it holds, the bounds that it lacks.
fn bound(schema: &mut Value) {
    if let Value::Object(fields) = schema {
        if !fields.contains_key("enum") {
            bound_type(fields);
        }
        // Names of properties are no schemas: a property may be called `type`.
        for (key, inner) in fields.iter_mut() {
            match (key.as_str(), inner) {
                ("properties", Value::Object(properties)) => properties.values_mut().for_each(bound),
                ("oneOf" | "anyOf" | "allOf", Value::Array(variants)) => variants.iter_mut().for_each(bound),
                ("items" | "additionalProperties" | "propertyNames", inner) => bound(inner),
                _ => {}
            }
        }
    }
}

fn bound_type(fields: &mut Map<String, Value>) {
    let kinds: Vec<String> = match fields.get("type") {
        Some(Value::String(kind)) => vec![kind.clone()],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => return,
    };
    let mut least = |name: &str, value: Value| _ = fields.entry(name).or_insert(value);
    for kind in kinds {
        match kind.as_str() {
            "string" => least("maxLength", json!(limits::TEXT)),
            "array" => least("maxItems", json!(limits::LIST)),
            "number" => {
                least("minimum", json!(-LARGEST_NUMBER));
                least("maximum", json!(LARGEST_NUMBER));
            }
            _ => {}
        }
    }
    if fields.contains_key("additionalProperties") {
        fields.entry("maxProperties").or_insert(json!(ENTRIES));
        fields
            .entry("propertyNames")
            .or_insert(json!({ "maxLength": limits::TEXT }));
    }
    bound_integer(fields);
}

/// An integer goes as far as the number of the program that keeps it.
fn bound_integer(fields: &mut Map<String, Value>) {
    let not_negative = fields.get("minimum").is_some();
    let (least, most) = match (fields.get("format").and_then(Value::as_str), not_negative) {
        (Some("int32"), true) => (json!(0), json!(u32::MAX)),
        (Some("int32"), false) => (json!(i32::MIN), json!(i32::MAX)),
        (Some("int64"), true) => (json!(0), json!(u64::MAX)),
        (Some("int64"), false) => (json!(i64::MIN), json!(i64::MAX)),
        _ => return,
    };
    fields.entry("minimum").or_insert(least);
    fields.entry("maximum").or_insert(most);
    if not_negative {
        // A signed number's word, which would contradict the bounds: OpenAPI has none for numbers without a sign.
        fields.remove("format");
    }
}

/// Refuses a body of the type `name` that goes beyond a bound, with the field and the bound named.
pub(super) fn check(name: &str, body: &[u8]) -> Result<(), Fault> {
    static CHECKS: LazyLock<HashMap<String, Validator>> = LazyLock::new(checks);
    let Some(check) = CHECKS.get(name) else {
        // A test walks all routes: no body is without its check.
        return Err(Fault::internal(&anyhow::anyhow!("the API does not describe {name}")));
    };
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Fault::new(Kind::BadRequest, format!("the body is not JSON: {error}")))?;
    check
        .validate(&body)
        .map_err(|error| Fault::new(Kind::Unprocessable, told(&error)))
}

fn checks() -> HashMap<String, Validator> {
    let document = openapi::document();
    let check = |name: String| {
        let schema = json!({ "$ref": format!("{SCHEMAS}{name}"), "components": document["components"] });
        match jsonschema::validator_for(&schema) {
            Ok(check) => Some((name, check)),
            Err(error) => {
                tracing::error!(%error, name, "the API's description of a body makes no sense");
                None
            }
        }
    };
    bodies(document).filter_map(check).collect()
}

/// Which field it is and what its bound is; never the value, which may be anything.
fn told(error: &ValidationError<'_>) -> String {
    if let ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } = error.kind()
        && let Some(inner) = meant(context)
    {
        return told(inner);
    }
    let field = error.instance_path().as_str().trim_start_matches('/').replace('/', ".");
    // RFC 6901, 3: how names with these letters are written in a pointer.
    let field = field.replace("~1", "/").replace("~0", "~");
    let field = if field.is_empty() { "the body" } else { &field };
    format!("{field}: {}", error.masked())
}

/// Of what is wrong with each variant of a value, what is wrong with the variant that was meant: the one whose name fits.
fn meant<'a>(variants: &'a [Vec<ValidationError<'static>>]) -> Option<&'a ValidationError<'static>> {
    let other = |error: &ValidationError<'_>| {
        matches!(
            error.kind(),
            ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } | ValidationErrorKind::Type { .. }
        )
    };
    let fitting = variants.iter().find(|errors| !errors.iter().any(other));
    fitting.or(variants.last()).and_then(|errors| errors.first())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Every schema of a type that callers send.
    fn each<'a>(schema: &'a Value, at: &str, seen: &mut Vec<(String, &'a Map<String, Value>)>) {
        match schema {
            Value::Object(fields) => {
                seen.push((at.to_owned(), fields));
                for (name, inner) in fields {
                    each(inner, &format!("{at}.{name}"), seen);
                }
            }
            Value::Array(items) => items.iter().for_each(|inner| each(inner, at, seen)),
            _ => {}
        }
    }

    #[test]
    fn nothing_that_a_caller_may_send_is_without_a_bound() {
        let document = openapi::document();
        let sent = sent(document);
        assert!(sent.contains("Inventory") && sent.contains("FailCause"), "{sent:?}");
        for name in sent {
            let mut schemas = Vec::new();
            each(&document["components"]["schemas"][&name], &name, &mut schemas);
            for (at, schema) in schemas {
                let kinds = schema.get("type").map(Value::to_string).unwrap_or_default();
                let needs = |kind: &str, bound: &str| {
                    let bounded = !kinds.contains(kind) || schema.contains_key("enum") || schema.contains_key(bound);
                    assert!(bounded, "{at} has no {bound}");
                };
                needs("\"string\"", "maxLength");
                needs("\"array\"", "maxItems");
                needs("\"integer\"", "maximum");
                needs("\"integer\"", "minimum");
                needs("\"number\"", "maximum");
                if schema.contains_key("additionalProperties") && schema["additionalProperties"] != json!(false) {
                    assert!(schema.contains_key("maxProperties"), "{at}");
                }
            }
        }
    }

    #[test]
    fn every_type_of_a_body_has_its_check() {
        let checks = checks();
        for name in bodies(openapi::document()) {
            assert!(checks.contains_key(&name), "{name}");
        }
    }

    #[test]
    fn a_value_beyond_its_bound_is_refused_with_the_field_and_the_bound_named() {
        let long = "x".repeat(limits::TEXT + 1);
        let event = |event: Value| json!({ "boot_id": "b", "sequence": 1, "event": event });
        let cases = [
            (
                "Progress",
                json!({ "boot_id": "b", "stage": "writing", "permille": 1001, "detail": "" }),
                "permille",
            ),
            (
                "Progress",
                json!({ "boot_id": "b", "stage": "writing", "permille": 1, "detail": long }),
                "detail",
            ),
            (
                "NodeEvent",
                event(json!({ "kind": "note", "text": long })),
                "event.text",
            ),
            (
                "NodeEvent",
                event(json!({ "kind": "checked", "findings": [long] })),
                "event.findings.0",
            ),
            (
                "NodeEvent",
                event(json!({ "kind": "checked", "findings": vec![""; 1000] })),
                "event.findings",
            ),
            (
                "NodeEvent",
                event(json!({ "kind": "failed", "cause": { "cause": "no-disk", "found": long } })),
                "event.cause.found",
            ),
        ];
        for (name, body, field) in cases {
            let words = check(name, body.to_string().as_bytes()).unwrap_err().to_string();
            assert!(words.starts_with(&format!("{field}: ")), "{words}");
            assert!(words.len() < 200 && words.contains(char::is_numeric), "{words}");
        }
    }
}
