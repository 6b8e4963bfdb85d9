// SPDX-License-Identifier: Apache-2.0
//! Firmware where one server leases and another says what to boot, as picky as the real one.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::dhcp::{self, Answer, Say, Voice};
use super::ether::{Ether, Listening};
use super::{Kind, Rom};

/// For all offers to arrive; EDK2 collects for four seconds.
const COLLECTING: Duration = Duration::from_secs(2);
/// How often it begins anew.
const TRIES: u32 = 12;
/// Port of PXE boot servers.
const BOOT_SERVER: u16 = 4011;

impl Rom {
    /// Asks for an address and what to load, which come from two servers.
    pub(super) fn configure_beside(&self, ether: &Ether, voice: Voice, repeats: &mut u32) -> Result<Answer> {
        let mut why = None;
        for _ in 0..TRIES {
            match self.once(ether, voice) {
                Ok(answer) => return Ok(answer),
                Err(error) => why = Some(error),
            }
            *repeats += 1;
        }
        bail!(
            "{voice:?} of {} gives up: {:#}",
            self.mac_text(),
            why.context("no reason")?
        )
    }

    fn once(&self, ether: &Ether, voice: Voice) -> Result<Answer> {
        let xid = rand::random();
        let listening = ether.listen(xid);
        ether.shout(self.mac, &dhcp::packet(self, voice, xid, Say::Discover))?;
        let (lease, boot) = self.collect(&listening, voice)?;
        let (Some(address), Some(server)) = (lease.address, lease.server) else {
            bail!("an offer without address or server")
        };
        let say = Say::Request { address, server };
        ether.shout(self.mac, &dhcp::packet(self, voice, xid, say))?;
        let end = Instant::now() + COLLECTING;
        while let Some(answer) = listening.next(end.saturating_duration_since(Instant::now())) {
            if answer.kind == 5 && answer.server == Some(server) {
                let boot = if boot.boot_file.is_empty() {
                    self.ask_again(voice, xid, address, &boot)?
                } else {
                    boot
                };
                return Ok(Answer {
                    address: Some(address),
                    ..boot
                });
            }
        }
        bail!("{server} offered an address and does not acknowledge it")
    }

    /// An offer with an address, and one without that this firmware takes, in any order.
    fn collect(&self, listening: &Listening<'_>, voice: Voice) -> Result<(Answer, Answer)> {
        let (mut lease, mut boot, mut refused) = (None, None, Vec::new());
        let end = Instant::now() + COLLECTING;
        while lease.is_none() || boot.is_none() {
            let Some(answer) = listening.next(end.saturating_duration_since(Instant::now())) else {
                bail!("of a lease and what to boot came only {lease:?} {boot:?}, and these are not taken: {refused:?}")
            };
            match answer.address {
                Some(_) => lease = lease.or(Some(answer)),
                None if self.takes(voice, &answer) => boot = boot.or(Some(answer)),
                None => refused.push(answer),
            }
        }
        Ok((lease.context("no lease")?, boot.context("no boot")?))
    }

    fn takes(&self, voice: Voice, offer: &Answer) -> bool {
        let option = |code| {
            offer
                .options
                .iter()
                .find(|(other, _)| *other == code)
                .map(|(_, value)| value.as_slice())
        };
        let in_menu = |wanted| option(43).and_then(|menu| item(menu, wanted));
        let skips_the_menu = in_menu(6).is_some_and(|control| control.first().is_some_and(|bits| bits & 8 != 0));
        if offer.kind != 2 || offer.server.is_none() {
            return false;
        }
        match (voice, self.kind) {
            (Voice::Firmware, kind) if kind.is_http() => {
                offer.vendor_class == "HTTPClient" && !offer.boot_file.is_empty()
            }
            _ if offer.vendor_class != "PXEClient" => false,
            // The iPXE of 2019 that cards have in ROM takes an offer for PXE's only if there is a menu in it, and would
            // show that menu if it were not told to skip it.
            (Voice::Ipxe, _) | (_, Kind::BiosIpxe) => in_menu(9).is_some() && skips_the_menu,
            (Voice::Firmware, Kind::BiosPxe) => skips_the_menu && !offer.boot_file.is_empty(),
            // EDK2 before 2019 drops offers with discovery control.
            (Voice::Firmware, _) => in_menu(6).is_none(),
        }
    }

    /// From its new address, at the boot server's port, as EDK2 does: from that port, too.
    fn ask_again(&self, voice: Voice, xid: u32, address: Ipv4Addr, offer: &Answer) -> Result<Answer> {
        let server = offer.next_server.or(offer.server).context("an offer from nobody")?;
        let socket = UdpSocket::bind((address, BOOT_SERVER)).context("binding the port of boot servers")?;
        socket.set_read_timeout(Some(COLLECTING)).context("limiting a wait")?;
        let mut packet = dhcp::packet(self, voice, xid, Say::AskAgain);
        packet[12..16].copy_from_slice(&address.octets());
        socket
            .send_to(&packet, SocketAddrV4::new(server, BOOT_SERVER))
            .context("asking the boot server")?;
        let mut buffer = [0; 2048];
        let (length, from) = socket.recv_from(&mut buffer).context("waiting for the boot server")?;
        let answer = dhcp::parse(&buffer[..length]).context("an answer that is none")?;
        ensure!(
            from == SocketAddrV4::new(server, BOOT_SERVER).into() && answer.kind == 5 && answer.xid == xid,
            "{from} answered {answer:?}"
        );
        ensure!(answer.address.is_none() && !answer.boot_file.is_empty(), "{answer:?}");
        Ok(answer)
    }
}

/// An item of an option that holds options.
fn item(mut rest: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [code, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *code == wanted {
            return Some(value);
        }
        rest = &tail[value.len()..];
    }
    None
}
