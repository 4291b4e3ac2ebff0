//! One file from a server onto the disk: in ranges that are read at the same time where the server has them, and going on
//! from what is there.
//!
//! - [`Transfer`]: what to get, and where to. [`Transfer::run`] returns once every byte is on the disk.
//!
//! The first request asks for the first piece that is missing, and tells what the server can do: it answers with that part
//! (then all others are asked for, on several connections), or with the whole file (then it is read in one go, and begun
//! again if it breaks off). An answer that is of another file than the bytes on the disk ends all that, and everything
//! begins anew.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    ops::Range,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ureq::Body;

use crate::{
    HubError,
    answer::{Answer, Content},
    client::{Client, RangeRequest},
    error::shown,
    machine,
    ranges::Ranges,
    record::Record,
};

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// A request that brings as many bytes was no vain one, though it failed.
const PROGRESS_BYTES: u64 = 64 << 10;

/// How often a file may change while it is read.
const MAXIMUM_CHANGES: u32 = 3;

/// What is told of a transfer.
pub(crate) enum Step<'s> {
    /// So many bytes are here, of so many if that is known.
    Bytes { done: u64, total: Option<u64> },
    /// Something failed and is tried again after a wait.
    Waiting { problem: &'s HubError, delay: Duration },
    /// The file is another one than before: it begins anew.
    Restarted,
}

/// What to get, and where to.
pub(crate) struct Transfer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) address: &'a str,
    /// The length that somebody else than the server has announced.
    pub(crate) announced: Option<u64>,
    /// Whether a checksum will tell if bytes of two files were mixed; without one, and without a validator, nothing would.
    pub(crate) is_checked: bool,
    /// The partial file.
    pub(crate) part: &'a Path,
    /// Ranges that are read at the same time.
    pub(crate) connections: usize,
    pub(crate) tell: &'a (dyn Fn(Step<'_>) + Sync),
}

/// Why a transfer did not go on.
enum Interruption {
    Failed(HubError),
    /// It was tried often enough.
    GivenUp(HubError),
    /// The server has another file than the one that was begun.
    Changed,
}

impl From<HubError> for Interruption {
    fn from(error: HubError) -> Self {
        Self::Failed(error)
    }
}

/// What all connections of a file share.
struct Shared<'a> {
    file: &'a File,
    pieces: Mutex<VecDeque<Range<u64>>>,
    record: Mutex<Record>,
    /// Held while the record is written.
    saving: Mutex<()>,
    /// Set when one connection has failed for good: the others need not go on.
    is_over: AtomicBool,
}

