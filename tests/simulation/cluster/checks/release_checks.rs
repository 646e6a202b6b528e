//! The questions whether task managers can be stopped: which are open, and when each was last asked about.

use std::collections::{BTreeMap, BTreeSet};

use slot_manager::testing::{Action, Effect, GatewayCall};
use slot_manager::{InstanceId, LeaderId, ReleaseAnswer, ReleaseQuestion, Timestamp};

use crate::cluster::call_log::{Call, Said};
use crate::cluster::checks::call_context::Moment;
use crate::cluster::run::Check;
use crate::cluster::simulation::Manager;

#[derive(Debug, Default)]
pub(crate) struct Questions {
    open: BTreeMap<InstanceId, Open>,
    /// When the idle timeout of a task manager last began anew, though it was idle before.
    restarted: BTreeMap<InstanceId, Timestamp>,
    last_number: u64,
    /// Those that were not answered in time, in the last call, when the next question was not due before.
    expired: BTreeSet<InstanceId>,
}

#[derive(Debug)]
struct Open {
    question: ReleaseQuestion,
    until: Timestamp,
    /// When the next is due, unless the idle timeout begins anew.
    next_at: Timestamp,
    /// The idle period that it stands for.
    idle_since: Option<Timestamp>,
}

impl Questions {
    /// A leadership is over. Numbers go on, unless the manager is another one.
    pub(crate) fn clear(&mut self, is_fresh: bool) {
        let last_number = if is_fresh { 0 } else { self.last_number };
        *self = Self {
            last_number,
            ..Self::default()
        };
    }

    pub(crate) fn is_open(&self, question: &ReleaseQuestion) -> bool {
        let open = self.open.get(&question.instance_id);
        open.is_some_and(|open| open.question == *question)
    }

    /// An open question was answered.
    pub(crate) fn close(&mut self, instance_id: InstanceId, answer: ReleaseAnswer, now: Timestamp) {
        self.open.remove(&instance_id);
        if answer == ReleaseAnswer::No {
            self.restarted.insert(instance_id, now);
        }
    }

    /// Since when the idle timeout of a task manager runs that is idle since `idle_since`.
    pub(crate) fn timer_began(&self, instance_id: InstanceId, idle_since: Timestamp) -> Timestamp {
        let restarted = self.restarted.get(&instance_id).copied();
        restarted.unwrap_or_default().max(idle_since)
    }

    /// When open questions count as answered.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Timestamp> {
        self.open.values().map(|open| open.until)
    }

    /// All that are open.
    pub(crate) fn open(&self) -> Vec<ReleaseQuestion> {
        self.open.values().map(|open| open.question).collect()
    }

    /// Looks at what was asked in a call, in which time was handled or not.
    pub(crate) fn compare(&mut self, manager: &Manager, calls: &[Call], moment: &Moment<'_>) -> Check {
        let now = moment.now;
        self.expired.clear();
        if moment.is_driven {
            self.expire(now);
        }
        let config = manager.config();
        let until = now + moment.at_least(config.rpc_timeout);
        for call in calls {
            match &call.effect {
                Effect::Gateway(GatewayCall::AskRelease(question)) => {
                    self.ask(
                        question,
                        moment.leader_id,
                        config.min_slots > 0 || config.redundant_task_managers > 0,
                    )?;
                    self.restarted.insert(question.instance_id, now);
                    if call.said == Said::AboutRelease(ReleaseAnswer::Later) {
                        let open = Open {
                            question: *question,
                            until,
                            next_at: now + moment.at_least(config.task_manager_timeout),
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
                Effect::Action(Action::ReleaseResource { instance_id, .. }) if self.open.contains_key(instance_id) => {
                    return Err(format!("{instance_id} is released, and its answer is awaited"));
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

    /// One that is kept may be asked at any time.
    fn ask(&mut self, question: &ReleaseQuestion, leader_id: LeaderId, keeps: bool) -> Check {
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

    /// What was not answered in time counts as no.
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
