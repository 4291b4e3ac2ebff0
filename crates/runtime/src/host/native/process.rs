//! A process's host on this machine: the standard streams of the program, directories, and functions of its own.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    path::Path,
};

use glasshouse_devices::{FileAnswer, FileError, FileRequest, Host, OutputStream};

use super::directories::Directories;
use crate::RuntimeError;

/// An extra function: takes the bytes that the guest passes, answers with an encoded envelope.
pub type HostCallback = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// What one process has of this machine: standard streams, directories and extra functions, each only if it is given.
///
/// Output is written at once. When whoever reads it has gone, further output goes nowhere, and
/// [`NativeHost::on_broken_pipe`] tells the embedder, which ends the process as a system would.
///
/// ```no_run
/// use glasshouse_devices::Context;
/// use glasshouse_runtime::NativeHost;
///
/// # fn main() -> Result<(), glasshouse_runtime::RuntimeError> {
/// let mut host = NativeHost::new().with_streams();
/// host.mount("notes", "/home/me/notes".as_ref(), false)?;
/// let mut context = Context::new(0, [0; 32]);
/// context.attach(Box::new(host));
/// // Under this name the program sees the directory.
/// let _ = context.preopen_mount("/notes", "notes", false);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct NativeHost {
    stdin: Option<Box<dyn Read + Send>>,
    outputs: [Option<Box<dyn Write + Send>>; 2],
    directories: Directories,
    functions: HashMap<String, HostCallback>,
    on_broken_pipe: Option<Box<dyn FnMut() + Send>>,
}

impl NativeHost {
    /// A host that gives nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the process the standard streams of this program.
    #[must_use]
    pub fn with_streams(self) -> Self {
        self.with_stdin(Box::new(io::stdin()))
            .with_output(OutputStream::Output, Box::new(io::stdout()))
            .with_output(OutputStream::Error, Box::new(io::stderr()))
    }

    /// Gives the process standard input.
    #[must_use]
    pub fn with_stdin(mut self, stdin: Box<dyn Read + Send>) -> Self {
        self.stdin = Some(stdin);
        self
    }

    /// Writes one of the process's outputs there, at once.
    #[must_use]
    pub fn with_output(mut self, stream: OutputStream, output: Box<dyn Write + Send>) -> Self {
        self.outputs[stream as usize] = Some(output);
        self
    }

    /// Shares a directory under a name, which [`Context::preopen_mount`](glasshouse_devices::Context::preopen_mount)
    /// refers to.
    ///
    /// # Errors
    /// [`RuntimeError::Mount`] when it cannot be opened or listed.
    pub fn mount(&mut self, name: &str, directory: &Path, writable: bool) -> Result<(), RuntimeError> {
        self.directories
            .share(name, directory, writable)
            .map_err(|source| RuntimeError::Mount { directory: directory.to_owned(), source })
    }

    /// Adds an extra function, which guests import from the module `host` by this name.
    pub fn function(&mut self, name: impl Into<String>, function: HostCallback) {
        self.functions.insert(name.into(), function);
    }

    /// Calls this once, when an output cannot be written because its reader has gone.
    pub fn on_broken_pipe(&mut self, callback: impl FnMut() + Send + 'static) {
        self.on_broken_pipe = Some(Box::new(callback));
    }
}

impl Host for NativeHost {
    /// An input that cannot be read has ended.
    fn read_stdin(&mut self, limit: u32) -> Vec<u8> {
        let Some(stdin) = &mut self.stdin else { return Vec::new() };
        let mut bytes = vec![0; limit as usize];
        let count = loop {
            match stdin.read(&mut bytes) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break 0,
            }
        };
        bytes.truncate(count);
        bytes
    }

    fn output(&mut self, stream: OutputStream, bytes: &[u8]) {
        let place = &mut self.outputs[stream as usize];
        let Some(output) = place else { return };
        // Any other failure concerns whoever reads the output, not the process.
        let written = output.write_all(bytes).and_then(|()| output.flush());
        if written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            *place = None;
            if let Some(mut callback) = self.on_broken_pipe.take() {
                callback();
            }
        }
    }

    fn file(&mut self, request: FileRequest<'_>) -> Result<FileAnswer, FileError> {
        self.directories.perform(request)
    }

    fn call(&mut self, name: &str, input: &[u8]) -> Option<Vec<u8>> {
        self.functions.get_mut(name).map(|function| function(input))
    }
}
