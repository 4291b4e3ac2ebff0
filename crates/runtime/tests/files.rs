//! The `files` service: what a mount gives, and that nothing leads out of it.

use std::{fs, path::Path};

use glasshouse_kernel::Capability;
use glasshouse_protocol::EntryKind;
use glasshouse_runtime::{FileSystem, Files, Mount};
use tempfile::TempDir;

struct World {
    root: TempDir,
    files: Files,
    grants: Vec<Capability>,
}

/// A directory `outside/` with a secret, and a mounted directory `inside/`.
fn world(writable: bool) -> World {
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("inside/logs")).unwrap();
    fs::create_dir_all(root.path().join("outside")).unwrap();
    fs::write(root.path().join("outside/secret.txt"), "secret").unwrap();
    fs::write(root.path().join("inside/notes.txt"), "The gate code is 4417.\nBuy milk.\n").unwrap();
    fs::write(root.path().join("inside/logs/a.txt"), "nothing\nA GATE opens\n").unwrap();
    let files = Files::open(&[Mount { directory: root.path().join("inside"), writable }]).unwrap();
    let grants = files.capabilities().to_vec();
    World { root, files, grants }
}

fn secret(world: &World) -> String {
    fs::read_to_string(world.root.path().join("outside/secret.txt")).unwrap()
}

#[test]
fn a_file_of_the_mount_is_read() {
    let world = world(false);
    let text = world.files.read(&world.grants, "./notes.txt").unwrap();
    assert_eq!(text.content, "The gate code is 4417.\nBuy milk.\n");
    assert_eq!((text.bytes, text.truncated), (33, false));
}

#[test]
fn no_path_leads_out_of_the_mount() {
    let world = world(true);
    let absolute = world.root.path().join("outside/secret.txt");
    for path in [
        "../outside/secret.txt",
        "logs/../../outside/secret.txt",
        "..",
        "/etc/passwd",
        absolute.to_str().unwrap(),
    ] {
        assert_eq!(world.files.read(&world.grants, path).unwrap_err().code, "outside_mount", "{path}");
        assert_eq!(world.files.write(&world.grants, path, "x").unwrap_err().code, "outside_mount", "{path}");
        assert_eq!(world.files.list(&world.grants, path).unwrap_err().code, "outside_mount", "{path}");
        assert_eq!(world.files.search(&world.grants, "s", path).unwrap_err().code, "outside_mount", "{path}");
    }
    assert_eq!(secret(&world), "secret");
}

#[cfg(unix)]
#[test]
fn symbolic_links_out_of_the_mount_are_refused() {
    use std::os::unix::fs::symlink;

    let world = world(true);
    let inside = world.root.path().join("inside");
    symlink("../outside/secret.txt", inside.join("relative.txt")).unwrap();
    symlink(world.root.path().join("outside/secret.txt"), inside.join("absolute.txt")).unwrap();
    symlink("../outside", inside.join("folder")).unwrap();
    symlink("../outside/new.txt", inside.join("dangling.txt")).unwrap();
    for path in ["relative.txt", "absolute.txt", "folder/secret.txt"] {
        assert!(world.files.read(&world.grants, path).is_err(), "{path}");
    }
    assert!(world.files.list(&world.grants, "folder").is_err());
    assert!(world.files.write(&world.grants, "folder/new.txt", "x").is_err());
    assert!(world.files.search(&world.grants, "secret", ".").unwrap().matches.is_empty());
    // Writing to a link replaces the link itself, or fails; what it points to is left alone.
    let _ = world.files.write(&world.grants, "relative.txt", "x");
    let _ = world.files.write(&world.grants, "dangling.txt", "x");
    assert_eq!(secret(&world), "secret");
    assert!(!world.root.path().join("outside/new.txt").exists());
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_instead_of_waited_for() {
    let world = world(false);
    let pipe = world.root.path().join("inside/pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    assert_eq!(world.files.read(&world.grants, "pipe").unwrap_err().code, "not_a_file");
    assert!(world.files.search(&world.grants, "x", ".").unwrap().matches.is_empty());
}

#[test]
fn a_read_only_mount_is_never_written() {
    let world = world(false);
    assert_eq!(world.files.write(&world.grants, "notes.txt", "x").unwrap_err().code, "read_only");
    assert!(fs::read_to_string(world.root.path().join("inside/notes.txt")).unwrap().starts_with("The gate"));
}

#[test]
fn writing_creates_folders_and_leaves_no_partial_file() {
    let world = world(true);
    assert_eq!(world.files.write(&world.grants, "new/deep/a.txt", "12345").unwrap().bytes, 5);
    assert_eq!(world.files.read(&world.grants, "new/deep/a.txt").unwrap().content, "12345");
    let names: Vec<_> = fs::read_dir(world.root.path().join("inside/new/deep")).unwrap().collect();
    assert_eq!(names.len(), 1);
    assert_eq!(world.files.write(&world.grants, "logs", "x").unwrap_err().code, "not_a_file");
}

#[test]
fn without_a_grant_nothing_is_reached() {
    let world = world(true);
    assert_eq!(world.files.read(&[], "notes.txt").unwrap_err().code, "no_mount");
    let read_only: Vec<Capability> = world
        .grants
        .iter()
        .map(|grant| match grant {
            Capability::Mount { name, .. } => Capability::Mount { name: name.clone(), writable: false },
            other => other.clone(),
        })
        .collect();
    assert_eq!(world.files.write(&read_only, "notes.txt", "x").unwrap_err().code, "read_only");
}

#[test]
fn a_listing_is_sorted_and_says_what_is_a_folder() {
    let world = world(false);
    let entries = world.files.list(&world.grants, ".").unwrap();
    let shown: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.kind, entry.bytes)).collect();
    assert_eq!(shown, [("logs", EntryKind::Directory, 0), ("notes.txt", EntryKind::File, 33)]);
}

