//! Jobs that declare the slots that they need in all.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use slot_manager::view::{JobRequirements, RequirementCounts};
use slot_manager::{
    JobId, ResourceManagerActions, ResourceProfile, ScheduledExecutor, SlotManager, TaskExecutorGateway,
};

use super::SharedWeb;
use super::cluster::Cluster;
use super::error::ApiError;

/// The most jobs of an answer.
const LIMIT: usize = 100;

/// The declared slots of a job, or of one of its profiles.
#[derive(Serialize)]
struct DeclaredSlots {
    declared: usize,
    /// The declared slots that the job holds.
    held: usize,
    /// The declared slots that the job does not hold.
    missing: usize,
    /// The missing slots that were requested from task executors.
    in_flight: usize,
}

impl From<RequirementCounts> for DeclaredSlots {
    fn from(counts: RequirementCounts) -> Self {
        Self {
            declared: counts.declared,
            held: counts.charged,
            missing: counts.declared.saturating_sub(counts.charged),
            in_flight: counts.in_flight,
        }
    }
}

/// The declared slots of one profile.
#[derive(Serialize)]
struct ProfileView {
    resource_profile: ResourceProfile,
    #[serde(flatten)]
    slots: DeclaredSlots,
}

/// A job that declares its slots.
#[derive(Serialize)]
struct JobView {
    job_id: JobId,
    /// The address of the job master.
    target_address: Arc<str>,
    revision: Option<u64>,
    #[serde(flatten)]
    slots: DeclaredSlots,
    /// The slots that the job holds beyond its requirements.
    excess: usize,
    profiles: Vec<ProfileView>,
}

impl From<JobRequirements> for JobView {
    fn from(job: JobRequirements) -> Self {
        let profiles = job.profiles.into_iter().map(|profile| ProfileView {
            resource_profile: profile.resource_profile,
            slots: profile.counts.into(),
        });
        Self {
            job_id: job.job_id,
            target_address: job.target_address,
            revision: job.revision,
            slots: job.in_all.into(),
            excess: job.excess,
            profiles: profiles.collect(),
        }
    }
}

/// The jobs that declare their slots.
#[derive(Serialize)]
pub struct Jobs {
    items: Vec<JobView>,
    /// `true` if there are more.
    is_cut: bool,
}

/// `GET /api/jobs`: the jobs that declare their slots, and how far each has them.
pub async fn list<C: Cluster>(State(web): SharedWeb<C>) -> Result<Json<Jobs>, ApiError> {
    web.cluster.ask(|manager| declaring(manager)).await.map(Json)
}

fn declaring<A, G, E>(manager: &SlotManager<A, G, E>) -> Jobs
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    let mut jobs = manager.declared_requirements();
    Jobs {
        items: jobs.by_ref().take(LIMIT).map(JobView::from).collect(),
        is_cut: jobs.next().is_some(),
    }
}
