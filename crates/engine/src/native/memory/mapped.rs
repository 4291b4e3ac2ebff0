//! Memories as private mappings of their images.
//!
//! ```text
//! guard | 0 … memory … accessible | … reserved, no access … | guard
//! ```
//!
//! - [`Pool`]: what the engine asks for memories; keeps a bounded number of reservations that are free.
//! - [`Reservation`]: address space for one memory, with the layout that it has.
//! - [`Mapped`]: a memory in use.
//!
//! **Invariant:** a free reservation holds no byte that a process wrote: when a memory is dropped the kernel takes its
//! written pages back, and what is mapped there afterwards is the image's or zero. A reservation where that fails is
//! given up.

use std::{
    boxed::Box,
    cell::RefCell,
    format, io,
    ptr::{self, NonNull},
    string::{String, ToString},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    vec::Vec,
};

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap,
};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::{pagemap, sealed::OpenFile};
use crate::native::image::{MemoryImage, PAGE_BYTES, Piece, Source};

/// Free reservations that are kept: as many as processes that start and end at the same time on a large host.
const FREE_MAXIMUM: usize = 64;

/// Mappings of images in several pieces, in all memories together. The kernel grants a process of the host 65,530 by
/// default; each memory takes four, those of all that a machine may have 40,000, and when there are none left nothing in
/// the program gets memory any more. Beyond this, pieces are copied.
const EXTRA_MAPPINGS_MAXIMUM: usize = 20_000;

/// How many of them there are.
static EXTRA_MAPPINGS: AtomicUsize = AtomicUsize::new(0);

std::thread_local! {
    /// The image for the next memory that the engine asks for on this thread. The engine asks while it instantiates, and
    /// says nothing of what for.
    static NEXT: RefCell<Option<MemoryImage>> = const { RefCell::new(None) };
}

/// Runs what makes the engine ask for one memory, which will start from this image.
pub(super) fn creating<R>(image: &MemoryImage, create: impl FnOnce() -> R) -> R {
    NEXT.set(Some(image.clone()));
    let result = create();
    NEXT.take();
    result
}

/// Whether this kernel does what mapped memories need: files in memory that can be sealed, and pages as small as an
/// image's. If it also tells which pages were written, what it tells must be true.
pub(super) fn is_possible() -> bool {
    static IS_POSSIBLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *IS_POSSIBLE.get_or_init(|| {
        rustix::param::page_size() == PAGE_BYTES && is_copied_on_write().is_ok_and(|is_copied| is_copied)
    })
}

fn is_copied_on_write() -> io::Result<bool> {
    const PAGES: usize = 3;
    let mut file = OpenFile::new()?;
    file.write(0, &[1; PAGES * PAGE_BYTES])?;
    let image = MemoryImage::of_source(Source::File(file.seal(PAGES * PAGE_BYTES)?), PAGES * PAGE_BYTES);
    let mut reservation = Reservation::new(PAGES * PAGE_BYTES, 0)?;
    reservation.lay_out(&image, 0)?;
    // SAFETY: the layout made these bytes readable and writable, and nobody else knows the reservation.
    let memory = unsafe { std::slice::from_raw_parts_mut(reservation.memory().as_ptr(), PAGES * PAGE_BYTES) };
    let read = memory[0];
    memory[PAGE_BYTES] = 2;
    let told = pagemap::written_pages(memory);
    Ok(read == 1 && told.is_none_or(|written| written == [false, true, false]))
}

/// Creates memories.
pub(super) struct Pool {
    free: Free,
}

/// Reservations that no memory uses.
type Free = Arc<Mutex<Vec<Reservation>>>;

/// Address space that one memory uses: nothing but its layout's part of it can be accessed.
struct Reservation {
    /// Where the guard in front of the memory starts.
    start: NonNull<u8>,
    /// Bytes of each guard.
    guard: usize,
    /// Bytes between the guards.
    reserved: usize,
    /// What is mapped; zero behind it.
    image: MemoryImage,
    /// Bytes of the memory that can be accessed.
    accessible: usize,
    /// Whether a part of the image was copied and so would be lost with what was written.
    is_copied: bool,
    /// Mappings that count in [`EXTRA_MAPPINGS`].
    extra_mappings: usize,
}

