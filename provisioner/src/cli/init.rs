// SPDX-License-Identifier: Apache-2.0
//! `provisioner init`: everything that the first start needs, and what to do next. Doing it again changes nothing
//! that is there.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, bail};
use nix::sys::stat::{Mode, umask};

use super::Init;
use super::words::now;
use crate::config::{Config, EXAMPLE};
use crate::images::TrustedKeys;
use crate::privileges;
use crate::registry::{Entry, FILE, Registry};
use crate::state::{self, Claim, StateError};
use crate::tls::{self, ServerKey};

/// Name of the token that the first `init` makes.
const FIRST_TOKEN: &str = "admin";

/// Makes what is not there yet, and says what it made.
pub fn run(config: &Config, what: &Init) -> anyhow::Result<()> {
    let paths = &config.paths;
    let trusted = paths.trusted_keys();
    for folder in [&paths.config, &trusted] {
        make_folder(folder, 0o755)?;
    }
    make_folder(&paths.state, 0o700)?;
    // Whatever is not made for others to read is not for them.
    umask(Mode::from_bits_truncate(privileges::OTHERS));
    example(&paths.config.join("gleaner.toml"))?;
    for key in &what.trust {
        trust(key, &trusted)?;
    }
    let pin = state(&paths.state, what.new_key)?;
    println!("the server's key is in {}; its pin is {pin}", paths.state.display());
    println!("next: import a RAM environment and an image (provisioner image import FOLDER), then: provisioner serve");
    Ok(())
}

/// Makes a folder, if it is not there, with these permissions.
fn make_folder(folder: &Path, mode: u32) -> anyhow::Result<()> {
    let is_there = folder
        .try_exists()
        .with_context(|| format!("looking for {}", folder.display()))?;
    if is_there {
        return Ok(());
    }
    let parents = folder.parent().map_or(Ok(()), fs::create_dir_all);
    parents
        .and_then(|()| fs::create_dir(folder))
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(mode)))
        .with_context(|| format!("making the folder {}", folder.display()))
}

/// Makes database, key and first token where they are not there; the key's pin.
fn state(state: &Path, new_key: bool) -> anyhow::Result<String> {
    let is_there = |path: &Path| {
        path.try_exists()
            .with_context(|| format!("looking into {}", state.display()))
    };
    let key = state.join(tls::FOLDER).join(tls::KEY);
    if is_there(&key)? && is_there(&state.join(FILE))? {
        // Nothing is to be made, and a server may be running.
        return Ok(ServerKey::open_or_make(state)?.pin);
    }
    let claim = Claim::take(state)?;
    match state::whole(state) {
        Err(StateError::NoKey { nodes, .. }) if new_key => {
            println!("a new server's key is made; {nodes} nodes have to be rebuilt before they can be steered again");
        }
        whole => whole?,
    }
    // The database first: a key without one is a state of which a part was lost.
    first_token(state)?;
    let pin = ServerKey::open_or_make(state)?.pin;
    drop(claim);
    Ok(pin)
}

fn example(path: &Path) -> anyhow::Result<()> {
    // Never over a file that somebody has edited.
    let made = fs::OpenOptions::new().write(true).create_new(true).open(path);
    match made {
        Ok(mut file) => {
            file.write_all(EXAMPLE.as_bytes())
                .and_then(|()| file.set_permissions(Permissions::from_mode(0o644)))
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
    // Public, and read by the server, which is not whoever runs this.
    fs::copy(key, &target)
        .and_then(|_| fs::set_permissions(&target, Permissions::from_mode(0o644)))
        .with_context(|| format!("copying {} to {}", key.display(), target.display()))?;
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
    // An empty file is what a power cut left of an earlier try.
    if fs::metadata(state.join(FILE)).is_ok_and(|about| about.len() > 0) {
        return Ok(());
    }
    let registry = Registry::open(state).context("making the database")?;
    let entry = Entry {
        kind: "token",
        detail: format!("made the token {FIRST_TOKEN}"),
        actor: "operator".into(),
    };
    let secret = registry.create_token(FIRST_TOKEN, &entry, now())?;
    registry.checkpoint()?;
    println!("API token {FIRST_TOKEN} (kept as a hash only, so note it down now): {secret}");
    Ok(())
}
