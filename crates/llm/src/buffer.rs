//! Memory for repacked weights: anonymous pages with huge-page advice when large, a plain vector when small.

use memmap2::MmapMut;

/// Size from which huge pages are worth asking for.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A zeroed byte buffer of fixed size.
pub(crate) enum Buffer {
    Map(MmapMut),
    Vector(Vec<u8>),
}

impl Buffer {
    /// A buffer of `bytes` zeros.
    pub fn zeroed(bytes: usize) -> Self {
        if bytes >= HUGE_PAGE_BYTES
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            #[cfg(target_os = "linux")]
            {
                // Advice that the system may decline; reading is up to a quarter faster when it does not.
                let _ = map.advise(memmap2::Advice::HugePage);
            }
            return Self::Map(map);
        }
        Self::Vector(vec![0; bytes])
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Vector(vector) => vector,
        }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Map(map) => map,
            Self::Vector(vector) => vector,
        }
    }
}
