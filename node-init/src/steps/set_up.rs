// SPDX-License-Identifier: Apache-2.0
//! The files that make a written image this node: name, key, network, time, who may log in.
//!
//! Which files is a pure function of the order and the capsule; writing them is the rest.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use provisioner_api::words;
use provisioner_api::{Capsule, Install, Names, is_mark, mark_file};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use crate::capsule::{self, CapsuleEntry};
use crate::clock;
use crate::key::NodeKey;

/// The name of the time zone, below the root (Debian's; systemd reads the link beside it).
const TIME_ZONE: &str = "etc/timezone";
/// The zone of an image that was told none.
const UTC: &str = "Etc/UTC";

/// Every file of the node, in the order in which they are written.
pub fn files(order: &Install, capsule: Option<&Capsule>, key: &NodeKey, mac: &str) -> Result<Vec<CapsuleEntry>> {
    let name = words::host_name(&order.name)?;
    let text = |path: &str, mode, content: String| CapsuleEntry {
        path: path.to_owned(),
        mode,
        uid: 0,
        gid: 0,
        content: content.into_bytes(),
    };
    let config = json!({ "controller": order.controller, "pin": order.pin, "name": name });
    let mut files = vec![
        text("etc/hostname", 0o644, format!("{name}\n")),
        text("etc/hosts", 0o644, hosts(name, order.names.as_ref())?),
        text("etc/systemd/network/10-gleaner.network", 0o644, network(mac)),
        text(
            clock::CHRONY_CONF.trim_start_matches('/'),
            0o644,
            clock::chrony_conf(&order.ntp)?,
        ),
        text("etc/node-init/config.json", 0o644, format!("{config:#}\n")),
        text("boot/grub/gleaner.cfg", 0o644, grub(&order.kernel_args)?),
        text(TIME_ZONE, 0o644, format!("{}\n", words::time_zone(&order.timezone)?)),
    ];
    if let Some(mark) = &order.mark {
        ensure!(is_mark(mark), "{mark:?} is not the mark of an installation");
        files.push(text(&mark_file(mark), 0o644, format!("{name}\n")));
    }
    if let Some(names) = &order.names {
        files.push(text("etc/resolv.conf", 0o644, resolv_conf(names)?));
    }
    if !order.ssh_keys.is_empty() {
        files.push(text(
            "root/.ssh/authorized_keys",
            0o600,
            authorized_keys(&order.ssh_keys)?,
        ));
    }
    if let Some(capsule) = capsule {
        // The name in the order wins over the capsule's: an operator may have renamed the node meanwhile.
        files.extend(capsule::files(capsule).context("reading the identity capsule")?);
    } else {
        files.push(text("etc/machine-id", 0o444, format!("{}\n", fresh_machine_id()?)));
        files.push(text("var/lib/node-init/node.key", 0o600, key.to_pem()));
    }
    Ok(files)
}

/// Writes them below `root`. Returns what is not as the order wants it and does not keep the node from starting.
pub fn write_into(root: &Path, files: &[CapsuleEntry], timezone: &str) -> Result<Vec<String>> {
    for file in files {
        write(root, file).with_context(|| format!("writing /{}", file.path))?;
    }
    let note = local_time(root, timezone).context("setting the time zone")?;
    Ok(note.into_iter().collect())
}

fn write(root: &Path, file: &CapsuleEntry) -> Result<()> {
    let path = root.join(&file.path);
    make_folders(root, &file.path)?;
    // Whatever the image has there goes: a link would be followed, an old mode would stay.
    if path.symlink_metadata().is_ok() {
        fs::remove_file(&path).context("removing what the image has there")?;
    }
    let mut created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .context("creating")?;
    created.write_all(&file.content).context("filling")?;
    chown(&path, Some(file.uid), Some(file.gid)).context("giving it to its owner")?;
    created
        .set_permissions(fs::Permissions::from_mode(file.mode))
        .context("setting its mode")?;
    created.sync_all().context("flushing")
}

