//! Configurations as the first line of a script.

use std::time::Duration;

use slot_manager::SlotManagerConfig;
use slot_manager::config::{WorkerDescription, WorkerPolicy};
use slot_manager::matching::SlotMatchingStrategy;

use super::{Length, read};
use crate::command::Shape;
use crate::common::patient;

const STRATEGIES: [(&str, SlotMatchingStrategy); 3] = [
    ("best-fit", SlotMatchingStrategy::BestFit),
    ("spread-out", SlotMatchingStrategy::LeastUtilization),
    ("pack", SlotMatchingStrategy::MostUtilization),
];
const FAIL_UNFULFILLABLE: &str = "fail-unfulfillable";

/// Writes the timeouts, and all other options that differ from those in [`patient`].
pub(crate) fn write_config(config: &SlotManagerConfig) -> String {
    let mut words = vec!["config".to_owned()];
    let lengths = [
        ("request", config.request_timeout),
        ("rpc", config.rpc_timeout),
        ("idle", config.task_manager_timeout),
        ("worker", config.worker_registration_timeout),
        ("pause", config.retry_backoff),
        ("max-pause", config.max_retry_backoff),
    ];
    words.extend(lengths.map(|(name, length)| format!("{name}={}", Length(length))));
    let lengths = [
        ("recovery", config.recovery_timeout),
        ("grace", config.unfulfillable_grace_period),
        ("start-retry", config.start_retry_interval),
        ("check", config.requirement_check_delay),
        ("aside", config.reservation_delay),
    ];
    let usual = [
        Duration::ZERO,
        Duration::ZERO,
        patient().start_retry_interval,
        patient().requirement_check_delay,
        patient().reservation_delay,
    ];
    let lengths = lengths.into_iter().zip(usual);
    let lengths = lengths.filter_map(|(given, usual)| (given.1 != usual).then_some(given));
    words.extend(lengths.map(|(name, length)| format!("{name}={}", Length(length))));
    let workers = config.workers.as_ref();
    if let Some(worker) = workers.map(|workers| &workers.description) {
        words.push(match worker.is_dynamic() {
            true => format!("description={}:total:{}", worker.slots(), Shape::of(worker.total())),
            false => format!("description={}:{}", worker.slots(), Shape::of(worker.slot_profile())),
        });
    }
    let of_workers = |number: fn(&WorkerPolicy) -> Option<String>| workers.and_then(number);
    let numbers = [
        ("pending", config.max_pending_requests.map(|it| it.to_string())),
        (
            "start-failures",
            Some(config.max_start_failure_rate)
                .filter(|it| *it != patient().max_start_failure_rate)
                .map(|it| it.to_string()),
        ),
        (
            "min",
            of_workers(|it| (it.min_slots > 0).then(|| it.min_slots.to_string())),
        ),
        ("max", of_workers(|it| it.max_slots.map(|it| it.to_string()))),
        (
            "max-cpu",
            of_workers(|it| it.max_total_cpu_cores.map(|it| it.to_string())),
        ),
        (
            "max-memory",
            of_workers(|it| it.max_total_memory_bytes.map(|it| it.to_string())),
        ),
        (
            "redundant",
            of_workers(|it| (it.redundant_task_managers > 0).then(|| it.redundant_task_managers.to_string())),
        ),
    ];
    words.extend(
        numbers
            .into_iter()
            .filter_map(|(name, number)| Some(format!("{name}={}", number?))),
    );
    if config.fail_unfulfillable_requests {
        words.push(FAIL_UNFULFILLABLE.to_owned());
    }
    let named = STRATEGIES
        .into_iter()
        .find(|(_, strategy)| *strategy == config.slot_matching_strategy);
    words.extend(named.map(|(name, _)| name.to_owned()));
    words.join(" ")
}

/// Reads the line that [`write_config`] writes. Options without a word are as in [`patient`].
pub(crate) fn read_config(line: &str) -> Result<SlotManagerConfig, String> {
    let mut words = line.split_whitespace();
    if words.next() != Some("config") {
        return Err(format!("{line:?} is no configuration"));
    }
    let mut config = patient();
    for word in words {
        match word.split_once('=') {
            Some((name, value)) => set(&mut config, name, value)?,
            None if word == FAIL_UNFULFILLABLE => config.fail_unfulfillable_requests = true,
            None => {
                let named = STRATEGIES.into_iter().find(|(name, _)| *name == word);
                config.slot_matching_strategy = named.ok_or(format!("{word:?} is no option"))?.1;
            }
        }
    }
    Ok(config)
}

fn set(config: &mut SlotManagerConfig, name: &str, value: &str) -> Result<(), String> {
    let length = || value.parse::<Length>().map(|length| length.0);
    match name {
        "request" => config.request_timeout = length()?,
        "rpc" => config.rpc_timeout = length()?,
        "idle" => config.task_manager_timeout = length()?,
        "worker" => config.worker_registration_timeout = length()?,
        "pause" => config.retry_backoff = length()?,
        "max-pause" => config.max_retry_backoff = length()?,
        "recovery" => config.recovery_timeout = length()?,
        "grace" => config.unfulfillable_grace_period = length()?,
        "start-retry" => config.start_retry_interval = length()?,
        "check" => config.requirement_check_delay = length()?,
        "aside" => config.reservation_delay = length()?,
        "start-failures" => config.max_start_failure_rate = read(value)?,
        "description" => config.workers = Some(WorkerPolicy::new(read_description(value)?)),
        "pending" => config.max_pending_requests = Some(read(value)?),
        "min" => workers(config)?.min_slots = read(value)?,
        "max" => workers(config)?.max_slots = Some(read(value)?),
        "max-cpu" => workers(config)?.max_total_cpu_cores = Some(read(value)?),
        "max-memory" => workers(config)?.max_total_memory_bytes = Some(read(value)?),
        "redundant" => workers(config)?.redundant_task_managers = read(value)?,
        _ => return Err(format!("{name:?} is no option")),
    }
    Ok(())
}

/// Returns the worker policy, which the description begins.
fn workers(config: &mut SlotManagerConfig) -> Result<&mut WorkerPolicy, String> {
    config
        .workers
        .as_mut()
        .ok_or("a description must come first".to_owned())
}

fn read_description(text: &str) -> Result<WorkerDescription, String> {
    let (slots, shape) = text.split_once(':').ok_or(format!("{text:?} is no slots:profile"))?;
    let worker = match shape.strip_prefix("total:") {
        Some(total) => WorkerDescription::dynamic(&total.parse::<Shape>()?.profile(), read(slots)?),
        None => WorkerDescription::new(read(slots)?, shape.parse::<Shape>()?.profile()),
    };
    worker.map_err(|error| error.to_string())
}
