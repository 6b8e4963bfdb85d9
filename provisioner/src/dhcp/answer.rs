// SPDX-License-Identifier: Apache-2.0
//! What a packet is answered: bytes in, bytes and a destination out, silence is a value.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pxe::Mac;
use pxe::bootfile::{self, Bootfile};
use pxe::client::{Client, Firmware};
use pxe::dhcp::{Destination, Kind, Network, Reply, ReplyKind, Request, Terms, Unusable, relayed_probe};
use pxe::lease::{Refusal, Table};
use pxe::proxy::Dialects;

use super::check::{Checks, Claim};
use super::encore::Encores;
use super::{Names, beside};
use crate::config::Reservation;
use crate::leases::Record;
use crate::network::watch::{Manner, Named, News, Spoken, Watch};
use crate::network::{Advice, Answered, Asked, Company, Files, Interface, Notice, SegmentNow, Sighting, Sightings};

/// A segment that we serve, or a network behind relays that stand on one.
pub(super) struct Segment {
    /// The interface; for a network behind relays what an interface of ours would be there.
    pub(super) interface: Interface,
    pub(super) network: Network,
    /// Names that we answer, where we do.
    pub(super) names: Option<Names>,
    /// Relays that are on other networks and speak for this one.
    pub(super) relays: Vec<Ipv4Addr>,
    /// Where clients find our scripts and loaders.
    pub(super) server: bootfile::Server,
    pub(super) table: Table,
    /// First and last address of the table.
    pub(super) pool: (Ipv4Addr, Ipv4Addr),
    pub(super) watch: Watch,
    /// Seconds.
    pub(super) lease_time: u32,
    /// The card that does not exist, in whose name we probe.
    pub(super) probe: Mac,
    /// Cards that always have the same address.
    pub(super) reserved: HashMap<Mac, Reservation>,
    /// Which firmware understands what, beside another server.
    pub(super) dialects: Dialects,
    /// Offers that will be said again.
    pub(super) encores: Encores,
    /// Offers that wait until it is known that nobody has their address.
    pub(super) checks: Checks,
    /// Networks behind relays that reach us here.
    pub(super) relayed: Vec<Segment>,
    /// Promises that must be durable before the answers go out.
    pub(super) promises: Vec<Record>,
    /// What else keeps it from serving as it should, in words.
    pub(super) troubles: Vec<String>,
    /// When a notice of a kind about somebody was given last: a flood of packets is no flood of notices.
    pub(super) noticed: BTreeMap<(&'static str, &'static str), u64>,
}

/// Seconds between two notices of a kind.
const NOTICE_EVERY: u64 = 60;

/// Each segment in words, and whether it is well.
pub(super) type Lines = Mutex<BTreeMap<Arc<str>, (String, bool)>>;

/// Who is asked and told.
pub(super) struct Around<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) sightings: &'a dyn Sightings,
    /// All segments, for the one line that DHCP has on the status page.
    pub(super) lines: &'a Lines,
}

/// When it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Seconds since 1970, for leases.
    pub(super) unix: u64,
    /// Since the server started, for the watch.
    pub(super) running: Duration,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
    pub(super) destination: Destination,
    pub(super) mac: Mac,
    /// For the log and the counter: `offer`, `ack`, `nak`.
    pub(super) kind: &'static str,
}

/// What becomes of a client's wish.
enum Outcome {
    Offer(Ipv4Addr),
    Ack(Ipv4Addr),
    /// Settings only: it has an address already.
    Settings,
    Nak(Refusal),
    Silence,
}

/// Answers one packet.
pub(super) fn answer(
    segment: &mut Segment,
    around: &Around<'_>,
    packet: &[u8],
    now: Now,
) -> Result<Option<Outgoing>, Unusable> {
    let request = Request::parse(packet)?;
    if request.client.mac == segment.probe {
        // Our own question, which the kernel lets us hear too.
        return Ok(None);
    }
    let Some(at) = segment.place(&request) else {
        asked(segment, around, &request, Some(request.giaddr));
        stranded(segment, around, &request, now.unix);
        return Ok(None);
    };
    let Some(relayed) = at.checked_sub(1) else {
        return Ok(answer_here(segment, around, &request, now));
    };
    let behind = &mut segment.relayed[relayed];
    let (_, news) = behind.watch.tick(now.running);
    tell(behind, around, news, now.unix);
    let answer = answer_here(behind, around, &request, now);
    segment.promises.append(&mut behind.promises);
    Ok(answer)
}

