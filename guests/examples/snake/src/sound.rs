//! What the player hears: a tone when the snake eats, a lower one when it ends, silence in between.

use glasshouse_guest::devices::audio::Stream;

use crate::FRAMES_PER_SECOND;

/// Samples in a second: a whole number for each frame.
const RATE: u32 = 24_000;
const SAMPLES_PER_FRAME: usize = RATE as usize / FRAMES_PER_SECOND as usize;
const STREAM: Stream<i16> = Stream::new(RATE, 1);
/// A quarter of the loudest.
const LOUDNESS: i16 = 1 << 13;

/// A square wave, for so long.
#[derive(Debug, Default)]
pub struct Sound {
    /// Samples of half a wave.
    half_wave: usize,
    /// Samples that are left.
    left: usize,
}

impl Sound {
    /// 800 Hz for 50 ms.
    pub fn beep(&mut self) {
        *self = Self { half_wave: 15, left: 3 * SAMPLES_PER_FRAME };
    }

    /// 100 Hz for 300 ms.
    pub fn growl(&mut self) {
        *self = Self { half_wave: 120, left: 18 * SAMPLES_PER_FRAME };
    }

    /// Plays what belongs to one frame, so that sound and frames stay together.
    pub fn play_frame(&mut self) {
        let mut samples = [0; SAMPLES_PER_FRAME];
        for sample in &mut samples {
            if self.left == 0 {
                break;
            }
            *sample = if (self.left / self.half_wave).is_multiple_of(2) { LOUDNESS } else { -LOUDNESS };
            self.left -= 1;
        }
        STREAM.play(&samples);
    }
}
