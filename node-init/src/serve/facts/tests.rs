// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::io;

use super::*;
use crate::programs::Shell;

/// A system by what its programs print; what it does not know is not there. A first line "fails" is an exit code.
struct Prints(&'static [(&'static str, &'static str)]);

impl Programs for Prints {
    fn run(&self, command: &[&str], _: Duration) -> Result<String, ProgramError> {
        let (program, typed) = (command[0].to_owned(), command.join(" "));
        let known = self.0.iter().find(|(known, _)| *known == typed);
        match known.map(|(_, text)| (text, text.strip_prefix("fails\n"))) {
            None => Err(ProgramError::Start {
                program,
                source: io::ErrorKind::NotFound.into(),
            }),
            Some((_, Some(text))) => Err(ProgramError::Failed {
                program,
                code: Some(1),
                stdout: text.into(),
                stderr: String::new(),
            }),
            Some((text, None)) => Ok((*text).into()),
        }
    }
}

#[test]
fn the_words_of_systemd_are_read_though_they_come_with_an_exit_code() {
    let degraded = Prints(&[
        ("systemctl is-system-running", "fails\ndegraded\n"),
        (
            "systemctl --no-pager --no-legend --plain list-units --failed",
            "web.service loaded failed failed A web server\n",
        ),
        (
            "systemctl --no-pager --no-legend --plain list-jobs",
            "212 slow.service start running\n",
        ),
        (
            "systemctl is-enabled node-init.service x.service",
            "fails\nenabled\nmasked\n",
        ),
    ]);
    let found = system(&degraded).unwrap();
    let expected = System {
        word: "degraded".into(),
        failed: vec!["web.service".into()],
        starting: vec!["slow.service".into()],
    };
    assert_eq!(found, expected);
    let units = enabled(&degraded, &["node-init.service", "x.service"]);
    assert_eq!(units["x.service"], "masked");
    assert!(system(&Prints(&[])).is_err());
}

#[test]
fn the_clock_is_chronys_or_else_whatever_systemd_knows_of() {
    const OTHER: &str = "timedatectl show --property=NTPSynchronized --value";
    assert_eq!(clock(&Prints(&[(OTHER, "yes\n")])).unwrap(), Clock::Other(true));
    assert_eq!(clock(&Prints(&[(OTHER, "no\n")])).unwrap(), Clock::Other(false));
    // chrony that does not run is not another program.
    let stopped = Prints(&[
        ("chronyc -c -N tracking", "fails\n506 Cannot talk to daemon\n"),
        (OTHER, "yes\n"),
    ]);
    assert!(clock(&stopped).is_err());
}

#[test]
fn a_roles_command_says_in_its_first_line_what_it_saw() {
    let run = |text: &str, within| {
        let check = RoleCheck {
            name: "x".into(),
            command: text.into(),
            within,
        };
        command(&Shell, &check)
    };
    assert_eq!(run("echo; echo fine; echo more", 30), Ok("fine".into()));
    assert_eq!(run("true", 30), Ok("holds".into()));
    assert_eq!(run("echo out; echo why >&2; exit 1", 30), Err("why".into()));
    assert_eq!(run("echo out; exit 1", 30), Err("out".into()));
    assert_eq!(run("exit 3", 30), Err("it ended with 3 and said nothing".into()));
    assert_eq!(run("sleep 1000", 0), Err("no answer within 0 s".into()));
}
