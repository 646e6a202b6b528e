//! The calls of the slot manager to the resource manager: orders to the provisioner, and
//! notifications to job masters.
//!
//! The actions also keep the sessions of job masters, since notifications need them. `Actions`
//! outlives a leadership; its sessions do not.

use std::collections::{BTreeSet, HashMap};

use slot_manager::config::WorkerDescription;
use slot_manager::error::ResourceManagerError;
use slot_manager::message::{
    AllocationFailureCause, Release, ReleaseResource, ResourceShortage, WithdrawResource, Withdrawal, WorkerPromise,
};
use slot_manager::{AllocationId, JobId, ResourceId, ResourceManagerActions, ResourceProfile, SlotId, WorkerRequestId};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::dismissed::Dismissed;
use super::messages::{grant_lost, granted, request_failed, slots_missing};
use super::outbox::Outbox;
use crate::event_log::{Event, EventLog};
use crate::protocol::v1;
use crate::provisioner::Order;
use crate::web::{EventKind, Events};

/// The session of a job master.
pub struct JobMasterSession {
    /// The number that tells it from later sessions of the job.
    pub session: u64,
    pub outbox: Outbox<v1::ToJobMaster>,
    /// Grants that the job believes to have. They are checked when the recovery is over.
    pub unchecked_grants: BTreeSet<AllocationId>,
}

/// The resource manager, as the slot manager sees it.
pub struct Actions {
    pub job_masters: HashMap<JobId, JobMasterSession>,
    pub dismissed: Dismissed,
    /// The workers that stop once they are idle, until an operator unblocks them.
    pub drained: BTreeSet<ResourceId>,
    /// `None` if no provisioner starts workers.
    orders: Option<mpsc::Sender<Order>>,
    /// The workers to start; `None` without a worker policy.
    worker: Option<WorkerDescription>,
    /// Job masters log their grants themselves: only those that they heard of count.
    events: EventLog,
    /// The last events on the dashboard.
    pub shown: Events,
}

impl Actions {
    pub fn new(
        orders: Option<mpsc::Sender<Order>>,
        worker: Option<WorkerDescription>,
        events: EventLog,
        shown: Events,
    ) -> Self {
        Self {
            job_masters: HashMap::new(),
            dismissed: Dismissed::default(),
            drained: BTreeSet::new(),
            orders,
            worker,
            events,
            shown,
        }
    }

    /// Gives an order to the provisioner. Returns `false` if none takes it.
    pub fn order(&self, order: Order) -> bool {
        let Some(orders) = &self.orders else {
            return false;
        };
        match orders.try_send(order) {
            Ok(()) => true,
            Err(error) => {
                warn!(%error, "the provisioner does not take an order");
                false
            }
        }
    }

    /// Sees to it that a worker ends which is told to stop, and that it does not register again.
    pub fn dismiss(&mut self, resource_id: &ResourceId) {
        self.order(Order::Stop(resource_id.clone()));
        self.dismissed.release(resource_id.clone());
    }

    /// Notes that a worker is released, and sees to it that it ends.
    pub fn release(&mut self, resource_id: &ResourceId, cause: &str) {
        info!(%resource_id, cause, "worker released");
        let text = format!("{resource_id} is released: {cause}");
        self.shown.push(EventKind::Worker, text);
        self.dismiss(resource_id);
        self.events.log(&Event::WorkerReleased {
            worker: resource_id.to_string(),
        });
    }

    /// Sends a message to the job master of a job. Without a session it is dropped: a job master
    /// that registers again repeats its requests and names its grants.
    pub fn tell(&self, job_id: JobId, message: v1::ToJobMaster) {
        let is_sent = self
            .job_masters
            .get(&job_id)
            .is_some_and(|job_master| job_master.outbox.send(message));
        if !is_sent {
            debug!(%job_id, "no session of the job master for a message");
        }
    }

    /// Tells a job master that a request has failed.
    pub fn tell_failed(&self, job_id: JobId, allocation_id: AllocationId, cause: &str) {
        self.tell(job_id, request_failed(allocation_id, cause));
        let text = format!("request {allocation_id} of job {job_id} failed: {cause}");
        self.shown.warn(EventKind::Request, text);
    }

    /// Tells a job master that a grant is lost.
    pub fn tell_lost(&self, job_id: JobId, allocation_id: AllocationId, cause: &str) {
        self.tell(job_id, grant_lost(allocation_id, cause));
        let text = format!("grant {allocation_id} of job {job_id} is lost: {cause}");
        self.shown.warn(EventKind::Job, text);
    }
}

impl ResourceManagerActions for Actions {
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        _: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        let Some(worker) = self.worker.clone() else {
            return Ok(WorkerPromise::Declined);
        };
        if !self.order(Order::Start { worker_request, worker }) {
            return Ok(WorkerPromise::Declined);
        }
        info!(%worker_request, "worker requested");
        let text = format!("worker {worker_request} is requested");
        self.shown.push(EventKind::Worker, text);
        self.events.log(&Event::WorkerRequested {
            worker_request: worker_request.to_string(),
        });
        Ok(WorkerPromise::Unspecified)
    }

    /// The gateway tells the task executor. The provisioner ends a worker that does not stop.
    fn release_resource(&mut self, release: &ReleaseResource) -> Release {
        self.release(&release.resource_id, &release.cause.to_string());
        Release::Accepted
    }

    /// The provisioner reports the end of a withdrawn worker as a failure of its worker request.
    fn withdraw_resource(&mut self, withdraw: &WithdrawResource) -> Withdrawal {
        info!(worker_request = %withdraw.worker_request, cause = %withdraw.cause, "worker request withdrawn");
        self.order(Order::Withdraw(withdraw.worker_request));
        self.dismissed.withdraw(withdraw.worker_request);
        Withdrawal::TooLate
    }

    fn notify_allocation_failure(
        &mut self,
        job_id: JobId,
        allocation_id: AllocationId,
        cause: &AllocationFailureCause,
    ) {
        match cause {
            AllocationFailureCause::RequestFailed(failure) => {
                self.tell_failed(job_id, allocation_id, &failure.to_string());
            }
            AllocationFailureCause::GrantLost { .. } => {
                if let Some(job_master) = self.job_masters.get_mut(&job_id) {
                    job_master.unchecked_grants.remove(&allocation_id);
                }
                self.tell_lost(job_id, allocation_id, &cause.to_string());
            }
        }
    }

    fn notify_slot_allocated(&mut self, job_id: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        self.tell(job_id, granted(allocation_id, slot_id));
    }

    fn notify_not_enough_resources(&mut self, job_id: JobId, shortage: &ResourceShortage) {
        self.tell(job_id, slots_missing(shortage));
        let text = format!("job {job_id} lacks slots: {shortage}");
        self.shown.warn(EventKind::Job, text);
    }
}
