// SPDX-License-Identifier: Apache-2.0
//! Symptoms of machines that ask by DHCP and do not get any further.

use std::collections::BTreeSet;

use pxe::client::{Firmware, Quirk};
use pxe::dhcp::Kind;

use super::{Case, Said};
use crate::journal::{Attempt, Step};
use crate::network::{Answered, Company};

/// Questions in a row that are no accident any more: firmware repeats itself after 4, 8, 16 seconds.
const INSISTS: u32 = 3;
/// Seconds of asking before the first question arrives that no power-on needs: spanning tree holds a port for 30.
const LATE: u16 = 20;

/// Two machines with one hardware address: a USB adapter that wanders, or cloned boards.
pub(super) fn shared_mac(case: &Case<'_>, _: &Attempt) -> Option<Said> {
    let uuids: BTreeSet<String> = case
        .card
        .attempts
        .iter()
        .filter_map(|attempt| attempt.client.uuid)
        .map(|uuid| uuid.to_string())
        .collect();
    let mut uuids = uuids.iter();
    let (one, other) = (uuids.next()?, uuids.next()?);
    Said::grave(
        format!("two machines start with the card {}: {one} and {other}", case.card.mac),
        "give each its own network card: a USB adapter that goes from one to the next makes them look like one",
    )
}

/// It tells its architecture, but no option 60 says that it boots.
pub(super) fn no_vendor_class(_: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    if attempt.client.quirk != Some(Quirk::NoVendorClass) || beyond(attempt) {
        return None;
    }
    Said::grave(
        "it asks for an address with a processor architecture but without option 60: not as a PXE client",
        "switch on network boot (PXE) in its firmware set-up, or start it from the boot stick",
    )
}

/// An HTTP Boot architecture without the class that goes with it.
pub(super) fn http_without_class(_: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    if attempt.client.quirk != Some(Quirk::HttpWithoutClass) || beyond(attempt) || insists(attempt) < INSISTS {
        return None;
    }
    Said::grave(
        "it asks as an HTTP Boot machine but does not call itself HTTPClient, and takes none of the offers",
        "switch its firmware from HTTP Boot to PXE",
    )
}

/// There is no loader for this kind of machine.
pub(super) fn no_loader(_: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let told = attempt.steps.iter().rev().find_map(|seen| match &seen.step {
        Step::Answered { told, .. } if !told.is_empty() => Some(told),
        _ => None,
    })?;
    // What a client is told to load is a file or a URL; words are why there is none.
    if !told.contains(": ") {
        return None;
    }
    let action = match attempt.client.firmware {
        Some(Firmware::Other(_) | Firmware::UefiArm64) => "take it out of the pile: nodes are x86 PCs",
        Some(Firmware::UefiIa32) => "switch its firmware to legacy (CSM) boot; without that it cannot become a node",
        _ => "import a RAM environment that has it: provisioner image import FOLDER",
    };
    let says = match attempt.client.firmware {
        Some(firmware @ Firmware::Other(_)) => format!("its firmware is of {firmware}, for which there is no loader"),
        _ => format!("it gets an address and no loader: {told}"),
    };
    Said::grave(says, action)
}

/// Its questions come through a relay whose network nobody has told us about.
pub(super) fn stranded(_: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let relay = attempt.steps.iter().rev().find_map(|seen| match seen.step {
        Step::Stranded { relay } => Some(relay),
        _ => None,
    })?;
    Said::grave(
        format!("it asks through the relay {relay}, whose network is not served here"),
        "plug it into the right VLAN, or add that network to the configuration",
    )
}

/// All addresses are given.
pub(super) fn no_address(_: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let how = attempt.steps.iter().rev().find_map(|seen| match seen.step {
        Step::Answered { how, .. } => Some(how),
        _ => None,
    })?;
    (how == Answered::NoAddress).then_some(())?;
    Said::grave(
        "it asks for an address and none is left in the pool",
        "enlarge dhcp.pool, or look who takes so many",
    )
}

/// Nobody answers it: we are quiet there.
pub(super) fn not_answered(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let segment = case.segment?;
    let answered = attempt.has(|step| matches!(step, Step::Answered { .. }));
    if answered || segment.serves || beyond(attempt) || insists(attempt) < INSISTS {
        return None;
    }
    match segment.company {
        Company::Beside(server) => Said::grave(
            format!(
                "it asks and gets no loader: {server} answers DHCP on {}, so we keep quiet",
                segment.interface
            ),
            "set dhcp.mode to auto or proxy",
        ),
        Company::Alone | Company::Unknown => Said::grave(
            format!("it asks on {} and nobody answers", segment.interface),
            "set dhcp.mode to auto, or tell the DHCP server there about this one",
        ),
    }
}

/// Offers go out and it asks again and again, or takes somebody else's and never comes for its loader.
pub(super) fn offers_ignored(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    if beyond(attempt) {
        return None;
    }
    let ours = case.segment.map(|segment| segment.address);
    let answers = attempt.count(|step| matches!(step, Step::Answered { .. }));
    let chosen = attempt.steps.iter().rev().find_map(|seen| match seen.step {
        Step::Chose { server } if Some(server) != ours => Some(server),
        _ => None,
    });
    let other = chosen.or_else(|| others(attempt)).or(match case.segment?.company {
        Company::Beside(server) => Some(server),
        Company::Alone | Company::Unknown => None,
    });
    if answers == 0 || insists(attempt) < INSISTS {
        return None;
    }
    match (chosen, other) {
        (Some(server), _) => Said::grave(
            format!("it takes its address from {server} and never comes for its loader"),
            format!("remove boot settings (options 60, 66, 67, next-server) from {server}"),
        ),
        (None, Some(server)) => Said::grave(
            format!("offers are sent and it keeps asking: {server} answers too"),
            format!("remove boot settings (options 60, 66, 67, next-server) from {server}"),
        ),
        (None, None) => Said::grave(
            "offers are sent and it keeps asking: they do not reach it",
            "look at the switch between: another VLAN on the way back, or DHCP snooping that trusts no port",
        ),
    }
}

/// The link was up long after the machine.
pub(super) fn late_link(_: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    (attempt.secs >= LATE).then(|| Said {
        says: format!("its link came up {} s late", attempt.secs),
        action: "ask for an edge port (portfast) on its switch, or switch spanning tree off there".into(),
        grave: false,
    })
}

/// The other server that was heard last.
fn others(attempt: &Attempt) -> Option<std::net::Ipv4Addr> {
    attempt.steps.iter().rev().find_map(|seen| match seen.step {
        Step::Other { server } => Some(server),
        _ => None,
    })
}

/// How often it asked for an offer.
fn insists(attempt: &Attempt) -> u32 {
    attempt.count(|step| {
        matches!(
            step,
            Step::Asked {
                kind: Kind::Discover,
                ..
            }
        )
    })
}

fn beyond(attempt: &Attempt) -> bool {
    attempt.has(|step| step.is_beyond_dhcp() || matches!(step, Step::Missing { .. } | Step::Size { .. }))
}
