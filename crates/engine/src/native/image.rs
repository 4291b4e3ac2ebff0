//! What a linear memory holds at some moment, kept so that nobody changes it.
//!
//! - [`MemoryImage`]: a memory's pages, each taken from a source or zero. Cheap to clone.
//! - [`Source`]: bytes that never change: a sealed file that memories map, or plain bytes that they copy.
//! - [`Piece`]: a run of pages that lies in one source.
//!
//! The image of a fresh process is made of its module's data. That of a snapshot takes the pages that the process wrote
//! from a new source and all others from the sources of the image that it started from, so a snapshot costs what was
//! written. **Invariant:** a source that an image still uses is more than [`KEEP_FACTOR`] times as large as all newer
//! ones together, so an image has few sources, however often a process was snapshotted, restored and run on.

use std::{
    io,
    string::ToString,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    vec,
    vec::Vec,
};

use super::memory::{Keeping, Writer};
use crate::{SnapshotError, snapshot::Image};

/// Bytes of a page of an image. Hosts whose pages are larger do not map images.
pub(super) const PAGE_BYTES: usize = 4096;

/// Pieces of an image. Each is a mapping of its own in every process that starts from the image, and takes some
/// microseconds to make; the kernel grants a process of the host 65,530 mappings by default.
const PIECES_MAXIMUM: usize = 256;

/// Pieces of an image from which many processes start. Making one piece of more pays after [`MANY_USES`].
const PIECES_FEW: usize = 16;

/// So many times an image of many pieces is used as it is: writing one of 16 MiB anew costs as much as mapping its pieces
/// some ten times.
const MANY_USES: u32 = 8;

/// Pages between two written runs that are copied along, since copying them is cheaper than one mapping more.
const JOINED_PAGES: usize = 3;

/// Bytes between two runs of a module's data that are kept along, as zeros.
const JOINED_DATA_BYTES: usize = 64 << 10;

/// How many times as large as what is new an older source must be to stay.
const KEEP_FACTOR: usize = 2;

/// A memory's content. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MemoryImage(Arc<Content>);

#[derive(Debug)]
struct Content {
    /// Bytes of the memory, a multiple of [`PAGE_BYTES`].
    bytes: usize,
    /// Ascending and apart from each other; everything else is zero.
    pieces: Vec<Piece>,
    /// How many processes started from it.
    uses: AtomicU32,
    /// The same in one piece, once there were many.
    flat: OnceLock<MemoryImage>,
}

impl Content {
    fn new(bytes: usize, pieces: Vec<Piece>) -> Self {
        Self { bytes, pieces, uses: AtomicU32::new(0), flat: OnceLock::new() }
    }
}

/// A run of whole pages.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Where it lies in the memory, in bytes.
    pub(super) start: usize,
    /// Bytes, a multiple of [`PAGE_BYTES`].
    pub(super) length: usize,
    /// What holds it.
    pub(super) source: Arc<Source>,
    /// Where it lies in the source, in bytes, a multiple of [`PAGE_BYTES`].
    pub(super) offset: usize,
}

/// Bytes that never change.
#[derive(Debug)]
pub(super) enum Source {
    /// To be copied.
    Bytes(Vec<u8>),
    /// To be mapped copy-on-write.
    #[cfg(target_os = "linux")]
    File(super::memory::SealedFile),
}

/// Where a page of a new image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Zero,
    /// This page of this source of the older image.
    Old {
        source: usize,
        page: usize,
    },
    /// The memory as it is now.
    New,
}

impl Source {
    /// Copies what lies at `offset` into `target`. Zeros stand for what lies behind the end.
    fn read(&self, offset: usize, target: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => {
                let available = bytes.get(offset..).unwrap_or_default();
                let length = available.len().min(target.len());
                target[..length].copy_from_slice(&available[..length]);
                target[length..].fill(0);
                Ok(())
            }
            #[cfg(target_os = "linux")]
            Self::File(file) => file.read(offset, target),
        }
    }
}

impl Piece {
    /// Copies the piece into its place, which is as long as it.
    pub(super) fn copy_into(&self, target: &mut [u8]) -> io::Result<()> {
        self.source.read(self.offset, target)
    }
}

