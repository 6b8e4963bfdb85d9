// SPDX-License-Identifier: Apache-2.0
//! Single byte ranges (RFC 9110 section 14); knows numbers and header text, no file and no socket.

use axum::http::{HeaderMap, HeaderValue, header};

/// Which part of a representation to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it: 200.
    Whole,
    /// From `start`, `length` bytes (at least one), within the representation: 206.
    Bytes {
        /// First byte.
        start: u64,
        /// How many.
        length: u64,
    },
    /// A range that no byte satisfies: 416.
    Unsatisfiable,
}

/// What the headers ask of a representation of `size` bytes with this strong `etag`.
///
/// Anything that is not one well-formed `bytes` range is answered in whole, as the RFC allows: no honest
/// client of ours asks for several, and a multipart answer is how range requests are made into an attack.
pub(super) fn requested(headers: &HeaderMap, etag: &str, size: u64) -> Part {
    // RFC 9110 section 13.1.5: if the If-Range validator does not match, "the recipient MUST ignore the Range
    // header field". A date, and a weak tag, never match here.
    if headers
        .get(header::IF_RANGE)
        .is_some_and(|given| given.as_bytes() != etag.as_bytes())
    {
        return Part::Whole;
    }
    let mut ranges = headers.get_all(header::RANGE).iter();
    match (ranges.next().map(HeaderValue::to_str), ranges.next()) {
        (Some(Ok(range)), None) => parse(range, size),
        _ => Part::Whole,
    }
}

/// Reads `bytes=0-99`, `bytes=100-`, `bytes=-100`.
fn parse(range: &str, size: u64) -> Part {
    // RFC 9110 section 14.1: "Range units ... are case-insensitive".
    let Some((unit, set)) = range.split_once('=') else {
        return Part::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Part::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else {
        return Part::Whole;
    };
    match (number(first), number(last)) {
        // suffix-range: the last N bytes; "if the representation is shorter, the entire representation is used"
        (Number::Empty, Number::Is(length)) => within(size.saturating_sub(length), u64::MAX, size, length > 0),
        (Number::Is(start), Number::Empty) => within(start, u64::MAX, size, true),
        // "An int-range is invalid if the last-pos value is present and less than first-pos."
        (Number::Is(start), Number::Is(end)) if start <= end => within(start, end, size, true),
        _ => Part::Whole,
    }
}

fn within(start: u64, end: u64, size: u64, any: bool) -> Part {
    if !any || start >= size {
        return Part::Unsatisfiable;
    }
    Part::Bytes {
        start,
        length: end.min(size - 1) - start + 1,
    }
}

enum Number {
    Empty,
    Is(u64),
    Malformed,
}

/// Digits only (no sign, no blank); more digits than fit mean "beyond any end".
fn number(text: &str) -> Number {
    if text.is_empty() {
        Number::Empty
    } else if text.bytes().all(|b| b.is_ascii_digit()) {
        Number::Is(text.parse().unwrap_or(u64::MAX))
    } else {
        Number::Malformed
    }
}

/// Whether `If-None-Match` says that the caller has this representation already.
pub(super) fn already_has(headers: &HeaderMap, etag: &str) -> bool {
    let weakly = |tag: &str| tag.trim().strip_prefix("W/").unwrap_or(tag.trim()) == etag || tag.trim() == "*";
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|list| list.split(',').any(weakly))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const ETAG: &str = "\"abc\"";

    fn asked(range: &str, size: u64) -> Part {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
        requested(&headers, ETAG, size)
    }

    #[test]
    fn the_three_forms_of_a_range_are_understood() {
        assert_eq!(asked("bytes=0-99", 1000), Part::Bytes { start: 0, length: 100 });
        assert_eq!(
            asked("bytes=900-", 1000),
            Part::Bytes {
                start: 900,
                length: 100
            }
        );
        assert_eq!(
            asked("bytes=-100", 1000),
            Part::Bytes {
                start: 900,
                length: 100
            }
        );
        assert_eq!(asked("BYTES=999-5000", 1000), Part::Bytes { start: 999, length: 1 });
        assert_eq!(asked("bytes=-5000", 1000), Part::Bytes { start: 0, length: 1000 });
    }

    #[test]
    fn a_range_beyond_the_end_is_not_satisfiable() {
        for range in [
            "bytes=1000-",
            "bytes=1000-2000",
            "bytes=-0",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(asked(range, 1000), Part::Unsatisfiable, "{range}");
        }
        assert_eq!(asked("bytes=0-", 0), Part::Unsatisfiable);
    }

    #[test]
    fn what_is_not_one_range_of_bytes_is_answered_in_whole() {
        for range in [
            "bytes=0-1,5-6",
            "bytes=5-1",
            "bytes=-",
            "bytes=",
            "bytes",
            "lines=1-2",
            "bytes=a-b",
            "bytes=+1-2",
        ] {
            assert_eq!(asked(range, 1000), Part::Whole, "{range}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_answered_in_whole() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=1-2"));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"abc\""));
        assert_eq!(requested(&headers, ETAG, 10), Part::Bytes { start: 1, length: 2 });
        for other in ["\"old\"", "W/\"abc\"", "Sat, 29 Oct 1994 19:43:31 GMT"] {
            headers.insert(header::IF_RANGE, HeaderValue::from_str(other).unwrap());
            assert_eq!(requested(&headers, ETAG, 10), Part::Whole, "{other}");
        }
    }

    #[test]
    fn two_range_headers_are_answered_in_whole() {
        let mut headers = HeaderMap::new();
        headers.append(header::RANGE, HeaderValue::from_static("bytes=1-2"));
        headers.append(header::RANGE, HeaderValue::from_static("bytes=3-4"));
        assert_eq!(requested(&headers, ETAG, 10), Part::Whole);
    }

    proptest! {
        #[test]
        fn no_header_makes_a_range_reach_outside(range in "[ -~]{0,40}", size in any::<u64>()) {
            if let Part::Bytes { start, length } = asked(&range, size) {
                prop_assert!(length >= 1);
                prop_assert!(start.checked_add(length).is_some_and(|end| end <= size));
            }
        }

        #[test]
        fn a_written_range_is_read_back(start in 0u64..5000, more in 0u64..5000, size in 1u64..5000) {
            let expected = if start >= size {
                Part::Unsatisfiable
            } else {
                Part::Bytes { start, length: more.min(size - 1 - start) + 1 }
            };
            prop_assert_eq!(asked(&format!("bytes={start}-{}", start + more), size), expected);
        }
    }
}
