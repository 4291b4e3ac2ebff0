//! The latest frame, shared between a process that writes it and others that read it.
//!
//! There are three places for a frame. The writer writes into one that is neither the latest nor being read, then says
//! that this is the latest. Readers wait for each other, so that at most one place is being read: the writer always finds one.
//! While there are no readers it writes the latest place over, so that most processes keep one frame.
//!
//! **Invariant:** the writer never waits, and after it has used a place once for a size of frame, never allocates.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use spin::mutex::SpinMutex;

use super::{Frame, FrameInfo};

/// Places for a frame: the latest, one that is being read, one that is being written.
const PLACES: usize = 3;

/// The latest place when there is none.
const NONE: usize = usize::MAX;

#[derive(Debug)]
struct Shared {
    places: [SpinMutex<Frame>; PLACES],
    latest: AtomicUsize,
    /// Held by the reader that is reading.
    reading: SpinMutex<()>,
}

/// The side of the process.
#[derive(Debug)]
pub(super) struct FrameWriter {
    shared: Arc<Shared>,
}

/// Reads the latest frame of a process, from any thread. It neither delays the process nor sees half a frame.
#[derive(Debug, Clone)]
pub struct FrameReader {
    shared: Arc<Shared>,
}

impl Default for FrameWriter {
    fn default() -> Self {
        Self::holding(None)
    }
}

impl Clone for FrameWriter {
    /// A writer of its own, with the same latest frame: readers stay with the one they are of.
    fn clone(&self) -> Self {
        Self::holding(self.latest())
    }
}

impl FrameWriter {
    /// A writer whose latest frame this is.
    pub(super) fn holding(latest: Option<Frame>) -> Self {
        let place = if latest.is_some() { 0 } else { NONE };
        let places = [latest.unwrap_or(Frame::EMPTY), Frame::EMPTY, Frame::EMPTY];
        let shared = Shared {
            places: places.map(SpinMutex::new),
            latest: AtomicUsize::new(place),
            reading: SpinMutex::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Writes the next frame with `write` and makes it the latest.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Frame) -> FrameInfo) -> FrameInfo {
        let latest = self.shared.latest.load(Ordering::Relaxed);
        // A reader cannot appear meanwhile: it is made of this writer, or of another reader.
        let alone = Arc::strong_count(&self.shared) == 1;
        // Over the latest while nobody reads, else beside it. One of the other two is always free; should that ever be
        // untrue, the frame is written where nobody sees it, rather than waited for.
        let places = self.shared.places.iter().enumerate();
        let mut free = places.filter(|(place, _)| alone || *place != latest);
        let found = if alone && latest != NONE {
            self.shared.places.get(latest).and_then(SpinMutex::try_lock).map(|frame| (latest, frame))
        } else {
            free.find_map(|(place, frame)| frame.try_lock().map(|frame| (place, frame)))
        };
        let Some((place, mut frame)) = found else { return write(&mut Frame::EMPTY.clone()) };
        let info = write(&mut frame);
        drop(frame);
        self.shared.latest.store(place, Ordering::Release);
        info
    }

    /// A copy of the latest frame.
    pub(super) fn latest(&self) -> Option<Frame> {
        self.shared.latest()
    }

    /// A handle that reads.
    pub(super) fn reader(&self) -> FrameReader {
        FrameReader { shared: self.shared.clone() }
    }
}

impl FrameReader {
    /// A copy of the latest frame; none before the first.
    pub fn latest(&self) -> Option<Frame> {
        self.shared.latest()
    }

    /// Copies the latest frame over another, if it is a newer one: whether it was.
    pub fn read_newer(&self, frame: &mut Frame) -> bool {
        self.shared.read(|latest| {
            let newer = latest.info.index > frame.info.index;
            if newer {
                frame.copy_from(latest);
            }
            newer
        }) == Some(true)
    }

    /// Which frame is the latest; none before the first.
    pub fn info(&self) -> Option<FrameInfo> {
        self.shared.read(|frame| frame.info)
    }
}

impl Shared {
    fn latest(&self) -> Option<Frame> {
        self.read(Frame::clone)
    }

    /// Looks at the latest frame.
    fn read<R>(&self, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        let _turn = self.reading.lock();
        loop {
            let place = self.places.get(self.latest.load(Ordering::Acquire))?;
            // Locked only when the writer has made another place the latest meanwhile, and taken this one.
            if let Some(frame) = place.try_lock() {
                return Some(look(&frame));
            }
            core::hint::spin_loop();
        }
    }
}
