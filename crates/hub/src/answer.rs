//! What a server answers to a request for a part of a file (RFC 9110, sections 14 and 15).

use std::ops::Range;

use ureq::{
    Body,
    http::{
        Response, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_RANGE},
    },
};

use crate::{HubError, client::text, error::shown, record::Validator};

/// What a server sends.
pub(crate) enum Content {
    /// The part of the file from `range.start` on, of `total` bytes.
    Part { range: Range<u64>, total: u64 },
    /// The whole file, of so many bytes if it says.
    Whole { length: Option<u64> },
    /// Nothing: there is no such part.
    Nothing,
}

/// An answer whose body is still to be read.
pub(crate) struct Answer {
    pub(crate) content: Content,
    pub(crate) validator: Validator,
    pub(crate) body: Body,
}

impl Answer {
    /// Reads what the headers say.
    pub(crate) fn of(address: &str, response: Response<Body>) -> Result<Self, HubError> {
        let (head, body) = response.into_parts();
        let validator = Validator::of(&head.headers);
        let content = match head.status {
            StatusCode::PARTIAL_CONTENT => {
                let range = text(&head.headers, &CONTENT_RANGE);
                let (range, total) = range.and_then(content_range).ok_or_else(|| HubError::Answer {
                    address: shown(address),
                    problem: format!("it is a part of {range:?} and not of a known length"),
                })?;
                Content::Part { range, total }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Content::Nothing,
            _ => {
                let length =
                    text(&head.headers, &CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
                Content::Whole { length }
            }
        };
        Ok(Self { content, validator, body })
    }
}

/// `bytes FIRST-LAST/TOTAL`, if it is one that can be.
fn content_range(header: &str) -> Option<(Range<u64>, u64)> {
    let (range, total) = header.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.trim().parse().ok()?, last.trim().parse().ok()?, total.trim().parse().ok()?);
    (first <= last && last < total).then_some((first..last + 1, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_only_if_it_can_be() {
        assert_eq!(content_range("bytes 0-0/1"), Some((0..1, 1)));
        assert_eq!(content_range("bytes 5-9/18446744073709551615"), Some((5..10, u64::MAX)));
        for wrong in [
            "bytes 0-1/*",
            "bytes */5",
            "bytes 4-3/9",
            "bytes 0-9/9",
            "0-1/2",
            "bytes -1-2/3",
            "",
            "bytes 0-18446744073709551615/18446744073709551615",
            "bytes 0-1/18446744073709551616",
        ] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
