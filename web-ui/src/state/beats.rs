//! A source's recent beats: the bars that are drawn, and the same in words.

use std::fmt::Write as _;

use anode_shared::source::{Beat, SourceKind};

/// How many beats have room.
const BEATS: usize = 60;
/// The width of a bar with its gap, in the picture's own units.
const STEP: usize = 4;
/// The width of a bar.
const BAR: usize = 3;
/// The width of the picture.
const WIDTH: usize = BEATS * STEP - (STEP - BAR);
/// The height of the picture.
const HEIGHT: usize = 20;

/// Where a beat's bar begins and how high it is. Each kind has a form of its own, so that it is told without its colour:
/// data is a whole bar, nothing a low one, an error hangs from the top.
fn bar(beat: Beat) -> (usize, usize) {
    match beat {
        Beat::Data => (0, HEIGHT),
        Beat::Quiet => (HEIGHT - 5, 5),
        Beat::Error => (0, HEIGHT / 2),
    }
}

/// All bars of one kind as SVG path data; the newest beat is at the right edge.
fn path(beats: &[Beat], kind: Beat) -> String {
    let newest = beats.len().saturating_sub(BEATS);
    let shown = &beats[newest..];
    let first = (BEATS - shown.len()) * STEP;
    let mut out = String::new();
    for (place, _) in shown.iter().enumerate().filter(|(_, beat)| **beat == kind) {
        let (top, height) = bar(kind);
        let _ = write!(out, "M{} {top}h{BAR}v{height}h-{BAR}z", first + place * STEP);
    }
    out
}

/// All beats as an SVG.
pub fn picture(beats: &[Beat]) -> String {
    let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">"#);
    for (class, kind) in [("data", Beat::Data), ("quiet", Beat::Quiet), ("error", Beat::Error)] {
        let _ = write!(svg, r#"<path class="{class}" d="{}"/>"#, path(beats, kind));
    }
    svg
}

/// The beats in words: `60 polls: 57 with data, 2 with nothing new, 1 failed. The last one had data.`
pub fn words(beats: &[Beat], kind: SourceKind) -> String {
    let Some(last) = beats.last() else { return "Nothing happened yet.".to_owned() };
    let noun = match (kind, beats.len()) {
        (SourceKind::Rest, 1) => "poll",
        (SourceKind::Rest, _) => "polls",
        (_, 1) => "moment",
        (_, _) => "moments",
    };
    let parts: Vec<String> =
        [(Beat::Data, "with data"), (Beat::Quiet, "with nothing new"), (Beat::Error, "failed")]
            .into_iter()
            .map(|(kind, words)| (beats.iter().filter(|beat| **beat == kind).count(), words))
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{count} {words}"))
            .collect();
    let last = match last {
        Beat::Data => "had data",
        Beat::Quiet => "had nothing new",
        Beat::Error => "failed",
    };
    format!("Last {} {noun}: {}. The newest {last}.", beats.len(), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_draws_each_kind_in_its_own_form_from_the_right_edge() {
        let beats = [Beat::Data, Beat::Quiet, Beat::Error];
        assert_eq!(path(&beats, Beat::Data), "M228 0h3v20h-3z");
        assert_eq!(path(&beats, Beat::Quiet), "M232 15h3v5h-3z");
        assert_eq!(path(&beats, Beat::Error), "M236 0h3v10h-3z");
        assert_eq!(path(&[], Beat::Data), "");
        assert_eq!(236 + BAR, WIDTH);
    }

    #[test]
    fn it_leaves_out_what_has_no_room() {
        let mut beats = vec![Beat::Error; 5];
        beats.extend([Beat::Data; BEATS]);
        assert_eq!(path(&beats, Beat::Error), "");
        assert!(path(&beats, Beat::Data).starts_with("M0 0"));
    }

    #[test]
    fn it_draws_all_of_them() {
        let svg = picture(&[Beat::Data, Beat::Error]);
        assert!(
            svg.contains(r#"<path class="data" d="M232"#) && svg.contains(r#"class="error" d="M236"#),
            "{svg}"
        );
    }

    #[test]
    fn it_says_the_same_in_words() {
        for (beats, kind, expected) in [
            (&[][..], SourceKind::Rest, "Nothing happened yet."),
            (&[Beat::Error], SourceKind::Rest, "Last 1 poll: 1 failed. The newest failed."),
            (
                &[Beat::Quiet, Beat::Data, Beat::Data],
                SourceKind::Sse,
                "Last 3 moments: 2 with data, 1 with nothing new. The newest had data.",
            ),
        ] {
            assert_eq!(words(beats, kind), expected);
        }
    }
}
