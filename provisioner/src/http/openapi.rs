// SPDX-License-Identifier: Apache-2.0
//! The API's description, made from the very routes that are served.

use std::sync::LazyLock;

use axum::body::Bytes;
use serde_json::Value;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, OpenApi, PathItem, Ref, RefOr, ResponseBuilder, path::Operation,
};
use utoipa::{PartialSchema, ToSchema};

use provisioner_api::{PROBLEM_JSON, Problem};

use super::bounds;

/// Name of the scheme of API tokens.
const TOKEN: &str = "token";
/// Name of the scheme of client certificates.
const CERTIFICATE: &str = "certificate";

/// The description of every path on every listener.
pub fn describe() -> OpenApi {
    let (_, mut api) = super::all_routes().split_for_parts();
    api.info = InfoBuilder::new()
        .title("Gleaner provisioner")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Plain HTTP (port 8080): boot, files, page, about. HTTPS (port 8443): node (client certificate), \
             operator (bearer token), about. Control socket: operator, control, about. A GET may be a HEAD as well. Every error is an \
             application/problem+json (RFC 9457). Sizes are bytes, times Unix milliseconds.",
        ))
        .build();
    let components = api.components.get_or_insert_with(Components::new);
    components
        .schemas
        .insert(Problem::name().into_owned(), Problem::schema());
    components.add_security_scheme(TOKEN, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.add_security_scheme(
        CERTIFICATE,
        SecurityScheme::MutualTls {
            description: Some("a self-signed certificate; its key is the node".into()),
            extensions: None,
            deprecated: None,
        },
    );
    for item in api.paths.paths.values_mut() {
        operations(item).for_each(|(_, operation)| complete(operation));
    }
    api
}

/// The description as it is sent; made once.
pub(super) fn json() -> Bytes {
    static JSON: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));
    JSON.clone()
}

/// The description with the bounds of all that callers send; made once.
pub(super) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        // Made of strings and maps with string keys: serialising it is tested below and depends on no input.
        let mut document = serde_json::to_value(describe()).unwrap_or_default();
        bounds::write_into(&mut document);
        document
    });
    &DOCUMENT
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let methods = [
        ("get", item.get.as_mut()),
        ("post", item.post.as_mut()),
        ("put", item.put.as_mut()),
        ("delete", item.delete.as_mut()),
    ];
    methods
        .into_iter()
        .filter_map(|(method, operation)| operation.map(|operation| (method, operation)))
}

/// What holds for every operation: its id is unique, errors have one shape, and its group says who may ask.
fn complete(operation: &mut Operation) {
    let group = operation
        .tags
        .as_ref()
        .and_then(|tags| tags.first().cloned())
        .unwrap_or_default();
    let name = operation.operation_id.take().unwrap_or_default();
    operation.operation_id = Some(format!("{group}_{name}"));
    for response in operation.responses.responses.values_mut() {
        // OpenAPI 3.1 section 4.8.17: the description is required; the schema says the rest.
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = "The answer".into();
        }
    }
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .build();
    let problem = ResponseBuilder::new()
        .description("What is wrong")
        .content(PROBLEM_JSON, problem)
        .build();
    let refused = refusals(&group, operation.request_body.is_some());
    for status in refused
        .iter()
        .map(std::string::ToString::to_string)
        .chain(["default".into()])
    {
        let answers = &mut operation.responses.responses;
        answers.entry(status).or_insert_with(|| RefOr::T(problem.clone()));
    }
    let scheme = match group.as_str() {
        "node" => CERTIFICATE,
        "operator" => TOKEN,
        _ => return,
    };
    operation.security = Some(vec![SecurityRequirement::new::<_, _, String>(scheme, [])]);
}

/// The statuses under which an operation can be refused.
fn refusals(group: &str, has_body: bool) -> Vec<u16> {
    let mut statuses = vec![400, 404, 429, 500, 503];
    if has_body {
        statuses.extend([408, 413, 415, 422]);
    }
    if has_body || matches!(group, "operator" | "control" | "node") {
        statuses.extend([409, 422, 507]);
    }
    match group {
        "operator" => statuses.push(401),
        "node" => statuses.push(403),
        _ => {}
    }
    statuses
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use provisioner_api::path;

    use super::*;

    /// Every object of a JSON document that has `key`, with what it has there.
    fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get(key));
                map.values().for_each(|inner| all(inner, key, found));
            }
            Value::Array(list) => list.iter().for_each(|inner| all(inner, key, found)),
            _ => {}
        }
    }

    #[test]
    fn every_path_that_nodes_know_is_described() {
        let document = document();
        for (path, method) in [
            (path::TIME, "get"),
            (path::REGISTER, "post"),
            (path::ORDERS, "get"),
            (path::EVENTS, "post"),
            (path::PROGRESS, "post"),
            (path::HEARTBEAT, "post"),
            (path::CAPSULE, "get"),
            (path::CAPSULE, "put"),
        ] {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut references = Vec::new();
        all(document, "$ref", &mut references);
        assert!(references.len() > 50, "the types of provisioner_api are described");
        for reference in references {
            let pointer = reference.as_str().unwrap().trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_has_its_own_id_words_and_the_one_shape_of_errors() {
        let mut api = describe();
        let mut ids = HashSet::new();
        for (path, item) in &mut api.paths.paths {
            for (method, operation) in operations(item) {
                assert!(
                    ids.insert(operation.operation_id.clone()),
                    "{method} {path}: {:?}",
                    operation.operation_id
                );
                assert!(
                    operation.summary.as_ref().is_some_and(|words| !words.is_empty()),
                    "{method} {path}"
                );
                let answers = &operation.responses.responses;
                assert!(answers.contains_key("default"), "{method} {path}");
                let described = |answer: &RefOr<_>| matches!(answer, RefOr::T(utoipa::openapi::Response { description, .. }) if !description.is_empty());
                assert!(answers.values().all(described), "{method} {path}");
            }
        }
    }

    #[test]
    fn what_needs_a_secret_says_which() {
        let document = document();
        assert_eq!(
            document["paths"]["/api/v1/nodes"]["get"]["security"][0],
            serde_json::json!({"token": []})
        );
        assert_eq!(
            document["paths"][path::CAPSULE]["get"]["security"][0],
            serde_json::json!({"certificate": []})
        );
        assert!(document["components"]["securitySchemes"]["certificate"].is_object());
    }
}
