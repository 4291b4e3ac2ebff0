//! Hosts with files, memory maps and threads.

use std::fs::File;
use std::num::NonZero;
use std::ops::{Deref, DerefMut, Range};
use std::path::Path;

use half::f16;
use memmap2::{Mmap, MmapMut};

use super::GrammarLimits;

/// The compiler's stack has room for this nesting many times over.
pub(crate) const GRAMMAR_LIMITS: GrammarLimits = GrammarLimits { nesting: 128, rules: 512, references: 256 };

/// The stack of the grammar compiler: it takes up to some tens of kilobytes for each level of nesting. Only what
/// is used takes memory.
const COMPILER_STACK_BYTES: usize = 64 << 20;

/// Size from which huge pages are worth asking for.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A file in the address space, read as it is touched.
pub(crate) struct FileMap(Mmap);

impl FileMap {
    /// Maps the file at `path`, which is not empty.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(std::io::Error::other("it is a directory"));
        }
        // SAFETY: the map is read-only and private to this value. Another process that shortens the file while it
        // is mapped ends this process by a signal; that is the accepted cost of mapping models, as in other engines.
        unsafe { Mmap::map(&file) }.map(Self)
    }

    /// Tells the system that a range of bytes is not needed any more: its pages are dropped from this process's
    /// memory, and read again from the file if they are touched.
    pub fn release(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        {
            // SAFETY: the map is read-only and backed by a file, so dropped pages come back with the same bytes.
            // A failure leaves the pages where they are, which only costs memory.
            let _ = unsafe {
                self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
            };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }
}

impl Deref for FileMap {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A byte buffer of fixed size: anonymous pages with huge-page advice when large, a plain vector when small.
pub(crate) enum PackedBytes {
    Map(MmapMut),
    Vector(Vec<u8>),
}

impl PackedBytes {
    /// A buffer of `bytes` zeros; `None` when there is no room for it.
    pub fn zeroed(bytes: usize) -> Option<Self> {
        if bytes >= HUGE_PAGE_BYTES
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            #[cfg(target_os = "linux")]
            {
                // Advice that the system may decline; reading is up to a quarter faster when it does not.
                let _ = map.advise(memmap2::Advice::HugePage);
            }
            return Some(Self::Map(map));
        }
        Some(Self::Vector(vec![0; bytes]))
    }
}

impl Deref for PackedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Vector(vector) => vector,
        }
    }
}

impl DerefMut for PackedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Map(map) => map,
            Self::Vector(vector) => vector,
        }
    }
}

/// A number in half precision: its bits, which the processor converts as it loads them.
#[derive(Debug, Clone, Copy, Default)]
#[repr(transparent)]
pub(crate) struct Half(u16);

impl Half {
    /// The nearest number, ties to even. It is computed with integers, as the reference that processors are held against.
    #[inline]
    pub fn round(x: f32) -> Self {
        Self(f16::from_f32_const(x).to_bits())
    }

    /// The number with these bits.
    #[inline]
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[inline]
    pub fn to_bits(self) -> u16 {
        self.0
    }

    /// The number.
    #[inline]
    pub fn value(self) -> f32 {
        f16::from_bits(self.0).to_f32()
    }
}

/// How many cores this machine has.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Runs `work` where it may recurse as deep as [`GRAMMAR_LIMITS`] let it; says why if it could not run or panicked.
pub(crate) fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(COMPILER_STACK_BYTES).spawn_scoped(scope, work);
        worker.map_err(|error| error.to_string())?.join().map_err(|_| "it panicked".to_string())
    })
}
