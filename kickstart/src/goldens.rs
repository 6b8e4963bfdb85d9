// SPDX-License-Identifier: Apache-2.0
//! One golden a behaviour: `testdata/succeeds` holds answer files, `testdata/fails` what is refused, and how.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::PathBuf;

use expect_test::expect_file;
use serde_json::{Value, json};

use crate::samples;
use crate::spec::{Checked, Spec};
use crate::words::{BadWord, Url};
use crate::{Refused, Templates, families, render};

type Sample = fn() -> Result<Spec, BadWord>;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/testdata")
        .join(name)
}

fn checked(sample: Sample) -> Checked {
    sample().unwrap().check().unwrap()
}

/// The full sample with sources of Debian packages.
fn full_deb() -> Result<Spec, BadWord> {
    let deb = samples::mirror()?;
    Ok(Spec {
        repositories: deb.repositories,
        security: deb.security,
        ..samples::full()?
    })
}

/// What a ready-made image can become.
fn full_cloud() -> Result<Spec, BadWord> {
    Ok(Spec {
        storage: samples::plain()?.storage,
        kernel_arguments: Vec::new(),
        ..full_deb()?
    })
}

#[test]
fn what_a_machine_is_given() {
    let goldens: [(&str, &str, Sample); 35] = [
        ("debian-12", "preseed.cfg", samples::plain),
        ("debian-12", "early.sh", full_deb),
        ("debian-12", "partman.sh", samples::plain),
        ("debian-12", "late.sh", samples::plain),
        ("debian-13", "preseed.cfg", full_deb),
        ("debian-13", "preseed.cfg", samples::mirror),
        ("debian-13", "preseed.cfg", samples::volumes),
        ("debian-13", "partman.sh", samples::mirror),
        ("debian-13", "partman.sh", full_deb),
        ("debian-13", "target.sh", samples::plain),
        ("debian-13", "target.sh", full_deb),
        ("debian-13", "target.sh", samples::mirror),
        ("debian-13", "target.sh", samples::data_disk),
        ("ubuntu-24.04", "user-data", samples::plain),
        ("ubuntu-24.04", "user-data", full_deb),
        ("ubuntu-24.04", "user-data", samples::mirror),
        ("ubuntu-24.04", "user-data", samples::volumes),
        ("ubuntu-24.04", "meta-data", samples::plain),
        ("ubuntu-24.04", "target.sh", full_deb),
        ("fedora-43", "ks.cfg", samples::plain),
        ("rocky-9", "ks.cfg", samples::full),
        ("rocky-9", "ks.cfg", samples::volumes),
        ("rocky-9", "ks.cfg", samples::data_disk),
        ("rocky-9", "target.sh", samples::full),
        ("opensuse-leap-15", "autoinst.xml", samples::plain),
        ("opensuse-leap-15", "autoinst.xml", samples::full),
        ("opensuse-leap-15", "autoinst.xml", samples::volumes),
        ("opensuse-leap-16", "profile.json", samples::plain),
        ("opensuse-leap-16", "profile.json", samples::full),
        ("opensuse-leap-16", "profile.json", samples::volumes),
        ("opensuse-leap-16", "target.sh", samples::full),
        ("cloud-debian", "user-data", full_cloud),
        ("cloud-debian", "network-config", full_cloud),
        ("cloud-fedora", "user-data", samples::plain),
        ("cloud-opensuse", "user-data", samples::plain),
    ];
    let names: [(Sample, &str); 6] = [
        (samples::plain, "plain"),
        (samples::full, "full"),
        (full_deb, "full"),
        (full_cloud, "full"),
        (samples::mirror, "mirror"),
        (samples::volumes, "volumes"),
    ];
    let templates = Templates::built_in().unwrap();
    for (os, file, sample) in goldens {
        let name = names
            .iter()
            .find(|(of, _)| std::ptr::fn_addr_eq(*of, sample))
            .map_or("data-disk", |(_, name)| name);
        let answer = render(
            &templates,
            families::named(os).unwrap(),
            &checked(sample),
            &samples::site(),
        )
        .unwrap();
        expect_file![golden(&format!("succeeds/{os}-{name}.{file}"))].assert_eq(&answer.files[file].text);
    }
}

#[test]
fn how_an_installer_is_told_where_its_answers_are() {
    let templates = Templates::built_in().unwrap();
    let mut told = String::new();
    for os in families::all() {
        let answer = render(&templates, os, &checked(samples::plain), &samples::site()).unwrap();
        let files: Vec<&str> = answer.files.keys().copied().collect();
        writeln!(told, "{}\n  files {}", os.name, files.join(" ")).unwrap();
        match answer.boot {
            Some(boot) => {
                writeln!(told, "  kernel {}\n  initrd {}", boot.kernel, boot.initrd).unwrap();
                writeln!(told, "  arguments {}", boot.arguments.join(" ")).unwrap();
            }
            None => told.push_str("  starts by itself\n"),
        }
    }
    expect_file![golden("succeeds/boot.txt")].assert_eq(&told);
}

