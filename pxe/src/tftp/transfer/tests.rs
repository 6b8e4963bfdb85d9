// SPDX-License-Identifier: Apache-2.0
//! Transfers in virtual time, over a network that loses, delays, reorders and doubles.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn ack(block: u64) -> Vec<u8> {
    let [.., high, low] = block.to_be_bytes();
    vec![0, 4, high, low]
}

fn options(block_size: u16, window: Option<u16>) -> Options {
    Options {
        block_size: Some(block_size),
        window,
        size: true,
        timeout: None,
    }
}

/// How the network treats packets, in thousandths, and how long they may take.
#[derive(Clone, Copy, Debug)]
struct Weather {
    loss: u32,
    double: u32,
    delay_ms: u64,
    /// Whether a packet may overtake another.
    reorder: bool,
}

const FINE: Weather = Weather {
    loss: 0,
    double: 0,
    delay_ms: 1,
    reorder: false,
};

/// What came of a transfer.
#[derive(Debug)]
struct Outcome {
    file: Vec<u8>,
    /// Blocks that the server sent, repetitions included.
    blocks_sent: u64,
    took: Duration,
    end: Action,
}

enum Packet {
    ToClient(Vec<u8>),
    ToServer(Vec<u8>),
}

/// Both ends and the network between them.
struct Simulation {
    queue: BTreeMap<(Duration, u64), Packet>,
    sequence: u64,
    random: u64,
    weather: Weather,
    /// When the newest packet arrives, where none overtakes another.
    newest: Duration,
    now: Duration,
}

impl Simulation {
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) % below.max(1)
    }

    fn send(&mut self, packet: impl Fn() -> Packet) {
        let Weather {
            loss, double, delay_ms, ..
        } = self.weather;
        let copies = if self.random(1000) < double.into() { 2 } else { 1 };
        for _ in 0..copies {
            if self.random(1000) >= loss.into() {
                let at = self.now + Duration::from_micros(100 + self.random(delay_ms * 1000));
                let at = if self.weather.reorder { at } else { at.max(self.newest) };
                self.newest = at;
                self.sequence += 1;
                self.queue.insert((at, self.sequence), packet());
            }
        }
    }
}

/// A client as RFC 1350 and 7440 describe it: it acknowledges again when it hears an old block or nothing.
struct Client {
    file: Vec<u8>,
    block_size: usize,
    window: u64,
    expected: u64,
    in_window: u64,
    complained: bool,
    finished: bool,
    silent_since: Duration,
}

impl Client {
    fn receive(&mut self, packet: &[u8], now: Duration) -> Option<Vec<u8>> {
        match packet {
            [0, 6, ..] => {
                self.silent_since = now;
                (self.expected == 1).then(|| ack(0))
            }
            [0, 3, high, low, data @ ..] => {
                let number = u16::from_be_bytes([*high, *low]);
                if self.finished || number != self.expected as u16 {
                    // RFC 1350's reader acknowledges what it has; with windows it complains once a gap.
                    let complain = self.window == 1 || !std::mem::replace(&mut self.complained, true);
                    self.in_window = 0;
                    return complain.then(|| ack(self.expected - 1));
                }
                self.silent_since = now;
                self.file.extend(data);
                self.expected += 1;
                self.in_window += 1;
                self.complained = false;
                self.finished = data.len() < self.block_size;
                let full = self.in_window == self.window || self.finished;
                full.then(|| {
                    self.in_window = 0;
                    ack(self.expected - 1)
                })
            }
            _ => None,
        }
    }
}

