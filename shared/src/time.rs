//! Times: microseconds since the Unix epoch inside, RFC 3339 at the edge.

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = u64;

/// The last microsecond of the year 9999, the last that RFC 3339 can say.
pub const MAX: Micros = 253_402_300_799_999_999;

/// Days from 1970-01-01 to the given civil date (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The civil date that lies `days` after 1970-01-01 (same source).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// Writes a time as `2026-11-23T02:47:00.123456Z`.
pub fn to_rfc3339(time: Micros) -> String {
    let time = i64::try_from(time.min(MAX)).unwrap_or(0);
    let (days, rest) = (time.div_euclid(86_400_000_000), time.rem_euclid(86_400_000_000));
    let (year, month, day) = civil_from_days(days);
    let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let fields = [
        (year, 0, 4),
        (month, 5, 2),
        (day, 8, 2),
        (hour, 11, 2),
        (minute, 14, 2),
        (second, 17, 2),
        (micros, 20, 6),
    ];
    for (number, place, digits) in fields {
        let mut rest = number.unsigned_abs();
        for digit in text[place..place + digits].iter_mut().rev() {
            // A digit is below 10.
            *digit += u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads an RFC 3339 time with any offset; digits beyond microseconds are cut. `None` when it is none, or before 1970.
pub fn from_rfc3339(text: &str) -> Option<Micros> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let at = |place: usize, any_of: &[u8]| bytes.get(place).is_some_and(|b| any_of.contains(b));
    if !(at(4, b"-") && at(7, b"-") && at(10, b"Tt ") && at(13, b":") && at(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = 19;
    let mut micros = 0;
    if at(rest, b".") {
        let digits = bytes[rest + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let kept = number(rest + 1, rest + 1 + digits.min(6))?;
        micros = kept * 10_i64.pow(6 - u32::try_from(digits.min(6)).ok()?);
        rest += 1 + digits;
    }
    let offset = match text.get(rest..)? {
        "Z" | "z" => 0,
        zone if zone.len() == 6 && at(rest, b"+-") && at(rest + 3, b":") => {
            let minutes = number(rest + 1, rest + 3)? * 60 + number(rest + 4, rest + 6)?;
            if zone.starts_with('-') { -minutes } else { minutes }
        }
        _ => return None,
    };
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60;
    u64::try_from(seconds * 1_000_000 + micros).ok().filter(|time| *time <= MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_reads_and_writes_known_times() {
        for (text, micros) in [
            ("1970-01-01T00:00:00.000000Z", 0),
            ("2026-11-23T02:47:00.123456Z", 1_795_402_020_123_456),
            ("2024-02-29T23:59:59.999999Z", 1_709_251_199_999_999),
            ("9999-12-31T23:59:59.999999Z", MAX),
        ] {
            assert_eq!(from_rfc3339(text), Some(micros), "{text}");
            assert_eq!(to_rfc3339(micros), text);
        }
        assert_eq!(from_rfc3339("2026-11-23T03:47:00+01:00"), from_rfc3339("2026-11-23T02:47:00Z"));
        assert_eq!(from_rfc3339("2026-11-23T02:47:00.5Z"), Some(1_795_402_020_500_000));
        assert_eq!(from_rfc3339("2026-11-23T02:47:00.1234569Z"), Some(1_795_402_020_123_456));
    }

    #[test]
    fn it_refuses_what_is_no_time() {
        for text in [
            "",
            "2026",
            "2026-11-23",
            "2026-11-23T02:47:00",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T02:47:00.Z",
            "1969-12-31T23:59:59Z",
            "+026-11-23T02:47:00Z",
            "２０26-11-23T02:47:00Z",
        ] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_it_wrote(time in 0..=MAX) {
            prop_assert_eq!(from_rfc3339(&to_rfc3339(time)), Some(time));
        }
    }
}
