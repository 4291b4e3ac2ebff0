use alloc::{format, string::String};

use super::*;
use crate::{FileLimits, FileOperation};

#[test]
fn a_deleted_file_lives_on_until_it_is_closed() {
    let mut program = Program::new();
    let file = program.open("file", CREATE).unwrap();
    program.write(file, b"still here").unwrap();
    program.path("path_unlink_file", "file").unwrap();
    assert_eq!(program.stat("file", false), Err(errno(Errno::NotFound)));
    program.seek(file, 0, 0).unwrap();
    assert_eq!(program.read(file, 20), Ok(b"still here".to_vec()));
    assert_eq!(program.context.file_bytes(), 10);
    program.call("fd_close", &[file]).unwrap();
    assert_eq!(program.context.file_bytes(), 0);
}

#[test]
fn renaming_replaces_files_and_empty_directories_and_nothing_else() {
    let mut program = Program::new();
    for name in ["a", "b"] {
        program.open(name, CREATE).unwrap();
    }
    for name in ["d", "e", "e/full"] {
        program.path("path_create_directory", name).unwrap();
    }
    assert_eq!(program.rename("a", "b"), Ok(()));
    assert_eq!(program.stat("a", false), Err(errno(Errno::NotFound)));
    assert_eq!(program.rename("b", "d"), Err(errno(Errno::IsDirectory)));
    assert_eq!(program.rename("d", "b"), Err(errno(Errno::NotDirectory)));
    assert_eq!(program.rename("d", "e"), Err(errno(Errno::NotEmpty)));
    assert_eq!(program.rename("e", "d"), Ok(()));
    assert_eq!(program.stat("d/full", false).map(|(kind, _, _)| kind), Ok(3));
    assert_eq!(program.rename("d", "d/full/self"), Err(errno(Errno::Invalid)));
    assert_eq!(program.rename(".", "x"), Err(errno(Errno::Busy)));
    program.link("b", "c").unwrap();
    assert_eq!(program.rename("b", "c"), Ok(()));
    assert_eq!(program.stat("b", false), Ok((4, 2, 0)));
}

#[test]
fn no_path_leads_out_of_its_directory() {
    let mut program = Program::new();
    program.context.write_file("/outside", b"secret").unwrap();
    program.context.write_file("/inside/file", b"").unwrap();
    let directory = program.open("inside", DIRECTORY).unwrap();
    program.symlink("../../outside", "inside/link").unwrap();
    program.symlink("../outside", "inside/up").unwrap();
    assert_eq!(program.symlink("/outside", "absolute"), Err(errno(Errno::NotPermitted)));
    for path in ["../outside", "/outside", "link", "up", "file/../../outside", "./../inside/file"] {
        let opened = program.open_with(directory, path, 0, [0, 0], 0);
        let expected = if path.starts_with("file") { Errno::NotDirectory } else { Errno::NotPermitted };
        assert_eq!(opened, Err(errno(expected)), "{path}");
    }
    // From the root the same link leads nowhere forbidden.
    assert!(program.open("inside/up", 0).is_ok());
}

#[test]
fn symbolic_links_are_followed_so_far() {
    let mut program = Program::new();
    program.open("file", CREATE).unwrap();
    program.symlink("file", "link0").unwrap();
    for number in 1..=41 {
        program.symlink(&format!("link{}", number - 1), &format!("link{number}")).unwrap();
    }
    assert!(program.open("link39", 0).is_ok());
    assert_eq!(program.open("link41", 0), Err(errno(Errno::Loop)));
    program.symlink("self", "self").unwrap();
    assert_eq!(program.open("self", CREATE), Err(errno(Errno::Loop)));
    // One that leads nowhere: what is made through it is made there.
    program.symlink("new", "dangling").unwrap();
    assert_eq!(program.open("dangling", CREATE | EXCLUSIVE), Err(errno(Errno::Exists)));
    program.open("dangling", CREATE).unwrap();
    assert_eq!(program.stat("new", false), Ok((4, 1, 0)));
    assert_eq!(program.stat("dangling", false), Ok((7, 1, 3)));
}

#[test]
fn names_that_are_no_text_or_too_long_are_refused() {
    let mut program = Program::new();
    let long = "n".repeat(256);
    assert_eq!(program.open(&long, CREATE), Err(errno(Errno::NameTooLong)));
    assert!(program.open(&long[..255], CREATE).is_ok());
    assert_eq!(program.open(&"a/".repeat(2100), 0), Err(errno(Errno::NameTooLong)));
    assert_eq!(program.open("zero\0", CREATE), Err(errno(Errno::Invalid)));
    assert_eq!(program.open("", CREATE), Err(errno(Errno::NotFound)));
    let [path, length] = program.put(PATH, b"\xff\xfe");
    let call = program.call("path_create_directory", &[3, path, length]);
    assert_eq!(call, Err(errno(Errno::IllegalSequence)));
}

