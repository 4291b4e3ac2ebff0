//! What a host calls. `README.md` describes it as a whole.

use glasshouse_halt::Setting;
use spin::mutex::SpinMutex;

use crate::{Module, Status};

/// The version of this interface: it changes when a host would have to.
pub const VERSION: u32 = 1;

static MODULE: SpinMutex<Module> = SpinMutex::new(Module::new());

/// Does something with the state. It is free unless a call before this one trapped.
fn with<T>(trapped: T, call: impl FnOnce(&mut Module) -> T) -> T {
    MODULE.try_lock().map_or(trapped, |mut module| call(&mut module))
}

/// The version of this interface.
#[unsafe(no_mangle)]
pub extern "C" fn halt_abi_version() -> u32 {
    VERSION
}

/// The buffer through which texts are given, with room for `length` bytes; null above 1 MiB.
#[unsafe(no_mangle)]
pub extern "C" fn halt_buffer(length: usize) -> *mut u8 {
    with(core::ptr::null_mut(), |module| module.buffer(length))
}

/// Where the numbers of the last answer are. It never changes.
#[unsafe(no_mangle)]
pub extern "C" fn halt_answer() -> *const f64 {
    with(core::ptr::null(), |module| module.answer().as_ptr())
}

/// Where the last text is.
#[unsafe(no_mangle)]
pub extern "C" fn halt_text() -> *const u8 {
    with(core::ptr::null(), |module| module.text().as_ptr())
}

/// How many bytes the last text has.
#[unsafe(no_mangle)]
pub extern "C" fn halt_text_length() -> usize {
    with(0, |module| module.text().len())
}

/// A configuration with its defaults, or zero.
#[unsafe(no_mangle)]
pub extern "C" fn halt_config_new() -> u32 {
    with(0, Module::new_config)
}

/// Sets a field to a number.
#[unsafe(no_mangle)]
pub extern "C" fn halt_config_set_number(config: u32, name: usize, name_length: usize, number: f64) -> i32 {
    set(config, (name, name_length), Setting::Number(number))
}

/// Sets a field to true, which is any number but zero, or to false.
#[unsafe(no_mangle)]
pub extern "C" fn halt_config_set_flag(config: u32, name: usize, name_length: usize, flag: u32) -> i32 {
    set(config, (name, name_length), Setting::Flag(flag != 0))
}

/// Switches a field off.
#[unsafe(no_mangle)]
pub extern "C" fn halt_config_set_off(config: u32, name: usize, name_length: usize) -> i32 {
    set(config, (name, name_length), Setting::Off)
}

fn set(config: u32, name: (usize, usize), setting: Setting<'_>) -> i32 {
    with(Status::Misuse, |module| module.set(config, name, setting)) as i32
}

/// Sets a field to a text.
#[unsafe(no_mangle)]
pub extern "C" fn halt_config_set_text(
    config: u32,
    name: usize,
    name_length: usize,
    text: usize,
    text_length: usize,
) -> i32 {
    with(Status::Misuse, |module| module.set_text(config, (name, name_length), (text, text_length))) as i32
}

/// Forgets a configuration. Kernels that were made of it stay.
#[unsafe(no_mangle)]
pub extern "C" fn halt_config_free(config: u32) -> i32 {
    with(Status::Misuse, |module| module.free_config(config)) as i32
}

/// A kernel with these limits, or zero: the text says why.
#[unsafe(no_mangle)]
pub extern "C" fn halt_kernel_new(config: u32) -> u32 {
    with(0, |module| module.new_kernel(config))
}

/// Forgets a kernel.
#[unsafe(no_mangle)]
pub extern "C" fn halt_kernel_free(kernel: u32) -> i32 {
    with(Status::Misuse, |module| module.free_kernel(kernel)) as i32
}

/// Decides about a token of which only the score is known.
#[unsafe(no_mangle)]
pub extern "C" fn halt_process_token(kernel: u32, index: f64, score: f64) -> i32 {
    with(Status::Misuse as i32, |module| module.process_token(kernel, index, score))
}

/// Decides about a token, of which those parts are known that `given` names.
#[unsafe(no_mangle)]
pub extern "C" fn halt_process(
    kernel: u32,
    index: f64,
    score: f64,
    entropy_bits: f64,
    elapsed_ms: f64,
    text: usize,
    text_length: usize,
    given: u32,
) -> i32 {
    let measured = [score, entropy_bits, elapsed_ms];
    with(Status::Misuse as i32, |module| module.process(kernel, index, measured, (text, text_length), given))
}

/// Ends a stream. One: its halt is the answer. Zero: it ended by itself.
#[unsafe(no_mangle)]
pub extern "C" fn halt_finish(kernel: u32) -> i32 {
    with(Status::Misuse, |module| module.finish(kernel)) as i32
}

/// One: the stream has halted, and its halt is the answer. Zero: it has not.
#[unsafe(no_mangle)]
pub extern "C" fn halt_halted(kernel: u32) -> i32 {
    with(Status::Misuse, |module| module.halted(kernel)) as i32
}

/// Whether tokens may still come.
#[unsafe(no_mangle)]
pub extern "C" fn halt_is_active(kernel: u32) -> i32 {
    with(0, |module| module.kernel(kernel).is_some_and(|kernel| kernel.is_active()).into())
}

/// Whether a soft halt waits for the end of a sentence.
#[unsafe(no_mangle)]
pub extern "C" fn halt_is_finishing(kernel: u32) -> i32 {
    with(0, |module| module.kernel(kernel).is_some_and(|kernel| kernel.is_finishing()).into())
}

/// Tokens that were taken; -2 where the handle names nothing.
#[unsafe(no_mangle)]
pub extern "C" fn halt_tokens(kernel: u32) -> f64 {
    with(-2.0, |module| module.kernel(kernel).map_or(-2.0, |kernel| kernel.tokens() as f64))
}

/// Tokens that may be shown; -2 where the handle names nothing.
#[unsafe(no_mangle)]
pub extern "C" fn halt_released(kernel: u32) -> f64 {
    with(-2.0, |module| module.kernel(kernel).map_or(-2.0, |kernel| kernel.released() as f64))
}

/// Leaves the trace where texts are left, and answers its number of entries.
#[unsafe(no_mangle)]
pub extern "C" fn halt_trace(kernel: u32) -> i32 {
    with(Status::Misuse as i32, |module| module.trace(kernel))
}

/// Leaves what the answer is about, in words, as the text; nothing where it is about nothing.
#[unsafe(no_mangle)]
pub extern "C" fn halt_cause() {
    with((), Module::cause);
}

/// Leaves the name of a rule as the text.
#[unsafe(no_mangle)]
pub extern "C" fn halt_rule(rule: u32) -> i32 {
    with(Status::Misuse, |module| module.rule(rule)) as i32
}

/// One: the text ends a sentence. Zero: it does not.
#[unsafe(no_mangle)]
pub extern "C" fn halt_ends_sentence(text: usize, text_length: usize) -> i32 {
    with(Status::Misuse, |module| module.ends_sentence((text, text_length))) as i32
}
