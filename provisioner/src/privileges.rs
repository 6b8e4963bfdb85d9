// SPDX-License-Identifier: Apache-2.0
//! Giving up what only binding needed.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use caps::CapSet;
use nix::unistd::{Gid, Uid, User, geteuid, setgroups, setresgid, setresuid};

mod own;

pub(crate) use own::{own, own_opened};

/// How the process goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// As this user, with no capability.
    User(String),
    /// As root, because the user does not exist, with no capability. Say so in the log.
    RootWithoutUser(String),
}

/// Becomes `user` for good, owner of `folders` and all that is in them, if started as root; gives up every
/// capability in any case.
///
/// Call it when everything is bound and **before** the runtime starts its threads: Linux keeps capabilities by
/// thread.
pub fn give_up(user: &str, folders: &[&Path]) -> Result<Privileges> {
    ensure!(
        threads()? == 1,
        "privileges must be given up before threads start, or the threads keep them"
    );
    let outcome = if geteuid().is_root() {
        match User::from_name(user).with_context(|| format!("looking up the user {user}"))? {
            Some(account) => {
                own(folders, account.uid, account.gid)?;
                become_user(account.uid, account.gid).with_context(|| format!("becoming the user {user}"))?;
                Privileges::User(user.to_owned())
            }
            // Still root by name, which owns the files of the state folder, but by name only.
            None => Privileges::RootWithoutUser(user.to_owned()),
        }
    } else {
        let name = User::from_uid(geteuid())
            .ok()
            .flatten()
            .map_or_else(|| geteuid().to_string(), |user| user.name);
        Privileges::User(name)
    };
    drop_capabilities().context("giving up capabilities")?;
    Ok(outcome)
}

fn become_user(uid: Uid, gid: Gid) -> Result<()> {
    setgroups(&[gid])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    ensure!(
        setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_err(),
        "root could be had back"
    );
    Ok(())
}

/// All four sets that could bring one back. The bounding set stays where it takes a capability to change it; it
/// gives nothing to a process that never becomes root again.
fn drop_capabilities() -> Result<()> {
    let _ = caps::clear(None, CapSet::Bounding);
    // As root without a user, the kernel would keep root's right to look at root's files by ownership; that is all.
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        caps::clear(None, set).with_context(|| format!("clearing the {set:?} set"))?;
    }
    Ok(())
}

fn threads() -> Result<usize> {
    Ok(Path::new("/proc/self/task")
        .read_dir()
        .context("counting threads")?
        .count())
}
