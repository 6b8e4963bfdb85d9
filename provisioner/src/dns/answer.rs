// SPDX-License-Identifier: Apache-2.0
//! From a question on the wire to the records of its answer. Knows no socket.
//!
//! RFC 1034 and 1035 for what is said, RFC 2308 for what is not there, RFC 6891 for sizes.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::{A, NS, PTR, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::question::{Over, Question};
use super::zone::{CONTROLLER, Meaning, Table, Zone, turn};
use super::{Hosts, Settings};
use crate::network::{Interface, is_in};

/// Seconds that an answer may be kept: whoever was told of a node that has left its pool asks anew half a heartbeat
/// later.
const TTL: u32 = 5;
/// For how long a look at the nodes is good: far below [`TTL`], and a flood of questions costs five looks a second.
const FRESH: Duration = Duration::from_millis(200);
/// There are no secondary servers; these are what RFC 1912, 2.2 recommends for those that there are not.
const REFRESH: i32 = 3600;
const RETRY: i32 = 600;
const EXPIRE: i32 = 86_400;

/// What is said to a packet.
#[derive(Debug)]
pub(super) enum Said {
    /// Nothing: it is no question.
    Nothing,
    /// This.
    Now(Vec<u8>),
    /// What somebody else says to it.
    Elsewhere(Question),
}

/// Answers what is asked about this site.
pub(super) struct Answerer {
    settings: Settings,
    /// Those on these are answered.
    networks: RwLock<Vec<Interface>>,
    hosts: Arc<dyn Hosts>,
    book: Mutex<Book>,
}

/// The nodes at the last look, and whose turn it is.
#[derive(Default)]
struct Book {
    table: Arc<Table>,
    made: Option<Instant>,
    /// Answers so far, by pool.
    turns: HashMap<String, usize>,
}

impl Answerer {
    /// Answers about `hosts`, to nobody yet.
    pub(super) fn new(settings: Settings, hosts: Arc<dyn Hosts>) -> Self {
        Self {
            settings,
            networks: RwLock::default(),
            hosts,
            book: Mutex::default(),
        }
    }

    /// Answers to those on these networks from now on.
    pub(super) fn is_on(&self, networks: Vec<Interface>) {
        *self.networks.write().unwrap_or_else(PoisonError::into_inner) = networks;
    }

    /// What is said to a packet from `from`, which reached our address `server`.
    pub(super) fn answer(&self, packet: &[u8], over: Over, from: Ipv4Addr, server: Ipv4Addr, now: Instant) -> Said {
        let Some(question) = Question::read(packet, over) else {
            return Said::Nothing;
        };
        let question = match question {
            Ok(question) => question,
            Err(error) => return Said::Now(error),
        };
        if !self.serves(from, now) {
            metrics::counter!("gleaner_dns_refused_total").increment(1);
            return refuse(&question);
        }
        let (name, kind) = match question.asked() {
            Ok(asked) => asked,
            Err(code) => return Said::Now(question.error(code)),
        };
        let plain = plain(name);
        let table = self.table(now);
        let zone = Zone {
            domain: &self.settings.domain,
            server,
            table: &table,
        };
        match zone.meaning(&plain) {
            Meaning::Elsewhere if question.message.metadata.recursion_desired => Said::Elsewhere(question),
            Meaning::Elsewhere => refuse(&question),
            // RFC 5936: the whole zone is nobody's business, and node list has it.
            _ if matches!(kind, RecordType::AXFR | RecordType::IXFR) => refuse(&question),
            meaning => Said::Now(self.say(&question, name, kind, &meaning)),
        }
    }

    /// Whether nobody else may say what this name has; `server` is our address where that is asked.
    pub(super) fn is_ours(&self, name: &Name, server: Ipv4Addr, now: Instant) -> bool {
        let table = self.table(now);
        let zone = Zone {
            domain: &self.settings.domain,
            server,
            table: &table,
        };
        zone.meaning(&plain(name)) != Meaning::Elsewhere
    }