// SAFETY: a reservation is the only owner of its address space, like a `Box` of it.
unsafe impl Send for Reservation {}
// SAFETY: through a shared reference nothing but the address is to be had.
unsafe impl Sync for Reservation {}

/// A memory in use.
struct Mapped {
    /// There until the memory is dropped.
    reservation: Option<Reservation>,
    free: Free,
    /// Bytes of the memory; no more than can be accessed.
    bytes: usize,
    /// The same as the reservation's.
    memory: NonNull<u8>,
}

// SAFETY: the pointer is the owned reservation's.
unsafe impl Send for Mapped {}
// SAFETY: through a shared reference nothing but the address is to be had.
unsafe impl Sync for Mapped {}

impl Pool {
    pub(super) fn new() -> Self {
        Self { free: Arc::default() }
    }

    /// A reservation of this size, laid out as the image says. Best is one that has that layout already.
    fn reservation(
        &self,
        image: &MemoryImage,
        least: usize,
        reserved: usize,
        guard: usize,
    ) -> io::Result<Reservation> {
        let mut free = lock(&self.free);
        let fits = |free: &Reservation| free.reserved == reserved && free.guard == guard;
        let place = free
            .iter()
            .rposition(|free| fits(free) && free.image.is(image))
            .or_else(|| free.iter().rposition(fits));
        let found = place.map(|place| free.swap_remove(place));
        drop(free);
        let mut reservation = match found {
            Some(reservation) => reservation,
            None => Reservation::new(reserved, guard)?,
        };
        reservation.lay_out(image, least)?;
        Ok(reservation)
    }
}

// SAFETY: a memory starts at a page, is `minimum` bytes long and zero but for the image that our own caller offered,
// never moves, and is followed by the rest of the reservation and a guard of the size asked for, neither of which can be
// accessed.
unsafe impl MemoryCreator for Pool {
    fn new_memory(
        &self,
        _: MemoryType,
        minimum: usize,
        _: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let reserved = reserved.unwrap_or(minimum).next_multiple_of(PAGE_BYTES);
        let image = NEXT.take().unwrap_or_else(|| MemoryImage::zero(minimum));
        if minimum.max(image.bytes()) > reserved {
            return Err(format!(
                "a memory of {minimum} bytes does not fit the {reserved} that are reserved for one"
            ));
        }
        let reservation =
            self.reservation(&image, minimum, reserved, guard).map_err(|error| error.to_string())?;
        let memory = reservation.memory();
        let free = Arc::clone(&self.free);
        Ok(Box::new(Mapped { reservation: Some(reservation), free, bytes: minimum, memory }))
    }
}

// SAFETY: see `MemoryCreator`; what lies in `bytes` can be accessed, since it grows only after that was made so.
unsafe impl LinearMemory for Mapped {
    fn byte_size(&self) -> usize {
        self.bytes
    }

    fn byte_capacity(&self) -> usize {
        self.reservation.as_ref().map_or(0, |reservation| reservation.reserved)
    }

