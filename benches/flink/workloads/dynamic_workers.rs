//! Jobs that declare slots of dynamic workers, which are half used or nearly full. Each job declares
//! slots of one shape. The manager is driven after each change.

use slot_manager::ResourceRequirements;
use slot_manager::message::SlotFreed;

use crate::catalogue::Prepared;
use crate::messages::{QUARTERS_PER_WORKER, dynamic_workers, quarters_of_shape, requirements_of_job};
use crate::outside::{Recorder, started};
use crate::workloads::declarations::{declare, give_back, messages_of};
use crate::workloads::join;

/// The slots that are given back one by one, before as many are declared again.
const BATCH: usize = 16;

/// The distance from one given back slot to the next, so that the gaps are spread over the workers.
const STRIDE: usize = 1_000_003;

pub(crate) fn one_shape_half_used(workers: usize, operations: usize) -> Prepared {
    less_then_more(workers, operations, 1, 50)
}

pub(crate) fn many_shapes_half_used(workers: usize, operations: usize) -> Prepared {
    less_then_more(workers, operations, 64, 50)
}

pub(crate) fn many_shapes_nearly_full(workers: usize, operations: usize) -> Prepared {
    less_then_more(workers, operations, 64, 95)
}

/// Jobs hold slots with a percentage of all cores. For each slot of a batch, a job declares one less
/// and frees it. Then they declare these again, one by one, and all are served.
fn less_then_more(workers: usize, operations: usize, jobs: usize, percent: usize) -> Prepared {
    let task_managers = dynamic_workers(workers);
    let held = slots_in_use(workers * QUARTERS_PER_WORKER * percent / 100, jobs);
    let declarations: Vec<_> = (0..jobs).map(|job| declarations(job, jobs, held)).collect();
    Box::new(move |clock| {
        let gateway = Recorder::default();
        let (mut manager, counter) = started();
        join(&mut manager, &task_managers, || gateway.clone());
        // Slot `n` is slot `n / jobs` of job `n % jobs`.
        let mut slots: Vec<_> = declarations
            .iter()
            .map(|with_missing| {
                declare(&mut manager, &counter, &with_missing[0]);
                messages_of(&gateway)
            })
            .collect();
        assert_eq!(manager.overview().slots.allocated.slots, held);
        for start in 0..operations / BATCH {
            let batch: Vec<_> = (0..BATCH).map(|n| (start * BATCH + n) * STRIDE % held).collect();
            let mut missing = vec![0; jobs];
            let (mut less, mut more) = (Vec::new(), Vec::new());
            for job in batch.iter().map(|slot| slot % jobs) {
                more.push(declarations[job][missing[job]].clone());
                missing[job] += 1;
                less.push(declarations[job][missing[job]].clone());
            }
            more.reverse();
            let messages: Vec<SlotFreed> = batch.iter().map(|n| slots[n % jobs][n / jobs].clone()).collect();
            let freed = clock.time("less", BATCH, || give_back(&mut manager, &counter, &less, &messages));
            assert_eq!((freed, manager.overview().slots.allocated.slots), (BATCH, held - BATCH));
            let requested = clock.time("more", BATCH, || {
                more.iter()
                    .map(|requirements| declare(&mut manager, &counter, requirements))
                    .sum::<usize>()
            });
            assert_eq!((requested, manager.overview().slots.allocated.slots), (BATCH, held));
            for (n, message) in batch.iter().rev().zip(messages_of(&gateway)) {
                slots[n % jobs][n / jobs] = message;
            }
        }
    })
}

/// Returns the number of slots that fit into a number of quarters of a core.
fn slots_in_use(quarters: usize, jobs: usize) -> usize {
    let used = (0..).scan(0, |used, n| {
        *used += quarters_of_shape(n % jobs, jobs);
        Some(*used)
    });
    used.take_while(|used| *used <= quarters).count()
}

/// Returns the declarations of a job in which 0, 1 and up to a batch of its slots are missing.
fn declarations(job: usize, jobs: usize, held: usize) -> Vec<ResourceRequirements> {
    let slots = (held - job).div_ceil(jobs);
    (0..slots.min(BATCH + 1))
        .map(|missing| requirements_of_job(job, jobs, slots - missing))
        .collect()
}
