// SPDX-License-Identifier: Apache-2.0
//! `provisioner init`: everything that the first start needs, and what to do next. Doing it again changes nothing
//! that is there.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, bail};

use super::Init;
use super::words::now;
use crate::config::{Config, EXAMPLE};
use crate::images::TrustedKeys;
use crate::registry::{Entry, FILE, Registry};
use crate::tls::ServerKey;

/// Name of the token that the first `init` makes.
const FIRST_TOKEN: &str = "admin";

/// Makes what is not there yet, and says what it made.
pub fn run(config: &Config, what: &Init) -> anyhow::Result<()> {
    let paths = &config.paths;
    let trusted = paths.trusted_keys();
    for folder in [&paths.config, &trusted, &paths.state] {
        fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    }
    example(&paths.config.join("gleaner.toml"))?;
    for key in &what.trust {
        trust(key, &trusted)?;
    }
    let key = ServerKey::open_or_make(&paths.state)?;
    println!(
        "the server's key is in {}; its pin is {}",
        paths.state.display(),
        key.pin
    );
    first_token(&paths.state)?;
    println!("next: import a RAM environment and an image (provisioner image import FOLDER), then: provisioner serve");
    Ok(())
}

fn example(path: &Path) -> anyhow::Result<()> {
    // Never over a file that somebody has edited.
    let made = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path);
    match made {
        Ok(mut file) => {
            file.write_all(EXAMPLE.as_bytes())
                .with_context(|| format!("writing {}", path.display()))?;
            println!("{} lists every option, with its default", path.display());
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("making {}", path.display())),
    }
}

fn trust(key: &Path, folder: &Path) -> anyhow::Result<()> {
    let Some(name) = key
        .file_name()
        .filter(|_| key.extension().is_some_and(|end| end == "pub"))
    else {
        bail!(
            "{} is not a minisign public key: its name must end in .pub",
            key.display()
        );
    };
    let target = folder.join(name);
    fs::copy(key, &target).with_context(|| format!("copying {} to {}", key.display(), target.display()))?;
    if let Err(error) = TrustedKeys::load(folder) {
        // A file that is no key must not stay: the server would refuse to start.
        fs::remove_file(&target).with_context(|| format!("removing {}", target.display()))?;
        return Err(error);
    }
    println!("images signed by {} are trusted", key.display());
    Ok(())
}

/// A token for the API over the network, on the first `init` only: shown once.
fn first_token(state: &Path) -> anyhow::Result<()> {
    if state
        .join(FILE)
        .try_exists()
        .with_context(|| format!("looking into {}", state.display()))?
    {
        return Ok(());
    }
    let registry = Registry::open(state).context("making the database")?;
    let entry = Entry {
        kind: "token",
        detail: format!("made the token {FIRST_TOKEN}"),
        actor: "operator".into(),
    };
    let secret = registry.create_token(FIRST_TOKEN, &entry, now())?;
    println!("API token {FIRST_TOKEN} (kept as a hash only, so note it down now): {secret}");
    Ok(())
}
