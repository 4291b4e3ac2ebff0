//! Audio output: samples that follow each other without gaps.

use std::marker::PhantomData;

use super::host;

/// A type of samples: `f32` from -1 to 1, or `i16`.
pub trait Sample: Copy + sealed::Sample {}

impl Sample for f32 {}
impl Sample for i16 {}

pub(super) mod sealed {
    /// Only what the host plays is a sample.
    pub trait Sample: Sized {
        /// The format's code.
        const CODE: u32;

        fn play(samples: &[Self]) -> u64;
    }

    impl Sample for f32 {
        const CODE: u32 = 1;

        fn play(samples: &[Self]) -> u64 {
            super::host::audio_play_f32(samples)
        }
    }

    impl Sample for i16 {
        const CODE: u32 = 2;

        fn play(samples: &[Self]) -> u64 {
            super::host::audio_play_i16(samples)
        }
    }
}

/// The stream that the process plays. A process has one: playing in another format begins a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream<S> {
    rate: u32,
    channels: u32,
    samples: PhantomData<S>,
}

impl<S: Sample> Stream<S> {
    /// A stream of so many frames in a second, each of one sample for every channel. A rate of 0 or over 192,000, and no
    /// channels or more than 8, stop the step that plays.
    pub const fn new(rate: u32, channels: u32) -> Self {
        Self { rate, channels, samples: PhantomData }
    }

    /// Plays whole frames, the samples of a frame one after the other (left, right, …); returns where they start in the
    /// stream, in frames. Half a frame stops the step.
    pub fn play(&self, samples: &[S]) -> u64 {
        // The format that is already set changes nothing.
        host::audio_configure(self.rate, self.channels, S::CODE);
        S::play(samples)
    }
}
