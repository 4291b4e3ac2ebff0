//! A line editor: reads commands from standard input, works on the files of the directory given as first argument.
//!
//! `open NAME`, `append TEXT`, `insert LINE TEXT`, `delete LINE`, `replace OLD NEW`, `print`, `save`, `copy NAME`,
//! `move NAME`, `list`, `quit CODE`.

use std::{
    env, fs,
    io::{self, BufRead, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

struct Editor {
    directory: PathBuf,
    name: String,
    lines: Vec<String>,
}

fn main() -> ExitCode {
    let Some(directory) = env::args().nth(1) else {
        eprintln!("usage: editor DIRECTORY");
        return ExitCode::from(2);
    };
    let mut editor = Editor { directory: directory.into(), name: String::new(), lines: Vec::new() };
    for line in io::stdin().lock().lines() {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                eprintln!("standard input: {error}");
                return ExitCode::FAILURE;
            }
        };
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if command == "quit" {
            return ExitCode::from(rest.parse::<u8>().unwrap_or_default());
        }
        if let Err(error) = editor.perform(command, rest) {
            println!("{command}: {:?}", error.kind());
        }
    }
    ExitCode::SUCCESS
}

impl Editor {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn perform(&mut self, command: &str, rest: &str) -> io::Result<()> {
        let number = |text: &str| text.parse::<usize>().map_err(|_| io::ErrorKind::InvalidInput);
        match command {
            "open" => {
                let text = fs::read_to_string(self.path(rest))?;
                self.lines = text.lines().map(str::to_owned).collect();
                self.name = rest.to_owned();
            }
            "append" => self.lines.push(rest.to_owned()),
            "insert" => {
                let (line, text) = rest.split_once(' ').ok_or(io::ErrorKind::InvalidInput)?;
                let line = number(line)?.min(self.lines.len());
                self.lines.insert(line, text.to_owned());
            }
            "delete" => {
                let line = number(rest)?;
                if line >= self.lines.len() {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                self.lines.remove(line);
            }
            "replace" => {
                let (old, new) = rest.split_once(' ').ok_or(io::ErrorKind::InvalidInput)?;
                self.lines.iter_mut().for_each(|line| *line = line.replace(old, new));
            }
            "print" => self.lines.iter().for_each(|line| println!("{line}")),
            "save" => self.save(rest)?,
            "copy" => {
                let bytes = fs::copy(self.path(&self.name), self.path(rest))?;
                println!("{bytes} bytes");
            }
            "move" => fs::rename(self.path(&self.name), self.path(rest))?,
            "directory" => fs::create_dir_all(self.path(rest))?,
            "remove" => fs::remove_file(self.path(rest))?,
            "list" => list(&self.path(rest), 0)?,
            "tail" => {
                let mut file = fs::File::open(self.path(&self.name))?;
                let count = number(rest)? as i64;
                file.seek(SeekFrom::End(-count))?;
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                println!("{text:?}");
            }
            "log" => {
                let path = self.path(&self.name);
                let mut file = fs::OpenOptions::new().append(true).create(true).open(path)?;
                writeln!(file, "{rest}")?;
            }
            "cut" => {
                let file = fs::OpenOptions::new().write(true).open(self.path(&self.name))?;
                file.set_len(number(rest)? as u64)?;
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(())
    }

    /// Writes another file first, so that the old one stays whole if this fails.
    fn save(&mut self, name: &str) -> io::Result<()> {
        let temporary = self.path(&format!("{name}.partial"));
        let mut file = fs::File::create(&temporary)?;
        for line in &self.lines {
            writeln!(file, "{line}")?;
        }
        file.sync_all()?;
        fs::rename(temporary, self.path(name))?;
        self.name = name.to_owned();
        Ok(())
    }
}

/// Prints the tree below a directory.
fn list(directory: &Path, depth: usize) -> io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        println!("{:1$}{name} {2}", "", 2 * depth, if kind.is_dir() { 0 } else { entry.metadata()?.len() });
        if kind.is_dir() {
            list(&entry.path(), depth + 1)?;
        }
    }
    Ok(())
}
