//! The notation of durations: Flink's, with sums of several parts and `inf` in addition.

use std::time::Duration;

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// Returns `true` for a text that stands for no limit, or for a duration without end.
pub(super) fn is_infinite(text: &str) -> bool {
    let text = text.trim();
    ["inf", "infinite", "infinity"]
        .iter()
        .any(|never| text.eq_ignore_ascii_case(never))
}

/// Parses a duration: `inf`, a number of milliseconds, or numbers with units.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if is_infinite(text) {
        return Some(Duration::MAX);
    }
    if let Some((milliseconds, "")) = split_number(text) {
        return from_nanoseconds(milliseconds.checked_mul(1_000_000)?);
    }
    let mut sum: u128 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let is_end = |c: char| c.is_ascii_digit() || c.is_whitespace();
        let (unit, next) = after.split_at(after.find(is_end).unwrap_or(after.len()));
        sum = sum.checked_add(number.checked_mul(nanoseconds_of_unit(unit)?)?)?;
        rest = next.trim_start();
    }
    // A text without any part is no duration.
    (!text.is_empty()).then(|| from_nanoseconds(sum)).flatten()
}

/// Splits a text into its leading number and the rest behind white space.
fn split_number(text: &str) -> Option<(u128, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest.trim_start()))
}

/// Returns the length of a unit. The labels are Flink's, in any case, and `us`.
fn nanoseconds_of_unit(unit: &str) -> Option<u128> {
    match unit.to_lowercase().as_str() {
        "d" | "day" | "days" => Some(86_400 * NANOSECONDS_PER_SECOND),
        "h" | "hour" | "hours" => Some(3_600 * NANOSECONDS_PER_SECOND),
        "m" | "min" | "minute" | "minutes" => Some(60 * NANOSECONDS_PER_SECOND),
        "s" | "sec" | "secs" | "second" | "seconds" => Some(NANOSECONDS_PER_SECOND),
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => Some(1_000_000),
        // The micro sign and the Greek letter look the same.
        "\u{b5}s" | "\u{3bc}s" | "us" | "micro" | "micros" | "microsecond" | "microseconds" => Some(1_000),
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => Some(1),
        _ => None,
    }
}

fn from_nanoseconds(nanoseconds: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanoseconds / NANOSECONDS_PER_SECOND).ok()?;
    Some(Duration::new(seconds, (nanoseconds % NANOSECONDS_PER_SECOND) as u32))
}

/// Writes a duration, as `parse` reads it. Except for `inf`, Flink reads it too.
pub(super) fn write(duration: Duration) -> String {
    if duration == Duration::MAX {
        return "inf".to_owned();
    }
    let nanoseconds = duration.as_nanos();
    let units = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
    ];
    let short_units = [("s", 1_000_000_000), ("ms", 1_000_000), ("micros", 1_000)];
    match nanoseconds {
        0 => "0 s".to_owned(),
        _ => in_largest_unit(nanoseconds, units.into_iter().chain(short_units), "ns"),
    }
}

/// Writes a whole number of the largest unit that allows it.
pub(super) fn in_largest_unit(
    number: u128,
    larger: impl IntoIterator<Item = (&'static str, u128)>,
    smallest: &str,
) -> String {
    let fits = |&(_, length): &(&str, u128)| number > 0 && number % length == 0;
    match larger.into_iter().find(fits) {
        Some((unit, length)) => format!("{} {unit}", number / length),
        None => format!("{number} {smallest}"),
    }
}
