//! The mesh as a picture: its nodes on a circle, and the links between them, as SVG.

use std::fmt::Write as _;

use anode_shared::mesh::{PeerState, PeerStatus};
use anode_shared::status::State;

use super::mesh::{Nodes, shape};
use super::number::{fixed, millis};
use super::row::short;

/// How many nodes are drawn: with more, nobody tells one from the next.
pub const DRAWN: usize = 150;
/// Up to how many nodes there is room for their names, and a link can be pointed at.
const NAMED: usize = 24;
/// The middle of the picture.
const MIDDLE: (f64, f64) = (200.0, 165.0);
/// How both layers begin.
const FRAME: &str = r#"<svg viewBox="0 0 400 330">"#;

/// A state's class, and its outline in a square of 12.
pub fn outline(state: State) -> (&'static str, &'static str) {
    match state {
        State::Ok => ("shape ok", "M6 1a5 5 0 1 0 0 10a5 5 0 0 0 0-10Z"),
        State::Degraded => ("shape degraded", "M6 .8L11.8 11H.2Z"),
        State::Down => ("shape down", "M1.2 1.2h9.6v9.6H1.2Z"),
        State::Off => (
            "shape off",
            "M6 1a5 5 0 1 0 0 10a5 5 0 0 0 0-10Zm0 1.6a3.4 3.4 0 1 1 0 6.8a3.4 3.4 0 0 1 0-6.8Z",
        ),
    }
}

/// A text as it may stand in an SVG, also within quotes: names are what others wrote.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            char => out.push(char),
        }
    }
    out
}

