// SPDX-License-Identifier: Apache-2.0
//! One file on its way to one client, as a state machine.
//!
//! The caller tells it what arrived and what time it is, sends what it says, and asks when to come back. It holds
//! no file: blocks are named by their number, and [`Transfer::block`] says which bytes they are.
//!
//! Blocks are counted from 1 in 64 bits; on the wire are the lowest 16 (so 65535 is followed by 0).

use std::ops::Range;
use std::time::Duration;

use super::{ErrorCode, Options, error_packet};

/// Largest block on Ethernet without fragments: 1500 bytes less the headers of IP, UDP and TFTP.
pub const LARGEST_BLOCK: u16 = 1468;
/// Block of a client that proposes none, by RFC 1350.
const DEFAULT_BLOCK: u16 = 512;
/// Most blocks in flight. 64 full ones are 94 KB: under 1 ms of gigabit Ethernet, and no switch drops them.
pub const LARGEST_WINDOW: u16 = 64;
/// First guess of the time until something is sent again. A LAN answers in a millisecond, firmware in ten; a
/// ROM that erases its screen takes longer, and gets a packet twice, which does no harm.
const FIRST_TIMEOUT: Duration = Duration::from_millis(400);
/// Shortest time until something is sent again: firmware polls its card, often 18 times a second.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(60);
/// Longest time until something is sent again. Beyond the 5 s of silence that some clients (atftp) wait for: they answer a
/// repetition once, and if that answer is lost only their own clock makes them speak again.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(8);
/// Silence after which the client is gone. Spanning tree takes 50 s to give a link back.
const PATIENCE: Duration = Duration::from_mins(1);

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this packet: what the options were agreed to be.
    SendOptions(Vec<u8>),
    /// Send these blocks, in this order.
    SendBlocks(Range<u64>),
    /// Send this packet and forget the transfer.
    Fail(Vec<u8>, Failure),
    /// Forget the transfer: all of it arrived.
    Done,
    /// Forget the transfer.
    Abandon(Failure),
    /// Nothing.
    Wait,
}

/// Why a transfer ended before the file did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The client asked only how large the file is (UEFI does, and says so with error 8).
    #[error("the client only asked for the size")]
    SizeOnly,
    /// The client gave up.
    #[error("the client gave up with error {code}: {message}")]
    Client {
        /// Its code.
        code: u16,
        /// Its words.
        message: String,
    },
    /// The client fell silent.
    #[error("the client fell silent")]
    Silence,
    /// The client sent something that is no part of a transfer.
    #[error("the client broke the protocol")]
    Protocol,
}

/// One file on its way to one client. Times are counted from any fixed moment.
#[derive(Clone, Debug)]
pub struct Transfer {
    size: u64,
    block_size: u64,
    window: u64,
    /// Packet that agrees the options, until the client has acknowledged it.
    agreeing: Option<Vec<u8>>,
    /// Whether the client asked for the size, as it does before it really fetches.
    asked_size: bool,
    /// Last block that arrived for sure.
    acknowledged: u64,
    /// Last block that was sent.
    sent: u64,
    /// Last block that was ever sent; what comes up to here is sent again and says nothing about the delay.
    highest: u64,
    /// When the packet was sent whose acknowledgement is timed, if it was sent once only.
    timed: Option<(u64, Duration)>,
    timer: Timer,
    /// When the client last said something new.
    heard: Duration,
    /// When to send again.
    deadline: Duration,
    /// A gap was answered for this block already; one answer a gap.
    answered_gap: Option<u64>,
    /// When the last gap was answered.
    went_back: Option<Duration>,
}

/// How long to wait for an acknowledgement: Jacobson's estimate (RFC 6298), in the small.
#[derive(Clone, Copy, Debug)]
struct Timer {
    smoothed: Option<Duration>,
    variation: Duration,
    timeout: Duration,
    /// The client's own wish.
    longest: Duration,
}

