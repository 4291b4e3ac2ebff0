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
        // Over the latest while nobody reads, else beside it: of the other two, one is always free. Should that ever be
        // untrue, the frame is written where nobody sees it, rather than waited for.
        let places = self.shared.places.iter().enumerate();
        let found = places
            .filter(|(place, _)| latest == NONE || alone == (*place == latest))
            .find_map(|(place, frame)| frame.try_lock().map(|frame| (place, frame)));
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

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicBool, thread, vec, vec::Vec};

    use super::*;
    use crate::display::{FrameLayout, PixelFormat};

    /// Writes frame number `index`, whose bytes all are that number.
    fn write(writer: &mut FrameWriter, index: u64) {
        let layout = FrameLayout { width: 4096, height: 4, stride: 4096, format: PixelFormat::Luma8 };
        writer.write(|frame| {
            frame.bytes.resize(layout.bytes() as usize, 0);
            frame.bytes.fill(index as u8);
            frame.info = FrameInfo { index, time: 0, layout, sha256: [index as u8; 32] };
            frame.info
        });
    }

    #[test]
    fn readers_in_other_threads_see_whole_frames_in_order_and_the_last_one() {
        let mut writer = FrameWriter::default();
        let done = AtomicBool::new(false);
        const FRAMES: u64 = 20_000;
        thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let (reader, done) = (writer.reader(), &done);
                    scope.spawn(move || {
                        let (mut frame, mut last) = (Frame::EMPTY, 0);
                        loop {
                            let finished = done.load(Ordering::Acquire);
                            if reader.read_newer(&mut frame) {
                                let index = frame.info.index;
                                assert!(index > last);
                                assert!(frame.bytes.iter().all(|byte| *byte == index as u8));
                                assert_eq!(frame.info.sha256, [index as u8; 32]);
                                last = index;
                            } else if finished {
                                return last;
                            }
                        }
                    })
                })
                .collect();
            for index in 1..=FRAMES {
                write(&mut writer, index);
            }
            done.store(true, Ordering::Release);
            for reader in readers {
                assert_eq!(reader.join().unwrap(), FRAMES);
            }
        });
    }

    #[test]
    fn the_writer_goes_on_while_a_frame_is_being_read() {
        let mut writer = FrameWriter::default();
        let reader = writer.reader();
        assert_eq!(reader.info(), None);
        write(&mut writer, 1);
        let seen = reader.shared.read(|frame| {
            for index in 2..10 {
                write(&mut writer, index);
            }
            frame.bytes.clone()
        });
        assert_eq!(seen, Some(vec![1; 4 * 4096]));
        assert_eq!(reader.info().unwrap().index, 9);
        // A clone has the frame, and goes its own way.
        let mut fork = writer.clone();
        write(&mut fork, 10);
        assert_eq!(fork.latest().unwrap().info.index, 10);
        assert_eq!(reader.info().unwrap().index, 9);
    }

    #[test]
    fn places_are_allocated_once_and_only_one_while_nobody_reads() {
        let mut writer = FrameWriter::default();
        let held = |writer: &FrameWriter| {
            let place = |place: &SpinMutex<Frame>| {
                let frame = place.lock();
                (frame.bytes.as_ptr() as usize, frame.bytes.capacity())
            };
            let mut held: Vec<_> = writer.shared.places.iter().map(place).collect();
            held.retain(|(_, capacity)| *capacity > 0);
            held
        };
        (1..5).for_each(|index| write(&mut writer, index));
        assert_eq!(held(&writer).len(), 1);
        let reader = writer.reader();
        (5..10).for_each(|index| write(&mut writer, index));
        let before = held(&writer);
        (10..100).for_each(|index| write(&mut writer, index));
        assert_eq!(held(&writer), before);
        assert_eq!(reader.latest().unwrap().info.index, 99);
    }
}