#[test]
fn quotas_bound_bytes_nodes_names_depth_and_descriptors() {
    let mut program = Program::new();
    let limits = FileLimits { bytes: 100, nodes: 12, path_depth: 3, descriptors: 8, ..FileLimits::default() };
    program.context.set_file_limits(limits);
    let file = program.open("file", CREATE).unwrap();
    assert_eq!(program.write(file, &[1; 100]), Ok(100));
    assert_eq!(program.write(file, &[1]), Err(errno(Errno::NoSpace)));
    assert_eq!(program.call("fd_filestat_set_size", &[file, 1 << 60]), Err(errno(Errno::NoSpace)));
    assert_eq!(program.call("fd_allocate", &[file, 0, u64::MAX]), Err(errno(Errno::NoSpace)));
    assert_eq!(program.symlink("x", "link"), Err(errno(Errno::NoSpace)));
    program.call("fd_filestat_set_size", &[file, 0]).unwrap();
    assert_eq!(program.context.file_bytes(), 0);

    for path in ["a", "a/b", "a/b/c"] {
        program.path("path_create_directory", path).unwrap();
    }
    assert_eq!(program.path("path_create_directory", "a/b/c/d"), Err(errno(Errno::NameTooLong)));
    program.path("path_create_directory", "x").unwrap();
    assert_eq!(program.rename("a", "x/a"), Err(errno(Errno::NameTooLong)));

    while program.open("file", 0).is_ok() {}
    assert_eq!(program.open("new", CREATE), Err(errno(Errno::TooManyOpen)));
    assert_eq!(program.stat("new", false), Err(errno(Errno::NotFound)));

    // Hard links are names too.
    let made = (0..20).take_while(|number| program.link("file", &format!("l{number}")).is_ok()).count();
    assert_eq!(made, 7);
    assert_eq!(program.link("file", "one more"), Err(errno(Errno::NoSpace)));
}

#[test]
fn a_listing_goes_on_where_it_was_whatever_happens_meanwhile() {
    let mut program = Program::new();
    for number in 0..1000 {
        let file = program.open(&format!("f{number}"), CREATE).unwrap();
        program.call("fd_close", &[file]).unwrap();
    }
    let (mut seen, mut cookie) = (Vec::new(), 0);
    loop {
        let (entries, used) = program.list(3, 200, cookie).unwrap();
        for (name, _, next) in entries {
            let name = String::from_utf8(name).unwrap();
            // Everything that was listed is deleted at once, and something else made.
            if name.starts_with('f') {
                program.path("path_unlink_file", &name).unwrap();
                if seen.len() < 100 {
                    let file = program.open(&format!("new{}", seen.len()), CREATE).unwrap();
                    program.call("fd_close", &[file]).unwrap();
                }
            }
            seen.push(name);
            cookie = next;
        }
        if used < 200 {
            break;
        }
    }
    assert_eq!(&seen[..2], [".", ".."]);
    for number in 0..1000 {
        assert_eq!(seen.iter().filter(|name| **name == format!("f{number}")).count(), 1, "f{number}");
    }
    assert_eq!(seen.len(), 2 + 1000 + 98);
}

#[test]
fn an_entry_that_does_not_fit_is_cut_so_that_the_program_asks_again() {
    let mut program = Program::new();
    program.open("a-long-name", CREATE).unwrap();
    let whole = program.list(3, 1000, 0).unwrap();
    assert_eq!(whole.1, 24 * 3 + 1 + 2 + 11);
    for room in 0..whole.1 {
        let (entries, used) = program.list(3, room, 0).unwrap();
        assert_eq!(used, room);
        assert!(entries.len() < 3);
    }
}

#[test]
fn the_report_says_which_files_were_used() {
    let mut program = Program::new();
    let file = program.open("file", CREATE).unwrap();
    program.write(file, b"one").unwrap();
    program.write(file, b"two").unwrap();
    program.rename("file", "other").unwrap();
    program.open("missing", 0).unwrap_err();
    let report = program.context.take_report().files;
    let uses: Vec<_> = report
        .accesses
        .iter()
        .map(|access| (access.operation, access.path.as_str(), access.bytes, access.outcome.is_ok()))
        .collect();
    assert_eq!(
        uses,
        [
            (FileOperation::Open, "/file", 0, true),
            (FileOperation::Write, "/file", 6, true),
            (FileOperation::Rename, "/file", 0, true),
            (FileOperation::Open, "/missing", 0, false),
        ]
    );
    assert_eq!(report.accesses[2].other, "/other");
    assert!(program.context.take_report().files.accesses.is_empty());
}

#[test]
fn files_go_on_after_they_were_saved() {
    let mut program = Program::new();
    let file = program.open("kept", CREATE).unwrap();
    program.write(file, b"kept content").unwrap();
    let deleted = program.open("deleted", CREATE).unwrap();
    program.write(deleted, b"deleted").unwrap();
    program.path("path_unlink_file", "deleted").unwrap();
    program.path("path_create_directory", "d").unwrap();
    program.link("kept", "d/link").unwrap();
    program.symlink("kept", "s").unwrap();
    let saved = program.context.save_files();
    let bytes = postcard::to_allocvec(&saved).unwrap();
    let saved: crate::SavedFiles = postcard::from_bytes(&bytes).unwrap();

    let mut restored = Program::with(Context::new(0, [0; 32]));
    restored.context.restore_files(&saved).unwrap();
    assert_eq!(restored.context.save_files(), saved);
    assert_eq!(restored.seek(file, -7, 1), Ok(5));
    assert_eq!(restored.read(file, 100), Ok(b"content".to_vec()));
    restored.seek(deleted, 0, 0).unwrap();
    assert_eq!(restored.read(deleted, 100), Ok(b"deleted".to_vec()));
    restored.call("fd_close", &[deleted]).unwrap();
    assert_eq!(restored.context.file_bytes(), 12 + 4);
    assert_eq!(restored.stat("d/link", false), Ok((4, 2, 12)));
    assert_eq!(restored.stat(".", false), Ok((3, 3, 0)));

    // What contradicts itself is refused, and changes nothing.
    let mut broken = saved.clone();
    broken.nodes.remove(1);
    assert_eq!(restored.context.restore_files(&broken), Err(crate::FileError::Invalid));
    assert_eq!(restored.stat("s", false), Ok((7, 1, 4)));
}
