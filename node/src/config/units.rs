//! Values as people write them: sizes, ages, addresses, names. Each refusal says what is accepted.

use std::net::SocketAddr;
use std::time::Duration;

use url::Url;

const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
const AGES: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// Reads digits and the unit behind them, and multiplies. `None` when it is malformed or too large.
fn scaled(text: &str, units: &[(&str, u64)], bare: Option<u64>) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor =
        if unit.is_empty() { bare? } else { units.iter().find(|(name, _)| *name == unit.trim_start())?.1 };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Reads a number of bytes: `10GiB`, `500MB`, `1048576`.
///
/// # Errors
/// With what is accepted.
pub fn bytes(text: &str) -> Result<u64, String> {
    scaled(text, &SIZES, Some(1)).ok_or_else(|| {
        "accepted are a whole number of bytes, or one with B, KiB, MiB, GiB, TiB, kB, MB, GB or TB: 10GiB"
            .to_owned()
    })
}

/// Reads a number of bytes that is not 0.
///
/// # Errors
/// With what is accepted.
pub fn some_bytes(text: &str) -> Result<u64, String> {
    bytes(text).and_then(|n| if n == 0 { Err("accepted is 1 byte or more: 10GiB".to_owned()) } else { Ok(n) })
}

/// Reads a time span above 0: `7d`, `90s`.
///
/// # Errors
/// With what is accepted.
pub fn age(text: &str) -> Result<Duration, String> {
    match scaled(text, &AGES, None) {
        Some(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err("accepted is a whole number above 0 with ms, s, m, h, d or w: 7d".to_owned()),
    }
}

/// Reads an address to listen on. `localhost` is taken for 127.0.0.1.
///
/// # Errors
/// With what is accepted.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        "accepted is IP:PORT: 127.0.0.1:8080, 0.0.0.0:8080 for all interfaces, [::1]:8080; port 0 picks one"
            .to_owned()
    })
}

/// Reads the name of a network: it stands in headers and gossip topics.
///
/// # Errors
/// With what is accepted.
pub fn network(text: &str) -> Result<String, String> {
    let good = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if good { Ok(text.to_owned()) } else { Err("accepted are 1 to 64 of a-z A-Z 0-9 - _ .".to_owned()) }
}

/// Reads the name under which the node shows in the dashboard.
///
/// # Errors
/// With what is accepted.
pub fn name(text: &str) -> Result<String, String> {
    let good = !text.trim().is_empty() && text.len() <= 64 && !text.chars().any(char::is_control);
    if good { Ok(text.to_owned()) } else { Err("accepted are 1 to 64 bytes of printable text".to_owned()) }
}

/// Reads the origin of a web page, as browsers send it.
///
/// # Errors
/// With what is accepted.
pub fn origin(text: &str) -> Result<String, String> {
    let good = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty()
            && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
            && !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:[]".contains(&b))
    });
    if good {
        Ok(text.to_owned())
    } else {
        Err("accepted is SCHEME://HOST[:PORT] in lower case, without a path: https://app.example.org"
            .to_owned())
    }
}

/// Reads the address of a page: a plain HTTP URL, that a link's token can be put behind.
///
/// # Errors
/// With what is accepted.
pub fn page(text: &str) -> Result<Url, String> {
    let known = |url: &Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let plain = |url: &Url| url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let read = Url::parse(text).ok().filter(|url| known(url) && plain(url));
    read.ok_or_else(|| {
        "accepted is http(s)://HOST[:PORT][/PATH], without a query: http://127.0.0.1:8081".to_owned()
    })
}

/// Reads `true` or `false`.
///
/// # Errors
/// With what is accepted.
pub fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "accepted are true and false".to_owned())
}

/// Writes a number of bytes with the largest binary unit that leaves two digits or more after rounding.
pub fn show_bytes(bytes: u64) -> String {
    let (unit, factor) = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, factor)| bytes >= *factor)
        .unwrap_or(("B", 1));
    if bytes.is_multiple_of(factor) {
        return format!("{} {unit}", bytes / factor);
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let value = bytes as f64 / factor as f64;
    format!("{value:.1} {unit}")
}

/// Writes seconds as the largest two units: `3d 4h`.
pub fn show_seconds(seconds: u64) -> String {
    let parts =
        [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)];
    let first = parts.iter().position(|(_, n)| *n > 0).unwrap_or(3);
    let shown: Vec<String> = parts[first..]
        .iter()
        .take(2)
        .filter(|(_, n)| *n > 0 || seconds == 0)
        .map(|(unit, n)| format!("{n}{unit}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1048576", Some(1 << 20)),
            ("10GiB", Some(10 << 30)),
            ("10 GiB", Some(10 << 30)),
            ("500MB", Some(500_000_000)),
            ("7B", Some(7)),
            ("16777215TiB", Some(16_777_215 << 40)),
            ("16777216TiB", None),
            ("", None),
            ("GiB", None),
            ("1.5GiB", None),
            ("-1", None),
            ("1gib", None),
            ("1G", None),
            ("1 ", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text:?}");
        }
        assert!(some_bytes("0").is_err());
    }

    #[test]
    fn it_reads_ages() {
        for (text, expected) in [
            ("7d", Some(604_800)),
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("2w", Some(1_209_600)),
            ("1000ms", Some(1)),
            ("7", None),
            ("0s", None),
            ("7 days", None),
            ("d", None),
            ("-1d", None),
            ("99999999999999999w", None),
        ] {
            assert_eq!(age(text).ok(), expected.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn it_reads_addresses_names_and_origins() {
        assert_eq!(address("localhost:0").unwrap(), "127.0.0.1:0".parse().unwrap());
        for bad in ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:70000", "example.org:80"] {
            assert!(address(bad).is_err(), "{bad}");
        }
        for good in
            ["https://app.example.org", "http://localhost:5173", "http://[::1]:80", "chrome-extension://abc"]
        {
            assert!(origin(good).is_ok(), "{good}");
        }
        for bad in ["", "null", "*", "app.example.org", "https://", "https://a/", "HTTPS://a", "https://a b"]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
        for bad in ["", "a/b", "a b", &"a".repeat(65)] {
            assert!(network(bad).is_err(), "{bad}");
        }
        assert!(name("Büro 1").is_ok() && name("\n").is_err() && name("a\tb").is_err());
        assert!(flag("true").unwrap() && flag("yes").is_err());
    }

    #[test]
    fn it_shows_sizes_and_times() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (10 << 30, "10 GiB"), (1536, "1.5 KiB")] {
            assert_eq!(show_bytes(bytes), text);
        }
        for (seconds, text) in [(0, "0s"), (59, "59s"), (3_600, "1h"), (3_661, "1h 1m"), (273_600, "3d 4h")] {
            assert_eq!(show_seconds(seconds), text);
        }
    }
}
