//! The release checks: which are open, and when each idle timeout last restarted.

use std::collections::{BTreeMap, BTreeSet};

use slot_manager::message::{ReleaseCheck, ReleaseDecision};
use slot_manager::testing::{Action, Effect, GatewayCall};
use slot_manager::{InstanceId, LeaderId, Timestamp};

use crate::cluster::call_log::{Call, CallAnswer};
use crate::cluster::capacity_rules;
use crate::cluster::checks::call_context::CallContext;
use crate::cluster::run::Check;
use crate::cluster::simulation::Manager;

#[derive(Debug, Default)]
pub(crate) struct ReleaseChecks {
    open: BTreeMap<InstanceId, Open>,
    /// The last restart of the idle timeout of a task manager that was idle before.
    restarted: BTreeMap<InstanceId, Timestamp>,
    last_number: u64,
    /// The release checks that expired in the last call, unless the next one was due before.
    expired: BTreeSet<InstanceId>,
}

#[derive(Debug)]
struct Open {
    question: ReleaseCheck,
    until: Timestamp,
    /// The time of the next release check, unless the idle timeout restarts.
    next_at: Timestamp,
    /// The idle period of the release check.
    idle_since: Option<Timestamp>,
}

impl ReleaseChecks {
    /// Clears everything at the end of a leadership. Numbers continue, unless the manager is fresh.
    pub(crate) fn clear(&mut self, is_fresh: bool) {
        let last_number = if is_fresh { 0 } else { self.last_number };
        *self = Self {
            last_number,
            ..Self::default()
        };
    }

    pub(crate) fn is_open(&self, question: &ReleaseCheck) -> bool {
        let open = self.open.get(&question.instance_id);
        open.is_some_and(|open| open.question == *question)
    }

    /// Closes an answered release check.
    pub(crate) fn close(&mut self, instance_id: InstanceId, answer: ReleaseDecision, now: Timestamp) {
        self.open.remove(&instance_id);
        if answer == ReleaseDecision::Keep {
            self.restarted.insert(instance_id, now);
        }
    }

    /// Returns the start of the idle timeout of a task manager that is idle since `idle_since`.
    pub(crate) fn timer_began(&self, instance_id: InstanceId, idle_since: Timestamp) -> Timestamp {
        let restarted = self.restarted.get(&instance_id).copied();
        restarted.unwrap_or_default().max(idle_since)
    }

    /// Returns the times at which open release checks expire.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Timestamp> {
        self.open.values().map(|open| open.until)
    }

    /// Returns all open release checks.
    pub(crate) fn open(&self) -> Vec<ReleaseCheck> {
        self.open.values().map(|open| open.question).collect()
    }

    /// Compares with the release checks of a call.
    pub(crate) fn compare(&mut self, manager: &Manager, calls: &[Call], context: &CallContext<'_>) -> Check {
        let now = context.now;
        self.expired.clear();
        if context.is_driven {
            self.expire(now);
        }
        let config = manager.config();
        let until = now + context.at_least(config.rpc_timeout);
        for call in calls {
            match &call.effect {
                Effect::Gateway(GatewayCall::CanBeReleased(question)) => {
                    self.ask(question, context.leader_id, capacity_rules::keeps_reserves(config))?;
                    self.restarted.insert(question.instance_id, now);
                    if call.answer == CallAnswer::ReleaseCheck(ReleaseDecision::Later) {
                        let open = Open {
                            question: *question,
                            until,
                            next_at: now + context.at_least(config.task_manager_timeout),
                            idle_since: manager
                                .task_manager(question.instance_id)
                                .and_then(|it| it.idle_since()),
                        };
                        self.open.insert(question.instance_id, open);
                    }
                }
                Effect::Gateway(GatewayCall::RequestSlot(request)) => {
                    self.open.remove(&request.instance_id);
                }
                Effect::Action(Action::ReleaseResource(asked)) if self.open.contains_key(&asked.instance_id) => {
                    return Err(format!("{asked:?}, and its answer is awaited"));
                }
                _ => {}
            }
        }
        let idle_since = |instance_id: &InstanceId| manager.task_manager(*instance_id).and_then(|it| it.idle_since());
        self.open
            .retain(|id, open| open.idle_since.is_some() && idle_since(id) == open.idle_since);
        self.restarted.retain(|id, _| idle_since(id).is_some());
        Ok(())
    }

    /// Opens a release check. A task manager that is kept may be checked at any time.
    fn ask(&mut self, question: &ReleaseCheck, leader_id: LeaderId, keeps: bool) -> Check {
        if question.number <= self.last_number || question.leader_id != leader_id {
            return Err(format!("{question:?} is asked, the last was {}", self.last_number));
        }
        self.last_number = question.number;
        if self.expired.contains(&question.instance_id) && !keeps {
            return Err(format!("{question:?} is asked when the one before has just expired"));
        }
        match self.open.get(&question.instance_id) {
            Some(open) => Err(format!("{question:?} is asked, and open is {open:?}")),
            None => Ok(()),
        }
    }

    /// Closes expired release checks, which count as refused.
    fn expire(&mut self, now: Timestamp) {
        for (instance_id, open) in &self.open {
            if open.until <= now {
                self.restarted.insert(*instance_id, now);
                if open.next_at >= open.until {
                    self.expired.insert(*instance_id);
                }
            }
        }
        self.open.retain(|_, open| open.until > now);
    }
}
