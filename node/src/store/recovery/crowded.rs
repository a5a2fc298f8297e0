//! Cursors among more origins than one has room for: anybody can make up any number, and a cursor must stay one that can be sent.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use anode_shared::cursor::Cursor;
use anode_shared::ids::Origin;

use crate::store::order::Order;

/// How many origins a cursor of `live` names: each takes some ninety bytes of [`anode_shared::cursor::MAX_TEXT`], and those that come
/// later need room as well.
const MOST_ORIGINS: usize = 512;

/// Leaves out of the cursor of a reader that begins now whom there is no room for: first those of whom nothing is held, then who was
/// silent longest. What they said before it came the reader does not want anyway, and what they say later it gets here all the same.
pub(super) fn bound(cursor: &mut Cursor, order: &Order) {
    if cursor.origins().count() <= MOST_ORIGINS {
        return;
    }
    let mut grew: BTreeMap<Origin, u64> = BTreeMap::new();
    for (key, log) in order.logs.iter().filter(|(_, log)| log.head > 0) {
        let newest = grew.entry(key.origin).or_default();
        *newest = log.grew.max(*newest);
    }
    let mut ranked: Vec<(Reverse<Option<u64>>, Origin)> =
        cursor.origins().map(|origin| (Reverse(grew.get(&origin).copied()), origin)).collect();
    ranked.sort_unstable();
    let stay: BTreeSet<Origin> = ranked.into_iter().take(MOST_ORIGINS).map(|(_, origin)| origin).collect();
    cursor.keep(|origin| stay.contains(&origin));
}

#[cfg(test)]
mod tests {
    use anode_shared::cursor::{MAX_TEXT, WHOLE};
    use anode_shared::ids::{LogId, LogKey};

    use super::*;
    use crate::store::order::Log;

    #[test]
    fn it_names_those_who_speak_among_any_number_that_is_made_up() {
        let key = |n: u64| {
            let mut origin = [7; 32];
            origin[..8].copy_from_slice(&n.to_be_bytes());
            LogKey { origin: Origin(origin), log: LogId(0x6922_73a4_5f3a_9c01) }
        };
        let (mut cursor, mut order) = (Cursor::new(1 << 50), Order::default());
        for n in 0..5_000 {
            cursor.set_done(key(n).origin, WHOLE, LogId(key(n).log.0 - 1));
            cursor.set(key(n), WHOLE, 1 << 40);
            // Every fifth said something, the last ones most lately.
            if n % 5 == 0 {
                order.logs.insert(key(n), Log { head: 1 << 40, grew: n, ..Log::default() });
            }
        }
        assert!(cursor.to_string().len() > MAX_TEXT);
        bound(&mut cursor, &order);
        let kept: Vec<Origin> = cursor.origins().collect();
        let expected: Vec<Origin> = (1_000 - MOST_ORIGINS as u64..1_000).map(|n| key(5 * n).origin).collect();
        assert_eq!(kept, expected);
        assert!(cursor.to_string().len() < MAX_TEXT * 4 / 5, "{}", cursor.to_string().len());
    }
}
