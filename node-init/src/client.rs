// SPDX-License-Identifier: Apache-2.0
//! The controller's node API, as both lives of node-init speak it: pinned TLS, JSON, typed methods.
//!
//! It knows how to ask once. When to ask again is the caller's business, for which [`ClientError`] says whether
//! asking again can help and [`Backoff`] says when.

mod backoff;
mod connector;
mod pin;

use std::sync::Arc;
use std::time::Duration;

use provisioner_api::{
    Capsule, Heartbeat, NodeEvent, Orders, Problem, Progress, Register, Registered, Time, Vouch, limits, path,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, Body};

pub use backoff::Backoff;
pub use pin::{Pin, PinError};

use crate::key::NodeKey;
use connector::PinnedTls;

/// A controller on the same wire answers in milliseconds; ten seconds are a lost packet or three.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest that one small question may take. A controller with a full disk or a busy database is slow, not dead.
const ANSWER: Duration = Duration::from_secs(30);

/// What a long poll gets beyond its own waiting time before it counts as lost.
const POLL_GRACE: Duration = Duration::from_secs(15);

/// Answers are small; a capsule with SSH keys is a few kilobytes. Beyond this it is not our controller's JSON.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// Requests are JSON of some kilobytes: small buffers keep an installed node small.
const BUFFER: usize = 16 * 1024;

/// The controller, as one node sees it.
pub struct Client {
    agent: Agent,
    base: String,
    pin: Pin,
}

/// Why the controller gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answered, or the connection broke.
    #[error("the controller {controller} does not answer ({detail})")]
    Unreachable {
        /// `HOST:PORT`.
        controller: String,
        /// The kernel's or TLS's word.
        detail: String,
    },
    /// Somebody answered who does not hold the pinned key.
    #[error("{controller} is not our controller: its key is not the pinned one")]
    WrongPin {
        /// `HOST:PORT`.
        controller: String,
    },
    /// The controller said no, and why.
    #[error("the controller says: {} (HTTP {})", .0.detail, .0.status)]
    Refused(Problem),
    /// An answer that is not what the API promises.
    #[error("the controller's answer makes no sense ({0})")]
    Malformed(String),
    /// The client cannot be set up at all.
    #[error("setting up TLS failed ({0})")]
    SetUp(String),
}

impl ClientError {
    /// Whether the same question may be answered later: everything but a clear "no".
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::WrongPin { .. } | Self::Malformed(_) => true,
            // 408 and 429 ask for patience in so many words (RFC 9110 15.5.9, RFC 6585 4); 5xx is the server's trouble.
            Self::Refused(problem) => problem.status >= 500 || matches!(problem.status, 408 | 429),
            Self::SetUp(_) => false,
        }
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            _ => None,
        }
    }
}

