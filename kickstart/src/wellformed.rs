// SPDX-License-Identifier: Apache-2.0
//! Whether what a template made can be read at all: a wrong indentation in a site's override is found when the override
//! is loaded, not when the machine stands there and asks.

use crate::escape::Kind;
use crate::templates::Broken;

/// Reads an answer file as its installer would.
pub(crate) fn check(template: &str, text: &str) -> Result<(), Broken> {
    let wrong = match Kind::of(template) {
        Some(Kind::Json) => serde_json::from_str::<serde::de::IgnoredAny>(text)
            .err()
            .map(|error| error.to_string()),
        Some(Kind::Xml) => roxmltree_error(text),
        Some(Kind::Yaml) => serde_saphyr::from_str::<serde::de::IgnoredAny>(text)
            .err()
            .map(|error| error.to_string()),
        Some(Kind::Preseed) => preseed_error(text),
        Some(Kind::Ks) => kickstart_error(text),
        // Shells read line by line, and every value in these is one word of one line.
        Some(Kind::Sh | Kind::Ini) | None => None,
    };
    let broken = |why| Broken {
        file: template.to_owned(),
        line: 0,
        why: format!("what it makes cannot be read: {why}"),
    };
    wrong.map_or(Ok(()), |why| Err(broken(why)))
}

fn roxmltree_error(text: &str) -> Option<String> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    roxmltree::Document::parse_with_options(text, options)
        .err()
        .map(|error| error.to_string())
}

/// Between a section's name and its `%end` there is no other section, or Anaconda reads nothing at all.
fn kickstart_error(text: &str) -> Option<String> {
    const SECTIONS: [&str; 9] = [
        "%packages",
        "%pre",
        "%pre-install",
        "%post",
        "%onerror",
        "%traceback",
        "%addon",
        "%anaconda",
        "%certificate",
    ];
    let mut open = None;
    for line in text.lines() {
        let word = line.split_whitespace().next().filter(|_| line.starts_with('%'));
        match (word, open) {
            (Some("%end"), None) => return Some("an %end ends nothing".into()),
            (Some("%end"), Some(_)) => open = None,
            (Some(word), Some(section)) if SECTIONS.contains(&word) => {
                return Some(format!("{section} has no %end before {word}"));
            }
            (Some(word), None) if SECTIONS.contains(&word) => open = Some(word),
            _ => {}
        }
    }
    open.map(|section| format!("{section} has no %end"))
}

/// An answer is an owner, a question, a type, and perhaps a value (debconf-set-selections(1)).
fn preseed_error(text: &str) -> Option<String> {
    const TYPES: [&str; 9] = [
        "string",
        "boolean",
        "select",
        "multiselect",
        "note",
        "text",
        "password",
        "title",
        "seen",
    ];
    let joined = text.replace("\\\n", " ");
    let mut lines = joined
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let wrong = lines.find(|line| {
        let mut words = line.split_whitespace();
        let (owner, question, kind) = (words.next(), words.next(), words.next());
        owner.is_none() || question.is_none() || !kind.is_some_and(|kind| TYPES.contains(&kind))
    })?;
    Some(format!("{wrong:?} is not an owner, a question, a type and a value"))
}