/// Folders on the way, none of them a link: the new system's links lead into this one.
fn make_folders(root: &Path, path: &str) -> Result<()> {
    let mut folder = root.to_path_buf();
    for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        match folder.symlink_metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => bail!("{} is not a folder", folder.display()),
            Err(_) => {
                let private = folder.ends_with(".ssh") || folder.ends_with("var/lib/node-init");
                fs::create_dir(&folder).context("making its folder")?;
                fs::set_permissions(&folder, fs::Permissions::from_mode(if private { 0o700 } else { 0o755 }))?;
            }
        }
    }
    Ok(())
}

/// The time zone, by its name and by its rules. Where the image does not have them the node runs in UTC, and says so.
fn local_time(root: &Path, timezone: &str) -> Result<Option<String>> {
    let wanted = words::time_zone(timezone)?;
    if link_zone(root, wanted)? {
        return Ok(None);
    }
    if wanted == "UTC" {
        // The same zone by its older name; an image without any rules runs in it, too.
        link_zone(root, UTC)?;
        return Ok(None);
    }
    let universal = CapsuleEntry {
        path: TIME_ZONE.into(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        content: format!("{UTC}\n").into_bytes(),
    };
    write(root, &universal)?;
    link_zone(root, UTC)?;
    Ok(Some(format!(
        "the image does not know the time zone {wanted}, so this node runs in UTC; name another zone in the profile, or \
         put the package with it (Debian: tzdata-legacy) into the image, then rebuild the node"
    )))
}

/// Makes a zone's rules those of the system; `false` where the image does not have them.
fn link_zone(root: &Path, zone: &str) -> Result<bool> {
    let rules = format!("usr/share/zoneinfo/{zone}");
    // The image's own links lead from its root, not from ours: what is there is what counts.
    if !root.join(&rules).symlink_metadata().is_ok_and(|found| !found.is_dir()) {
        return Ok(false);
    }
    let link = root.join("etc/localtime");
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link)?;
    }
    symlink(format!("/{rules}"), link)?;
    Ok(true)
}

/// The card by its address, whatever it is called next year (systemd.network(5)). DHCP by address, too: the lease of
/// the life in RAM goes on.
fn network(mac: &str) -> String {
    format!("[Match]\nPermanentMACAddress={mac}\n\n[Network]\nDHCP=ipv4\n\n[DHCPv4]\nClientIdentifier=mac\n")
}

/// Its own name, the whole one first where there is one: that is what `hostname -f` says.
fn hosts(name: &str, names: Option<&Names>) -> Result<String> {
    let whole = names.map(|names| domain(names).map(|domain| format!("{name}.{domain} ")));
    let whole = whole.transpose()?.unwrap_or_default();
    Ok(format!(
        "127.0.0.1 localhost\n127.0.1.1 {whole}{name}\n::1 localhost ip6-localhost\n"
    ))
}

/// Where names are asked for (resolv.conf(5)): the controller answers in milliseconds, or not at all.
fn resolv_conf(names: &Names) -> Result<String> {
    let mut lines = vec!["# Written by node-init at installation.".to_owned()];
    for server in &names.servers {
        let server: IpAddr = server
            .parse()
            .with_context(|| format!("{server:?} is no address of a name server"))?;
        lines.push(format!("nameserver {server}"));
    }
    lines.push(format!("search {}", domain(names)?));
    lines.extend(["options timeout:2 attempts:3".into(), String::new()]);
    Ok(lines.join("\n"))
}

fn domain(names: &Names) -> Result<&str> {
    Ok(words::domain(&names.domain)?)
}

/// Sourced by the image's grub.cfg.
fn grub(arguments: &str) -> Result<String> {
    Ok(format!("set gleaner_args=\"{}\"\n", words::for_grub(arguments)?))
}

fn authorized_keys(keys: &[String]) -> Result<String> {
    let mut lines = String::new();
    for key in keys {
        lines.push_str(words::authorized_key(key)?);
        lines.push('\n');
    }
    Ok(lines)
}

