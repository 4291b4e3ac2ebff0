//! What can be wrong with an event log file.

use thiserror::Error;

/// Damage of an event log. `position` is an offset in bytes from the start of the file; `sequence` counts frames.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The first bytes are not those of an event log.
    #[error("this is not an event log: it does not begin with the right bytes")]
    NotATrace,
    /// The format is of another version.
    #[error(
        "the event log has format version {found}, this program reads version {known}; use the program that wrote it"
    )]
    UnsupportedVersion {
        /// The file's version.
        found: u16,
        /// [`crate::trace::TRACE_VERSION`].
        known: u16,
    },
    /// The file ends inside the header.
    #[error("the event log is cut off at byte {position}: its header needs {needed} bytes more")]
    TruncatedHeader {
        /// Where the file ends.
        position: usize,
        /// Bytes that are missing.
        needed: usize,
    },
    /// The header is longer than any header is.
    #[error(
        "the event log is damaged at byte {position}: its header claims {length} bytes, more than the {limit} allowed"
    )]
    HeaderTooLong {
        /// Where the length stands.
        position: usize,
        /// What it says.
        length: usize,
        /// [`crate::trace::MAX_HEADER_BYTES`].
        limit: usize,
    },
    /// The header's checksum does not match.
    #[error("the event log is damaged before byte {position}: the checksum of its header does not match")]
    BadHeaderChecksum {
        /// Where the checksum stands.
        position: usize,
    },
    /// The header's checksum matches but its content does not make sense.
    #[error("the header of the event log at byte {position} cannot be read: {reason}")]
    BadHeader {
        /// Where its payload begins.
        position: usize,
        /// Why.
        reason: String,
    },
    /// The file ends inside a frame.
    #[error(
        "the event log is cut off at byte {position}: record {sequence}, which begins at byte {start}, needs {needed} bytes more"
    )]
    Truncated {
        /// Where the file ends.
        position: usize,
        /// Where the frame begins.
        start: usize,
        /// The frame that should be there.
        sequence: u64,
        /// Bytes that are missing.
        needed: usize,
    },
    /// A frame is longer than any frame is.
    #[error(
        "the event log is damaged at byte {position}: record {sequence} claims {length} bytes, more than the {limit} allowed"
    )]
    FrameTooLong {
        /// Where the length stands.
        position: usize,
        /// The frame that should be there.
        sequence: u64,
        /// What it says.
        length: usize,
        /// [`crate::trace::MAX_FRAME_BYTES`].
        limit: usize,
    },
    /// A frame's checksum does not match.
    #[error(
        "the event log is damaged between bytes {start} and {position}: the checksum of record {sequence} does not match"
    )]
    BadChecksum {
        /// Where the checksum stands.
        position: usize,
        /// Where the frame begins.
        start: usize,
        /// The frame that should be there.
        sequence: u64,
    },
    /// A frame has another number than the one that is due: some are missing, repeated or out of order.
    #[error(
        "the event log is damaged at byte {position}: record {expected} should be here, but it is record {found}"
    )]
    SequenceGap {
        /// Where the sequence number stands.
        position: usize,
        /// The number that is due.
        expected: u64,
        /// The number that is there.
        found: u64,
    },
    /// A frame is of a kind that the version does not have.
    #[error("the event log is damaged at byte {position}: record {sequence} is of the unknown kind {kind}")]
    UnknownKind {
        /// Where the kind stands.
        position: usize,
        /// The frame.
        sequence: u64,
        /// What it says.
        kind: u8,
    },
    /// A frame's checksum matches but its content does not make sense.
    #[error("record {sequence} of the event log at byte {position} cannot be read: {reason}")]
    BadPayload {
        /// Where its payload begins.
        position: usize,
        /// The frame.
        sequence: u64,
        /// Why.
        reason: String,
    },
    /// The last frame counts other frames, or hashes other bytes, than those before it.
    #[error(
        "the event log is damaged before byte {position}: its end, record {sequence}, does not belong to what precedes it"
    )]
    BadEnd {
        /// Where the end's payload begins.
        position: usize,
        /// The end's number.
        sequence: u64,
    },
    /// The file stops after a whole frame that is not the end: the run was interrupted.
    #[error(
        "the event log stops at byte {position} after {records} records without its end: the run was interrupted"
    )]
    MissingEnd {
        /// Where the file ends.
        position: usize,
        /// How many frames there are.
        records: u64,
    },
    /// Something follows the end.
    #[error("the event log is damaged at byte {position}: {count} bytes follow its end")]
    TrailingBytes {
        /// Where they begin.
        position: usize,
        /// How many they are.
        count: usize,
    },
}

impl TraceError {
    /// Where the damage shows, in bytes from the start of the file.
    #[must_use]
    pub fn position(&self) -> usize {
        match self {
            Self::NotATrace => 0,
            Self::UnsupportedVersion { .. } => super::MAGIC.len(),
            Self::TruncatedHeader { position, .. }
            | Self::HeaderTooLong { position, .. }
            | Self::BadHeaderChecksum { position }
            | Self::BadHeader { position, .. }
            | Self::Truncated { position, .. }
            | Self::FrameTooLong { position, .. }
            | Self::BadChecksum { position, .. }
            | Self::SequenceGap { position, .. }
            | Self::UnknownKind { position, .. }
            | Self::BadPayload { position, .. }
            | Self::BadEnd { position, .. }
            | Self::MissingEnd { position, .. }
            | Self::TrailingBytes { position, .. } => *position,
        }
    }
}
