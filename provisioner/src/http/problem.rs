// SPDX-License-Identifier: Apache-2.0
//! Every refusal in one shape (RFC 9457), axum's own rejections, 404 and 405 included.
//!
//! A handler returns [`Fault`]; nothing else in the provisioner knows how an error looks on the wire.

use std::fmt;

use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use provisioner_api::{PROBLEM_JSON, Problem};

use crate::app::AppError;

/// A request that is refused: the kind that programs branch on, and words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: Kind,
    detail: String,
}

/// The kinds of problem; each has one status, one `type` and one title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be read.
    BadRequest,
    /// No token, or not a valid one.
    Unauthorized,
    /// Known who it is, and the answer is no.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body did not arrive in time.
    Timeout,
    /// It is for a host that this server is not.
    Misdirected,
    /// The thing is in a state in which this cannot be done.
    Conflict,
    /// The body is larger than anything honest.
    TooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// JSON, and not what was asked for; the detail names the field.
    Unprocessable,
    /// More than the server gives or takes.
    TooMany,
    /// A fault of the server.
    Internal,
    /// Not now: starting or stopping.
    Unavailable,
    /// The server's disk is full.
    DiskFull,
}

impl Kind {
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A valid token is needed"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "This caller may not do that"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This path has no such method",
            ),
            Self::Timeout => (
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "The request did not arrive in time",
            ),
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                "This server is not that host",
            ),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Not possible in this state"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must be application/json",
            ),
            Self::Unprocessable => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "unprocessable",
                "A value does not fit",
            ),
            Self::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many",
                "More than the server gives or takes",
            ),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed"),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The server is not ready",
            ),
            Self::DiskFull => (
                StatusCode::INSUFFICIENT_STORAGE,
                "disk-full",
                "The server's disk is full",
            ),
        }
    }

    /// The status that this kind travels under.
    pub const fn status(self) -> StatusCode {
        self.parts().0
    }
}

impl Fault {
    /// A refusal with its words: what happened, why, what to do.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }

    /// A failure of the server itself. The cause goes to the log with its whole chain and not to the caller,
    /// who can do nothing with it and might be anybody on the LAN; a full disk is said, because somebody can
    /// make room.
    pub fn internal(error: &anyhow::Error) -> Self {
        if is_disk_full(error) {
            tracing::error!(error = format!("{error:#}"), "the disk is full");
            return Self::new(
                Kind::DiskFull,
                "the provisioner's disk is full: make room under its state folder and try again; nothing was changed",
            );
        }
        tracing::error!(error = format!("{error:#}"), "a request failed");
        Self::new(Kind::Internal, "the provisioner could not do this; its log says why")
    }

    /// What kind it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// As it goes on the wire.
    pub fn problem(&self) -> Problem {
        let (status, word, title) = self.kind.parts();
        Problem {
            r#type: format!("/problems/{word}"),
            title: title.into(),
            status: status.as_u16(),
            detail: self.detail.clone(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Fault {}

impl From<AppError> for Fault {
    fn from(error: AppError) -> Self {
        let kind = match &error {
            AppError::NotFound(_) => Kind::NotFound,
            AppError::Refused(_) => Kind::Conflict,
            AppError::Forbidden(_) => Kind::Forbidden,
            AppError::Invalid(_) => Kind::Unprocessable,
            AppError::TooMuch(_) => Kind::TooMany,
            AppError::Full => Kind::DiskFull,
            AppError::Internal(cause) => return Self::internal(cause),
        };
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let problem = self.problem();
        // Four strings and a number: serde_json cannot fail on them; the empty body would still carry the status.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (self.kind.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.kind == Kind::Unauthorized {
            // RFC 9110 section 11.6.1: a 401 MUST send a WWW-Authenticate header.
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"gleaner\""),
            );
        }
        response
    }
}

/// What a path that does not exist answers.
pub(super) async fn no_such_path(uri: Uri) -> Fault {
    Fault::new(
        Kind::NotFound,
        format!("there is nothing at {:?} on this port", shortened(uri.path())),
    )
}

/// What a path answers to a method that it does not have; axum adds the `Allow` header.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> Fault {
    Fault::new(
        Kind::MethodNotAllowed,
        format!("{:?} has no method {method}", shortened(uri.path())),
    )
}

/// A path of 64 KB has no place in an answer or a log line.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 120;
    match text.char_indices().nth(SHOWN) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Whether anything in the chain says `ENOSPC` or `EDQUOT`, as the kernel or the database says it.
fn is_disk_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kernel = cause.downcast_ref::<std::io::Error>().is_some_and(|io| {
            matches!(
                io.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            )
        });
        let sqlite = cause
            .downcast_ref::<rusqlite::Error>()
            .is_some_and(|e| e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull));
        kernel || sqlite
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use anyhow::Context;

    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures_however_deep_it_lies() {
        let full = std::io::Error::from_raw_os_error(28);
        let chained = Err::<(), _>(full)
            .context("writing chunks")
            .context("importing debian-13")
            .unwrap_err();
        assert_eq!(Fault::internal(&chained).kind(), Kind::DiskFull);
        assert_eq!(
            Fault::internal(&anyhow::anyhow!("secret /etc/shadow")).kind(),
            Kind::Internal
        );
    }

    #[test]
    fn the_applications_refusals_keep_their_status_and_their_words() {
        let word = || "node-7 is ready".to_owned();
        for (error, status) in [
            (AppError::NotFound(word()), 404),
            (AppError::Refused(word()), 409),
            (AppError::Forbidden(word()), 403),
            (AppError::Invalid(word()), 422),
        ] {
            let problem = Fault::from(error).problem();
            assert_eq!((problem.status, problem.detail), (status, word()));
        }
        assert_eq!(Fault::from(AppError::Full).problem().status, 507);
    }

    #[test]
    fn a_failure_of_the_server_does_not_tell_its_inside_to_the_caller() {
        let fault = Fault::internal(&anyhow::anyhow!("opening /var/lib/gleaner/tls/key.pem"));
        assert!(!fault.problem().detail.contains("key.pem"));
    }

    #[test]
    fn an_endless_path_is_cut_in_the_answer() {
        assert_eq!(shortened(&"é".repeat(500)).chars().count(), 121);
        assert_eq!(shortened("/short"), "/short");
    }
}
