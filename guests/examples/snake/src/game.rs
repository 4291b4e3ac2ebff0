//! The rules: a snake on a board, which grows when it eats and ends when it bites itself or a wall.

use std::collections::VecDeque;

/// Cells of the board in a row.
pub const COLUMNS: u32 = 40;
/// Rows of the board.
pub const ROWS: u32 = 30;
/// Cells of a snake that has not eaten.
const INITIAL_LENGTH: u32 = 4;
/// Turns that wait for their moves: as many as fingers are ahead.
const TURNS_AHEAD: usize = 3;

/// Gives a number below another.
pub type Random<'a> = &'a mut dyn FnMut(u32) -> u32;

/// A cell of the board, from its upper left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    pub column: u32,
    pub row: u32,
}

/// Where the snake goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
    Left,
    Right,
}

impl Direction {
    fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// What a move came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Nothing happened, or the game was over before.
    Went,
    /// The snake has eaten.
    Ate,
    /// The snake has bitten itself or a wall.
    Ended,
}

/// A game.
#[derive(Debug, Clone)]
pub struct Game {
    /// The head comes first.
    snake: VecDeque<Cell>,
    /// Where the next move goes.
    direction: Direction,
    /// Turns to make, one for each move.
    turns: VecDeque<Direction>,
    /// None when the snake takes the whole board.
    food: Option<Cell>,
    score: u32,
    over: bool,
}

impl Game {
    /// A snake in the middle of the board, on its way to the right.
    pub fn new(random: Random<'_>) -> Self {
        let head = Cell { column: COLUMNS / 2, row: ROWS / 2 };
        let snake = (0..INITIAL_LENGTH).map(|back| Cell { column: head.column - back, ..head }).collect();
        let mut game = Self {
            snake,
            direction: Direction::Right,
            turns: VecDeque::new(),
            food: None,
            score: 0,
            over: false,
        };
        game.food = game.place_food(random);
        game
    }

    /// Turns the snake with one of its next moves. It cannot turn back.
    pub fn turn(&mut self, to: Direction) {
        let from = self.turns.back().copied().unwrap_or(self.direction);
        if to != from && to != from.opposite() && self.turns.len() < TURNS_AHEAD {
            self.turns.push_back(to);
        }
    }

    /// Moves the snake by one cell.
    pub fn step(&mut self, random: Random<'_>) -> Move {
        if self.over {
            return Move::Went;
        }
        if let Some(turn) = self.turns.pop_front() {
            self.direction = turn;
        }
        let Some(head) = self.ahead() else { return self.end() };
        let eats = self.food == Some(head);
        // The tail's cell is free by the time that the head is there, unless the snake grows.
        if !eats {
            self.snake.pop_back();
        }
        if self.snake.contains(&head) {
            return self.end();
        }
        self.snake.push_front(head);
        if !eats {
            return Move::Went;
        }
        self.score += 1;
        self.food = self.place_food(random);
        Move::Ate
    }

    /// The cells of the snake, the head first.
    pub fn snake(&self) -> impl Iterator<Item = Cell> + '_ {
        self.snake.iter().copied()
    }

    pub fn food(&self) -> Option<Cell> {
        self.food
    }

    pub fn score(&self) -> u32 {
        self.score
    }

    pub fn length(&self) -> usize {
        self.snake.len()
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    fn end(&mut self) -> Move {
        self.over = true;
        Move::Ended
    }

    /// The cell before the head, unless a wall is there.
    fn ahead(&self) -> Option<Cell> {
        let Cell { column, row } = *self.snake.front()?;
        let cell = match self.direction {
            Direction::Up => Cell { column, row: row.checked_sub(1)? },
            Direction::Down => Cell { column, row: row + 1 },
            Direction::Left => Cell { column: column.checked_sub(1)?, row },
            Direction::Right => Cell { column: column + 1, row },
        };
        (cell.column < COLUMNS && cell.row < ROWS).then_some(cell)
    }

    /// A free cell, each as likely as any other.
    fn place_food(&self, random: Random<'_>) -> Option<Cell> {
        let cells = (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| Cell { column, row }));
        let mut taken = [false; (COLUMNS * ROWS) as usize];
        for cell in &self.snake {
            taken[(cell.row * COLUMNS + cell.column) as usize] = true;
        }
        let free = COLUMNS * ROWS - self.snake.len() as u32;
        if free == 0 {
            return None;
        }
        let chosen = random(free) as usize;
        cells.zip(taken).filter(|(_, taken)| !taken).nth(chosen).map(|(cell, _)| cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(_: u32) -> u32 {
        0
    }

    /// Steers the snake to a cell on the board's grid, first along the row, then along the column.
    fn steer(game: &mut Game, moves: &[(Direction, u32)]) -> Vec<Move> {
        let mut made = Vec::new();
        for (direction, count) in moves {
            game.turn(*direction);
            made.extend((0..*count).map(|_| game.step(&mut first)));
        }
        made
    }

    #[test]
    fn a_snake_that_eats_grows_and_finds_new_food() {
        let mut game = Game::new(&mut first);
        assert_eq!(game.food(), Some(Cell { column: 0, row: 0 }));
        let made = steer(&mut game, &[(Direction::Up, 15), (Direction::Left, 20)]);
        assert_eq!(made.iter().filter(|made| **made == Move::Ate).count(), 1);
        assert_eq!(made.last(), Some(&Move::Ate));
        assert_eq!((game.score(), game.length(), game.is_over()), (1, 5, false));
        assert_ne!(game.food(), Some(Cell { column: 0, row: 0 }));
        assert!(game.snake().all(|cell| Some(cell) != game.food()));
    }

    #[test]
    fn a_wall_ends_the_game_and_nothing_moves_after() {
        let mut game = Game::new(&mut first);
        let made = steer(&mut game, &[(Direction::Right, 20)]);
        assert_eq!((made[18], made[19], game.is_over()), (Move::Went, Move::Ended, true));
        let before: Vec<Cell> = game.snake().collect();
        assert_eq!(game.step(&mut first), Move::Went);
        assert_eq!(game.snake().collect::<Vec<_>>(), before);
    }

    #[test]
    fn a_snake_that_bites_itself_ends_the_game_and_one_that_follows_its_tail_does_not() {
        use Direction::{Down, Left, Right, Up};
        let mut game = Game::new(&mut first);
        let made = steer(&mut game, &[(Up, 1), (Left, 1), (Down, 1), (Right, 1), (Up, 1)]);
        assert!(made.iter().all(|made| *made == Move::Went));
        let mut game = Game::new(&mut first);
        steer(&mut game, &[(Up, 15), (Left, 20)]);
        let made = steer(&mut game, &[(Down, 1), (Right, 1), (Up, 1)]);
        assert_eq!(made.last(), Some(&Move::Ended));
    }

    #[test]
    fn a_snake_cannot_turn_back_and_remembers_three_turns() {
        use Direction::{Down, Left, Right, Up};
        let mut game = Game::new(&mut first);
        for direction in [Left, Up, Down, Left, Down, Right] {
            game.turn(direction);
        }
        assert_eq!(game.turns, [Up, Left, Down]);
    }

    #[test]
    fn a_full_board_has_no_place_for_food() {
        let mut game = Game::new(&mut first);
        game.snake = (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| Cell { column, row })).collect();
        assert_eq!(game.place_food(&mut first), None);
        game.snake.pop_back();
        assert_eq!(game.place_food(&mut first), Some(Cell { column: COLUMNS - 1, row: ROWS - 1 }));
    }
}
