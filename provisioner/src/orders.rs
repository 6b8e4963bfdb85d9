// SPDX-License-Identifier: Apache-2.0
//! What a running node does next: the other pure function of stored state.

use provisioner_api::{BridgeOrder, ImageRef, Install, Life, Names, NodeRole, Order, Orders, RebootInto, Seed, Serve};

use crate::config::Profile;
use crate::lifecycle::{Attempt, MAX_DISK_STARTS, Plan, State};
use crate::registry::TurnedAway;

/// Seconds in which the controller must be heard again after a node has moved its card under a bridge. A
/// bridge without spanning tree forwards at once; DHCP takes some seconds more, a slow switch port thirty.
const BRIDGE_CONFIRM_SECONDS: u32 = 60;

/// Everything besides the node's state that an order depends on.
#[derive(Clone, Debug)]
pub struct Site<'a> {
    /// The profile of the node's plan, while the configuration has it.
    pub profile: Option<&'a Profile>,
    /// What puts the system of the node's plan on its disk, or why it cannot be installed now.
    pub source: Result<Source, String>,
    /// `HOST:PORT` of the API as the node reaches it.
    pub controller: String,
    /// SHA-256 of the server's key, hex.
    pub pin: &'a str,
    /// Time servers, the controller first.
    pub ntp: Vec<String>,
    /// Where nodes ask for names.
    pub names: Option<Names>,
    /// What the node serves as, while the configuration has it.
    pub role: Option<NodeRole>,
    /// The mark of the installation under way.
    pub mark: Option<&'a str>,
    /// Seconds between heartbeats.
    pub heartbeat: u32,
    /// What keeps a machine that waits for approval from being approved by a rule; empty if nothing is known.
    pub obstacle: &'a str,
}

/// What puts a system on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// node-init, by an image.
    Image(Image),
    /// The distribution's own installer, which starts from the network.
    Installer {
        /// Bytes that the disk must hold.
        disk_size: u64,
    },
}

/// An image that can be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it is.
    pub from: ImageRef,
    /// Bytes that the disk must hold, a seed included.
    pub disk_size: u64,
    /// What a ready-made image is set up by, once the node is to be installed.
    pub seed: Option<Seed>,
}

/// The order for a node named `name` in `state`, asking out of `life`.
pub fn for_node(name: &str, state: &State, life: Life, site: &Site<'_>) -> Orders {
    let order = match life {
        Life::Ram => in_ram(name, state, site),
        Life::Installed => installed(state, site),
    };
    let revision = revision(&order, state.attempt());
    Orders { revision, order }
}

fn in_ram(name: &str, state: &State, site: &Site<'_>) -> Order {
    let home = |why: &str| Order::Reboot {
        into: RebootInto::Disk,
        why: why.into(),
    };
    match state {
        State::Enrolled => wait(for_approval(name, site.obstacle)),
        // Approved, and this start began before that: only a fresh start begins an installation.
        State::Approved { .. } => Order::Reboot {
            into: RebootInto::Network,
            why: "starting again to be installed".into(),
        },
        State::Checking { plan, .. } => with_source(site, |source| check(plan, source)),
        State::Wiping { plan, .. } => with_source(site, |_| Order::Wipe {
            disk: plan.disk.clone(),
            second: plan.second.clone(),
        }),
        State::Installing {
            plan, written: false, ..
        } => with_source(site, |source| match source {
            Source::Image(image) => install(name, plan, image, site),
            Source::Installer { .. } => Order::Reboot {
                into: RebootInto::Network,
                why: "its installer starts from the network".into(),
            },
        }),
        State::Installing { written: true, .. } => home("the system is on the disk"),
        State::Ready { .. } | State::Draining { .. } => home("this node is installed"),
        State::Rejected { why } => wait(format!("this machine was rejected: {why}")),
        State::Failed { cause, .. } => wait(format!("{cause}; when that is done: provisioner node retry {name}")),
        State::Retired => wait("this machine is retired".into()),
    }
}

