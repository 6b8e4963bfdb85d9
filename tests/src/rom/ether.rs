// SPDX-License-Identifier: Apache-2.0
//! One cable that many fake cards share: whole Ethernet frames, so that an answer to a machine that has no address
//! yet arrives as it does at a real one.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use socket2::SockFilter;

use super::dhcp::{self, Answer};
use super::mac_text;

/// Ports of DHCP (RFC 2131 section 4.1).
const SERVER_PORT: u16 = 67;
/// See [`SERVER_PORT`].
const CLIENT_PORT: u16 = 68;
/// How often the receiver looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes of Ethernet's, IP's and UDP's headers without options.
const HEADERS: usize = 14 + 20 + 8;
/// Bytes that the kernel may keep for a reader that is late: a thousand machines that boot at once.
const QUEUE: usize = 8 << 20;

/// Who waits for which transaction.
type Waiting = Arc<Mutex<HashMap<u32, Sender<Answer>>>>;

/// A cable with many cards on it.
pub struct Ether {
    socket: Arc<OwnedFd>,
    waiting: Waiting,
    over: Arc<AtomicBool>,
    receiver: Option<JoinHandle<()>>,
}

impl Ether {
    /// Opens `interface` of the namespace that the calling thread is in.
    pub fn open(interface: &str) -> Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthIp,
        )
        .context("opening a packet socket")?;
        let address = getifaddrs()
            .context("listing interfaces")?
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| {
                entry
                    .address
                    .as_ref()
                    .and_then(|address| address.as_link_addr().copied())
            })
            .with_context(|| format!("finding the interface {interface}"))?;
        bind(socket.as_raw_fd(), &address).with_context(|| format!("binding to {interface}"))?;
        setsockopt(
            &socket,
            sockopt::ReceiveTimeout,
            &TimeVal::new(0, i64::from(LOOK.subsec_micros())),
        )
        .context("limiting a wait")?;
        setsockopt(&socket, sockopt::RcvBufForce, &QUEUE).context("asking for a longer queue")?;
        let socket = only_dhcp(socket)?;
        let socket = Arc::new(socket);
        let waiting = Waiting::default();
        let over = Arc::new(AtomicBool::new(false));
        let receiver = {
            let (socket, waiting, over) = (Arc::clone(&socket), Arc::clone(&waiting), Arc::clone(&over));
            std::thread::spawn(move || receive(&socket, &waiting, &over))
        };
        Ok(Self {
            socket,
            waiting,
            over,
            receiver: Some(receiver),
        })
    }

    /// Answers to this transaction from now on.
    pub fn listen(&self, xid: u32) -> Listening<'_> {
        let (sender, answers) = channel();
        self.waiting().insert(xid, sender);
        Listening {
            ether: self,
            xid,
            answers,
        }
    }

    /// Sends what a card without an address sends to everybody.
    pub fn shout(&self, from: [u8; 6], dhcp: &[u8]) -> Result<()> {
        let frame = frame(from, dhcp);
        send(self.socket.as_raw_fd(), &frame, MsgFlags::empty())
            .with_context(|| format!("sending as {}", mac_text(from)))
            .map(drop)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ether {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(receiver) = self.receiver.take() {
            let _ = receiver.join();
        }
    }
}

/// The right to the answers of one transaction.
pub struct Listening<'a> {
    ether: &'a Ether,
    xid: u32,
    answers: Receiver<Answer>,
}

impl Listening<'_> {
    /// The next answer within `limit`.
    pub fn next(&self, limit: Duration) -> Option<Answer> {
        self.answers.recv_timeout(limit).ok()
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.ether.waiting().remove(&self.xid);
    }
}

/// The kernel throws away all that is not UDP to port 68, or the reader would drown in the boots' own downloads.
fn only_dhcp(socket: OwnedFd) -> Result<OwnedFd> {
    let socket = socket2::Socket::from(socket);
    // Classic BPF, as `tcpdump -d 'udp dst port 68'` prints it: ldb, jeq, ldxb 4*([14]&0xf), ldh [x+16], jeq, ret.
    let filter = [
        SockFilter::new(0x30, 0, 0, 23),
        SockFilter::new(0x15, 0, 4, 17),
        SockFilter::new(0xb1, 0, 0, 14),
        SockFilter::new(0x48, 0, 0, 16),
        SockFilter::new(0x15, 0, 1, u32::from(CLIENT_PORT)),
        SockFilter::new(0x06, 0, 0, u32::from(u16::MAX)),
        SockFilter::new(0x06, 0, 0, 0),
    ];
    socket.attach_filter(&filter).context("attaching a filter")?;
    Ok(socket.into())
}

fn receive(socket: &OwnedFd, waiting: &Waiting, over: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !over.load(Ordering::Relaxed) {
        // The time limit of the socket ends a wait with an error, and so does an interface that went down.
        let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) else {
            continue;
        };
        let Some(answer) = payload(&buffer[..length]).and_then(dhcp::parse) else {
            continue;
        };
        let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = waiting.get(&answer.xid) {
            // Who has stopped listening has its answer.
            let _ = listener.send(answer);
        }
    }
}

/// What a UDP packet to port 68 carries.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let ip = frame.get(14..)?;
    let udp = ip.get(usize::from(ip.first()? & 0x0f) * 4..)?;
    let length = usize::from(u16::from_be_bytes(udp.get(4..6)?.try_into().ok()?));
    udp.get(8..length)
}

/// From 0.0.0.0 to everybody, as RFC 2131 section 4.1 wants it.
fn frame(from: [u8; 6], dhcp: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADERS + dhcp.len());
    frame.extend_from_slice(&[0xff; 6]);
    frame.extend_from_slice(&from);
    frame.extend_from_slice(&[0x08, 0x00]);
    // A packet that is too long for its length fields is cut by the kernel's limit on frames anyway.
    let length = |extra: usize| u16::try_from(dhcp.len() + extra).unwrap_or(u16::MAX).to_be_bytes();
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    ip[2..4].copy_from_slice(&length(28));
    ip.extend_from_slice(&Ipv4Addr::UNSPECIFIED.octets());
    ip.extend_from_slice(&Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend_from_slice(&ip);
    frame.extend_from_slice(&CLIENT_PORT.to_be_bytes());
    frame.extend_from_slice(&SERVER_PORT.to_be_bytes());
    frame.extend_from_slice(&length(8));
    // RFC 768: "An all zero transmitted checksum value means that the transmitter generated no checksum".
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(dhcp);
    frame
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded to 16 bits by the loop above.
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
