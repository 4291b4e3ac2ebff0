//! The module `wasi_snapshot_preview1`: an adapter over the devices, so that programs for `wasm32-wasip1` run.
//!
//! - [`FUNCTIONS`]: all functions, with their exact types.
//! - `process`: arguments, environment, clocks, random bytes, exit; `descriptor`, `transfer`, `directory`: what works on an
//!   open file; `path`: what works on paths; `poll`: waiting.
//! - `errno`, `rights`, `memory`: numbers and records of the specification.
//!
//! Numbers, layouts and rights are those of the specification (WASI, `phases/snapshot/witx/wasi_snapshot_preview1.witx`).
//! Reading a clock takes a microsecond of the process's time, so that who waits by looking at it comes to an end.
//! Where it leaves something open: a place outside of the guest's memory is `EFAULT`, a path that is not UTF-8 `EILSEQ`, one
//! with a zero byte `EINVAL`, one that leads out of its directory `EPERM`, a change of a read-only mount `EROFS`.

mod descriptor;
mod directory;
mod errno;
mod memory;
mod path;
mod poll;
mod process;
mod rights;
#[cfg(test)]
mod tests;
mod transfer;

pub(crate) use errno::{Errno, Fault};
pub(crate) use process::Program;
pub(crate) use rights::Rights;

use crate::{
    HostFunction, Stop,
    ValueType::{self, I32, I64},
    import::Handler,
};

/// The module name of these imports.
pub const WASI_MODULE: &str = "wasi_snapshot_preview1";

/// A function that answers with an error number.
const fn function(name: &'static str, parameters: &'static [ValueType], handler: Handler) -> HostFunction {
    HostFunction { module: WASI_MODULE, name, parameters, result: Some(I32), handler }
}

