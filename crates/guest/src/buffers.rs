//! The call buffers, and the exports that let the host use them.

#[cfg(target_arch = "wasm32")]
use std::future::Future;

use glasshouse_envelope::{HEADER_LENGTH, MAXIMUM_PAYLOAD};

/// The largest capacity that is kept for the next step, in bytes: one big message does not occupy memory for ever.
const RETAINED: usize = 1 << 20;

/// Where the host writes the envelope of the next step.
#[derive(Debug, Default)]
pub(crate) struct CallBuffer {
    bytes: Vec<u8>,
}

impl CallBuffer {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Makes room for `length` bytes and drops what was there. `None` when no envelope is that long or memory is short;
    /// the buffer is empty then.
    pub(crate) fn allocate(&mut self, length: u32) -> Option<*mut u8> {
        let length = usize::try_from(length).ok().filter(|length| *length <= HEADER_LENGTH + MAXIMUM_PAYLOAD);
        if self.bytes.capacity() > RETAINED && length.is_none_or(|length| length <= RETAINED) {
            self.bytes = Vec::new();
        }
        let Some(length) = length else {
            self.bytes.clear();
            return None;
        };
        if length > self.bytes.len() && self.bytes.try_reserve_exact(length - self.bytes.len()).is_err() {
            self.bytes.clear();
            return None;
        }
        self.bytes.resize(length, 0);
        Some(self.bytes.as_mut_ptr())
    }

    /// The bytes at `pointer`, if that is this buffer and it has so many; nothing otherwise, which decodes as an
    /// envelope that is cut off. The pointer is only compared, never followed.
    pub(crate) fn get(&self, pointer: *const u8, length: u32) -> &[u8] {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match self.bytes.get(..length) {
            Some(bytes) if std::ptr::eq(self.bytes.as_ptr(), pointer) => bytes,
            _ => &[],
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod exports {
    use std::{cell::RefCell, sync::Once};

    use glasshouse_envelope::pack;

    use super::CallBuffer;
    use crate::{
        devices::{Level, log},
        executor::{self, Message},
    };

    thread_local! {
        static INPUT: RefCell<CallBuffer> = const { RefCell::new(CallBuffer::new()) };
        /// The envelope that the last step returned; the host reads it before the next one.
        static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// Runs one step on the envelope at `pointer`.
    pub(super) fn step(pointer: u32, length: u32, run: impl FnOnce(&[u8]) -> Message) -> u64 {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string()))));
        // The input is taken out while the step runs, so nothing that the guest does can change it.
        let input = INPUT.take();
        let message = run(input.get(pointer as *const u8, length));
        INPUT.set(input);
        let envelope = message.encode();
        // Both fit 32 bits on this target.
        let word = pack(envelope.as_ptr() as u32, envelope.len() as u32);
        OUTPUT.set(envelope);
        word
    }

    /// Makes room for an envelope of `length` bytes and returns where; 0 when that is impossible.
    #[unsafe(no_mangle)]
    extern "C" fn gh_allocate(length: u32) -> u32 {
        // What the last step returned has been read; its space is free for this one.
        OUTPUT.take();
        INPUT.with_borrow_mut(|input| input.allocate(length)).map_or(0, |pointer| pointer as u32)
    }

    /// Continues the pending call with the answer to its request.
    #[unsafe(no_mangle)]
    extern "C" fn gh_resume(pointer: u32, length: u32) -> u64 {
        step(pointer, length, executor::resume)
    }
}

/// The body of an exported entry.
#[cfg(target_arch = "wasm32")]
pub fn begin<Arguments, Output, Running>(pointer: u32, length: u32, entry: fn(Arguments) -> Running) -> u64
where
    Arguments: serde::de::DeserializeOwned,
    Output: serde::Serialize,
    Running: Future<Output = Result<Output, glasshouse_protocol::ErrorData>> + 'static,
{
    exports::step(pointer, length, |input| crate::executor::begin(input, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_no_envelope_has_is_refused() {
        let mut buffer = CallBuffer::new();
        for length in
            [u32::MAX, i32::MIN as u32, i32::MAX as u32, (HEADER_LENGTH + MAXIMUM_PAYLOAD) as u32 + 1]
        {
            assert_eq!(buffer.allocate(length), None);
        }
        let pointer = buffer.allocate(16).unwrap();
        assert_eq!(buffer.get(pointer, 16).len(), 16);
    }

    #[test]
    fn only_the_buffer_itself_is_read() {
        let mut buffer = CallBuffer::new();
        let pointer = buffer.allocate(16).unwrap();
        assert_eq!(buffer.get(pointer, 4).len(), 4);
        assert_eq!(buffer.get(pointer, 17), &[] as &[u8]);
        assert_eq!(buffer.get(pointer, u32::MAX), &[] as &[u8]);
        assert_eq!(buffer.get(pointer.wrapping_add(1), 4), &[] as &[u8]);
        assert_eq!(buffer.get(std::ptr::null(), 4), &[] as &[u8]);
    }

    #[test]
    fn many_calls_use_the_space_of_the_largest() {
        let mut buffer = CallBuffer::new();
        let first = buffer.allocate(4096).unwrap();
        for round in 0..10_000 {
            assert_eq!(buffer.allocate(round % 4096).unwrap(), first);
        }
        buffer.allocate(8 << 20).unwrap();
        buffer.allocate(100).unwrap();
        assert!(buffer.bytes.capacity() <= RETAINED);
    }
}
