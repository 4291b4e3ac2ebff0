//! Writes an event log.

use std::io::{Error, Result, Write};

use serde::Serialize;

use super::{
    HEADER_START, KIND_EFFECT, KIND_END, KIND_INPUT, MAGIC, MAX_FRAME_BYTES, MAX_HEADER_BYTES, Record,
    TRACE_VERSION, TraceHeader,
};
use crate::{Effect, Input};

/// Writes an event log frame by frame. Each frame is one call of the underlying writer, so a buffered writer that
/// is flushed after each input leaves whole frames behind when the program is killed.
///
/// A log is complete only after [`TraceWriter::finish`].
#[derive(Debug)]
pub struct TraceWriter<W: Write> {
    output: W,
    sequence: u64,
    hasher: blake3::Hasher,
    frame: Vec<u8>,
}

impl<W: Write> TraceWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// Those of `output`, and of a header over [`MAX_HEADER_BYTES`].
    pub fn new(output: W, header: &TraceHeader) -> Result<Self> {
        let mut frame = Vec::new();
        frame.extend_from_slice(&MAGIC);
        frame.extend_from_slice(&TRACE_VERSION.to_le_bytes());
        frame.extend_from_slice(&[0; 4]);
        let frame = encode(frame, header)?;
        let mut writer = Self { output, sequence: 0, hasher: blake3::Hasher::new(), frame };
        writer.write_frame(HEADER_START, MAGIC.len() + 2, MAX_HEADER_BYTES)?;
        Ok(writer)
    }

    /// Appends a record.
    ///
    /// # Errors
    /// Those of the underlying writer, and of a record over [`MAX_FRAME_BYTES`].
    pub fn append(&mut self, record: &Record) -> Result<()> {
        match record {
            Record::Input(input) => self.input(input),
            Record::Effect(effect) => self.effect(effect),
        }
    }

    /// Appends an input; to be called before the input is applied.
    ///
    /// # Errors
    /// As [`TraceWriter::append`].
    pub fn input(&mut self, input: &Input) -> Result<()> {
        self.record(KIND_INPUT, input)
    }

    /// Appends an effect of the last input.
    ///
    /// # Errors
    /// As [`TraceWriter::append`].
    pub fn effect(&mut self, effect: &Effect) -> Result<()> {
        self.record(KIND_EFFECT, effect)
    }

    /// Passes on to the underlying writer what it has buffered.
    ///
    /// # Errors
    /// Those of the underlying writer.
    pub fn flush(&mut self) -> Result<()> {
        self.output.flush()
    }

    /// Writes the end, flushes, and gives the underlying writer back.
    ///
    /// # Errors
    /// Those of the underlying writer.
    pub fn finish(mut self) -> Result<W> {
        let mut payload = self.sequence.to_le_bytes().to_vec();
        payload.extend_from_slice(self.hasher.finalize().as_bytes());
        self.begin(KIND_END);
        self.frame.extend_from_slice(&payload);
        self.write_frame(super::FRAME_START, 0, MAX_FRAME_BYTES)?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn record(&mut self, kind: u8, content: &impl Serialize) -> Result<()> {
        self.begin(kind);
        let frame = core::mem::take(&mut self.frame);
        self.frame = encode(frame, content)?;
        self.write_frame(super::FRAME_START, 0, MAX_FRAME_BYTES)?;
        self.sequence += 1;
        Ok(())
    }

    fn begin(&mut self, kind: u8) {
        self.frame.clear();
        self.frame.extend_from_slice(&[0; 4]);
        self.frame.extend_from_slice(&self.sequence.to_le_bytes());
        self.frame.push(kind);
    }

    /// Fills in the length at `length_at` of the payload that begins at `start`, adds the checksum, and writes.
    fn write_frame(&mut self, start: usize, length_at: usize, limit: usize) -> Result<()> {
        let length = self.frame.len() - start;
        let field = match u32::try_from(length) {
            Ok(field) if length <= limit => field,
            _ => {
                return Err(Error::other(format!(
                    "a record of {length} bytes is more than the {limit} allowed"
                )));
            }
        };
        self.frame[length_at..length_at + 4].copy_from_slice(&field.to_le_bytes());
        let checksum = crc32fast::hash(&self.frame);
        self.frame.extend_from_slice(&checksum.to_le_bytes());
        self.hasher.update(&self.frame);
        self.output.write_all(&self.frame)
    }
}

fn encode(frame: Vec<u8>, content: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_extend(content, frame).map_err(Error::other)
}
