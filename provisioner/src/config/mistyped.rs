// SPDX-License-Identifier: Apache-2.0
//! What is told of a file that cannot be read: where, why, and which word was probably meant.

use anyhow::{Error, anyhow};
use kickstart::words::nearest;

/// How serde begins to speak of a word that it does not know, and what comes behind it.
const UNKNOWN: [&str; 2] = ["unknown field `", "unknown variant `"];

/// The error in words. The line itself is shown, unless the file holds what must not be shown to anybody.
pub(super) fn explained(error: &toml::de::Error, text: &str) -> Error {
    let message = error.message();
    let hint = meant(message)
        .map(|word| format!("; is {word} meant?"))
        .unwrap_or_default();
    if !text.contains("PRIVATE KEY") {
        return anyhow!("{}{hint}", error.to_string().trim_end());
    }
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    anyhow!("line {}: {message}{hint}", before.matches('\n').count() + 1)
}

/// The known word that the unknown one of a message is most like: "unknown field `a`, expected one of `b`, `c`".
fn meant(message: &str) -> Option<&str> {
    let rest = UNKNOWN
        .iter()
        .find_map(|begin| message.split_once(begin).map(|(_, rest)| rest))?;
    let mut words = rest.split('`').step_by(2);
    let unknown = words.next()?;
    // Between two quoted words is a comma or "or"; every second part is a word.
    nearest(unknown, rest.split('`').skip(2).step_by(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_the_nearest_of_those_that_there_are() {
        let message = "unknown field `timezon`, expected one of `image`, `timezone`, `bridge`";
        assert_eq!(meant(message), Some("timezone"));
        assert_eq!(meant("unknown variant `ful`, expected `full` or `proxy`"), Some("full"));
        assert_eq!(meant("unknown field `colour`, expected `a`"), None);
        assert_eq!(meant("invalid type: integer"), None);
    }
}
