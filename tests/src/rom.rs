// SPDX-License-Identifier: Apache-2.0
//! Fake firmware: climbs the ladder from DHCP to a running kernel as real firmware does, byte for byte on the wire.
//!
//! It knows nothing of what it loads: a loader is bytes that count as iPXE, a kernel is bytes and a command line.

mod beside;
pub mod dhcp;
pub mod ether;
pub mod grub;
pub mod script;
pub mod tftp;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use crate::http::{self, Reply};
use dhcp::{Answer, Say, Voice};
use ether::Ether;
use script::Script;

/// How often firmware asks before it gives up; with the growing waits between, about half a minute.
const TRIES: u32 = 6;
/// The first wait for an offer; it doubles, as RFC 2131 section 4.1 wants.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// For a connection, and for each piece of an answer. Generous: a thousand may ask at once.
const PATIENCE: Duration = Duration::from_mins(1);

/// A way to an address and something to load.
type Configure = fn(&Rom, &Ether, Voice, &mut u32) -> Result<Answer>;

/// A kind of firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PC BIOS with the card's PXE ROM.
    BiosPxe,
    /// PC BIOS with an iPXE in the card's ROM.
    BiosIpxe,
    /// 64-bit UEFI, PXE.
    UefiX64,
    /// 64-bit UEFI, PXE, iPXE in the card's ROM.
    UefiIpxe,
    /// 32-bit UEFI, PXE.
    UefiIa32,
    /// 64-bit UEFI, HTTP Boot.
    HttpX64,
    /// 32-bit UEFI, HTTP Boot.
    HttpIa32,
    /// UEFI of 64-bit ARM, PXE: not a PC.
    UefiArm64,
    /// UEFI of Itanium, PXE: nobody has a loader for it.
    Itanium,
}

impl Kind {
    /// All PCs.
    pub const ALL: [Self; 7] = [
        Self::BiosPxe,
        Self::BiosIpxe,
        Self::UefiX64,
        Self::UefiIpxe,
        Self::UefiIa32,
        Self::HttpX64,
        Self::HttpIa32,
    ];

    /// The number in option 93 (RFC 4578 section 2.1, and IANA's list).
    pub fn architecture(self) -> u16 {
        match self {
            Self::BiosPxe | Self::BiosIpxe => 0,
            Self::UefiIa32 => 6,
            Self::UefiX64 | Self::UefiIpxe => 7,
            Self::HttpX64 => 16,
            Self::HttpIa32 => 15,
            Self::UefiArm64 => 11,
            Self::Itanium => 2,
        }
    }

    /// Whether it fetches its loader by HTTP.
    fn is_http(self) -> bool {
        matches!(self, Self::HttpX64 | Self::HttpIa32)
    }

    /// Whether iPXE speaks from the start.
    fn has_ipxe(self) -> bool {
        matches!(self, Self::BiosIpxe | Self::UefiIpxe)
    }

    fn is_uefi(self) -> bool {
        self.architecture() != 0
    }
}

/// The firmware of one machine.
#[derive(Clone, Debug)]
pub struct Rom {
    /// Its kind.
    pub kind: Kind,
    /// The card that it boots from.
    pub mac: [u8; 6],
    /// SMBIOS's UUID as people write it, where there is one.
    pub uuid: Option<[u8; 16]>,
    /// Whether it asks for broadcast answers.
    pub broadcast: bool,
}

/// A boot that came as far as the script.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The address that it was given.
    pub address: Ipv4Addr,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// The loader, by file name or URL, where one was needed.
    pub loader: Option<String>,
    /// The script's URL.
    pub url: String,
    /// The script's text.
    pub text: String,
    /// What it says.
    pub script: Script,
    /// What the last DHCP answer said.
    pub answer: Answer,
    /// How long the server took for the script: from the first byte of the connection to the last of the answer.
    pub script_took: Duration,
    /// How often DHCP had to be asked again.
    pub repeats: u32,
}

