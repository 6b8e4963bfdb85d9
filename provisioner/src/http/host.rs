// SPDX-License-Identifier: Apache-2.0
//! Whom a request is for: one host, named once (RFC 9112, 3.2), and for browsers one that is this controller.
//!
//! A page of somebody else's can make a browser ask for a name of its own that leads to our address (DNS rebinding). The
//! browser takes the answer for that page's: so what people see is given only under names that are ours. Machines
//! that boot name us by address, and what they fetch is for everybody.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{Uri, Version};
use axum::middleware::Next;
use axum::response::Response;

use super::Web;
use super::listener::Peer;
use super::problem::{Fault, Kind};
use crate::dns;

/// The domain of names by multicast (RFC 6762, 3).
const MULTICAST_DOMAIN: &str = "local";

/// The host that a request is for, in lower case, without a port; `None` where an old client names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host(pub(super) Option<String>);

/// The host that a request names.
pub(super) fn named<B>(request: &axum::http::Request<B>) -> Result<Host, Fault> {
    let mut fields = request.headers().get_all(HOST).iter();
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(refuse("the request has two Host fields; one says whom it is for"));
    }
    // RFC 9112, 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that
    // lacks a Host header field".
    let Some(field) = first else {
        return match request.version() {
            Version::HTTP_11 => Err(refuse("an HTTP/1.1 request needs a Host field")),
            _ => Ok(of_target(request.uri())),
        };
    };
    let malformed = || refuse("the Host field is no host with or without a port");
    let text = field.to_str().map_err(|_| malformed())?.trim();
    let host = host_of(text).ok_or_else(malformed)?;
    // RFC 9112, 3.2.2: a host in the target takes the place of the field.
    match of_target(request.uri()) {
        Host(None) => Ok(host),
        target => Ok(target),
    }
}

fn refuse(why: &str) -> Fault {
    Fault::new(Kind::BadRequest, why)
}

fn of_target(target: &Uri) -> Host {
    Host(target.host().map(plain))
}

/// The host of a `Host` field's value; an empty one names none.
fn host_of(text: &str) -> Option<Host> {
    if text.is_empty() {
        return Some(Host(None));
    }
    let authority: Authority = text.parse().ok()?;
    // RFC 9110, 7.2: `uri-host [ ":" port ]`, without the user that an authority may have. A port that is none is left
    // out by the parser, not refused.
    let port = text.strip_prefix(authority.host())?;
    let has_port = port.is_empty() || port == ":" || authority.port_u16().is_some();
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    (has_port && !authority.host().is_empty() && authority.host().bytes().all(letters))
        .then(|| Host(Some(plain(authority.host()))))
}

fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Answers only those who ask for this controller by a name or an address that is its own.
pub(super) async fn need_own_name(State(web): State<Web>, request: Request, next: Next) -> Result<Response, Fault> {
    let host = request.extensions().get::<Host>().and_then(|host| host.0.clone());
    let peer = request.extensions().get::<Peer>();
    if let (Some(host), Some(peer)) = (host, peer)
        && !is_own(&web, &host, peer)
    {
        metrics::counter!("gleaner_http_other_hosts_total").increment(1);
        let address = peer
            .local
            .map_or_else(String::new, |local| format!(" Ask for {}, or", local.ip()));
        return Err(Fault::new(
            Kind::Misdirected,
            format!("this controller is not {host}.{address} add the name to names in [http] of its settings"),
        ));
    }
    Ok(next.run(request).await)
}

fn is_own(web: &Web, host: &str, peer: &Peer) -> bool {
    // The control socket: file permissions have said who asks.
    let Some(local) = peer.local.map(|local| local.ip().to_canonical()) else {
        return true;
    };
    let config = &web.app.config;
    if config.http.names.iter().any(|name| name == host) {
        return true;
    }
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return address.to_canonical() == local || is_of_this_machine(address.to_canonical());
    }
    let of_controller = |domain: &str| host == format!("{}.{domain}", dns::CONTROLLER);
    let machine = nix::unistd::gethostname().unwrap_or_default();
    let machine = plain(&machine.to_string_lossy());
    host == dns::CONTROLLER
        || host == "localhost" && local.is_loopback()
        || config.dns.as_ref().is_some_and(|dns| of_controller(&dns.domain))
        || !machine.is_empty() && (host == machine || host == format!("{machine}.{MULTICAST_DOMAIN}"))
}

/// Whether some interface of this machine has the address.
fn is_of_this_machine(address: IpAddr) -> bool {
    // Where interfaces cannot be read, the address that was reached is all that is ours.
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return false;
    };
    interfaces.filter_map(|interface| interface.address).any(|at| {
        let v4 = at.as_sockaddr_in().map(|at| IpAddr::V4(at.ip()));
        let v6 = at.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip()));
        v4.or(v6) == Some(address)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for (text, expected) in [
            ("Controller.Gleaner.Internal", "controller.gleaner.internal"),
            ("controller.", "controller"),
            ("10.77.0.1:8080", "10.77.0.1"),
            ("10.77.0.1:", "10.77.0.1"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("[2001:db8::1]:80", "[2001:db8::1]"),
        ] {
            assert_eq!(host_of(text), Some(Host(Some(expected.into()))), "{text}");
        }
        assert_eq!(host_of(""), Some(Host(None)));
        for text in [
            "a b", "a@b", "a/b", "a:b", "a:99999", "a,b", ":80", "a:80:80", "http://a", "a?b", "a#b", "%61",
        ] {
            assert_eq!(host_of(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_field_holds_it_is_read_without_a_panic(text in "[ -~]{0,40}") {
            let _ = host_of(&text);
        }
    }
}
