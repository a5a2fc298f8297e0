//! Numbers as people read them.

/// A count: grouped by thousands up to a million, then shortened: `12,345`, `1.23 M`.
pub fn count(value: f64) -> String {
    if value.abs() < 1e6 { grouped(value.round()) } else { scaled(value, 1e3, &["", " k", " M", " G", " T"]) }
}

/// A rate a second: `0`, `0.4`, `3.4`, `870`, `12.3 k`.
pub fn rate(value: f64) -> String {
    match value.abs() {
        v if v < 0.05 => "0".to_owned(),
        v if v < 10.0 => trimmed(value, 1),
        v if v < 1e4 => grouped(value.round()),
        _ => scaled(value, 1e3, &["", " k", " M", " G"]),
    }
}

/// Bytes in binary units: `512 B`, `1.5 KiB`.
pub fn bytes(value: f64) -> String {
    scaled(value, 1_024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// Milliseconds, as seconds and more where there are many: `0.42 ms`, `12 ms`, `1.5 s`, `3 min 12 s`.
pub fn millis(value: f64) -> String {
    match value.abs() {
        v if v < 10.0 => format!("{} ms", trimmed(value, 2)),
        v if v < 1e3 => format!("{} ms", fixed(value, 0)),
        v if v < 60e3 => format!("{} s", trimmed(value / 1e3, 1)),
        _ => super::ago::span(value / 1e3),
    }
}

/// Any other number: whole ones grouped, others with at most two digits behind the point.
pub fn plain(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1e6 { count(value) } else { trimmed(value, 2) }
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = 0;
    while value.abs() >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = match value.abs() {
        _ if unit == 0 => 0_u32,
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{}{}", trimmed(value, digits), units[unit])
}

fn trimmed(value: f64, digits: u32) -> String {
    let text = fixed(value, digits);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A number with so many digits behind its point. What `format!` brings along for numbers with a point is many times as
/// large as this.
pub fn fixed(value: f64, digits: u32) -> String {
    let step = 10_u64.pow(digits);
    #[expect(clippy::cast_precision_loss, reason = "a power of ten with few digits")]
    let whole = whole(value.abs() * step as f64);
    let sign = if value < 0.0 && whole > 0 { "-" } else { "" };
    if digits == 0 {
        return format!("{sign}{whole}");
    }
    let (whole, rest) = (whole / step, whole % step);
    let width = digits as usize;
    format!("{sign}{whole}.{rest:0width$}")
}

/// The nearest whole number that is not negative.
pub fn whole(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is out of bounds stays at them"
    )]
    let whole = value.round() as u64;
    whole
}

fn grouped(value: f64) -> String {
    let digits = whole(value.abs()).to_string();
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: fn(f64) -> String, cases: &[(f64, &str)]) {
        for (value, words) in cases {
            assert_eq!(write(*value), *words, "{value}");
        }
    }

    #[test]
    fn it_writes_counts() {
        check(
            count,
            &[
                (0.0, "0"),
                (999.0, "999"),
                (12_345.0, "12,345"),
                (1_234_567.0, "1.23 M"),
                (-1_000.0, "-1,000"),
            ],
        );
    }

    #[test]
    fn it_writes_rates() {
        check(
            rate,
            &[(0.0, "0"), (0.01, "0"), (0.4, "0.4"), (3.0, "3"), (869.6, "870"), (12_345.0, "12.3 k")],
        );
    }

    #[test]
    fn it_writes_bytes() {
        check(
            bytes,
            &[(0.0, "0 B"), (1_023.0, "1023 B"), (1_536.0, "1.5 KiB"), (10_737_418_240.0, "10 GiB")],
        );
    }

    #[test]
    fn it_writes_milliseconds() {
        check(
            millis,
            &[
                (0.0, "0 ms"),
                (0.421, "0.42 ms"),
                (12.4, "12 ms"),
                (1_500.0, "1.5 s"),
                (192_000.0, "3 min 12 s"),
            ],
        );
    }

    #[test]
    fn it_writes_other_numbers() {
        check(plain, &[(7.0, "7"), (7.126, "7.13"), (1_000.0, "1,000")]);
    }
}
