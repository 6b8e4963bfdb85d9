// SPDX-License-Identifier: Apache-2.0
//! Accepts connections and speaks HTTP/1.1 on them: plain, over TLS, or over the control socket.
//!
//! Handlers find out who is at the other end from the [`Peer`] in the request's extensions. Here are the
//! limits that keep strangers from using up the server: time to shake hands, time to say what is wanted, size
//! of a head, connections per address and in total. HTTP/2 is left out on purpose: no client of ours needs it.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::gate::{Admitted, Busy, Gate, Place};
use super::host;
use super::sendfile::{FileQueue, FileStream};
use crate::tls::key_of;

/// Honest heads have some 300 bytes; iPXE's query string with every variable stays under 2 KB.
const HEAD_BYTES: usize = 16 * 1024;
/// Honest heads have some ten fields; a browser's twenty.
const HEAD_FIELDS: usize = 64;
/// A peer that acknowledges nothing for so long is gone (switched off in the middle of an image).
const SILENCE: Duration = Duration::from_secs(30);
/// What requests under way get to finish when the server stops; a cut download resumes by its range.
const GRACE: Duration = Duration::from_secs(3);
/// Bytes of an answer that go into the socket's buffer at once, whether anybody reads them or not.
const SMALL_BODY: u64 = 16 * 1024;
/// Out of file descriptors: accepting at once again would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Which way a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// HTTP without protection: nothing secret goes out, nothing that comes in is believed.
    Plain,
    /// TLS, with or without a client's key.
    Tls,
    /// The UNIX socket: file permissions have decided who may speak.
    Control,
}

impl Channel {
    const fn word(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "api",
            Self::Control => "control",
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Which way it came.
    pub channel: Channel,
    /// Its address, where it has one.
    pub address: Option<SocketAddr>,
    /// Our address, as the peer reached it.
    pub local: Option<SocketAddr>,
    /// SHA-256 of the `SubjectPublicKeyInfo` of the client's certificate, hex: the handshake has proved that the
    /// peer holds the key.
    pub key: Option<Arc<str>>,
}

impl Peer {
    /// Its IPv4 address, where it has one.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        ipv4(self.address)
    }

    /// The address that its share is counted by; none for callers on this machine, behind whom a reverse proxy with
    /// many callers of its own may stand.
    pub(super) fn stranger(&self) -> Option<IpAddr> {
        stranger(self.address?, self.local)
    }

    /// Our IPv4 address, as the peer reached it.
    pub fn local_ipv4(&self) -> Option<Ipv4Addr> {
        ipv4(self.local)
    }
}

fn ipv4(address: Option<SocketAddr>) -> Option<Ipv4Addr> {
    match address?.ip().to_canonical() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// A bound socket and what is spoken on it.
#[derive(Debug)]
pub enum Listener {
    /// Plain HTTP.
    Plain(TcpListener),
    /// HTTP over TLS.
    Tls(TcpListener, Arc<ServerConfig>),
    /// HTTP over the control socket.
    Control(UnixListener),
}

impl Listener {
    const fn channel(&self) -> Channel {
        match self {
            Self::Plain(_) => Channel::Plain,
            Self::Tls(..) => Channel::Tls,
            Self::Control(_) => Channel::Control,
        }
    }
}

/// Serves `router` on `listener` until `stop`; then lets requests under way finish for [`GRACE`].
pub async fn serve(listener: Listener, router: Router, gate: Arc<Gate>, stop: CancellationToken) {
    let channel = listener.channel();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok(accepted) => {
                let address = accepted.address();
                let Some(admitted) = gate.admit(channel.word(), accepted.stranger()) else {
                    tracing::debug!(?address, listener = channel.word(), "turned away: too many connections");
                    continue;
                };
                connections.spawn(talk(accepted, router.clone(), admitted, stop.clone()));
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, listener = channel.word(), "accepting connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // What is left after the grace is cut by dropping the set.
    let _ = tokio::time::timeout(GRACE, all).await;
}

enum Accepted {
    Tcp(TcpStream, SocketAddr, Option<TlsAcceptor>),
    Unix(tokio::net::UnixStream),
}

impl Accepted {
    const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address, _) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// As [`Peer::stranger`].
    fn stranger(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream, address, _) => stranger(*address, stream.local_addr().ok()),
            Self::Unix(_) => None,
        }
    }
}

fn stranger(address: SocketAddr, local: Option<SocketAddr>) -> Option<IpAddr> {
    let is_local = local.is_some_and(|local| local.ip() == address.ip());
    let address = address.ip().to_canonical();
    (!is_local && !address.is_loopback()).then_some(address)
}

