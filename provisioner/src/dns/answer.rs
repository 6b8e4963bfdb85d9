// SPDX-License-Identifier: Apache-2.0
//! From a question on the wire to the records of its answer. Knows no socket.
//!
//! RFC 1034 and 1035 for what is said, RFC 2308 for what is not there, RFC 6891 for sizes.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, NS, PTR, SOA};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::{BinEncodable, BinEncoder};

use super::zone::{CONTROLLER, Meaning, Table, Zone, turn};
use super::{Hosts, Settings};
use crate::network::Interface;

/// Seconds that an answer may be kept: whoever was told of a node that has left its pool asks anew half a heartbeat
/// later.
const TTL: u32 = 5;
/// For how long a look at the nodes is good: far below [`TTL`], and a flood of questions costs five looks a second.
const FRESH: Duration = Duration::from_millis(200);
/// There are no secondary servers; these are what RFC 1912, 2.2 recommends for those that there are not.
const REFRESH: i32 = 3600;
const RETRY: i32 = 600;
const EXPIRE: i32 = 86_400;
/// Bytes of a header (RFC 1035, 4.1.1).
const HEADER: usize = 12;
/// Bytes of an answer over UDP to those who do not say more (RFC 1035, 4.2.1).
const SMALL: u16 = 512;
/// Bytes of an answer over UDP to those who do: fits every network without being cut into pieces, which get lost.
const LARGE: u16 = 1232;
/// The version of EDNS (RFC 6891, 6.1.3).
const EDNS_VERSION: u8 = 0;

/// What a packet came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// A packet an answer.
    Udp,
    /// Behind its length, in a connection.
    Tcp,
}

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

/// A question that can be understood, and how long its answer may be.
#[derive(Clone, Debug)]
pub(super) struct Question {
    message: Message,
    longest: u16,
}

/// Answers what is asked about this site.
pub(super) struct Answerer {
    settings: Settings,
    networks: Vec<Interface>,
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
    /// Answers to those on `networks`, about `hosts`.
    pub(super) fn new(settings: Settings, networks: Vec<Interface>, hosts: Arc<dyn Hosts>) -> Self {
        Self {
            settings,
            networks,
            hosts,
            book: Mutex::default(),
        }
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
            return question.refuse();
        }
        let (name, kind) = match question.asked() {
            Ok(asked) => asked,
            Err(code) => return Said::Now(question.error(code)),
        };
        let plain = name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let table = self.table(now);
        let zone = Zone {
            domain: &self.settings.domain,
            server,
            table: &table,
        };
        match zone.meaning(&plain) {
            Meaning::Elsewhere if question.message.metadata.recursion_desired => Said::Elsewhere(question),
            Meaning::Elsewhere => question.refuse(),
            // RFC 5936: the whole zone is nobody's business, and node list has it.
            _ if matches!(kind, RecordType::AXFR | RecordType::IXFR) => question.refuse(),
            meaning => Said::Now(self.say(&question, name, kind, &meaning)),
        }
    }

    /// Whether somebody there is answered: machines of networks that are served, nodes wherever they are, this machine.
    pub(super) fn serves(&self, from: Ipv4Addr, now: Instant) -> bool {
        let behind_relay = |(network, prefix): &(Ipv4Addr, u8)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
            (u32::from(*network) ^ u32::from(from)) & mask == 0
        };
        from.is_loopback()
            || self.networks.iter().any(|interface| interface.contains(from))
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

impl Question {
    /// Reads a packet: `None` if nobody asks, and the answer if it is an error that says so.
    fn read(packet: &[u8], over: Over) -> Option<Result<Self, Vec<u8>>> {
        let head = packet.get(..HEADER)?;
        // An answer to an answer would be answered for ever.
        if head[2] & 0x80 != 0 {
            return None;
        }
        let count = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        // A question, and behind it at most what EDNS and a signature add: whoever counts otherwise wants to be read
        // for long. An update (RFC 2136) is none, and is told so before anything else of it is read.
        let opcode = head[2] >> 3 & 15;
        let plain = count(4) == 1 && count(6) == 0 && count(8) == 0 && count(10) <= 2;
        let code = match opcode {
            0 if plain => None,
            0 => Some(ResponseCode::FormErr),
            _ => Some(ResponseCode::NotImp),
        };
        let message = match code {
            None => Message::from_vec(packet).map_err(|_| ResponseCode::FormErr),
            Some(code) => Err(code),
        };
        let longest = |message: &Message| match (over, &message.edns) {
            (Over::Tcp, _) => u16::MAX,
            (Over::Udp, None) => SMALL,
            // RFC 6891, 6.2.3: "Values lower than 512 MUST be treated as equal to 512."
            (Over::Udp, Some(edns)) => edns.max_payload().clamp(SMALL, LARGE),
        };
        Some(match message {
            Ok(message) => Ok(Self {
                longest: longest(&message),
                message,
            }),
            Err(code) => Err(bare(head, code)),
        })
    }

    /// What is asked, or the error that the question is.
    pub(super) fn asked(&self) -> Result<(&Name, RecordType), ResponseCode> {
        if self
            .message
            .edns
            .as_ref()
            .is_some_and(|edns| edns.version() > EDNS_VERSION)
        {
            return Err(ResponseCode::BADVERS);
        }
        if self.message.metadata.op_code != OpCode::Query || self.message.metadata.message_type != MessageType::Query {
            return Err(ResponseCode::NotImp);
        }
        match self.message.queries.as_slice() {
            [query] if query.query_class() == DNSClass::IN => Ok((query.name(), query.query_type())),
            [_] => Err(ResponseCode::Refused),
            _ => Err(ResponseCode::FormErr),
        }
    }

    /// The beginning of an answer.
    pub(super) fn reply(&self, code: ResponseCode) -> Message {
        let asked = &self.message.metadata;
        let mut reply = Message::error_msg(asked.id, asked.op_code, code);
        reply.metadata.recursion_desired = asked.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.metadata.checking_disabled = asked.checking_disabled;
        // Letter by letter as it was asked: some tell by it whether an answer is for them.
        reply.queries.clone_from(&self.message.queries);
        reply.edns = self.message.edns.as_ref().map(|_| {
            let mut edns = Edns::new();
            edns.set_max_payload(LARGE);
            edns.set_version(EDNS_VERSION);
            edns
        });
        reply
    }

    /// An answer that is only an error.
    pub(super) fn error(&self, code: ResponseCode) -> Vec<u8> {
        self.encode(&self.reply(code))
    }

    fn refuse(&self) -> Said {
        Said::Now(self.error(ResponseCode::Refused))
    }

    /// The bytes of an answer; what does not fit is left out, and the answer says so.
    pub(super) fn encode(&self, reply: &Message) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SMALL.into());
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(self.longest);
        match reply.emit(&mut encoder) {
            Ok(()) => bytes,
            Err(error) => {
                tracing::debug!(%error, "writing a DNS answer");
                let [high, low] = self.message.metadata.id.to_be_bytes();
                bare(&[high, low, 0, 0], ResponseCode::ServFail)
            }
        }
    }
}

/// An error without anything else, for a packet that begins like this.
fn bare(head: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..2].copy_from_slice(&head[..2]);
    // RFC 1035, 4.1.1: an answer; operation and wish for recursion are those of the question.
    bytes[2] = 0x80 | head[2] & 0x79;
    bytes[3] = code.low();
    bytes
}

#[cfg(test)]
mod tests;