/// `patch` over the plain sample (RFC 7396, as far as it is needed here).
fn patched(patch: &Value) -> Value {
    fn merge(into: &mut Value, patch: &Value) {
        match (into, patch) {
            (Value::Object(into), Value::Object(patch)) if patch.keys().any(|key| into.contains_key(key)) => {
                for (key, value) in patch {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (into, patch) => *into = patch.clone(),
        }
    }
    let mut spec = serde_json::to_value(samples::plain().unwrap()).unwrap();
    merge(&mut spec, patch);
    spec
}

fn refusal(patch: &Value) -> String {
    let spec = match Spec::read(patched(patch)) {
        Ok(spec) => spec,
        Err(invalid) => return invalid.to_string(),
    };
    let lines = |errors: Vec<String>| errors.join("\n");
    match spec.check() {
        Err(invalid) => lines(invalid.iter().map(ToString::to_string).collect()),
        Ok(checked) => lines(
            families::all()
                .flat_map(|os| crate::supports(os, &checked, &samples::site()))
                .map(|unsupported| unsupported.to_string())
                .collect(),
        ),
    }
}

#[test]
fn what_cannot_be_installed_is_refused_by_the_name_of_its_field() {
    let cases = [
        ("host-name", json!({ "hostname": "a\nb" })),
        ("unknown-field", json!({ "passwords": "x" })),
        ("disk-by-name", json!({ "storage": { "disk": { "name": "sda" } } })),
        (
            "disk-too-small",
            json!({ "storage": { "disk": { "smallest-above": 1 } } }),
        ),
        (
            "mirror-of-one-disk",
            json!({ "storage": {
            "disk": { "serial": "A" }, "layout": { "kind": "raid1", "second": { "serial": "A" } } } }),
        ),
        (
            "data-over-the-system",
            json!({ "storage": { "layout": { "kind": "data-partition", "root_gb": 10, "mount": "/usr" } } }),
        ),
        (
            "root-larger-than-disk",
            json!({ "storage": { "layout": { "kind": "data-partition", "root_gb": 20, "mount": "/srv" } } }),
        ),
        ("swap-of-nothing", json!({ "storage": { "swap": { "plain": 0 } } })),
        ("card-by-name", json!({ "network": { "uplink": { "card": "eth0" } } })),
        (
            "bond-of-one",
            json!({ "network": { "uplink": { "bond": { "cards": ["52:54:00:77:00:01"], "mode": "802.3ad" } } } }),
        ),
        ("vlan", json!({ "network": { "vlan": 4095 } })),
        (
            "gateway-elsewhere",
            json!({ "network": { "address": { "static": {
            "address": "10.0.0.5", "prefix": 24, "gateway": "10.0.1.1" } } } }),
        ),
        ("user-without-key", json!({ "users": [{ "name": "ada", "keys": [] }] })),
        ("user-root", json!({ "users": [{ "name": "root", "keys": [] }] })),
        (
            "file-twice",
            json!({ "role": { "files": [
            { "path": "/etc/a", "contents": "" }, { "path": "/etc/a", "contents": "" }] } }),
        ),
        (
            "layout-of-a-ready-image",
            json!({ "storage": { "layout": { "kind": "lvm" }, "swap": { "plain": 1 } } }),
        ),
        (
            "security-of-its-own",
            json!({ "security": "http://mirror.lab.example/security" }),
        ),
        ("kernel-of-a-ready-image", json!({ "kernel_arguments": ["quiet"] })),
        (
            "network-of-a-ready-image",
            json!({ "network": { "vlan": 5, "address": { "static": {
            "address": "10.0.0.5", "prefix": 24, "gateway": "10.0.0.1" } } } }),
        ),
        (
            "repository-main",
            json!({ "repositories": [{
            "name": "main", "url": "http://a/", "format": "rpm",
            "key": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----" }] }),
        ),
        (
            "packages-of-another-kind",
            json!({ "repositories": [{
            "name": "x", "url": "http://a/", "format": "rpm",
            "key": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----" }] }),
        ),
    ];
    for (name, patch) in cases {
        let said = refusal(&patch);
        assert!(!said.is_empty(), "{name} was not refused");
        expect_file![golden(&format!("fails/{name}.txt"))].assert_eq(&format!("{patch}\n{said}\n"));
    }
}

#[test]
fn an_installer_without_tls_is_not_sent_to_a_secure_url() {
    let mut site = samples::site();
    site.hooks.failure = Url::new("https://10.77.0.1/failure").unwrap();
    let debian = families::named("debian-13").unwrap();
    let Err(Refused::Unsupported(refused)) =
        render(&Templates::built_in().unwrap(), debian, &checked(samples::plain), &site)
    else {
        panic!("it was not refused");
    };
    assert_eq!(refused[0].field, "site.hooks.failure");
    assert!(
        render(
            &Templates::built_in().unwrap(),
            families::named("rocky-9").unwrap(),
            &checked(samples::plain),
            &site
        )
        .is_ok()
    );
}

#[test]
fn security_updates_are_where_a_distributions_own_mirrors_have_them() {
    let of = |os: &str, mirror: &str| {
        let url = families::named(os).unwrap().security_of(&Url::new(mirror).unwrap());
        url.map(|url| url.to_string())
    };
    let cases = [
        (
            "debian-13",
            "http://a.example/debian",
            Some("http://a.example/debian-security"),
        ),
        (
            "debian-12",
            "https://a.example:81/x/debian/",
            Some("https://a.example:81/x/debian-security"),
        ),
        (
            "debian-12",
            "http://a.example",
            Some("http://a.example/debian-security"),
        ),
        (
            "ubuntu-24.04",
            "http://a.example/ubuntu",
            Some("http://a.example/ubuntu"),
        ),
        ("rocky-9", "http://a.example/rocky", None),
    ];
    for (os, mirror, security) in cases {
        assert_eq!(of(os, mirror).as_deref(), security, "{os} {mirror}");
    }
}

#[test]
fn every_sample_is_right() {
    assert_eq!(samples::all().len(), 5);
}