fn simulate(file: &[u8], proposed: Options, weather: Weather, seed: u64) -> Outcome {
    let mut net = Simulation {
        queue: BTreeMap::new(),
        sequence: 0,
        random: seed | 1,
        weather,
        newest: Duration::ZERO,
        now: Duration::ZERO,
    };
    let (mut server, first) = Transfer::start(file.len() as u64, &proposed, net.now);
    let mut client = Client {
        file: Vec::new(),
        block_size: proposed.block_size.unwrap_or(512).into(),
        window: proposed.window.unwrap_or(1).into(),
        expected: 1,
        in_window: 0,
        complained: false,
        finished: false,
        silent_since: net.now,
    };
    let mut blocks_sent = 0;
    let mut action = first;
    loop {
        match &action {
            Action::SendOptions(packet) => net.send(|| Packet::ToClient(packet.clone())),
            Action::SendBlocks(blocks) => {
                assert!(blocks.end - blocks.start <= client.window.max(1));
                for number in blocks.clone() {
                    blocks_sent += 1;
                    let (head, range) = server.block(number);
                    let data = &file[range.start as usize..range.end as usize];
                    net.send(|| Packet::ToClient([&head, data].concat()));
                }
            }
            Action::Wait => {}
            end => {
                return Outcome {
                    file: client.file,
                    blocks_sent,
                    took: net.now,
                    end: end.clone(),
                };
            }
        }
        action = Action::Wait;
        // Whatever is next: a packet, the server's timer, the client's.
        let client_timer = client.silent_since + ms(1000);
        let packet = net.queue.first_key_value().map(|(key, _)| *key);
        let timer = server.deadline().min(client_timer);
        match packet.filter(|(at, _)| *at <= timer) {
            Some(key) => {
                net.now = net.now.max(key.0);
                let now = net.now;
                match net.queue.remove(&key).unwrap() {
                    Packet::ToServer(bytes) => action = server.receive(&bytes, now),
                    Packet::ToClient(bytes) => {
                        if let Some(answer) = client.receive(&bytes, now) {
                            net.send(|| Packet::ToServer(answer.clone()));
                        }
                    }
                }
            }
            None if client_timer < server.deadline() => {
                net.now = net.now.max(client_timer);
                client.silent_since = net.now;
                let last = client.expected - 1;
                if last > 0 || server.agreeing.is_none() {
                    net.send(|| Packet::ToServer(ack(last)));
                }
            }
            None => {
                net.now = net.now.max(server.deadline());
                action = server.tick(net.now);
            }
        }
    }
}

fn file(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i / 7 % 251) as u8).collect()
}

#[test]
fn files_of_every_awkward_size_arrive_whole() {
    for size in [0, 1, 511, 512, 513, 1024, 5000] {
        for proposed in [
            Options::default(),
            options(512, None),
            options(512, Some(4)),
            options(8, Some(64)),
        ] {
            let outcome = simulate(&file(size), proposed, FINE, 1);
            assert_eq!(
                (outcome.end, outcome.file),
                (Action::Done, file(size)),
                "{size} {proposed:?}"
            );
            let blocks = size as u64 / u64::from(proposed.block_size.unwrap_or(512)) + 1;
            assert_eq!(
                outcome.blocks_sent, blocks,
                "nothing is sent twice on a good network: {size} {proposed:?}"
            );
        }
    }
}

#[test]
fn block_numbers_wrap() {
    for window in [None, Some(16)] {
        let large = file(8 * 70_000);
        let outcome = simulate(&large, options(8, window), FINE, 1);
        assert_eq!(outcome.end, Action::Done);
        assert!(outcome.file == large);
        let lossy = Weather {
            loss: 20,
            double: 5,
            delay_ms: 2,
            reorder: false,
        };
        assert!(simulate(&large, options(8, window), lossy, 3).file == large);
    }
}

#[test]
fn doubled_packets_do_not_wake_the_sorcerers_apprentice() {
    let doubling = Weather {
        loss: 0,
        double: 1000,
        delay_ms: 1,
        reorder: false,
    };
    for window in [None, Some(8)] {
        let outcome = simulate(&file(512 * 200), options(512, window), doubling, 5);
        assert_eq!(outcome.end, Action::Done);
        assert!(outcome.blocks_sent < 201 * 3, "{} blocks for 201", outcome.blocks_sent);
    }
    let outcome = simulate(&file(512 * 200), options(512, None), doubling, 5);
    assert_eq!(outcome.blocks_sent, 201);
}

#[test]
fn a_lost_packet_costs_little_on_a_fast_network() {
    let lossy = Weather {
        loss: 10,
        double: 0,
        delay_ms: 1,
        reorder: false,
    };
    let outcome = simulate(&file(256 * 1024), options(1468, None), lossy, 11);
    assert_eq!(outcome.end, Action::Done);
    assert!(outcome.took < Duration::from_secs(2), "{:?}", outcome.took);
}

