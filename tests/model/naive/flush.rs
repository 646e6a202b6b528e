//! The flush: sends effects to the outside, in their order.

use slot_manager::message::{AllocateSlot, WithdrawResource};
use slot_manager::testing::{Effect, GatewayCall};

use super::{Expected, NaiveSlotManager, Request, Stage};
use crate::command::Answer;

/// More effects than any call has, unless it never ends.
const MOST_EFFECTS: usize = 20_000;

impl NaiveSlotManager {
    /// Sends notifications by slot, frees, slot requests by the age of the request, worker requests
    /// and releases. It commits, and repeats this while there are more effects.
    pub(super) fn flush(&mut self) {
        self.commit();
        while self.has_unflushed_effects() {
            assert!(self.effects.len() < MOST_EFFECTS, "the call does not end");
            self.apply_answers();
            self.notify();
            self.send_shortages();
            self.send_frees();
            let inactive_frees = std::mem::take(&mut self.outbox.inactive_frees);
            self.effects.extend(inactive_frees.into_iter().map(Effect::Gateway));
            self.send_slot_requests();
            self.withdraw_ended_workers();
            self.request_workers();
            self.release_idle_task_managers();
            self.commit();
        }
    }

    fn has_unflushed_effects(&self) -> bool {
        let outbox = &self.outbox;
        !(outbox.notifications.is_empty()
            && outbox.shortages.is_empty()
            && outbox.frees.is_empty()
            && outbox.inactive_frees.is_empty()
            && outbox.slot_requests.is_empty()
            && outbox.withdrawals.is_empty()
            && outbox.worker_requests.is_empty()
            && outbox.releases.is_empty()
            && outbox.answers.is_empty())
    }

    fn notify(&mut self) {
        let mut notifications = std::mem::take(&mut self.outbox.notifications);
        // Notifications without a slot come last. Those of one slot keep their order.
        notifications.sort_by(|(a, _), (b, _)| (a.is_none(), a).cmp(&(b.is_none(), b)));
        self.effects
            .extend(notifications.into_iter().map(|(_, action)| Effect::Action(action)));
    }

    fn send_frees(&mut self) {
        for free in std::mem::take(&mut self.outbox.frees) {
            if self.task_manager(free.instance_id).is_some() {
                self.effects.push(GatewayCall::FreeSlot(free).into());
            }
        }
    }

    /// Asks to withdraw workers whose promises have ended. They end whatever the answer is.
    fn withdraw_ended_workers(&mut self) {
        for WithdrawResource { worker_request, cause } in std::mem::take(&mut self.outbox.withdrawals) {
            let _: bool = self.withdraw_resource(worker_request, cause);
        }
    }

    fn send_slot_requests(&mut self) {
        let mut slot_requests = std::mem::take(&mut self.outbox.slot_requests);
        slot_requests.sort_unstable();
        for (_, number) in slot_requests {
            let current = |it: &&Request| matches!(it.stage, Stage::InFlight { attempt, .. } if attempt == number);
            if let Some(request) = self.requests.iter().find(current).cloned() {
                self.send_slot_request(request, number);
            }
        }
    }

    fn send_slot_request(&mut self, request: Request, attempt: u64) {
        let Stage::InFlight { slot, .. } = request.stage else {
            return;
        };
        let mut owners = self.task_managers.iter_mut();
        let owner = owners
            .find(|it| it.resource_id == *slot.resource_id())
            .expect("a registered slot");
        let answer = owner.answers.take();
        let call = AllocateSlot {
            slot_id: slot.clone(),
            job_id: request.job_id,
            allocation_id: request.allocation_id,
            resource_profile: request.profile,
            target_address: format!("job-master-{}", request.job_id.as_u128()).into(),
            leader_id: self.leader.expect("started"),
            instance_id: owner.instance_id,
            attempt,
        };
        self.effects.push(GatewayCall::RequestSlot(call).into());
        let expected = match answer.result() {
            Some(_) => {
                self.outbox.answers.push((attempt, answer));
                Expected::Arrived
            }
            None => {
                let timer = self.timer(self.config.rpc_timeout);
                match answer {
                    Answer::AsInput => Expected::AwaitedAsInput(timer),
                    _ => Expected::Awaited(timer, None),
                }
            }
        };
        self.request_mut(request.allocation_id).stage = Stage::InFlight {
            slot,
            attempt,
            answer: expected,
        };
    }
}
