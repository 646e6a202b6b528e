//! A number by name, for metrics.

/// A number with its name and its meaning.
///
/// ```
/// use slot_manager::overview::Overview;
///
/// // The text format of Prometheus.
/// let overview = Overview::default();
/// let free = overview.gauges().find(|gauge| gauge.name == "slots_free").ok_or("no such gauge")?;
/// assert_eq!(format!("# HELP {} {}", free.name, free.help), "# HELP slots_free Free slots");
/// assert_eq!(format!("{} {}", free.name, free.value), "slots_free 0");
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric<V> {
    /// The name. It fits Prometheus, behind a prefix of your own.
    pub name: &'static str,
    /// The meaning, as text for people.
    pub help: &'static str,
    /// The number.
    pub value: V,
}

impl<V> Metric<V> {
    pub(super) fn new(name: &'static str, help: &'static str, value: V) -> Self {
        Self { name, help, value }
    }
}
