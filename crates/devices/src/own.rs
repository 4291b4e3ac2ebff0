//! The module `glasshouse`: the functions of the devices that every process has.

use alloc::vec;

use crate::{
    Call, HostFunction, Stop,
    ValueType::{self, I32, I64},
    import::Handler,
};

/// The module name of these imports.
pub const MODULE: &str = "glasshouse";

/// The table.
pub(crate) const FUNCTIONS: &[HostFunction] = &[
    function("clock_now", &[], Some(I64), |call, _| Ok(call.context.clock_now())),
    function("random_fill", &[I32, I32], None, random_fill),
    function("log", &[I32, I32, I32], None, log),
    function("emit", &[I32, I32], None, emit),
    function("fail", &[I32, I32], None, fail),
];

/// One line of the table.
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
    let [pointer, length] = two(arguments);
    call.pay(length.into())?;
    call.check(pointer, length)?;
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
    Ok(0)
}

/// `log(level, pointer, length)`.
fn log(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let level = arguments.first().copied().unwrap_or_default() as u32;
    let [pointer, length] = two(arguments.get(1..).unwrap_or_default());
    // No more than what is kept is copied; the extra bytes let a cut character be seen as such.
    let limit = call.context.log_line_limit().saturating_add(4);
    let text = call.read_up_to(pointer, length, limit)?;
    call.context.log_bytes(level, &text)?;
    Ok(0)
}

/// `emit(pointer, length)`.
fn emit(call: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    let [pointer, length] = two(arguments);
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
    let [pointer, length] = two(arguments);
    Err(Stop::Failed(call.read_up_to(pointer, length, FAILURE_BYTES_MAXIMUM)?))
}

/// The first two arguments, as pointer and length.
fn two(arguments: &[u64]) -> [u32; 2] {
    match arguments {
        [pointer, length, ..] => [*pointer as u32, *length as u32],
        _ => [0; 2],
    }
}
