//! Arguments, environment, clocks, random bytes, and the end of the process.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    Errno, Fault,
    memory::{wide, words},
};
use crate::{Call, Context, Stop, own::fill_random};

/// Virtual nanoseconds that pass while a program reads the clock.
const READING_NANOSECONDS: u64 = 1_000;

/// The exit code of a process that a signal ends is this and the signal's number, as a shell says it.
const SIGNAL_EXIT_CODE: u32 = 128;

/// What a program is started with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(crate) struct Program {
    arguments: Vec<String>,
    /// Each `name=value`.
    environment: Vec<String>,
    /// When the process began, on its own clock.
    began: u64,
}

impl Program {
    pub(crate) fn new(began: u64) -> Self {
        Self { began, ..Self::default() }
    }
}

impl Context {
    /// Sets the arguments that a program sees; the first is its name. A text is cut at a zero byte, which ends it for the
    /// program.
    pub fn set_arguments<S: AsRef<str>>(&mut self, arguments: impl IntoIterator<Item = S>) {
        self.program.arguments =
            arguments.into_iter().map(|text| before_zero(text.as_ref()).to_owned()).collect();
    }

    /// Sets the environment that a program sees, names and values. A text is cut at a zero byte.
    pub fn set_environment<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) {
        let text =
            |(name, value): (N, V)| format!("{}={}", before_zero(name.as_ref()), before_zero(value.as_ref()));
        self.program.environment = variables.into_iter().map(text).collect();
    }
}

fn before_zero(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

/// Stores a list of texts: pointers to them at the first argument, themselves, each ended by a zero byte, at the second.
fn store_texts(call: &mut Call<'_>, texts: &[String], arguments: &[u64]) -> Result<(), Fault> {
    let [mut pointers, mut buffer] = words(arguments);
    for text in texts {
        call.store_u32(pointers, buffer)?;
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        call.store(buffer, &bytes)?;
        pointers = pointers.checked_add(4).ok_or(Errno::Overflow)?;
        buffer = buffer.checked_add(bytes.len() as u32).ok_or(Errno::Overflow)?;
    }
    Ok(())
}

/// Stores how many texts a list has and how many bytes they take.
fn store_sizes(call: &mut Call<'_>, texts: &[String], arguments: &[u64]) -> Result<(), Fault> {
    let [count, size] = words(arguments);
    let bytes: usize = texts.iter().map(|text| text.len() + 1).sum();
    let bytes = u32::try_from(bytes).map_err(|_| Errno::Overflow)?;
    call.store_u32(count, u32::try_from(texts.len()).map_err(|_| Errno::Overflow)?)?;
    call.store_u32(size, bytes)
}

/// `args_get(argv, argv_buf)`.
pub(super) fn args_get(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let texts = call.context.program.arguments.clone();
    store_texts(call, &texts, arguments)
}

/// `args_sizes_get(argc, argv_buf_size)`.
pub(super) fn args_sizes_get(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let texts = call.context.program.arguments.clone();
    store_sizes(call, &texts, arguments)
}

/// `environ_get(environ, environ_buf)`.
pub(super) fn environ_get(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let texts = call.context.program.environment.clone();
    store_texts(call, &texts, arguments)
}

/// `environ_sizes_get(count, environ_buf_size)`.
pub(super) fn environ_sizes_get(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let texts = call.context.program.environment.clone();
    store_sizes(call, &texts, arguments)
}

/// The clocks of WASI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClockId {
    /// Nanoseconds since the Unix epoch.
    RealTime,
    /// Time that never goes back.
    Monotonic,
    /// Processor time of the process or the thread. It is the virtual time since the process began: what the processor
    /// took would not be the same on each host.
    Processor,
}

impl ClockId {
    pub(super) fn new(number: u32) -> Result<Self, Errno> {
        match number {
            0 => Ok(Self::RealTime),
            1 => Ok(Self::Monotonic),
            2 | 3 => Ok(Self::Processor),
            _ => Err(Errno::Invalid),
        }
    }

    pub(super) fn read(self, context: &Context) -> u64 {
        let now = context.clock_now();
        match self {
            Self::RealTime => context.clock_wall(),
            Self::Monotonic => now,
            Self::Processor => now.saturating_sub(context.program.began),
        }
    }
}

/// `clock_res_get(id, resolution)`: a nanosecond.
pub(super) fn clock_res_get(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [id, result] = words(arguments);
    ClockId::new(id)?;
    call.store_u64(result, 1)
}

/// `clock_time_get(id, precision, time)`.
pub(super) fn clock_time_get(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [id, _, result] = words(arguments);
    let time = ClockId::new(id)?.read(call.context);
    call.store_u64(result, time)?;
    // So that a program that waits by looking at the clock again and again comes to an end.
    let now = call.context.clock_now();
    call.context.sleep_until(now.saturating_add(READING_NANOSECONDS));
    Ok(())
}

/// `random_get(buf, buf_len)`.
pub(super) fn random_get(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [pointer, length] = words(arguments);
    call.place(pointer, length)?;
    call.pay(length.into())?;
    fill_random(call, pointer, length);
    Ok(())
}

/// `proc_exit(code)`.
pub(super) fn proc_exit(_: &mut Call<'_>, arguments: &[u64]) -> Result<u64, Stop> {
    Err(Stop::Exit(wide(arguments, 0) as u32))
}

/// `proc_raise(signal)`: what the signal does to a process that has no handler for it.
pub(super) fn proc_raise(_: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    /// `none`, `chld`, `cont`, `urg`, `winch`: nothing happens.
    const IGNORED: [u32; 5] = [0, 16, 17, 22, 27];
    /// `stop`, `tstp`, `ttin`, `ttou`: nobody could let the process go on.
    const STOPPING: [u32; 4] = [18, 19, 20, 21];
    const LAST: u32 = 30;
    match words(arguments) {
        [signal] if IGNORED.contains(&signal) => Ok(()),
        [signal] if STOPPING.contains(&signal) => Err(Errno::NotSupported.into()),
        [signal] if signal <= LAST => Err(Stop::Exit(SIGNAL_EXIT_CODE + signal).into()),
        _ => Err(Errno::Invalid.into()),
    }
}
