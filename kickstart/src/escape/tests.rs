// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use std::io::Write;

use minijinja::value::Value;
use proptest::prelude::*;

use super::*;
use crate::samples::NASTY;

fn written(kind: Kind, text: &str) -> Result<String, String> {
    escaped(kind, &Value::from(text))
}

#[test]
fn a_line_end_is_refused_wherever_a_line_is_a_command() {
    for kind in [Kind::Preseed, Kind::Sh, Kind::Ks, Kind::Ini] {
        for text in ["a\nb", "a\rb", "a\0b", "\x1b"] {
            assert!(written(kind, text).is_err(), "{kind:?} {text:?}");
        }
    }
}

#[test]
fn a_preseed_value_that_nobody_filtered_is_plain_or_an_error() {
    assert_eq!(written(Kind::Preseed, "http://a:80/x").unwrap(), "http://a:80/x");
    for text in [NASTY, "a b", "$(id)", "a;b", "a\\"] {
        assert!(written(Kind::Preseed, text).unwrap_err().contains("| sh"), "{text}");
    }
    let quoted = filters::sh(&Value::from(NASTY)).unwrap();
    assert!(escaped(Kind::Preseed, &quoted).unwrap().starts_with('\''));
    assert!(filters::preseed(&Value::from("a\\")).is_err());
}

#[test]
fn nothing_and_lists_are_no_text() {
    for kind in [Kind::Preseed, Kind::Sh, Kind::Ks, Kind::Xml, Kind::Ini] {
        assert!(escaped(kind, &Value::from(())).is_err());
        assert!(escaped(kind, &Value::from(vec![1, 2])).is_err());
    }
    assert_eq!(
        escaped(Kind::Yaml, &Value::from(vec!["a", "b"])).unwrap(),
        r#"["a","b"]"#
    );
    assert!(escaped(Kind::Json, &Value::UNDEFINED).is_err());
}

#[test]
fn a_list_of_words_has_no_blank_in_a_word() {
    assert_eq!(filters::words(&Value::from(vec!["a", "b=c"])).unwrap(), "a b=c");
    assert!(filters::words(&Value::from(vec!["a b"])).is_err());
    assert!(filters::words(&Value::from(vec![""])).is_err());
}

#[test]
fn a_real_shell_reads_back_what_was_written() {
    let texts = [NASTY, "", "-n", "'", "''", "\\", "a'b'c", "~", "*", "!", "é😀"];
    let script = texts
        .map(|text| format!("printf '%s\\n' {}\n", written(Kind::Sh, text).unwrap()))
        .concat();
    let mut sh = std::process::Command::new("sh")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    sh.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let said = String::from_utf8(sh.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(said.lines().collect::<Vec<_>>(), texts);
}

proptest! {
    #[test]
    fn yaml_and_json_read_back_what_was_written(text in any::<String>()) {
        let json = written(Kind::Json, &text).unwrap();
        prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &text);
        prop_assert!(!json.contains('\n'));
        let yaml = format!("a: {}\nb: 1\n", written(Kind::Yaml, &text).unwrap());
        let read: std::collections::BTreeMap<String, serde_json::Value> = serde_saphyr::from_str(&yaml).unwrap();
        prop_assert_eq!(read.len(), 2);
        prop_assert_eq!(read["a"].as_str(), Some(text.as_str()));
    }

    #[test]
    fn xml_reads_back_what_was_written_or_refuses_it(text in any::<String>()) {
        if let Ok(written) = written(Kind::Xml, &text) {
            let document = format!("<a b=\"{written}\">{written}</a>");
            let document = roxmltree::Document::parse(&document).unwrap();
            prop_assert_eq!(document.root_element().text().unwrap_or_default(), &text);
            prop_assert_eq!(document.root_element().children().filter(roxmltree::Node::is_element).count(), 0);
        }
    }
}
