// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use proptest::prelude::*;
use provisioner_api::CapsuleFile;
use tempfile::TempDir;

use super::*;

fn installed() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in [
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("etc/ssh/sshd_config", "not an identity"),
        ("etc/ssh/ssh_host_ed25519_key", "private"),
        ("etc/ssh/ssh_host_ed25519_key.pub", "public"),
        ("var/lib/node-init/node.key", "key"),
        ("var/lib/nova/compute_id", "42"),
        (
            "etc/node-init/capsule.d/nova.conf",
            "# nova\n/var/lib/nova/compute_id # its id\n/var/lib/nova/later\n",
        ),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
    }
    root
}

fn role(root: &TempDir, lines: &str) {
    fs::write(root.path().join("etc/node-init/capsule.d/zz.conf"), lines).unwrap();
}

#[test]
fn a_node_comes_back_with_every_file_of_its_identity() {
    let root = installed();
    fs::set_permissions(
        root.path().join("var/lib/nova/compute_id"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    let collected = collect(root.path(), "pc-1").unwrap();
    assert_eq!(collected.left_out, Vec::<String>::new());
    let back: BTreeMap<_, _> = files(&collected.capsule)
        .unwrap()
        .into_iter()
        .map(|f| (f.path, (f.mode, f.content)))
        .collect();
    assert_eq!(
        back["etc/machine-id"],
        (0o444, b"0123456789abcdef0123456789abcdef\n".to_vec())
    );
    assert_eq!(back["var/lib/node-init/node.key"], (0o600, b"key".to_vec()));
    assert_eq!(back["etc/ssh/ssh_host_ed25519_key"], (0o600, b"private".to_vec()));
    assert_eq!(back["etc/ssh/ssh_host_ed25519_key.pub"], (0o644, b"public".to_vec()));
    assert_eq!(back["var/lib/nova/compute_id"], (0o640, b"42".to_vec()));
    assert_eq!(back.len(), 5);
}

#[test]
fn a_capsule_without_host_keys_is_not_kept() {
    let root = installed();
    fs::remove_file(root.path().join("etc/ssh/ssh_host_ed25519_key")).unwrap();
    assert!(
        collect(root.path(), "pc-1")
            .unwrap_err()
            .to_string()
            .contains("SSH host keys")
    );
}

#[test]
fn a_role_cannot_carry_off_links_devices_floods_or_the_system() {
    let root = installed();
    fs::write(root.path().join("var/lib/flood"), vec![0; 65 * 1024]).unwrap();
    symlink("/etc/shadow", root.path().join("var/lib/link")).unwrap();
    fs::create_dir(root.path().join("var/lib/folder")).unwrap();
    role(
        &root,
        "/var/lib/flood\n/var/lib/link\n/var/lib/folder\n/usr/bin/sh\n/etc/../usr/x\nrelative\n",
    );
    let collected = collect(root.path(), "pc-1").unwrap();
    assert_eq!(
        collected.capsule.entries.keys().collect::<Vec<_>>(),
        ["/var/lib/nova/compute_id"]
    );
    assert_eq!(collected.left_out.len(), 6, "{:?}", collected.left_out);
}

#[test]
fn many_small_files_cannot_make_a_large_capsule() {
    let root = installed();
    let names: Vec<_> = (0..20).map(|i| format!("/var/lib/f{i}")).collect();
    for i in 0..20 {
        fs::write(root.path().join(format!("var/lib/f{i}")), vec![0; 60 * 1024]).unwrap();
    }
    role(&root, &names.join("\n"));
    let collected = collect(root.path(), "pc-1").unwrap();
    let bytes: usize = files(&collected.capsule).unwrap().iter().map(|f| f.content.len()).sum();
    assert!(bytes <= 513 * 1024 && !collected.left_out.is_empty());
}

fn capsule() -> Capsule {
    Capsule {
        name: "pc-1".into(),
        machine_id: "0".repeat(32),
        node_key: "key".into(),
        ssh_host_keys: BTreeMap::new(),
        entries: BTreeMap::new(),
    }
}

fn entry(mode: u32) -> CapsuleFile {
    CapsuleFile {
        content: "aGk=".into(),
        mode,
        uid: 64055,
        gid: 108,
    }
}

#[test]
fn hostile_capsules_write_nothing() {
    for path in [
        "/etc/../root/x",
        "/etc/./x",
        "etc/x",
        "/etc",
        "/etc/",
        "/etc//x",
        "/boot/x",
        "/usr/sbin/init",
        "/etc/x\n",
        "/etc/x\0",
        "/etcetera/x",
        "/var/lib",
        "/proc/1/mem",
        "/etc/ssh/sshd_config",
        "/etc/machine-id",
        "/var/lib/node-init/node.key",
        "",
    ] {
        let entries = BTreeMap::from([(path.to_owned(), entry(0o600))]);
        assert_eq!(
            files(&Capsule { entries, ..capsule() }),
            Err(BadCapsule::Path(path.into()))
        );
    }
    for name in [
        "sshd_config",
        "../ssh_host_x_key",
        "ssh_host__key",
        "ssh_host_/_key",
        "ssh_host_a_key.pub.pub",
    ] {
        let ssh_host_keys = BTreeMap::from([(name.to_owned(), String::new())]);
        assert_eq!(
            files(&Capsule {
                ssh_host_keys,
                ..capsule()
            }),
            Err(BadCapsule::SshKey(name.into()))
        );
    }
    for id in ["", "../../../etc", &"F".repeat(32), &"0".repeat(33)] {
        assert!(matches!(
            files(&Capsule {
                machine_id: id.into(),
                ..capsule()
            }),
            Err(BadCapsule::MachineId(_))
        ));
    }
    for name in ["", "-a", "a..b", "a b", "a\nb", &"x".repeat(64)] {
        assert!(matches!(
            files(&Capsule {
                name: name.into(),
                ..capsule()
            }),
            Err(BadCapsule::Name(_))
        ));
    }
}

#[test]
fn set_uid_bits_do_not_come_back() {
    let entries = BTreeMap::from([("/var/lib/x/id".to_owned(), entry(0o104_755))]);
    let back = files(&Capsule { entries, ..capsule() }).unwrap().pop().unwrap();
    assert_eq!(
        (back.mode, back.uid, back.gid, back.content),
        (0o755, 64055, 108, b"hi".to_vec())
    );
}

proptest! {
    #[test]
    fn no_path_leaves_the_folders_of_roles(path in "(/|\\.|\\.\\.|etc|var|lib|root|ssh|\\PC){0,12}") {
        let entries = BTreeMap::from([(path, entry(0o600))]);
        if let Ok(files) = files(&Capsule { entries, ..capsule() }) {
            for file in files {
                prop_assert!(!file.path.starts_with('/'));
                prop_assert!(!file.path.split('/').any(|part| matches!(part, "" | "." | "..")));
            }
        }
    }

    #[test]
    fn no_name_or_id_leads_out(name in "\\PC{0,70}", id in "\\PC{0,40}", key in "(ssh_host_|_key|\\.pub|/|\\PC){0,6}") {
        let ssh_host_keys = BTreeMap::from([(key, String::new())]);
        if let Ok(files) = files(&Capsule { name, machine_id: id, ssh_host_keys, ..capsule() }) {
            prop_assert!(files.iter().all(|f| f.path.matches('/').count() <= 3 && !f.path.contains("..")));
        }
    }
}
