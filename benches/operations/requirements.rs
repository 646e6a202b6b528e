//! The cost of a grant while jobs declare the slots that they need in all, beside that of single
//! requests without a declaration. Each line is flat in the number of slots. The ways take turns at
//! each size, so that neighbours are comparable.

use std::time::Duration;

use criterion::Criterion;
use slot_manager::outcome::RequirementsOutcome;
use slot_manager::{JobId, ResourceRequirements, SlotManagerConfig, TaskExecutorGateway};

use crate::cluster::{BusyCluster, Grant, configured, free_all, messages_of, with_free_slots};
use crate::inputs::Inputs;
use crate::measure::{BATCH, Round, bench, group};
use crate::messages::{JOB, SLOTS_PER_TASK_MANAGER, slot_index, usual_profile};
use crate::outside::{Counter, Manager, Prompt, Recorder};
use crate::sizes;
use crate::timing::timed;

/// A job that declares, while another one requests single slots.
const OTHER_JOB: JobId = JobId::from_u128(0x07e2);

/// The manager requests at most 1,024 slots of a declaration at a time, a millisecond apart.
const REQUEST_INTERVAL: Duration = Duration::from_millis(1);

/// Half of the slots are used. Some slots are requested, and freed in the order of their grants. The
/// time is that of one slot.
pub(crate) fn groups(criterion: &mut Criterion) {
    let mut group = group(criterion, "request served, then freed, by declaration");
    for slots in sizes() {
        bench(
            &mut group,
            format!("{slots} slots, no job declares"),
            || BusyCluster::half_used(with_free_slots(slots, |_| usual_profile(), || Prompt)),
            BusyCluster::serve_then_free,
        );
        bench(
            &mut group,
            format!("{slots} slots, another job declares"),
            || BusyCluster::half_used(beside_declaration(slots)),
            BusyCluster::serve_then_free,
        );
        bench(
            &mut group,
            format!("{slots} slots, declared one by one"),
            || DeclaringJob::with_half_of(slots),
            DeclaringJob::declare_one_by_one,
        );
        bench(
            &mut group,
            format!("{slots} slots, declared at once"),
            || DeclaringJob::with_half_of(slots),
            DeclaringJob::declare_at_once,
        );
    }
    group.finish();
}

/// Returns a manager with free slots. Another job has declared the slots of one task manager, and
/// holds them.
fn beside_declaration(slots: usize) -> Manager<Prompt> {
    let (mut manager, counter) = configured(SlotManagerConfig::default(), slots, |_| usual_profile(), || Prompt);
    declare_until_held(&mut manager, &counter, OTHER_JOB, SLOTS_PER_TASK_MANAGER);
    manager
}

/// Declares slots, and drives the manager until all are granted.
fn declare_until_held<G: TaskExecutorGateway>(
    manager: &mut Manager<G>,
    counter: &Counter,
    job_id: JobId,
    slots: usize,
) {
    assert!(declare(manager, &requirements(job_id, slots)));
    while manager.run_until_stalled() > 0 {
        counter.advance(REQUEST_INTERVAL);
    }
    assert_eq!(manager.num_granted(), slots);
}

/// Declares slots. Returns `true` if the requirements of the job are others than before.
fn declare<G: TaskExecutorGateway>(manager: &mut Manager<G>, requirements: &ResourceRequirements) -> bool {
    let outcome = manager.declare_requirements(requirements);
    matches!(outcome, Ok(RequirementsOutcome::Declared { .. }))
}

/// Returns the declaration of a job that needs this number of slots of the usual profile.
fn requirements(job_id: JobId, slots: usize) -> ResourceRequirements {
    ResourceRequirements::new(job_id, "job-master.cluster.example:6123")
        .require(usual_profile(), slots as u32)
        .expect("few slots")
}

/// A job that holds half of the slots and declares them.
struct DeclaringJob {
    manager: Manager<Recorder>,
    gateway: Recorder,
    held: usize,
}

impl DeclaringJob {
    fn with_half_of(slots: usize) -> Self {
        let (gateway, held) = (Recorder::default(), slots / 2);
        let recording = || gateway.clone();
        let (mut manager, counter) = configured(SlotManagerConfig::default(), slots, |_| usual_profile(), recording);
        declare_until_held(&mut manager, &counter, JOB, held);
        gateway.requested.borrow_mut().clear();
        Self { manager, gateway, held }
    }

    /// Declares one slot more, several times. Then frees these slots, each after a declaration of one
    /// slot less.
    fn declare_one_by_one(&mut self) -> Round {
        let count = self.count();
        let declarations = (0..=count).map(|more| requirements(JOB, self.held + more));
        let declarations: Vec<_> = declarations.collect();
        let manager = &mut self.manager;
        let (time_of_more, declared) = timed(|| {
            let more = declarations[1..].iter();
            more.filter(|requirements| declare(manager, requirements)).count()
        });
        assert_eq!(declared, count);
        let messages = messages_of(&self.take_grants());
        let manager = &mut self.manager;
        let (time_of_less, freed) = timed(|| {
            let less = declarations[..count].iter().rev().zip(&messages);
            less.filter(|(requirements, message)| declare(manager, requirements) && manager.free(message))
                .count()
        });
        assert_eq!(freed, count);
        let mut round = Round::default();
        round.add(count, time_of_more + time_of_less);
        round
    }

    /// Declares several slots more at once. Then declares these less at once, and frees them.
    fn declare_at_once(&mut self) -> Round {
        let count = self.count();
        let (more, less) = (requirements(JOB, self.held + count), requirements(JOB, self.held));
        let (time_of_more, is_declared) = timed(|| declare(&mut self.manager, &more));
        assert!(is_declared);
        let grants = self.take_grants();
        let (time_of_less, is_declared) = timed(|| declare(&mut self.manager, &less));
        assert!(is_declared);
        let mut round = free_all(&mut self.manager, &grants);
        round.add(0, time_of_more + time_of_less);
        round
    }

    /// Returns the number of slots of a round: at most half of the free ones.
    fn count(&self) -> usize {
        assert_eq!(self.manager.num_granted(), self.held);
        BATCH.min(self.manager.num_free() / 2)
    }

    /// Returns the grants since the last call.
    fn take_grants(&self) -> Vec<Grant> {
        let mut requested = self.gateway.requested.borrow_mut();
        requested
            .drain(..)
            .map(|(slot_id, allocation_id)| (slot_index(&slot_id), allocation_id))
            .collect()
    }
}
