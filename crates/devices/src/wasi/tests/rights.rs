use super::*;
use crate::wasi::Rights;

#[test]
fn a_descriptor_does_what_its_rights_say_and_nothing_else() {
    let mut program = Program::new();
    program.open("file", CREATE).unwrap();
    let reader = program.open_with(3, "file", 0, [Rights::FD_READ.0, 0], 0).unwrap();
    assert_eq!(program.write(reader, b"x"), Err(errno(Errno::NotCapable)));
    assert_eq!(program.read(reader, 1), Ok(Vec::new()));
    // To read elsewhere takes the right to seek.
    let record = [DATA as u32, 1].map(u32::to_le_bytes).concat();
    program.put(OTHER, &record);
    assert_eq!(program.call("fd_pread", &[reader, OTHER, 1, 0, RESULT]), Err(errno(Errno::NotCapable)));
    assert_eq!(program.call("fd_filestat_get", &[reader, DATA]), Err(errno(Errno::NotCapable)));
    assert_eq!(program.call("fd_sync", &[reader]), Err(errno(Errno::NotCapable)));
    // To tell is to seek nowhere.
    let teller = program.open_with(3, "file", 0, [Rights::FD_TELL.0, 0], 0).unwrap();
    assert_eq!(program.seek(teller, 0, 1), Ok(0));
    assert_eq!(program.seek(teller, 1, 1), Err(errno(Errno::NotCapable)));
}

#[test]
fn rights_are_passed_on_only_as_far_as_they_are_inherited() {
    let mut program = Program::new();
    program.path("path_create_directory", "d").unwrap();
    program.open("d/file", CREATE).unwrap();
    let base = Rights::PATH_OPEN.0;
    let directory = program.open_with(3, "d", DIRECTORY, [base, Rights::FD_READ.0], 0).unwrap();
    assert_eq!(program.open_with(directory, "file", 0, [FILE, 0], 0), Err(errno(Errno::NotCapable)));
    assert!(program.open_with(directory, "file", 0, [Rights::FD_READ.0, 0], 0).is_ok());
    // Neither are files made, nor emptied, nor written through at once, without the right to.
    for (how, flags) in [(CREATE, 0), (TRUNCATE, 0), (0, 1 << 1), (0, 1 << 4)] {
        let opened = program.open_with(directory, "other", how, [0, 0], flags);
        assert_eq!(opened, Err(errno(Errno::NotCapable)), "{how} {flags}");
    }
    let [path, length] = program.put(PATH, b"file");
    assert_eq!(program.call("path_unlink_file", &[directory, path, length]), Err(errno(Errno::NotCapable)));
}

#[test]
fn rights_can_be_given_up_and_not_taken_back() {
    let mut program = Program::new();
    let file = program.open("file", CREATE).unwrap();
    program.call("fd_fdstat_set_rights", &[file, Rights::FD_READ.0, 0]).unwrap();
    assert_eq!(program.write(file, b"x"), Err(errno(Errno::NotCapable)));
    let back = program.call("fd_fdstat_set_rights", &[file, Rights::FD_WRITE.0, 0]);
    assert_eq!(back, Err(errno(Errno::NotCapable)));
    program.call("fd_fdstat_get", &[file, DATA]).unwrap();
    assert_eq!((program.u64(DATA + 8), program.u64(DATA + 16)), (Rights::FD_READ.0, 0));
    assert_eq!(program.bytes(DATA, 1), [4]);
}

#[test]
fn directories_are_preopened_under_their_names_until_they_are_closed() {
    let mut program = Program::new();
    program.call("fd_prestat_get", &[3, RESULT]).unwrap();
    assert_eq!((program.u32(RESULT), program.u32(RESULT + 4)), (0, 1));
    assert_eq!(program.call("fd_prestat_dir_name", &[3, DATA, 0]), Err(errno(Errno::NameTooLong)));
    program.call("fd_prestat_dir_name", &[3, DATA, 1]).unwrap();
    assert_eq!(program.bytes(DATA, 1), b"/");
    for fd in [0, 1, 2, 4] {
        assert_eq!(program.call("fd_prestat_get", &[fd, RESULT]), Err(errno(Errno::BadDescriptor)));
    }
    program.call("fd_close", &[3]).unwrap();
    assert_eq!(program.call("fd_prestat_get", &[3, RESULT]), Err(errno(Errno::BadDescriptor)));
    assert_eq!(program.call("fd_close", &[3]), Err(errno(Errno::BadDescriptor)));
}

#[test]
fn renumbering_moves_a_descriptor_onto_an_open_one() {
    let mut program = Program::new();
    let (a, b) = (program.open("a", CREATE).unwrap(), program.open("b", CREATE).unwrap());
    program.write(a, b"of a").unwrap();
    assert_eq!(program.call("fd_renumber", &[a, 100]), Err(errno(Errno::BadDescriptor)));
    assert_eq!(program.call("fd_renumber", &[a, a]), Ok(()));
    program.call("fd_renumber", &[a, b]).unwrap();
    assert_eq!(program.seek(a, 0, 1), Err(errno(Errno::BadDescriptor)));
    assert_eq!(program.seek(b, 0, 1), Ok(4));
    // The number is free again.
    assert_eq!(program.open("c", CREATE), Ok(a));
}
