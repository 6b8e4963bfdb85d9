// SPDX-License-Identifier: Apache-2.0
//! Giving up what only the start needed.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, User, geteuid, setgroups, setresgid, setresuid};

mod own;

pub(crate) use own::{own, own_opened};

/// Permissions of the group and of everybody else: what is private gives them none.
pub(crate) const OTHERS: u32 = 0o077;

/// How the process goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// As this user.
    User(String),
    /// As root, because the user does not exist. Say so in the log.
    RootWithoutUser(String),
}

/// What binds sockets anew on interfaces that come later: ports below 1024, frames to clients without an address, and
/// sockets of one interface.
pub const SOCKETS: [Capability; 2] = [Capability::CAP_NET_BIND_SERVICE, Capability::CAP_NET_RAW];

/// Becomes `user` for good, owner of `folders` and all that is in them, if started as root; gives up every
/// capability but those to `keep` in any case. Programs that are started later have none.
///
/// Call it when everything is bound and **before** the runtime starts its threads: Linux keeps capabilities by
/// thread.
pub fn give_up(user: &str, folders: &[&Path], keep: &[Capability]) -> Result<Privileges> {
    ensure!(
        threads()? == 1,
        "privileges must be given up before threads start, or the threads keep them"
    );
    // The bounding set stays where it takes a capability to change it: systemd's unit has set it then.
    let _ = caps::clear(None, CapSet::Bounding);
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
    keep_only(keep).context("giving up capabilities")?;
    Ok(outcome)
}

fn become_user(uid: Uid, gid: Gid) -> Result<()> {
    // Else the kernel takes every capability with the name of root.
    caps::securebits::set_keepcaps(true)?;
    setgroups(&[gid])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    ensure!(
        setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_err(),
        "root could be had back"
    );
    caps::securebits::set_keepcaps(false)?;
    Ok(())
}

/// Of the capabilities that there are those to keep stay usable here, and none passes to another program.
fn keep_only(keep: &[Capability]) -> Result<()> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = keep.iter().filter(|one| permitted.contains(one)).copied().collect();
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective] {
        caps::clear(None, set).with_context(|| format!("clearing the {set:?} set"))?;
    }
    for set in [CapSet::Permitted, CapSet::Effective] {
        caps::set(None, set, &kept).with_context(|| format!("reducing the {set:?} set"))?;
    }
    Ok(())
}

fn threads() -> Result<usize> {
    Ok(Path::new("/proc/self/task")
        .read_dir()
        .context("counting threads")?
        .count())
}
