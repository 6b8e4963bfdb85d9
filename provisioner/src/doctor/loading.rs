// SPDX-License-Identifier: Apache-2.0
//! Symptoms of machines that fetch a loader and do not get to their boot script.

use pxe::client::Speaker;

use super::{Case, Said};
use crate::journal::{Attempt, Step};
use crate::network::Answered;

/// Seconds in which a loader has found its card, an address and the script on the slowest machine; iPXE waits 13 s for
/// a router's announcement, and DHCP starts over after 10.
const PATIENCE: i64 = 35;
/// Starts in a row that are no accident any more.
const INSISTS: usize = 3;
/// Seconds between a loader and the next question in which no machine was started anew by hand.
const AT_ONCE: i64 = 20;
/// What loaders ask for although they can do without: shim its revocations, GRUB its settings.
const DISPENSABLE: [&str; 5] = ["revocations", "shim_certificate", "grub", "autoexec", "boot.cfg"];

/// What it starts asks like firmware again: an iPXE that does not say so.
pub(super) fn loader_loop(case: &Case<'_>, _: &Attempt) -> Option<Said> {
    let starts: Vec<&Attempt> = case.card.attempts.iter().collect();
    let looped = starts
        .windows(2)
        .filter(|pair| {
            let fetched = pair[0].last(is_whole).map(|seen| seen.last);
            let ends = fetched.is_some_and(|at| pair[1].began() - at < AT_ONCE * 1000);
            ends && !pair[0].has(Step::is_beyond_loader) && !asked_as_ipxe(pair[0])
        })
        .count();
    (looped >= INSISTS - 1 && !starts.last()?.has(Step::is_beyond_loader)).then_some(())?;
    Said::grave(
        "it fetches a loader again and again: what it starts does not say that it is iPXE",
        "update the iPXE in its card's ROM or switch that ROM off, so that firmware starts ours",
    )
}

/// The loader runs and asks for an address, and never reads its script.
pub(super) fn ipxe_without_script(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    if attempt.has(Step::is_beyond_loader) || !asked_as_ipxe(attempt) || case.silent(attempt) < PATIENCE {
        return None;
    }
    Said::grave(
        format!(
            "iPXE asked for an address {} s ago and never read its boot script",
            case.silent(attempt)
        ),
        "open the HTTP port in this machine's firewall, and ask for an edge port on its switch",
    )
}

/// It was told what to fetch, took an address, and never came.
pub(super) fn loader_unfetched(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let has_come = attempt.has(|step| {
        step.is_beyond_dhcp()
            || matches!(
                step,
                Step::Missing { .. } | Step::Refused { .. } | Step::Size { .. } | Step::Stranded { .. }
            )
    });
    let has_address = attempt.has(|step| {
        matches!(
            step,
            Step::Answered {
                how: Answered::Ack | Answered::Settings,
                ..
            } | Step::Chose { .. }
        )
    });
    let told = attempt.steps.iter().rev().find_map(|seen| match &seen.step {
        Step::Answered { told, .. } => Some(told),
        _ => None,
    })?;
    if has_come || !has_address || told.is_empty() || asked_as_ipxe(attempt) || case.silent(attempt) < PATIENCE {
        return None;
    }
    let other = attempt.steps.iter().rev().find_map(|seen| match seen.step {
        Step::Other { server } => Some(server),
        _ => None,
    });
    let port = match attempt.client.speaker {
        Speaker::HttpBoot => url_port(told).map_or("the HTTP port".to_owned(), |port| format!("TCP port {port}")),
        _ => "UDP port 69".into(),
    };
    let action = match other {
        Some(server) => format!("remove boot settings (options 60, 66, 67, next-server) from {server}"),
        None => format!("open {port} in this machine's firewall, and look for another PXE server on its network"),
    };
    Said::grave(
        format!(
            "took an address {} s ago and never fetched {told}",
            case.silent(attempt)
        ),
        action,
    )
}

/// The port in `http://10.77.0.1:8080/…`.
fn url_port(url: &str) -> Option<u16> {
    let authority = url.split('/').nth(2)?;
    authority.rsplit_once(':')?.1.parse().ok()
}

/// The loader arrived, and then nothing.
pub(super) fn loader_silent(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let (loader, at) = attempt.steps.iter().rev().find_map(|seen| match seen.step {
        Step::Loader { loader, whole: true } => Some((loader, seen.last)),
        _ => None,
    })?;
    if attempt.has(Step::is_beyond_loader) || case.since(at) < PATIENCE {
        return None;
    }
    let file = loader.file();
    let says = format!("fetched the loader {file} {} s ago, then nothing", case.since(at));
    match case.next {
        Some(next) if next == loader => Said::grave(
            format!("{says}: it has worked before, and gets another try"),
            "switch it off and on once",
        ),
        Some(next) => Said::grave(
            format!("{says}: the next start gets {} ({})", next.file(), next.in_words()),
            "switch it off and on once",
        ),
        None => Said::grave(
            format!("{says}: no other loader is left for it"),
            "update its firmware, try another network card, or start it from the boot stick",
        ),
    }
}

/// The loader did not arrive whole.
pub(super) fn loader_broken(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let (loader, at) = attempt.steps.iter().rev().find_map(|seen| match seen.step {
        Step::Loader { loader, whole: false } => Some((loader, seen.last)),
        _ => None,
    })?;
    if attempt.has(is_whole) || attempt.has(Step::is_beyond_loader) || case.since(at) < PATIENCE {
        return None;
    }
    Said::grave(
        format!("it broke off fetching the loader {}", loader.file()),
        "look at its cable and at its switch port: half duplex, or errors that are counted there",
    )
}

/// It asks for a file that nobody here told it of.
pub(super) fn missing_file(_: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    if attempt.has(is_whole) || attempt.has(Step::is_beyond_loader) {
        return None;
    }
    let file = attempt.steps.iter().rev().find_map(|seen| match &seen.step {
        Step::Missing { file } if !DISPENSABLE.iter().any(|word| file.contains(word)) => Some(file),
        _ => None,
    })?;
    Said::grave(
        format!("it asks for the file {file}, which is not here and of which we did not tell it"),
        "remove the boot file name (option 67, filename) from the other DHCP server",
    )
}

/// Its request for a file was refused, and it got no further.
pub(super) fn refused_file(_: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    if attempt.has(is_whole) || attempt.has(Step::is_beyond_loader) {
        return None;
    }
    let (file, why) = attempt.steps.iter().rev().find_map(|seen| match &seen.step {
        Step::Refused { file, why } => Some((file, why)),
        _ => None,
    })?;
    Said::grave(
        format!("it asked by TFTP for {file} and was refused: {why}"),
        "start it once more; if it asks for the same again, its network card's ROM or another DHCP server (options 66 \
         and 67) makes that request: update the ROM, or start the machine from the boot stick",
    )
}

fn is_whole(step: &Step) -> bool {
    matches!(step, Step::Loader { whole: true, .. })
}

fn asked_as_ipxe(attempt: &Attempt) -> bool {
    attempt.has(|step| {
        matches!(
            step,
            Step::Asked {
                speaker: Speaker::Ipxe,
                ..
            }
        )
    })
}
