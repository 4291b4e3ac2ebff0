//! The `clock` service: the host's wall clock, or a fixed time for runs that must repeat exactly.

use std::time::{SystemTime, UNIX_EPOCH};

use glasshouse_protocol::ClockReading;

/// Where the time comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// The host's wall clock.
    #[default]
    Host,
    /// Always this time, in milliseconds since the Unix epoch.
    Fixed(i64),
}

impl Clock {
    /// The time now.
    pub fn read(self) -> ClockReading {
        let unix_milliseconds = match self {
            Self::Fixed(milliseconds) => milliseconds,
            Self::Host => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
                Err(before) => {
                    i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |before| -before)
                }
            },
        };
        ClockReading { unix_milliseconds }
    }
}
