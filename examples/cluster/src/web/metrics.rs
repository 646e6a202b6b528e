//! The metrics, for Prometheus.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::SharedWeb;
use super::cluster::Cluster;
use super::error::ApiError;
use crate::resource_manager::handle::Published;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`: all counters and gauges of the slot manager, and the state of this process.
pub async fn metrics<C: Cluster>(State(web): SharedWeb<C>) -> Response {
    match text(&web.cluster.published()) {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => ApiError::Invalid(format!("the metrics cannot be written: {error}")).into_response(),
    }
}

/// Returns the metrics as text. Each scrape has a registry of its own, so that no number is kept
/// twice.
pub fn text(published: &Published) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("slot_manager");
    for counter in published.overview.counters.iter() {
        registry.register(counter.name, counter.help, ConstCounter::new(counter.value));
    }
    for gauge in published.overview.gauges() {
        registry.register(gauge.name, gauge.help, ConstGauge::new(gauge.value));
    }
    register_extended_resources(&mut registry, published);
    register_process(&mut registry, published);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn register_extended_resources(registry: &mut Registry, published: &Published) {
    type Amounts = Family<[(&'static str, String); 1], Gauge<f64, std::sync::atomic::AtomicU64>>;

    let mut families = BTreeMap::<_, Amounts>::new();
    for (resource, gauge) in published.overview.extended_gauges() {
        let family = families.entry((gauge.name, gauge.help)).or_default();
        family
            .get_or_create(&[("resource", resource.to_owned())])
            .set(gauge.value);
    }
    for ((name, help), family) in families {
        registry.register(name, help, family);
    }
}

/// Registers the numbers of this process, which are not of the slot manager.
fn register_process(registry: &mut Registry, published: &Published) {
    let process = registry.sub_registry_with_prefix("process");
    // With the numbers: they are of this leadership.
    let is_leading = i64::from(published.epoch.is_some());
    process.register("leading", "1 if this process leads", ConstGauge::new(is_leading));
    let epoch = published.epoch.unwrap_or_default().0;
    process.register("epoch", "The epoch of this leader, or 0", ConstGauge::new(epoch as f64));
    let inputs = published.waiting_inputs as f64;
    process.register(
        "mailbox_inputs",
        "Inputs that wait in the mailbox",
        ConstGauge::new(inputs),
    );
    let job_masters = published.job_masters as f64;
    process.register("job_masters", "Sessions of job masters", ConstGauge::new(job_masters));
    let changes = ConstCounter::new(published.changes);
    process.register("changes", "Changes of the slot manager", changes);
}
