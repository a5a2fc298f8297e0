//! The recent events.

use anode_shared::status::Event;

use super::row::short;

/// How many events are kept: what is older is in `/api/v1/events`.
pub const KEPT: usize = 50;

/// Puts `news` (newest first) before what the page has. The first events of a connection are the whole truth: a node
/// that was started anew may count from one again.
pub fn merge(kept: &mut Vec<Event>, mut news: Vec<Event>, is_first: bool) {
    if is_first {
        kept.clear();
    }
    kept.retain(|event| news.iter().all(|new| new.id != event.id));
    news.append(kept);
    news.truncate(KEPT);
    *kept = news;
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
}
