// SPDX-License-Identifier: Apache-2.0
//! The first start of a system that a distribution's installer made: it joins the controller, and gets back what makes
//! it the node that it was.
//!
//! | step | is done when |
//! |---|---|
//! | make a key | it lies on the disk |
//! | introduce the key with the join secret | the controller knows it |
//! | put the capsule back | its files lie on the disk, and a note with this start's boot id |
//! | start the machine again, so that all that runs knows who it is | the note is of an earlier start |
//! | forget the secret | it is not on the disk any more |
//!
//! Whatever is cut short is done again from the beginning, and what was done is found done. A node that never was
//! there before has no capsule and is not started again.

mod world;

use anyhow::{Context, Result, bail, ensure};
use provisioner_api::{Capsule, NodeConfig};

use crate::capsule::{self, CapsuleEntry};
use crate::client::{Backoff, ClientError};
use crate::key::NodeKey;
use crate::serve::{CONFIG, KEY};
use world::{System, World};

/// Path of the join secret below the root.
const JOIN: &str = "etc/node-init/join";
/// Path of the note that the capsule was put back, and in which start.
const PUT_BACK: &str = "var/lib/node-init/put-back";

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The system is a node; it can serve.
    Joined,
    /// Everything is in place, and the machine must start again to know it.
    Restart,
}

/// `node-init join`.
pub fn run() -> Result<()> {
    let mut system = System::open()?;
    match join(&mut system) {
        Ok(End::Joined) => System::serve(),
        Ok(End::Restart) => System::restart(),
        Err(error) => {
            system.say(&format!("cannot join: {error:#}"));
            Err(error)
        }
    }
}

/// Does what is left to do.
fn join(world: &mut dyn World) -> Result<End> {
    let Some(secret) = world.read(JOIN).context("reading the join secret")? else {
        return Ok(End::Joined);
    };
    let secret = String::from_utf8(secret).context("reading the join secret")?;
    let config = world.read(CONFIG)?.with_context(|| format!("/{CONFIG} is not there"))?;
    let config: NodeConfig = serde_json::from_slice(&config).with_context(|| format!("reading /{CONFIG}"))?;
    let key = key(world)?;
    match world.read(PUT_BACK).context("reading the note of what was put back")? {
        Some(boot) if boot == world.boot_id().as_bytes() => return Ok(End::Restart),
        // It has started again since.
        Some(_) => {}
        None => {
            introduce(world, &config, &key, secret.trim())?;
            if let Some(capsule) = fetch(world, &config, &key)? {
                put_back(world, &capsule).context("putting the identity of this node back")?;
                return Ok(End::Restart);
            }
        }
    }
    world.remove(JOIN).context("forgetting the join secret")?;
    world
        .remove(PUT_BACK)
        .context("forgetting the note of what was put back")?;
    Ok(End::Joined)
}

/// The key that this system has, or from now on has.
fn key(world: &mut dyn World) -> Result<NodeKey> {
    if let Some(pem) = world.read(KEY).with_context(|| format!("reading /{KEY}"))? {
        return NodeKey::from_pem(&String::from_utf8_lossy(&pem)).with_context(|| format!("reading /{KEY} as a key"));
    }
    let key = NodeKey::generate()?;
    world
        .put(&private(KEY, key.to_pem().into_bytes()))
        .with_context(|| format!("writing /{KEY}"))?;
    Ok(key)
}

/// For ever while the controller is away; its "no" is for a person.
fn introduce(world: &mut dyn World, config: &NodeConfig, key: &NodeKey, secret: &str) -> Result<()> {
    ensure!(!secret.is_empty(), "the join secret is empty");
    patiently(world, |world| world.register(config, key, secret)).context("introducing this system")
}

fn fetch(world: &mut dyn World, config: &NodeConfig, key: &NodeKey) -> Result<Option<Capsule>> {
    patiently(world, |world| world.capsule(config, key)).context("fetching the identity of this node")
}

fn patiently<T>(
    world: &mut dyn World,
    mut ask: impl FnMut(&mut dyn World) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut backoff = Backoff::default();
    loop {
        match ask(world) {
            Err(error) if error.is_temporary() => world.say(&format!("waiting for the controller: {error}")),
            answer => return answer,
        }
        world.sleep(backoff.pause());
    }
}

/// All of it, then the note: a capsule that is half put back is put back again.
fn put_back(world: &mut dyn World, capsule: &Capsule) -> Result<()> {
    let mut files = capsule::files(capsule).context("reading the identity capsule")?;
    // The controller has just learnt the key of this system; the one of the system before is as good as lost.
    files.retain(|file| file.path != KEY);
    if files.is_empty() {
        bail!("the capsule is empty");
    }
    for file in &files {
        world.put(file).with_context(|| format!("writing /{}", file.path))?;
    }
    let note = world.boot_id().into_bytes();
    Ok(world.put(&private(PUT_BACK, note))?)
}

fn private(path: &str, content: Vec<u8>) -> CapsuleEntry {
    CapsuleEntry {
        path: path.into(),
        mode: 0o600,
        uid: 0,
        gid: 0,
        content,
    }
}

#[cfg(test)]
mod tests;
