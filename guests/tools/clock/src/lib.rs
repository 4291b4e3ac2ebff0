//! The tool `get_time`: the date and time of the host's clock.
//!
//! - [`get_time`]: the tool.
//! - [`civil`]: calendar arithmetic.

pub mod civil;

use glasshouse_guest::{ErrorData, clock, tools};
use serde::Deserialize;

use civil::{DateTime, offset_minutes};

/// The arguments of [`get_time`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetTime {
    /// `+02:00`; UTC when absent.
    #[serde(default)]
    pub utc_offset: Option<String>,
}

/// The date, time and weekday: `2026-11-21 02:10:20 UTC, Saturday`.
///
/// # Errors
///
/// `invalid_offset`, and what the clock service answers.
pub async fn get_time(arguments: GetTime) -> Result<String, ErrorData> {
    let offset = match arguments.utc_offset.as_deref() {
        None => None,
        Some(text) => Some(offset_minutes(text).ok_or_else(|| {
            ErrorData::new(
                "invalid_offset",
                format!("`{text}` is not an offset from UTC; write it like +02:00"),
            )
        })?),
    };
    let seconds = clock::now().await?.unix_milliseconds.div_euclid(1000);
    let time = DateTime::from_unix_seconds(seconds + i64::from(offset.unwrap_or(0)) * 60);
    let zone = match (offset, &arguments.utc_offset) {
        (None | Some(0), _) | (_, None) => "UTC",
        (_, Some(text)) => text,
    };
    Ok(format!("{time} {zone}, {}", time.weekday()))
}

tools! {
    get_time {
        description: "Tells the current date, time and weekday.",
        parameters: r#"{"type":"object","properties":{"utc_offset":{"type":"string","description":"Offset from UTC, such as +02:00; UTC when left out"}},"additionalProperties":false}"#,
        services: ["clock"],
    }
}