/// Answers a client of this very network.
fn answer_here(segment: &mut Segment, around: &Around<'_>, request: &Request, now: Now) -> Option<Outgoing> {
    let advice = asked(segment, around, request, None);
    notice_foreign_choice(segment, around, request, now);
    if request.kind == Kind::Discover {
        segment.watch.asked(now.running);
    }
    match segment.watch.manner() {
        Manner::Silent => None,
        Manner::Proxy => beside::answer(segment, around, request, advice, now),
        Manner::Lease => lease(segment, around, request, advice, now),
    }
}

/// Answers a client where we lease.
fn lease(segment: &mut Segment, around: &Around<'_>, request: &Request, advice: Advice, now: Now) -> Option<Outgoing> {
    let boot = choose(segment, around, &request.client, advice);
    let outcome = decide(segment, around, request, now.unix);
    let outcome = possible(segment, around, request, outcome, now.unix);
    sight(segment, around, request, &outcome, &boot, now.unix);
    let answer = reply(segment, request, &outcome, &boot)?;
    match outcome {
        // What it has, it has: whoever else uses it came later.
        Outcome::Offer(address) if !segment.is_its_own(request.client.mac, address) => {
            segment.checks.pass(request, advice, address, answer, now.running)
        }
        _ => Some(answer),
    }
}

/// Somebody uses the address that a client was to be offered: it rests, and the client is offered another one.
pub(super) fn claimed(segment: &mut Segment, around: &Around<'_>, claim: Claim, now: Now) -> Option<Outgoing> {
    let Claim { address, by } = claim;
    let segment = if by.is_some() {
        segment
    } else {
        segment.of_address(address)?
    };
    if let Some(card) = by
        && segment.watch.card_at(address, card)
    {
        segment.report(around);
    }
    let blind = segment.checks.is_blind();
    let waiting = segment.checks.claimed(claim, now.running);
    if let Some(router) = segment.checks.is_blind().filter(|router| Some(*router) != blind) {
        let detail = format!(
            "{router} answers ARP for every address on {}, so nobody can be asked whether he uses one; switch proxy ARP off on it",
            segment.interface.name
        );
        segment.notice(around, "proxy-arp", detail, now.unix);
    }
    let waiting = waiting?;
    segment.table.decline(waiting.request.client.mac, address, now.unix);
    let whom = by.map_or_else(|| "somebody".to_owned(), |mac| mac.to_string());
    let detail = format!(
        "{address} is in use by {whom} on {}, who did not get it from us, and is not given out; look for a fixed address in the pool",
        segment.interface.name
    );
    segment.notice(around, "address-in-use", detail, now.unix);
    if !segment.watch.may_lease() {
        return None;
    }
    let searching = segment.checks.search(&waiting);
    let answer = searching.then(|| lease(segment, around, &waiting.request, waiting.advice, now));
    segment.checks.searched();
    answer.flatten()
}

/// A relay asks for a network that nobody has configured: somebody waits there in vain.
fn stranded(segment: &mut Segment, around: &Around<'_>, request: &Request, now: u64) {
    let detail = format!(
        "a relay at {} asks for machines on a network that is not configured; add their network to [[subnets]], and \
         where the relay has its address elsewhere (a loopback) name it there: relays = [\"{}\"]",
        request.giaddr, request.giaddr
    );
    segment.notice(around, "relay-unknown", detail, now);
}

/// What a client is to load: the loader that is known to suit it, else the first of its ladder that is there.
pub(super) fn choose(segment: &Segment, around: &Around<'_>, client: &Client, advice: Advice) -> Bootfile {
    if advice.leave {
        return Bootfile::Nothing;
    }
    bootfile::choose(client, &segment.server, advice.loader, |file| around.files.has(file))
}

/// Tells of a packet for the record of who boots how, and hears what the record advises.
pub(super) fn asked(segment: &Segment, around: &Around<'_>, request: &Request, stranded: Option<Ipv4Addr>) -> Advice {
    let taken = Some(request.ciaddr).filter(|address| !address.is_unspecified());
    around.sightings.asked(&Asked {
        client: &request.client,
        interface: &segment.interface.name,
        kind: request.kind,
        xid: request.xid,
        secs: request.secs,
        address: taken.or(request.requested),
        chosen: request.server,
        relay: Some(request.giaddr).filter(|relay| !relay.is_unspecified()),
        relay_agent: &request.relay_agent,
        stranded,
    })
}