impl Rom {
    /// Firmware with a card and a UUID of its own, both made of `number`.
    pub fn new(kind: Kind, number: u32) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        let uuid = [0x4c, 0x61, 0x62, 0, 0x77, 0x77, 0x40, 0, 0x80, 0, 0, 0, a, b, c, d];
        // A locally administered address: never that of a real card.
        Self {
            kind,
            mac: [0x52, 0x54, a, b, c, d],
            uuid: Some(uuid),
            broadcast: false,
        }
    }

    /// The card's address as people write it.
    pub fn mac_text(&self) -> String {
        mac_text(self.mac)
    }

    /// From power-on to the boot script.
    pub fn boot(&self, ether: &Ether) -> Result<Boot> {
        self.climb(ether, Self::configure)
            .with_context(|| format!("booting {} ({:?})", self.mac_text(), self.kind))
    }

    /// The same where one server leases and another says what to boot.
    pub fn boot_beside(&self, ether: &Ether) -> Result<Boot> {
        self.climb(ether, Self::configure_beside)
            .with_context(|| format!("booting {} ({:?})", self.mac_text(), self.kind))
    }

    /// From power-on to a loader that is never heard again; which one it was.
    pub fn fall_silent(&self, ether: &Ether) -> Result<String> {
        let answer = self.configure(ether, Voice::Firmware, &mut 0)?;
        self.fetch_loader(&answer)
    }

    /// From power-on to the size of the loader, as firmware that then gives up; which loader it was.
    pub fn ask_the_size(&self, ether: &Ether) -> Result<String> {
        let answer = self.configure(ether, Voice::Firmware, &mut 0)?;
        let (address, server) = addresses(&answer)?;
        tftp::size(address, answer.next_server.unwrap_or(server), &answer.boot_file)?;
        Ok(answer.boot_file)
    }

    fn climb(&self, ether: &Ether, configure: Configure) -> Result<Boot> {
        let mut loader = None;
        let mut repeats = 0;
        if !self.kind.has_ipxe() {
            let answer = configure(self, ether, Voice::Firmware, &mut repeats)?;
            loader = Some(self.fetch_loader(&answer)?);
        }
        let answer = configure(self, ether, Voice::Ipxe, &mut repeats)?;
        let (address, server) = addresses(&answer)?;
        let url = answer.boot_file.clone();
        ensure!(
            url.starts_with("http://"),
            "iPXE was told to load {url:?} and not a script"
        );
        let begin = Instant::now();
        let reply = get(address, &url)?;
        let script_took = begin.elapsed();
        ensure!(
            reply.status == 200,
            "the script's answer was {}: {}",
            reply.status,
            reply.text()
        );
        let text = reply.text();
        let script = script::parse(&text, &mac_text(self.mac).replace(':', "-"))?;
        Ok(Boot {
            address,
            server,
            loader,
            url,
            text,
            script,
            answer,
            script_took,
            repeats,
        })
    }

    /// Asks for an address and what to load, until both are there.
    pub fn configure(&self, ether: &Ether, voice: Voice, repeats: &mut u32) -> Result<Answer> {
        let xid = rand::random();
        let listening = ether.listen(xid);
        let mut wait = FIRST_WAIT;
        for _ in 0..TRIES {
            ether.shout(self.mac, &dhcp::packet(self, voice, xid, Say::Discover))?;
            if let Some(offer) = hear(&listening, wait, |answer| answer.kind == 2 && answer.address.is_some()) {
                let (address, server) = addresses(&offer)?;
                ether.shout(
                    self.mac,
                    &dhcp::packet(self, voice, xid, Say::Request { address, server }),
                )?;
                if let Some(answer) = hear(&listening, wait, |answer| matches!(answer.kind, 5 | 6))
                    && answer.kind == 5
                {
                    return Ok(answer);
                }
            }
            *repeats += 1;
            wait *= 2;
        }
        bail!("no DHCP server gave {} an address as {voice:?}", self.mac_text())
    }

    /// One question: what would be offered.
    pub fn offer(&self, ether: &Ether, voice: Voice) -> Result<Option<Answer>> {
        let xid = rand::random();
        let listening = ether.listen(xid);
        ether.shout(self.mac, &dhcp::packet(self, voice, xid, Say::Discover))?;
        Ok(hear(&listening, FIRST_WAIT * 4, |answer| answer.kind == 2))
    }

    fn fetch_loader(&self, answer: &Answer) -> Result<String> {
        let (address, server) = addresses(answer)?;
        let file = &answer.boot_file;
        if self.kind.is_http() {
            ensure!(
                answer.vendor_class == "HTTPClient",
                "HTTP Boot takes no offer of {:?}",
                answer.vendor_class
            );
            let head = ask(address, "HEAD", file)?;
            ensure!(head.status == 200, "HEAD {file} was answered with {}", head.status);
            let reply = get(address, file)?;
            ensure!(
                reply.status == 200 && !reply.body.is_empty(),
                "{file} was answered with {}",
                reply.status
            );
            ensure!(
                head.header("content-length") == reply.header("content-length"),
                "HEAD and GET of {file} differ"
            );
            return Ok(file.clone());
        }
        ensure!(!file.is_empty(), "no boot file was offered to {}", self.mac_text());
        let from = answer.next_server.unwrap_or(server);
        let uefi = self.kind.is_uefi();
        // EDK2 makes room for the file before it fetches it.
        let size = uefi.then(|| tftp::size(address, from, file)).transpose()?;
        let content = tftp::fetch(address, from, file, uefi)?;
        ensure!(!content.is_empty(), "{file} is empty");
        ensure!(
            size.is_none_or(|size| size == content.len()),
            "{file} is not as large as {size:?}"
        );
        Ok(file.clone())
    }
}

