//! Dynamic workers and their resources, as text.

use serde_json::Value;

/// The kinds of memory of a profile.
const MEMORY: [&str; 4] = [
    "task_heap_memory_bytes",
    "task_off_heap_memory_bytes",
    "managed_memory_bytes",
    "network_memory_bytes",
];

/// Says how many dynamic workers there are, and how much they have in total; `None` without any.
pub fn total(overview: &Value) -> Option<String> {
    let workers = overview["dynamic_workers"].as_u64().filter(|workers| *workers > 0)?;
    let total = resources(&overview["dynamic_total"], "extended");
    Some(format!("dynamic        {workers} workers, {total} in total"))
}

/// Says how much of a dynamic worker remains.
pub fn remaining(worker: &Value) -> String {
    let of = |field: &str| resources(&worker[field], "extended_resources");
    let slots = worker["slot_counts"]["registered"].as_u64().unwrap_or_default();
    let (total, remaining) = (of("total_resources"), of("remaining_resources"));
    let id = worker["resource_id"].as_str().unwrap_or_default();
    let slots = if slots == 1 {
        "1 slot".to_owned()
    } else {
        format!("{slots} slots")
    };
    format!("  {id}  {slots} cut from {total}; {remaining} left")
}

/// Writes the amounts of a profile or a sum. The extended ones are in a field of their own.
fn resources(amounts: &Value, extended: &str) -> String {
    if let Some(word) = amounts.as_str() {
        return word.to_owned();
    }
    let mut parts = Vec::new();
    let cores = amount(&amounts["cpu_cores"]);
    if cores > 0.0 {
        parts.push(format!(
            "{} {}",
            rounded(cores),
            if cores == 1.0 { "core" } else { "cores" }
        ));
    }
    let memory: u64 = MEMORY.iter().filter_map(|kind| amounts[kind].as_u64()).sum();
    if memory > 0 {
        parts.push(bytes(memory));
    }
    for (name, value) in amounts[extended].as_object().into_iter().flatten() {
        parts.push(format!("{} {name}", rounded(amount(value))));
    }
    match parts.is_empty() {
        true => "nothing".to_owned(),
        false => parts.join(", "),
    }
}

/// Reads an amount. One with many digits is a text.
fn amount(value: &Value) -> f64 {
    let text = || value.as_str().and_then(|text| text.parse().ok());
    value.as_f64().or_else(text).unwrap_or_default()
}

fn rounded(amount: f64) -> f64 {
    (amount * 100.0).round() / 100.0
}

fn bytes(bytes: u64) -> String {
    let (mebibyte, gibibyte) = (f64::from(1 << 20), f64::from(1 << 30));
    let value = bytes as f64;
    if value >= gibibyte {
        format!("{} GiB", (value / gibibyte * 10.0).round() / 10.0)
    } else if value >= mebibyte {
        format!("{} MiB", (value / mebibyte).round())
    } else {
        format!("{bytes} B")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_worker_is_shown_with_all_its_resources() {
        let worker = json!({
            "resource_id": "w",
            "slot_counts": {"registered": 2},
            "total_resources": {
                "cpu_cores": 8.0,
                "task_heap_memory_bytes": 16_u64 << 30,
                "managed_memory_bytes": 1 << 29,
                "extended_resources": {"gpu": 2.0, "fpga": "100000000.00000003"}
            },
            "remaining_resources": {"cpu_cores": 1.0, "network_memory_bytes": 3 << 20}
        });
        let text = "  w  2 slots cut from 8 cores, 16.5 GiB, 100000000 fpga, 2 gpu; 1 core, 3 MiB left";
        assert_eq!(remaining(&worker), text);
    }

    #[test]
    fn a_worker_that_is_used_up_has_nothing_left() {
        let worker = json!({
            "resource_id": "w",
            "slot_counts": {"registered": 1},
            "total_resources": "any",
            "remaining_resources": {}
        });
        assert_eq!(remaining(&worker), "  w  1 slot cut from any; nothing left");
    }

    #[test]
    fn dynamic_workers_are_summed_up_if_there_are_any() {
        assert_eq!(total(&json!({"dynamic_workers": 0})), None);
        let overview = json!({
            "dynamic_workers": 2,
            // The sum of all kinds of memory is beside the kinds.
            "dynamic_total": {"cpu_cores": 12.5, "memory_bytes": 2048, "task_heap_memory_bytes": 2048, "extended": {"gpu": 1.0}}
        });
        let text = "dynamic        2 workers, 12.5 cores, 2048 B, 1 gpu in total";
        assert_eq!(total(&overview).as_deref(), Some(text));
    }
}