/// What another server or its client tells about itself, in words for the list of events.
pub(super) fn tell(segment: &mut Segment, around: &Around<'_>, news: impl IntoIterator<Item = News>, now: u64) {
    for news in news {
        let kind = match news {
            News::Alone => "dhcp-alone",
            News::Beside(_) => "dhcp-beside",
            News::Named(_) => "dhcp-named",
            News::ClaimsPxe(_) => "dhcp-claims-pxe",
        };
        segment.notice(around, kind, segment.in_words(), now);
        segment.report(around);
    }
}

/// A server answers what we asked it as a relay asks, for a network behind relays. Whether it is such an answer.
pub(super) fn replied(segment: &mut Segment, around: &Around<'_>, spoken: &Spoken, now: Now) -> bool {
    let asked = |behind: &&mut Segment| spoken.heard.client == Some(behind.probe);
    let Some(behind) = segment.relayed.iter_mut().find(asked) else {
        return false;
    };
    let news = behind.watch.heard(spoken, now.running);
    tell(behind, around, news, now.unix);
    true
}

impl Around<'_> {
    /// Brings the line that DHCP has on the status page up to date.
    fn publish(&self, lines: &BTreeMap<Arc<str>, (String, bool)>) {
        let words: Vec<&str> = lines.values().map(|(words, _)| words.as_str()).collect();
        let ok = lines.values().all(|(_, ok)| *ok);
        self.sightings.service("dhcp", words.join("; "), ok);
    }

    /// Says why an interface is not served; whether that is new.
    pub(super) fn unserved(&self, interface: &Arc<str>, words: String) -> bool {
        let line = (words, false);
        // Every change is one insertion: a panic elsewhere leaves nothing half done behind.
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let new = lines.get(interface) != Some(&line);
        lines.insert(Arc::clone(interface), line);
        self.publish(&lines);
        drop(lines);
        self.sightings.segment_gone(interface);
        new
    }

    /// Says nothing of a network any more.
    pub(super) fn forget(&self, network: &Arc<str>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.remove(network);
        self.publish(&lines);
        drop(lines);
        metrics::gauge!("gleaner_dhcp_leasing", "network" => network.to_string()).set(0.0);
        self.sightings.segment_gone(network);
    }
}

impl Segment {
    /// Brings the status page up to date.
    pub(super) fn report(&self, around: &Around<'_>) {
        // Every change is one insertion: a panic elsewhere leaves nothing half done behind.
        let mut lines = around.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let well = self.watch.is_well() && self.troubles.is_empty();
        lines.insert(self.interface.name.clone(), (self.in_words(), well));
        around.sightings.segment(SegmentNow {
            interface: self.interface.name.clone(),
            address: self.interface.address,
            prefix: self.interface.prefix,
            company: self.watch.company(),
            serves: self.watch.manner() != Manner::Silent,
            interrupted: self.watch.is_interrupted(),
            relayed: self.network.server != self.interface.address,
            server: self.network.server,
        });
        let leases = if self.watch.may_lease() { 1.0 } else { 0.0 };
        metrics::gauge!("gleaner_dhcp_leasing", "network" => self.interface.name.to_string()).set(leases);
        around.publish(&lines);
    }

    /// This network and those behind relays.
    pub(super) fn networks(&self) -> impl Iterator<Item = &Self> {
        [self].into_iter().chain(&self.relayed)
    }

    /// Questions to servers that clients behind relays have named, and where they go.
    pub(super) fn take_questions(&mut self, now: Duration) -> Vec<(Vec<u8>, Ipv4Addr)> {
        let ask = |behind: &mut Self| {
            let server = behind.watch.take_question(now)?;
            let question = relayed_probe(behind.probe, rand::random(), behind.network.server, behind.pool.0);
            Some((question, server))
        };
        self.relayed.iter_mut().filter_map(ask).collect()
    }

    /// The segment in words, for a person.
    pub(super) fn in_words(&self) -> String {
        let (held, all) = self.table.usage();
        let (first, last) = self.pool;
        let (name, server) = (&self.interface.name, self.network.server);
        let doing = self.watch.in_words();
        let mut words = format!("{name} {server}, {doing}");
        if self.watch.may_lease() {
            // Writing to a String cannot fail.
            let _ = write!(words, "; {held} of {all} addresses from {first} to {last} are held");
        }
        for trouble in &self.troubles {
            let _ = write!(words, "; {trouble}");
        }
        words
    }