impl Boot {
    /// Fetches kernel and initramfs, as iPXE does before it starts them: their bytes.
    pub fn fetch_kernel(&self) -> Result<u64> {
        let (Script::Discover { kernel, initrd, .. } | Script::Install { kernel, initrd, .. }) = &self.script else {
            bail!("nothing is to be started: {:?}", self.script)
        };
        let mut bytes = 0;
        for url in [kernel, initrd] {
            let reply = get(self.address, url)?;
            ensure!(
                reply.status == 200 && !reply.body.is_empty(),
                "{url} was answered with {}",
                reply.status
            );
            bytes += reply.body.len() as u64;
        }
        Ok(bytes)
    }

    /// A word of the kernel's command line, `gleaner.pin=…`.
    pub fn argument(&self, name: &str) -> Option<&str> {
        let Script::Discover { arguments, .. } = &self.script else {
            return None;
        };
        arguments
            .iter()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

fn hear(listening: &ether::Listening<'_>, limit: Duration, wanted: impl Fn(&Answer) -> bool) -> Option<Answer> {
    let end = Instant::now() + limit;
    loop {
        let answer = listening.next(end.saturating_duration_since(Instant::now()))?;
        if wanted(&answer) {
            return Some(answer);
        }
    }
}

fn addresses(answer: &Answer) -> Result<(Ipv4Addr, Ipv4Addr)> {
    let server = answer.server.context("an answer without server identifier")?;
    Ok((answer.address.context("an answer without address")?, server))
}

/// Fetches a URL from an address of ours.
pub fn get(from: Ipv4Addr, url: &str) -> Result<Reply> {
    ask(from, "GET", url)
}

/// Asks a plain HTTP URL something without body.
pub fn ask(from: Ipv4Addr, method: &str, url: &str) -> Result<Reply> {
    let (host, path) = parts(url)?;
    let stream = connect(from, host)?;
    http::ask(stream, method, &path, &["Connection: close"], None).with_context(|| format!("fetching {url}"))
}

/// Whom a plain HTTP URL names, and the path there.
pub fn parts(url: &str) -> Result<(SocketAddr, String)> {
    let rest = url.strip_prefix("http://").and_then(|rest| rest.split_once('/'));
    let (host, path) = rest.context("taking a URL apart")?;
    let host = host.parse().with_context(|| format!("understanding {host}"))?;
    Ok((host, format!("/{path}")))
}

/// A connection from an address of ours.
pub fn connect(from: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("opening a socket")?;
    socket
        .bind(&SocketAddr::from((from, 0)).into())
        .with_context(|| format!("binding to {from}"))?;
    socket
        .connect_timeout(&to.into(), PATIENCE)
        .with_context(|| format!("connecting to {to}"))?;
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .context("limiting waits")?;
    stream.set_nodelay(true).context("sending at once")?;
    Ok(stream)
}

/// `52:54:00:77:00:01`.
pub fn mac_text(mac: [u8; 6]) -> String {
    let mut text = String::new();
    for (place, byte) in mac.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}{byte:02x}", if place == 0 { "" } else { ":" });
    }
    text
}
