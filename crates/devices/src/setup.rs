//! What a process starts with, and what its host does to its devices while it lives.
//!
//! - [`Setup`]: arguments, environment, files, mounted directories, input, wall clock.
//! - [`DeviceInput`]: one act of the host between two steps.
//! - [`ActError`]: why one of them is not possible.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ClockScale, Context, DeviceError, FileError, InputError, InputPacket};

/// What the devices of a process start with. Everything of it is in the event log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Setup {
    /// The program's arguments, its name first.
    pub arguments: Vec<String>,
    /// The environment: names and values.
    pub environment: Vec<(String, String)>,
    /// Directories of the host that the process sees.
    pub mounts: Vec<MountPoint>,
    /// Where the process sees its own tree of files, which lies in memory and ends with it; nowhere if there is none.
    pub tree: Option<String>,
    /// Files of that tree: paths and contents.
    pub files: Vec<(String, Vec<u8>)>,
    /// What the wall clock shows at virtual time zero: nanoseconds since 1970-01-01T00:00:00Z.
    pub wall_clock_nanoseconds: u64,
    /// Whether standard input, output and error are a person's terminal.
    pub terminal: [bool; 3],
    /// Keys, pointer moves and the like, each at its virtual time.
    pub input: Vec<InputPacket>,
    /// Whether a [`Host`](crate::Host) contributes while steps run; a replay then answers from the recording.
    pub hosted: bool,
}

/// A directory of the host, as a process sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MountPoint {
    /// The path under which the process sees it, and the name under which its host knows it.
    pub path: String,
    /// Whether the process may change it.
    pub writable: bool,
}

/// One act of the host on the devices of a process, between two of its steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeviceInput {
    /// Bytes for standard input, behind those that are waiting.
    Stdin(Vec<u8>),
    /// Nothing more comes on standard input.
    StdinEnd,
    /// A key, a pointer's move and the like.
    Packet(InputPacket),
    /// A file of the process's own tree, written whole.
    WriteFile {
        /// Where.
        path: String,
        /// What.
        content: Vec<u8>,
    },
    /// Bytes written into the linear memory.
    WriteMemory {
        /// Where the first one goes.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The clock stands from now on.
    PauseClock,
    /// The clock runs on.
    ResumeClock,
    /// How fast the clock runs from now on.
    ScaleClock(ClockScale),
    /// So many nanoseconds pass for this process alone.
    AdvanceClock(u64),
}

/// Why an act on the devices is not possible.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ActError {
    /// A device refuses it.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The input is not possible.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The file cannot be written.
    #[error("{path}: {source}")]
    File {
        /// Where.
        path: String,
        /// Why.
        source: FileError,
    },
}

impl DeviceInput {
    /// A stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stdin(_) => "StdinSent",
            Self::StdinEnd => "StdinEnded",
            Self::Packet(_) => "InputSent",
            Self::WriteFile { .. } => "FileWritten",
            Self::WriteMemory { .. } => "LinearMemoryWritten",
            Self::PauseClock => "ClockPaused",
            Self::ResumeClock => "ClockResumed",
            Self::ScaleClock(_) => "ClockScaled",
            Self::AdvanceClock(_) => "ClockAdvanced",
        }
    }

    /// Bytes that it brings, as far as they are many.
    pub fn size(&self) -> usize {
        match self {
            Self::Stdin(bytes) | Self::WriteMemory { bytes, .. } => bytes.len(),
            Self::WriteFile { content, .. } => content.len(),
            _ => 0,
        }
    }
}

impl Context {
    /// Sets up the devices of a process that has not run yet.
    ///
    /// # Errors
    /// [`ActError`] for what of it is not possible; the devices are then not to be used.
    pub fn set_up(&mut self, setup: Setup) -> Result<(), ActError> {
        let at = |path: &str| {
            let path = path.into();
            move |source| ActError::File { path, source }
        };
        self.set_arguments(&setup.arguments);
        self.set_environment(setup.environment.iter().map(|(name, value)| (name, value)));
        self.set_clock_epoch(setup.wall_clock_nanoseconds);
        let [input, output, error] = setup.terminal;
        self.set_terminal(input, output, error);
        for mount in &setup.mounts {
            self.preopen_mount(&mount.path, &mount.path, mount.writable).map_err(at(&mount.path))?;
        }
        for (path, content) in &setup.files {
            self.write_file(path, content).map_err(at(path))?;
        }
        if let Some(guest) = &setup.tree {
            self.preopen_tree(guest, "/").map_err(at(guest))?;
        }
        for packet in setup.input {
            self.send_input(packet)?;
        }
        Ok(())
    }

    /// Acts on the devices between two steps. [`DeviceInput::WriteMemory`] is not theirs, and does nothing here.
    ///
    /// # Errors
    /// [`ActError`]; the devices are as they were, but for directories that were made for a file.
    pub fn act(&mut self, input: DeviceInput) -> Result<(), ActError> {
        match input {
            DeviceInput::Stdin(bytes) => self.push_stdin(&bytes)?,
            DeviceInput::StdinEnd => self.close_stdin(),
            DeviceInput::Packet(packet) => self.send_input(packet)?,
            DeviceInput::WriteFile { path, content } => {
                self.write_file(&path, &content).map_err(|source| ActError::File { path, source })?;
            }
            DeviceInput::WriteMemory { .. } => {}
            DeviceInput::PauseClock => self.pause_clock(),
            DeviceInput::ResumeClock => self.resume_clock(),
            DeviceInput::ScaleClock(scale) => self.set_clock_scale(scale),
            DeviceInput::AdvanceClock(nanoseconds) => self.advance_clock(nanoseconds),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn what_is_set_up_is_what_the_devices_have() {
        let mut context = Context::new(0, [0; 32]);
        let files = vec![("notes/todo.txt".into(), b"buy milk".to_vec())];
        let setup = Setup { files, tree: Some("/".into()), wall_clock_nanoseconds: 17, ..Setup::default() };
        context.set_up(setup).unwrap();
        assert_eq!(context.clock_wall(), 17);
        assert_eq!(context.read_file("notes/todo.txt"), Ok(b"buy milk".as_slice()));
    }

    #[test]
    fn acts_that_are_not_possible_say_why_and_change_nothing() {
        let mut context = Context::new(0, [0; 32]);
        let write = |path: &str| DeviceInput::WriteFile { path: path.into(), content: vec![1] };
        context.act(write("a")).unwrap();
        let before = context.save();
        assert!(matches!(context.act(write("a/b")), Err(ActError::File { .. })));
        assert!(matches!(
            context.act(DeviceInput::Stdin(vec![0; 17 << 20])),
            Err(ActError::Device(DeviceError::StdinFull { .. }))
        ));
        assert_eq!(context.save(), before);
    }
}
