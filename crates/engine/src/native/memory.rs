//! Linear memories that start from images, and images made of them.
//!
//! - [`Memories`]: gives the engine its memories, and makes images of a module's data and of a process's memory.
//! - [`Keeping`]: how an image is kept: copied, or in a sealed file that memories map.
//!
//! On Linux a memory is a private mapping of its image (`mapped`): starting, restoring and forking a process costs a few
//! system calls, whatever its size, and processes share the pages that none of them wrote. Elsewhere, and where a host
//! refuses what that needs, images are copied; everything else is the same.

#[cfg(target_os = "linux")]
mod mapped;
#[cfg(target_os = "linux")]
mod pagemap;
#[cfg(target_os = "linux")]
mod sealed;

use std::{io, sync::Arc, vec::Vec};

use wasmtime::MemoryCreator;

use super::image::{MemoryImage, Source};
#[cfg(target_os = "linux")]
pub(super) use sealed::SealedFile;

/// Gives memories that start from images. Clones share their reservations of address space.
#[derive(Clone)]
pub(super) struct Memories {
    keeping: Keeping,
    #[cfg(target_os = "linux")]
    mapped: Option<Arc<mapped::Pool>>,
}

/// How images are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// As bytes that every memory copies.
    Copied,
    /// In sealed files that memories map.
    #[cfg(target_os = "linux")]
    Mapped,
}

/// Takes the bytes of a source.
pub(super) enum Writer {
    Bytes(Vec<u8>),
    #[cfg(target_os = "linux")]
    File(sealed::OpenFile),
}

impl Keeping {
    /// Mapped if that is wanted and this host can.
    pub(super) fn for_this_host(copy_on_write: bool) -> Self {
        #[cfg(target_os = "linux")]
        if copy_on_write && mapped::is_possible() {
            return Self::Mapped;
        }
        let _ = copy_on_write;
        Self::Copied
    }

    /// Makes an image this way or, when the host gives no more files, with copied bytes.
    pub(super) fn make(self, image: impl Fn(Self) -> io::Result<MemoryImage>) -> io::Result<MemoryImage> {
        let made = image(self);
        if made.is_err() && self != Self::Copied { image(Self::Copied) } else { made }
    }

    pub(super) fn writer(self) -> io::Result<Writer> {
        match self {
            Self::Copied => Ok(Writer::Bytes(Vec::new())),
            #[cfg(target_os = "linux")]
            Self::Mapped => Ok(Writer::File(sealed::OpenFile::new()?)),
        }
    }
}

impl Writer {
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Bytes(written) => {
                let end = offset + bytes.len();
                if written.len() < end {
                    written.resize(end, 0);
                }
                written[offset..end].copy_from_slice(bytes);
                Ok(())
            }
            #[cfg(target_os = "linux")]
            Self::File(file) => file.write(offset, bytes),
        }
    }

    /// The source, `length` bytes long. Nothing changes it from here on.
    pub(super) fn finish(self, length: usize) -> io::Result<Source> {
        match self {
            Self::Bytes(mut bytes) => {
                bytes.truncate(length);
                Ok(Source::Bytes(bytes))
            }
            #[cfg(target_os = "linux")]
            Self::File(file) => Ok(Source::File(file.seal(length)?)),
        }
    }
}

impl Memories {
    /// Memories for engines of this process. They are mapped copy-on-write if that is wanted and this host can.
    pub(super) fn new(copy_on_write: bool) -> Self {
        let keeping = Keeping::for_this_host(copy_on_write);
        Self {
            keeping,
            #[cfg(target_os = "linux")]
            mapped: (keeping == Keeping::Mapped).then(|| Arc::new(mapped::Pool::new())),
        }
    }

    /// What the engine is to make its memories with; none: its own way.
    pub(super) fn creator(&self) -> Option<Arc<dyn MemoryCreator>> {
        #[cfg(target_os = "linux")]
        if let Some(pool) = &self.mapped {
            return Some(Arc::clone(pool) as Arc<dyn MemoryCreator>);
        }
        None
    }

    /// The memory that a module starts with: this many bytes, with these segments in it, all of which lie in it.
    pub(super) fn of_data(&self, bytes: usize, segments: &[(usize, &[u8])]) -> io::Result<MemoryImage> {
        MemoryImage::of_data(bytes, segments, self.keeping)
    }

    /// The image for one more process to start from, which holds the same as this one.
    pub(super) fn for_use<'a>(&self, image: &'a MemoryImage) -> &'a MemoryImage {
        image.for_use(self.keeping)
    }

    /// Runs what makes the engine create one memory, which will start from this image where memories are mapped.
    /// [`Memories::fill`] does it everywhere else.
    pub(super) fn creating<R>(&self, image: &MemoryImage, create: impl FnOnce() -> R) -> R {
        #[cfg(target_os = "linux")]
        if self.mapped.is_some() {
            return mapped::creating(image, create);
        }
        let _ = image;
        create()
    }

    /// Copies the image into a fresh memory of the same size, unless that is mapped already.
    pub(super) fn fill(&self, image: &MemoryImage, memory: &mut [u8]) -> io::Result<()> {
        match self.keeping {
            Keeping::Copied => image.copy_into(memory),
            #[cfg(target_os = "linux")]
            Keeping::Mapped => Ok(()),
        }
    }

    /// The image of a memory that started from `base`.
    pub(super) fn snapshot(&self, base: &MemoryImage, memory: &[u8]) -> io::Result<MemoryImage> {
        let written = match self.written_pages(memory) {
            Some(written) => written,
            None => base.changed_pages(memory)?,
        };
        base.difference(memory, &written, self.keeping)
    }

    /// The pages of a mapped memory that were written, if the host can tell.
    fn written_pages(&self, memory: &[u8]) -> Option<Vec<bool>> {
        #[cfg(target_os = "linux")]
        if self.mapped.is_some() {
            return pagemap::written_pages(memory);
        }
        let _ = memory;
        None
    }
}
