// SPDX-License-Identifier: Apache-2.0
//! Boot scripts, read as iPXE reads them: as far as our own scripts go, and no further.

use anyhow::{Context, Result, ensure};

/// What a boot script makes a machine do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// Start the RAM environment.
    Discover {
        /// URL of the kernel.
        kernel: String,
        /// URL of the initramfs.
        initrd: String,
        /// The kernel's command line.
        arguments: Vec<String>,
    },
    /// Start a distribution's own installer.
    Install {
        /// URL or path of the kernel.
        kernel: String,
        /// URL or path of the initramfs.
        initrd: String,
        /// The kernel's command line.
        arguments: Vec<String>,
    },
    /// Start the local disk.
    LocalDisk {
        /// URL of the loader that does it under UEFI; empty where the firmware does.
        loader: String,
    },
    /// Start the local disk after a while, or join if a key is pressed.
    Ask {
        /// URL of the script that starts the disk.
        disk: String,
        /// URL of the script that joins.
        join: String,
        /// Seconds.
        wait: u32,
    },
    /// Say something, wait, ask again.
    Stop {
        /// What the screen shows.
        said: Vec<String>,
    },
}

/// Reads a script; `mac` is what iPXE puts in for its card where the script asks for it.
pub fn parse(text: &str, mac: &str) -> Result<Script> {
    ensure!(text.starts_with("#!ipxe\n"), "this is no iPXE script: {text}");
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.replace("${netX/mac:hexhyp}", mac))
        .collect();
    let commands: Vec<Vec<&str>> = lines.iter().map(|line| command(line)).collect();
    let find = |name: &str| commands.iter().find(|words| words.first() == Some(&name));
    if let Some(kernel) = find("kernel") {
        let initrd = find("initrd")
            .and_then(|words| words.last())
            .context("a kernel without initrd")?;
        let url = (*kernel.get(1).context("a kernel without URL")?).to_owned();
        let arguments = kernel[2..].iter().map(|word| (*word).to_owned()).collect();
        return Ok(started(url, (*initrd).to_owned(), arguments));
    }
    // Only the way to the disk depends on the platform.
    if find("iseq").is_some_and(|words| words.get(1) == Some(&"${platform}")) {
        let fetched = commands.iter().filter(|words| words.first() == Some(&"imgfetch"));
        let mut fetched = fetched.filter_map(|words| words.last().copied());
        let loader = fetched.find(|url| url.contains(".efi"));
        return Ok(Script::LocalDisk {
            loader: loader.unwrap_or_default().to_owned(),
        });
    }
    if let Some(choose) = find("choose") {
        let scripts: Vec<&str> = commands
            .iter()
            .filter(|words| words.first() == Some(&"chain"))
            .filter_map(|words| words.last().copied())
            .collect();
        let chosen = |word: &str| {
            scripts
                .iter()
                .find(|url| url.ends_with(word))
                .map(|url| (*url).to_owned())
        };
        let wait: u32 = choose
            .get(2)
            .context("a menu without time")?
            .parse()
            .context("a menu's time")?;
        return Ok(Script::Ask {
            disk: chosen("choice=disk").context("a menu without a disk")?,
            join: chosen("choice=enrol").context("a menu without joining")?,
            wait: wait / 1000,
        });
    }
    let said = commands.iter().filter(|words| words.first() == Some(&"echo"));
    Ok(Script::Stop {
        said: said.map(|words| words[1..].join(" ")).collect(),
    })
}

/// Reads a script for GRUB.
pub fn parse_grub(text: &str) -> Result<Script> {
    let words = |line: &str| -> Vec<String> {
        let line = line.trim().trim_start_matches("if ").trim_end_matches("; then");
        line.split_ascii_whitespace()
            .map(|word| word.trim_matches('\'').to_owned())
            .collect()
    };
    let commands: Vec<Vec<String>> = text.lines().map(words).collect();
    let find = |name: &str| {
        commands
            .iter()
            .find(|words| words.first().is_some_and(|word| word == name))
    };
    if let Some(kernel) = find("linux") {
        let initrd = find("initrd").and_then(|words| words.last());
        let path = kernel.get(1).context("a kernel without path")?.clone();
        let initrd = initrd.context("a kernel without initrd")?.clone();
        return Ok(started(path, initrd, kernel[2..].to_vec()));
    }
    if let Some(loader) = find("chainloader").filter(|_| text.contains("starts from its own disk")) {
        return Ok(Script::LocalDisk {
            loader: loader.last().context("a local disk without loader")?.clone(),
        });
    }
    let waits = |words: &&Vec<String>| words.first().is_some_and(|word| word == "sleep") && words.len() == 3;
    if let (Some(sleep), Some(source)) = (commands.iter().find(waits), find("source")) {
        let path = source.last().context("a menu that leads nowhere")?;
        let chosen = |word: &str| path.trim_matches('"').replace("${choice}", word);
        return Ok(Script::Ask {
            disk: chosen("disk"),
            join: chosen("enrol"),
            wait: sleep[2].parse().context("a menu's time")?,
        });
    }
    let said = commands
        .iter()
        .filter(|words| words.first().is_some_and(|word| word == "echo"));
    Ok(Script::Stop {
        said: said.map(|words| words[1..].join(" ")).collect(),
    })
}

/// What a kernel is: ours is told who is its first program.
fn started(kernel: String, initrd: String, arguments: Vec<String>) -> Script {
    if arguments.iter().any(|argument| argument.starts_with("rdinit=")) {
        Script::Discover {
            kernel,
            initrd,
            arguments,
        }
    } else {
        Script::Install {
            kernel,
            initrd,
            arguments,
        }
    }
}

/// Every URL of our own in a script, whichever branch it stands in.
pub fn urls(text: &str) -> Vec<String> {
    let words = text.split_ascii_whitespace();
    words
        .filter(|word| word.starts_with("http://"))
        .map(str::to_owned)
        .collect()
}

/// A line's command: what stands before `||` and `&&`.
fn command(line: &str) -> Vec<&str> {
    line.split_ascii_whitespace()
        .take_while(|word| !matches!(*word, "||" | "&&"))
        .collect()
}