    /// Tells a person, but not the same thing all the time.
    pub(super) fn notice(&mut self, around: &Around<'_>, kind: &'static str, detail: String, now: u64) {
        self.notice_about(around, (kind, ""), detail, now);
    }

    /// The same for a kind of machine: another kind's is another thing.
    fn notice_about(
        &mut self,
        around: &Around<'_>,
        (kind, whom): (&'static str, &'static str),
        detail: String,
        now: u64,
    ) {
        let last = self.noticed.get(&(kind, whom));
        if last.is_none_or(|last| now.abs_diff(*last) >= NOTICE_EVERY) {
            self.noticed.insert((kind, whom), now);
            around.sightings.notice(Notice { kind, detail });
        }
    }

    /// Refuses what a client asks for. RFC 2131, 4.3.2: "If the DHCP server has no record of this client, then it MUST
    /// remain silent": beside another server it may have that address from there. Where we are alone, nobody else can
    /// have promised it, and the client must ask anew.
    fn refuse(&self, request: &Request, why: Refusal) -> Outcome {
        let asks_us = request.server == Some(self.network.server);
        if asks_us || self.watch.company() == Company::Alone {
            Outcome::Nak(why)
        } else {
            Outcome::Silence
        }
    }

    /// Whether a machine of this network can have an address at all.
    fn can_be_given(&self, address: Ipv4Addr) -> bool {
        let server = [self.network.server, self.interface.address].contains(&address);
        let router = self.network.gateway == Some(address);
        // RFC 3021: a network of two addresses has no other two.
        let ends = [self.interface.network(), self.interface.broadcast()].contains(&address);
        self.interface.contains(address) && !server && !router && (!ends || self.interface.prefix >= 31)
    }

    /// Whether an address is a card's already, by a lease or by its reservation.
    fn is_its_own(&self, mac: Mac, address: Ipv4Addr) -> bool {
        self.table.is_bound(mac, address) || self.reserved.get(&mac).is_some_and(|own| own.address == address)
    }

    /// When the next offer has waited long enough, here or behind a relay.
    pub(super) fn next_check(&self) -> Option<Duration> {
        let behind = self.relayed.iter().filter_map(|behind| behind.checks.next());
        behind.chain(self.checks.next()).min()
    }

    /// The offers that have waited, here and behind relays: nobody has their addresses.
    pub(super) fn take_checked(&mut self, now: Duration) -> Vec<Outgoing> {
        let mut checked: Vec<_> = std::iter::from_fn(|| self.checks.take_due(now)).collect();
        // Somebody else may lease by now.
        checked.retain(|_| self.watch.may_lease());
        checked.extend(self.relayed.iter_mut().flat_map(|behind| behind.take_checked(now)));
        checked
    }

    /// Whether an address is on this network.
    pub(super) fn serves(&self, address: Ipv4Addr) -> bool {
        self.interface.contains(address)
    }

    /// The network of an address: this one, or one behind a relay.
    pub(super) fn of_address(&mut self, address: Ipv4Addr) -> Option<&mut Self> {
        if self.serves(address) {
            return Some(self);
        }
        self.relayed.iter_mut().find(|behind| behind.serves(address))
    }

    /// Where the sender of a packet is: 0 is here, then come the networks behind relays. `None` where a relay speaks
    /// for a network that is none of ours.
    fn place(&self, request: &Request) -> Option<usize> {
        let network = |address: Ipv4Addr| {
            let behind = || self.relayed.iter().position(|behind| behind.serves(address));
            if self.serves(address) {
                Some(0)
            } else {
                behind().map(|at| at + 1)
            }
        };
        if request.giaddr.is_unspecified() {
            // Who renews does so past the relay; who has an address from elsewhere is told so here.
            return Some(network(request.ciaddr).unwrap_or(0));
        }
        // Answers leave for the relay, so it must be on a network of ours, or named in the settings, even where it names
        // another network for its client.
        let stands_on = network(request.giaddr);
        let mut speaks_for = (1..)
            .zip(&self.relayed)
            .filter_map(|(at, behind)| behind.relays.contains(&request.giaddr).then_some(at));
        match (request.link_selection(), stands_on) {
            (Some(client), Some(_)) => network(client),
            (Some(client), None) => speaks_for.next().and_then(|_| network(client)),
            (None, Some(relay)) => Some(relay),
            // One that speaks for several networks has to say for which.
            (None, None) => speaks_for.next().filter(|_| speaks_for.next().is_none()),
        }
    }

