//! The keyspace in words: the statements that make it, and what is wrong with one that is there.

use std::fmt::Write as _;
use std::time::Duration;

use crate::config::archive::Replication;

/// The version of the tables that this node writes.
pub const VERSION: u32 = 1;
/// The oldest Cassandra that has what the tables use (zstd, the replication factor of all data centres).
const OLDEST: (u32, u32) = (4, 0);
/// How many windows of time the compaction keeps apart, about: its authors say fewer than 50
/// (<https://github.com/jeffjirsa/twcs>).
const WINDOWS: u64 = 40;
/// The window where rows live for ever: a year is 52 of them.
const ENDLESS_WINDOW_HOURS: u64 = 7 * 24;

/// Statements of the schema, as they stand in the file.
const FILE: &str = include_str!("schema.cql");

/// The tables of the keyspace.
pub const TABLES: [&str; 8] =
    ["meta", "batches", "records", "topic_slots", "topic_hours", "latest", "positions", "holes"];

/// Makes the keyspace.
pub fn create_keyspace(keyspace: &str, replication: &Replication) -> String {
    let mut factors = String::new();
    match replication {
        Replication::Each(copies) => _ = write!(factors, ", 'replication_factor': {copies}"),
        Replication::In(centres) => {
            centres.iter().for_each(|(name, copies)| _ = write!(factors, ", '{name}': {copies}"));
        }
    }
    format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy'{factors}}}"
    )
}

/// How rows age: what stands in `WITH` for tables of rows that are never changed.
fn aged(ttl: Option<Duration>, scylla: bool) -> String {
    let hours = ttl.map_or(ENDLESS_WINDOW_HOURS, |ttl| (ttl.as_secs() / 3_600).div_ceil(WINDOWS).max(1));
    // Rows are never repaired by reads: a digest over rows that expire differs between copies for no good reason.
    let repair = if scylla { "" } else { "\n  AND read_repair = 'NONE'" };
    format!(
        "default_time_to_live = {}\n  AND compaction = {{'class': 'TimeWindowCompactionStrategy', \
         'compaction_window_unit': 'HOURS', 'compaction_window_size': {hours}}}\n  AND gc_grace_seconds = 10800{repair}",
        seconds(ttl)
    )
}

/// A time to live as Cassandra counts it: 0 for ever.
pub fn seconds(ttl: Option<Duration>) -> u64 {
    ttl.map_or(0, |ttl| ttl.as_secs())
}

/// The statements that make the tables, in order, the one for `meta` first.
pub fn create_tables(keyspace: &str, ttl: Option<Duration>, scylla: bool) -> Vec<String> {
    let kept = format!(
        "default_time_to_live = {}\n  AND compaction = {{'class': 'LeveledCompactionStrategy'}}",
        seconds(ttl)
    );
    let code: String =
        FILE.lines().filter(|line| !line.starts_with("--")).flat_map(|line| [line, "\n"]).collect();
    let text =
        code.replace("$keyspace", keyspace).replace("$aged", &aged(ttl, scylla)).replace("$kept", &kept);
    text.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

/// The statements that let rows written from now on live otherwise.
pub fn change_ttl(keyspace: &str, ttl: Option<Duration>, scylla: bool) -> Vec<String> {
    let tables = ["batches", "records", "topic_slots", "topic_hours"]
        .map(|table| format!("ALTER TABLE {keyspace}.{table} WITH {}", aged(ttl, scylla)));
    let latest = format!("ALTER TABLE {keyspace}.latest WITH default_time_to_live = {}", seconds(ttl));
    tables.into_iter().chain([latest]).collect()
}

/// Whether a version that Cassandra says of itself has all that the tables use.
pub fn is_old(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_makes_every_table_and_fills_in_all_placeholders() {
        let statements = create_tables("ks", Some(Duration::from_secs(180 * 86_400)), false);
        assert_eq!(statements.len(), TABLES.len());
        for (statement, table) in statements.iter().zip(TABLES) {
            assert!(
                statement.starts_with(&format!("CREATE TABLE IF NOT EXISTS ks.{table} (")),
                "{statement}"
            );
            assert!(!statement.contains('$') && !statement.contains("--"), "{statement}");
        }
        let record = &statements[2];
        assert!(
            record.contains("default_time_to_live = 15552000")
                && record.contains("'compaction_window_size': 108")
        );
        assert!(record.contains("read_repair = 'NONE'"));
        assert!(!create_tables("ks", None, true).concat().contains("read_repair"));
        assert!(!FILE.to_lowercase().contains("allow filtering"));
    }

    #[test]
    fn it_keeps_windows_few_and_whole_hours() {
        for (ttl, hours) in
            [(3_600, 1), (40 * 3_600, 1), (41 * 3_600, 2), (7 * 86_400, 5), (180 * 86_400, 108)]
        {
            let words = aged(Some(Duration::from_secs(ttl)), false);
            assert!(words.contains(&format!("'compaction_window_size': {hours}}}")), "{ttl}: {words}");
        }
        assert!(aged(None, false).contains("default_time_to_live = 0"));
    }

    #[test]
    fn it_makes_a_keyspace_for_any_number_of_data_centres() {
        let each = create_keyspace("anode", &Replication::Each(3));
        assert!(each.ends_with("{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}"), "{each}");
        let some = create_keyspace("anode", &"dc1:3,dc2:2".parse().unwrap());
        assert!(some.ends_with("'NetworkTopologyStrategy', 'dc1': 3, 'dc2': 2}"), "{some}");
    }

    #[test]
    fn it_knows_versions_that_are_too_old() {
        for (release, old) in [
            ("5.0.8", false),
            ("4.0-beta1", false),
            ("4.1.3", false),
            ("3.11.16", true),
            ("2.1", true),
            ("", true),
        ] {
            assert_eq!(is_old(release), old, "{release}");
        }
    }
}
