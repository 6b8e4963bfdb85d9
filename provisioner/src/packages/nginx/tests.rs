// SPDX-License-Identifier: Apache-2.0
//! What nginx is told, as a whole: read it before it is changed.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

const GOLDEN: &str = include_str!("golden.conf");

fn render_with(sections: &str, facts: &Facts) -> Result<String> {
    render(&Config::parse(sections, Path::new("/etc/gleaner")).unwrap(), facts)
}

fn facts() -> Facts {
    Facts {
        root: false,
        networks: vec![
            ("192.0.2.1".parse().unwrap(), 24),
            ("198.51.100.0".parse().unwrap(), 25),
        ],
        resolvers: vec!["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()],
        authorities: Some("/etc/ssl/certs/ca-certificates.crt".into()),
    }
}

const SOURCES: &str = "[packages]\nsources = [\"http://deb.example/debian\", \"https://rpm.example:8443/os\"]\n";

#[test]
fn the_whole_configuration_is_as_it_was_read() {
    let text = render_with(SOURCES, &facts()).unwrap();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/packages/nginx/golden.conf");
        std::fs::write(file, &text).unwrap();
    } else {
        assert_eq!(text, GOLDEN);
    }
}

#[test]
fn offline_nobody_is_asked() {
    let text = render_with(&format!("{SOURCES}offline = true\n"), &facts()).unwrap();
    assert!(
        !text.contains("proxy_pass $origin") && !text.contains("resolver"),
        "{text}"
    );
    assert!(text.contains("proxy_pass http://nobody$request_uri"), "{text}");
}

#[test]
fn a_source_with_tls_is_checked_or_not_asked() {
    let bare = Facts {
        authorities: None,
        ..facts()
    };
    let error = render_with(SOURCES, &bare).unwrap_err();
    assert!(error.to_string().contains("ca-certificates"), "{error}");
}

#[test]
fn who_serves_no_network_serves_nobody() {
    let nowhere = Facts {
        networks: Vec::new(),
        ..facts()
    };
    assert!(render_with(SOURCES, &nowhere).is_err());
}
