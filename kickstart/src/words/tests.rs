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
    for text in [
        "lan0", "eth0", "bond0", "br_0", "lo", "-", "", "wlan0", "virbr0", "vnet1", "all", "default",
    ] {
        assert!(DeviceName::new(text).is_err(), "{text}");
    }
}

#[test]
fn a_partition_is_no_disk_and_a_path_no_name() {
    ByPath::new("pci-0000:00:1f.2-ata-1").unwrap();
    for text in [
        "pci-0000:00:1f.2-ata-1-part1",
        "/dev/disk/by-path/pci-0000:00:1f.2-ata-1",
        "sda ",
    ] {
        assert!(ByPath::new(text).is_err(), "{text}");
    }
}

#[test]
fn a_zone_has_its_present_name() {
    for (given, present) in [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("US/Pacific", "America/Los_Angeles"),
        ("PST8PDT", "America/Los_Angeles"),
        ("GB", "Europe/London"),
        ("Asia/Calcutta", "Asia/Kolkata"),
        ("Europe/Kiev", "Europe/Kyiv"),
        ("America/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("Japan", "Asia/Tokyo"),
        // These are links in the database, too, and present names of their countries.
        ("Europe/Amsterdam", "Europe/Amsterdam"),
        ("Atlantic/Reykjavik", "Atlantic/Reykjavik"),
        ("UTC", "UTC"),
        ("utc", "UTC"),
        ("Etc/UTC", "Etc/UTC"),
        ("Zulu", "Etc/UTC"),
        ("Etc/GMT+3", "Etc/GMT+3"),
    ] {
        assert_eq!(TimeZone::new(given).unwrap().as_str(), present, "{given}");
    }
}

#[test]
fn every_zone_keeps_the_name_that_it_was_given_and_has_a_place_in_it() {
    for zone in icu_time::zone::iana::IanaParserExtended::new().iter_all() {
        let Ok(present) = TimeZone::new(zone.normalized) else {
            assert!(zone.canonical == "Etc/Unknown", "{} is refused", zone.normalized);
            continue;
        };
        assert_eq!(TimeZone::new(present.as_str()).as_ref(), Ok(&present));
        assert!(present.as_str().contains('/') || present.as_str() == "UTC", "{present}");
    }
}

#[test]
fn what_is_no_zone_is_refused_with_what_could_be_meant() {
    for (given, meant) in [
        ("Europe/Berln", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("America/NewYork", "America/New_York"),
    ] {
        let error = TimeZone::new(given).unwrap_err().to_string();
        assert!(error.contains(given) && error.contains(meant), "{error}");
    }
    for given in [
        "",
        "Mars/Base",
        "Europe",
        "../../etc/shadow",
        "Europe/Berlin ",
        "Etc/Unknown",
        "UTC\n",
        "+02:00",
    ] {
        assert!(TimeZone::new(given).is_err(), "{given:?}");
    }
}

/// Made by ssh-keygen; nobody has their private halves.
const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIClSxHYMguscWwtH7SZ2IlHMP/RDdQXQrvaXLqnEhmLg";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBACoVaD4fjjMlbGdK0PsZA+KQzN2Bg4XPQnrU9ebNw2Y2YI2CuzerwSKowwcVdqN5Ibs+26Yelp1KJnpYeo7dE8=";
const SK_ECDSA: &str = "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABBBACoVaD4fjjMlbGdK0PsZA+KQzN2Bg4XPQnrU9ebNw2Y2YI2CuzerwSKowwcVdqN5Ibs+26Yelp1KJnpYeo7dE8AAAAEc3NoOg==";
const SK_ED25519: &str = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIClSxHYMguscWwtH7SZ2IlHMP/RDdQXQrvaXLqnEhmLgAAAABHNzaDo=";

#[test]
fn a_key_is_a_line_that_openssh_reads_whatever_its_type_comment_and_options() {
    for key in [ED25519, ECDSA, SK_ECDSA, SK_ED25519] {
        for line in [
            key.to_owned(),
            format!("{key} a person's \"laptop\", häuslich"),
            format!(" {key} "),
            format!("restrict,from=\"192.0.2.0/24,!192.0.2.1\",command=\"say \\\"hello, you\\\" \" {key} ops"),
            format!("no-x11-forwarding,X11-forwarding {key}"),
        ] {
            assert_eq!(SshKey::new(&line).map(String::from), Ok(line.trim().to_owned()));
        }
    }
}

#[test]
fn a_line_that_sshd_would_pass_over_is_refused_with_why() {
    let refused = |line: &str| SshKey::new(line).unwrap_err();
    assert!(matches!(refused("hello world"), BadKey::Unknown(_)));
    assert!(matches!(refused(""), BadKey::Unknown(_)));
    assert!(matches!(refused("# of the lab"), BadKey::Unknown(_)));
    assert_eq!(refused("---- BEGIN SSH2 PUBLIC KEY ----"), BadKey::Ssh2);
    assert!(matches!(
        refused("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"),
        BadKey::Broken(_)
    ));
    assert!(matches!(refused("ssh-ed25519"), BadKey::Broken(_)));
    assert!(matches!(
        refused(&ED25519.replace("ssh-ed25519 ", "ssh-rsa ")),
        BadKey::Broken(_)
    ));
    assert!(matches!(refused("ssh-dss AAAAB3NzaC1kc3MAAACBAIHj"), BadKey::Type(_)));
    assert!(matches!(
        refused("ssh-ed25519-cert-v01@openssh.com AAAA"),
        BadKey::Type(_)
    ));
    for cut in [
        format!("{ED25519}\n"),
        format!("{ED25519}\r"),
        format!("{ED25519}\t"),
        ED25519.replace('C', "C\n"),
    ] {
        assert_eq!(refused(&cut), BadKey::Lines);
    }
    for options in [
        "form=\"192.0.2.1\"",
        "from=192.0.2.1",
        "restrict,",
        "pty=\"yes\"",
        "command",
    ] {
        let error = refused(&format!("{options} {ED25519}"));
        assert!(matches!(error, BadKey::Option { .. }), "{options}: {error}");
    }
    assert!(
        refused(&format!("form=\"192.0.2.1\" {ED25519}"))
            .to_string()
            .contains("is from meant?")
    );
}

#[test]
fn a_private_key_is_called_one_and_never_repeated() {
    let secret = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
    for file in [
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{secret}\n-----END OPENSSH PRIVATE KEY-----\n"),
        format!("-----BEGIN RSA PRIVATE KEY----- {secret}"),
        format!("PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n{secret}"),
    ] {
        let error = SshKey::new(file).unwrap_err();
        assert_eq!(error, BadKey::Private);
        assert!(
            !error.to_string().contains(secret) && error.to_string().contains("PRIVATE"),
            "{error}"
        );
    }
    assert!(!SshKey::new(secret).unwrap_err().to_string().contains(secret));
}

#[test]
fn a_mistyped_word_is_told_by_the_one_that_it_is_like() {
    let known = ["kernel_args", "ssh_keys", "timezone"];
    assert_eq!(nearest("kernel_arg", known), Some("kernel_args"));
    assert_eq!(nearest("Time-zone", known), Some("timezone"));
    assert_eq!(nearest("colour", known), None);
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
