// SPDX-License-Identifier: Apache-2.0
//! Many clients at once on a bad cable, in virtual time: packets are lost, late, out of order and there twice.

use std::collections::HashSet;

use super::*;

/// A cable's faults, in percent, and how late a packet may be, in milliseconds.
#[derive(Clone, Copy)]
struct Cable {
    lost: u64,
    twice: u64,
    late: u64,
}

const BAD: Cable = Cable {
    lost: 20,
    twice: 20,
    late: 900,
};
/// Clients that start within a second.
const CLIENTS: u32 = 60;
/// Milliseconds until a client says it again; doubled each time, up to five times (RFC 2131, 4.1).
const AGAIN: u64 = 1000;

enum Event {
    /// Arrives at the server.
    Question(Vec<u8>),
    /// Arrives at a client.
    Answer(u32, Vec<u8>),
    /// A client's patience ends, unless it has got further since.
    Again(u32, u32),
    /// Another server is heard.
    Rival,
}

/// What a client waits for.
#[derive(Clone, Copy, PartialEq)]
enum Wish {
    Offer,
    Ack(Ipv4Addr),
    Nothing(Ipv4Addr),
}

struct Client {
    wish: Wish,
    xid: u32,
    tries: u32,
    /// Counts what it said, so that an old alarm is known as one.
    said: u32,
}

struct World {
    cable: Cable,
    random: u64,
    /// What will happen, by when and in which order it was sent.
    events: BTreeMap<(u64, u64), Event>,
    sent: u64,
    clients: Vec<Client>,
    segment: Segment,
    core: Core,
    /// Addresses that left the server after the rival was heard.
    leaked: Vec<Ipv4Addr>,
    rival: bool,
}

