// SPDX-License-Identifier: Apache-2.0
//! `provisioner os …`: the boot media of installers, for people.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use provisioner_api::{ImportLine, MediumPrune, MediumSummary};

use super::handover::Handover;
use super::words::{moment, table};
use super::{Os, OsImport, answer, client, talk};
use crate::api_client::Client;
use crate::config::{Config, size_in_words};
use crate::media::import::{Evidence, Wish, examine};
use crate::media::room_for;

/// Carries out a command.
pub fn run(config: &Config, command: &Os, json: bool) -> anyhow::Result<()> {
    let client = client(config);
    match command {
        Os::Import(what) => import(config, &client, what, json),
        Os::List => answer(&media(&client)?, json, |media| in_words(media)),
        Os::Prune { yes } => prune(&client, *yes, json),
    }
}

fn media(client: &Client) -> anyhow::Result<Vec<MediumSummary>> {
    talk(client.get("/api/v1/media"))
}

fn import(config: &Config, client: &Client, what: &OsImport, json: bool) -> anyhow::Result<()> {
    // A server that is not there is told before gigabytes are read.
    media(client)?;
    let wish = Wish {
        os: what.os.clone(),
        evidence: Evidence {
            sha256: what.sha256.clone(),
            list: what.sums.clone(),
            keyrings: what.keyring.clone(),
        },
        unverified: what.unverified,
    };
    let bar = bar("checking")?;
    let examined = examine(&what.medium, &wish, &mut |done, total| show(&bar, done, total));
    bar.finish_and_clear();
    let examined = examined?;
    let staging = Handover::empty(&config.paths)?;
    room_for(staging.folder(), examined.size())?;
    let bar = self::bar("unpacking")?;
    let arrival = examined.unpack(&staging.inside(), &mut |done, total| show(&bar, done, total));
    bar.finish_and_clear();
    let arrival = arrival?;
    staging.give()?;
    let bar = self::bar("keeping")?;
    let told = talk(client.import_medium(&arrival, |done, total| show(&bar, done, total)));
    bar.finish_and_clear();
    answer(&told?, json, |told| match told {
        ImportLine::Done { name, version, .. } => {
            format!(
                "imported {name}: {} ({}), as {version}",
                arrival.release, arrival.verified
            )
        }
        // `import_medium` returns nothing else.
        ImportLine::Progress { .. } | ImportLine::Failed { .. } => String::new(),
    })
}

fn prune(client: &Client, yes: bool, json: bool) -> anyhow::Result<()> {
    let unused: Vec<MediumSummary> = media(client)?
        .into_iter()
        .filter(|medium| medium.used_by.is_empty())
        .collect();
    if unused.is_empty() {
        return answer(&unused, json, |_| "Every medium is needed by somebody.".into());
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            bail!("nobody needs {}: add --yes to remove them", names(&unused));
        }
        let size = unused.iter().map(|medium| medium.size).sum();
        println!("Nobody needs these:\n\n{}\n", in_words(&unused));
        print!("Remove them, {}? [y/N] ", size_in_words(size));
        std::io::stdout().flush()?;
        let mut reply = String::new();
        std::io::stdin().read_line(&mut reply)?;
        if !matches!(reply.trim(), "y" | "Y" | "yes") {
            println!("nothing was removed");
            return Ok(());
        }
    }
    let ids = unused.into_iter().map(|medium| medium.id).collect();
    let removed: Vec<MediumSummary> = talk(client.post("/api/v1/media/prune", &MediumPrune { ids }))?;
    answer(&removed, json, |removed| match removed.len() {
        0 => "somebody needs them all by now; nothing was removed".into(),
        _ => format!("removed {}", names(removed)),
    })
}

fn names(media: &[MediumSummary]) -> String {
    let names: Vec<String> = media
        .iter()
        .map(|medium| format!("{} {}", medium.os, medium.id))
        .collect();
    names.join(", ")
}

/// Shown on a terminal only; a log has no use for a bar.
fn bar(doing: &str) -> anyhow::Result<ProgressBar> {
    let template = format!("{doing:9} {{bar:40}} {{bytes}} of {{total_bytes}}, {{eta}} left");
    Ok(ProgressBar::new(0).with_style(ProgressStyle::with_template(&template)?))
}

fn show(bar: &ProgressBar, done: u64, total: u64) {
    bar.set_length(total);
    bar.set_position(done);
}

fn in_words(media: &[MediumSummary]) -> String {
    if media.is_empty() {
        return "No medium yet. Of Debian's: apt-get download debian-installer-12-netboot-amd64, then `provisioner os \
                import FILE`; of others: their ISO."
            .into();
    }
    let rows = media.iter().map(|medium| {
        vec![
            medium.os.clone(),
            medium.release.clone(),
            size_in_words(medium.size),
            medium.verified.to_string(),
            if medium.used_by.is_empty() {
                "nobody".into()
            } else {
                medium.used_by.join(", ")
            },
            moment(medium.imported),
            medium.id.clone(),
            medium.problem.clone().unwrap_or_else(|| "ok".into()),
        ]
    });
    let head = [
        "SYSTEM",
        "RELEASE",
        "SIZE",
        "VERIFIED",
        "NEEDED BY",
        "IMPORTED",
        "ID",
        "STATE",
    ];
    table(&head, rows)
}
