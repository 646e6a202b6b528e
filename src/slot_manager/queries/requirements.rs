//! Views of declared requirements.

use std::sync::Arc;

use crate::view::{JobRequirements, ProfileRequirement, RequirementCounts};
use crate::{JobId, ScheduledExecutor, SlotManager, TaskExecutorGateway};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::requests::RequestPhase;
use crate::slot_manager::state::requirements::{AccountKey, Requirement};

/// Requirements.
impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// Returns the declared requirements of a job, and how far they are met; `None` if the job
    /// declares nothing.
    ///
    /// Cost: O(pending requests of the job x its distinct profiles).
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager =
    /// #     SlotManager::<_, ScriptedGateway, _>::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// let job_id = JobId::from_u128(7);
    /// let requirements = ResourceRequirements::new(job_id, "job-master-7").require(ResourceProfile::ZERO, 3)?;
    /// let outcome = manager.declare_requirements(&requirements)?;
    ///
    /// let view = manager.requirements(job_id).ok_or("the job declares nothing")?;
    /// assert_eq!((view.in_all.declared, view.in_all.charged, view.in_all.waiting), (3, 0, 3));
    /// # assert!(matches!(outcome, RequirementsOutcome::Declared { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn requirements(&self, job_id: JobId) -> Option<JobRequirements> {
        self.core.requirements_of(self.core.ledger.find(job_id)?)
    }

    /// Returns the declared requirements of all jobs.
    ///
    /// The order is that of places in memory: it stays the same while a job declares.
    ///
    /// Cost: for each job as of [`requirements`](Self::requirements).
    pub fn declared_requirements(&self) -> impl Iterator<Item = JobRequirements> {
        let accounts = self.core.ledger.accounts.iter();
        accounts.filter_map(|(account, _)| self.core.requirements_of(account))
    }
}

impl Core {
    fn requirements_of(&self, account: AccountKey) -> Option<JobRequirements> {
        let record = &self.ledger.accounts[account];
        let target_address = Arc::clone(record.declared_by.as_ref()?);
        let mut in_all = RequirementCounts::default();
        let mut profiles = Vec::with_capacity(record.requirements.len());
        for requirement in &record.requirements {
            let counts = self.counts_of(record.job_id, requirement);
            in_all += counts;
            profiles.push(ProfileRequirement {
                resource_profile: self.profiles[requirement.profile].clone(),
                counts,
            });
        }
        Some(JobRequirements {
            job_id: record.job_id,
            target_address,
            revision: record.highest_revision,
            in_all,
            profiles,
            excess: record.num_excess,
        })
    }

    fn counts_of(&self, job_id: JobId, requirement: &Requirement) -> RequirementCounts {
        let in_flight = self.requests.newest_of_job(&job_id).filter(|request| {
            let record = &self.requests.records[*request];
            record.profile == requirement.profile && matches!(record.phase, RequestPhase::InFlight(_))
        });
        let in_flight = in_flight.count();
        let delayed = requirement.freed as usize;
        RequirementCounts {
            declared: requirement.declared as usize,
            charged: requirement.charged as usize,
            in_flight,
            waiting: (requirement.need() as usize).saturating_sub(in_flight + delayed),
            delayed,
        }
    }
}
