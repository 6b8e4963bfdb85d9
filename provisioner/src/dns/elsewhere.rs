// SPDX-License-Identifier: Apache-2.0
//! Names that are not of this site: asked for at the servers that the site names, or that this machine asks itself.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use tracing::warn;

use super::chain;
use super::question::Question;
use super::under_way::UnderWay;
use crate::network::Addresses;

/// Where this machine keeps whom it asks.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Between two looks at that file: a network that comes up late is used soon.
const PACE: Duration = Duration::from_secs(10);
/// How long another server may take: resolvers ask again after five seconds, and must have heard by then.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same for one try of several.
const TRY: Duration = Duration::from_millis(1400);
/// Answers of other servers that are kept.
const KEPT: u64 = 512;

/// Whoever knows all other names.
pub(super) struct Elsewhere {
    /// Those that the site names.
    named: Vec<IpAddr>,
    /// Our own addresses.
    ours: Addresses,
    now: RwLock<Upstream>,
    under_way: Arc<UnderWay>,
}

#[derive(Clone, Default)]
struct Upstream {
    servers: Arc<[IpAddr]>,
    resolver: Option<TokioResolver>,
    /// When that file was written, at the last look.
    written: Option<SystemTime>,
    looked: bool,
}

impl Elsewhere {
    /// The servers `named`, or those of this machine's own if there are none; never `ours`.
    pub(super) fn new(named: Vec<IpAddr>, ours: Addresses) -> Self {
        let elsewhere = Self {
            named,
            ours,
            now: RwLock::default(),
            under_way: Arc::default(),
        };
        elsewhere.look();
        elsewhere
    }

    /// Keeps up with whom this machine asks.
    pub(super) async fn keep_up(&self) {
        let mut pace = tokio::time::interval(PACE);
        loop {
            pace.tick().await;
            self.look();
        }
    }

    fn look(&self) {
        let before = self.upstream();
        let written = std::fs::metadata(RESOLV_CONF).and_then(|about| about.modified()).ok();
        if before.looked && (before.written == written || !self.named.is_empty()) {
            return;
        }
        let mut servers = self.named.clone();
        if servers.is_empty() {
            servers = of_this_machine();
        }
        // Asking ourselves would go round for ever.
        servers.retain(|server| !matches!(server, IpAddr::V4(server) if self.ours.has(*server)));
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Upstream {
            resolver: resolver(&servers),
            servers: servers.into(),
            written,
            looked: true,
        };
    }

