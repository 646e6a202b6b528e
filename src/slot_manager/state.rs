//! The data of the manager. Nothing here decides a rule or calls a trait.

pub(crate) mod allocations;
pub(crate) mod blocked;
pub(crate) mod core;
pub(crate) mod dynamic_workers;
pub(crate) mod effects;
pub(crate) mod failing_jobs;
pub(crate) mod failing_workers;
pub(crate) mod free_slots;
pub(crate) mod notifications;
pub(crate) mod profile_queues;
pub(crate) mod promises;
pub(crate) mod recent_frees;
pub(crate) mod refused_jobs;
pub(crate) mod releases;
pub(crate) mod request_failures;
pub(crate) mod requests;
pub(crate) mod requirements;
pub(crate) mod slot_list;
pub(crate) mod slot_totals;
pub(crate) mod slots;
pub(crate) mod start_backoff;
pub(crate) mod superseded;
pub(crate) mod task_managers;
pub(crate) mod transaction;
pub(crate) mod waiting_requests;
pub(crate) mod worker_policy;