impl MemoryImage {
    /// A memory of this many bytes, all zero.
    pub(super) fn zero(bytes: usize) -> Self {
        Self(Arc::new(Content::new(whole_pages(bytes), Vec::new())))
    }

    /// A memory that is this source, of this many bytes.
    #[cfg(target_os = "linux")]
    pub(super) fn of_source(source: Source, bytes: usize) -> Self {
        let piece = Piece { start: 0, length: bytes, source: Arc::new(source), offset: 0 };
        Self(Arc::new(Content::new(bytes, vec![piece])))
    }

    /// A memory of this many bytes with these segments copied into it, in their order. All of them lie in it.
    pub(super) fn of_data(bytes: usize, segments: &[(usize, &[u8])], keeping: Keeping) -> io::Result<Self> {
        keeping.make(|keeping| Self::write_data(bytes, segments, keeping.writer()?))
    }

    fn write_data(bytes: usize, segments: &[(usize, &[u8])], mut writer: Writer) -> io::Result<Self> {
        let mut runs: Vec<(usize, usize)> = segments
            .iter()
            .filter(|(_, data)| !data.is_empty())
            .map(|(start, data)| (start - start % PAGE_BYTES, whole_pages(start + data.len())))
            .collect();
        runs.sort_unstable();
        let mut joined: Vec<(usize, usize)> = Vec::with_capacity(runs.len());
        for (start, end) in runs {
            match joined.last_mut() {
                Some((_, last)) if start <= last.saturating_add(JOINED_DATA_BYTES) => *last = end.max(*last),
                _ => joined.push((start, end)),
            }
        }
        if let ([(start, _), .., (_, end)], true) = (joined.as_slice(), joined.len() > PIECES_FEW) {
            joined = vec![(*start, *end)];
        }
        let mut places = Vec::with_capacity(joined.len());
        let mut length = 0;
        for (start, end) in joined {
            places.push((start, end, length));
            length += end - start;
        }
        for (start, data) in segments.iter().filter(|(_, data)| !data.is_empty()) {
            let place = places.partition_point(|(first, ..)| first <= start) - 1;
            let (first, _, offset) = places[place];
            writer.write(offset + (start - first), data)?;
        }
        let source = Arc::new(writer.finish(length)?);
        let pieces = places.into_iter().map(|(start, end, offset)| Piece {
            start,
            length: end - start,
            source: Arc::clone(&source),
            offset,
        });
        Ok(Self(Arc::new(Content::new(whole_pages(bytes), pieces.collect()))))
    }

