//! Measured times, and their repetition.

use std::time::Duration;

use super::event_log::Line;

/// The environment variable that says how often a scenario with measured times runs.
const RUNS: &str = "CLUSTER_RUNS";

/// The times of one run of a scenario, each from the act until what is named here.
pub type Times = Vec<(&'static str, Duration)>;

/// Runs a scenario as often as is asked for. Prints a row `| act: what | median | worst |` for each
/// time. A scenario without a program that it needs returns `None`.
pub fn measure(act: &str, scenario: impl Fn() -> Option<Times>) {
    let runs = std::env::var(RUNS).map_or(1, |runs| runs.parse().expect("CLUSTER_RUNS is a number"));
    let runs: Option<Vec<Times>> = (0..runs).map(|_| scenario()).collect();
    for (what, median, worst) in table(&runs.unwrap_or_default()) {
        println!(
            "| {act}: {what} | {} ms | {} ms |",
            median.as_millis(),
            worst.as_millis()
        );
    }
}

/// Returns the median and the worst of each time, in the order of the first run.
fn table(runs: &[Times]) -> Vec<(&'static str, Duration, Duration)> {
    let rows = runs.first().into_iter().flatten().map(|(what, _)| {
        let all = runs.iter().flatten().filter(|(other, _)| other == what);
        let mut times: Vec<_> = all.map(|(_, time)| *time).collect();
        times.sort_unstable();
        let last = times.len() - 1;
        let (median, worst) = (times[last / 2], times[last]);
        (*what, median, worst)
    });
    rows.collect()
}

/// Returns the time from an act until the first line that fits.
///
/// # Panics
/// If none fits.
pub fn time_until(lines: &[Line], act_us: u64, what: &str, fits: impl Fn(&Line) -> bool) -> Duration {
    let line = lines.iter().find(|line| line.at_us >= act_us && fits(line));
    let line = line.unwrap_or_else(|| panic!("no line for {what}"));
    Duration::from_micros(line.at_us - act_us)
}

mod tests {
    use super::*;

    #[test]
    fn median_and_worst_are_found() {
        let runs = [30, 10, 20].map(|ms| vec![("elected", Duration::from_millis(ms)), ("back", Duration::ZERO)]);
        let ms = Duration::from_millis;
        assert_eq!(table(&runs), [("elected", ms(20), ms(30)), ("back", ms(0), ms(0))]);
        assert!(table(&[]).is_empty());
    }
}