impl Client {
    /// A client of the controller at `HOST:PORT` that trusts `pin` and nothing else, and presents `key`.
    pub fn new(controller: &str, pin: &Pin, key: &NodeKey) -> Result<Self, ClientError> {
        let tls = pin::client_config(pin, key).map_err(|e| ClientError::SetUp(e.to_string()))?;
        let connector = ().chain(TcpConnector::default()).chain(PinnedTls::new(Arc::new(tls)));
        let config = Agent::config_builder()
            .proxy(None)
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(ANSWER))
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .user_agent(concat!("node-init/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Self {
            agent,
            base: format!("https://{controller}"),
            pin: pin.clone(),
        })
    }

    /// A client of the same controller that presents another key.
    pub fn with_key(&self, key: &NodeKey) -> Result<Self, ClientError> {
        Self::new(self.controller(), &self.pin, key)
    }

    /// `HOST:PORT` of the controller.
    pub fn controller(&self) -> &str {
        self.base.trim_start_matches("https://")
    }

    /// The controller's clock; needs no registration.
    pub fn time(&self) -> Result<Time, ClientError> {
        self.decode(self.get(path::TIME, ANSWER)?)
    }

    /// Introduces this machine.
    pub fn register(&self, register: &Register) -> Result<Registered, ClientError> {
        self.decode(self.post(path::REGISTER, register)?)
    }

    /// The current order. With `seen`, the controller holds the answer back for up to `wait` while its revision is
    /// that one; without, it answers at once.
    pub fn orders(&self, seen: Option<u64>, wait: Duration) -> Result<Orders, ClientError> {
        let question = match seen {
            Some(revision) => format!("{}?seen={revision}&wait={}", path::ORDERS, wait.as_secs()),
            None => path::ORDERS.to_owned(),
        };
        self.decode(self.get(&question, wait + POLL_GRACE)?)
    }

    /// Reports an event. Ok means that the controller has stored it (or had it already).
    pub fn send_event(&self, event: &NodeEvent) -> Result<(), ClientError> {
        self.post(path::EVENTS, event).map(drop)
    }

    /// Reports progress. Losing one loses nothing.
    pub fn send_progress(&self, progress: &Progress) -> Result<(), ClientError> {
        self.post(path::PROGRESS, progress).map(drop)
    }

    /// Reports that this installed node lives.
    pub fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), ClientError> {
        self.post(path::HEARTBEAT, heartbeat).map(drop)
    }

    /// Vouches, with the key of the installed system, for the start in RAM with this key (SHA-256, hex).
    pub fn vouch(&self, start: &str) -> Result<(), ClientError> {
        self.post(path::VOUCH, &Vouch { key: start.into() }).map(drop)
    }

    /// The identity that this node had before, if it had one.
    pub fn capsule(&self) -> Result<Option<Capsule>, ClientError> {
        match self.get(path::CAPSULE, ANSWER).and_then(|answer| self.decode(answer)) {
            Ok(capsule) => Ok(Some(capsule)),
            Err(ClientError::Refused(problem)) if problem.status == 404 => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Leaves this node's identity with the controller.
    pub fn put_capsule(&self, capsule: &Capsule) -> Result<(), ClientError> {
        let sent = self.agent.put(self.url(path::CAPSULE)).send_json(capsule);
        self.accept(sent).map(drop)
    }

    fn get(&self, path: &str, limit: Duration) -> Result<Response<Body>, ClientError> {
        let sent = self
            .agent
            .get(self.url(path))
            .config()
            .timeout_global(Some(limit))
            .build()
            .call();
        self.accept(sent)
    }

    fn post(&self, path: &str, body: &impl Serialize) -> Result<Response<Body>, ClientError> {
        let mut body = serde_json::to_value(body).map_err(|error| ClientError::Malformed(error.to_string()))?;
        limits::fit(&mut body);
        let sent = self.agent.post(self.url(path)).send_json(body);
        self.accept(sent)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn accept(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, ClientError> {
        let mut answer = sent.map_err(|e| self.explain(&e))?;
        let status = answer.status();
        if status.is_success() {
            // Read to the end even if nobody wants it, or the connection cannot be used again.
            return Ok(answer);
        }
        let text = answer
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_string()
            .unwrap_or_default();
        Err(ClientError::Refused(problem(status.as_u16(), &text)))
    }

    fn decode<T: DeserializeOwned>(&self, mut answer: Response<Body>) -> Result<T, ClientError> {
        let bytes = answer
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_vec()
            .map_err(|e| self.explain(&e))?;
        serde_json::from_slice(&bytes).map_err(|e| ClientError::Malformed(e.to_string()))
    }

    fn explain(&self, error: &ureq::Error) -> ClientError {
        let controller = self.controller().to_owned();
        match error {
            ureq::Error::Rustls(e) if pin::is_wrong_pin(e) => ClientError::WrongPin { controller },
            other => ClientError::Unreachable {
                controller,
                detail: other.to_string(),
            },
        }
    }
}

/// RFC 9457 where the answer is that; anything else (a proxy's HTML page) becomes one with the status alone.
fn problem(status: u16, text: &str) -> Problem {
    serde_json::from_str(text).unwrap_or_else(|_| Problem {
        r#type: "about:blank".into(),
        title: "no explanation".into(),
        status,
        detail: format!("it refused with HTTP status {status} and gave no reason"),
    })
}

#[cfg(test)]
pub(crate) mod tests;
