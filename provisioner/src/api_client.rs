// SPDX-License-Identifier: Apache-2.0
//! What the command line asks the running provisioner, over its control socket. Errors are words for the person
//! at the terminal.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use provisioner_api::{Import, ImportLine, MediumImport, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// The server is on this machine: what takes longer than this hangs. Approving a node on a machine whose only disk
/// is a slow stick takes a few seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// Lists come in parts, of which the largest has some 8 MB.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// Entries of a list that are asked for at once.
const PART: usize = 500;

/// The control socket of a provisioner.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// The server said no: RFC 9457's shape, for callers that branch on it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.detail)]
pub struct Refused(pub Problem);

impl Client {
    /// A client of the provisioner that listens on this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// `GET` of a path with its query.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        let body = read(response).await?;
        serde_json::from_slice(&body).with_context(|| format!("reading the provisioner's answer to {path}"))
    }

    /// `GET` of a whole list, a part at a time: `key` is what the next part is asked for by.
    pub async fn parts<T: DeserializeOwned>(&self, path: &str, key: impl Fn(&T) -> &str) -> anyhow::Result<Vec<T>> {
        let mut all: Vec<T> = Vec::new();
        loop {
            let after = all.last().map(|last| format!("&after={}", segment(key(last))));
            let question = format!("{path}?limit={PART}{}", after.unwrap_or_default());
            let part: Vec<T> = self.get(&question).await?;
            let last = part.len() < PART;
            all.extend(part);
            if last {
                return Ok(all);
            }
        }
    }

    /// `POST` of a value; an empty object where there is nothing to say.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        let response = self.send(Method::POST, path, to_json(body)?).await?;
        let body = read(response).await?;
        serde_json::from_slice(&body).with_context(|| format!("reading the provisioner's answer to {path}"))
    }

    /// `DELETE`; the answer has no content.
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        read(self.send(Method::DELETE, path, Bytes::new()).await?)
            .await
            .map(drop)
    }

    /// Imports a folder; `progress` hears bytes done and in all. Returns the last line, which is never progress.
    pub async fn import(&self, folder: &Path, mut progress: impl FnMut(u64, u64)) -> anyhow::Result<ImportLine> {
        let folder = folder
            .to_str()
            .context("the folder's path is not UTF-8; rename it")?
            .to_owned();
        self.told("/api/v1/images/import", &Import { folder }, &mut progress)
            .await
    }

    /// Imports the files of a boot medium in the same way.
    pub async fn import_medium(
        &self,
        medium: &MediumImport,
        mut progress: impl FnMut(u64, u64),
    ) -> anyhow::Result<ImportLine> {
        self.told("/api/v1/media/import", medium, &mut progress).await
    }

    /// `POST` of what takes long, whose answer is a line each time it is further.
    async fn told(
        &self,
        path: &str,
        body: &impl Serialize,
        progress: &mut dyn FnMut(u64, u64),
    ) -> anyhow::Result<ImportLine> {
        let mut response = self.send(Method::POST, path, to_json(body)?).await?;
        if !response.status().is_success() {
            bail!(refusal(response).await);
        }
        let mut lines = Lines::default();
        while let Some(frame) = response.frame().await {
            let frame = frame.context("the provisioner broke off in the middle of the import; look at its log")?;
            for line in lines.feed(frame.data_ref().map_or(&[][..], |data| data))? {
                match line {
                    ImportLine::Progress { done, total } => progress(done, total),
                    ImportLine::Failed { problem } => bail!(Refused(problem)),
                    done @ ImportLine::Done { .. } => return Ok(done),
                }
            }
        }
        bail!("the provisioner stopped in the middle of the import; start it, then import again")
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            // RFC 9112 section 3.2: a Host is a must, even where it says nothing.
            .header(HOST, "localhost")
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .with_context(|| format!("asking for {path:?}"))?;
        match tokio::time::timeout(ANSWER_TIMEOUT, sender.send_request(request)).await {
            Ok(answered) => {
                answered.context("the provisioner hung up; look at its log: journalctl -u gleaner-provisioner")
            }
            Err(_) => bail!(
                "the provisioner did not answer within a minute; look at its log: journalctl -u gleaner-provisioner"
            ),
        }
    }

    /// Why nobody answers, and what to do about it.
    fn unreachable(&self, error: std::io::Error) -> anyhow::Error {
        let socket = self.socket.display();
        let advice = match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => format!(
                "the provisioner is not running (nobody answers at {socket}): systemctl start gleaner-provisioner, \
                 or run `sudo provisioner serve`"
            ),
            std::io::ErrorKind::PermissionDenied => format!(
                "this user may not speak to the provisioner ({socket}): use sudo, or join the group that owns the socket"
            ),
            _ => format!("speaking to the provisioner at {socket}"),
        };
        match error.kind() {
            std::io::ErrorKind::NotFound
            | std::io::ErrorKind::ConnectionRefused
            | std::io::ErrorKind::PermissionDenied => anyhow::anyhow!(advice),
            _ => anyhow::Error::new(error).context(advice),
        }
    }
}

/// A word of a path, as a URL wants it.
pub fn segment(word: &str) -> String {
    // RFC 3986 section 2.3: these never need quoting; everything else gets it, whatever a name may contain.
    let quoted = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    word.bytes().map(quoted).collect()
}

fn to_json(value: &impl Serialize) -> anyhow::Result<Bytes> {
    Ok(serde_json::to_vec(value).context("writing the request")?.into())
}

/// The content of a good answer; the words of a refusal.
async fn read(response: Response<Incoming>) -> anyhow::Result<Bytes> {
    if !response.status().is_success() {
        bail!(refusal(response).await);
    }
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => bail!("the provisioner broke off in the middle of its answer: {error}"),
    }
}

async fn refusal(response: Response<Incoming>) -> anyhow::Error {
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    let problem = body
        .ok()
        .and_then(|body| serde_json::from_slice::<Problem>(&body.to_bytes()).ok());
    problem.map_or_else(
        || anyhow::anyhow!("the provisioner answered {status} without saying why"),
        |problem| Refused(problem).into(),
    )
}

/// Puts lines together from the pieces in which they arrive.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, piece: &[u8]) -> anyhow::Result<Vec<ImportLine>> {
        self.begun.extend_from_slice(piece);
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.begun.split_off(end + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).context("reading the progress of the import"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn a_provisioner_that_does_not_run_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::new(folder.path().join("control.sock"));
        let error = client
            .get::<serde_json::Value>("/api/v1/status")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("is not running") && error.contains("sudo provisioner serve"),
            "{error}"
        );
        std::os::unix::net::UnixListener::bind(folder.path().join("control.sock"))
            .map(drop)
            .unwrap();
        let error = client
            .get::<serde_json::Value>("/api/v1/status")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("is not running"), "a socket left behind: {error}");
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(count in 0u64..20, cut in 1usize..40) {
            let lines: Vec<_> = (0..count).map(|n| ImportLine::Progress { done: n, total: count }).collect();
            let mut bytes = Vec::new();
            for line in &lines {
                bytes.extend(serde_json::to_vec(line).unwrap());
                bytes.push(b'\n');
            }
            let mut reader = Lines::default();
            let read: Vec<_> = bytes.chunks(cut).flat_map(|piece| reader.feed(piece).unwrap()).collect();
            prop_assert_eq!(read, lines);
        }
    }
}
