//! The parties around the manager: task executors, job masters, the resource manager, operators and
//! leader election.

pub(crate) mod declaring_jobs;
pub(crate) mod immediate_answers;
pub(crate) mod job_masters;
pub(crate) mod leader_election;
pub(crate) mod operators;
pub(crate) mod releases;
pub(crate) mod resource_manager;
pub(crate) mod task_executors;
