use alloc::{string::String, vec, vec::Vec};

use super::*;
use crate::{ValueType, functions};

/// The functions of the specification and their types: `i` for `i32`, `I` for `i64`, the result behind the colon.
const SPECIFICATION: &[&str] = &[
    "args_get ii:i",
    "args_sizes_get ii:i",
    "environ_get ii:i",
    "environ_sizes_get ii:i",
    "clock_res_get ii:i",
    "clock_time_get iIi:i",
    "fd_advise iIIi:i",
    "fd_allocate iII:i",
    "fd_close i:i",
    "fd_datasync i:i",
    "fd_fdstat_get ii:i",
    "fd_fdstat_set_flags ii:i",
    "fd_fdstat_set_rights iII:i",
    "fd_filestat_get ii:i",
    "fd_filestat_set_size iI:i",
    "fd_filestat_set_times iIIi:i",
    "fd_pread iiiIi:i",
    "fd_prestat_get ii:i",
    "fd_prestat_dir_name iii:i",
    "fd_pwrite iiiIi:i",
    "fd_read iiii:i",
    "fd_readdir iiiIi:i",
    "fd_renumber ii:i",
    "fd_seek iIii:i",
    "fd_sync i:i",
    "fd_tell ii:i",
    "fd_write iiii:i",
    "path_create_directory iii:i",
    "path_filestat_get iiiii:i",
    "path_filestat_set_times iiiiIIi:i",
    "path_link iiiiiii:i",
    "path_open iiiiiIIii:i",
    "path_readlink iiiiii:i",
    "path_remove_directory iii:i",
    "path_rename iiiiii:i",
    "path_symlink iiiii:i",
    "path_unlink_file iii:i",
    "poll_oneoff iiii:i",
    "proc_exit i:",
    "proc_raise i:i",
    "sched_yield :i",
    "random_get ii:i",
    "sock_accept iii:i",
    "sock_recv iiiiii:i",
    "sock_send iiiii:i",
    "sock_shutdown ii:i",
];

#[test]
fn every_function_of_the_specification_is_there_with_its_type() {
    let letter = |kind: &ValueType| match kind {
        ValueType::I32 => 'i',
        ValueType::I64 => 'I',
    };
    let found: Vec<String> = functions()
        .filter(|function| function.module == WASI_MODULE)
        .map(|function| {
            let parameters: String = function.parameters.iter().map(letter).collect();
            let result: String = function.result.iter().map(letter).collect();
            alloc::format!("{} {parameters}:{result}", function.name)
        })
        .collect();
    assert_eq!(found.len(), 46);
    for line in SPECIFICATION {
        assert!(found.iter().any(|function| function == line), "{line}");
    }
}

#[test]
fn a_place_outside_of_the_memory_is_a_fault_and_never_more() {
    let outside = 0xFFFF_FFF0;
    let mut program = Program::new();
    let file = program.open("file", CREATE).unwrap();
    for (name, arguments) in [
        ("clock_time_get", vec![0, 0, outside]),
        ("clock_res_get", vec![0, outside]),
        ("args_sizes_get", vec![outside, outside]),
        ("environ_sizes_get", vec![outside, outside]),
        ("random_get", vec![outside, 100]),
        ("random_get", vec![0, 0xFFFF_FFFF]),
        ("fd_fdstat_get", vec![file, outside]),
        ("fd_filestat_get", vec![file, outside]),
        ("fd_prestat_get", vec![3, outside]),
        ("fd_prestat_dir_name", vec![3, outside, 1]),
        ("fd_read", vec![file, outside, 1, RESULT]),
        ("fd_read", vec![file, 0x200, 0, outside]),
        ("fd_write", vec![file, outside, 1, RESULT]),
        ("fd_write", vec![1, outside, 1, RESULT]),
        ("fd_pread", vec![file, outside, 1, 0, RESULT]),
        ("fd_pwrite", vec![file, outside, 1, 0, RESULT]),
        ("fd_readdir", vec![3, outside, 100, 0, RESULT]),
        ("fd_readdir", vec![3, 0, 100, 0, outside]),
        ("fd_seek", vec![file, 0, 0, outside]),
        ("fd_tell", vec![file, outside]),
        ("path_open", vec![3, 0, outside, 10, 0, 0, 0, 0, RESULT]),
        ("path_create_directory", vec![3, outside, 100]),
        ("path_filestat_get", vec![3, 0, outside, 100, RESULT]),
        ("path_readlink", vec![3, outside, 100, 0, 10, RESULT]),
        ("path_symlink", vec![outside, 100, 3, 0, 1]),
        ("poll_oneoff", vec![outside, DATA, 1, RESULT]),
        ("poll_oneoff", vec![DATA, outside, 1, RESULT]),
    ] {
        assert_eq!(program.call(name, &arguments), Err(errno(Errno::Fault)), "{name} {arguments:?}");
    }
    // A buffer that is outside, in a list that is not.
    program.put(OTHER, &[outside as u32, 100].map(u32::to_le_bytes).concat());
    for name in ["fd_read", "fd_write"] {
        assert_eq!(program.call(name, &[file, OTHER, 1, RESULT]), Err(errno(Errno::Fault)), "{name}");
    }
}

#[test]
fn arguments_and_environment_lie_in_the_memory_as_c_expects_them() {
    let mut program = Program::new();
    program.context.set_arguments(["program", "zwei", "cut\0here"]);
    program.context.set_environment([("A", "1"), ("B", "zwei = 2")]);
    program.call("args_sizes_get", &[RESULT, RESULT + 4]).unwrap();
    assert_eq!((program.u32(RESULT), program.u32(RESULT + 4)), (3, 17));
    program.call("args_get", &[OTHER, DATA]).unwrap();
    assert_eq!(program.bytes(DATA, 17), b"program\0zwei\0cut\0");
    assert_eq!([0, 4, 8].map(|at| program.u32(OTHER + at)), [DATA, DATA + 8, DATA + 13]);
    program.call("environ_sizes_get", &[RESULT, RESULT + 4]).unwrap();
    assert_eq!((program.u32(RESULT), program.u32(RESULT + 4)), (2, 15));
    program.call("environ_get", &[OTHER, DATA]).unwrap();
    assert_eq!(program.bytes(DATA, 15), b"A=1\0B=zwei = 2\0");
}

#[test]
fn a_program_ends_with_its_code_or_by_a_signal() {
    let mut program = Program::new();
    assert_eq!(program.stop("proc_exit", &[300]), Err(Stop::Exit(300)));
    // SIGABRT has the number 6.
    assert_eq!(program.stop("proc_raise", &[6]), Err(Stop::Exit(134)));
    assert_eq!(program.call("proc_raise", &[16]), Ok(()));
    assert_eq!(program.call("proc_raise", &[99]), Err(errno(Errno::Invalid)));
}

#[test]
fn no_descriptor_is_a_socket() {
    let mut program = Program::new();
    assert_eq!(program.call("sock_shutdown", &[1, 0]), Err(errno(Errno::NotSocket)));
    assert_eq!(program.call("sock_accept", &[3, 0, RESULT]), Err(errno(Errno::NotSocket)));
    assert_eq!(program.call("sock_recv", &[9, 0, 0, 0, 0, 0]), Err(errno(Errno::BadDescriptor)));
    assert_eq!(program.call("sock_send", &[9, 0, 0, 0, 0]), Err(errno(Errno::BadDescriptor)));
}