/// The links; those of the chosen node stand out.
pub fn links(nodes: &Nodes, chosen: &str) -> String {
    let drawn: Vec<&PeerStatus> = nodes.all().take(DRAWN).collect();
    let mut lines = [String::new(), String::new(), String::new()];
    let mut touched = String::new();
    for (place, one) in drawn.iter().enumerate() {
        for (other_place, other) in drawn[..place].iter().enumerate() {
            let (there, back) = (link(one, other), link(other, one));
            if there.is_none() && back.is_none() {
                continue;
            }
            let (from, to) = (spot(place, drawn.len(), 0.0), spot(other_place, drawn.len(), 0.0));
            let line = format!("M{} {}L{} {}", at(from.0), at(from.1), at(to.0), at(to.1));
            let kind = match (one, other) {
                _ if one.id == chosen || other.id == chosen => 2,
                _ if [one.state, other.state] == [PeerState::Alive; 2] => 0,
                _ => 1,
            };
            lines[kind].push_str(&line);
            if drawn.len() <= NAMED {
                let rtt = there
                    .flatten()
                    .or(back.flatten())
                    .map_or_else(String::new, |rtt| format!(": {}", millis(rtt)));
                let (one, other) = (escaped(&one.name), escaped(&other.name));
                let _ = write!(touched, r#"<path d="{line}"><title>{one} – {other}{rtt}</title></path>"#);
            }
        }
    }
    let [plain, doubtful, own] = lines;
    let class = if drawn.len() <= NAMED { "few" } else { "many" };
    format!(
        r#"{FRAME}<path class="{class}" d="{plain}"/><path class="doubtful" d="{doubtful}"/><path class="chosen" d="{own}"/><g>{touched}</g></svg>"#
    )
}

/// What a node says of its connection to another, where it has one.
fn link(from: &PeerStatus, to: &PeerStatus) -> Option<Option<f64>> {
    from.open_links().iter().find(|link| link.id == to.id).map(|link| link.rtt_ms)
}

/// The nodes, each a link to what is known of it.
pub fn dots(nodes: &Nodes) -> String {
    let drawn: Vec<&PeerStatus> = nodes.all().take(DRAWN).collect();
    let is_named = drawn.len() <= NAMED;
    let (size, scale, room) = if is_named { (8.4, "1.4", "13") } else { (4.8, ".8", "5.5") };
    let mut svg = FRAME.to_owned();
    for (place, node) in drawn.iter().enumerate() {
        let (x, y, _) = spot(place, drawn.len(), 0.0);
        let ((class, path), name) = (outline(shape(node.state)), escaped(&node.name));
        let (mark, what) = if place == 0 { ("own", ", this node") } else { ("room", "") };
        let words = format!("{name}: {}{what}", node.state.word());
        let (left, top) = (at(x - size), at(y - size));
        let _ = write!(
            svg,
            r#"<a class="{class}" href="/mesh?node={}"><title>{words}</title><circle class="{mark}" cx="{}" cy="{}" r="{room}"/><path transform="translate({left} {top})scale({scale})" d="{path}"/>"#,
            node.id,
            at(x),
            at(y),
        );
        if is_named {
            svg.push_str(&label(place, drawn.len(), &node.name));
        }
        svg.push_str("</a>");
    }
    svg
}

/// A name beside its node, away from the middle.
fn label(place: usize, count: usize, name: &str) -> String {
    let (x, y, side) = spot(place, count, 17.0);
    let anchor = match side {
        side if side > 0.2 => "start",
        side if side < -0.2 => "end",
        _ => "middle",
    };
    let below = if y > MIDDLE.1 { 7.0 } else { 1.0 };
    format!(
        r#"<text aria-hidden="true" x="{}" y="{}" text-anchor="{anchor}">{}</text>"#,
        at(x),
        at(y + below),
        escaped(&short(name))
    )
}

/// Where a node stands, or what is so far outside of it, and on which side. The first stands on top.
fn spot(place: usize, count: usize, outside: f64) -> (f64, f64, f64) {
    let radius = match count {
        0 | 1 => 0.0,
        2..=NAMED => 112.0,
        _ => 155.0,
    };
    let whole = |number: usize| u32::try_from(number).map_or(1.0, f64::from);
    let (sin, cos) = sin_cos(std::f64::consts::TAU * whole(place) / whole(count.max(1)));
    (MIDDLE.0 + (radius + outside) * sin, MIDDLE.1 - (radius + outside) * cos, sin)
}

/// Sine and cosine of an angle in a circle, by their series: the standard library's, for all angles, are many times as large.
fn sin_cos(angle: f64) -> (f64, f64) {
    let (mut sin, mut cos, mut term) = (0.0, 0.0, 1.0);
    for step in 0..32_u32 {
        match step % 4 {
            0 => cos += term,
            1 => sin += term,
            2 => cos -= term,
            _ => sin -= term,
        }
        term *= angle / f64::from(step + 1);
    }
    (sin, cos)
}

fn at(value: f64) -> String {
    fixed(value, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::mesh::tests::{mesh, peer};

    fn many(count: usize) -> Nodes {
        mesh(
            (1..count)
                .map(|n| peer(&format!("p{n}"), &format!("n{n:03}"), PeerState::Alive, &["me"]))
                .collect(),
        )
    }

    #[test]
    fn it_knows_its_circle() {
        for step in 0..=12 {
            let angle = f64::from(step) * std::f64::consts::TAU / 12.0;
            let (sin, cos) = sin_cos(angle);
            assert!((sin - angle.sin()).abs() < 1e-6 && (cos - angle.cos()).abs() < 1e-6, "{step}");
        }
    }

    #[test]
    fn it_draws_every_number_of_nodes_inside() {
        for count in [1, 2, 3, 14, NAMED, NAMED + 1, 100, DRAWN] {
            let svg = dots(&many(count));
            assert_eq!(svg.matches("<a ").count(), count);
            assert_eq!(svg.matches("<text").count(), if count <= NAMED { count } else { 0 }, "{count}");
            for place in 0..count {
                let (x, y, _) = spot(place, count, 6.0);
                assert!(
                    (0.0..=400.0).contains(&x) && (0.0..=330.0).contains(&y),
                    "{place} of {count}: {x} {y}"
                );
            }
        }
        assert_eq!(dots(&many(DRAWN + 7)).matches("<a ").count(), DRAWN);
    }

    #[test]
    fn it_draws_each_link_once_by_how_its_ends_are() {
        let nodes = mesh(vec![
            peer("a", "a", PeerState::Alive, &["me", "b", "c"]),
            peer("b", "b", PeerState::Suspect, &["a"]),
            peer("c", "c", PeerState::Dead, &["a", "b"]),
        ]);
        let count = |svg: &str| {
            let paths: Vec<&str> = svg.split("<path").skip(1).collect();
            [0, 1, 2].map(|kind| paths[kind].matches('M').count())
        };
        // me–a; a–b, and a–c, which a still names; nothing that c says.
        assert_eq!(count(&links(&nodes, "")), [1, 2, 0]);
        assert_eq!(count(&links(&nodes, "a")), [0, 0, 3]);
        assert!(links(&nodes, "").contains("<title>a – m: 0.5 ms</title>"), "{}", links(&nodes, ""));
        assert!(!links(&many(NAMED + 1), "").contains("<title>"));
    }

    #[test]
    fn it_shows_names_and_runs_none_of_them() {
        let nodes = mesh(vec![peer("a", r#"<b onclick="x">&"#, PeerState::Dead, &["me"])]);
        let svg = format!("{}{}", dots(&nodes), links(&nodes, ""));
        assert!(!svg.contains("<b") && !svg.contains(r#""x""#), "{svg}");
        assert!(
            svg.contains("&lt;b onclick=&quot;x&quot;&gt;&amp;: dead")
                || svg.contains("&lt;b onclick=&quot;x&quot;>&amp;: dead"),
            "{svg}"
        );
        assert!(svg.contains("m: alive, this node") && svg.contains(r#"class="shape down""#), "{svg}");
    }
}