impl World {
    fn new(seed: u64, cable: Cable) -> Self {
        let mut segment = segment();
        segment.checks = Checks::new(true);
        let client = || Client {
            wish: Wish::Offer,
            xid: 0,
            tries: 0,
            said: 0,
        };
        Self {
            cable,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            events: BTreeMap::new(),
            sent: 0,
            clients: (0..CLIENTS).map(|_| client()).collect(),
            segment,
            core: Core::default(),
            leaked: Vec::new(),
            rival: false,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % below
    }

    fn at(&mut self, when: u64, event: Event) {
        self.sent += 1;
        self.events.insert((when, self.sent), event);
    }

    /// Sends a packet over the cable.
    fn send(&mut self, now: u64, event: impl Fn() -> Event) {
        let copies = 1 + u64::from(self.random(100) < self.cable.twice);
        for _ in 0..copies {
            if self.random(100) >= self.cable.lost {
                let late = self.random(self.cable.late);
                self.at(now + late, event());
            }
        }
    }

    /// A client says what it wants, and looks at the clock.
    fn say(&mut self, number: u32, now: u64) {
        let client = &mut self.clients[number as usize];
        client.said += 1;
        let (said, tries) = (client.said, client.tries);
        if client.wish == Wish::Offer {
            client.xid = number << 16 | said;
        }
        let mut question = match client.wish {
            Wish::Offer => packet(1, mac(number), NOBODY, &[]),
            Wish::Ack(address) => {
                let wish = [(50, &address.octets()[..]), (54, &SERVER.octets())];
                packet(3, mac(number), NOBODY, &wish)
            }
            Wish::Nothing(_) => return,
        };
        question[4..8].copy_from_slice(&client.xid.to_be_bytes());
        self.send(now, || Event::Question(question.clone()));
        self.at(now + (AGAIN << tries.min(5)), Event::Again(number, said));
    }

    fn hears(&mut self, number: u32, answer: &[u8], now: u64) {
        let address = Ipv4Addr::from(<[u8; 4]>::try_from(&answer[16..20]).unwrap());
        let client = &mut self.clients[number as usize];
        if answer[4..8] != client.xid.to_be_bytes() {
            return;
        }
        // The message type is the first option that we send.
        match (client.wish, answer[242]) {
            (Wish::Offer, 2) => (client.wish, client.tries) = (Wish::Ack(address), 0),
            (Wish::Ack(wished), 5) if wished == address => client.wish = Wish::Nothing(address),
            (Wish::Ack(_), 6) => (client.wish, client.tries) = (Wish::Offer, 0),
            _ => return,
        }
        self.say(number, now);
    }

    fn again(&mut self, number: u32, said: u32, now: u64) {
        let client = &mut self.clients[number as usize];
        if client.said != said {
            return;
        }
        client.tries += 1;
        if client.tries > 4 && matches!(client.wish, Wish::Ack(_)) {
            (client.wish, client.tries) = (Wish::Offer, 0);
        }
        self.say(number, now);
    }

    fn answered(&mut self, answer: &Outgoing, now: u64) {
        if self.rival && yiaddr(answer) != NOBODY {
            self.leaked.push(yiaddr(answer));
        }
        let number = (0..CLIENTS).find(|number| mac(*number) == answer.mac).unwrap();
        let bytes = answer.bytes.clone();
        self.send(now, || Event::Answer(number, bytes.clone()));
    }

    /// Until nothing happens any more, or this many milliseconds have passed.
    fn run(&mut self, until: u64) {
        for number in 0..CLIENTS {
            let start = self.random(1000);
            self.at(start, Event::Again(number, 0));
        }
        while let Some(((now, _), event)) = self.events.pop_first().filter(|((now, _), _)| *now <= until) {
            // What has waited for its check leaves first.
            while let Some(answer) = self.segment.checks.take_due(LATER + Duration::from_millis(now)) {
                if self.segment.watch.may_lease() {
                    self.answered(&answer, now);
                }
            }
            match event {
                Event::Question(packet) => {
                    let lines = Lines::default();
                    let around = Around {
                        files: &All,
                        sightings: &self.core,
                        lines: &lines,
                    };
                    let time = Now {
                        unix: now / 1000,
                        running: LATER + Duration::from_millis(now),
                    };
                    let answer = answer(&mut self.segment, &around, &packet, time).unwrap();
                    if let Some(answer) = answer {
                        self.answered(&answer, now);
                    }
                }
                Event::Answer(number, answer) => self.hears(number, &answer, now),
                Event::Again(number, said) => self.again(number, said, now),
                Event::Rival => {
                    self.segment
                        .watch
                        .heard(&offer_of(OTHER), LATER + Duration::from_millis(now));
                    self.rival = true;
                }
            }
        }
    }

    fn bound(&self) -> Vec<(Mac, Ipv4Addr)> {
        let bound = (0..)
            .zip(&self.clients)
            .filter_map(|(number, client)| match client.wish {
                Wish::Nothing(address) => Some((mac(number), address)),
                Wish::Offer | Wish::Ack(_) => None,
            });
        bound.collect()
    }
}

/// No two clients have one address, and each has the one that was written down for it.
fn is_kept(world: &World, seed: u64) {
    let bound = world.bound();
    let addresses: HashSet<Ipv4Addr> = bound.iter().map(|(_, address)| *address).collect();
    assert_eq!(addresses.len(), bound.len(), "seed {seed}: an address was given twice");
    for (mac, address) in bound {
        let promised = world
            .segment
            .promises
            .iter()
            .any(|promise| matches!(promise, Record::Bound(lease) if (lease.mac, lease.address) == (mac, address)));
        assert!(
            promised && world.segment.table.is_bound(mac, address),
            "seed {seed}: {mac} {address}"
        );
    }
}

#[test]
fn on_a_bad_cable_everybody_gets_an_address_of_his_own() {
    for seed in 1..=40 {
        let mut world = World::new(seed, BAD);
        world.run(180_000);
        assert_eq!(world.bound().len(), CLIENTS as usize, "seed {seed}");
        is_kept(&world, seed);
    }
}

#[test]
fn on_a_bad_cable_nothing_is_leased_from_the_moment_on_that_another_server_is_heard() {
    for seed in 1..=40 {
        let mut world = World::new(seed, BAD);
        let moment = world.random(8000);
        world.at(moment, Event::Rival);
        world.run(60_000);
        assert!(
            world.rival && world.leaked.is_empty(),
            "seed {seed}: {:?}",
            world.leaked
        );
        is_kept(&world, seed);
    }
}