impl Transfer<'_> {
    /// Brings all bytes onto the disk; the file's length.
    pub(crate) fn run(&self, file: &File) -> Result<u64, HubError> {
        let mut record = Record::load(self.part).filter(|record| self.continues(record));
        let mut tries = self.client.tries();
        let mut changes = 0;
        loop {
            match self.attempt(file, &mut record) {
                Ok(total) => return Ok(total),
                Err(Interruption::Failed(error)) => {
                    tries.failed(error, |problem, delay| (self.tell)(Step::Waiting { problem, delay }))?;
                }
                Err(Interruption::GivenUp(error)) => return Err(error),
                Err(Interruption::Changed) if changes < MAXIMUM_CHANGES => {
                    changes += 1;
                    record = None;
                    Record::remove(self.part);
                    (self.tell)(Step::Restarted);
                }
                Err(Interruption::Changed) => {
                    return Err(HubError::Changing { address: shown(self.address) });
                }
            }
        }
    }

    /// Whether a partial file is one of what is to be got.
    fn continues(&self, record: &Record) -> bool {
        record.address == self.address
            && self.announced.is_none_or(|bytes| bytes == record.total)
            && (self.is_checked || record.validator.condition().is_some())
    }

    fn attempt(&self, file: &File, record: &mut Option<Record>) -> Result<u64, Interruption> {
        let piece = self.client.options.piece_bytes.max(1);
        let missing = match record {
            Some(record) => match record.done.missing(record.total, piece).next() {
                Some(missing) => missing,
                None => return Ok(record.total),
            },
            None => 0..piece.min(self.announced.unwrap_or(piece).max(1)),
        };
        let answer = self.ask(&missing, record.as_ref())?;
        match answer.content {
            Content::Part { total, .. } => {
                let record = match record {
                    Some(record) => record,
                    None => {
                        self.check_length(total)?;
                        record.insert(Record {
                            address: self.address.to_owned(),
                            total,
                            validator: answer.validator,
                            done: Ranges::default(),
                        })
                    }
                };
                self.check_space(total - record.done.bytes())?;
                file.set_len(total).map_err(HubError::file(self.part, "written"))?;
                let first = missing.start..missing.end.min(total);
                self.all_pieces(file, record, first, answer.body)
            }
            Content::Whole { length } => {
                // A condition that does not hold is answered so: what is here is of another file.
                if record.is_some() {
                    return Err(Interruption::Changed);
                }
                length.iter().try_for_each(|&length| self.check_length(length))?;
                Ok(self.whole(file, length.or(self.announced), answer.body)?)
            }
            Content::Nothing if missing.start == 0 => Err(HubError::Answer {
                address: shown(self.address),
                problem: "the file is empty".to_owned(),
            }
            .into()),
            Content::Nothing => Err(Interruption::Changed),
        }
    }

    /// Asks for a range of the file that the record is of. An answer with a part begins where it should.
    fn ask(&self, range: &Range<u64>, record: Option<&Record>) -> Result<Answer, Interruption> {
        let condition = record.and_then(|record| record.validator.condition());
        let request = RangeRequest { first: range.start, last: range.end - 1, condition };
        let response = self.client.get(self.address, Some(&request))?;
        let answer = Answer::of(self.address, response)?;
        if let Content::Part { range: found, total } = &answer.content {
            if found.start != range.start {
                return Err(HubError::Answer {
                    address: shown(self.address),
                    problem: format!("asked for byte {}, it begins at byte {}", range.start, found.start),
                }
                .into());
            }
            let is_same =
                |record: &Record| record.total == *total && record.validator.agrees_with(&answer.validator);
            if !record.is_none_or(is_same) {
                return Err(Interruption::Changed);
            }
        }
        Ok(answer)
    }

    fn check_length(&self, length: u64) -> Result<(), HubError> {
        match self.announced {
            Some(announced) if announced != length => Err(HubError::Answer {
                address: shown(self.address),
                problem: format!("it has {length} bytes, and {announced} were announced"),
            }),
            _ => Ok(()),
        }
    }

    fn check_space(&self, needed: u64) -> Result<(), HubError> {
        let folder = self.part.parent().unwrap_or(self.part);
        // What is written already is no longer free.
        match machine::available_disk(folder) {
            Some(available) if available < needed => {
                Err(HubError::Space { folder: folder.to_owned(), needed, available })
            }
            _ => Ok(()),
        }
    }

    /// Reads everything that is missing; `body` is the answer for the piece `first`.
    fn all_pieces(
        &self,
        file: &File,
        record: &Record,
        first: Range<u64>,
        body: Body,
    ) -> Result<u64, Interruption> {
        let total = record.total;
        let pieces: VecDeque<_> = record
            .done
            .missing(total, self.client.options.piece_bytes)
            .skip_while(|piece| *piece == first)
            .collect();
        let connections = self.connections.clamp(1, pieces.len() + 1);
        let shared = Shared {
            file,
            pieces: Mutex::new(pieces),
            record: Mutex::new(record.clone()),
            saving: Mutex::new(()),
            is_over: AtomicBool::new(false),
        };
        self.tell_bytes(&lock(&shared.record));
        let outcome = thread::scope(|scope| {
            let mut first = Some((first, body));
            let workers: Vec<_> = (0..connections)
                .map(|_| {
                    let (shared, first) = (&shared, first.take());
                    scope.spawn(move || {
                        let outcome = self.pieces(shared, first);
                        if outcome.is_err() {
                            shared.is_over.store(true, Ordering::Relaxed);
                        }
                        outcome
                    })
                })
                .collect();
            let outcomes = workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            // Of several failures the first; but that the file has changed explains all others.
            outcomes.reduce(|one, other| match (&one, &other) {
                (Ok(()), _) | (_, Err(Interruption::Changed)) => other,
                _ => one,
            })
        });
        match outcome.unwrap_or(Ok(())) {
            Ok(()) => Ok(total),
            Err(Interruption::Changed) => Err(Interruption::Changed),
            Err(Interruption::Failed(error) | Interruption::GivenUp(error)) => {
                self.save(&shared)?;
                Err(Interruption::GivenUp(error))
            }
        }
    }

    /// One connection: reads piece after piece until there are no more.
    fn pieces(&self, shared: &Shared<'_>, first: Option<(Range<u64>, Body)>) -> Result<(), Interruption> {
        let mut opened = None;
        let mut piece = first.map(|(piece, body)| {
            opened = Some(body);
            piece
        });
        let mut tries = self.client.tries();
        while let Some(mut rest) = piece.take().or_else(|| lock(&shared.pieces).pop_front()) {
            while !rest.is_empty() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let begin = rest.start;
                let outcome = match opened.take() {
                    Some(body) => Ok(body),
                    None => self.piece(shared, &rest),
                };
                let outcome = outcome.and_then(|body| Ok(self.read(shared, body, &mut rest)?));
                if rest.start - begin >= PROGRESS_BYTES {
                    tries.progressed();
                }
                match outcome {
                    Ok(()) => {}
                    Err(Interruption::Failed(error)) => {
                        tries.failed(error, |problem, delay| (self.tell)(Step::Waiting { problem, delay }))?
                    }
                    Err(interruption) => return Err(interruption),
                }
            }
            tries.progressed();
            self.save(shared)?;
        }
        Ok(())
    }

    /// The answer for a piece of a file whose first piece was answered as a part.
    fn piece(&self, shared: &Shared<'_>, range: &Range<u64>) -> Result<Body, Interruption> {
        let record = lock(&shared.record).clone();
        let answer = self.ask(range, Some(&record))?;
        match answer.content {
            Content::Part { .. } => Ok(answer.body),
            Content::Whole { .. } | Content::Nothing => Err(Interruption::Changed),
        }
    }

    /// Reads a body onto the disk, from the beginning of `rest` on, which ends up as what is still missing.
    fn read(&self, shared: &Shared<'_>, body: Body, rest: &mut Range<u64>) -> Result<(), HubError> {
        let mut source = Watched::new(self, body.into_reader().take(rest.end - rest.start));
        let mut chunk = vec![0; CHUNK_BYTES];
        while !rest.is_empty() {
            if shared.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            let bytes = match source.read(&mut chunk)? {
                0 => return Err(self.broken_off(rest.start, rest.end)),
                bytes => bytes,
            };
            write_at(shared.file, &chunk[..bytes], rest.start)
                .map_err(HubError::file(self.part, "written"))?;
            let end = rest.start + bytes as u64;
            let mut record = lock(&shared.record);
            record.done.insert(rest.start..end);
            self.tell_bytes(&record);
            rest.start = end;
        }
        Ok(())
    }

    /// Reads a whole file in one go. If it breaks off, nothing of it can be used.
    fn whole(&self, file: &File, length: Option<u64>, body: Body) -> Result<u64, HubError> {
        Record::remove(self.part);
        file.set_len(0).map_err(HubError::file(self.part, "written"))?;
        self.check_space(length.unwrap_or(0))?;
        let free = machine::available_disk(self.part.parent().unwrap_or(self.part));
        // One byte more than can be right shows what is too long.
        let limit = length.map_or(free.unwrap_or(u64::MAX), |length| length.saturating_add(1));
        let mut source = Watched::new(self, body.into_reader().take(limit));
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut done = 0;
        loop {
            let bytes = source.read(&mut chunk)?;
            if bytes == 0 {
                break;
            }
            write_at(file, &chunk[..bytes], done).map_err(HubError::file(self.part, "written"))?;
            done += bytes as u64;
            (self.tell)(Step::Bytes { done, total: length });
        }
        match length {
            Some(length) if done < length => Err(self.broken_off(done, length)),
            Some(length) if done > length => self.check_length(done).map(|()| done),
            None if done == limit => self.check_space(u64::MAX).map(|()| done),
            _ => Ok(done),
        }
    }

    fn broken_off(&self, at: u64, of: u64) -> HubError {
        HubError::Network {
            address: shown(self.address),
            problem: format!("the connection ended at byte {at} of {of}"),
        }
    }

    fn tell_bytes(&self, record: &Record) {
        (self.tell)(Step::Bytes { done: record.done.bytes(), total: Some(record.total) });
    }

    /// Keeps what is known of the partial file, once its bytes are on the disk.
    fn save(&self, shared: &Shared<'_>) -> Result<(), HubError> {
        let _one_at_a_time = lock(&shared.saving);
        let record = lock(&shared.record).clone();
        shared.file.sync_data().map_err(HubError::file(self.part, "written"))?;
        record.save(self.part)
    }
}

