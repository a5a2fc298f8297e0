//! The recent events.

use anode_shared::status::Event;

use super::row::short;

/// How many events are kept of the mesh, and of all else together: busy sources do not push out who died. What is older is in
/// `/api/v1/events`.
pub const KEPT: usize = 50;
/// The component that tells of the mesh.
pub const MESH: &str = "gossip";

/// Puts `news` (newest first) before what the page has. The first events of a connection are the whole truth: a node
/// that was started anew may count from one again.
pub fn merge(kept: &mut Vec<Event>, mut news: Vec<Event>, is_first: bool) {
    if is_first {
        kept.clear();
    }
    kept.retain(|event| news.iter().all(|new| new.id != event.id));
    news.append(kept);
    *kept = news;
    bound(kept);
}

/// Puts what happened before behind what the page has; `all` is newest first too.
pub fn complete(kept: &mut Vec<Event>, all: Vec<Event>) {
    let newest = all.first().map_or(0, |event| event.id);
    kept.retain(|event| event.id > newest);
    kept.extend(all);
    bound(kept);
}

fn bound(kept: &mut Vec<Event>) {
    let mut left = [KEPT; 2];
    kept.retain(|event| {
        let left = &mut left[usize::from(event.component == MESH)];
        *left = left.wrapping_sub(1);
        *left < KEPT
    });
}

/// A sentence with the peer ids in it cut to their ends.
pub fn shorter(detail: &str) -> String {
    let mut words = Vec::new();
    for word in detail.split(' ') {
        let id = word.trim_matches(['(', ')', ';', ',']);
        let is_id = id.len() == 52 && id.starts_with("12D3Koo");
        words.push(if is_id { word.replace(id, &short(id)) } else { word.to_owned() });
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anode_shared::status::Level;

    fn events(ids: &[u64]) -> Vec<Event> {
        let event = |id: &u64| Event {
            id: *id,
            time: String::new(),
            level: Level::Info,
            component: "node".to_owned(),
            kind: "started".to_owned(),
            detail: String::new(),
        };
        ids.iter().map(event).collect()
    }

    fn check(kept: &[u64], news: &[u64], is_first: bool, expected: &[u64]) {
        let mut list = events(kept);
        merge(&mut list, events(news), is_first);
        assert_eq!(list.iter().map(|event| event.id).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn it_puts_news_first_and_each_once() {
        check(&[], &[2, 1], true, &[2, 1]);
        check(&[2, 1], &[4, 3], false, &[4, 3, 2, 1]);
        check(&[2, 1], &[3, 2], false, &[3, 2, 1]);
        check(&[9, 8], &[1], true, &[1]);
    }

    #[test]
    fn it_cuts_peer_ids_and_nothing_else() {
        let id = "12D3KooWR3erFxLtuLKrJH2b4Z6zfwThskKDMoDHwD2hLCtA6RJz";
        let detail = format!("red ({id}) spoke as {id}; see https://example.org/{id}");
        assert_eq!(
            shorter(&detail),
            format!("red (12D3Ko…tA6RJz) spoke as 12D3Ko…tA6RJz; see https://example.org/{id}")
        );
    }

    #[test]
    fn it_is_bounded() {
        let many: Vec<u64> = (0..80).rev().collect();
        check(&[], &many, true, &many[..KEPT]);
    }

    #[test]
    fn it_keeps_what_happened_in_the_mesh_beside_all_else() {
        let of_mesh = |ids: &[u64]| {
            let mut events = events(ids);
            events.iter_mut().for_each(|event| event.component = MESH.to_owned());
            events
        };
        let mut list = of_mesh(&[2, 1]);
        merge(&mut list, events(&(10..200).rev().collect::<Vec<_>>()), false);
        let ids: Vec<u64> = list.iter().map(|event| event.id).collect();
        assert_eq!((ids.len(), &ids[KEPT..]), (KEPT + 2, &[2, 1][..]));
        // What came while all of it was asked for stays on top.
        let mut list = events(&[9, 7]);
        complete(&mut list, [events(&[8, 7]), of_mesh(&[3])].concat());
        assert_eq!(list.iter().map(|event| event.id).collect::<Vec<_>>(), [9, 8, 7, 3]);
        complete(&mut list, Vec::new());
        assert_eq!(list.len(), 4);
    }
}
