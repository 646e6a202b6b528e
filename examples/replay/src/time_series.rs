//! The state of the cluster over virtual time, condensed to as many points as a chart can show.

use std::time::Duration;

use slot_manager::Timestamp;

use crate::resources::{Amounts, RESOURCES};
use crate::workload::Pod;

/// The largest number of intervals.
const MAX_INTERVALS: usize = 600;
/// The shortest interval, in nanoseconds: one second.
const SHORTEST_INTERVAL: u64 = 1_000_000_000;

/// Numbers of slots and requests, and amounts of resources, at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) used: usize,
    pub(crate) all: usize,
    pub(crate) promised: usize,
    pub(crate) waiting: usize,
    /// The resources that granted requests asked for.
    pub(crate) granted: Amounts,
    /// The resources of the cluster that no granted request asked for. A resource counts while a
    /// request waits that needs it and fits no worker.
    pub(crate) stranded: Amounts,
    /// The part of the stranded resources that these requests would take, if they could take it from
    /// several workers.
    pub(crate) wanted: Amounts,
}

/// Means of amounts over time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct MeanAmounts {
    pub(crate) granted: [f64; RESOURCES.len()],
    pub(crate) stranded: [f64; RESOURCES.len()],
    pub(crate) wanted: [f64; RESOURCES.len()],
}

/// One interval of the chart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) mean_used: f64,
    pub(crate) mean_all: f64,
    pub(crate) peak_promised: usize,
    pub(crate) peak_waiting: usize,
    pub(crate) mean_granted: [f64; RESOURCES.len()],
}

/// A window of the run, cut into intervals of equal length. The length doubles whenever there would
/// be more than [`MAX_INTERVALS`].
#[derive(Debug)]
pub(crate) struct TimeSeries {
    from: Timestamp,
    to: Timestamp,
    /// In nanoseconds.
    interval: u64,
    sums: Vec<Sums>,
    last: Sample,
    last_at: Timestamp,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// Slots times nanoseconds.
    used: f64,
    all: f64,
    /// Amounts times nanoseconds.
    amounts: MeanAmounts,
    peak_promised: usize,
    peak_waiting: usize,
}

impl TimeSeries {
    /// Makes the series of the whole run.
    pub(crate) fn of_run() -> Self {
        Self::of_window(Timestamp::ZERO, Timestamp::MAX)
    }

    /// Makes the series of the time in which most pods are created, and a quarter more. The first
    /// few pods of a trace can come months before all others, and the last ones can live as long.
    pub(crate) fn of_arrivals(pods: &[Pod]) -> Self {
        let created = |index: usize| pods.get(index).map(|pod| pod.created).unwrap_or_default();
        let (from, to) = (created(pods.len() / 200), created(pods.len().saturating_sub(1)));
        Self::of_window(from, to + (to - from) / 4)
    }

