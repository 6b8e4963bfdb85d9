// SPDX-License-Identifier: Apache-2.0
//! What udhcpc found out, applied to the card, and left in a file for process 1.
//!
//! udhcpc runs its script with one word and the lease in environment variables. The script is this program under the
//! name [`SCRIPT`]; it speaks netlink, so that no `ip` program has to be in the initramfs.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use serde::{Deserialize, Serialize};

/// The name under which udhcpc starts us.
pub const SCRIPT: &str = "node-init-on-lease";

/// Where leases lie, a file a card.
const FOLDER: &str = "/run/node-init";

/// An address that was leased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Card, by kernel name.
    pub card: String,
    /// Address.
    pub address: Ipv4Addr,
    /// Bits of the network.
    pub prefix: u8,
    /// Way out, if there is one.
    pub router: Option<Ipv4Addr>,
}

/// Handles one of udhcpc's events: `deconfig`, `bound`, `renew`, `leasefail`, `nak`.
pub fn handle(event: &str) -> Result<()> {
    let variable = |name: &str| env::var(name).ok();
    let card = variable("interface").context("udhcpc named no card")?;
    match event {
        "bound" | "renew" => {
            let lease = parse(&variable).context("reading the lease")?;
            run(|netlink| apply(netlink, lease.clone()))?;
            remember(&lease)
        }
        "deconfig" => release(&card),
        // No answer, or a refusal: udhcpc goes on asking by itself.
        _ => Ok(()),
    }
}

/// Takes a card's lease and address away.
pub fn release(card: &str) -> Result<()> {
    let _ = fs::remove_file(file(card));
    run(|netlink| async move { flush(&netlink, index(&netlink, card).await?, None).await })
}

/// The lease that a card has now.
pub fn of(card: &str) -> Option<Lease> {
    serde_json::from_slice(&fs::read(file(card)).ok()?).ok()
}

/// Brings a card up, so that it looks for a link.
pub fn bring_up(card: &str) -> Result<()> {
    run(|netlink| async move {
        let index = index(&netlink, card).await?;
        let up = LinkUnspec::new_with_index(index).up().build();
        netlink
            .link()
            .set(up)
            .execute()
            .await
            .with_context(|| format!("bringing up {card}"))
    })
}

fn parse(variable: &dyn Fn(&str) -> Option<String>) -> Result<Lease> {
    let card = variable("interface").context("no card")?;
    let address = variable("ip")
        .context("no address")?
        .parse()
        .context("parsing the address")?;
    // udhcpc gives the mask's bits as `mask` beside the dotted `subnet`.
    let prefix = variable("mask")
        .and_then(|bits| bits.parse().ok())
        .filter(|bits| *bits <= 32)
        .unwrap_or(24);
    // RFC 2132 3.5: routers come in order of preference.
    let router = variable("router").and_then(|list| list.split_whitespace().next()?.parse().ok());
    Ok(Lease {
        card,
        address,
        prefix,
        router,
    })
}

/// The new address first, then the old ones go: a renewal never leaves the card without one.
async fn apply(netlink: Handle, lease: Lease) -> Result<()> {
    let index = index(&netlink, &lease.card).await?;
    let address = lease.address.into();
    netlink
        .address()
        .add(index, address, lease.prefix)
        .replace()
        .execute()
        .await
        .context("setting the address")?;
    flush(&netlink, index, Some(lease.address)).await?;
    if let Some(router) = lease.router {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(router)
            .output_interface(index)
            .build();
        netlink
            .route()
            .add(route)
            .replace()
            .execute()
            .await
            .context("setting the default route")?;
    }
    Ok(())
}

/// Takes all IPv4 addresses from a card but the one to keep.
async fn flush(netlink: &Handle, index: u32, keep: Option<Ipv4Addr>) -> Result<()> {
    let mut addresses = netlink.address().get().set_link_index_filter(index).execute();
    let mut old = Vec::new();
    while let Some(message) = addresses.try_next().await.context("listing addresses")? {
        let ours = message.attributes.iter().any(|attribute| match attribute {
            AddressAttribute::Address(std::net::IpAddr::V4(address)) => Some(*address) != keep,
            _ => false,
        });
        if ours {
            old.push(message);
        }
    }
    for message in old {
        netlink
            .address()
            .del(message)
            .execute()
            .await
            .context("removing an old address")?;
    }
    Ok(())
}

async fn index(netlink: &Handle, card: &str) -> Result<u32> {
    let mut links = netlink.link().get().match_name(card.to_owned()).execute();
    let link = links.try_next().await.with_context(|| format!("looking for {card}"))?;
    Ok(link.with_context(|| format!("there is no {card}"))?.header.index)
}

/// Runs one conversation with the kernel to its end.
fn run<F: Future<Output = Result<()>>>(talk: impl FnOnce(Handle) -> F) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("starting netlink")?;
    runtime.block_on(async {
        let (connection, netlink, _) = rtnetlink::new_connection().context("opening netlink")?;
        tokio::spawn(connection);
        talk(netlink).await
    })
}

fn remember(lease: &Lease) -> Result<()> {
    let (path, text) = (file(&lease.card), serde_json::to_vec(lease)?);
    // Renamed into place: process 1 never reads half a lease.
    let partial = path.with_extension("new");
    fs::create_dir_all(FOLDER)
        .and_then(|()| fs::write(&partial, text))
        .and_then(|()| fs::rename(&partial, &path))
        .with_context(|| format!("writing {}", path.display()))
}

fn file(card: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{card}.lease"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lease_is_read_from_udhcpcs_variables() {
        let variables = |name: &str| {
            let value = match name {
                "interface" => "eth0",
                "ip" => "10.77.0.21",
                "mask" => "20",
                "router" => "10.77.0.1 10.77.0.2",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let lease = parse(&variables).unwrap();
        assert_eq!((lease.address, lease.prefix), (Ipv4Addr::new(10, 77, 0, 21), 20));
        assert_eq!(lease.router, Some(Ipv4Addr::new(10, 77, 0, 1)));
        assert!(parse(&|name| (name == "ip").then(|| "300.1.1.1".to_owned())).is_err());
    }
}