    fn grow_to(&mut self, bytes: usize) -> wasmtime::Result<()> {
        if let Some(reservation) = &mut self.reservation {
            reservation.grow(bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.memory.as_ptr()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if let Some(mut reservation) = self.reservation.take()
            && reservation.clear().is_ok()
        {
            let mut free = lock(&self.free);
            if free.len() < FREE_MAXIMUM {
                free.push(reservation);
            }
        }
    }
}

impl Reservation {
    fn new(reserved: usize, guard: usize) -> io::Result<Self> {
        let length = guard + reserved + guard;
        // SAFETY: the kernel chooses where, so nothing that is in use is touched.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                length,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let reservation = Self {
            start,
            guard,
            reserved,
            image: MemoryImage::zero(0),
            accessible: 0,
            is_copied: false,
            extra_mappings: 0,
        };
        reservation.use_small_pages(0, reserved)?;
        Ok(reservation)
    }

    /// The first byte of the memory.
    fn memory(&self) -> NonNull<u8> {
        // SAFETY: the guard lies in the reservation.
        unsafe { self.start.add(self.guard) }
    }

    fn at(&self, offset: usize) -> *mut core::ffi::c_void {
        debug_assert!(offset <= self.reserved);
        // SAFETY: the offset lies in the reservation.
        unsafe { self.memory().add(offset).as_ptr().cast() }
    }

    /// A process must not be given two megabytes for the first byte that it touches, and the kernel tells what was written
    /// by the page.
    fn use_small_pages(&self, offset: usize, length: usize) -> io::Result<()> {
        // SAFETY: the range lies in the reservation, and its content does not change.
        let advised = unsafe { madvise(self.at(offset), length, Advice::LinuxNoHugepage) };
        match advised {
            // A kernel that has no huge pages.
            Err(rustix::io::Errno::INVAL) => Ok(()),
            advised => Ok(advised?),
        }
    }

    /// Makes the memory hold the image, and zeros behind it up to `least` bytes. The reservation is clear.
    fn lay_out(&mut self, image: &MemoryImage, least: usize) -> io::Result<()> {
        let accessible = least.max(image.bytes()).next_multiple_of(PAGE_BYTES);
        if self.image.is(image) && self.accessible == accessible {
            return Ok(());
        }
        self.withdraw()?;
        self.make_accessible(accessible)?;
        self.image = image.clone();
        let may_map = self.count_extra_mappings(image.pieces().len());
        for piece in image.pieces() {
            if !(may_map && self.map(piece)) {
                self.copy(piece)?;
            }
        }
        Ok(())
    }

    /// Counts the mappings of an image of so many pieces; false if there would be too many. Each piece but the first splits
    /// what lies before it, too.
    fn count_extra_mappings(&mut self, pieces: usize) -> bool {
        let extra = pieces.saturating_sub(1) * 2;
        let counted = EXTRA_MAPPINGS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            Some(count + extra).filter(|count| *count <= EXTRA_MAPPINGS_MAXIMUM)
        });
        self.extra_mappings = if counted.is_ok() { extra } else { 0 };
        counted.is_ok() || extra == 0
    }

    fn uncount_extra_mappings(&mut self) {
        EXTRA_MAPPINGS.fetch_sub(self.extra_mappings, Ordering::Relaxed);
        self.extra_mappings = 0;
    }

    /// Takes the whole layout back.
    fn withdraw(&mut self) -> io::Result<()> {
        let length = self.accessible;
        if length == 0 {
            return Ok(());
        }
        // Nothing of it counts if a call below fails.
        self.image = MemoryImage::zero(0);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: the range lies in the reservation, and no memory uses that.
        unsafe { mmap_anonymous(self.at(0), length, ProtFlags::empty(), flags)? };
        self.accessible = 0;
        self.is_copied = false;
        self.uncount_extra_mappings();
        self.use_small_pages(0, length)
    }

    /// Makes what follows the accessible part accessible up to `bytes`. It is zero.
    fn make_accessible(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > self.accessible {
            let length = bytes - self.accessible;
            // SAFETY: the range lies in the reservation; more access than before breaks no reference.
            unsafe {
                mprotect(self.at(self.accessible), length, MprotectFlags::READ | MprotectFlags::WRITE)?
            };
            self.accessible = bytes;
        }
        Ok(())
    }

    /// Maps a piece of the image in its place. It may be one to be copied, or the kernel may give no more mappings.
    fn map(&self, piece: &Piece) -> bool {
        let Source::File(file) = &*piece.source else { return false };
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: the range lies in the reservation, and no memory uses that yet. The file is sealed, so its pages stay
        // what they are until a process writes copies of its own.
        let mapped = unsafe {
            mmap(self.at(piece.start), piece.length, access, flags, file.descriptor(), piece.offset as u64)
        };
        mapped.is_ok()
    }

    /// Copies a piece of the image to its place.
    fn copy(&mut self, piece: &Piece) -> io::Result<()> {
        self.is_copied = true;
        let start = self.at(piece.start).cast::<u8>();
        // SAFETY: the range lies in the accessible part, and no memory uses that yet.
        piece.copy_into(unsafe { std::slice::from_raw_parts_mut(start, piece.length) })
    }

    fn grow(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > self.reserved {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.make_accessible(bytes.next_multiple_of(PAGE_BYTES))
    }

    /// Drops every page that was written; what was grown cannot be accessed any more.
    fn clear(&mut self) -> io::Result<()> {
        if self.is_copied {
            return self.withdraw();
        }
        // SAFETY: the range lies in the reservation, and the memory that used it is being dropped.
        unsafe { madvise(self.at(0), self.accessible, Advice::LinuxDontNeed)? };
        let kept = self.image.bytes();
        if self.accessible > kept {
            // SAFETY: as above.
            unsafe { mprotect(self.at(kept), self.accessible - kept, MprotectFlags::empty())? };
            self.accessible = kept;
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.uncount_extra_mappings();
        let length = self.guard + self.reserved + self.guard;
        // SAFETY: the reservation is the only owner of this range. Should the kernel refuse, it stays reserved.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), length) };
    }
}

/// A thread that panicked cannot have left the list half changed.
fn lock(free: &Mutex<Vec<Reservation>>) -> std::sync::MutexGuard<'_, Vec<Reservation>> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::memory::{Keeping, Memories};

    const RESERVED: usize = 64 << 20;
    const GUARD: usize = 64 << 10;

    /// A memory as the engine would have it.
    fn memory(pool: &Pool, image: &MemoryImage) -> Box<dyn LinearMemory> {
        let kind = MemoryType::new(1, None);
        creating(image, || pool.new_memory(kind, 65_536, None, Some(RESERVED), GUARD)).unwrap()
    }

    fn bytes(memory: &mut dyn LinearMemory) -> &mut [u8] {
        // SAFETY: that is what a linear memory promises.
        unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), memory.byte_size()) }
    }

    fn image(byte: u8) -> MemoryImage {
        MemoryImage::of_data(65_536, &[(8192, &[byte; 4096])], Keeping::Mapped).unwrap()
    }

    #[test]
    fn this_host_maps_images() {
        assert!(is_possible());
    }

    #[test]
    fn memories_of_one_image_never_see_each_others_writes() {
        let (pool, image) = (Pool::new(), image(7));
        let mut memories: Vec<_> = (0..20).map(|_| memory(&pool, &image)).collect();
        for (number, memory) in memories.iter_mut().enumerate() {
            assert_eq!(bytes(&mut **memory)[8192..12_288], [7; 4096]);
            bytes(&mut **memory).fill(number as u8);
        }
        for (number, memory) in memories.iter_mut().enumerate() {
            assert!(bytes(&mut **memory).iter().all(|byte| *byte == number as u8));
        }
        assert_eq!(bytes(&mut *self::memory(&pool, &image))[8192..12_288], [7; 4096]);
    }

    #[test]
    fn a_reservation_that_is_used_again_holds_nothing_of_the_process_before() {
        let (pool, first, second) = (Pool::new(), image(7), image(9));
        let copied = MemoryImage::of_data(65_536, &[(8192, &[5; 4096])], Keeping::Copied).unwrap();
        let mut starts = std::collections::BTreeSet::new();
        for next in [&first, &first, &second, &copied, &copied, &first, &MemoryImage::zero(65_536), &copied] {
            let mut memory = memory(&pool, next);
            let expected = {
                let mut expected = vec![0; 65_536];
                next.copy_into(&mut expected).unwrap();
                expected
            };
            assert_eq!(bytes(&mut *memory), expected);
            memory.grow_to(20 * 65_536).unwrap();
            assert!(bytes(&mut *memory)[65_536..].iter().all(|byte| *byte == 0));
            bytes(&mut *memory).fill(0xaa);
            starts.insert(memory.as_ptr().addr());
        }
        assert_eq!(starts.len(), 1);
    }

    #[test]
    fn growth_ends_at_the_reservation() {
        let pool = Pool::new();
        let mut memory = memory(&pool, &image(1));
        assert!(memory.grow_to(RESERVED).is_ok());
        bytes(&mut *memory)[RESERVED - 1] = 1;
        assert!(memory.grow_to(RESERVED + 65_536).is_err());
        assert_eq!(memory.byte_size(), RESERVED);
    }

    #[test]
    fn no_more_free_reservations_are_kept_than_the_maximum() {
        let pool = Pool::new();
        let image = image(1);
        drop((0..FREE_MAXIMUM + 10).map(|_| memory(&pool, &image)).collect::<Vec<_>>());
        assert_eq!(lock(&pool.free).len(), FREE_MAXIMUM);
    }

    #[test]
    fn a_snapshot_shares_what_was_not_written() {
        let memories = Memories::new(true);
        let pool = memories.mapped.clone().unwrap();
        let base = MemoryImage::of_data(65_536, &[(0, &[3; 65_536])], Keeping::Mapped).unwrap();
        let mut memory = memory(&pool, &base);
        memory.grow_to(3 * 65_536).unwrap();
        bytes(&mut *memory)[5000] = 1;
        bytes(&mut *memory)[2 * 65_536 + 1] = 2;
        // A page that was only read.
        assert_eq!(bytes(&mut *memory)[65_536 + 9000], 0);
        let before = bytes(&mut *memory).to_vec();
        let snapshot = memories.snapshot(&base, bytes(&mut *memory)).unwrap();
        bytes(&mut *memory).fill(0xff);
        drop(memory);

        let new = |piece: &&Piece| !Arc::ptr_eq(&piece.source, &base.pieces()[0].source);
        let lengths: Vec<usize> = snapshot.pieces().iter().filter(new).map(|piece| piece.length).collect();
        assert_eq!(lengths, [PAGE_BYTES, PAGE_BYTES]);
        let mut restored = self::memory(&pool, &snapshot);
        restored.grow_to(3 * 65_536).unwrap();
        assert_eq!(bytes(&mut *restored), before);
        // Without the kernel's help the same is found by comparing.
        let compared = base.changed_pages(&before).unwrap();
        assert_eq!(compared.iter().filter(|changed| **changed).count(), 2);
    }

    /// KiB of a mapped memory that the kernel counts as the process's own and as shared with others.
    fn resident(memory: &mut dyn LinearMemory) -> (u64, u64) {
        let memory = memory.as_ptr().addr()..memory.as_ptr().addr() + memory.byte_size();
        let (mut own, mut shared) = (0, 0);
        let mut is_inside = false;
        for line in std::fs::read_to_string("/proc/self/smaps").unwrap().lines() {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            if let Some((start, _)) = name.split_once('-') {
                is_inside = usize::from_str_radix(start, 16).is_ok_and(|start| memory.contains(&start));
            } else if is_inside && (name.starts_with("Private_") || name.starts_with("Shared_")) {
                let kibibytes: u64 = rest.trim().trim_end_matches(" kB").parse().unwrap_or_default();
                *if name.starts_with("Private_") { &mut own } else { &mut shared } += kibibytes;
            }
        }
        (own, shared)
    }

    #[test]
    fn a_hundred_memories_of_one_image_share_the_pages_that_none_wrote() {
        const BYTES: usize = 1 << 20;
        let pool = Pool::new();
        let image = MemoryImage::of_data(BYTES, &[(0, &[7; BYTES])], Keeping::Mapped).unwrap();
        let mut memories: Vec<_> = (0..100)
            .map(|_| {
                let mut memory = memory(&pool, &image);
                memory.grow_to(BYTES).unwrap();
                assert!(bytes(&mut *memory).iter().all(|byte| *byte == 7));
                memory
            })
            .collect();
        bytes(&mut *memories[0])[..3 * PAGE_BYTES].fill(1);
        assert_eq!(resident(&mut *memories[0]), (12, 1012));
        for memory in &mut memories[1..] {
            assert_eq!(resident(&mut **memory), (0, 1024));
        }
    }
}