impl Transfer {
    /// Agrees on options and says what to send first.
    pub fn start(size: u64, options: &Options, now: Duration) -> (Self, Action) {
        let block_size = options.block_size.map(|wanted| wanted.min(LARGEST_BLOCK));
        let window = options.window.map(|wanted| wanted.min(LARGEST_WINDOW));
        let agreed = agreement(size, options, block_size, window);
        let longest = options
            .timeout
            .map_or(LONGEST_TIMEOUT, |s| Duration::from_secs(s.into()).min(LONGEST_TIMEOUT));
        let mut transfer = Self {
            size,
            block_size: block_size.unwrap_or(DEFAULT_BLOCK).into(),
            window: window.unwrap_or(1).into(),
            agreeing: agreed.clone(),
            asked_size: options.size,
            acknowledged: 0,
            sent: 0,
            highest: 0,
            timed: None,
            timer: Timer {
                smoothed: None,
                variation: Duration::ZERO,
                timeout: FIRST_TIMEOUT.min(longest),
                longest,
            },
            heard: now,
            deadline: now,
            answered_gap: None,
            went_back: None,
        };
        let action = match agreed {
            Some(packet) => {
                transfer.timed = Some((0, now));
                transfer.arm(now);
                Action::SendOptions(packet)
            }
            None => transfer.send_window(now),
        };
        (transfer, action)
    }

    /// When to call [`Transfer::tick`] if nothing arrives before.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Bytes that arrived for sure.
    pub fn arrived(&self) -> u64 {
        (self.acknowledged * self.block_size).min(self.size)
    }

    /// Bytes of every block but the last.
    pub fn block_size(&self) -> u16 {
        // It was a u16 when the transfer was started.
        u16::try_from(self.block_size).unwrap_or(LARGEST_BLOCK)
    }

    /// Which bytes of the file a block is, and the four bytes that go before it. The last one is short, or empty.
    pub fn block(&self, number: u64) -> ([u8; 4], Range<u64>) {
        let start = ((number - 1) * self.block_size).min(self.size);
        let [.., high, low] = number.to_be_bytes();
        ([0, 3, high, low], start..(start + self.block_size).min(self.size))
    }

