// SPDX-License-Identifier: Apache-2.0
//! Every answer file, before the program that judges it in its distribution.
//!
//! Not judged here, because no registry has their schemas as a package: Subiquity's autoinstall (its network and its
//! cloud-config are), `AutoYaST`'s RELAX NG (the XML is read), Agama's JSON (it is read as JSON).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::process::Command;

use kickstart::families::{self, Family, Os, Packages};
use kickstart::{Answer, Checked, Refused, Templates, render, samples};
use serde_json::Value;
use tests::folder::Folder;
use tests::validators;

/// Every sample for every system of a family that takes it.
fn answers(family: Family) -> Vec<(&'static Os, Checked, Answer)> {
    let templates = Templates::built_in().unwrap();
    let mut answers = Vec::new();
    for os in families::all().filter(|os| os.family == family) {
        for spec in samples::all() {
            match render(&templates, os, &spec, &samples::site()) {
                Ok(answer) => answers.push((os, spec, answer)),
                Err(Refused::Unsupported(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(!answers.is_empty(), "nothing of {family:?} was rendered");
    answers
}

fn write(folder: &Folder, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[track_caller]
fn passes(mut command: Command, about: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} refused {about}:\n{said}");
}

#[test]
fn debconf_takes_every_preseed_file() {
    let folder = Folder::new().unwrap();
    for (os, _, answer) in answers(Family::Debian) {
        let file = write(&folder, "preseed.cfg", &answer.files["preseed.cfg"].text);
        passes(validators::debconf(&file), os.name);
    }
    let file = write(&folder, "broken.cfg", "d-i partman/confirm\n");
    assert!(
        !validators::debconf(&file).output().unwrap().status.success(),
        "what is wrong must be refused"
    );
}

#[test]
fn anaconda_takes_every_kickstart_file() {
    let folder = Folder::new().unwrap();
    for (os, _, answer) in answers(Family::RedHat) {
        let release = match os.name {
            "fedora-43" => "F43",
            name if name.ends_with("-9") => "RHEL9",
            name if name.ends_with("-10") => "RHEL10",
            name => panic!("which release of pykickstart is {name}?"),
        };
        let file = write(&folder, "ks.cfg", &with_storage(&answer.files["ks.cfg"].text));
        passes(validators::ksvalidator(release, &file).unwrap(), os.name);
    }
    let file = write(&folder, "broken.cfg", "part / --size=much\n");
    assert!(
        !validators::ksvalidator("RHEL9", &file)
            .unwrap()
            .status()
            .unwrap()
            .success()
    );
}

/// The file as Anaconda reads it after the script in it has run: with the commands that name disks.
fn with_storage(text: &str) -> String {
    let (_, rest) = text.split_once("cat >/tmp/gleaner-storage.ks <<END\n").unwrap();
    let (commands, _) = rest.split_once("\nEND\n").unwrap();
    let commands = commands.replace("$DISK1", "sda").replace("$DISK2", "sdb");
    text.replace("%include /tmp/gleaner-storage.ks", &commands)
}

#[test]
fn cloud_init_takes_every_seed() {
    let folder = Folder::new().unwrap();
    for (os, _, answer) in answers(Family::Cloud) {
        for name in ["user-data", "vendor-data"] {
            let file = write(&folder, name, &answer.files[name].text);
            passes(validators::cloud_init(&file).unwrap(), os.name);
        }
        let network = &answer.files["network-config"].text;
        passes_netplan(network, os.name);
        let renderer = match os.packages {
            Packages::Apt => continue,
            Packages::Dnf => ("fedora", "network-manager"),
            Packages::Zypper => ("opensuse", "sysconfig"),
        };
        passes_cloud_inits_own(network, renderer, os.name);
    }
    let file = write(&folder, "broken", "#cloud-config\nusers: 7\n");
    assert!(
        !validators::cloud_init(&file)
            .unwrap()
            .output()
            .unwrap()
            .status
            .success()
    );
}

#[test]
fn what_an_autoinstall_file_holds_of_others_is_right() {
    let folder = Folder::new().unwrap();
    for (os, _, answer) in answers(Family::Ubuntu) {
        let read: Value = serde_saphyr::from_str(&answer.files["user-data"].text).unwrap();
        let autoinstall = &read["autoinstall"];
        assert_eq!(autoinstall["version"], 1);
        let inner = format!("#cloud-config\n{}\n", autoinstall["user-data"]);
        let file = write(&folder, "user-data", &inner);
        passes(validators::cloud_init(&file).unwrap(), os.name);
        passes_netplan(
            &serde_json::json!({ "network": autoinstall["network"] }).to_string(),
            os.name,
        );
    }
}

/// Where it is not netplan's, cloud-init makes a network of it by the names that devices have.
fn passes_cloud_inits_own(text: &str, (distro, renderer): (&str, &str), about: &str) {
    let root = Folder::new().unwrap();
    let file = write(&root, "network-config", text);
    let made = root.path().join("made");
    passes(
        validators::cloud_init_network(&file, &made, distro, renderer).unwrap(),
        about,
    );
    let folder = match renderer {
        "sysconfig" => "etc/sysconfig/network",
        _ => "etc/NetworkManager/system-connections",
    };
    let files = std::fs::read_dir(made.join(folder)).unwrap();
    let names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| name.contains("lan0")), "{about}: {names:?}");
}

fn passes_netplan(text: &str, about: &str) {
    let root = Folder::new().unwrap();
    std::fs::create_dir_all(root.path().join("etc/netplan")).unwrap();
    write(&root, "etc/netplan/gleaner.yaml", text);
    passes(validators::netplan(root.path()).unwrap(), about);
    assert!(
        root.path().join("run/systemd/network").exists(),
        "netplan made nothing for {about}"
    );
}

#[test]
fn every_autoyast_profile_is_xml() {
    let folder = Folder::new().unwrap();
    for (os, _, answer) in answers(Family::AutoYast) {
        let file = write(&folder, "autoinst.xml", &answer.files["autoinst.xml"].text);
        passes(validators::xmllint(&file).unwrap(), os.name);
    }
}

#[test]
fn every_script_is_read_by_the_shell_of_its_installer() {
    let folder = Folder::new().unwrap();
    let busybox = tests::peer::busybox().unwrap();
    for family in Family::ALL {
        for (os, _, answer) in answers(family) {
            for (name, script) in scripts(&answer) {
                let path = write(&folder, &name, &script);
                let mut command = busybox.command();
                command.args(["sh", "-n"]).arg(&path);
                passes(command, os.name);
                let mut command = Command::new("bash");
                command.arg("-n").arg(&path);
                passes(command, os.name);
            }
        }
    }
}

/// Every script of a machine, by its file or its place in one.
fn scripts(answer: &Answer) -> Vec<(String, String)> {
    let files = answer.files.iter();
    let mut scripts: Vec<(String, String)> = files
        .filter(|(_, file)| file.content_type == "text/x-shellscript")
        .map(|(name, file)| ((*name).to_owned(), file.text.clone()))
        .collect();
    if let Some(seed) = answer.files.get("user-data") {
        let seed: Value = serde_saphyr::from_str(&seed.text).unwrap();
        let files = seed["write_files"].as_array().map_or(0, Vec::len);
        let files = (0..files).map(|number| format!("/write_files/{number}/content"));
        for place in files.chain(["/bootcmd/0/2".into(), "/runcmd/0/2".into()]) {
            let script = seed.pointer(&place).and_then(Value::as_str);
            scripts.extend(script.map(|script| (place.replace('/', "-"), script.to_owned())));
        }
    }
    scripts
}
