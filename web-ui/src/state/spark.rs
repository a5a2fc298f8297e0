//! The last minute of a rate, and the line that shows it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use super::number::{fixed, whole};

/// How many samples are kept, one a second.
pub const SAMPLES: usize = 60;
/// The width of a sparkline in its own units.
pub const WIDTH: f64 = 120.0;
/// The height of a sparkline in its own units.
pub const HEIGHT: f64 = 24.0;

/// The last samples of every rate, by `<component>.<figure>`.
#[derive(Debug, Clone, Default)]
pub struct Samples(BTreeMap<String, VecDeque<f64>>);

impl Samples {
    /// Adds a sample; the oldest goes where there are too many.
    pub fn push(&mut self, key: String, value: f64) {
        let samples = self.0.entry(key).or_default();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(value);
    }

    /// The samples of one rate, oldest first.
    pub fn of(&self, key: &str) -> Vec<f64> {
        self.0.get(key).map(|samples| samples.iter().copied().collect()).unwrap_or_default()
    }
}

/// The line of a sparkline and the area below it, as SVG path data. The newest sample is at the right edge; the
/// scale begins at zero, and leaves a flat line of zeros at the bottom.
pub fn paths(samples: &[f64]) -> (String, String) {
    let Some(first) = samples.len().checked_sub(1).map(|steps| WIDTH - step() * small(steps)) else {
        return (String::new(), String::new());
    };
    let top = samples.iter().copied().fold(0.0, f64::max);
    let mut line = String::new();
    for (place, sample) in samples.iter().enumerate() {
        let x = first + step() * small(place);
        let y = if top > 0.0 { HEIGHT - 1.0 - sample / top * (HEIGHT - 3.0) } else { HEIGHT - 1.0 };
        let _ = write!(line, "{}{} {}", if place == 0 { "M" } else { "L" }, fixed(x, 1), fixed(y, 1));
    }
    let area = format!("{line}L{} {}L{} {}Z", whole(WIDTH), whole(HEIGHT), fixed(first, 1), whole(HEIGHT));
    (line, area)
}

fn step() -> f64 {
    WIDTH / small(SAMPLES - 1)
}

fn small(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_last_minute() {
        let mut samples = Samples::default();
        for value in 0..70_u32 {
            samples.push("a.b".to_owned(), value.into());
        }
        let kept = samples.of("a.b");
        assert_eq!((kept.len(), kept[0], kept[59]), (60, 10.0, 69.0));
        assert!(samples.of("other").is_empty());
    }

    #[test]
    fn it_draws_from_the_right_edge() {
        assert_eq!(paths(&[]), (String::new(), String::new()));
        assert_eq!(paths(&[0.0]).0, "M120.0 23.0");
        assert_eq!(paths(&[0.0, 4.0]).0, "M118.0 23.0L120.0 2.0");
        assert!(paths(&[0.0, 4.0]).1.ends_with("L120 24L118.0 24Z"));
        let whole = paths(&[1.0; SAMPLES]).0;
        assert!(whole.starts_with("M0.0 2.0"), "{whole}");
    }
}