/// The table.
pub(crate) const FUNCTIONS: &[HostFunction] = &[
    function("args_get", &[I32, I32], |call, a| answer(process::args_get(call, a))),
    function("args_sizes_get", &[I32, I32], |call, a| answer(process::args_sizes_get(call, a))),
    function("environ_get", &[I32, I32], |call, a| answer(process::environ_get(call, a))),
    function("environ_sizes_get", &[I32, I32], |call, a| answer(process::environ_sizes_get(call, a))),
    function("clock_res_get", &[I32, I32], |call, a| answer(process::clock_res_get(call, a))),
    function("clock_time_get", &[I32, I64, I32], |call, a| answer(process::clock_time_get(call, a))),
    function("fd_advise", &[I32, I64, I64, I32], |call, a| answer(descriptor::fd_advise(call, a))),
    function("fd_allocate", &[I32, I64, I64], |call, a| answer(descriptor::fd_allocate(call, a))),
    function("fd_close", &[I32], |call, a| answer(descriptor::fd_close(call, a))),
    function("fd_datasync", &[I32], |call, a| answer(descriptor::fd_datasync(call, a))),
    function("fd_fdstat_get", &[I32, I32], |call, a| answer(descriptor::fd_fdstat_get(call, a))),
    function("fd_fdstat_set_flags", &[I32, I32], |call, a| answer(descriptor::fd_fdstat_set_flags(call, a))),
    function("fd_fdstat_set_rights", &[I32, I64, I64], |call, a| {
        answer(descriptor::fd_fdstat_set_rights(call, a))
    }),
    function("fd_filestat_get", &[I32, I32], |call, a| answer(descriptor::fd_filestat_get(call, a))),
    function("fd_filestat_set_size", &[I32, I64], |call, a| {
        answer(descriptor::fd_filestat_set_size(call, a))
    }),
    function("fd_filestat_set_times", &[I32, I64, I64, I32], |call, a| {
        answer(descriptor::fd_filestat_set_times(call, a))
    }),
    function("fd_pread", &[I32, I32, I32, I64, I32], |call, a| answer(transfer::fd_pread(call, a))),
    function("fd_prestat_get", &[I32, I32], |call, a| answer(directory::fd_prestat_get(call, a))),
    function("fd_prestat_dir_name", &[I32, I32, I32], |call, a| {
        answer(directory::fd_prestat_dir_name(call, a))
    }),
    function("fd_pwrite", &[I32, I32, I32, I64, I32], |call, a| answer(transfer::fd_pwrite(call, a))),
    function("fd_read", &[I32, I32, I32, I32], |call, a| answer(transfer::fd_read(call, a))),
    function("fd_readdir", &[I32, I32, I32, I64, I32], |call, a| answer(directory::fd_readdir(call, a))),
    function("fd_renumber", &[I32, I32], |call, a| answer(descriptor::fd_renumber(call, a))),
    function("fd_seek", &[I32, I64, I32, I32], |call, a| answer(transfer::fd_seek(call, a))),
    function("fd_sync", &[I32], |call, a| answer(descriptor::fd_sync(call, a))),
    function("fd_tell", &[I32, I32], |call, a| answer(transfer::fd_tell(call, a))),
    function("fd_write", &[I32, I32, I32, I32], |call, a| answer(transfer::fd_write(call, a))),
    function("path_create_directory", &[I32, I32, I32], |call, a| {
        answer(path::path_create_directory(call, a))
    }),
    function("path_filestat_get", &[I32, I32, I32, I32, I32], |call, a| {
        answer(path::path_filestat_get(call, a))
    }),
    function("path_filestat_set_times", &[I32, I32, I32, I32, I64, I64, I32], |call, a| {
        answer(path::path_filestat_set_times(call, a))
    }),
    function("path_link", &[I32, I32, I32, I32, I32, I32, I32], |call, a| answer(path::path_link(call, a))),
    function("path_open", &[I32, I32, I32, I32, I32, I64, I64, I32, I32], |call, a| {
        answer(path::path_open(call, a))
    }),
    function("path_readlink", &[I32, I32, I32, I32, I32, I32], |call, a| {
        answer(path::path_readlink(call, a))
    }),
    function("path_remove_directory", &[I32, I32, I32], |call, a| {
        answer(path::path_remove_directory(call, a))
    }),
    function("path_rename", &[I32, I32, I32, I32, I32, I32], |call, a| answer(path::path_rename(call, a))),
    function("path_symlink", &[I32, I32, I32, I32, I32], |call, a| answer(path::path_symlink(call, a))),
    function("path_unlink_file", &[I32, I32, I32], |call, a| answer(path::path_unlink_file(call, a))),
    function("poll_oneoff", &[I32, I32, I32, I32], |call, a| answer(poll::poll_oneoff(call, a))),
    HostFunction {
        module: WASI_MODULE,
        name: "proc_exit",
        parameters: &[I32],
        result: None,
        handler: process::proc_exit,
    },
    function("proc_raise", &[I32], |call, a| answer(process::proc_raise(call, a))),
    function("sched_yield", &[], |_, _| Ok(0)),
    function("random_get", &[I32, I32], |call, a| answer(process::random_get(call, a))),
    function("sock_accept", &[I32, I32, I32], |call, a| answer(descriptor::not_a_socket(call, a))),
    function("sock_recv", &[I32, I32, I32, I32, I32, I32], |call, a| {
        answer(descriptor::not_a_socket(call, a))
    }),
    function("sock_send", &[I32, I32, I32, I32, I32], |call, a| answer(descriptor::not_a_socket(call, a))),
    function("sock_shutdown", &[I32, I32], |call, a| answer(descriptor::not_a_socket(call, a))),
];

/// The result of a function: its error number, or the end of the step.
fn answer(result: Result<(), Fault>) -> Result<u64, Stop> {
    match result {
        Ok(()) => Ok(0),
        Err(Fault::Errno(errno)) => Ok(errno as u64),
        Err(Fault::Stop(stop)) => Err(stop),
    }
}