#[test]
fn the_agreement_says_what_holds_and_is_sent_again_when_lost() {
    let proposed = Options {
        block_size: Some(9000),
        window: Some(1000),
        size: true,
        timeout: Some(3),
    };
    let (mut transfer, first) = Transfer::start(7, &proposed, ms(0));
    let packet = b"\0\x06blksize\x001468\0timeout\x003\0tsize\x007\0windowsize\x0064\0".to_vec();
    assert_eq!(first, Action::SendOptions(packet.clone()));
    assert_eq!(transfer.tick(ms(1)), Action::Wait);
    assert_eq!(transfer.tick(transfer.deadline()), Action::SendOptions(packet));
    assert_eq!(
        transfer.receive(&ack(1), ms(500)),
        Action::Wait,
        "only block 0 acknowledges options"
    );
    assert_eq!(transfer.receive(&ack(0), ms(501)), Action::SendBlocks(1..2));
    assert_eq!(transfer.receive(&ack(1), ms(502)), Action::Done);
}

#[test]
fn a_client_that_only_wants_the_size_is_no_failure() {
    let (mut transfer, _) = Transfer::start(7, &options(1468, Some(4)), ms(0));
    let error = b"\0\x05\0\x08User aborted the transfer\0";
    assert_eq!(transfer.receive(error, ms(1)), Action::Abandon(Failure::SizeOnly));
}

#[test]
fn a_clients_error_ends_it_at_once() {
    let (mut transfer, _) = Transfer::start(7000, &Options::default(), ms(0));
    let failure = Failure::Client {
        code: 3,
        message: "Disk full".into(),
    };
    assert_eq!(
        transfer.receive(b"\0\x05\0\x03Disk\n full\0junk", ms(1)),
        Action::Abandon(failure)
    );
    for cut in [&b"\0\x05"[..], b"\0\x05\0", b"\0\x05\0\x03"] {
        assert!(matches!(transfer.clone().receive(cut, ms(1)), Action::Abandon(_)));
    }
}

#[test]
fn a_silent_client_is_given_up_after_a_minute_and_not_before() {
    let (mut transfer, _) = Transfer::start(7000, &Options::default(), ms(0));
    let mut sent = 0;
    loop {
        match transfer.tick(transfer.deadline()) {
            Action::SendBlocks(_) => sent += 1,
            Action::Abandon(Failure::Silence) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(
        (60_000..66_000).contains(&transfer.deadline().as_millis()),
        "{:?}",
        transfer.deadline()
    );
    assert!((10..30).contains(&sent), "sent {sent} times");
}

#[test]
fn what_is_no_part_of_a_transfer_ends_it() {
    for junk in [&b""[..], b"\0", b"\0\x03\0\x01data", b"\0\x09", b"\0\x04\0"] {
        let (mut transfer, _) = Transfer::start(7000, &Options::default(), ms(0));
        assert!(
            matches!(transfer.receive(junk, ms(1)), Action::Fail(_, Failure::Protocol)),
            "{junk:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_file_arrives_whole_in_any_weather(
        size in 0..20_000usize, block in 8..1468u16, window in prop::option::of(1..64u16),
        loss in 0..200u32, double in 0..200u32, delay_ms in 1..40u64, reorder in any::<bool>(), seed in any::<u64>(),
    ) {
        let outcome = simulate(&file(size), options(block, window), Weather { loss, double, delay_ms, reorder }, seed);
        prop_assert!(outcome.file.len() <= size);
        match outcome.end {
            Action::Done => prop_assert_eq!(outcome.file, file(size)),
            // The last acknowledgement can be lost for good: nobody acknowledges that (RFC 1350, 6).
            Action::Abandon(Failure::Silence) => prop_assert_eq!(outcome.file, file(size)),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_packets_panic(packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..12), 0..900u64), 0..60)) {
        let (mut transfer, _) = Transfer::start(3000, &options(100, Some(5)), ms(0));
        let mut now = ms(0);
        for (packet, wait) in packets {
            now += ms(wait);
            for action in [transfer.receive(&packet, now), transfer.tick(now)] {
                if let Action::SendBlocks(blocks) = action {
                    for number in blocks {
                        let (_, range) = transfer.block(number);
                        prop_assert!(range.start <= range.end && range.end <= 3000);
                    }
                }
            }
            prop_assert!(transfer.arrived() <= 3000);
        }
    }
}
