// SPDX-License-Identifier: Apache-2.0
//! A site's own templates of answer files: tried by whoever writes them, and never in force while they are broken.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::server::{ALONE, PATIENCE, Street, Yard};
use tests::wait::until;

const PROFILE: &str = "\n[profiles.compute]\ninstaller = \"debian-12\"\n\
    [profiles.compute.system]\nmirror = \"http://deb.example.org/debian\"\n";
/// The template that the stories override.
const FILE: &str = "debian/late.sh";

/// Writes the built-in template with a line more into the site's folder; how many lines it has.
fn write(street: &Street<'_>, folder: &Path, line: &str) -> Result<usize> {
    let text = street.server.cli(&["template", "show", FILE])? + line + "\n";
    fs::create_dir_all(folder.join("debian"))?;
    fs::write(folder.join(FILE), &text)?;
    Ok(text.lines().count())
}

/// `systemctl reload`, after which the list of events has one more of this kind.
fn reload(street: &Street<'_>, kind: &str) -> Result<()> {
    let count = || -> Result<usize> {
        let events = street.server.get("/api/v1/events?limit=1000")?;
        let events = events.as_array().context("no list of events")?.clone();
        Ok(events.iter().filter(|event| event["kind"] == kind).count())
    };
    let before = count()?;
    let pid = street.server.pid().context("the provisioner does not run")?;
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGHUP)?;
    until(kind, PATIENCE, || Ok((count()? > before).then_some(())))
}

/// The file that the template makes.
fn late(street: &Street<'_>) -> Result<String> {
    street.server.cli(&["template", "render", "--file", "late.sh"])
}

#[test]
fn a_broken_override_is_told_with_file_and_line_and_changes_nothing_even_after_a_restart() {
    let mut yard = Yard::dark(24, &format!("{ALONE}{PROFILE}")).unwrap();
    yard.lab.start_server().unwrap();
    let folder = yard.server().config_file().with_file_name("templates");
    yard.tell(|street| {
        let own = "echo own of {{ spec.hostname }}";
        write(street, &folder, own)?;
        street.server.cli(&["template", "check"])?;
        let place = folder.to_str().context("a strange path")?;
        let tried = street.server.cli(&["template", "diff", "--folder", place])?;
        ensure!(tried.contains("+echo own of any-machine"), "{tried}");
        ensure!(
            !late(street)?.contains("own of"),
            "it is in force before anybody said so"
        );
        reload(street, "templates-loaded")?;
        ensure!(late(street)?.contains("echo own of any-machine"));
        ensure!(street.server.cli(&["template", "diff"])? == tried);

        let line = write(street, &folder, "echo {{ spec.nothing }}")?;
        let check = street.server.cli(&["template", "check"]).expect_err("a broken folder");
        drop(check);
        reload(street, "templates-refused")?;
        for _ in 0..2 {
            ensure!(
                late(street)?.contains("echo own of any-machine"),
                "the set from before is gone"
            );
            let list = street.server.cli(&["template", "list"])?;
            ensure!(list.contains(&format!("{FILE}:{line}: undefined value")), "{list}");
            street.server.stop()?;
            street.start_server()?;
        }
        Ok(())
    })
    .unwrap();
}

/// What fills a machine's memory, runs for ever, and nests deeper than a stack.
fn monsters() -> [(&'static str, String); 4] {
    let doubled =
        "{% set ns = namespace(a='xxxxxxxx') %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}";
    let forever = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    [
        ("memory", doubled.to_owned()),
        ("width", "{{ '%9999999999d' | format(1) }}".to_owned()),
        ("time", forever.to_owned()),
        ("stack", format!("{{{{ {}1 }}}}", "not ".repeat(100_000))),
    ]
}

#[test]
fn a_template_that_takes_all_memory_or_never_ends_is_refused_and_the_server_goes_on() {
    let mut yard = Yard::dark(24, &format!("{ALONE}{PROFILE}")).unwrap();
    yard.lab.start_server().unwrap();
    let folder = yard.server().config_file().with_file_name("templates");
    yard.tell(|street| {
        let pid = street.server.pid();
        let place = folder.to_str().context("a strange path")?;
        for (name, line) in monsters() {
            write(street, &folder, &line)?;
            let why = |arguments: &[&str]| match street.server.cli(arguments) {
                Ok(said) => anyhow::bail!("{name}: {arguments:?} went well: {said}"),
                Err(error) => Ok(format!("{error:#}")),
            };
            why(&["template", "check"])?;
            let said = why(&["template", "diff", "--folder", place])?;
            ensure!(said.contains(FILE), "{name}: {said}");
            reload(street, "templates-refused")?;
            ensure!(street.server.pid() == pid, "{name}");
        }
        // What a shell would stumble over in the middle of an installation.
        write(street, &folder, "if true; then")?;
        reload(street, "templates-refused")?;
        let list = street.server.cli(&["template", "list"])?;
        ensure!(
            list.contains("late.sh of debian-12") && list.contains("a shell does not"),
            "{list}"
        );
        write(street, &folder, &monsters()[0].1)?;
        // Nor does it keep the server from starting.
        street.server.stop()?;
        street.start_server()?;
        let list = street.server.cli(&["template", "list"])?;
        ensure!(list.contains(FILE), "{list}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn who_has_read_enough_of_an_answer_is_told_nothing_more() {
    let mut yard = Yard::dark(24, ALONE).unwrap();
    for arguments in [
        &["template", "show", FILE][..],
        &["check-config"],
        &["--json", "check-config"],
    ] {
        let (nobody, pipe) = std::io::pipe().unwrap();
        drop(nobody);
        let mut command = std::process::Command::new(yard.server().program());
        command.arg("--config").arg(yard.server().config_file()).args(arguments);
        let said = command.stdout(pipe).output().unwrap();
        let error = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && error.is_empty(), "{arguments:?}: {error}");
    }
}
