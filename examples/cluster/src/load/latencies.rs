//! Measured times.

use std::fmt;
use std::time::Duration;

/// Times, each kept as it is: 4 bytes a grant need no histogram.
#[derive(Debug, Default)]
pub struct Latencies {
    micros: Vec<u32>,
}

impl Latencies {
    /// Adds a time. More than an hour counts as about an hour.
    pub fn add(&mut self, time: Duration) {
        self.micros.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn extend(&mut self, other: Self) {
        self.micros.extend(other.micros);
    }

    pub fn len(&self) -> usize {
        self.micros.len()
    }

    /// Returns the least times that these percentages of all times do not exceed. `None` without
    /// times.
    fn percentiles<const N: usize>(&self, percentages: [usize; N]) -> Option<[Duration; N]> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let at = |percentage: usize| (sorted.len() * percentage).div_ceil(100).saturating_sub(1).min(last);
        Some(percentages.map(|percentage| Duration::from_micros(sorted[at(percentage)].into())))
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some([p50, p99, max]) = self.percentiles([50, 99, 100]) else {
            return f.write_str("no grant");
        };
        write!(f, "p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.to_string(), "no grant");
        for millis in (1..=100).rev() {
            latencies.add(Duration::from_millis(millis));
        }
        assert_eq!(latencies.to_string(), "p50 50.0ms, p99 99.0ms, max 100.0ms");
        assert_eq!(latencies.percentiles([0]), Some([Duration::from_millis(1)]));
        let mut other = Latencies::default();
        other.add(Duration::from_secs(1 << 20));
        latencies.extend(other);
        assert_eq!(latencies.len(), 101);
        assert_eq!(
            latencies.percentiles([100]),
            Some([Duration::from_micros(u32::MAX.into())])
        );
    }
}
