use super::*;

#[test]
fn what_is_written_anywhere_is_read_back() {
    let mut program = Program::new();
    let file = program.open("file", CREATE).unwrap();
    assert_eq!(program.write(file, b"hello"), Ok(5));
    assert_eq!(program.seek(file, 3, 1), Ok(8));
    assert_eq!(program.write(file, b"!"), Ok(1));
    assert_eq!(program.seek(file, 0, 0), Ok(0));
    assert_eq!(program.read(file, 100), Ok(b"hello\0\0\0!".to_vec()));
    assert_eq!(program.read(file, 100), Ok(Vec::new()));
    assert_eq!(program.seek(file, -10, 2), Err(errno(Errno::Invalid)));
    assert_eq!(program.seek(file, 0, 3), Err(errno(Errno::Invalid)));
    assert_eq!(program.seek(file, i64::MAX, 2), Err(errno(Errno::Invalid)));
    assert_eq!(program.seek(file, -4, 2), Ok(5));
    // Elsewhere: the position stays.
    let record = [DATA as u32, 2].map(u32::to_le_bytes).concat();
    program.put(OTHER, &record);
    program.put(DATA, b"YZ");
    program.call("fd_pwrite", &[file, OTHER, 1, 1, RESULT]).unwrap();
    program.call("fd_pread", &[file, OTHER, 1, 2, RESULT]).unwrap();
    assert_eq!(program.bytes(DATA, 2), b"Zl");
    assert_eq!(program.seek(file, 0, 1), Ok(5));
}

#[test]
fn appending_goes_to_the_end_until_the_flag_is_taken_away() {
    let mut program = Program::new();
    let file = program.open_with(3, "log", CREATE, [FILE, 0], 1).unwrap();
    for text in [b"one", b"two"] {
        program.seek(file, 0, 0).unwrap();
        program.write(file, text).unwrap();
    }
    assert_eq!(program.seek(file, 0, 1), Ok(6));
    program.call("fd_fdstat_set_flags", &[file, 0]).unwrap();
    program.seek(file, 0, 0).unwrap();
    program.write(file, b"X").unwrap();
    assert_eq!(program.context.read_file("/log"), Ok(&b"Xnetwo"[..]));
    assert_eq!(program.call("fd_fdstat_set_flags", &[file, 32]), Err(errno(Errno::Invalid)));
}

#[test]
fn buffers_are_filled_and_emptied_one_after_the_other() {
    let mut program = Program::new();
    let file = program.open("file", CREATE).unwrap();
    program.put(DATA, b"abcdef");
    let records = [DATA as u32 + 3, 3, DATA as u32, 0, DATA as u32, 2].map(u32::to_le_bytes).concat();
    program.put(OTHER, &records);
    program.call("fd_write", &[file, OTHER, 3, RESULT]).unwrap();
    assert_eq!(program.u32(RESULT), 5);
    assert_eq!(program.context.read_file("file"), Ok(&b"defab"[..]));
    program.seek(file, 0, 0).unwrap();
    program.put(DATA, b"......");
    program.call("fd_read", &[file, OTHER, 3, RESULT]).unwrap();
    assert_eq!(program.bytes(DATA, 6), b"ab.def");
    assert_eq!(program.call("fd_read", &[file, OTHER, 1025, RESULT]), Err(errno(Errno::Invalid)));
}

#[test]
fn directories_and_streams_are_not_read_as_files() {
    let mut program = Program::new();
    assert_eq!(program.read(3, 1), Err(errno(Errno::IsDirectory)));
    assert_eq!(program.write(3, b"x"), Err(errno(Errno::IsDirectory)));
    assert_eq!(program.seek(3, 0, 0), Err(errno(Errno::IsDirectory)));
    assert_eq!(program.seek(1, 0, 0), Err(errno(Errno::InvalidSeek)));
    assert_eq!(program.write(0, b"x"), Err(errno(Errno::NotCapable)));
    assert_eq!(program.read(1, 1), Err(errno(Errno::NotCapable)));
    assert_eq!(program.read(77, 1), Err(errno(Errno::BadDescriptor)));
    assert_eq!(program.list(1, 10, 0), Err(errno(Errno::NotDirectory)));
}

#[test]
fn input_comes_as_it_was_queued_and_output_is_counted_whole() {
    let mut program = Program::new();
    program.context.push_stdin_line("first").unwrap();
    program.context.push_stdin(b"second").unwrap();
    assert_eq!(program.read(0, 4), Ok(b"firs".to_vec()));
    assert_eq!(program.read(0, 100), Ok(b"t\nsecond".to_vec()));
    assert_eq!(program.read(0, 100), Ok(Vec::new()));
    program.context.push_stdin(b"later").unwrap();
    assert_eq!(program.read(0, 100), Ok(b"later".to_vec()));

    program.context.set_stdio_limits(crate::StdioLimits { queued_bytes: 3, kept_bytes: 5 });
    let full = crate::DeviceError::StdinFull { limit: 3 };
    assert_eq!(program.context.push_stdin(b"four"), Err(full));
    program.write(1, b"hello").unwrap();
    program.write(1, b" world").unwrap();
    program.write(2, b"oh").unwrap();
    let report = program.context.take_report();
    assert_eq!((report.output.kept.as_slice(), report.output.total), (&b"hello"[..], 11));
    assert_eq!(report.output.hash, *blake3::hash(b"hello world").as_bytes());
    assert_eq!((report.error.kept.as_slice(), report.error.total), (&b"oh"[..], 2));
}

#[test]
fn times_are_virtual_and_change_as_they_are_set() {
    let mut program = Program::new();
    let file = program.open("file", CREATE).unwrap();
    let times = |program: &mut Program| {
        program.call("fd_filestat_get", &[file, DATA]).unwrap();
        [40, 48, 56].map(|at| program.u64(DATA + at))
    };
    let now = program.context.clock_wall();
    assert_eq!(times(&mut program), [now; 3]);
    // The access time to a number, the modification time to now.
    program.call("fd_filestat_set_times", &[file, 5, 6, 0b1001]).unwrap();
    assert_eq!(times(&mut program), [5, now, now]);
    for both in [0b11, 0b1100] {
        let changed = program.call("fd_filestat_set_times", &[file, 5, 6, both]);
        assert_eq!(changed, Err(errno(Errno::Invalid)));
    }
    let [path, length] = program.put(PATH, b"file");
    program.call("path_filestat_set_times", &[3, 0, path, length, 7, 8, 0b101]).unwrap();
    assert_eq!(times(&mut program), [7, 8, now]);
}
