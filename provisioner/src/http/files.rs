// SPDX-License-Identifier: Apache-2.0
//! Sends files from disk: in whole or one byte range, at the pace of the reader, with bounded memory.
//!
//! Which file, is not decided here: callers hand over an open file that the image store has named. A path of
//! a request never becomes a path of the disk.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures_util::Stream;
use tokio::task::JoinHandle;

use super::range::{self, Part};
use super::sendfile::FileQueue;

/// One read, and all the memory that a download holds: 200 machines which boot at once take 13 MB. Larger reads were
/// no faster from the page cache.
const READ: u64 = 64 * 1024;

/// A file that may be sent.
#[derive(Debug)]
pub(super) struct Stored {
    /// Open for reading.
    pub(super) file: File,
    /// Bytes.
    pub(super) size: u64,
    /// A word that changes with the content, without quotes: a content hash.
    pub(super) hash: String,
    /// What it is.
    pub(super) content_type: &'static str,
}

/// Answers `GET` or `HEAD` for `stored`: through `queue` where the connection can send files by itself, else piece by
/// piece through memory.
pub(super) fn send(stored: Stored, method: &Method, headers: &HeaderMap, queue: Option<&FileQueue>) -> Response {
    let Stored {
        file,
        size,
        hash,
        content_type,
    } = stored;
    answer(
        size,
        &hash,
        content_type,
        method,
        headers,
        |start, length| match queue {
            Some(queue) => queue.body(file, start, length),
            None => Body::from_stream(Reader::new(file, start, length)),
        },
    )
}

/// Answers `GET` or `HEAD` for something small that lies in memory.
pub(super) fn send_memory(
    content: &Bytes,
    hash: &str,
    content_type: &'static str,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    let size = content.len() as u64;
    answer(size, hash, content_type, method, headers, |start, length| {
        // The part lies within the content, whose length is a usize.
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        Body::from(content.slice(within(start)..within(start + length)))
    })
}

/// Answers `GET` or `HEAD` for parts in memory that follow each other; whole, and made for who asks.
pub(super) fn send_parts<const N: usize>(parts: [Bytes; N], content_type: &'static str, method: &Method) -> Response {
    let size: usize = parts.iter().map(Bytes::len).sum();
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(futures_util::stream::iter(parts.map(Ok::<_, std::convert::Infallible>)))
    };
    let mut response = body.into_response();
    insert(response.headers_mut(), header::CONTENT_LENGTH, &size.to_string());
    insert(response.headers_mut(), header::CONTENT_TYPE, content_type);
    insert(response.headers_mut(), header::CACHE_CONTROL, "no-store");
    response
}

/// `part` makes the body of some bytes that exist.
fn answer(
    size: u64,
    hash: &str,
    content_type: &'static str,
    method: &Method,
    headers: &HeaderMap,
    part: impl FnOnce(u64, u64) -> Body,
) -> Response {
    let etag = format!("\"{hash}\"");
    if range::already_has(headers, &etag) {
        return with_headers(StatusCode::NOT_MODIFIED, None, &etag, content_type, Body::empty());
    }
    let (status, start, length) = match range::requested(headers, &etag, size) {
        // RFC 9110 section 14.2: "A server MUST ignore a Range header field received with a request method that
        // is unrecognized or for which range handling is not defined. For this specification, GET is the only."
        Part::Bytes { start, length } if *method == Method::GET => (StatusCode::PARTIAL_CONTENT, start, length),
        Part::Unsatisfiable if *method == Method::GET => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            insert(
                response.headers_mut(),
                header::CONTENT_RANGE,
                &format!("bytes */{size}"),
            );
            insert(response.headers_mut(), header::ETAG, &etag);
            return response;
        }
        _ => (StatusCode::OK, 0, size),
    };
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        part(start, length)
    };
    let mut response = with_headers(status, Some(length), &etag, content_type, body);
    if status == StatusCode::PARTIAL_CONTENT {
        let last = start + length - 1;
        insert(
            response.headers_mut(),
            header::CONTENT_RANGE,
            &format!("bytes {start}-{last}/{size}"),
        );
    }
    response
}

fn with_headers(
    status: StatusCode,
    length: Option<u64>,
    etag: &str,
    content_type: &'static str,
    body: Body,
) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A file under a version can be imported again after a fault: caches ask, and the tag answers.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    insert(headers, header::ETAG, etag);
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// Numbers and hex digits always are a header value; anything else is left out rather than sent broken.
fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The bytes of a part of a file, read on the blocking pool into one buffer that is used again and again.
struct Reader {
    file: Arc<File>,
    next: u64,
    end: u64,
    buffer: BytesMut,
    reading: Option<JoinHandle<io::Result<BytesMut>>>,
}

impl Reader {
    fn new(file: File, start: u64, length: u64) -> Self {
        let (file, end) = (Arc::new(file), start + length);
        Self {
            file,
            next: start,
            end,
            buffer: BytesMut::new(),
            reading: None,
        }
    }

    /// Begins the next read, unless all is read.
    fn begin(&mut self) -> Option<JoinHandle<io::Result<BytesMut>>> {
        let (at, length) = (self.next, READ.min(self.end - self.next));
        if length == 0 {
            return None;
        }
        self.next += length;
        let file = self.file.clone();
        let mut buffer = std::mem::take(&mut self.buffer);
        Some(tokio::task::spawn_blocking(move || {
            // The socket has taken the piece before by now, so that this is the same memory again.
            // READ fits any usize.
            buffer.resize(usize::try_from(length).unwrap_or(0), 0);
            // A file that became shorter is an error, which cuts the connection: the length was promised.
            file.read_exact_at(&mut buffer, at)?;
            Ok(buffer)
        }))
    }
}

impl Stream for Reader {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.reading.is_none() {
            self.reading = self.begin();
        }
        let Some(reading) = self.reading.as_mut() else {
            return Poll::Ready(None);
        };
        let read = ready!(Pin::new(reading).poll(cx)).unwrap_or_else(|gone| Err(io::Error::other(gone)));
        self.reading = None;
        Poll::Ready(Some(match read {
            Ok(mut buffer) => {
                metrics::counter!("gleaner_http_file_bytes_total").increment(buffer.len() as u64);
                let piece = buffer.split().freeze();
                self.buffer = buffer;
                Ok(piece)
            }
            Err(error) => {
                tracing::warn!(%error, "reading a file that was being sent");
                self.next = self.end;
                Err(error)
            }
        }))
    }
}

#[cfg(test)]
mod tests;
