// SPDX-License-Identifier: Apache-2.0
//! A site's templates are tried out by a process of its own before this one takes them: what wants all memory, runs for
//! ever or nests deeper than a stack ends there, and the server goes on.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result};
use kickstart::{Broken, Templates, families, samples};
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

use super::{Files, whole};

/// Says what is wrong with a site's files.
pub type Judge = fn(&Files) -> std::result::Result<(), Vec<Broken>>;

/// The command by which this program starts itself for a trial. Nobody else needs it.
pub const COMMAND: &str = "try-templates";

/// This very program, also when its file was replaced since it was started.
const SELF: &str = "/proc/self/exe";
/// Megabytes that a trial may take in all: ten times what ours do.
const MEMORY_MB: u64 = 256;
/// Seconds of a processor: a hundred times what ours take.
const SECONDS: u64 = 10;
/// Bytes of stack: half of what a thread of the server has.
const STACK: usize = 1 << 20;

/// Scripts of which it is told that they are wrong.
const FEW: usize = 3;

/// A fault on its way between the two processes.
#[derive(Debug, Deserialize, Serialize)]
struct Wrong {
    file: String,
    line: usize,
    why: String,
}

/// Tries files out in another process.
pub fn apart(files: &Files) -> std::result::Result<(), Vec<Broken>> {
    if files.is_empty() {
        return Ok(());
    }
    let failed = |error: anyhow::Error| vec![whole("", format!("they could not be tried out: {error:#}"))];
    match ask(files).map_err(failed)? {
        Verdict::Good => Ok(()),
        Verdict::Wrong(wrong) => Err(wrong),
        Verdict::Died => Err(vec![whole(culprit(files), TOO_MUCH)]),
    }
}

/// Tries the files on standard input out, and answers on standard output. Bounded; does not end well if they are not.
pub fn run() -> Result<()> {
    setrlimit(Resource::RLIMIT_AS, MEMORY_MB << 20, MEMORY_MB << 20).context("limiting memory")?;
    setrlimit(Resource::RLIMIT_CPU, SECONDS, SECONDS).context("limiting time")?;
    // An end that is expected leaves nothing behind.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("limiting what is left of it")?;
    let files: Files = serde_json::from_reader(io::stdin()).context("reading templates")?;
    let trial = move || match Templates::with_overrides(&files) {
        Ok(set) => scripts(&set),
        Err(wrong) => wrong,
    };
    let trial = thread::Builder::new()
        .stack_size(STACK)
        .spawn(trial)
        .context("starting")?;
    let wrong = trial.join().map_err(|_| anyhow::anyhow!("the trial panicked"))?;
    let told = wrong
        .into_iter()
        .map(|Broken { file, line, why }| Wrong { file, line, why });
    serde_json::to_writer(io::stdout(), &told.collect::<Vec<_>>()).context("answering")
}

/// What a shell says of every script that the samples get; it runs none.
fn scripts(set: &Templates) -> Vec<Broken> {
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    let site = samples::site();
    for os in families::all() {
        for spec in samples::all() {
            // What cannot be rendered was told before, or is refused by its field.
            let answer = kickstart::render(set, os, &spec, &site).ok();
            for (name, file) in answer.into_iter().flat_map(|answer| answer.files) {
                if Path::new(name).extension().is_some_and(|kind| kind == "sh") && seen.insert(file.text.clone()) {
                    wrong.extend(read_by_shell(&file.text).map(|why| whole(&format!("{name} of {}", os.name), why)));
                }
            }
        }
    }
    // The same line is in the scripts of many families.
    wrong.truncate(FEW);
    wrong
}

/// Why a shell does not understand a script. Without a shell nobody knows.
fn read_by_shell(script: &str) -> Option<String> {
    let mut command = Command::new("sh");
    command
        .arg("-n")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut shell = command.spawn().ok()?;
    // One that has seen enough closes its end.
    let _ = shell.stdin.take().map(|mut to| to.write_all(script.as_bytes()));
    let output = shell.wait_with_output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said
        .lines()
        .next()
        .unwrap_or("it ended badly")
        .trim_start_matches("sh: ");
    (!output.status.success()).then(|| format!("a shell does not understand it, line {first}"))
}

enum Verdict {
    Good,
    Wrong(Vec<Broken>),
    /// The limits ended it, or it itself for want of memory.
    Died,
}

const TOO_MUCH: &str = "filling it in takes more memory, more time or a deeper stack than any installer's answers need";

fn ask(files: &Files) -> Result<Verdict> {
    let mut command = Command::new(SELF);
    command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped());
    // What it says when memory ends helps nobody.
    let mut trial = command.stderr(Stdio::null()).spawn().context("starting a trial")?;
    let sent = trial
        .stdin
        .take()
        .map(|mut to| to.write_all(&serde_json::to_vec(files).unwrap_or_default()));
    let output = trial.wait_with_output().context("waiting for a trial")?;
    if !output.status.success() {
        return died(output.status);
    }
    sent.transpose().context("handing the templates over")?;
    let wrong: Vec<Wrong> = serde_json::from_slice(&output.stdout).context("understanding a trial")?;
    if wrong.is_empty() {
        return Ok(Verdict::Good);
    }
    let wrong = wrong
        .into_iter()
        .map(|Wrong { file, line, why }| Broken { file, line, why });
    Ok(Verdict::Wrong(wrong.collect()))
}

fn died(status: ExitStatus) -> Result<Verdict> {
    use std::os::unix::process::ExitStatusExt as _;
    // A trial that could not even begin says so by its exit code.
    status
        .signal()
        .map(|_| Verdict::Died)
        .with_context(|| format!("the trial ended with {status}"))
}

/// The file that is too much all by itself; none where it takes several.
fn culprit(files: &Files) -> &str {
    let alone = |path: &String, text: &String| ask(&Files::from([(path.clone(), text.clone())]));
    let found = files
        .iter()
        .find(|(path, text)| matches!(alone(path, text), Ok(Verdict::Died)));
    found.map_or("", |(path, _)| path)
}