    /// Bytes of the memory.
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// What is not zero: ascending and apart from each other.
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.0.pieces
    }

    /// Whether these are one and the same image, not only equal ones.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The image for one more process to start from: this one, or the same in one piece.
    pub(super) fn for_use(&self, keeping: Keeping) -> &Self {
        if self.pieces().len() <= PIECES_FEW || keeping == Keeping::Copied {
            return self;
        }
        if let Some(flat) = self.0.flat.get() {
            return flat;
        }
        if self.0.uses.fetch_add(1, Ordering::Relaxed) != MANY_USES {
            return self;
        }
        // If there is no room for it, it stays as it is.
        match self.flatten(keeping) {
            Ok(flat) => self.0.flat.get_or_init(|| flat),
            Err(_) => self,
        }
    }

    fn flatten(&self, keeping: Keeping) -> io::Result<Self> {
        let (Some(first), Some(last)) = (self.pieces().first(), self.pieces().last()) else {
            return Ok(self.clone());
        };
        let (start, end) = (first.start, last.start + last.length);
        keeping.make(|keeping| {
            let mut writer = keeping.writer()?;
            let mut page = vec![0; PAGE_BYTES];
            for piece in self.pieces() {
                for offset in (0..piece.length).step_by(PAGE_BYTES) {
                    piece.source.read(piece.offset + offset, &mut page)?;
                    write_used(&mut writer, piece.start - start + offset, &page)?;
                }
            }
            let source = Arc::new(writer.finish(end - start)?);
            let pieces = vec![Piece { start, length: end - start, source, offset: 0 }];
            Ok(Self(Arc::new(Content::new(self.bytes(), pieces))))
        })
    }

    /// Fills a memory that holds zeros and is at least as large.
    pub(super) fn copy_into(&self, memory: &mut [u8]) -> io::Result<()> {
        for piece in self.pieces() {
            piece.copy_into(&mut memory[piece.start..piece.start + piece.length])?;
        }
        Ok(())
    }

    /// Which pages of a memory that started from this image differ from it, found by comparing.
    pub(super) fn changed_pages(&self, memory: &[u8]) -> io::Result<Vec<bool>> {
        let mut changed: Vec<bool> = memory.chunks(PAGE_BYTES).map(|page| !is_zero(page)).collect();
        let mut kept = vec![0; PAGE_BYTES];
        for piece in self.pieces() {
            for offset in (0..piece.length).step_by(PAGE_BYTES) {
                let start = piece.start + offset;
                piece.source.read(piece.offset + offset, &mut kept)?;
                if let Some(page) = memory.get(start..start + PAGE_BYTES) {
                    changed[start / PAGE_BYTES] = page != kept;
                }
            }
        }
        Ok(changed)
    }

    /// The image of a memory that started from this one and of which no other pages than these were written.
    pub(super) fn difference(&self, memory: &[u8], written: &[bool], keeping: Keeping) -> io::Result<Self> {
        let sources = self.sources();
        let origins = self.origins(memory, written, &sources);
        keeping.make(|keeping| {
            let image = write_pages(memory, &origins, &sources, keeping.writer()?)?;
            if image.pieces().len() <= PIECES_MAXIMUM {
                return Ok(image);
            }
            let flat = flat(memory);
            write_pages(memory, &flat, &[], keeping.writer()?)
        })
    }

    /// Each source once.
    fn sources(&self) -> Vec<Arc<Source>> {
        let mut sources: Vec<Arc<Source>> = Vec::new();
        for piece in self.pieces() {
            if !sources.iter().any(|source| Arc::ptr_eq(source, &piece.source)) {
                sources.push(Arc::clone(&piece.source));
            }
        }
        sources
    }

    fn origins(&self, memory: &[u8], written: &[bool], sources: &[Arc<Source>]) -> Vec<Origin> {
        let mut origins = vec![Origin::Zero; memory.len() / PAGE_BYTES];
        for piece in self.pieces() {
            let source = sources.iter().position(|source| Arc::ptr_eq(source, &piece.source));
            let first = piece.start / PAGE_BYTES;
            for page in 0..piece.length / PAGE_BYTES {
                if let (Some(origin), Some(source)) = (origins.get_mut(first + page), source) {
                    *origin = Origin::Old { source, page: piece.offset / PAGE_BYTES + page };
                }
            }
        }
        let mut new = 0;
        for ((origin, page), _) in
            origins.iter_mut().zip(memory.chunks(PAGE_BYTES)).zip(written).filter(|(_, written)| **written)
        {
            *origin = if is_zero(page) { Origin::Zero } else { Origin::New };
            new += usize::from(*origin == Origin::New);
        }
        // Sources that have become small beside what is new are copied along, the smallest first.
        let mut uses = vec![0; sources.len()];
        for origin in &origins {
            if let Origin::Old { source, .. } = origin {
                uses[*source] += 1;
            }
        }
        let mut by_size: Vec<usize> = (0..sources.len()).collect();
        by_size.sort_by_key(|source| uses[*source]);
        let mut is_copied = vec![false; sources.len()];
        for source in by_size {
            if uses[source] > KEEP_FACTOR * new {
                break;
            }
            is_copied[source] = true;
            new += uses[source];
        }
        for origin in &mut origins {
            if matches!(origin, Origin::Old { source, .. } if is_copied[*source]) {
                *origin = Origin::New;
            }
        }
        join(&mut origins);
        origins
    }
}

impl Image for MemoryImage {
    fn len(&self) -> u64 {
        self.bytes() as u64
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        bytes.fill(0);
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        for piece in self.pieces() {
            let first = start.max(piece.start);
            let last = end.min(piece.start + piece.length);
            if first < last {
                let target = &mut bytes[first - start..last - start];
                let read = piece.source.read(piece.offset + (first - piece.start), target);
                read.expect("a file that lies in memory can be read");
            }
        }
    }

