// SPDX-License-Identifier: Apache-2.0
//! The only place of the provisioner that runs other people's programs: for the command line, never in the server.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};

/// Who unpacks strangers' archives where root imports them: nobody, with nothing but the open file.
const NOBODY: u32 = 65534;
/// What a program may say before it is cut off: lists of 100,000 files, and no more.
const LARGEST_ANSWER: u64 = 32 << 20;

/// A program that reads an archive, and how its output is read.
pub(super) struct Reading {
    /// The last one is the one whose output is read.
    children: Vec<Child>,
    output: ChildStdout,
    complaint: Option<JoinHandle<String>>,
}

/// Runs libarchive's tar with these words on an archive, or on the one that is the member `inner` of it.
pub(super) fn bsdtar(archive: &File, inner: Option<&str>, words: &[&str]) -> Result<Reading> {
    let whole = archive.try_clone().context("opening the archive once more")?;
    io::Seek::rewind(&mut &whole).context("rewinding the archive")?;
    let mut children = Vec::new();
    let input = match inner {
        Some(member) => {
            let mut outer = unprivileged("bsdtar", &["-xqOf", "-", member], whole.into())?;
            let output = outer.stdout.take().context("reading what bsdtar says")?;
            children.push(outer);
            output.into()
        }
        None => whole.into(),
    };
    let mut child = unprivileged("bsdtar", words, input)?;
    let output = child.stdout.take().context("reading what bsdtar says")?;
    // Read beside the output: an archive that makes it complain without end must not make it wait for us.
    let complaint = child.stderr.take().map(|said| std::thread::spawn(|| first_line(said)));
    children.push(child);
    Ok(Reading {
        children,
        output,
        complaint,
    })
}

/// What a program answered.
pub(super) struct Answer {
    /// Whether it ended well.
    pub(super) good: bool,
    /// On its standard output.
    pub(super) said: String,
    /// On its standard error.
    pub(super) told: String,
}

/// Runs a program that answers in few words, as who we are, and gives it `input` to read.
pub(super) fn ask(program: &str, words: &[&OsStr], input: Vec<u8>) -> Result<Answer> {
    tracing::debug!(program, ?words, "running");
    let mut child = Command::new(program)
        .args(words)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| missing(program, error))?;
    if let Some(mut to) = child.stdin.take() {
        // Beside its answer, or both might wait for each other. What it does not want to read it need not.
        std::thread::spawn(move || io::Write::write_all(&mut to, &input));
    }
    let output = child
        .wait_with_output()
        .with_context(|| format!("waiting for {program}"))?;
    Ok(Answer {
        good: output.status.success(),
        said: String::from_utf8_lossy(&output.stdout).into_owned(),
        told: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Whether a program says this line, however much it says.
pub(super) fn says_line(program: &str, words: &[&OsStr], line: &str) -> Result<bool> {
    tracing::debug!(program, ?words, "running");
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| missing(program, error))?;
    let output = child.stdout.take().context("reading what a program says")?;
    let mut lines = io::BufRead::split(io::BufReader::new(output), b'\n');
    let found = lines.any(|said| said.is_ok_and(|said| said == line.as_bytes()));
    drop(lines);
    // It may have been cut off in the middle.
    child.wait().with_context(|| format!("waiting for {program}"))?;
    Ok(found)
}

/// Whether a program of this name or path could be run.
pub(super) fn is_there(program: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    program.is_absolute() && program.is_file() || std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

impl Reading {
    /// All that it says, as text, and whether it went well.
    pub(super) fn text(mut self) -> Result<String> {
        let mut said = Vec::new();
        (&mut self.output).take(LARGEST_ANSWER).read_to_end(&mut said)?;
        ensure!(
            (said.len() as u64) < LARGEST_ANSWER,
            "it has more in it than any medium"
        );
        self.end()?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Waits for its end; fails with its complaint if it failed.
    pub(super) fn end(mut self) -> Result<()> {
        io::copy(&mut self.output, &mut io::sink()).context("reading what bsdtar says")?;
        let last = self.children.last_mut();
        let status = last.map(Child::wait).transpose().context("waiting for bsdtar")?;
        if status.is_some_and(|status| !status.success()) {
            let complaint = self.complaint.take().and_then(|thread| thread.join().ok());
            bail!("{}", complaint.as_deref().unwrap_or("it did not say why"));
        }
        Ok(())
    }
}

/// One that had read enough, or was given up, is not left behind.
impl Drop for Reading {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself: then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl io::Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.read(buffer)
    }
}

fn unprivileged(program: &str, words: &[&str], input: Stdio) -> Result<Child> {
    tracing::debug!(program, ?words, "running");
    let mut command = Command::new(program);
    command
        .args(words)
        .current_dir("/")
        // Names that are no ASCII would be errors in the C locale.
        .env("LC_ALL", "C.UTF-8")
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.spawn().map_err(|error| missing(program, error))
}

/// The first line of what a program complains of; the rest is read and forgotten.
fn first_line(mut said: impl io::Read) -> String {
    const LONGEST: u64 = 512;
    let mut first = Vec::new();
    // A complaint that cannot be read is no reason to have none.
    let _ = (&mut said).take(LONGEST).read_to_end(&mut first);
    let _ = io::copy(&mut said, &mut io::sink());
    let first = String::from_utf8_lossy(&first).into_owned();
    let line = first.lines().next().unwrap_or("it did not say why");
    line.trim_start_matches("bsdtar: ").to_owned()
}

fn missing(program: &str, error: io::Error) -> anyhow::Error {
    let package = match program {
        "bsdtar" => "libarchive-tools",
        "gpgv" => "gpgv",
        _ => "apt",
    };
    if error.kind() == ErrorKind::NotFound {
        anyhow::anyhow!("there is no program {program} on this machine: apt install {package}")
    } else {
        anyhow::Error::new(error).context(format!("running {program}"))
    }
}