fn installed(state: &State, site: &Site<'_>) -> Order {
    let network = |why: &str| Order::Reboot {
        into: RebootInto::Network,
        why: why.into(),
    };
    match state {
        State::Approved { disk_starts, .. } if *disk_starts >= MAX_DISK_STARTS => {
            wait("this machine starts from its disk although the network is wanted: put the network first in its firmware set-up".into())
        }
        State::Approved { .. } => network("it is to be installed again"),
        State::Checking { .. } | State::Wiping { .. } | State::Installing { written: false, .. } => {
            network("its installation is not finished")
        }
        // The first start is judged by what the node reports while it serves.
        State::Installing { plan, written: true, .. } | State::Ready { plan } => serve(plan, site, false),
        State::Draining { plan } => serve(plan, site, true),
        State::Enrolled => wait("this installed system is not known to the controller; approve it to install it again".into()),
        State::Rejected { why } => wait(format!("this machine was rejected: {why}")),
        State::Failed { cause, .. } => wait(cause.to_string()),
        State::Retired => wait("this machine is retired".into()),
    }
}

/// The order for a start in RAM that was turned away. It tells nothing of the node whose facts the machine shows.
pub fn for_visitor(why: TurnedAway) -> Orders {
    let order = match why {
        TurnedAway::Installed => Order::Reboot {
            into: RebootInto::Disk,
            why: "this machine is installed and starts from its disk".into(),
        },
        TurnedAway::NotWanted => wait("this machine is not wanted here".into()),
        TurnedAway::Unproven => wait(
            "this machine could not show that it is the node that is to be installed again; if it is, an operator says so: \
             provisioner doctor names it"
                .into(),
        ),
        TurnedAway::Occupied => wait(
            "a machine with the same cards and labels is here already; this one comes in when that has fallen silent"
                .into(),
        ),
    };
    let revision = revision(&order, None);
    Orders { revision, order }
}

/// What a machine waits for that nobody has approved, and why no rule did.
pub fn for_approval(name: &str, obstacle: &str) -> String {
    let approve = format!("waiting for approval: provisioner node approve {name}");
    if obstacle.is_empty() {
        approve
    } else {
        format!("{obstacle}; {approve}")
    }
}

fn wait(why: String) -> Order {
    Order::Wait { why }
}

fn with_source(site: &Site<'_>, order: impl FnOnce(&Source) -> Order) -> Order {
    match &site.source {
        Ok(source) => order(source),
        Err(why) => wait(why.clone()),
    }
}

fn check(plan: &Plan, source: &Source) -> Order {
    let need = match source {
        Source::Image(image) => image.disk_size,
        Source::Installer { disk_size } => *disk_size,
    };
    Order::Check {
        disk: plan.disk.clone(),
        need,
    }
}

fn install(name: &str, plan: &Plan, image: &Image, site: &Site<'_>) -> Order {
    let Some(profile) = site.profile else {
        return wait(format!(
            "the profile {} is not in the configuration any more",
            plan.profile
        ));
    };
    Order::Install(Box::new(Install {
        disk: plan.disk.clone(),
        image: image.from.clone(),
        name: name.to_owned(),
        root_size: profile.image().and_then(|image| image.root_size),
        controller: site.controller.clone(),
        pin: site.pin.to_owned(),
        ntp: site.ntp.clone(),
        names: site.names.clone(),
        ssh_keys: profile.ssh_keys.clone(),
        kernel_args: profile.kernel_args.clone(),
        timezone: profile.timezone.clone(),
        seed: image.seed.clone(),
        mark: site.mark.map(str::to_owned),
    }))
}

fn serve(plan: &Plan, site: &Site<'_>, draining: bool) -> Order {
    let profile = site.profile.filter(|_| !plan.joins());
    // What an installer or cloud-init made of the network, bridge included, is the distribution's own and stays as it is.
    let bridge = profile.and_then(|profile| profile.bridge.clone());
    let bridge = bridge.map(|name| BridgeOrder {
        name,
        confirm_within: BRIDGE_CONFIRM_SECONDS,
    });
    Order::Serve(Serve {
        heartbeat: site.heartbeat,
        bridge,
        draining,
        role: site.role.clone(),
    })
}

/// A number that differs whenever the order differs, or the same order is given anew after a failure.
fn revision(order: &Order, attempt: Option<Attempt>) -> u64 {
    let attempt = attempt.unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    // An order is made of strings and numbers; there is nothing in it that JSON could refuse.
    hasher.update(&serde_json::to_vec(order).unwrap_or_default());
    hasher.update(&attempt.tries.to_le_bytes());
    hasher.update(&attempt.interruptions.to_le_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    // JSON numbers are exact up to 2^53 in every language that reads them.
    u64::from_le_bytes(first) >> 11
}

#[cfg(test)]
mod tests;
