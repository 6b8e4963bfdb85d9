// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

#[test]
fn what_old_laptops_and_reserved_memory_need_gets_through_grub() {
    for (line, written) in [
        ("acpi_osi=! acpi_osi=Linux", "acpi_osi=! acpi_osi=Linux"),
        ("memmap=2M$0x1000000", "memmap=2M\\$0x1000000"),
        (" console=ttyS0,115200 ", "console=ttyS0,115200"),
        ("x=a;b dyndbg=f(x) i[0]=~1#2", "x=a;b dyndbg=f(x) i[0]=~1#2"),
        ("", ""),
    ] {
        assert_eq!(for_grub(line).unwrap(), written);
    }
}

#[test]
fn what_grub_would_change_or_init_would_obey_is_refused() {
    for line in [
        "acpi_osi=\"Windows 2009\"",
        "a='b'",
        "a\\b",
        "a*",
        "a=?",
        "a`b`",
        "quiet -- single",
        "-s",
        "a\nb",
        "$x",
        "ä",
        &"a".repeat(LONGEST_KERNEL_LINE + 1),
    ] {
        let error = kernel_arguments(line).unwrap_err();
        assert!(error.to_string().contains("GRUB"), "{error}");
        assert!(error.to_string().len() < 500, "{error}");
    }
}

#[test]
fn a_time_server_is_one_host() {
    for host in [
        "ntp1.example.org",
        "192.0.2.1",
        "2001:db8::1",
        "time",
        "2.debian.pool.ntp.org",
    ] {
        time_server(host).unwrap();
    }
    for host in [
        "time_server.lab",
        "pool ntp org",
        "a b\nallow all",
        "",
        "a..b",
        "-a",
        "a-",
        ".a",
        "a.",
        "192.0.2",
        "192.0.2.256",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.1.1",
        "::",
        "ntp.lab:123",
        "http://ntp.lab",
    ] {
        assert!(time_server(host).is_err(), "{host:?}");
    }
}

#[test]
fn a_bridge_has_a_name_that_nobody_else_gives() {
    for name in ["br0", "lab", "guests-1", "br_lan", "b"] {
        bridge(name).unwrap();
    }
    for name in [
        "",
        "-",
        "0br",
        "lo",
        "eth0",
        "eno1",
        "enp3s0",
        "wlan0",
        "vnet3",
        "virbr0",
        "all",
        "default",
        "br 0",
        "br/0",
        "br.1",
        "a-name-too-long-",
        "bré",
    ] {
        assert!(bridge(name).is_err(), "{name:?}");
    }
}

#[test]
fn names_and_zones_are_words_and_no_paths() {
    host_name("node-7f3a.lab").unwrap();
    assert_eq!(time_zone("").unwrap(), "UTC");
    time_zone("America/Argentina/Buenos_Aires").unwrap();
    for text in ["../etc", "a\nb", "a b", "/", "a/", "ä"] {
        assert!(host_name(text).is_err() && time_zone(text).is_err(), "{text:?}");
    }
    assert_eq!(authorized_key(" ssh-ed25519 AAAA a ").unwrap(), "ssh-ed25519 AAAA a");
    for line in ["", " ", "a\nb", "a\r", &"a".repeat(LONGEST_KEY_LINE + 1)] {
        assert!(authorized_key(line).is_err(), "{line:?}");
    }
}

#[test]
fn a_role_keeps_files_of_its_own_in_folders_for_that() {
    assert_eq!(kept_file("/var/lib/web/id").unwrap(), "var/lib/web/id");
    for path in [
        concat!("/ho", "me/x"),
        "/etc",
        "/etc/",
        "etc/x",
        "/etc/../root/x",
        "/etc/./x",
        "/etc//x",
        "/etc/ssh/x",
        "/etc/hostname",
        "/",
        "/etc/a\nb",
        "",
    ] {
        assert!(kept_file(path).is_err(), "{path:?}");
    }
}

/// What GRUB makes of a text between double quotes (its manual, "Quoting"): a backslash is taken away before `$`, `"`
/// and `\`; a bare `$` begins a variable, a bare `"` ends the text.
fn read_by_grub(text: &str) -> Option<String> {
    let (mut read, mut letters) = (String::new(), text.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '$' | '"' => return None,
            '\\' => match letters.next_if(|next| matches!(next, '$' | '"' | '\\')) {
                Some(next) => read.push(next),
                None => read.push('\\'),
            },
            letter => read.push(letter),
        }
    }
    Some(read)
}

proptest! {
    #[test]
    fn what_is_accepted_arrives_as_it_was_written(line in "[a-z0-9_.,:=/@+%!$~;()#\\[\\] \"'*?\\\\-]{0,40}") {
        if let Ok(written) = for_grub(&line) {
            prop_assert_eq!(read_by_grub(&written).unwrap(), line.trim());
        }
    }

    #[test]
    fn nothing_that_is_accepted_begins_a_second_line(text in any::<String>()) {
        for accepted in [host_name(&text), domain(&text), time_server(&text), kernel_arguments(&text),
            authorized_key(&text), time_zone(&text), bridge(&text)].into_iter().flatten() {
            prop_assert!(!accepted.chars().any(char::is_control));
        }
    }
}
