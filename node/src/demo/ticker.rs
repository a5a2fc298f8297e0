//! The market's clockwork: which instruments tick when.

use std::sync::Arc;

use anode_shared::time::Micros;

use super::board::Board;
use super::market::Walk;

/// Ticks every instrument at its rate, spread evenly over the period.
#[derive(Debug)]
pub struct Ticker {
    board: Arc<Board>,
    walks: Vec<Walk>,
    done: u64,
}

#[expect(clippy::cast_precision_loss, reason = "ticks and microseconds of a run stay far below 2^53")]
impl Ticker {
    /// A ticker of all instruments of a board.
    pub fn new(board: Arc<Board>, seed: u64) -> Self {
        let walks = (0..board.count()).map(|number| Walk::new(seed, number)).collect();
        Self { board, walks, done: 0 }
    }

    /// Emits a first tick of each, so that there is something to ask for from the start.
    pub fn first(&mut self, now: Micros) {
        for (number, walk) in self.walks.iter_mut().enumerate() {
            self.board.emit(number, walk.step(now));
        }
    }

    /// After how many microseconds the next tick is due.
    pub fn due(&self, hertz: f64) -> Micros {
        let count = self.walks.len() as f64;
        whole((self.done + 1) as f64 / count / hertz * 1e6) + 1
    }

    /// Emits what is due after `elapsed` microseconds at a rate of `hertz` each. After a long stop it goes on from now.
    pub fn advance(&mut self, elapsed: Micros, hertz: f64, now: impl Fn() -> Micros) {
        let count = self.walks.len() as u64;
        let due = whole(elapsed as f64 / 1e6 * hertz * count as f64);
        self.done = self.done.max(due.saturating_sub(count.max(1_000)) / count * count);
        while self.done < due {
            let number = usize::try_from(self.done % count).unwrap_or(0);
            if let Some(walk) = self.walks.get_mut(number) {
                self.board.emit(number, walk.step(now()));
            }
            self.done += 1;
        }
    }
}

/// A figure without its fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as above")]
fn whole(figure: f64) -> u64 {
    figure as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ticks_each_at_its_rate() {
        let board = Arc::new(Board::new(3, 1));
        let mut ticker = Ticker::new(Arc::clone(&board), 1);
        let mut n = |elapsed: u64, hertz: f64| {
            ticker.advance(elapsed, hertz, || elapsed);
            board.emitted().into_iter().map(|emitted| emitted.n).collect::<Vec<_>>()
        };
        assert_eq!(n(0, 1.0), [0, 0, 0]);
        assert_eq!(n(400_000, 1.0), [1, 0, 0]);
        assert_eq!(n(700_000, 1.0), [1, 1, 0]);
        assert_eq!(n(2_000_001, 1.0), [2, 2, 2]);
        let after_a_stop = n(2_000_000_000_000, 1.0);
        assert!(after_a_stop.iter().all(|n| (300..400).contains(n)), "{after_a_stop:?}");
    }
}
