//! What the devices of a process report of themselves: typed events, in order, bounded.
//!
//! - [`DeviceEvent`]: what happened, with the numbers that tell which; never the pixels, samples or texts themselves.
//! - `Noted`: collects a step's events for its report.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{AudioFormat, FrameInfo, FrameLayout};

/// Something that a device of a process did. The order of the variants is part of the trace format. Times are virtual
/// nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeviceEvent {
    /// The process's clock was moved by a sleep or by hand. Moves that follow each other directly are one event.
    ClockAdvanced {
        /// The time before.
        from: u64,
        /// The time after.
        to: u64,
    },
    /// A timer was due; its record was put into the guest's queue, or dropped when that was full.
    TimerFired {
        /// The guest's number for it.
        id: u32,
        /// When it was due.
        time: u64,
        /// How often it was due up to now; more than 1 only for a timer with an interval.
        expirations: u64,
    },
    /// Input arrived in the guest's queue. Arrivals that follow each other directly are one event.
    InputDelivered {
        /// Records.
        records: u64,
    },
    /// Records of input or timers were lost, because the guest's queue was full.
    InputDropped {
        /// Records.
        records: u64,
    },
    /// The guest set up its display.
    DisplayConfigured {
        /// How its frames lie in memory.
        layout: FrameLayout,
    },
    /// The guest set the colours of its display.
    PaletteChanged {
        /// SHA-256 of the palette: 256 entries of red, green, blue and alpha.
        sha256: [u8; 32],
    },
    /// A frame was presented.
    FramePresented {
        /// Its number, hash, time and layout.
        frame: FrameInfo,
    },
    /// The guest set up its audio output: a new stream of samples begins.
    AudioConfigured {
        /// The stream's number, from 1.
        stream: u32,
        /// Its format.
        format: AudioFormat,
    },
    /// Audio was played.
    AudioPlayed {
        /// The stream's number, from 1.
        stream: u32,
        /// Where it starts in the stream, in frames: one sample of every channel.
        offset: u64,
        /// Its length in frames.
        frames: u32,
        /// SHA-256 of its samples as they were given.
        sha256: [u8; 32],
    },
    /// The head-up display was changed.
    HudChanged {
        /// The element's id.
        id: String,
        /// What became of it.
        change: HudChange,
    },
    /// The host read or wrote the guest's memory. It is not part of a step's report: whoever accesses memory gets it.
    MemoryAccessed {
        /// Which.
        access: MemoryAccess,
        /// Where, in bytes.
        offset: u64,
        /// How much, in bytes.
        length: u64,
    },
}

/// What became of an element of the head-up display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HudChange {
    /// A signal was set that was not there.
    SignalAdded,
    /// A signal was set anew.
    SignalReplaced,
    /// A signal was removed.
    SignalRemoved,
    /// An overlay was set that was not there.
    OverlayAdded,
    /// An overlay was set anew.
    OverlayReplaced,
    /// An overlay was removed.
    OverlayRemoved,
}

/// A kind of access to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MemoryAccess {
    /// Bytes were read.
    Read,
    /// Bytes were written.
    Write,
    /// A place was given back to the guest.
    Free,
}

impl DeviceEvent {
    /// A stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClockAdvanced { .. } => "ClockAdvanced",
            Self::TimerFired { .. } => "TimerFired",
            Self::InputDelivered { .. } => "InputDelivered",
            Self::InputDropped { .. } => "InputDropped",
            Self::DisplayConfigured { .. } => "DisplayConfigured",
            Self::PaletteChanged { .. } => "PaletteChanged",
            Self::FramePresented { .. } => "FramePresented",
            Self::AudioConfigured { .. } => "AudioConfigured",
            Self::AudioPlayed { .. } => "AudioPlayed",
            Self::HudChanged { .. } => "HudChanged",
            Self::MemoryAccessed { .. } => "MemoryAccessed",
        }
    }

    /// Makes this event also say what `next`, which followed it directly, says; false when one event cannot.
    fn absorb(&mut self, next: &Self) -> bool {
        match (self, next) {
            (Self::ClockAdvanced { to, .. }, Self::ClockAdvanced { from, to: further }) if to == from => {
                *to = *further;
            }
            (Self::InputDelivered { records }, Self::InputDelivered { records: more })
            | (Self::InputDropped { records }, Self::InputDropped { records: more }) => {
                *records = records.saturating_add(*more);
            }
            _ => return false,
        }
        true
    }
}

/// The events since the last report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    pub(crate) events: Vec<DeviceEvent>,
    pub(crate) dropped: u64,
}

impl Noted {
    /// Appends an event; over `limit` it is counted and dropped.
    pub(crate) fn note(&mut self, limit: u32, event: DeviceEvent) {
        if self.events.last_mut().is_some_and(|last| self.dropped == 0 && last.absorb(&event)) {
            return;
        }
        if self.events.len() as u64 >= u64::from(limit) {
            self.dropped = self.dropped.saturating_add(1);
        } else {
            self.events.push(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surplus_events_are_counted_and_what_follows_them_is_not_merged_into_earlier_ones() {
        let mut noted = Noted::default();
        let timer = |id| DeviceEvent::TimerFired { id, time: 0, expirations: 1 };
        let delivered = DeviceEvent::InputDelivered { records: 1 };
        noted.note(2, timer(1));
        noted.note(2, delivered.clone());
        noted.note(2, delivered.clone());
        noted.note(2, timer(2));
        noted.note(2, delivered);
        assert_eq!(noted.events, [timer(1), DeviceEvent::InputDelivered { records: 2 }]);
        assert_eq!(noted.dropped, 2);
    }

    #[test]
    fn clock_moves_are_merged_only_when_they_touch() {
        let mut noted = Noted::default();
        for (from, to) in [(0, 5), (5, 7), (9, 10)] {
            noted.note(9, DeviceEvent::ClockAdvanced { from, to });
        }
        let merged = [(0, 7), (9, 10)].map(|(from, to)| DeviceEvent::ClockAdvanced { from, to });
        assert_eq!(noted.events, merged);
    }
}