    /// The client sent a packet.
    pub fn receive(&mut self, packet: &[u8], now: Duration) -> Action {
        match packet {
            [0, 4, high, low, ..] => self.acknowledge(u16::from_be_bytes([*high, *low]), now),
            [0, 5, rest @ ..] => Action::Abandon(self.client_error(rest)),
            // Its request again: our answer was lost, or is on its way. The timer does what is needed.
            [0, 1, ..] => Action::Wait,
            _ => Action::Fail(
                error_packet(ErrorCode::IllegalOperation, "not part of this transfer"),
                Failure::Protocol,
            ),
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) -> Action {
        if now < self.deadline {
            return Action::Wait;
        }
        if now >= self.heard + PATIENCE {
            return Action::Abandon(Failure::Silence);
        }
        self.timer.back_off();
        self.timed = None;
        if let Some(packet) = self.agreeing.clone() {
            self.arm(now);
            return Action::SendOptions(packet);
        }
        // RFC 7440, 3: on a timeout the sender goes back to the block after the last acknowledged one.
        self.sent = self.acknowledged;
        self.answered_gap = None;
        self.send_window(now)
    }

    fn acknowledge(&mut self, low: u16, now: Duration) -> Action {
        let Some(block) = self.unwrap_number(low) else {
            // Old, or from nowhere. Answering a duplicate acknowledgement would send every later block twice: the
            // sorcerer's apprentice (RFC 1123, 4.2.3.1).
            return Action::Wait;
        };
        if self.agreeing.is_some() {
            // Only block 0 acknowledges options.
            self.agreeing = None;
        } else if block == self.acknowledged {
            return self.gap(block, now);
        }
        if let Some((timed, at)) = self.timed
            && block >= timed
        {
            self.timer.measured(now.saturating_sub(at));
            self.timed = None;
        }
        self.heard = now;
        self.acknowledged = block;
        if block == self.last_block() {
            return Action::Done;
        }
        if block < self.sent {
            self.go_back(block, now);
        }
        self.send_window(now)
    }

    /// An acknowledgement in the middle of a window asks for what comes after it (RFC 7440, 3). The blocks of the
    /// old window that still arrive may make the client ask again, and again: once in a round trip is enough.
    fn go_back(&mut self, block: u64, now: Duration) {
        let round_trip = self.timer.smoothed.unwrap_or(SHORTEST_TIMEOUT);
        self.answered_gap = Some(block);
        if self.went_back.is_none_or(|at| now >= at + round_trip) {
            self.went_back = Some(now);
            self.timed = None;
            self.sent = block;
        }
    }

    /// The last acknowledgement came again. With windows of one block that is a duplicate, and the timer knows
    /// better; with larger ones the client says that the first block of the window is missing (RFC 7440, 3).
    fn gap(&mut self, block: u64, now: Duration) -> Action {
        if self.window == 1 || self.sent <= block || self.answered_gap == Some(block) {
            return Action::Wait;
        }
        self.go_back(block, now);
        if self.sent == block {
            self.send_window(now)
        } else {
            Action::Wait
        }
    }

    fn send_window(&mut self, now: Duration) -> Action {
        let first = self.sent + 1;
        let last = (self.acknowledged + self.window).min(self.last_block());
        // Karn: what is sent for the second time measures nothing.
        if first > self.highest && first <= last && self.timed.is_none() {
            self.timed = Some((last, now));
        }
        self.sent = self.sent.max(last);
        self.highest = self.highest.max(last);
        self.arm(now);
        if first > last {
            Action::Wait
        } else {
            Action::SendBlocks(first..last + 1)
        }
    }

    /// The block in flight, or the last acknowledged one, whose number ends in these 16 bits.
    fn unwrap_number(&self, low: u16) -> Option<u64> {
        let [high, low_byte] = low.to_be_bytes();
        let [.., base_high, base_low] = self.acknowledged.to_be_bytes();
        let ahead = u16::from_be_bytes([high, low_byte]).wrapping_sub(u16::from_be_bytes([base_high, base_low]));
        let block = self.acknowledged + u64::from(ahead);
        (block <= self.sent).then_some(block)
    }

    /// RFC 1350: a block shorter than the others ends the transfer, so a file of whole blocks ends with an empty one.
    fn last_block(&self) -> u64 {
        self.size / self.block_size + 1
    }

    fn client_error(&self, body: &[u8]) -> Failure {
        let (code, words) = body.split_at(body.len().min(2));
        let code = <[u8; 2]>::try_from(code).map_or(0, u16::from_be_bytes);
        // EDK2 asks for the size, and refuses the transfer that it did not want: "User aborted the transfer", 8.
        if self.agreeing.is_some() && self.asked_size {
            return Failure::SizeOnly;
        }
        let end = words.iter().position(|&byte| byte == 0).unwrap_or(words.len()).min(80);
        let message = String::from_utf8_lossy(&words[..end])
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        Failure::Client { code, message }
    }

    fn arm(&mut self, now: Duration) {
        self.deadline = now + self.timer.timeout;
    }
}

impl Timer {
    fn measured(&mut self, sample: Duration) {
        let smoothed = match self.smoothed {
            None => {
                self.variation = sample / 2;
                sample
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
                (smoothed * 7 + sample) / 8
            }
        };
        self.smoothed = Some(smoothed);
        self.timeout = (smoothed + self.variation * 4).clamp(SHORTEST_TIMEOUT.min(self.longest), self.longest);
    }

    fn back_off(&mut self) {
        self.timeout = (self.timeout * 2).min(self.longest);
    }
}

/// RFC 2347: the packet that says which of the client's options hold, and with which values; `None` if none does.
fn agreement(size: u64, options: &Options, block_size: Option<u16>, window: Option<u16>) -> Option<Vec<u8>> {
    let agreed = [
        ("blksize", block_size.map(u64::from)),
        ("timeout", options.timeout.map(u64::from)),
        ("tsize", options.size.then_some(size)),
        ("windowsize", window.map(u64::from)),
    ];
    let mut packet = vec![0, 6];
    for (name, value) in agreed {
        if let Some(value) = value {
            packet.extend(format!("{name}\0{value}\0").bytes());
        }
    }
    (packet.len() > 2).then_some(packet)
}

#[cfg(test)]
mod tests;
