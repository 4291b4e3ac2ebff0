//! The `clock` service: the host's wall clock, or a fixed time for runs that must repeat exactly.

use glasshouse_protocol::ClockReading;

use crate::host;

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
            Self::Host => host::unix_milliseconds(),
        };
        ClockReading { unix_milliseconds }
    }
}
