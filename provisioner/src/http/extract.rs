// SPDX-License-Identifier: Apache-2.0
//! What handlers take apart from a request: axum's extractors, with refusals in the one shape of [`Fault`].

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use provisioner_api::limits::cut;
use provisioner_api::text;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use super::bounds;
use super::problem::{Fault, Kind};

mod shape;

/// A body that trickles in for longer than this is not a node on a LAN; an inventory is some 10 KB.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// Letters of a refusal that repeat what the caller sent.
const WORDS: usize = 300;

/// What is kept of the beginning of what an installer says, and of the end: its reason, and how its log ended.
const TOLD_KEPT: (usize, usize) = (4 << 10, 60 << 10);
/// What is read of it at most. Some installers send a log of many megabytes; nobody's log is this long.
const TOLD_READ: usize = 64 << 20;

/// What an installer says, in whatever letters. Of what is long the beginning and the end are kept: who is in trouble
/// is heard all the same.
pub(super) struct Told(pub(super) String);

/// A JSON answer; or the JSON body of a node, which may be newer than this server: fields that it does not know are
/// passed over.
pub(super) struct Json<T>(pub(super) T);

/// What a node tells of itself, as JSON, for people to read: without characters that nobody can see.
pub(super) struct Report<T>(pub(super) T);

/// Fields of reports that are compared byte for byte, or that a node proves itself with.
const COMPARED: [&str; 3] = ["boot_id", "version", "join"];

/// The JSON body of an operator. Whatever is not understood is refused: a misspelt field may be the one on which a
/// disk depends.
pub(super) struct Strict<T>(pub(super) T);

/// The query string.
pub(super) struct Query<T>(pub(super) T);

/// The variable parts of the path.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Serialize + ToSchema> FromRequest<S> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        json(request, state).await.map(|(value, _)| Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Serialize + ToSchema> FromRequest<S> for Report<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let (_, sent) = json::<T, S>(request, state).await?;
        let not_json = |error| Fault::new(Kind::BadRequest, format!("the body is not JSON: {error}"));
        let mut report = serde_json::from_slice(&sent).map_err(not_json)?;
        text::make_visible(&mut report, &COMPARED);
        serde_json::from_value(report).map(Self).map_err(not_json)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Serialize + ToSchema> FromRequest<S> for Strict<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let (value, sent) = json::<T, S>(request, state).await?;
        match shape::unknown::<T>(&sent).as_slice() {
            [] => Ok(Self(value)),
            unknown => Err(Fault::new(
                Kind::Unprocessable,
                format!("not understood: {}; nothing was done", unknown.join(", ")),
            )),
        }
    }
}

/// A JSON body, and the bytes that it was read from. serde would take an array for an object, its values in the order
/// of our fields; nobody who sends one means that.
async fn json<T: DeserializeOwned + Serialize + ToSchema, S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<(T, Bytes), Fault> {
    if !is_json(request.headers()) {
        return Err(Fault::new(
            Kind::UnsupportedMediaType,
            "send the body as `Content-Type: application/json`",
        ));
    }
    let sent = integers(body(request, state).await?);
    let axum::Json(value) = axum::Json::<T>::from_bytes(&sent).map_err(|rejection| from_json(&rejection))?;
    shape::same(&value, &sent).map_err(|why| Fault::new(Kind::Unprocessable, why))?;
    bounds::check(&T::name(), &sent)?;
    Ok((value, sent))
}

/// The same body with `7.0` written as `7`: JSON Schema, by which the API is described, makes no difference between them.
fn integers(sent: Bytes) -> Bytes {
    let Ok(mut value) = serde_json::from_slice(&sent) else {
        return sent;
    };
    if to_integers(&mut value) {
        value.to_string().into()
    } else {
        sent
    }
}

/// Whether there was anything to write in another way.
fn to_integers(value: &mut Value) -> bool {
    /// From here on a number with a fraction is not exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Array(items) => items.iter_mut().fold(false, |found, item| to_integers(item) | found),
        Value::Object(fields) => fields
            .values_mut()
            .fold(false, |found, field| to_integers(field) | found),
        Value::Number(number) if number.is_f64() => {
            let whole = number
                .as_f64()
                .filter(|number| number.fract() == 0.0 && number.abs() < EXACT);
            #[allow(clippy::cast_possible_truncation)] // it is whole, and smaller than what is exact
            let integer = whole.map(|whole| Value::from(whole as i64));
            let found = integer.is_some();
            *value = integer.unwrap_or_else(|| value.clone());
            found
        }
        _ => false,
    }
}

