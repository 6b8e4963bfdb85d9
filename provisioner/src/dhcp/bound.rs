// SPDX-License-Identifier: Apache-2.0
//! A segment and its sockets.

use std::io;

use anyhow::{Context as _, Result};
use tracing::warn;

use super::answer::Segment;
use super::card::CardSocket;
use super::{CLIENT_PORT, Settings, socket, whose};

/// A segment and its sockets.
pub(super) struct Bound {
    pub(super) segment: Segment,
    pub(super) server: std::net::UdpSocket,
    /// Hears what other servers tell their clients; `None` where another program keeps the port to itself.
    pub(super) client: Option<std::net::UdpSocket>,
    /// Hears firmware that asks again beside another server; `None` where another program keeps the port to itself.
    pub(super) pxe: Option<std::net::UdpSocket>,
    pub(super) card: Option<CardSocket>,
    pub(super) whose: whose::Opened,
}

/// Binds the sockets of a segment; an error says which port is not to be had.
pub(super) fn bind(settings: &Settings, mut segment: Segment) -> Result<Bound> {
    let name = &segment.interface.name.clone();
    let server = socket::bind(name, settings.port, false).with_context(|| {
        format!(
            "binding UDP port {} on {name}; is another DHCP server running here?",
            settings.port
        )
    })?;
    let client = socket::bind(name, CLIENT_PORT, true).map_err(|error| taken(CLIENT_PORT, &error));
    let pxe = socket::bind(name, settings.pxe_port, false).map_err(|error| {
        let taken = taken(settings.pxe_port, &error);
        format!("{taken}, where UEFI machines ask what to boot that have their address from another server")
    });
    if client.is_err() {
        segment.watch.deafen();
    }
    let troubles = [client.as_ref().err(), pxe.as_ref().err()];
    segment.troubles = troubles.into_iter().flatten().cloned().collect();
    if !segment.troubles.is_empty() {
        segment
            .troubles
            .push("stop that program, then restart the provisioner".into());
    }
    let (client, pxe) = (client.ok(), pxe.ok());
    let card = CardSocket::open(segment.interface.index)
        .inspect_err(|error| warn!(%name, %error, "cannot send to single cards, so all answers are broadcast"))
        .ok();
    let whose = whose::Opened::for_segment(&mut segment);
    Ok(Bound {
        segment,
        server,
        client,
        pxe,
        card,
        whose,
    })
}

/// Why a port could not be bound, and who has it.
fn taken(port: u16, error: &io::Error) -> String {
    match crate::serve::holder("udp", port) {
        Some(program) => format!("{program} has UDP port {port}"),
        None => format!("UDP port {port} cannot be bound ({error})"),
    }
}