    /// The relay's address on its client's network, as far as the packet tells: there it is a router, and without one
    /// the client could not reach us.
    fn router(&self, request: &Request) -> Option<Ipv4Addr> {
        let relay = request.link_selection().unwrap_or(request.giaddr);
        let host = relay != self.interface.network() && relay != self.interface.broadcast();
        (self.serves(relay) && host).then_some(relay)
    }
}

fn notice_foreign_choice(segment: &mut Segment, around: &Around<'_>, request: &Request, now: Now) {
    let (Kind::Request, Some(server)) = (request.kind, request.server) else {
        return;
    };
    if server != segment.network.server {
        let by = request.client.mac;
        let news = segment.watch.chosen(Named { server, by }, now.running);
        tell(segment, around, news, now.unix);
    }
}

fn decide(segment: &mut Segment, around: &Around<'_>, request: &Request, now: u64) -> Outcome {
    let mac = request.client.mac;
    let known = around.sightings.is_known(mac);
    match request.kind {
        Kind::Discover => {
            if let Some(reserved) = segment.reserved.get(&mac) {
                return Outcome::Offer(reserved.address);
            }
            if let Some(address) = segment.table.offer(mac, known, request.requested, now) {
                return Outcome::Offer(address);
            }
            exhausted(segment, around, known, now);
            Outcome::Silence
        }
        Kind::Request => confirm(segment, request, known, now),
        Kind::Decline => {
            let Some(address) = request.requested else {
                return Outcome::Silence;
            };
            let declined = segment.table.decline(mac, address, now);
            if declined {
                segment.promises.push(Record::Freed(address));
            }
            if declined || segment.reserved.get(&mac).is_some_and(|own| own.address == address) {
                let detail = format!(
                    "{mac} found {address} in use by somebody else on {}; look for a PC with a fixed address in the pool",
                    segment.interface.name
                );
                segment.notice(around, "address-in-use", detail, now);
            }
            Outcome::Silence
        }
        Kind::Release => {
            if segment.table.release(mac, request.ciaddr, now) {
                segment.promises.push(Record::Freed(request.ciaddr));
            }
            // RFC 2131, 4.4.6: a release is not answered.
            Outcome::Silence
        }
        // RFC 2131, 4.3.5: "The servers SHOULD unicast the DHCPACK reply to the address given in the 'ciaddr'
        // field"; one that is not of this network is nobody's whom we could help.
        Kind::Inform if segment.interface.contains(request.ciaddr) => Outcome::Settings,
        Kind::Inform => Outcome::Silence,
    }
}

/// Whatever the settings and the lease log say: an address that is the server's, the router's or the network's own is given
/// to nobody.
fn possible(segment: &mut Segment, around: &Around<'_>, request: &Request, outcome: Outcome, now: u64) -> Outcome {
    let (Outcome::Offer(address) | Outcome::Ack(address)) = outcome else {
        return outcome;
    };
    if segment.can_be_given(address) {
        return outcome;
    }
    segment.promises.retain(|record| record.address() != address);
    let detail = format!(
        "{address} on {} is not given to {}: it is this server's, the router's or the network's own; look at the pool and the \
         reservations",
        segment.interface.name, request.client.mac
    );
    segment.notice(around, "address-impossible", detail, now);
    if request.kind == Kind::Request {
        segment.refuse(request, Refusal::NotInPool)
    } else {
        Outcome::Silence
    }
}

/// A REQUEST: selecting (with a server), after a reboot (with a wish), renewing or rebinding (with an address in
/// use). RFC 2131, 4.3.2.
fn confirm(segment: &mut Segment, request: &Request, known: bool, now: u64) -> Outcome {
    let mac = request.client.mac;
    if request.server.is_some_and(|server| server != segment.network.server) {
        segment.table.withdraw(mac);
        return Outcome::Silence;
    }
    let renewing = !request.ciaddr.is_unspecified();
    let wish = if renewing {
        Some(request.ciaddr)
    } else {
        request.requested
    };
    let Some(address) = wish else { return Outcome::Silence };
    if renewing && !segment.interface.contains(address) {
        // Its answer would leave the segment for an address that anybody can write into a packet.
        return Outcome::Silence;
    }
    if let Some(reserved) = segment.reserved.get(&mac) {
        // Nothing to write down: the configuration knows.
        return if address == reserved.address {
            Outcome::Ack(address)
        } else {
            segment.refuse(request, Refusal::Reserved)
        };
    }
    match segment.table.bind(mac, known, address, segment.lease_time.into(), now) {
        Ok(lease) => {
            segment.promises.push(Record::Bound(lease));
            Outcome::Ack(address)
        }
        Err(refusal) => segment.refuse(request, refusal),
    }
}