    fn of_window(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            interval: SHORTEST_INTERVAL,
            sums: Vec::new(),
            last: Sample::default(),
            last_at: Timestamp::ZERO,
        }
    }

    /// Notes the state of the cluster from `now` on.
    pub(crate) fn record(&mut self, now: Timestamp, sample: Sample) {
        if sample != self.last {
            self.extend(now);
            self.last = sample;
        }
    }

    /// Ends the series.
    pub(crate) fn finish(&mut self, now: Timestamp) {
        self.extend(now);
    }

    /// Returns the beginning of the series.
    pub(crate) fn from(&self) -> Timestamp {
        self.from
    }

    /// Returns the end of the series.
    pub(crate) fn to(&self) -> Timestamp {
        self.last_at.clamp(self.from, self.to)
    }

    /// Returns the time from the beginning to the end.
    pub(crate) fn length(&self) -> Duration {
        self.to() - self.from
    }

    /// Returns the length of an interval.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// Returns one point for each interval. The last interval ends with the series.
    pub(crate) fn points(&self) -> impl Iterator<Item = Point> {
        let end = self.since_from(self.last_at);
        self.sums.iter().zip(0..).map(move |(sums, number): (_, u64)| {
            let from = number * self.interval;
            let to = from.saturating_add(self.interval).min(end);
            // A run without duration has one interval without length.
            let length = (to - from).max(1) as f64;
            Point {
                from: self.from + Duration::from_nanos(from),
                to: self.from + Duration::from_nanos(to),
                mean_used: sums.used / length,
                mean_all: sums.all / length,
                peak_promised: sums.peak_promised,
                peak_waiting: sums.peak_waiting,
                mean_granted: sums.amounts.granted.map(|granted| granted / length),
            }
        })
    }

    /// Returns the means from the beginning to the end.
    pub(crate) fn mean_amounts(&self) -> MeanAmounts {
        let length = (self.since_from(self.last_at)).max(1) as f64;
        let mut mean = MeanAmounts::default();
        for sums in &self.sums {
            mean.add(sums.amounts, 1.0 / length);
        }
        mean
    }

    /// Adds the last sample for the time until now.
    fn extend(&mut self, now: Timestamp) {
        let is_outside = now < self.from || self.last_at > self.to;
        let (mut from, end) = (self.since_from(self.last_at), self.since_from(now));
        self.last_at = now;
        if is_outside {
            return;
        }
        while end.div_ceil(self.interval) > MAX_INTERVALS as u64 {
            self.double_interval();
        }
        loop {
            // An instant on a border belongs to the interval that it ends.
            let inside = if from == end { from.saturating_sub(1) } else { from };
            let number = inside / self.interval;
            let to = (number + 1).saturating_mul(self.interval).min(end);
            let number = number as usize;
            if number >= self.sums.len() {
                self.sums.resize(number + 1, Sums::default());
            }
            let sums = &mut self.sums[number];
            let length = (to - from) as f64;
            sums.used += self.last.used as f64 * length;
            sums.all += self.last.all as f64 * length;
            sums.amounts.add(self.last.amounts(), length);
            // A peak counts even if it had no duration.
            sums.peak_promised = sums.peak_promised.max(self.last.promised);
            sums.peak_waiting = sums.peak_waiting.max(self.last.waiting);
            from = to;
            if from >= end {
                break;
            }
        }
    }

    /// Returns the nanoseconds from the beginning of the window to a time, limited to the window.
    fn since_from(&self, at: Timestamp) -> u64 {
        at.clamp(self.from, self.to).as_nanos() - self.from.as_nanos()
    }

    fn double_interval(&mut self) {
        self.interval = self.interval.saturating_mul(2);
        let pairs = self.sums.chunks(2).map(|pair| {
            pair.iter().fold(Sums::default(), |sum, half| Sums {
                used: sum.used + half.used,
                all: sum.all + half.all,
                amounts: sum.amounts.plus(half.amounts, 1.0),
                peak_promised: sum.peak_promised.max(half.peak_promised),
                peak_waiting: sum.peak_waiting.max(half.peak_waiting),
            })
        });
        self.sums = pairs.collect();
    }
}

impl Sample {
    fn amounts(&self) -> MeanAmounts {
        let number = |amounts: Amounts| amounts.0.map(|amount| amount as f64);
        MeanAmounts {
            granted: number(self.granted),
            stranded: number(self.stranded),
            wanted: number(self.wanted),
        }
    }
}

impl MeanAmounts {
    /// Adds other amounts, multiplied by a factor.
    fn add(&mut self, other: Self, factor: f64) {
        *self = self.plus(other, factor);
    }

