// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use provisioner_api::Life;

use super::*;
use crate::app::tests::Lab;

const MAC: &str = "52:54:00:00:00:01";
const CONFIG: &str = "[profiles.compute]\nimage = \"debian-13\"\n\
    [profiles.net]\ninstaller = \"debian-12\"\nssh_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIClSxHYMguscWwtH7SZ2IlHMP/RDdQXQrvaXLqnEhmLg root\"]\n\
    [profiles.net.system]\nmirror = \"http://deb.example.org/debian\"\n";

fn trial(node: Option<&str>, profile: Option<&str>) -> TemplateTrial {
    TemplateTrial {
        node: node.map(str::to_owned),
        profile: profile.map(str::to_owned),
        overrides: None,
    }
}

fn refused(answer: Result<TemplateAnswer, AppError>) -> String {
    answer.unwrap_err().to_string()
}

/// The built-in late script of Debian with a line more.
fn with(line: &str) -> BTreeMap<String, String> {
    let file = "debian/late.sh";
    let text = Templates::paths()[file].clone() + line + "\n";
    [(file.to_owned(), text)].into()
}

#[test]
fn a_machine_is_shown_what_it_would_get_before_it_is_approved() {
    let lab = Lab::new(CONFIG);
    let who = lab.register("key", MAC, "b1", Life::Ram, 1);
    let name = lab.app.find(&who.node).unwrap().name.clone();
    let got = lab.app.render_templates(&trial(Some(&name), Some("net"))).unwrap();
    assert_eq!(
        (got.machine.as_str(), got.profile.as_str(), got.os.as_str()),
        (name.as_str(), "net", "debian-12")
    );
    assert!(
        got.arguments.contains(&format!("hostname={name}")),
        "{:?}",
        got.arguments
    );
    assert!(got.files["preseed.cfg"].contains("deb.example.org"));
    let made_up = lab.app.render_templates(&trial(None, Some("net"))).unwrap();
    assert!(made_up.arguments.contains(&format!("hostname={ANY}")));
    assert!(refused(lab.app.render_templates(&trial(Some(&name), None))).contains("writes an image"));
    assert!(refused(lab.app.render_templates(&trial(Some(&name), Some("none")))).contains("there is no profile none"));
    assert!(refused(lab.app.render_templates(&trial(Some("nobody"), Some("net")))).contains("nobody"));
}

#[test]
fn nothing_that_is_secret_is_shown() {
    let lab = Lab::new(CONFIG);
    let got = lab.app.render_templates(&trial(None, Some("net"))).unwrap();
    let all = got.files.values().cloned().collect::<String>() + &got.arguments.join(" ");
    assert!(
        !all.contains("IClSxHYMguscWwtH7SZ2"),
        "what is in a private file is shown"
    );
    // The join secret is in a private file.
    assert!(!all.contains(JOIN));
    assert!(all.contains(TOKEN));
}

#[test]
fn a_diff_shows_what_the_site_changes_and_nothing_else() {
    let lab = Lab::new(CONFIG);
    let none = lab.app.diff_templates(&trial(None, Some("net"))).unwrap();
    assert_eq!(none.files, BTreeMap::new());
    let with_a_line = TemplateTrial {
        overrides: Some(with("echo of the site for {{ spec.hostname }}")),
        ..trial(None, Some("net"))
    };
    let changes = lab.app.diff_templates(&with_a_line).unwrap().files;
    assert_eq!(changes.keys().collect::<Vec<_>>(), ["late.sh"]);
    assert!(
        changes["late.sh"].contains(&format!("+echo of the site for {ANY}\n")),
        "{}",
        changes["late.sh"]
    );
    let broken = TemplateTrial {
        overrides: Some(with("echo {{ spec.hotsname }}")),
        ..trial(None, Some("net"))
    };
    let lines = Templates::paths()["debian/late.sh"].lines().count();
    let why = refused(lab.app.diff_templates(&broken));
    assert!(
        why.contains(&format!("debian/late.sh:{}: undefined value", lines + 1)),
        "{why}"
    );
}

#[test]
fn templates_are_read_again_when_the_server_is_told_to() {
    let lab = Lab::new(CONFIG);
    let folder = lab.app.templates.folder().to_owned();
    std::fs::create_dir_all(folder.join("debian")).unwrap();
    let write = |line: &str| {
        let (file, text) = with(line).pop_first().unwrap();
        std::fs::write(folder.join(file), text).unwrap();
        lab.app.reload_templates(1);
    };
    let late = || lab.app.render_templates(&trial(None, Some("net"))).unwrap().files["late.sh"].clone();
    write("echo one");
    assert!(late().contains("echo one"));
    let list = lab.app.list_templates();
    let own: Vec<_> = list.templates.iter().filter(|template| template.site).collect();
    assert_eq!((own.len(), own[0].path.as_str()), (1, "debian/late.sh"));
    write("echo {{ nobody }}");
    assert!(late().contains("echo one"), "the set from before stays");
    assert!(lab.app.list_templates().refused[0].starts_with("debian/late.sh:"));
    assert!(
        lab.app
            .status(2)
            .warnings
            .iter()
            .any(|warning| warning.contains("stay in force"))
    );
    let events = lab.app.events(None, None, 10).unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds[kinds.len() - 2..], ["templates-loaded", "templates-refused"]);
}
