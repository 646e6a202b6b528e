//! Jobs: when they request slots, and whether any worker accepts them.

use std::time::Duration;

use slot_manager::{ResourceProfile, Timestamp};

use super::scenario::Order;

/// Slot requests of one job, made at one time or at a steady pace.
#[derive(Debug, Clone)]
pub(crate) struct JobSpec {
    pub(crate) job: u64,
    /// Every worker refuses the job's requests.
    pub(crate) is_poisoned: bool,
    pub(crate) profile: ResourceProfile,
    /// The time of the first request.
    pub(crate) first: Duration,
    /// The time between two bursts.
    pub(crate) every: Duration,
    pub(crate) bursts: u32,
    /// The number of requests at one time.
    pub(crate) requests: u32,
    /// The time for which a grant is held.
    pub(crate) hold: Duration,
}

impl JobSpec {
    /// Returns a job that requests these slots once, at the beginning, and holds them.
    pub(crate) fn once(job: u64, requests: u32, profile: &ResourceProfile) -> Self {
        Self {
            job,
            is_poisoned: false,
            profile: profile.clone(),
            first: Duration::ZERO,
            every: Duration::from_secs(1),
            bursts: 1,
            requests,
            hold: Duration::MAX,
        }
    }

    /// Returns the orders of the job.
    pub(crate) fn orders(&self) -> impl Iterator<Item = (Timestamp, Order)> {
        let spec = self.clone();
        (0..self.bursts).map(move |burst| {
            let order = Order::Requests {
                job: spec.job,
                is_poisoned: spec.is_poisoned,
                profile: spec.profile.clone(),
                requests: spec.requests,
                hold: spec.hold,
            };
            (Timestamp::ZERO + spec.first + spec.every * burst, order)
        })
    }
}
