//! Numbers and times for people.

use std::time::Duration;

use indicatif::HumanCount;
use slot_manager::Timestamp;

/// Formats a whole number with commas between the thousands.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    HumanCount(number.try_into().unwrap_or(u64::MAX)).to_string()
}

/// Formats a time of the replay as day and time of the day.
pub(crate) fn time(at: Timestamp) -> String {
    let seconds = at.since_origin().as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    format!("day {days} {hours:02}:{minutes:02}:{:02}", seconds % 60)
}

/// Formats a duration in the unit that suits its length.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 1e-3 => format!("{:.2} µs", seconds * 1e6),
        _ if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if seconds < 7_200.0 => format!("{:.1} min", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0_u64, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn times_and_durations_are_readable() {
        assert_eq!(time(Timestamp::from_secs(3 * 86_400 + 3_661)), "day 3 01:01:01");
        let texts = [2.5e-6, 0.0042, 15.0, 300.0, 10_800.0, 864_000.0].map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(texts, ["2.50 µs", "4.2 ms", "15.0 s", "5.0 min", "3.0 h", "10.0 days"]);
    }
}
