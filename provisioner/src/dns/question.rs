// SPDX-License-Identifier: Apache-2.0
//! Questions as they come by the wire, and answers as they go. Knows no socket, and nothing of what is answered.

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::{DNSClass, Name, RecordType};
use hickory_resolver::proto::serialize::binary::{BinEncodable, BinEncoder};

/// Bytes of a header (RFC 1035, 4.1.1).
pub(super) const HEADER: usize = 12;
/// Bytes of an answer over UDP to those who do not say more (RFC 1035, 4.2.1).
pub(super) const SMALL: u16 = 512;
/// Bytes of an answer over UDP to those who do: fits every network without being cut into pieces, which get lost.
pub(super) const LARGE: u16 = 1232;
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

/// A question that can be understood, and how long its answer may be.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) message: Message,
    pub(super) longest: u16,
}

impl Question {
    /// Reads a packet: `None` if nobody asks, and the answer if it is an error that says so.
    pub(super) fn read(packet: &[u8], over: Over) -> Option<Result<Self, Vec<u8>>> {
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
