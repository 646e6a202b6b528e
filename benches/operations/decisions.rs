//! The cost of decisions of operators and task executors: each line is flat.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use criterion::Criterion;
use slot_manager::message::{Acknowledge, AllocateSlot, FreeSlot, NoFuture, ReleaseCheck, ReleaseDecision, SlotAnswer};
use slot_manager::outcome::{BlockOutcome, ReleaseAnswerOutcome, UnblockOutcome};
use slot_manager::{ResourceId, SlotManagerConfig, TaskExecutorGateway};

use crate::cluster::{configured, taken_over};
use crate::measure::{Round, bench, group, group_per};
use crate::messages::{SLOTS_PER_TASK_MANAGER, slot_id, usual_profile};
use crate::sizes;
use crate::timing::timed;

pub(crate) fn groups(criterion: &mut Criterion) {
    block_and_unblock(criterion);
    release_check_answered_later(criterion);
}

/// Half of the slots are allocated. Each worker is blocked and unblocked. The time is that of both,
/// for one task manager of ten slots.
fn block_and_unblock(criterion: &mut Criterion) {
    let mut group = group_per(
        criterion,
        "block and unblock task manager of 10 slots",
        SLOTS_PER_TASK_MANAGER as u64,
    );
    for slots in sizes() {
        let set_up = || {
            let workers: Vec<ResourceId> = (0..slots)
                .step_by(SLOTS_PER_TASK_MANAGER)
                .map(|slot| slot_id(slot).resource_id().clone())
                .collect();
            (taken_over(slots, |slot| slot % 2 == 1), workers)
        };
        bench(&mut group, format!("{slots} slots"), set_up, |(manager, workers)| {
            let (time, changed) = timed(|| {
                workers
                    .iter()
                    .filter(|worker| {
                        manager.block(worker) == BlockOutcome::Blocked
                            && manager.unblock(worker) == UnblockOutcome::Unblocked
                    })
                    .count()
            });
            assert_eq!(changed, workers.len());
            assert_eq!(manager.overview().slots.free.slots, slots / 2);
            let mut round = Round::default();
            round.add(changed, time);
            round
        });
    }
    group.finish();
}

/// All task managers are idle, and the timeout of all is due. Each task executor postpones its
/// decision. After all release checks they decide in the same order: to keep, or to release, which
/// the resource manager declines. The time is that of one check and its answer.
fn release_check_answered_later(criterion: &mut Criterion) {
    let mut group = group(criterion, "release check, answered later");
    for (name, answer) in [("keep", ReleaseDecision::Keep), ("release", ReleaseDecision::Release)] {
        for slots in sizes() {
            let set_up = || {
                let checks_made = ChecksMade::default();
                let gateway = || Undecided(checks_made.clone());
                let config = SlotManagerConfig::default();
                (configured(config, slots, |_| usual_profile(), gateway), checks_made)
            };
            bench(
                &mut group,
                format!("{name}, {slots} slots"),
                set_up,
                |((manager, counter), checks_made)| {
                    // More than the timeout: each reading moves the counter a little.
                    counter.advance(manager.config().task_manager_timeout + Duration::from_secs(1));
                    let mut context = Context::from_waker(Waker::noop());
                    let (time_of_checks, ()) = timed(|| while manager.poll_progress(&mut context).is_ready() {});
                    let checks = checks_made.take();
                    assert_eq!(checks.len(), slots / SLOTS_PER_TASK_MANAGER);
                    let (time_of_answers, stayed) = timed(|| {
                        checks
                            .iter()
                            .filter(|check| manager.answer_release(check, answer) == ReleaseAnswerOutcome::Stays)
                            .count()
                    });
                    assert_eq!(stayed, checks.len());
                    let mut round = Round::default();
                    round.add(stayed, time_of_checks + time_of_answers);
                    round
                },
            );
        }
    }
    group.finish();
}

/// The release checks made so far.
type ChecksMade = Rc<RefCell<Vec<ReleaseCheck>>>;

/// A task executor that acknowledges every request at once, and postpones every release check.
struct Undecided(ChecksMade);

impl TaskExecutorGateway for Undecided {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<NoFuture> {
        SlotAnswer::Ready(Ok(Acknowledge::new()))
    }

    fn can_be_released(&mut self, check: &ReleaseCheck) -> ReleaseDecision {
        self.0.borrow_mut().push(*check);
        ReleaseDecision::Later
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}