/// A whole body, within the limits of its route.
pub(super) async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Fault> {
    match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) => {
            let kind = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
                _ => Kind::BadRequest,
            };
            Err(Fault::new(kind, rejection.body_text()))
        }
        Err(_) => Err(too_late()),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok());
    let essence = given
        .and_then(|given| given.split(';').next())
        .unwrap_or_default()
        .trim();
    let (kind, name) = essence.split_once('/').unwrap_or_default();
    let name = name.to_ascii_lowercase();
    kind.eq_ignore_ascii_case("application") && (name == "json" || name.ends_with("+json"))
}

impl<S: Send + Sync> FromRequest<S> for Told {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &S) -> Result<Self, Fault> {
        match tokio::time::timeout(BODY_TIMEOUT, beginning_and_end(request.into_body())).await {
            Ok(told) => told.map(Self),
            Err(_) => Err(too_late()),
        }
    }
}

async fn beginning_and_end(mut body: Body) -> Result<String, Fault> {
    let (most, last) = TOLD_KEPT;
    let (mut beginning, mut end, mut read) = (Vec::new(), Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::new(Kind::BadRequest, format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        read += data.len();
        if read > TOLD_READ {
            return Err(Fault::new(
                Kind::TooLarge,
                format!("{} MB are the most that is listened to", TOLD_READ >> 20),
            ));
        }
        let (first, rest) = data.split_at(data.len().min(most - beginning.len()));
        beginning.extend_from_slice(first);
        end.extend_from_slice(rest);
        // Seldom enough that the rest is not moved with every piece.
        if end.len() > 2 * last {
            end.drain(..end.len() - last);
        }
    }
    if read > most + last {
        end.drain(..end.len().saturating_sub(last));
        beginning.extend_from_slice(b"\n(what came between is left out)\n");
    }
    beginning.append(&mut end);
    Ok(String::from_utf8_lossy(&beginning).into_owned())
}

fn too_late() -> Fault {
    Fault::new(Kind::Timeout, "the body did not arrive within 20 seconds")
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
    Fault::new(kind, cut(&rejection.body_text(), WORDS))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::response::IntoResponse;
    use tokio_stream::StreamExt as _;

    use super::*;

    async fn told(body: Body) -> Result<String, StatusCode> {
        let told = Told::from_request(Request::new(body), &()).await;
        told.map(|told| told.0).map_err(|fault| fault.into_response().status())
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_fraction() {
        let integers = |text: &'static str| integers(Bytes::from_static(text.as_bytes()));
        assert_eq!(integers(r#"{"a":[7.0,-2.0],"b":1.5}"#), r#"{"a":[7,-2],"b":1.5}"#);
        for as_it_is in [r#"{ "a" : 7 }"#, r#"{"a":1e300}"#, "no JSON"] {
            assert_eq!(integers(as_it_is), as_it_is);
        }
    }

    #[tokio::test]
    async fn of_what_is_long_the_beginning_and_the_end_are_heard() {
        let log = "a line of a log\n".repeat(700_000);
        let text = told(Body::from(format!("the reason\n{log}the last line\n")))
            .await
            .unwrap();
        assert!(text.starts_with("the reason\n") && text.ends_with("\nthe last line\n"));
        assert!(text.contains("is left out") && text.len() < 70_000, "{}", text.len());
        for short in ["", "pre", &"x".repeat(4096), &"x".repeat(64 << 10)] {
            assert_eq!(told(Body::from(short.to_owned())).await.unwrap(), *short);
        }
        assert_eq!(told(Body::from(vec![0xff, b'a'])).await.unwrap(), "\u{fffd}a");
    }

    #[tokio::test(start_paused = true)]
    async fn what_trickles_in_or_does_not_end_is_refused() {
        let drops = tokio_stream::iter(std::iter::repeat_with(|| Ok::<_, std::io::Error>("x")));
        let slowly = drops.throttle(Duration::from_secs(1));
        assert_eq!(
            told(Body::from_stream(slowly)).await.unwrap_err(),
            StatusCode::REQUEST_TIMEOUT
        );
        let megabytes = std::iter::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 1 << 20]));
        let flood = Body::from_stream(tokio_stream::iter(megabytes));
        assert_eq!(told(flood).await.unwrap_err(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
