// SPDX-License-Identifier: Apache-2.0
//! The steps of a start, and how a person reads them.

use std::fmt;
use std::net::Ipv4Addr;

use provisioner_api::Life;
use pxe::bootfile::Loader;
use pxe::client::Speaker;
use pxe::dhcp::Kind;

use crate::network::Answered;

/// A step and when it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// First, Unix milliseconds.
    pub at: i64,
    /// Last.
    pub last: i64,
    /// How often.
    pub times: u32,
    /// What.
    pub step: Step,
}

/// One thing that was seen of a machine that boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It asked by DHCP.
    Asked {
        /// Which program.
        speaker: Speaker,
        /// For what.
        kind: Kind,
    },
    /// Its question came through a relay whose network is none of ours.
    Stranded {
        /// The relay.
        relay: Ipv4Addr,
    },
    /// We answered.
    Answered {
        /// How.
        how: Answered,
        /// What it was told to load, or why nothing.
        told: Box<str>,
    },
    /// Another server answered it.
    Other {
        /// Which.
        server: Ipv4Addr,
    },
    /// It took the offer of a server.
    Chose {
        /// Which.
        server: Ipv4Addr,
    },
    /// It asked how large a file is.
    Size {
        /// Which.
        file: Box<str>,
    },
    /// It fetched a loader of ours.
    Loader {
        /// Which.
        loader: Loader,
        /// Whether all of it arrived.
        whole: bool,
    },
    /// It fetched another file of ours.
    File {
        /// Which.
        file: Box<str>,
        /// Whether all of it arrived.
        whole: bool,
    },
    /// It asked for a file that is not there.
    Missing {
        /// Which.
        file: Box<str>,
    },
    /// Its request for a file was refused.
    Refused {
        /// Which; what is no plain text in its name is escaped.
        file: Box<str>,
        /// Why.
        why: Box<str>,
    },
    /// It read its boot script.
    Script {
        /// What that said: `discover`, `local-disk`, `not-found`, `ask`, `stop`.
        decision: &'static str,
    },
    /// It began to fetch the kernel.
    Kernel,
    /// It began to fetch the initramfs.
    Initrd,
    /// node-init introduced itself.
    Registered {
        /// In which of its lives.
        life: Life,
    },
}

impl Step {
    /// Whether the machine has got further than addresses with this.
    pub fn is_beyond_dhcp(&self) -> bool {
        matches!(
            self,
            Self::Loader { .. } | Self::File { .. } | Self::Script { .. } | Self::Kernel | Self::Initrd
        ) || matches!(self, Self::Registered { .. })
    }

    /// Whether this shows that the loader runs and its card with it.
    pub fn is_beyond_loader(&self) -> bool {
        matches!(
            self,
            Self::Script { .. } | Self::Kernel | Self::Initrd | Self::Registered { .. }
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { speaker, kind } => write!(f, "{speaker} asked by DHCP ({})", asked(*kind)),
            Self::Stranded { relay } => write!(f, "through the relay {relay}, whose network is not served here"),
            Self::Answered { how, told } if told.is_empty() => f.write_str(answered(*how)),
            Self::Answered { how, told } => write!(f, "{}: {told}", answered(*how)),
            Self::Other { server } => write!(f, "the DHCP server {server} answered it too"),
            Self::Chose { server } => write!(f, "took the offer of {server}"),
            Self::Size { file } => write!(f, "asked how large {file} is"),
            Self::Loader { loader, whole: true } => write!(f, "fetched the loader {}", loader.file()),
            Self::Loader { loader, whole: false } => write!(f, "broke off fetching the loader {}", loader.file()),
            Self::File { file, whole: true } => write!(f, "fetched {file}"),
            Self::File { file, whole: false } => write!(f, "broke off fetching {file}"),
            Self::Missing { file } => write!(f, "asked for {file}, which is not here"),
            Self::Refused { file, why } => write!(f, "asked for {file} and was refused: {why}"),
            Self::Script { decision } => write!(f, "read its boot script: {decision}"),
            Self::Kernel => f.write_str("fetched the kernel"),
            Self::Initrd => f.write_str("fetched the initramfs"),
            Self::Registered { life: Life::Ram } => f.write_str("node-init introduced itself"),
            Self::Registered { life: Life::Installed } => f.write_str("the installed node called home"),
        }
    }
}

fn asked(kind: Kind) -> &'static str {
    match kind {
        Kind::Discover => "discover",
        Kind::Request => "request",
        Kind::Decline => "decline",
        Kind::Release => "release",
        Kind::Inform => "inform",
    }
}

fn answered(how: Answered) -> &'static str {
    match how {
        Answered::Offer => "was offered an address",
        Answered::Ack => "was given an address",
        Answered::Settings => "was given settings for the address that it has",
        Answered::Proxy => "was told where to boot from",
        Answered::Nak => "was refused the address that it wanted",
        Answered::NoAddress => "was not answered: no address is left",
    }
}