    fn plus(self, other: Self, factor: f64) -> Self {
        let sum = |own: [f64; RESOURCES.len()], other: [f64; RESOURCES.len()]| {
            std::array::from_fn(|resource| own[resource] + other[resource] * factor)
        };
        Self {
            granted: sum(self.granted, other.granted),
            stranded: sum(self.stranded, other.stranded),
            wanted: sum(self.wanted, other.wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(used: usize) -> Sample {
        Sample {
            used,
            all: 10,
            ..Sample::default()
        }
    }

    fn waiting(waiting: usize) -> Sample {
        Sample {
            waiting,
            ..Sample::default()
        }
    }

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_nanos(milliseconds * 1_000_000)
    }

    #[test]
    fn means_weigh_by_time() {
        let mut series = TimeSeries::of_run();
        series.record(at(0), used(4));
        series.record(at(1_500), used(0));
        series.record(at(2_100), used(10));
        series.finish(at(2_600));
        let means: Vec<_> = series.points().map(|point| (point.mean_used, point.mean_all)).collect();
        // The last interval has 600 ms.
        let last = 10.0 * 500.0 / 600.0;
        assert_eq!(means, [(4.0, 10.0), (2.0, 10.0), (last, 10.0)]);
        assert_eq!(series.to(), at(2_600));
    }

    #[test]
    fn means_of_amounts_weigh_by_time_over_the_whole_window() {
        let sample = |granted, stranded, wanted| Sample {
            granted: Amounts([granted; 3]),
            stranded: Amounts([stranded; 3]),
            wanted: Amounts([wanted; 3]),
            ..Sample::default()
        };
        for end in [4_000, 4_000_000] {
            let mut series = TimeSeries::of_window(at(1_000), at(end));
            series.record(at(0), sample(9, 9, 9));
            series.record(at(1_000), sample(4, 2, 1));
            series.record(at(end / 4), sample(0, 0, 0));
            series.finish(at(2 * end));
            let mean = series.mean_amounts();
            let share = (end / 4 - 1_000) as f64 / (end - 1_000) as f64;
            for resource in 0..3 {
                let expected = [4.0, 2.0, 1.0].map(|amount| amount * share);
                let got = [mean.granted[resource], mean.stranded[resource], mean.wanted[resource]];
                assert!(
                    got.iter()
                        .zip(expected)
                        .all(|(got, expected)| (got - expected).abs() < 1e-9),
                    "{got:?}"
                );
            }
        }
    }

    #[test]
    fn a_peak_without_duration_is_seen_once() {
        for peak_at in [1_500, 2_000] {
            let mut series = TimeSeries::of_run();
            series.record(at(peak_at), waiting(7));
            series.record(at(peak_at), Sample::default());
            series.finish(at(4_000));
            let peaks: Vec<_> = series.points().map(|point| point.peak_waiting).collect();
            assert_eq!(peaks, [0, 7, 0, 0], "{peak_at}");
        }
    }

    #[test]
    fn the_whole_run_is_covered_however_long_it_is() {
        for end in [1, MAX_INTERVALS as u64, 126_000, 12_900_000, u64::MAX / 1_000_000_000] {
            let mut series = TimeSeries::of_run();
            series.record(Timestamp::ZERO, used(5));
            series.record(Timestamp::from_secs(end / 3), waiting(3));
            series.record(Timestamp::from_secs(end / 2), used(5));
            series.finish(Timestamp::from_secs(end));
            let points: Vec<_> = series.points().collect();
            assert!(points.len() <= MAX_INTERVALS, "{end}");
            assert!(end < 1_000 || points.len() >= MAX_INTERVALS / 2, "{end}");
            assert_eq!(points[0].from, Timestamp::ZERO);
            assert_eq!(points[points.len() - 1].to, Timestamp::from_secs(end));
            assert!(points.windows(2).all(|pair| pair[0].to == pair[1].from), "{end}");
            assert!(points.iter().any(|point| point.peak_waiting == 3), "{end}");
            assert!((points[points.len() - 1].mean_used - 5.0).abs() < 1e-6, "{end}");
        }
    }

    #[test]
    fn a_window_ignores_the_time_before_and_after_it() {
        let mut series = TimeSeries::of_window(at(1_000), at(3_500));
        series.record(at(0), waiting(9));
        series.record(at(500), used(4));
        series.record(at(2_000), used(2));
        series.record(at(3_600), waiting(9));
        series.record(at(3_700), used(8));
        series.finish(at(9_000));
        let points: Vec<_> = series.points().collect();
        let means: Vec<_> = points.iter().map(|point| point.mean_used).collect();
        assert_eq!(means, [4.0, 2.0, 2.0]);
        assert!(points.iter().all(|point| point.peak_waiting == 0));
        assert_eq!((points[0].from, points[2].to), (at(1_000), at(3_500)));
        assert_eq!(series.length(), Duration::from_millis(2_500));
    }

    #[test]
    fn a_run_without_duration_has_one_point() {
        let mut series = TimeSeries::of_run();
        series.record(Timestamp::ZERO, waiting(2));
        series.finish(Timestamp::ZERO);
        let points: Vec<_> = series.points().collect();
        assert_eq!(points.len(), 1);
        assert_eq!((points[0].to, points[0].peak_waiting), (Timestamp::ZERO, 2));
    }
}
