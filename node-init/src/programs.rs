// SPDX-License-Identifier: Apache-2.0
//! Where programs are run that tell us something: each is logged as typed and ends in time.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Programs of the system. A test gives answers of its own.
pub trait Programs {
    /// Runs `command` (program and arguments) and returns what it printed, unless it fails or takes longer than `limit`.
    fn run(&self, command: &[&str], limit: Duration) -> Result<String, ProgramError>;
}

/// Why a program's answer is missing.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there, or may not be run.
    #[error("{program} could not be started")]
    Start {
        /// Its name.
        program: String,
        /// The kernel's word.
        source: io::Error,
    },
    /// It did not end in time and was killed.
    #[error("{program} did not answer within {} s", .limit.as_secs())]
    TooLong {
        /// Its name.
        program: String,
        /// How long it had.
        limit: Duration,
    },
    /// It ended with an error.
    #[error("{program} failed: {}", .stderr.trim())]
    Failed {
        /// Its name.
        program: String,
        /// With what it ended; `None` if it was killed.
        code: Option<i32>,
        /// What it printed all the same.
        stdout: String,
        /// What it complained of.
        stderr: String,
    },
}

impl ProgramError {
    /// With what the program ended, where it did.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Failed { code, .. } => *code,
            Self::Start { .. } | Self::TooLong { .. } => None,
        }
    }

    /// What the program printed, where it ended.
    pub fn stdout(&self) -> Option<&str> {
        match self {
            Self::Failed { stdout, .. } => Some(stdout),
            Self::Start { .. } | Self::TooLong { .. } => None,
        }
    }
}

/// The real programs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shell;

/// How often a running program is looked at that keeps its pipes open: those that close them are heard at once.
const GLANCE: Duration = Duration::from_millis(250);

/// Between closing its pipes and being gone a program needs less than this.
const MOMENT: Duration = Duration::from_millis(2);

/// More than this no program that we ask has to say.
const MAX_OUTPUT: u64 = 1024 * 1024;

impl Programs for Shell {
    fn run(&self, command: &[&str], limit: Duration) -> Result<String, ProgramError> {
        let (name, arguments) = command.split_first().unwrap_or((&"", &[]));
        tracing::debug!(command = command.join(" "), "running");
        let program = (*name).to_owned();
        let started = Command::new(name)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = started.map_err(|source| ProgramError::Start {
            program: program.clone(),
            source,
        })?;
        let (closed, ended) = mpsc::channel();
        let (stdout, stderr) = (
            drain(child.stdout.take(), closed.clone()),
            drain(child.stderr.take(), closed),
        );
        let Some(status) = wait(&mut child, limit, &ended) else {
            return Err(ProgramError::TooLong { program, limit });
        };
        let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
        if status.success() {
            Ok(stdout)
        } else {
            Err(ProgramError::Failed {
                program,
                code: status.code(),
                stdout,
                stderr,
            })
        }
    }
}

/// Reads a pipe to its end beside the wait: a full pipe would hold the program for ever.
fn drain(pipe: Option<impl Read + Send + 'static>, closed: Sender<()>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut text);
        }
        drop(closed);
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// How the program ended, and its pipes are closed; `None` if it, or what it left behind, had to be killed. `ended`
/// hangs up when both pipes are closed.
fn wait(child: &mut Child, limit: Duration, ended: &Receiver<()>) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    let mut closed = false;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if closed => return Some(status),
            Ok(_) if Instant::now() < end => {}
            _ => break,
        }
        match ended.recv_timeout(GLANCE.min(limit)) {
            // A moment more, for what lies between closing the pipes and ending.
            Err(RecvTimeoutError::Disconnected) if closed => thread::sleep(MOMENT),
            Err(RecvTimeoutError::Disconnected) => closed = true,
            _ => {}
        }
    }
    // It is the leader of its group; those that it started and left behind hold its pipes. They may have ended
    // between the two calls, then there is nothing to kill.
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.kill();
    let _ = child.wait();
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_program_answers_or_says_why_not() {
        assert_eq!(Shell.run(&["echo", "hello"], LONG).unwrap(), "hello\n");
        assert!(matches!(
            Shell.run(&["/does/not/exist"], LONG),
            Err(ProgramError::Start { .. })
        ));
        let failed = Shell
            .run(&["sh", "-c", "echo out; echo why >&2; exit 3"], LONG)
            .unwrap_err();
        assert_eq!(failed.to_string(), "sh failed: why");
    }

    #[test]
    fn a_program_that_floods_its_pipe_does_not_hang() {
        assert_eq!(
            Shell.run(&["head", "-c", "300000", "/dev/zero"], LONG).unwrap().len(),
            300_000
        );
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let hung = Shell.run(&["sleep", "1000"], Duration::from_millis(30));
        assert!(matches!(hung, Err(ProgramError::TooLong { .. })));
    }

    #[test]
    fn a_program_that_leaves_others_behind_does_not_hang_us_and_they_are_killed() {
        let command = "sleep 1000 & echo $!";
        let hung = Shell.run(&["sh", "-c", command], Duration::from_millis(300));
        assert!(matches!(hung, Err(ProgramError::TooLong { .. })));
        assert_eq!(Shell.run(&["sh", "-c", "exit 3"], LONG).unwrap_err().code(), Some(3));
    }
}
