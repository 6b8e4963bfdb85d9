// SPDX-License-Identifier: Apache-2.0
//! The only place that runs other programs: every command is logged as typed, every failure says which and why.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tracing::debug;

/// Lines of a failed program's last words that are worth showing: the reason is at the end.
const LAST_WORDS: usize = 12;

/// Where a program comes from when the host does not have it: Debian's and Ubuntu's package names.
const PACKAGES: [(&str, &str); 6] = [
    ("mmdebstrap", "mmdebstrap"),
    ("apt-get", "apt"),
    ("newuidmap", "uidmap"),
    ("tar", "tar"),
    ("gpgv", "gpgv"),
    ("prlimit", "util-linux"),
];

/// Folder of the shared libraries in a Debian tree.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// The dynamic loader in a Debian tree, under the name that is no symbolic link.
pub const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";

/// One program about to be run.
#[derive(Debug)]
pub struct Tool {
    name: String,
    command: Command,
}

impl Tool {
    /// A program of the host, found in `PATH` and in the folders that only root has there.
    pub fn host(name: &str) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from));
        let Some(program) = folders.map(|folder| folder.join(name)).find(|file| file.is_file()) else {
            let package = PACKAGES
                .iter()
                .find(|(program, _)| *program == name)
                .map_or(name, |(_, package)| *package);
            bail!("the program {name} is not installed; install it with: apt-get install {package}");
        };
        Ok(Self::new(name, Command::new(program)))
    }

    /// A program of the host that is in nobody's `PATH`.
    pub fn program(path: &Path) -> Self {
        Self::new(&path.to_string_lossy(), Command::new(path))
    }

    fn new(name: &str, mut command: Command) -> Self {
        // Words and dates in the output must not depend on who builds where.
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").stdin(Stdio::null());
        Self {
            name: name.to_owned(),
            command,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// The same, started by a program that takes a command as its last words (prlimit, for example).
    #[must_use]
    pub fn started_by(self, mut starter: Self) -> Self {
        starter
            .command
            .arg(self.command.get_program())
            .args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                starter.command.env(name, value);
            }
        }
        starter.name = self.name;
        starter
    }

    /// Runs it and returns what it wrote to standard output.
    pub fn output(mut self) -> Result<String> {
        self.command.stdout(Stdio::piped());
        let out = self.finish()?;
        String::from_utf8(out).with_context(|| format!("reading what {} wrote", self.name))
    }

    /// Runs it for its effect.
    pub fn run(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Runs it with its standard output in a file.
    pub fn run_into(mut self, file: File) -> Result<()> {
        self.command.stdout(Stdio::from(file));
        self.finish().map(drop)
    }

    /// Whether it succeeds; what it says goes to the log only.
    pub fn succeeds(self) -> bool {
        self.run().inspect_err(|error| debug!("{error:#}")).is_ok()
    }

    fn finish(&mut self) -> Result<Vec<u8>> {
        debug!(command = %as_typed(&self.command), "running");
        self.command.stderr(Stdio::piped());
        let mut child = self
            .command
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        let stderr = child.stderr.take();
        let listener = std::thread::spawn(move || {
            let mut said = Vec::new();
            // What cannot be read cannot be shown; the exit status decides.
            let _ = stderr.map(|mut pipe| pipe.read_to_end(&mut said));
            said
        });
        let mut out = Vec::new();
        if let Some(mut pipe) = child.stdout.take() {
            pipe.read_to_end(&mut out)
                .with_context(|| format!("reading what {} writes", self.name))?;
        }
        let status = child.wait().with_context(|| format!("waiting for {}", self.name))?;
        let said = listener.join().unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        for line in said.lines() {
            debug!(program = %self.name, "{line}");
        }
        if !status.success() {
            let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n  ");
            bail!(
                "{} failed ({status}):\n  {last}\nThe command was: {}",
                self.name,
                as_typed(&self.command)
            );
        }
        Ok(out)
    }
}

/// Debian's programs, run out of an unpacked tree by that tree's own dynamic loader: their version and so
/// their output is the same on every host, and no chroot and no privilege is needed.
#[derive(Clone, Debug)]
pub struct Tools {
    tree: PathBuf,
}

impl Tools {
    /// The programs of a tree.
    pub fn new(tree: PathBuf) -> Self {
        Self { tree }
    }

    /// The tree itself, whose files go into images.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// A program by its path in the tree.
    pub fn tool(&self, path: &str) -> Tool {
        self.tool_as(path, path)
    }

    /// A program by its path, called by another name, for those that go by their name (kmod).
    pub fn tool_as(&self, path: &str, name: &str) -> Tool {
        let mut command = Command::new(self.tree.join(LOADER));
        command
            .args(["--argv0", name, "--library-path"])
            .arg(self.tree.join(LIBRARIES))
            .arg(self.tree.join(path));
        Tool::new(name, command)
    }

    /// The shared libraries that a program of the tree needs, as paths in the tree.
    pub fn libraries(&self, path: &str) -> Result<Vec<String>> {
        let mut command = Command::new(self.tree.join(LOADER));
        command.args(["--library-path".as_ref(), self.tree.join(LIBRARIES).as_os_str()]);
        command.arg("--list").arg(self.tree.join(path));
        let listing = Tool::new("ld.so", command).output()?;
        Ok(library_paths(&listing, &self.tree))
    }
}

/// `ld.so --list` prints `NAME => PATH (ADDRESS)`; what lies outside the tree is the kernel's (vDSO) or the loader itself.
fn library_paths(listing: &str, tree: &Path) -> Vec<String> {
    let inside = |line: &str| {
        let path = line.split_once("=> ")?.1.rsplit_once(" (")?.0;
        Some(Path::new(path).strip_prefix(tree).ok()?.to_str()?.to_owned())
    };
    listing.lines().filter_map(inside).collect()
}

/// The command as one would type it, quoted where a shell needs it.
fn as_typed(command: &Command) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,+@%".contains(c);
    let quote = |word: &OsStr| {
        let word = word.to_string_lossy();
        if !word.is_empty() && word.chars().all(plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words: Vec<OsString> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_owned)
        .collect();
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_program_names_the_package_to_install() {
        let error = Tool::host("no-such-program").unwrap_err().to_string();
        assert!(error.contains("apt-get install no-such-program"), "{error}");
    }

    #[test]
    fn a_failing_program_says_its_last_words_and_how_it_was_called() {
        let error = Tool::host("ls")
            .unwrap()
            .arg("/nowhere at all")
            .run()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("No such file") && error.contains("'/nowhere at all'"),
            "{error}"
        );
    }

    #[test]
    fn libraries_are_those_inside_the_tree() {
        let listing = "\tlinux-vdso.so.1 (0x0001)\n\tlibc.so.6 => /t/usr/lib/libc.so.6 (0x0002)\n\t/lib64/ld.so => /lib64/ld.so (0x3)\n";
        assert_eq!(library_paths(listing, Path::new("/t")), ["usr/lib/libc.so.6"]);
    }
}
