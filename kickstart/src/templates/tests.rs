// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use super::*;
use crate::spec::Checked;

fn overrides(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect()
}

fn refused(files: &[(&str, &str)]) -> Vec<String> {
    Templates::with_overrides(&overrides(files))
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn plain() -> Checked {
    samples::plain().unwrap().check().unwrap()
}

#[test]
fn the_built_in_templates_render_for_every_family() {
    let set = Templates::built_in().unwrap();
    assert_eq!(set.try_out(), []);
    for os in families::all() {
        let answer = crate::render(&set, os, &plain(), &samples::site()).unwrap();
        assert!(!answer.files.is_empty());
    }
}

#[test]
fn what_no_machine_asks_for_is_not_compiled() {
    let late = Templates::paths()["debian/late.sh"].clone() + "echo own\n";
    let own = Templates::with_overrides(&overrides(&[("debian/late.sh", &late)])).unwrap();
    for set in [Templates::built_in().unwrap(), own] {
        let compiled = |set: &Templates| -> Vec<String> {
            let all = set.environment.templates();
            all.map(|(path, _)| path.to_owned()).collect()
        };
        assert!(compiled(&set).is_empty());
        let debian = families::named("debian-13").unwrap();
        crate::render(&set, debian, &plain(), &samples::site()).unwrap();
        let ours = |path: &String| path.starts_with("debian/") || path.starts_with("common/");
        assert!(compiled(&set).iter().all(ours) && !compiled(&set).is_empty());
    }
}

#[test]
fn a_section_of_anacondas_that_does_not_end_is_told() {
    let text = Templates::paths()["redhat/answers.ks"].clone();
    for (broken, why) in [
        (text.replacen("%end", "", 1), "%packages has no %end before %pre"),
        (
            text.trim_end().trim_end_matches("%end").to_owned(),
            "%onerror has no %end",
        ),
        (format!("%end\n{text}"), "an %end ends nothing"),
    ] {
        let wrong = Templates::with_overrides(&overrides(&[("redhat/answers.ks", &broken)])).unwrap_err();
        assert!(wrong[0].why.ends_with(why), "{wrong:?}");
    }
}

#[test]
fn an_override_takes_the_place_of_a_template_and_shows_what_it_changes() {
    let built_in = Templates::built_in().unwrap();
    let text = Templates::paths()["redhat/answers.ks"].replace("selinux --enforcing", "selinux --permissive");
    let site = Templates::with_overrides(&overrides(&[("redhat/answers.ks", &text)])).unwrap();
    assert_eq!(site.overridden(), ["redhat/answers.ks"]);
    let rocky = families::named("rocky-9").unwrap();
    let changes = crate::diff((&built_in, &site), rocky, &plain(), &samples::site()).unwrap();
    assert_eq!(changes.keys().copied().collect::<Vec<_>>(), ["ks.cfg"]);
    assert!(
        changes["ks.cfg"].contains("-selinux --enforcing\n+selinux --permissive\n"),
        "{}",
        changes["ks.cfg"]
    );
    let debian = families::named("debian-13").unwrap();
    assert!(
        crate::diff((&built_in, &site), debian, &plain(), &samples::site())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_override_may_bring_files_of_its_own() {
    let late = Templates::paths()["debian/target.sh"].clone() + "{% include \"debian/site.sh\" %}\n";
    let set = overrides(&[
        ("debian/target.sh", &late),
        ("debian/site.sh", "echo {{ spec.hostname }}\n"),
    ]);
    assert!(Templates::with_overrides(&set).is_ok());
}

#[test]
fn a_broken_override_is_refused_with_file_line_and_reason() {
    let said = refused(&[("debian/late.sh", "#!/bin/sh\necho {{ spec.hotsname }}\n")]);
    assert_eq!(
        said,
        ["debian/late.sh:2: undefined value: `spec.hotsname` is undefined"]
    );
    let said = refused(&[("common/swap.sh", "\n\n{{ nobody }}\n")]);
    assert_eq!(
        said,
        ["common/swap.sh:3: undefined value: `nobody` is undefined"],
        "others include it"
    );
    let said = refused(&[("debian/late.sh", "{% if x %}\n")]);
    assert!(said[0].starts_with("debian/late.sh:1: syntax error"), "{said:?}");
    let said = refused(&[(
        "debian/late.sh",
        "{% autoescape false %}{{ spec.hostname }}{% endautoescape %}",
    )]);
    assert!(said[0].contains("debian/late.sh:1"), "{said:?}");
    let said = refused(&[("debian/late.sh", "{{ spec.hostname | safe }}")]);
    assert!(said[0].contains("unknown filter"), "{said:?}");
    let said = refused(&[("debian/lat.sh", "x")]);
    assert!(said[0].contains("no built-in template of this name"), "{said:?}");
    let said = refused(&[("debian/late", "x")]);
    assert!(said[0].contains("says no kind of file"), "{said:?}");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let said = refused(&[
        ("debian/late.sh", "{% if x %}\n"),
        ("debian/early.sh", "{{ a b }}"),
        ("debian/lat.sh", "x"),
    ]);
    let files: Vec<&str> = said.iter().map(|said| said.split(':').next().unwrap()).collect();
    assert_eq!(files, ["debian/lat.sh", "debian/early.sh", "debian/late.sh"]);
}

#[test]
fn an_override_that_cannot_be_read_by_its_installer_is_refused() {
    for (path, text) in [
        ("ubuntu/user-data.yaml", "#cloud-config\na: 1\n b: 2\n"),
        ("agama/profile.json", "{ \"a\": 1, }"),
        ("autoyast/profile.xml", "<profile><a></profile>"),
        ("debian/preseed.preseed", "d-i partman/confirm yes\n"),
    ] {
        let said = refused(&[(path, text)]);
        assert!(
            said[0].starts_with(&format!("{path}:0: what it makes cannot be read: ")),
            "{said:?}"
        );
    }
}

#[test]
fn an_override_that_never_ends_is_refused() {
    let said = refused(&[(
        "debian/late.sh",
        "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
    )]);
    assert!(said[0].contains("out of fuel"), "{said:?}");
    let said = refused(&[("debian/late.sh", "{% include \"debian/late.sh\" %}")]);
    assert!(said[0].starts_with("debian/late.sh:1"), "{said:?}");
}

#[test]
fn a_shell_command_in_a_preseed_line_must_be_quoted() {
    let text = Templates::paths()["debian/preseed.preseed"].clone()
        + "d-i preseed/run string echo {{ spec.label or spec.hostname }}\n";
    let said = refused(&[("debian/preseed.preseed", &text)]);
    assert!(said[0].contains("| sh"), "{said:?}");
}