    /// Whether somebody there is answered: machines of networks that are served, nodes wherever they are, this machine.
    pub(super) fn serves(&self, from: Ipv4Addr, now: Instant) -> bool {
        let networks = self.networks.read().unwrap_or_else(PoisonError::into_inner);
        let here = networks.iter().any(|interface| interface.contains(from));
        drop(networks);
        let behind_relay = |network: &(Ipv4Addr, u8)| is_in(from, *network);
        from.is_loopback()
            || here
            || self.settings.behind_relays.iter().any(behind_relay)
            || self.table(now).knows(from)
    }

    fn table(&self, now: Instant) -> Arc<Table> {
        let mut book = self.book();
        if book
            .made
            .is_none_or(|made| now.saturating_duration_since(made) >= FRESH)
        {
            book.table = Arc::new(Table::new(&self.hosts.hosts(), &self.settings.pools));
            book.made = Some(now);
        }
        Arc::clone(&book.table)
    }

    fn next_turn(&self, pool: &str) -> usize {
        let mut book = self.book();
        let Some(turn) = book.turns.get_mut(pool) else {
            // Pools come from the configuration and from enrolment windows: there are not many.
            book.turns.insert(pool.to_owned(), 1);
            return 0;
        };
        let now = *turn;
        *turn = turn.wrapping_add(1);
        now
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Every change is a plain assignment: a panic elsewhere leaves nothing half made.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, question: &Question, name: &Name, kind: RecordType, meaning: &Meaning<'_>) -> Vec<u8> {
        let wants = |offered: RecordType| kind == offered || kind == RecordType::ANY;
        let record = |data: RData| Record::from_rdata(name.clone(), TTL, data);
        let address = |address: Ipv4Addr| record(RData::A(A(address)));
        let mut reply = question.reply(ResponseCode::NoError);
        reply.metadata.authoritative = true;
        match meaning {
            Meaning::Nothing => reply.metadata.response_code = ResponseCode::NXDomain,
            Meaning::Host(host) if wants(RecordType::A) => reply.answers.extend(host.map(address)),
            Meaning::Pool(pool, members) if wants(RecordType::A) => {
                reply.answers.extend(turn(members, self.next_turn(pool)).map(address));
            }
            Meaning::Pointer(owner) if wants(RecordType::PTR) => {
                let owner = self.name_of(owner).map(|owner| record(RData::PTR(PTR(owner))));
                reply.answers.extend(owner);
            }
            Meaning::Domain => {
                if wants(RecordType::SOA) {
                    reply.answers.extend(self.authority());
                }
                if wants(RecordType::NS) {
                    let server = self.name_of(CONTROLLER).map(|server| record(RData::NS(NS(server))));
                    reply.answers.extend(server);
                }
            }
            // The name is there, and has nothing of this kind: an IPv6 address, for one.
            _ => {}
        }
        if reply.answers.is_empty() {
            // RFC 2308, 3: the SOA record says for how long that may be believed.
            reply.authorities.extend(self.authority());
        }
        question.encode(&reply)
    }

    /// A host's whole name.
    fn name_of(&self, label: &str) -> Option<Name> {
        Name::from_ascii(format!("{label}.{}.", self.settings.domain)).ok()
    }

    fn authority(&self) -> Option<Record> {
        let domain = Name::from_ascii(format!("{}.", self.settings.domain)).ok()?;
        let (server, person) = (self.name_of(CONTROLLER)?, self.name_of("hostmaster")?);
        let authority = SOA::new(server, person, 1, REFRESH, RETRY, EXPIRE, TTL);
        Some(Record::from_rdata(domain, TTL, RData::SOA(authority)))
    }
}

/// A name as the zone knows it: lower case, no dot at the end.
fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

fn refuse(question: &Question) -> Said {
    Said::Now(question.error(ResponseCode::Refused))
}

#[cfg(test)]
mod tests;
