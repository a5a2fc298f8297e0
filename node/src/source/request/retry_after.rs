//! `Retry-After`: how long an upstream asks to be left alone (RFC 9110, section 10.2.3).

use std::time::{Duration, UNIX_EPOCH};

use anode_shared::time::Micros;

use crate::source::limits::RETRY_AFTER;

/// Reads a `Retry-After`: whole seconds or an HTTP date, which is compared with `now`. A time that is past means now;
/// one beyond a day means a day. `None` where it is neither.
pub fn retry_after(value: &str, now: Micros) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number holds are a long time all the same.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        let date = date.duration_since(UNIX_EPOCH).unwrap_or_default();
        date.saturating_sub(Duration::from_micros(now))
    };
    Some(wait.min(RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06T08:49:37Z, the date of the RFC's own examples.
    const NOW: Micros = 784_111_777_000_000;

    #[test]
    fn it_reads_seconds_and_dates() {
        for (value, seconds) in [
            ("0", Some(0.0)),
            ("120", Some(120.0)),
            (" 7 ", Some(7.0)),
            ("007", Some(7.0)),
            ("86401", Some(86_400.0)),
            ("99999999999999999999999", Some(86_400.0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0.0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30.0)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10.0)),
            ("Sun Nov  6 08:49:38 1994", Some(1.0)),
            ("Sat, 05 Nov 1994 08:49:37 GMT", Some(0.0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400.0)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("0x10", None),
            ("soon", None),
            ("120, 130", None),
            ("\u{ff11}", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
        ] {
            assert_eq!(retry_after(value, NOW), seconds.map(Duration::from_secs_f64), "{value:?}");
        }
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:38 GMT", NOW + 250_000),
            Some(Duration::from_millis(750))
        );
    }
}
