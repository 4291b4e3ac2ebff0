//! WAV files: a header for samples that are written after it, and a writer of recorded audio.

use alloc::vec::Vec;

use super::{AudioFormat, SampleFormat};

/// The header of a WAV file whose samples have `data_bytes` bytes; they follow it as they were played. 16-bit samples have
/// the classic header of 44 bytes; for floats it also says the number of frames, 58 bytes in all.
///
/// A file has no more than 4 GiB: more than fits is none.
pub fn wav_header(format: &AudioFormat, data_bytes: u32) -> Option<Vec<u8>> {
    let channels = u16::try_from(format.channels).ok()?;
    let frame_bytes = u16::try_from(format.frame_bytes()).ok()?;
    let (tag, bits, more): (u16, u16, bool) = match format.samples {
        SampleFormat::F32 => (3, 32, true),
        SampleFormat::I16 => (1, 16, false),
    };
    let mut header = Vec::with_capacity(58);
    header.extend(b"RIFF");
    let rest: u32 = if more { 50 } else { 36 };
    header.extend(rest.checked_add(data_bytes)?.to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(if more { 18_u32 } else { 16 }.to_le_bytes());
    header.extend(tag.to_le_bytes());
    header.extend(channels.to_le_bytes());
    header.extend(format.rate.to_le_bytes());
    header.extend(format.rate.checked_mul(frame_bytes.into())?.to_le_bytes());
    header.extend(frame_bytes.to_le_bytes());
    header.extend(bits.to_le_bytes());
    if more {
        header.extend([0, 0]);
        header.extend(b"fact");
        header.extend(4_u32.to_le_bytes());
        header.extend(data_bytes.checked_div(frame_bytes.into())?.to_le_bytes());
    }
    header.extend(b"data");
    header.extend(data_bytes.to_le_bytes());
    Some(header)
}

#[cfg(feature = "wav")]
mod writer {
    use std::io::{self, ErrorKind, Seek, SeekFrom, Write};

    use super::wav_header;
    use crate::{AudioBlock, AudioFormat};

    /// Bytes of silence that are written at once.
    const SILENCE_BYTES: usize = 4096;

    /// Writes one stream of recorded audio to a WAV file, block by block. The file is whole after [`WavWriter::finish`].
    #[derive(Debug)]
    pub struct WavWriter<W> {
        file: W,
        format: AudioFormat,
        stream: u32,
        frames: u64,
    }

    impl<W: Write + Seek> WavWriter<W> {
        /// Begins a file for the stream of a block, with which it starts.
        ///
        /// # Errors
        /// What writing says; [`ErrorKind::InvalidInput`] when the format does not fit a WAV file.
        pub fn new(mut file: W, first: &AudioBlock) -> io::Result<Self> {
            file.write_all(&header(&first.format, 0)?)?;
            let mut writer = Self { file, format: first.format, stream: first.stream, frames: 0 };
            writer.write(first)?;
            Ok(writer)
        }

        /// Appends a block. What is missing before it is written as silence, so that every frame is at its time.
        ///
        /// # Errors
        /// What writing says; [`ErrorKind::InvalidInput`] for a block of another stream, or one that was there before;
        /// [`ErrorKind::FileTooLarge`] over 4 GiB.
        pub fn write(&mut self, block: &AudioBlock) -> io::Result<()> {
            let frame_bytes = u64::from(self.format.frame_bytes().max(1));
            if block.stream != self.stream || block.format != self.format || block.offset < self.frames {
                return Err(invalid("the block does not follow what was written"));
            }
            let frames = block.end();
            // Asked before anything is written.
            header(&self.format, data_bytes(frames, frame_bytes)?)?;
            let mut silence = (block.offset - self.frames) * frame_bytes;
            while silence > 0 {
                let piece = silence.min(SILENCE_BYTES as u64);
                self.file.write_all(&[0; SILENCE_BYTES][..piece as usize])?;
                silence -= piece;
            }
            self.file.write_all(&block.bytes)?;
            self.frames = frames;
            Ok(())
        }

        /// Writes the length into the header: the file.
        ///
        /// # Errors
        /// What writing says.
        pub fn finish(mut self) -> io::Result<W> {
            let bytes = data_bytes(self.frames, self.format.frame_bytes().into())?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&header(&self.format, bytes)?)?;
            self.file.seek(SeekFrom::End(0))?;
            self.file.flush()?;
            Ok(self.file)
        }
    }

    fn data_bytes(frames: u64, frame_bytes: u64) -> io::Result<u32> {
        let bytes = frames.checked_mul(frame_bytes).and_then(|bytes| u32::try_from(bytes).ok());
        bytes.ok_or_else(|| io::Error::new(ErrorKind::FileTooLarge, "a WAV file has at most 4 GiB"))
    }

    fn header(format: &AudioFormat, data_bytes: u32) -> io::Result<std::vec::Vec<u8>> {
        wav_header(format, data_bytes).ok_or_else(|| invalid("the audio does not fit a WAV file"))
    }

    fn invalid(message: &'static str) -> io::Error {
        io::Error::new(ErrorKind::InvalidInput, message)
    }
}

#[cfg(feature = "wav")]
pub use writer::WavWriter;
