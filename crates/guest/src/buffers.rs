//! The call buffers, what begins and ends a step, and the exports that let the host do it.

use std::cell::RefCell;

use glasshouse_envelope::{HEADER_LENGTH, MAXIMUM_PAYLOAD, pack};

use crate::{arena, panics};

/// The largest capacity that is kept for the next step, in bytes: one big message does not occupy memory for ever.
const RETAINED: usize = 1 << 20;

thread_local! {
    static INPUT: RefCell<CallBuffer> = const { RefCell::new(CallBuffer::new()) };
    /// The envelope that the last step returned; the host reads it before the next one.
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Begins a step: makes room for an envelope of `length` bytes and returns where; 0 when that is impossible.
pub(crate) fn begin_step(length: u32) -> u32 {
    panics::install();
    arena::reset();
    // What the last step returned has been read; its space is free for this one.
    OUTPUT.take();
    INPUT.with(|input| input.try_borrow_mut().ok().and_then(|mut input| input.allocate(length))).unwrap_or(0)
}

/// Takes back a place that [`begin_step`] gave: the space is the guest's again.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) fn free(pointer: u32, length: u32) {
    INPUT.with(|input| {
        if let Ok(mut input) = input.try_borrow_mut()
            && !input.get(pointer, length).is_empty()
        {
            *input = CallBuffer::new();
        }
    });
}

/// Shows the input of the step, which lies at `pointer`.
pub(crate) fn with_input<R>(pointer: u32, length: u32, read: impl FnOnce(&[u8]) -> R) -> R {
    INPUT.with_borrow(|input| read(input.get(pointer, length)))
}

/// Ends a step with these bytes; returns the word that says where they are.
pub(crate) fn leave(bytes: Vec<u8>) -> u64 {
    // Everything that is returned fits the 32 bits of a guest's memory.
    let word = pack(address(&bytes), bytes.len() as u32);
    OUTPUT.set(bytes);
    word
}

/// Where bytes lie in the guest's memory.
#[cfg(target_arch = "wasm32")]
fn address(bytes: &[u8]) -> u32 {
    bytes.as_ptr() as u32
}

/// Native tests have no such memory: every buffer says that it lies here.
#[cfg(not(target_arch = "wasm32"))]
fn address(_: &[u8]) -> u32 {
    0x1000
}

/// What a host does in native tests: writes the input of a step.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn write_input(envelope: &[u8]) -> u32 {
    let length = u32::try_from(envelope.len()).expect("a test's input fits a guest's memory");
    let pointer = begin_step(length);
    INPUT.with_borrow_mut(|input| input.bytes.copy_from_slice(envelope));
    pointer
}

/// What a host does in native tests: reads what the step left at the place that `word` says.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn read_output(word: u64) -> Vec<u8> {
    let (pointer, length) = glasshouse_envelope::unpack(word);
    OUTPUT.with_borrow(|output| {
        assert_eq!(
            (pointer, length as usize),
            (address(output), output.len()),
            "an entry returns what it left"
        );
        output.clone()
    })
}

/// Where the host writes the envelope of the next step.
#[derive(Debug, Default)]
struct CallBuffer {
    bytes: Vec<u8>,
}

impl CallBuffer {
    const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Makes room for `length` bytes and drops what was there. `None` when no envelope is that long or memory is short;
    /// the buffer is empty then.
    fn allocate(&mut self, length: u32) -> Option<u32> {
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
        Some(address(&self.bytes))
    }

    /// The bytes at `pointer`, if that is this buffer and it has so many; nothing otherwise, which decodes as an
    /// envelope that is cut off. The pointer is only compared, never followed.
    fn get(&self, pointer: u32, length: u32) -> &[u8] {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match self.bytes.get(..length) {
            Some(bytes) if address(&self.bytes) == pointer => bytes,
            _ => &[],
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod exports {
    use std::future::Future;

    use glasshouse_protocol::ErrorData;
    use serde::{Serialize, de::DeserializeOwned};

    use super::{begin_step, free, leave, with_input};
    use crate::executor;

    /// The contract that the module was built for. A host that does not know it refuses the module.
    #[used]
    #[unsafe(link_section = "glasshouse.abi")]
    static ABI: [u8; 4] = crate::ABI_VERSION.to_le_bytes();

    #[unsafe(no_mangle)]
    extern "C" fn gh_allocate(length: u32) -> u32 {
        begin_step(length)
    }

    #[unsafe(no_mangle)]
    extern "C" fn gh_free(pointer: u32, length: u32) {
        free(pointer, length);
    }

    /// Continues the pending call with the answer to its request.
    #[unsafe(no_mangle)]
    extern "C" fn gh_resume(pointer: u32, length: u32) -> u64 {
        leave(with_input(pointer, length, executor::resume).encode())
    }

    /// The body of an exported entry.
    pub fn begin<Arguments, Output, Running>(
        pointer: u32,
        length: u32,
        entry: fn(Arguments) -> Running,
    ) -> u64
    where
        Arguments: DeserializeOwned,
        Output: Serialize,
        Running: Future<Output = Result<Output, ErrorData>> + 'static,
    {
        leave(with_input(pointer, length, |input| executor::begin(input, entry)).encode())
    }
}

#[cfg(target_arch = "wasm32")]
pub use exports::begin;

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
        assert_eq!(buffer.get(0, 4), &[] as &[u8]);
    }

    #[test]
    fn a_place_is_given_back_once_and_only_as_it_was_given() {
        let pointer = begin_step(100);
        let capacity = || INPUT.with_borrow(|input| input.bytes.capacity());
        for (pointer, length) in [(pointer.wrapping_add(1), 100), (pointer, 101), (pointer, 0)] {
            free(pointer, length);
            assert!(capacity() >= 100);
        }
        free(pointer, 100);
        assert_eq!(capacity(), 0);
        free(pointer, 100);
        begin_step(5);
        assert!(capacity() >= 5);
    }

    #[test]
    fn many_calls_use_the_space_of_the_largest() {
        let mut buffer = CallBuffer::new();
        buffer.allocate(4096).unwrap();
        let first = buffer.bytes.as_ptr();
        for round in 0..10_000 {
            buffer.allocate(round % 4096).unwrap();
            assert_eq!(buffer.bytes.as_ptr(), first);
        }
        buffer.allocate(8 << 20).unwrap();
        buffer.allocate(100).unwrap();
        assert!(buffer.bytes.capacity() <= RETAINED);
    }

    #[test]
    fn a_step_begins_with_an_empty_output() {
        leave(vec![1; 100]);
        begin_step(1);
        assert_eq!(OUTPUT.take().capacity(), 0);
    }
}