    fn upstream(&self) -> Upstream {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks there on behalf of `from`, and says what was heard of anything but names that are `ours`.
    pub(super) async fn ask(&self, question: &Question, from: Ipv4Addr, ours: impl Fn(&Name) -> bool) -> Vec<u8> {
        let upstream = self.upstream();
        let (Some(resolver), false) = (&upstream.resolver, self.would_loop(&upstream.servers, from)) else {
            return question.error(ResponseCode::Refused);
        };
        let Ok((name, kind)) = question.asked() else {
            return question.error(ResponseCode::FormErr);
        };
        // What cannot be looked up but only transferred or updated is between those two.
        if matches!(kind, RecordType::AXFR | RecordType::IXFR | RecordType::ANY) {
            return question.error(ResponseCode::Refused);
        }
        let Some(turn) = self.under_way.begin(from) else {
            metrics::counter!("gleaner_dns_crowded_total").increment(1);
            return question.error(ResponseCode::ServFail);
        };
        metrics::counter!("gleaner_dns_forwarded_total").increment(1);
        let found = tokio::select! {
            found = tokio::time::timeout(PATIENCE, resolver.lookup(name.clone(), kind)) => found,
            () = turn.given_up() => {
                metrics::counter!("gleaner_dns_crowded_total").increment(1);
                return question.error(ResponseCode::ServFail);
            }
        };
        let Ok(found) = found else {
            return question.error(ResponseCode::ServFail);
        };
        match found {
            Ok(found) => {
                let mut reply = question.reply(ResponseCode::NoError);
                reply.answers = chain::of_question(name, kind, found.answers(), ours);
                question.encode(&reply)
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                let mut reply = question.reply(none.response_code);
                let soa = none.soa.map(|soa| Record::into_record_of_rdata(*soa));
                reply
                    .authorities
                    .extend(soa.filter(|soa| chain::speaks_for(&soa.name, name, ours)));
                question.encode(&reply)
            }
            Err(error) => {
                tracing::debug!(%error, %name, "asking for a name elsewhere");
                question.error(ResponseCode::ServFail)
            }
        }
    }

    /// Whether the question would come back: a server that we ask does not hear from us what it asks us, nor does this
    /// machine's own resolver where that is whom we ask.
    fn would_loop(&self, servers: &[IpAddr], from: Ipv4Addr) -> bool {
        let is_us = from.is_loopback() || self.ours.has(from);
        servers
            .iter()
            .any(|server| *server == from || is_us && server.is_loopback())
    }
}

/// Whom this machine asks for names.
pub(crate) fn of_this_machine() -> Vec<IpAddr> {
    servers_of(&std::fs::read(RESOLV_CONF).unwrap_or_default())
}

fn servers_of(resolv_conf: &[u8]) -> Vec<IpAddr> {
    // A file that names nobody is no error here: then there is nobody to ask.
    let config = parse_resolv_conf(resolv_conf).map(|(config, _)| config);
    config.map_or_else(
        |_| Vec::new(),
        |config| config.name_servers().iter().map(|server| server.ip).collect(),
    )
}

fn resolver(servers: &[IpAddr]) -> Option<TokioResolver> {
    if servers.is_empty() {
        return None;
    }
    let servers = servers.iter().copied().map(NameServerConfig::udp_and_tcp).collect();
    let config = ResolverConfig::from_parts(None, vec![], servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = TRY;
    options.attempts = 1;
    options.cache_size = KEPT;
    // RFC 1034, 4.3.2: aliases on the way are part of the answer.
    options.preserve_intermediates = true;
    options.use_hosts_file = ResolveHosts::Never;
    builder
        .build()
        .map_err(|error| warn!(%error, "names of elsewhere cannot be asked for"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere(servers: &[[u8; 4]]) -> Elsewhere {
        let named = servers.iter().map(|server| IpAddr::from(*server)).collect();
        Elsewhere::new(named, [[10, 77, 0, 1].into()].into())
    }

    #[tokio::test]
    async fn we_never_ask_ourselves() {
        let servers = |elsewhere: Elsewhere| elsewhere.upstream().servers.to_vec();
        assert!(servers(elsewhere(&[[10, 77, 0, 1]])).is_empty());
        assert_eq!(
            servers(elsewhere(&[[10, 77, 0, 1], [10, 77, 0, 2]])),
            [IpAddr::from([10, 77, 0, 2])]
        );
    }

    #[tokio::test]
    async fn a_question_of_whom_we_ask_does_not_go_back_there() {
        let loops = |servers: &[[u8; 4]], from: [u8; 4]| {
            let elsewhere = elsewhere(servers);
            elsewhere.would_loop(&elsewhere.upstream().servers, from.into())
        };
        assert!(loops(&[[10, 77, 0, 254]], [10, 77, 0, 254]), "the router");
        assert!(!loops(&[[10, 77, 0, 254]], [10, 77, 0, 7]));
        // systemd-resolved, which asks us from any of this machine's addresses.
        assert!(loops(&[[127, 0, 0, 53]], [10, 77, 0, 1]));
        assert!(loops(&[[127, 0, 0, 53]], [127, 0, 0, 1]));
        assert!(!loops(&[[127, 0, 0, 53]], [10, 77, 0, 7]));
        assert!(!loops(&[[10, 77, 0, 254]], [10, 77, 0, 1]));
    }

    #[test]
    fn the_servers_of_this_machine_are_read_whatever_else_is_written_there() {
        let servers = |text: &str| servers_of(text.as_bytes());
        assert_eq!(
            servers("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n").len(),
            1
        );
        assert_eq!(servers("# No name server.\n").len(), 0);
        assert_eq!(
            servers("nameserver nonsense\nnameserver 10.0.0.1\n"),
            [IpAddr::from([10, 0, 0, 1])]
        );
        assert_eq!(servers("").len(), 0);
    }
}
