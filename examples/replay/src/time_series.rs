//! How the cluster looked over virtual time, condensed to as many points as a chart can show.

use slot_manager::Timestamp;

use crate::workload::{Pod, Workload};

/// Points of the chart.
const BINS: u64 = 480;

/// How many slots and requests there were at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) used: usize,
    pub(crate) free: usize,
    pub(crate) promised: usize,
    pub(crate) waiting: usize,
}

/// One point of the chart.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bin {
    /// The sums of slots times nanoseconds.
    used: f64,
    free: f64,
    pub(crate) peak_promised: usize,
    pub(crate) peak_waiting: usize,
}

/// The window of time the chart shows, cut into bins of equal width.
#[derive(Debug)]
pub(crate) struct TimeSeries {
    pub(crate) from: Timestamp,
    /// In nanoseconds.
    pub(crate) bin_width: u64,
    bins: Vec<Bin>,
    last: Sample,
    last_at: Timestamp,
}

impl TimeSeries {
    /// Shows the time in which pods arrive, and then until most of them have ended. The first and the last few pods of
    /// a trace can be months away from all others.
    pub(crate) fn new(workload: &Workload) -> Self {
        let arrival = |share: usize| {
            workload
                .pods
                .get(workload.pods.len() * share / 1000)
                .map(|pod| pod.created)
        };
        let first = arrival(5).unwrap_or_default();
        let last = workload.pods.last().map_or(first, |pod| pod.created);
        let mut lifetimes: Vec<_> = workload.pods.iter().map(Pod::lifetime).collect();
        lifetimes.sort_unstable();
        let long = lifetimes.get(lifetimes.len() * 95 / 100).copied().unwrap_or_default();
        let margin = (last - first) / 20;
        // The difference of two times ends at zero.
        let from = Timestamp::ZERO + (first - (Timestamp::ZERO + margin));
        let to = (last + long.min(last - first).max(margin)).min(workload.end());
        Self::of_window(from, to)
    }

    pub(crate) fn of_window(from: Timestamp, to: Timestamp) -> Self {
        let width = to.as_nanos().saturating_sub(from.as_nanos());
        Self {
            from,
            bin_width: width.div_ceil(BINS).max(1),
            bins: vec![Bin::default(); BINS as usize],
            last: Sample::default(),
            last_at: Timestamp::ZERO,
        }
    }

    /// From `now` on it looks like this.
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

    /// The bins with the time at which each begins.
    pub(crate) fn bins(&self) -> impl Iterator<Item = (Timestamp, &Bin)> {
        let begin = |number: u64| Timestamp::from_nanos(self.from.as_nanos() + number * self.bin_width);
        (0..).map(begin).zip(&self.bins)
    }

    pub(crate) fn to(&self) -> Timestamp {
        Timestamp::from_nanos(self.from.as_nanos() + BINS * self.bin_width)
    }

    /// The mean of the used and of the free slots in a bin.
    pub(crate) fn means(&self, bin: &Bin) -> (f64, f64) {
        let width = self.bin_width as f64;
        (bin.used / width, bin.free / width)
    }

    /// Accounts for the last sample, which was true until now.
    fn extend(&mut self, now: Timestamp) {
        let from = self.from.as_nanos();
        let (mut begin, end) = (self.last_at.as_nanos().max(from), now.as_nanos());
        self.last_at = now;
        while begin <= end {
            let number = (begin - from) / self.bin_width;
            let Some(bin) = self.bins.get_mut(number as usize) else {
                return;
            };
            let end_of_bin = from + (number + 1) * self.bin_width;
            let length = (end.min(end_of_bin) - begin) as f64;
            bin.used += self.last.used as f64 * length;
            bin.free += self.last.free as f64 * length;
            // Also what was true for no time at all was true.
            bin.peak_promised = bin.peak_promised.max(self.last.promised);
            bin.peak_waiting = bin.peak_waiting.max(self.last.waiting);
            begin = end_of_bin;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(used: usize) -> Sample {
        Sample {
            used,
            ..Sample::default()
        }
    }

    fn means(series: &TimeSeries) -> Vec<f64> {
        series.bins().map(|(_, bin)| series.means(bin).0).collect()
    }

    #[test]
    fn means_weigh_by_time_within_the_window() {
        let at = Timestamp::from_nanos;
        let mut series = TimeSeries::of_window(at(100), at(100 + 10 * BINS));
        series.record(at(0), used(9));
        series.record(at(105), used(4));
        series.record(at(112), used(0));
        series.finish(at(1_000_000));
        assert_eq!(series.bin_width, 10);
        assert_eq!(means(&series)[..3], [6.5, 0.8, 0.0]);
    }

    #[test]
    fn a_peak_without_duration_is_seen() {
        let at = Timestamp::from_nanos;
        let mut series = TimeSeries::of_window(at(0), at(10 * BINS));
        let waiting = Sample {
            waiting: 7,
            ..Sample::default()
        };
        series.record(at(15), waiting);
        series.record(at(15), Sample::default());
        series.finish(at(10 * BINS));
        let peaks: Vec<_> = series.bins().map(|(_, bin)| bin.peak_waiting).take(3).collect();
        assert_eq!(peaks, [0, 7, 0]);
    }

    #[test]
    fn an_empty_window_is_one_nanosecond_per_bin() {
        let series = TimeSeries::of_window(Timestamp::ZERO, Timestamp::ZERO);
        assert_eq!(series.to(), Timestamp::from_nanos(BINS));
    }
}