/// machine-id(5): 128 random bits, as a version 4 UUID without dashes.
fn fresh_machine_id() -> Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the kernel has no random numbers"))?;
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use provisioner_api::{DiskRef, ImageRef};
    use std::collections::BTreeMap;

    fn order() -> Install {
        Install {
            disk: DiskRef {
                wwn: None,
                serial: Some("D1".into()),
                by_path: None,
                size: 1,
            },
            image: ImageRef {
                name: "i".into(),
                version: "1".into(),
                url: String::new(),
                trusted_keys: Vec::new(),
            },
            name: "node-7f3a".into(),
            root_size: None,
            controller: "10.77.0.1:8443".into(),
            pin: "ab".repeat(32),
            ntp: vec!["10.77.0.1".into()],
            names: Some(Names {
                servers: vec!["10.77.0.1".into()],
                domain: "lab.internal".into(),
            }),
            ssh_keys: vec!["ssh-ed25519 AAAA admin".into()],
            kernel_args: "console=ttyS0,115200".into(),
            timezone: "Europe/Vienna".into(),
            seed: None,
            mark: Some("0a1b2c".into()),
        }
    }

    fn find<'a>(files: &'a [CapsuleEntry], path: &str) -> &'a str {
        let file = files.iter().find(|f| f.path == path).unwrap();
        std::str::from_utf8(&file.content).unwrap()
    }

    #[test]
    fn a_new_node_gets_its_name_key_network_and_time() {
        let key = NodeKey::generate().unwrap();
        let files = files(&order(), None, &key, "52:54:00:77:00:01").unwrap();
        assert_eq!(find(&files, "etc/hostname"), "node-7f3a\n");
        assert_eq!(
            find(&files, "boot/grub/gleaner.cfg"),
            "set gleaner_args=\"console=ttyS0,115200\"\n"
        );
        assert!(find(&files, "etc/systemd/network/10-gleaner.network").contains("52:54:00:77:00:01"));
        assert!(find(&files, "etc/chrony/conf.d/gleaner.conf").contains("server 10.77.0.1"));
        assert!(find(&files, "etc/hosts").contains("127.0.1.1 node-7f3a.lab.internal node-7f3a\n"));
        let names = find(&files, "etc/resolv.conf");
        assert!(
            names.contains("\nnameserver 10.77.0.1\nsearch lab.internal\n"),
            "{names}"
        );
        assert_eq!(find(&files, "var/lib/node-init/node.key"), key.to_pem());
        assert_eq!(find(&files, "etc/machine-id").trim().len(), 32);
        assert_eq!(find(&files, "boot/gleaner/0a1b2c"), "node-7f3a\n");
        let secret = files.iter().find(|f| f.path.ends_with("node.key")).unwrap();
        assert_eq!(secret.mode, 0o600);
    }

    #[test]
    fn a_rebuilt_node_gets_its_old_self_back_and_the_key_of_this_life_is_forgotten() {
        let (old, new) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
        let capsule = Capsule {
            name: "node-7f3a".into(),
            machine_id: "0123456789abcdef0123456789abcdef".into(),
            node_key: old.to_pem(),
            ssh_host_keys: BTreeMap::from([("ssh_host_ed25519_key".into(), "secret".into())]),
            entries: BTreeMap::new(),
        };
        let files = files(&order(), Some(&capsule), &new, "52:54:00:77:00:01").unwrap();
        assert_eq!(find(&files, "var/lib/node-init/node.key"), old.to_pem());
        assert_eq!(find(&files, "etc/machine-id"), "0123456789abcdef0123456789abcdef\n");
        assert_eq!(find(&files, "etc/ssh/ssh_host_ed25519_key"), "secret");
    }

    #[test]
    fn files_replace_what_the_image_has_and_never_follow_its_links() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(root.path().join("etc")).unwrap();
        symlink(outside.path().join("hostname"), root.path().join("etc/hostname")).unwrap();
        symlink(outside.path(), root.path().join("root")).unwrap();
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let file = |path: &str| CapsuleEntry {
            path: path.into(),
            mode: 0o640,
            uid,
            gid,
            content: b"x".into(),
        };
        write_into(root.path(), &[file("etc/hostname")], "UTC").unwrap();
        assert!(root.path().join("etc/hostname").symlink_metadata().unwrap().is_file());
        assert!(write_into(root.path(), &[file("root/.ssh/authorized_keys")], "UTC").is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_zone_that_the_image_lacks_is_told_and_is_not_utc_without_a_word() {
        let root = tempfile::tempdir().unwrap();
        let zones = root.path().join("usr/share/zoneinfo");
        fs::create_dir_all(root.path().join("etc")).unwrap();
        for zone in ["Etc/UTC", "Europe/Vienna"] {
            fs::create_dir_all(zones.join(zone).parent().unwrap()).unwrap();
            fs::write(zones.join(zone), "TZif").unwrap();
        }
        let link = |root: &Path| fs::read_link(root.join("etc/localtime")).unwrap();
        assert_eq!(write_into(root.path(), &[], "Europe/Vienna").unwrap(), [""; 0]);
        assert_eq!(link(root.path()), Path::new("/usr/share/zoneinfo/Europe/Vienna"));
        assert_eq!(write_into(root.path(), &[], "UTC").unwrap(), [""; 0]);
        assert_eq!(link(root.path()), Path::new("/usr/share/zoneinfo/Etc/UTC"));
        // A folder is no zone.
        for absent in ["US/Pacific", "Europe"] {
            let notes = write_into(root.path(), &[], absent).unwrap();
            assert!(
                notes.len() == 1 && notes[0].contains(absent) && notes[0].contains("UTC"),
                "{notes:?}"
            );
            assert_eq!(link(root.path()), Path::new("/usr/share/zoneinfo/Etc/UTC"));
            assert_eq!(fs::read_to_string(root.path().join(TIME_ZONE)).unwrap(), "Etc/UTC\n");
        }
    }

    #[test]
    fn an_order_that_would_smuggle_a_line_is_refused() {
        let key = NodeKey::generate().unwrap();
        for change in [
            (|o: &mut Install| o.name = "a\nb".into()) as fn(&mut Install),
            |o| o.name = "../etc".into(),
            |o| o.kernel_args = "a\"; reboot; \"".into(),
            |o| o.timezone = "../../etc/shadow".into(),
            |o| o.ssh_keys = vec!["a\nb".into()],
            |o| o.ntp = vec!["a\nb".into()],
            |o| o.mark = Some("../grub/grub.cfg".into()),
            |o| o.names.as_mut().unwrap().domain = "a\nnameserver 192.0.2.1".into(),
            |o| o.names.as_mut().unwrap().servers = vec!["192.0.2.1 a".into()],
        ] {
            let mut order = order();
            change(&mut order);
            assert!(files(&order, None, &key, "52:54:00:77:00:01").is_err(), "{order:?}");
        }
    }

    proptest! {
        /// The provisioner asks the same words before anything is wiped.
        #[test]
        fn what_the_words_accept_is_written(
            args in "[a-z0-9._,:=/@+%!$~;()#\\[\\] \"'*-]{0,30}", server in "[a-z0-9_.: -]{0,20}",
            zone in "[A-Za-z/_+ -]{0,20}", key in "[ -~\\n]{0,30}",
        ) {
            let key_of_node = NodeKey::from_pem(TEST_KEY.get_or_init(|| NodeKey::generate().unwrap().to_pem())).unwrap();
            let good = words::kernel_arguments(&args).is_ok() && words::time_server(&server).is_ok()
                && words::time_zone(&zone).is_ok() && words::authorized_key(&key).is_ok();
            let order = Install { kernel_args: args, ntp: vec![server], timezone: zone, ssh_keys: vec![key], ..order() };
            prop_assert_eq!(files(&order, None, &key_of_node, "52:54:00:77:00:01").is_ok(), good);
        }

        #[test]
        fn no_order_writes_outside_or_panics(name in "\\PC{0,70}", args in "\\PC{0,40}", timezone in "\\PC{0,20}") {
            let key = NodeKey::from_pem(TEST_KEY.get_or_init(|| NodeKey::generate().unwrap().to_pem())).unwrap();
            let order = Install { name, kernel_args: args, timezone, ..order() };
            if let Ok(files) = files(&order, None, &key, "52:54:00:77:00:01") {
                prop_assert!(files.iter().all(|f| !f.path.starts_with('/') && !f.path.contains("..")));
                prop_assert_eq!(find(&files, "boot/grub/gleaner.cfg").lines().count(), 1);
            }
        }
    }

    static TEST_KEY: std::sync::OnceLock<String> = std::sync::OnceLock::new();
}
