//! The short way of a request that finds a free slot at once.

use crate::{
    AllocationStatus, LeaderId, ResourceManagerActions, ScheduledExecutor, SlotManager, SlotRequest, SlotRequestError,
    SlotRequestOutcome, TaskExecutorGateway,
};

use crate::slot_manager::collections::fingerprint_table::Fingerprint;
use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Registering;
use crate::slot_manager::state::requests::RequestKey;
use crate::slot_manager::state::slots::SlotKey;

impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Attempts to give an offered slot to a request that is being registered. Only one that is not granted by that
    /// becomes a pending one: most are.
    pub(crate) fn attempt_at_once(
        &mut self,
        leader_id: LeaderId,
        slot: SlotKey,
        fingerprint: Fingerprint,
        request: SlotRequest,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        let attempt = self.core.next_attempt();
        let request = self.core.request_slot(leader_id, slot, attempt, request);
        match self.driver.call_gateway(&self.core, slot, &request) {
            Some(Ok(Ok(acknowledge))) if !self.core.is_overtaken(slot, acknowledge.revision()) => {
                self.core
                    .grant_at_once(slot, fingerprint, &request, acknowledge.revision());
                self.driver.notify_slot_allocated(&request);
                if self.core.worker_policy.is_active() {
                    self.reconcile();
                }
                self.driver.wake_after_input(&self.core, false);
                let slot_id = request.slot_id;
                Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id }))
            }
            answer => {
                let request = SlotRequest::new(
                    request.job_id,
                    request.allocation_id,
                    request.resource_profile,
                    request.target_address,
                );
                let key = self.core.insert_request(fingerprint, request);
                self.core.begin_attempt(slot, key, attempt);
                let has_pending_rpc =
                    answer.is_some_and(|answer| self.driver.take_answer(&mut self.core, slot, attempt, answer));
                self.finish_registration(key, has_pending_rpc)
            }
        }
    }

    /// Says what the registration of a request caused, and then, what became of the request.
    pub(crate) fn finish_registration(
        &mut self,
        request: RequestKey,
        has_pending_rpc: bool,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        let allocation_id = self.core.requests.records[request].allocation_id;
        self.core.registering = Some(Registering {
            allocation_id,
            result: None,
        });
        self.core.commit();
        let has_pending_rpc = self.driver.flush_and_reconcile(&mut self.core) || has_pending_rpc;
        self.driver.wake_after_input(&self.core, has_pending_rpc);
        match self.core.registering.take().and_then(|registering| registering.result) {
            Some(Ok(slot_id)) => Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id })),
            Some(Err(failure)) => Err(SlotRequestError::Failed { allocation_id, failure }),
            None => {
                self.core.requests.link_job(request);
                let status = self.core.status_of(AllocationEntry::Pending(request));
                Ok(SlotRequestOutcome::Accepted(status))
            }
        }
    }

    /// Looks at what there is too much and too little of when a request was granted at once.
    #[inline(never)]
    fn reconcile(&mut self) {
        if self.driver.reconcile(&mut self.core) {
            self.driver.wake_after_input(&self.core, true);
        }
    }
}
