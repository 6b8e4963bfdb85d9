// SPDX-License-Identifier: Apache-2.0
//! `make bench`: measures, prints the table, and fails only where something could not be run.

use anyhow::Result;
use clap::Parser;
use tests::artifacts::Artifacts;
use tests::bench::table::{self, Line};
use tests::bench::{answers, boots, dhcp, http, node_init, one_more, packages, tftp, wire_size, write};

/// Measures Gleaner beside programs that people know.
#[derive(Debug, Parser)]
struct Cli {
    /// Only these sections: boots, dhcp, tftp, http, node-init, wire-size, write, answers, packages.
    sections: Vec<String>,
    /// Be the PC that asks from this address, with this number, beside a thousand others.
    #[arg(long, hide = true, num_args = 2, value_names = ["ADDRESS", "NUMBER"])]
    one_more: Option<Vec<String>>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some([from, number]) = cli.one_more.as_deref() {
        return one_more::run(from.parse()?, number.parse()?);
    }
    let artifacts = Artifacts::find()?;
    let mut lines = Vec::new();
    let mut section = |name: &str, measure: &dyn Fn() -> Result<Vec<Line>>| {
        if !cli.sections.is_empty() && !cli.sections.iter().any(|wanted| wanted == name) {
            return;
        }
        eprintln!("measuring {name} …");
        match measure() {
            Ok(measured) => lines.extend(measured),
            Err(error) => lines.push(Line::missing(name, "", format!("{error:#}"))),
        }
    };
    section("boots", &boots::measure);
    section("dhcp", &dhcp::measure);
    section("tftp", &tftp::measure);
    section("http", &http::measure);
    section("node-init", &|| node_init::measure(&artifacts));
    section("wire-size", &|| wire_size::measure(&artifacts));
    section("write", &|| write::measure(&artifacts));
    section("answers", &answers::measure);
    section("packages", &packages::measure);
    print!("{}", table::render(&lines));
    Ok(())
}