async fn accept(listener: &Listener) -> io::Result<Accepted> {
    match listener {
        Listener::Plain(socket) => socket
            .accept()
            .await
            .map(|(stream, from)| Accepted::Tcp(stream, from, None)),
        Listener::Tls(socket, config) => {
            let (stream, from) = socket.accept().await?;
            Ok(Accepted::Tcp(stream, from, Some(TlsAcceptor::from(config.clone()))))
        }
        Listener::Control(socket) => socket.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
    }
}

/// The peer went away between its SYN and our accept: nothing is wrong with the listener.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | ConnectionRefused | Interrupted
    )
}

/// One connection from its first byte to its last.
async fn talk(accepted: Accepted, router: Router, admitted: Admitted, stop: CancellationToken) {
    // The place is given back when this ends.
    tokio::select! {
        () = converse(accepted, router, &admitted, stop) => {}
        () = admitted.given_up() => tracing::debug!("gave way to another connection"),
    }
}

async fn converse(accepted: Accepted, router: Router, admitted: &Admitted, stop: CancellationToken) {
    let (handshake, head) = (admitted.handshake(), admitted.head());
    let place = admitted.place().clone();
    let conversation = match accepted {
        Accepted::Unix(stream) => {
            let peer = Peer {
                channel: Channel::Control,
                address: None,
                local: None,
                key: None,
            };
            speak(stream, router, peer, None, (place, head), stop)
        }
        Accepted::Tcp(stream, address, None) => {
            tune(&stream);
            let local = stream.local_addr().ok();
            let peer = Peer {
                channel: Channel::Plain,
                address: Some(address),
                local,
                key: None,
            };
            let (stream, files) = FileStream::new(stream);
            speak(stream, router, peer, Some(files), (place, head), stop)
        }
        Accepted::Tcp(stream, address, Some(acceptor)) => {
            tune(&stream);
            let local = stream.local_addr().ok();
            let shaking = Box::pin(shake_hands(acceptor, stream, address, handshake));
            let Some(stream) = shaking.await else { return };
            let (_, session) = stream.get_ref();
            let key = session.peer_certificates().and_then(<[_]>::first).and_then(key_of);
            if let Some(key) = &key {
                place.has_key(key);
            }
            let peer = Peer {
                channel: Channel::Tls,
                address: Some(address),
                local,
                key: key.map(Arc::from),
            };
            speak(stream, router, peer, None, (place, head), stop)
        }
    };
    conversation.await;
}

/// Lets the peer show its key; `None` where it would not, or not in time.
async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    limit: Duration,
) -> Option<TlsStream<TcpStream>> {
    let why = match tokio::time::timeout(limit, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "TLS handshake failed");
            "refused"
        }
        Err(_) => {
            tracing::debug!(%address, "TLS handshake took too long");
            "timeout"
        }
    };
    metrics::counter!("gleaner_tls_handshakes_failed_total", "why" => why).increment(1);
    None
}

/// The rest of a connection, on the heap and no larger than it has to be: a thousand nodes wait in it for orders. (An
/// `async` function would keep room for each of its arguments beside what it makes of them.)
fn speak<S>(
    stream: S,
    router: Router,
    peer: Peer,
    files: Option<FileQueue>,
    (place, head): (Place, Duration),
    stop: CancellationToken,
) -> Pin<Box<dyn Future<Output = ()> + Send>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let from = peer.address;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let busy = place.busy();
        let host = host::named(&request);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(place.clone());
        if let Some(files) = &files {
            request.extensions_mut().insert(files.clone());
        }
        let router = router.clone();
        async move {
            let response = match host {
                Ok(host) => {
                    request.extensions_mut().insert(host);
                    router.oneshot(request).await?
                }
                Err(fault) => fault.into_response(),
            };
            Ok::<_, Infallible>(response.map(|body| until_sent(body, busy)))
        }
    });
    let connection = http1::Builder::new()
        // The GRUB of Debian 13, when it fetches through UEFI's HTTP, knows `Content-Length` in this spelling only.
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = Box::pin(connection);
    Box::pin(async move {
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(?from, %error, "connection ended badly");
        }
    })
}

/// A body that keeps its connection busy until it is sent; one that goes out at once needs no keeping.
fn until_sent(body: Body, busy: Busy) -> Body {
    if body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL_BODY) {
        return body;
    }
    Body::new(body.map_frame(move |frame| {
        // The closure holds the place, and goes with the body.
        let _ = &busy;
        frame
    }))
}

/// Small answers at once; peers that were switched off are noticed. None of it is needed for correctness, so a
/// refusal by the kernel is no error.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(SILENCE / 3)
        .with_retries(3);
    let _ = socket.set_tcp_keepalive(&keepalive);
    // Also ends a peer that keeps its receive window at zero: the kernel then counts probes against this time.
    let _ = socket.set_tcp_user_timeout(Some(SILENCE));
}

#[cfg(test)]
mod tests;
