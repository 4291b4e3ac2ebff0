//! An example: the game of Snake on the devices of a process.
//!
//! The snake is steered by the arrows or by W, A, S and D; Enter starts a new game when it has bitten itself or a wall.
//! `play` runs so many frames, 60 in a second of the process's time, and answers how the game stands; called again, it
//! goes on. The same seed and the same input give the same frames and the same sound, to the bit.

mod game;
mod screen;
mod sound;

use std::{cell::RefCell, time::Duration};

use glasshouse_guest::{
    ErrorData,
    devices::{
        clock, display,
        hud::{self, Kind, Signal},
        input::{self, Action, Event, Key},
    },
    entry, random_fill,
};
use serde::{Deserialize, Serialize};

use crate::{
    game::{Direction, Game, Move},
    screen::Screen,
    sound::Sound,
};

/// Frames in a second of the process's time.
const FRAMES_PER_SECOND: u64 = 60;
/// Frames from one move of the snake to the next.
const FRAMES_PER_MOVE: u64 = 6;

/// What `play` takes.
#[derive(Debug, Deserialize)]
pub struct Play {
    /// How many frames to show.
    pub frames: u32,
}

/// How the game stands.
#[derive(Debug, Serialize)]
pub struct Standing {
    /// What the snake has eaten in this game.
    pub score: u32,
    /// Cells that it takes.
    pub length: usize,
    /// Frames that were shown since the process started.
    pub frames: u64,
    /// Whether it has bitten itself or a wall.
    pub over: bool,
}

/// What lasts from one call to the next.
struct Session {
    game: Game,
    screen: Screen,
    sound: Sound,
    /// When frame 0 would have been.
    start: Duration,
    frames: u64,
}

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Plays.
pub async fn play(play: Play) -> Result<Standing, ErrorData> {
    SESSION.with_borrow_mut(|session| {
        let session = session.get_or_insert_with(Session::new);
        for _ in 0..play.frames {
            session.frame()?;
        }
        let Session { game, frames, .. } = session;
        Ok(Standing { score: game.score(), length: game.length(), frames: *frames, over: game.is_over() })
    })
}

entry!(play);

impl Session {
    fn new() -> Self {
        Self {
            game: Game::new(&mut random),
            screen: Screen::new(),
            sound: Sound::default(),
            start: clock::now(),
            frames: 0,
        }
    }

    /// One frame: waits for its time, takes the input, moves, shows and plays.
    fn frame(&mut self) -> Result<(), ErrorData> {
        self.frames += 1;
        clock::sleep_until(
            self.start + Duration::from_nanos(self.frames * 1_000_000_000 / FRAMES_PER_SECOND),
        );
        while let Some(record) = input::next() {
            if let Event::Key { key, action: Action::Press } = record.event {
                self.press(key);
            }
        }
        if self.frames.is_multiple_of(FRAMES_PER_MOVE) {
            match self.game.step(&mut random) {
                Move::Went => {}
                Move::Ate => {
                    self.sound.beep();
                    self.show_score()?;
                }
                Move::Ended => self.sound.growl(),
            }
        }
        self.sound.play_frame();
        display::present(self.screen.draw(&self.game));
        Ok(())
    }

    fn press(&mut self, key: Key) {
        match key {
            Key::UP | Key::W => self.game.turn(Direction::Up),
            Key::DOWN | Key::S => self.game.turn(Direction::Down),
            Key::LEFT | Key::A => self.game.turn(Direction::Left),
            Key::RIGHT | Key::D => self.game.turn(Direction::Right),
            Key::ENTER if self.game.is_over() => self.game = Game::new(&mut random),
            _ => {}
        }
    }

    fn show_score(&self) -> Result<(), ErrorData> {
        let score = self.game.score();
        let value = score.to_string();
        hud::set_signal(&Signal {
            id: "score",
            kind: Kind::Resource,
            value: &value,
            number: Some(score.into()),
        })
    }
}

/// A number below `limit` from the process's random stream.
fn random(limit: u32) -> u32 {
    let mut bytes = [0; 4];
    random_fill(&mut bytes);
    // The upper half of the product: as even as 32 bits can be.
    ((u64::from(u32::from_le_bytes(bytes)) * u64::from(limit)) >> 32) as u32
}
