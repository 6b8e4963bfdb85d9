// SPDX-License-Identifier: Apache-2.0
//! What handlers take apart from a request: axum's extractors, with refusals in the one shape of [`Fault`].

use std::time::Duration;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::{Fault, Kind};

/// A body that trickles in for longer than this is not a node on a LAN; an inventory is some 10 KB.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// A JSON body, in either direction.
pub(super) struct Json<T>(pub(super) T);

/// The query string.
pub(super) struct Query<T>(pub(super) T);

/// The variable parts of the path.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        match tokio::time::timeout(BODY_TIMEOUT, axum::Json::from_request(request, state)).await {
            Ok(Ok(axum::Json(value))) => Ok(Self(value)),
            Ok(Err(rejection)) => Err(from_json(&rejection)),
            Err(_) => Err(Fault::new(Kind::Timeout, "the body did not arrive within 20 seconds")),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let refused = |rejection: QueryRejection| Fault::new(Kind::BadRequest, rejection.body_text());
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map(|found| Self(found.0))
            .map_err(refused)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        // A name that is not UTF-8, or not of the right type, names nothing that exists.
        let refused = |rejection: PathRejection| Fault::new(Kind::NotFound, rejection.body_text());
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|found| Self(found.0))
            .map_err(refused)
    }
}

/// axum's words name the field: `nodes.profile: invalid type: integer`.
fn from_json(rejection: &JsonRejection) -> Fault {
    let kind = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::UnsupportedMediaType,
        StatusCode::UNPROCESSABLE_ENTITY => Kind::Unprocessable,
        _ => Kind::BadRequest,
    };
    Fault::new(kind, rejection.body_text())
}
