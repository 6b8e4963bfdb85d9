// SPDX-License-Identifier: Apache-2.0
//! What holds for every specification: it renders or is refused by its fields, and no value of it leaves its place.
//!
//! A file is taken apart again as its reader does it. Of two specifications that differ in one value, all parts are
//! the same but those that hold the value.
#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use crate::escape::Kind;
use crate::samples;
use crate::spec::{Address, BondMode, Checked, DiskRule, Firmware, Layout, Spec, Swap, Uplink};
use crate::words::{Command, Contents, DeviceName, FilePath, FullName, Line, Mac, Serial};
use crate::{Refused, Templates, families, render};

/// What stands where a nasty value will stand.
const TAME: &str = "tame";

/// Pieces that some reader takes for something else.
const PIECES: [&str; 28] = [
    "'",
    "\"",
    "\\",
    "{{ spec }}",
    "{% endif %}",
    "{# x",
    "}}",
    "$(id)",
    "`id`",
    "${HOME}",
    ";",
    "&&",
    "|",
    "#",
    "<e>",
    "</source>",
    "]]>",
    "&amp;",
    "%end",
    "%include /etc/passwd",
    "END",
    "EOF",
    ": ",
    "- ",
    "é",
    "😀",
    "\u{200b}",
    " ",
];

fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(&PIECES[..]).prop_map(str::to_owned),
        "[ -~]{1,3}",
        any::<String>()
    ];
    prop::collection::vec(piece, 1..6)
        .prop_map(|pieces| pieces.concat().trim().to_owned())
        .prop_filter("fits its type", |text| Line::new(text).is_ok())
}

/// The words of a shell script, without their quotes; line ends are words too.
fn shell_words(script: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => {
                words.extend(word.take());
                if c == '\n' {
                    words.push("\n".into());
                }
            }
            '#' if word.is_none() => {
                while chars.peek().is_some_and(|next| *next != '\n') {
                    chars.next();
                }
            }
            '\'' => word
                .get_or_insert_default()
                .extend(chars.by_ref().take_while(|c| *c != '\'')),
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => word.extend(chars.next()),
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Every smallest part of a file, with its place.
fn parts(template: &str, text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    match Kind::of(template).unwrap() {
        Kind::Yaml => tree("", &serde_saphyr::from_str(text).unwrap(), &mut parts),
        Kind::Json => tree("", &serde_json::from_str(text).unwrap(), &mut parts),
        Kind::Xml => {
            let options = roxmltree::ParsingOptions {
                allow_dtd: true,
                ..roxmltree::ParsingOptions::default()
            };
            let document = roxmltree::Document::parse_with_options(text, options).unwrap();
            for node in document.descendants() {
                parts.push(format!("<{}>", node.tag_name().name()));
                leaf(
                    "",
                    node.text().filter(|_| node.is_text()).unwrap_or_default(),
                    &mut parts,
                );
            }
        }
        Kind::Sh | Kind::Ks | Kind::Preseed | Kind::Ini => parts.extend(shell_words(text)),
    }
    parts
}

fn tree(place: &str, value: &serde_json::Value, parts: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| tree(&format!("{place}.{key}"), value, parts)),
        serde_json::Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(i, value)| tree(&format!("{place}[{i}]"), value, parts)),
        serde_json::Value::String(text) => leaf(place, text, parts),
        other => parts.push(format!("{place} {other}")),
    }
}

/// What has several lines is a script.
fn leaf(place: &str, text: &str, parts: &mut Vec<String>) {
    if text.contains('\n') {
        parts.extend(shell_words(text));
    } else {
        parts.push(format!("{place} {text}"));
    }
}

/// A part with the tame value changed into the other, also inside base64.
fn changed(part: &str, value: &str) -> String {
    match BASE64_STANDARD.decode(part).map(String::from_utf8) {
        Ok(Ok(text)) if text.contains(TAME) => BASE64_STANDARD.encode(text.replace(TAME, value)),
        _ => part.replace(TAME, value),
    }
}

/// Every file of every family that takes it, by its template.
fn files(templates: &Templates, spec: &Checked) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for os in families::all() {
        match render(templates, os, spec, &samples::site()) {
            Ok(answer) => files.extend(
                os.family
                    .definition()
                    .files
                    .iter()
                    .map(|file| (file.template.to_owned(), answer.files[file.name].text.clone())),
            ),
            Err(Refused::Unsupported(fields)) => assert!(fields.iter().all(|field| !field.field.is_empty())),
            Err(Refused::Template(broken)) => panic!("{broken}"),
        }
    }
    files
}

