// SPDX-License-Identifier: Apache-2.0
//! A real DNS client, what it heard, and laboratories where it finds somebody to ask.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::lab::SERVER;
use crate::peer;
use crate::server::Yard;
use crate::space::Space;

/// An answer, as `NLnet` Labs' drill prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// `NOERROR`, `NXDOMAIN`, `SERVFAIL`; empty where nothing was heard.
    pub code: String,
    /// `qr aa rd ra`.
    pub flags: String,
    /// The data of the records that answer, as they came.
    pub answers: Vec<String>,
    /// The kinds of the records that say who knows.
    pub authority: Vec<String>,
    /// All that was printed.
    pub text: String,
}

/// Asks as drill does, for example `@10.77.0.1 -t nodes.gleaner.internal AAAA`; where the thread is that calls it.
pub fn ask(question: &str) -> Result<Heard> {
    let mut command = peer::drill()?.command();
    command.args(question.split_whitespace()).stdin(Stdio::null());
    let output = command.output().context("running drill")?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(understand(text))
}

/// Asks the provisioner.
pub fn here(question: &str) -> Result<Heard> {
    ask(&format!("@{SERVER} {question}"))
}

/// A laboratory where can be asked, with this configuration and its server not started yet.
pub fn yard(sections: &str) -> Result<Yard> {
    // Fetched out here: in the laboratory there is nowhere to fetch from.
    peer::drill()?;
    Yard::dark(24, sections)
}

/// `/etc/resolv.conf` says this, in the private mounts of a space; `folder` is for the file.
pub fn resolve_by(space: &Space, folder: &Path, text: &str) -> Result<()> {
    let file = folder.join(format!("resolv-{}", space.pid()));
    std::fs::write(&file, text).context("writing a resolv.conf")?;
    let mut command = Command::new("mount");
    command.arg("--bind").arg(file).arg("/etc/resolv.conf");
    space.run_program(&mut command).map(drop)
}

/// The addresses that glibc finds, by whatever `/etc/resolv.conf` is there.
pub fn getent(name: &str) -> Result<Vec<String>> {
    let output = Command::new("getent")
        .args(["ahostsv4", name])
        .stdin(Stdio::null())
        .output()
        .context("running getent")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "getent found no {name}");
    let streams = text.lines().filter(|line| line.contains("STREAM"));
    Ok(streams
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect())
}

fn understand(text: String) -> Heard {
    let between = |from: &str, to: &str| {
        let rest = text.split_once(from)?.1;
        Some(rest.split_once(to)?.0.trim().to_owned())
    };
    let section = |name: &str| {
        let rest = text.split_once(&format!(";; {name} SECTION:"));
        let lines = rest.map_or("", |(_, rest)| rest).lines().skip(1);
        let lines = lines.take_while(|line| !line.trim().is_empty() && !line.starts_with(';'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let column = |at: usize| {
        move |line: &String| {
            let mut columns = line.split_whitespace();
            columns.nth(at).unwrap_or_default().to_owned()
        }
    };
    Heard {
        code: between("rcode: ", ",").unwrap_or_default(),
        flags: between("flags: ", ";").unwrap_or_default(),
        answers: section("ANSWER").iter().map(column(4)).collect(),
        authority: section("AUTHORITY").iter().map(column(3)).collect(),
        text,
    }
}