/// A body that must not come to a standstill.
struct Watched<'t, R> {
    transfer: &'t Transfer<'t>,
    source: R,
    /// When the watch began, and what has come since.
    since: (Instant, u64),
}

impl<'t, R: Read> Watched<'t, R> {
    fn new(transfer: &'t Transfer<'t>, source: R) -> Self {
        Self { transfer, source, since: (Instant::now(), 0) }
    }

    /// Some bytes, none at the end.
    fn read(&mut self, chunk: &mut [u8]) -> Result<usize, HubError> {
        let transfer = self.transfer;
        transfer.client.check_stop()?;
        let broken = |problem: String| HubError::Network { address: shown(transfer.address), problem };
        let bytes = match self.source.read(chunk) {
            Ok(bytes) => bytes,
            Err(_) if transfer.client.stop.is_stopped() => return Err(HubError::Stopped),
            Err(error) => return Err(broken(error.to_string())),
        };
        let timeouts = &transfer.client.options.timeouts;
        self.since.1 += bytes as u64;
        if self.since.0.elapsed() >= timeouts.stall {
            if self.since.1 < timeouts.least_bytes && bytes > 0 {
                return Err(broken(format!("{} bytes came in {:?}", self.since.1, timeouts.stall)));
            }
            self.since = (Instant::now(), 0);
        }
        Ok(bytes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes all bytes at a place, which other threads do elsewhere in the file.
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, offset);
    #[cfg(windows)]
    {
        let (mut bytes, mut offset) = (bytes, offset);
        while !bytes.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }
}
