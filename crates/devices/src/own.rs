//! The module `glasshouse`: how its tables are written, and the functions that need no device of their own.
//!
//! ```text
//! random_fill(pointer: i32, length: i32)             fills a place with the next bytes of the random stream
//! log(level: i32, pointer: i32, length: i32)         logs a line of UTF-8; levels 0 error, 1 warning, 2 information, 3 debug, 4 trace
//! emit(pointer: i32, length: i32)                    emits an event, JSON by convention
//! fail(pointer: i32, length: i32)                    ends the process with an error object as JSON; does not return
//! ```
//!
//! Pointers and lengths are unsigned. A place outside of the memory stops the step, as does any other misuse. Every byte
//! that is moved costs [`crate::FUEL_PER_BYTE`].

use alloc::vec;

use crate::{
    Call, HostFunction, Stop,
    ValueType::{self, I32},
    host,
    import::Handler,
};

/// The module name of these imports.
pub const MODULE: &str = "glasshouse";

/// The table.
pub(crate) const FUNCTIONS: &[HostFunction] = &[
    function("random_fill", &[I32, I32], None, random_fill),
    function("log", &[I32, I32, I32], None, log),
    function("emit", &[I32, I32], None, emit),
    function("take_answer", &[I32, I32], None, host::take_answer),
    function("fail", &[I32, I32], None, fail),
];

/// One line of a table.
pub(crate) const fn function(
    name: &'static str,
    parameters: &'static [ValueType],
    result: Option<ValueType>,
    handler: Handler,
) -> HostFunction {
    HostFunction { module: MODULE, name, parameters, result, handler }
}

/// Random bytes that are drawn at once: bounds the copy. A multiple of the random stream's word, so that the pieces are
/// what the whole would be.
const RANDOM_PIECE_BYTES: u32 = 64 << 10;

/// Bytes of an error object that [`fail`] takes.
const FAILURE_BYTES_MAXIMUM: u32 = 64 << 10;

/// `random_fill(pointer, length)`.
fn random_fill(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = words(arguments);
    call.pay(length.into())?;
    call.check(pointer, length)?;
    fill_random(call, pointer, length);
    Ok(0)
}

/// Fills a place that was paid for and lies in the guest's memory.
pub(crate) fn fill_random(call: &mut Call<'_>, pointer: u32, length: u32) {
    let mut piece = vec![0; length.min(RANDOM_PIECE_BYTES) as usize];
    let mut done = 0;
    while done < length {
        let size = (length - done).min(RANDOM_PIECE_BYTES);
        let bytes = &mut piece[..size as usize];
        call.context.random_fill(bytes);
        // The whole place was checked.
        let _ = call.try_write(pointer + done, bytes);
        done += size;
    }
}

/// `log(level, pointer, length)`.
fn log(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [level, pointer, length] = words(arguments);
    // No more than what is kept is copied; the extra bytes let a cut character be seen as such.
    let limit = call.context.log_line_limit().saturating_add(4);
    let text = call.read_up_to(pointer, length, limit)?;
    call.context.log_bytes(level, &text)?;
    Ok(0)
}

/// `emit(pointer, length)`.
fn emit(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = words(arguments);
    call.pay(length.into())?;
    call.check(pointer, length)?;
    // Asked before anything is copied.
    call.context.can_emit(length)?;
    let mut event = vec![0; length as usize];
    let _ = call.try_read(pointer, &mut event);
    call.context.emit(&event)?;
    Ok(0)
}

/// `fail(pointer, length)`: ends the process with an error object as JSON.
fn fail(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = words(arguments);
    Err(Stop::Failed(call.read_up_to(pointer, length, FAILURE_BYTES_MAXIMUM)?))
}

/// The first arguments as unsigned 32-bit numbers.
pub(crate) fn words<const COUNT: usize>(arguments: &[u64]) -> [u32; COUNT] {
    let mut words = [0; COUNT];
    for (word, argument) in words.iter_mut().zip(arguments) {
        *word = *argument as u32;
    }
    words
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, vec::Vec};

    use crate::{
        Stop, functions,
        testing::{Machine, misuse},
    };

    #[test]
    fn no_function_is_listed_twice() {
        let names: Vec<_> = functions().map(|function| (function.module, function.name)).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn random_bytes_in_pieces_are_those_of_one_draw() {
        let mut machine = Machine::new();
        machine.memory.resize(200_000, 0);
        machine.call("random_fill", &[3, 150_001]).unwrap();
        let mut whole = [0; 150_001];
        Machine::new().context.random_fill(&mut whole);
        assert_eq!(machine.memory[3..150_004], whole);
        assert_eq!((machine.memory[2], machine.memory[150_004], machine.paid), (0, 0, 150_001));
        assert!(misuse(machine.call("random_fill", &[199_999, 2])).contains("outside of the memory"));
    }

    #[test]
    fn what_a_guest_logs_emits_and_fails_with_is_read_from_its_memory() {
        let mut machine = Machine::new();
        machine.memory[..8].copy_from_slice(b"{\"a\":1}!");
        machine.call("log", &[2, 1, 4]).unwrap();
        machine.call("emit", &[0, 7]).unwrap();
        assert_eq!(machine.call("fail", &[0, 7]), Err(Stop::Failed(b"{\"a\":1}".to_vec())));
        assert_eq!(machine.context.take_logs()[0].text, "\"a\":");
        assert_eq!(machine.context.take_events(), [b"{\"a\":1}"]);
        assert!(misuse(machine.call("log", &[5, 0, 1])).contains("log level 5"));
        assert!(misuse(machine.call("emit", &[0xffff, 2])).contains("outside of the memory"));
    }
}
