// SPDX-License-Identifier: Apache-2.0
//! How a value is written into a file, by the kind of the file: so that it can change nothing but itself.
//!
//! The last part of a template's name is the kind of what it makes, and decides for every value in it, filtered or not:
//! an author cannot forget it, and `safe` and `autoescape` do not exist. Filters are for a file inside a file:
//! `{{ url | sh }}` in a preseed line that is a command.

use std::fmt::Write as _;

use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Error, ErrorKind, Output, State};

/// What a template makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answers for debconf: a line each.
    Preseed,
    /// A shell script.
    Sh,
    /// Anaconda's commands.
    Ks,
    /// YAML; every value in JSON's notation, which is YAML's too.
    Yaml,
    /// JSON.
    Json,
    /// XML.
    Xml,
    /// Keys and values below headings: systemd's and `NetworkManager`'s files, sources of apt and dnf.
    Ini,
}

impl Kind {
    /// The kind of a template, by the last part of its name.
    pub(crate) fn of(template: &str) -> Option<Self> {
        Self::of_extension(template.rsplit_once('.')?.1)
    }

    fn of_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "preseed" => Self::Preseed,
            "sh" => Self::Sh,
            "ks" => Self::Ks,
            "yaml" => Self::Yaml,
            "json" => Self::Json,
            "xml" => Self::Xml,
            "ini" => Self::Ini,
            _ => return None,
        })
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Preseed => "preseed",
            Self::Sh => "sh",
            Self::Ks => "ks",
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Xml => "xml",
            Self::Ini => "ini",
        }
    }
}

/// Tells minijinja by which rules a template's values are written.
pub(crate) fn by_name(template: &str) -> AutoEscape {
    Kind::of(template).map_or(AutoEscape::None, |kind| AutoEscape::Custom(kind.extension().into()))
}

/// Writes a value into a template; what cannot be written there is an error.
pub(crate) fn write(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let kind = match state.auto_escape() {
        AutoEscape::Custom(extension) => Kind::of_extension(extension),
        _ => None,
    };
    let kind =
        kind.ok_or_else(|| refuse("values are written by the kind of the file, and nothing else can be asked for"))?;
    let text = escaped(kind, value).map_err(refuse)?;
    out.write_str(&text).map_err(Error::from)
}

fn refuse(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadEscape, why.into())
}

fn escaped(kind: Kind, value: &Value) -> Result<String, String> {
    match kind {
        Kind::Yaml | Kind::Json => json(value),
        // Only the filters below make such strings.
        Kind::Preseed if value.is_safe() => rest_of_line(&text(value)?),
        Kind::Preseed => plain(&text(value)?),
        Kind::Sh | Kind::Ks => word(&text(value)?),
        Kind::Xml => xml(&text(value)?),
        Kind::Ini => rest_of_line(&text(value)?),
    }
}

/// A value that is one piece of text.
fn text(value: &Value) -> Result<String, String> {
    match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Bool => Ok(value.to_string()),
        ValueKind::None => Err("there is no value here; ask with `if` first".into()),
        kind => Err(format!("a {kind} is not one piece of text")),
    }
}

fn one_line(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        Err(format!(
            "{:?} does not fit into one line",
            text.chars().take(40).collect::<String>()
        ))
    } else {
        Ok(())
    }
}

/// A backslash would take the next line in.
fn rest_of_line(text: &str) -> Result<String, String> {
    one_line(text)?;
    if text.ends_with('\\') {
        return Err("a backslash at the end would take in the next line".into());
    }
    Ok(text.to_owned())
}

/// What means nothing to a shell, for lines of which nobody knows whether they are commands.
fn plain(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-,:/@+=%".contains(c);
    if text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        let begins: String = text.chars().take(40).collect();
        Err(format!(
            "{begins:?} could be read as more than a word; say `| sh` in a command, `| preseed` in a text"
        ))
    }
}

/// One word of a shell, and of Anaconda's commands, which are split like a shell's.
fn word(text: &str) -> Result<String, String> {
    one_line(text)?;
    let bare = |c: char| c.is_ascii_alphanumeric() || "._-,:/@+=%".contains(c);
    Ok(if !text.is_empty() && text.chars().all(bare) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    })
}

fn json(value: &Value) -> Result<String, String> {
    if value.is_undefined() {
        return Err("there is no value here".into());
    }
    let text = serde_json::to_string(value).map_err(|error| error.to_string())?;
    // JSON lets these stand as they are, YAML does not.
    let must = |c: char| {
        matches!(
            c,
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
    };
    if !text.contains(must) {
        return Ok(text);
    }
    Ok(text.chars().fold(String::new(), |mut written, c| {
        if must(c) {
            // Writing to a String cannot fail.
            let _ = write!(written, "\\u{:04x}", u32::from(c));
        } else {
            written.push(c);
        }
        written
    }))
}

fn xml(text: &str) -> Result<String, String> {
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&apos;"),
            // Scripts have several lines; XML 1.0 has no way to write the other control characters.
            '\n' | '\t' => written.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                return Err("XML cannot hold this control character".into());
            }
            c => written.push(c),
        }
    }
    Ok(written)
}

/// What templates can say with `|`, for a file inside a file.
pub(crate) mod filters {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use minijinja::Error;
    use minijinja::value::Value;

    use super::{refuse, rest_of_line, text, word};

    /// One word of a shell command.
    pub(crate) fn sh(value: &Value) -> Result<Value, Error> {
        let word = text(value).and_then(|text| word(&text)).map_err(refuse)?;
        Ok(Value::from_safe_string(word))
    }

    /// The rest of a preseed line that is no command.
    pub(crate) fn preseed(value: &Value) -> Result<Value, Error> {
        let line = text(value).and_then(|text| rest_of_line(&text)).map_err(refuse)?;
        Ok(Value::from_safe_string(line))
    }

    /// Words with blanks between them, for what takes several in one line.
    pub(crate) fn words(value: &Value) -> Result<String, Error> {
        let words = value.try_iter()?.map(|word| {
            let word = text(&word).map_err(refuse)?;
            if word.is_empty() || word.contains(char::is_whitespace) {
                return Err(refuse(format!("{word:?} is not one word")));
            }
            Ok(word)
        });
        Ok(words.collect::<Result<Vec<_>, _>>()?.join(" "))
    }

    /// In base64: any text, in any file.
    pub(crate) fn b64(value: &Value) -> Result<String, Error> {
        Ok(BASE64_STANDARD.encode(text(value).map_err(refuse)?))
    }
}

#[cfg(test)]
#[path = "escape/tests.rs"]
mod tests;
