// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn long(text: &str) -> String {
    text.repeat(10_000 / text.len())
}

/// What nobody should be able to put anywhere.
fn hostile() -> Vec<String> {
    let short = [
        "",
        " ",
        "\n",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\u{85}b",
        "a\u{2028}b",
        "\x1b[2J",
        " a",
        "a ",
    ];
    short
        .iter()
        .map(|text| (*text).to_owned())
        .chain([long("a"), long("a ")])
        .collect()
}

#[test]
fn what_ends_a_line_or_fills_the_memory_is_no_word() {
    for text in hostile() {
        assert!(HostName::new(&text).is_err(), "{text:?}");
        assert!(Line::new(&text).is_err(), "{text:?}");
        assert!(Command::new(&text).is_err(), "{text:?}");
        assert!(Serial::new(&text).is_err(), "{text:?}");
        assert!(
            Url::new(format!("http://a/{text}")).is_err() || text.is_empty(),
            "{text:?}"
        );
        assert!(FilePath::new(format!("/{text}")).is_err(), "{text:?}");
        assert!(UserName::new(&text).is_err(), "{text:?}");
        assert!(PackageName::new(&text).is_err(), "{text:?}");
        assert!(KernelArgument::new(&text).is_err(), "{text:?}");
        assert!(TimeZone::new(&text).is_err(), "{text:?}");
        assert!(Locale::new(&text).is_err(), "{text:?}");
        assert!(Name::new(&text).is_err(), "{text:?}");
        assert!(Host::new(&text).is_err(), "{text:?}");
    }
}

#[test]
fn what_is_right_is_taken() {
    for text in ["node-01", "n", "3com"] {
        HostName::new(text).unwrap();
    }
    for text in [
        "http://10.77.0.1:8080/install/ab12/",
        "https://mirror.lab/debian",
        "http://a",
    ] {
        Url::new(text).unwrap();
    }
    for text in ["en_US.UTF-8", "C.UTF-8", "de_DE.UTF-8", "eo.UTF-8"] {
        Locale::new(text).unwrap();
    }
    for text in ["Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+3"] {
        TimeZone::new(text).unwrap();
    }
    for text in [
        "console=ttyS0,115200",
        "mitigations=off",
        "intel_iommu=on",
        "zswap.enabled=1",
    ] {
        KernelArgument::new(text).unwrap();
    }
    Serial::new("WD-WCC4N 0123").unwrap();
    Line::new("a gift of O'Reilly & \"Söhne\" {{ 7*7 }} ${HOME} <b>").unwrap();
}

#[test]
fn what_is_wrong_is_refused_with_what_would_be_right() {
    let error = HostName::new("Node_1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"Node_1\" is not a host name: 1 to 63 lower-case letters, digits and dashes, no dash first or last"
    );
    for text in [
        "ftp://a/",
        "http://",
        "http://a:0/",
        "http://u:p@a/",
        "http://a/?q",
        "http://a/'",
        "http://a:99999/",
    ] {
        assert!(Url::new(text).is_err(), "{text}");
    }
    for text in [
        "00:00:00:00:00:00",
        "01:00:5e:00:00:01",
        "52:54:00:77:00",
        "52-54-00-77-00-01",
        "52:54:00:77:00:+1",
    ] {
        assert!(Mac::new(text).is_err(), "{text}");
    }
    for text in ["a", "/", "/a/../b", "/a//b", "/a b", "/./a"] {
        assert!(FilePath::new(text).is_err(), "{text}");
    }
    for text in ["root", "1a", "-a", "Anna"] {
        assert!(UserName::new(text).is_err(), "{text}");
    }
    for text in ["en_US", "en_US.ISO-8859-1", "english.UTF-8"] {
        assert!(Locale::new(text).is_err(), "{text}");
    }
    for text in ["lan0", "eth0", "bond0", "br_0"] {
        assert!(DeviceName::new(text).is_err(), "{text}");
    }
}

#[test]
fn a_url_is_taken_apart() {
    let url = Url::new("https://mirror.lab:8443/debian/x").unwrap();
    assert_eq!(
        (url.scheme(), url.host(), url.port(), url.path()),
        ("https", "mirror.lab", 8443, "/debian/x")
    );
    let url = Url::new("http://10.0.0.1").unwrap();
    assert_eq!(
        (url.scheme(), url.host(), url.port(), url.path()),
        ("http", "10.0.0.1", 80, "/")
    );
}

proptest! {
    #[test]
    fn no_word_holds_a_control_character(text in any::<String>()) {
        prop_assert!(!Line::new(&text).is_ok_and(|word| word.as_str().chars().any(char::is_control)));
        prop_assert!(!Command::new(&text).is_ok_and(|word| word.as_str().chars().any(char::is_control)));
        let url = Url::new(format!("http://a/{text}"));
        prop_assert!(!url.is_ok_and(|url| !url.as_str().bytes().all(|byte| byte.is_ascii_graphic())));
    }

    #[test]
    fn a_word_is_the_same_after_writing_and_reading(text in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?") {
        let word = HostName::new(&text).unwrap();
        let read: HostName = serde_json::from_str(&serde_json::to_string(&word).unwrap()).unwrap();
        prop_assert_eq!(word, read);
    }
}