#[test]
fn a_search_finds_lines_in_every_folder_ignoring_case() {
    let world = world(false);
    let found = world.files.search(&world.grants, "gate", ".").unwrap();
    let lines: Vec<_> = found.matches.iter().map(|m| (m.path.as_str(), m.line, m.text.as_str())).collect();
    assert_eq!(lines, [("logs/a.txt", 2, "A GATE opens"), ("notes.txt", 1, "The gate code is 4417.")]);
}

#[test]
fn what_is_not_text_is_an_error_and_a_long_file_is_cut_at_a_character() {
    let world = world(false);
    let inside = world.root.path().join("inside");
    fs::write(inside.join("image.bin"), [0xff, 0xd8, 0x00]).unwrap();
    fs::write(inside.join("long.txt"), "ä".repeat(200_000)).unwrap();
    assert_eq!(world.files.read(&world.grants, "image.bin").unwrap_err().code, "not_text");
    let long = world.files.read(&world.grants, "long.txt").unwrap();
    assert!(long.truncated && long.bytes == 400_000 && long.content.chars().all(|c| c == 'ä'));
    assert_eq!(
        world.files.read(&world.grants, "absent.txt").unwrap_err().message,
        "no such file or folder: absent.txt"
    );
}

#[test]
fn several_mounts_are_told_apart_by_name() {
    let root = TempDir::new().unwrap();
    for name in ["one/notes", "two/notes"] {
        fs::create_dir_all(root.path().join(name)).unwrap();
        fs::write(root.path().join(name).join("a.txt"), name).unwrap();
    }
    let mount = |name: &str| Mount { directory: root.path().join(name), writable: false };
    let files = Files::open(&[mount("one/notes"), mount("two/notes")]).unwrap();
    let grants = files.capabilities().to_vec();
    assert_eq!(files.read(&grants, "notes/a.txt").unwrap().content, "one/notes");
    assert_eq!(files.read(&grants, "notes-2/a.txt").unwrap().content, "two/notes");
    assert_eq!(files.read(&grants, "a.txt").unwrap_err().code, "not_found");
    assert_eq!(files.list(&grants, ".").unwrap().len(), 2);
    assert_eq!(files.search(&grants, "notes", "").unwrap().matches.len(), 2);
}

#[test]
fn a_directory_that_is_not_there_cannot_be_mounted() {
    let absent = Mount { directory: Path::new("does-not-exist").to_owned(), writable: false };
    assert!(Files::open(&[absent]).is_err());
}
