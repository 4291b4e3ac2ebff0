//! Writing the event log of a run.

use std::io::Write;

use glasshouse_engine::Machine;
use glasshouse_kernel::{
    Effect, Input, KernelConfig, ModelHash,
    trace::{TraceHeader, TraceWriter},
};

use glasshouse_llm::GuardConfig;

use crate::{Modules, RuntimeError, driver::Recorder};

/// What the log says about the run before its first record.
pub(crate) fn header<M: Machine>(
    configuration: KernelConfig,
    modules: &Modules<M>,
    model: Option<ModelHash>,
) -> TraceHeader {
    TraceHeader {
        kernel: configuration,
        modules: modules.list().map(|(name, hash)| (name.to_owned(), hash)).collect(),
        model,
        extra: vec![("glasshouse".to_owned(), env!("CARGO_PKG_VERSION").to_owned())],
    }
}

/// The name of the header's fact that says what guarded the model, as JSON.
pub(crate) const GUARD: &str = "guard";

/// A guard as the header has it.
pub(crate) fn guard_text(guard: &GuardConfig) -> Result<String, RuntimeError> {
    serde_json::to_string(guard).map_err(|error| RuntimeError::TraceWrite(error.into()))
}

/// The guard that a header tells of, if it tells of one.
pub(crate) fn guard_of(header: &TraceHeader) -> Result<Option<GuardConfig>, RuntimeError> {
    let text = header.extra.iter().find(|(name, _)| name == GUARD);
    text.map(|(_, text)| serde_json::from_str(text).map_err(|_| RuntimeError::RecordedGuard)).transpose()
}

/// Keeps no log.
pub(crate) struct NoTrace;

impl Recorder for NoTrace {
    fn input(&mut self, _input: &Input) -> Result<(), RuntimeError> {
        Ok(())
    }

    fn effect(&mut self, _effect: &Effect) -> Result<(), RuntimeError> {
        Ok(())
    }
}

/// Writes every input before it is applied, and every effect before it is performed.
pub(crate) struct TraceFile<W: Write> {
    /// Until the log is ended; without its end a reader takes the file for cut off.
    writer: Option<TraceWriter<W>>,
}

impl<W: Write> TraceFile<W> {
    pub(crate) fn new(output: W, header: &TraceHeader) -> Result<Self, RuntimeError> {
        Ok(Self { writer: Some(TraceWriter::new(output, header).map_err(RuntimeError::TraceWrite)?) })
    }

    fn write(
        &mut self,
        record: impl FnOnce(&mut TraceWriter<W>) -> std::io::Result<()>,
    ) -> Result<(), RuntimeError> {
        self.writer.as_mut().map_or(Ok(()), record).map_err(RuntimeError::TraceWrite)
    }
}

impl<W: Write> Recorder for TraceFile<W> {
    fn input(&mut self, input: &Input) -> Result<(), RuntimeError> {
        self.write(|writer| writer.input(input).and_then(|()| writer.flush()))
    }

    fn effect(&mut self, effect: &Effect) -> Result<(), RuntimeError> {
        self.write(|writer| writer.effect(effect))
    }

    fn finish(&mut self) -> Result<(), RuntimeError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        writer.finish().and_then(|mut output| output.flush()).map_err(RuntimeError::TraceWrite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_read_from_a_log_to_the_last_bit() {
        let mut state = 1_u64;
        for _ in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut guard = GuardConfig::default();
            guard.limits.hard_limit = (state >> 11) as f64 / (1_u64 << 53) as f64;
            let extra = vec![(GUARD.to_owned(), guard_text(&guard).unwrap())];
            let header = TraceHeader { extra, ..TraceHeader::default() };
            assert_eq!(guard_of(&header).unwrap(), Some(guard));
        }
        assert_eq!(guard_of(&TraceHeader::default()).unwrap(), None);
    }
}
