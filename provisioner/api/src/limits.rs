// SPDX-License-Identifier: Apache-2.0
//! How much a node may say, for both ends: the server refuses more, and node-init cuts before it sends.

use serde_json::Value;

/// Letters of a text, where its field names no other bound.
pub const TEXT: usize = 1000;
/// Items of a list, where its field names no other bound.
pub const LIST: usize = 256;

/// A text as large as a key in PEM: one of RSA with 16,384 bits has some 13,000 letters.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[schema(max_length = 16_384)]
pub struct KeyText(#[allow(dead_code)] String);

/// A label: a-z, 0-9 and dash.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[schema(max_length = 63, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
pub struct Word(#[allow(dead_code)] String);

/// A text as large as a file of a site's templates.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[schema(max_length = 262_144)]
pub struct FileText(#[allow(dead_code)] String);

/// The first `most` letters of a text, with a mark where the rest was.
pub fn cut(text: &str, most: usize) -> std::borrow::Cow<'_, str> {
    if text.char_indices().nth(most).is_none() {
        text.into()
    } else {
        let kept: String = text.chars().take(most.saturating_sub(1)).collect();
        format!("{kept}…").into()
    }
}

/// Cuts every text and list of a report to its bound: a label that some maker made endless must not keep a machine out.
pub fn fit(report: &mut Value) {
    match report {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(shorter) = cut(text, TEXT) {
                *text = shorter;
            }
        }
        Value::Array(items) => {
            items.truncate(LIST);
            items.iter_mut().for_each(fit);
        }
        Value::Object(fields) => fields.values_mut().for_each(fit),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_cut_to_its_bounds_and_no_further() {
        let mut report =
            json!({ "short": "ü".repeat(TEXT), "list": vec!["ü".repeat(TEXT + 1); LIST + 1], "number": 7 });
        fit(&mut report);
        assert_eq!(report["short"], json!("ü".repeat(TEXT)));
        assert_eq!(report["number"], json!(7));
        assert_eq!(report["list"].as_array().map(Vec::len), Some(LIST));
        assert_eq!(report["list"][0], json!(format!("{}…", "ü".repeat(TEXT - 1))));
    }
}