/// A specification with one value wherever free text can be.
fn with_text(text: &str) -> Checked {
    let mut spec = samples::full().unwrap();
    spec.storage.layout = Layout::Whole;
    spec.label = Some(Line::new(text).unwrap());
    spec.users[0].full_name = Some(FullName::new(text.replace([':', ','], "")).unwrap_or(FullName::new("x").unwrap()));
    spec.early_commands = vec![Command::new(text).unwrap()];
    spec.late_commands = vec![Command::new(text).unwrap()];
    spec.role.files[0].contents = Contents::new(text).unwrap();
    if let Ok(serial) = Serial::new(text) {
        spec.storage.disk = DiskRule::Serial(serial);
    }
    spec.check().unwrap()
}

fn any_spec() -> impl Strategy<Value = Spec> {
    let layout = prop_oneof![
        Just(Layout::Whole),
        Just(Layout::Lvm),
        (8_u32..500).prop_map(|gb| Layout::Raid1 {
            second: DiskRule::SmallestAbove(gb)
        }),
        (0_u32..40).prop_map(|root_gb| Layout::DataPartition {
            root_gb,
            mount: FilePath::new("/srv").unwrap()
        }),
        (0_u32..40).prop_map(|gb| Layout::DataDisk {
            disk: DiskRule::SmallestAbove(gb),
            mount: FilePath::new("/data").unwrap()
        }),
    ];
    let swap = prop_oneof![
        Just(Swap::None),
        (0_u32..300).prop_map(Swap::Plain),
        (0_u32..300).prop_map(Swap::Encrypted)
    ];
    let cards = prop::collection::vec("5[2]:54:00:77:00:0[1-9]", 0..4);
    let modes = prop::sample::select(vec![BondMode::ActiveBackup, BondMode::Lacp, BondMode::BalanceAlb]);
    let network = (
        cards,
        modes,
        prop::option::of(0_u16..4200),
        any::<bool>(),
        any::<[u8; 9]>(),
    );
    (0..5_usize, layout, swap, any::<bool>(), network).prop_map(
        |(sample, layout, swap, bios, (cards, mode, vlan, bridge, ip))| {
            let mut spec = samples::all()[sample].spec().clone();
            spec.storage.layout = layout;
            spec.storage.swap = swap;
            spec.firmware = if bios { Firmware::Bios } else { Firmware::Uefi };
            let cards: Vec<Mac> = cards.into_iter().map(|mac| Mac::new(mac).unwrap()).collect();
            spec.network.uplink = match cards.as_slice() {
                [card] => Uplink::Card(card.clone()),
                _ => Uplink::Bond { cards, mode },
            };
            spec.network.vlan = vlan;
            spec.network.bridge = bridge.then(|| DeviceName::new("guests").unwrap());
            if ip[8] & 1 == 1 {
                spec.network.address = Address::Static {
                    address: [ip[0], ip[1], ip[2], ip[3]].into(),
                    prefix: ip[8] % 34,
                    gateway: (ip[8] & 2 == 0).then(|| [ip[0], ip[1], ip[2], ip[7]].into()),
                    dns: Vec::new(),
                    search: Vec::new(),
                };
            }
            spec
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_right_renders_for_every_family_or_is_refused_by_its_field(spec in any_spec()) {
        let templates = Templates::built_in().unwrap();
        match spec.check() {
            Ok(checked) => prop_assert!(!files(&templates, &checked).is_empty()),
            Err(invalid) => prop_assert!(invalid.iter().all(|wrong| !wrong.field.is_empty() && !wrong.why.is_empty())),
        }
    }

    #[test]
    fn a_value_changes_nothing_but_itself(text in nasty()) {
        let templates = Templates::built_in().unwrap();
        let serial = Serial::new(&text).is_ok();
        let tame = if serial { with_text(TAME) } else {
            let mut spec = with_text(TAME).spec().clone();
            spec.storage.disk = samples::full().unwrap().storage.disk;
            spec.check().unwrap()
        };
        let full_name = FullName::new(text.replace([':', ','], "")).map_or("x".to_owned(), |name| name.to_string());
        for ((template, before), (_, after)) in files(&templates, &tame).iter().zip(files(&templates, &with_text(&text))) {
            let expected: Vec<String> = parts(template, before).iter().map(|part| {
                changed(part, if part.starts_with("--comment=") { &full_name } else { &text })
            }).collect();
            prop_assert_eq!(expected, parts(template, &after), "{}", template);
        }
    }
}

#[test]
fn a_shell_reads_every_script() {
    use std::io::Write;
    let templates = Templates::built_in().unwrap();
    for spec in samples::all() {
        for (template, text) in files(&templates, &spec) {
            if Kind::of(&template) == Some(Kind::Sh) {
                let mut sh = std::process::Command::new("sh")
                    .arg("-n")
                    .stdin(std::process::Stdio::piped())
                    .spawn()
                    .unwrap();
                sh.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
                assert!(sh.wait().unwrap().success(), "{template}:\n{text}");
            }
        }
    }
}
