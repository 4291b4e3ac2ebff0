//! Files in memory that nobody can change any more.

use std::{io, os::fd::OwnedFd};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create},
    io::{pread, pwrite},
};

/// A file that is being written.
pub(in super::super) struct OpenFile(OwnedFd);

/// A file of the kernel's memory whose bytes and length are fixed: the kernel refuses to change them, whoever asks.
#[derive(Debug)]
pub(in super::super) struct SealedFile(OwnedFd);

impl OpenFile {
    pub(super) fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Nothing in the file is ever to be executed; kernels before 6.3 do not know the flag.
        let file = memfd_create(c"glasshouse-image", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| memfd_create(c"glasshouse-image", flags))?;
        Ok(Self(file))
    }

    pub(super) fn write(&mut self, mut offset: usize, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = pwrite(&self.0, bytes, offset as u64)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Fixes the content at this length; what was not written is zero.
    pub(super) fn seal(self, length: usize) -> io::Result<SealedFile> {
        ftruncate(&self.0, length as u64)?;
        fcntl_add_seals(&self.0, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(SealedFile(self.0))
    }
}

impl SealedFile {
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Copies what lies at `offset`. Zeros stand for what lies behind the end.
    pub(in super::super) fn read(&self, mut offset: usize, mut target: &mut [u8]) -> io::Result<()> {
        while !target.is_empty() {
            let read = pread(&self.0, &mut *target, offset as u64)?;
            if read == 0 {
                target.fill(0);
                break;
            }
            offset += read;
            target = &mut target[read..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_sealed_file_cannot_be_changed() {
        let mut file = OpenFile::new().unwrap();
        file.write(5000, b"fixed").unwrap();
        let sealed = file.seal(8192).unwrap();
        let descriptor = sealed.descriptor().as_fd();
        assert!(pwrite(descriptor, b"x", 0).is_err());
        assert!(ftruncate(descriptor, 4096).is_err());
        assert!(ftruncate(descriptor, 16_384).is_err());
        assert!(fcntl_add_seals(descriptor, SealFlags::empty()).is_err());
        let mut bytes = [1; 16];
        sealed.read(4996, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\0\0\0fixed\0\0\0\0\0\0\0");
        sealed.read(8190, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 16]);
    }
}
