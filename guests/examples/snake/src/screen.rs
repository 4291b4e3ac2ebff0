//! What the player sees: 160 × 120 pixels, four by four for each cell of the board.

use glasshouse_guest::devices::display::{self, Layout, PixelFormat};

use crate::game::{COLUMNS, Cell, Game, ROWS};

/// Pixels of a cell in each direction.
const CELL: u32 = 4;
const WIDTH: u32 = COLUMNS * CELL;
const HEIGHT: u32 = ROWS * CELL;

/// Red, green, blue and alpha of each [`Colour`].
const PALETTE: [[u8; 4]; 8] = [
    [0x10, 0x14, 0x1c, 0xff],
    [0x18, 0x1e, 0x2a, 0xff],
    [0x3c, 0xc8, 0x6e, 0xff],
    [0x28, 0x96, 0x50, 0xff],
    [0xe6, 0xfa, 0xaa, 0xff],
    [0xf0, 0x50, 0x46, 0xff],
    [0x8c, 0x96, 0xa0, 0xff],
    [0xff, 0xff, 0xff, 0xff],
];

/// The palette's entries.
#[derive(Debug, Clone, Copy)]
enum Colour {
    Even,
    Odd,
    Body,
    Edge,
    Head,
    Food,
    Over,
    Score,
}

/// The frame to show.
pub struct Screen {
    pixels: Vec<u8>,
}

impl Screen {
    pub fn new() -> Self {
        display::configure(Layout::packed(WIDTH, HEIGHT, PixelFormat::Indexed8));
        display::set_palette(&PALETTE);
        Self { pixels: vec![0; (WIDTH * HEIGHT) as usize] }
    }

    /// Draws the game.
    pub fn draw(&mut self, game: &Game) -> &[u8] {
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let colour = if (row + column) % 2 == 0 { Colour::Even } else { Colour::Odd };
                self.fill(Cell { column, row }, 0, colour);
            }
        }
        if let Some(food) = game.food() {
            self.fill(food, 1, Colour::Food);
        }
        for (index, cell) in game.snake().enumerate() {
            let (edge, inner) = match index {
                _ if game.is_over() => (Colour::Over, Colour::Edge),
                0 => (Colour::Head, Colour::Head),
                _ => (Colour::Edge, Colour::Body),
            };
            self.fill(cell, 0, edge);
            self.fill(cell, 1, inner);
        }
        self.draw_score(game.score());
        &self.pixels
    }

    /// A dot along the upper edge for each thing eaten.
    fn draw_score(&mut self, score: u32) {
        for dot in 0..score.min(WIDTH / 2) {
            self.pixels[(dot * 2) as usize] = Colour::Score as u8;
        }
    }

    /// Fills a cell, without `margin` pixels at its edges.
    fn fill(&mut self, cell: Cell, margin: u32, colour: Colour) {
        for y in margin..CELL - margin {
            let start = ((cell.row * CELL + y) * WIDTH + cell.column * CELL + margin) as usize;
            self.pixels[start..start + (CELL - 2 * margin) as usize].fill(colour as u8);
        }
    }
}
