// SPDX-License-Identifier: Apache-2.0
//! Operator routes take what their description names, and nothing else: a misspelt filter or a body that nobody reads
//! would look as if it had been obeyed.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use provisioner_api::limits;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Operation, ParameterIn};

use super::extract::body;
use super::openapi;
use super::problem::{Fault, Kind};

/// What one operation takes.
struct Takes {
    query: BTreeSet<String>,
    body: bool,
}

impl Takes {
    fn of(operation: &Operation) -> Self {
        let parameters = operation.parameters.iter().flatten();
        let queries = parameters.filter_map(|parameter| match parameter {
            RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter),
            _ => None,
        });
        Self {
            query: queries.map(|parameter| parameter.name.clone()).collect(),
            body: operation.request_body.is_some(),
        }
    }
}

/// By method and path, as they are described.
static OPERATIONS: LazyLock<HashMap<(Method, String), Takes>> = LazyLock::new(|| {
    let mut operations = HashMap::new();
    for (path, item) in openapi::describe().paths.paths {
        let methods = [
            (Method::GET, &item.get),
            (Method::POST, &item.post),
            (Method::PUT, &item.put),
            (Method::DELETE, &item.delete),
        ];
        for (method, operation) in methods {
            if let Some(operation) = operation {
                operations.insert((method, path.clone()), Takes::of(operation));
            }
        }
    }
    operations
});

/// Refuses query parameters that the route does not have, and a body where it takes none.
pub(super) async fn only(request: Request, next: Next) -> Result<Response, Fault> {
    let method = match request.method() {
        &Method::HEAD => Method::GET,
        other => other.clone(),
    };
    let route = request.extensions().get::<MatchedPath>();
    let takes = route.and_then(|route| OPERATIONS.get(&(method, route.as_str().to_owned())));
    // What is not described is not served: the router says so.
    let Some(takes) = takes else {
        return Ok(next.run(request).await);
    };
    known_query(takes, request.uri())?;
    let request = if takes.body {
        request
    } else {
        without_body(request).await?
    };
    Ok(next.run(request).await)
}

fn known_query(takes: &Takes, uri: &Uri) -> Result<(), Fault> {
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|rejection| Fault::new(Kind::BadRequest, rejection.body_text()))?;
    let mut seen = BTreeSet::new();
    for (name, value) in &query.0 {
        if value.chars().count() > limits::TEXT {
            return Err(Fault::new(
                Kind::Unprocessable,
                format!(
                    "the query parameter {:?} has more than {} letters",
                    limits::cut(name, 40),
                    limits::TEXT
                ),
            ));
        }
        if !takes.query.contains(name) {
            let known: Vec<&str> = takes.query.iter().map(String::as_str).collect();
            let known = match known.as_slice() {
                [] => "it has none".to_owned(),
                names => format!("it has {}", names.join(", ")),
            };
            return Err(Fault::new(
                Kind::BadRequest,
                format!("this path has no query parameter {name:?}: {known}"),
            ));
        }
        if !seen.insert(name) {
            return Err(Fault::new(
                Kind::BadRequest,
                format!("the query parameter {name} is there twice"),
            ));
        }
    }
    Ok(())
}

/// Nothing, or an object without fields, is no body.
async fn without_body(request: Request) -> Result<Request, Fault> {
    let (parts, sent) = request.into_parts();
    let sent = body(Request::from_parts(parts.clone(), sent), &()).await?;
    let fields = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&sent);
    if sent.is_empty() || fields.is_ok_and(|fields| fields.is_empty()) {
        Ok(Request::from_parts(parts, Body::empty()))
    } else {
        Err(Fault::new(
            Kind::Unprocessable,
            "this call takes no body; nothing was done",
        ))
    }
}