    fn from_pieces<'a>(
        length: u64,
        pieces: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> Result<Self, SnapshotError> {
        let segments: Vec<_> = pieces.map(|(offset, bytes)| (offset as usize, bytes)).collect();
        let image = Self::of_data(length as usize, &segments, Keeping::for_this_host(true));
        image.map_err(|error| SnapshotError::Engine { reason: error.to_string() })
    }
}

/// Copies short runs along that lie between two new ones.
fn join(origins: &mut [Origin]) {
    let mut last_new = None;
    for page in 0..origins.len() {
        if origins[page] != Origin::New {
            continue;
        }
        if let Some(last) = last_new
            && page - last <= JOINED_PAGES + 1
        {
            origins[last..page].fill(Origin::New);
        }
        last_new = Some(page);
    }
}

/// Everything from the first page that is not zero to the last is new.
fn flat(memory: &[u8]) -> Vec<Origin> {
    let mut origins = vec![Origin::Zero; memory.len() / PAGE_BYTES];
    let is_used = |page: &[u8]| !is_zero(page);
    if let Some(first) = memory.chunks(PAGE_BYTES).position(is_used) {
        let last = memory.chunks(PAGE_BYTES).rposition(is_used).unwrap_or(first);
        origins[first..=last].fill(Origin::New);
    }
    origins
}

/// Writes the new pages and lists the pieces of all of them.
fn write_pages(
    memory: &[u8],
    origins: &[Origin],
    sources: &[Arc<Source>],
    mut writer: Writer,
) -> io::Result<MemoryImage> {
    /// A run of pages: where it starts in the memory, its pages, its source if it is an older one, its page there.
    struct Run {
        start: usize,
        pages: usize,
        source: Option<usize>,
        page: usize,
    }
    let mut runs: Vec<Run> = Vec::new();
    let mut written = 0;
    for (start, origin) in origins.iter().enumerate() {
        let (source, page) = match origin {
            Origin::Zero => continue,
            Origin::Old { source, page } => (Some(*source), *page),
            Origin::New => (None, written),
        };
        written += usize::from(*origin == Origin::New);
        match runs.last_mut() {
            Some(run)
                if run.source == source && run.start + run.pages == start && run.page + run.pages == page =>
            {
                run.pages += 1;
            }
            _ => runs.push(Run { start, pages: 1, source, page }),
        }
    }
    for run in runs.iter().filter(|run| run.source.is_none()) {
        let start = run.start * PAGE_BYTES;
        let bytes = &memory[start..start + run.pages * PAGE_BYTES];
        write_used(&mut writer, run.page * PAGE_BYTES, bytes)?;
    }
    let new = Arc::new(writer.finish(written * PAGE_BYTES)?);
    let pieces = runs.iter().map(|run| Piece {
        start: run.start * PAGE_BYTES,
        length: run.pages * PAGE_BYTES,
        source: Arc::clone(run.source.map_or(&new, |source| &sources[source])),
        offset: run.page * PAGE_BYTES,
    });
    Ok(MemoryImage(Arc::new(Content::new(memory.len(), pieces.collect()))))
}

/// Writes the pages that are not zero.
fn write_used(writer: &mut Writer, offset: usize, bytes: &[u8]) -> io::Result<()> {
    let mut start = 0;
    while start < bytes.len() {
        let is_used = |page: &&[u8]| !is_zero(page);
        let used = bytes[start..].chunks(PAGE_BYTES).take_while(is_used).count() * PAGE_BYTES;
        if used > 0 {
            writer.write(offset + start, &bytes[start..start + used])?;
        }
        start += used + PAGE_BYTES;
    }
    Ok(())
}

fn is_zero(page: &[u8]) -> bool {
    // Compilers make vector code of a fold without a way out.
    page.chunks_exact(64).all(|part| part.iter().fold(0, |any, byte| any | byte) == 0)
}

fn whole_pages(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE_BYTES)
}

#[cfg(test)]
mod tests;