fn exhausted(segment: &mut Segment, around: &Around<'_>, known: bool, now: u64) {
    metrics::counter!("gleaner_dhcp_exhausted_total", "machine" => if known { "known" } else { "unknown" })
        .increment(1);
    let (held, all) = segment.table.usage();
    let detail = format!(
        "{}: no address is left for {} machines ({held} of {all} held); enlarge the pool, or look who takes so many",
        segment.interface.name,
        if known { "known" } else { "unknown" },
    );
    segment.notice(around, "pool-exhausted", detail, now);
}

fn sight(segment: &mut Segment, around: &Around<'_>, request: &Request, outcome: &Outcome, boot: &Bootfile, now: u64) {
    let (answered, address) = match *outcome {
        Outcome::Offer(address) => (Answered::Offer, Some(address)),
        Outcome::Ack(address) => (Answered::Ack, Some(address)),
        Outcome::Settings => (Answered::Settings, Some(request.ciaddr)),
        Outcome::Nak(_) => (Answered::Nak, None),
        Outcome::Silence if request.kind == Kind::Discover => (Answered::NoAddress, None),
        Outcome::Silence => return,
    };
    let told = told(segment, around, request, boot, now);
    let interface = segment.interface.name.clone();
    around.sightings.seen(Sighting {
        client: request.client,
        interface,
        answered,
        address,
        told,
    });
}

/// What a client is told to load, for a person.
pub(super) fn told(segment: &mut Segment, around: &Around<'_>, request: &Request, boot: &Bootfile, now: u64) -> String {
    match boot {
        Bootfile::Nothing => String::new(),
        Bootfile::Tftp(file) => (*file).to_owned(),
        Bootfile::Url(url) => url.clone(),
        Bootfile::Missing { why } => {
            let detail = format!("{} wants to boot: {why}", request.client.mac);
            let whom = request.client.firmware.map_or("", Firmware::word);
            segment.notice_about(around, ("no-loader", whom), detail, now);
            why.clone()
        }
    }
}

fn reply(segment: &Segment, request: &Request, outcome: &Outcome, boot: &Bootfile) -> Option<Outgoing> {
    let terms = Some(Terms {
        lease: segment.lease_time,
    });
    let refusal;
    let (kind, address, terms, message, word) = match outcome {
        Outcome::Offer(address) => (ReplyKind::Offer, *address, terms, "", "offer"),
        Outcome::Ack(address) => (ReplyKind::Ack, *address, terms, "", "ack"),
        Outcome::Settings => (ReplyKind::Ack, Ipv4Addr::UNSPECIFIED, None, "", "ack"),
        Outcome::Nak(why) => {
            refusal = why.to_string();
            (ReplyKind::Nak, Ipv4Addr::UNSPECIFIED, None, refusal.as_str(), "nak")
        }
        Outcome::Silence => return None,
    };
    let mut network = Cow::Borrowed(&segment.network);
    if network.gateway.is_none() && !request.giaddr.is_unspecified() {
        network.to_mut().gateway = segment.router(request);
    }
    let server = segment.network.server;
    if let Some(names) = segment.names.as_ref().filter(|names| names.servers.has(server)) {
        let network = network.to_mut();
        network.domain.clone_from(&names.domain);
        // Another server's addresses where the site names some; else ours, where we answer.
        if network.dns.is_empty() {
            network.dns.push(server);
        }
    }
    let reserved = segment.reserved.get(&request.client.mac);
    let reply = Reply {
        kind,
        address,
        terms,
        network: &network,
        boot,
        host_name: reserved.and_then(|own| own.name.as_deref()).unwrap_or_default(),
        message,
    };
    Some(Outgoing {
        bytes: reply.encode(request),
        destination: reply.destination(request),
        mac: request.client.mac,
        kind: word,
    })
}

#[cfg(test)]
mod tests;
