//! The records of task managers, slots, requests and jobs.

use std::ops::Range;
use std::sync::Arc;

use slot_manager::message::Allocation;
use slot_manager::{AllocationId, InstanceId, JobId, SlotId, Timestamp};

use super::fifo::{Fifo, Links};

pub(crate) struct TaskManager<G> {
    pub(crate) instance_id: InstanceId,
    /// Its first slot, with the resource id.
    pub(crate) first_slot_id: SlotId,
    pub(crate) gateway: G,
    /// Its slots, in the order of their numbers.
    pub(crate) slots: Range<u32>,
    /// The number of slots in flight and allocated.
    pub(crate) used: u32,
    pub(crate) idle_since: Option<Timestamp>,
    pub(crate) release_at: Timestamp,
    /// The place among the idle ones, while it is idle.
    pub(crate) links: Links,
}

#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    pub(crate) task_manager: u32,
    pub(crate) profile: u32,
    pub(crate) phase: Phase,
    /// The place among the free slots of its profile, while it is free.
    pub(crate) links: Links,
}

#[derive(Clone, Copy)]
pub(crate) enum Phase {
    Free {
        /// A number that grows with each slot that becomes free.
        sequence: u64,
    },
    InFlight(Attempt),
    Held(Allocation),
    Removed,
}

#[derive(Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    pub(crate) request: u32,
    /// The place of its future.
    #[expect(
        dead_code,
        reason = "for attempts that are given up, which the four rows do not reach"
    )]
    pub(crate) place: u32,
}

pub(crate) struct Request {
    pub(crate) allocation: Allocation,
    /// `None` once the request is over.
    pub(crate) target_address: Option<Arc<str>>,
    /// Its age among the requests of all profiles.
    #[expect(
        dead_code,
        reason = "for slots that fit several profiles, which the four rows do not reach"
    )]
    pub(crate) sequence: u64,
    pub(crate) deadline: Timestamp,
    /// The end of the RPC timeout, while it is in flight.
    pub(crate) rpc_timeout: Timestamp,
    pub(crate) profile: u32,
    pub(crate) job: u32,
    /// The slot that it is in flight to, or none.
    pub(crate) slot: u32,
    /// The place in the order of deadlines.
    pub(crate) by_deadline: Links,
    /// The place in the queue of its profile while it waits, or in the order of RPC timeouts.
    pub(crate) by_phase: Links,
    /// The place among the requests of its job.
    pub(crate) of_job: Links,
}

pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) requests: Fifo,
}

/// The record that an allocation id leads to.
#[derive(Clone, Copy)]
pub(crate) enum Holder {
    Request(u32),
    Slot(u32),
}

/// A request in parts, which the manager takes out of the message without a copy.
#[derive(Clone)]
pub(crate) struct RequestParts {
    pub(crate) job_id: JobId,
    pub(crate) allocation_id: AllocationId,
    pub(crate) resource_profile: slot_manager::ResourceProfile,
    pub(crate) target_address: Arc<str>,
}
