//! Times in words.

use super::number::whole;

/// Says how long ago something was; `then` and `now` are milliseconds since the Unix epoch.
/// A clock that is ahead of ours is no reason to talk of the future.
pub fn ago(then: f64, now: f64) -> String {
    let seconds = ((now - then) / 1_000.0).floor();
    if seconds < 1.0 { "now".to_owned() } else { format!("{} ago", largest(seconds)) }
}

/// A duration by its largest unit: `42 s`, `3 min`, `2 h`, `5 d`.
fn largest(seconds: f64) -> String {
    let (size, unit) = match seconds {
        s if s < 60.0 => (1.0, "s"),
        s if s < 3_600.0 => (60.0, "min"),
        s if s < 86_400.0 => (3_600.0, "h"),
        _ => (86_400.0, "d"),
    };
    format!("{} {unit}", whole((seconds / size).floor()))
}

/// A duration in its two largest units: `3 min 12 s`, `2 d 4 h`.
pub fn span(seconds: f64) -> String {
    let (large, small) = match seconds {
        s if s < 60.0 => return largest(s.max(0.0)),
        s if s < 3_600.0 => (60.0, 1.0),
        s if s < 86_400.0 => (3_600.0, 60.0),
        _ => (86_400.0, 3_600.0),
    };
    let rest = ((seconds % large) / small).floor() * small;
    if rest > 0.0 { format!("{} {}", largest(seconds), largest(rest)) } else { largest(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_long_ago() {
        for (seconds, words) in [
            (-5.0, "now"),
            (0.9, "now"),
            (1.0, "1 s ago"),
            (59.9, "59 s ago"),
            (60.0, "1 min ago"),
            (7_300.0, "2 h ago"),
            (200_000.0, "2 d ago"),
        ] {
            assert_eq!(ago(0.0, seconds * 1_000.0), words);
        }
    }

    #[test]
    fn it_says_how_long() {
        for (seconds, words) in [
            (0.0, "0 s"),
            (59.0, "59 s"),
            (60.0, "1 min"),
            (192.0, "3 min 12 s"),
            (7_500.0, "2 h 5 min"),
            (604_800.0, "7 d"),
            (187_200.0, "2 d 4 h"),
        ] {
            assert_eq!(span(seconds), words);
        }
    }
}
