//! Task managers that report and go.

use std::sync::Arc;

use slot_manager::outcome::{ReportOutcome, UnregistrationOutcome};

use crate::catalogue::Prepared;
use crate::messages::{Requests, TaskManager, task_managers, usual_profile, usual_task_managers};
use crate::outside::{Manager, Prompt, started};
use crate::workloads::{join, places, request};

/// Allocations hold every second slot, and the reports show it.
pub(crate) fn unchanged_reports(slots: usize, reports: usize) -> Prepared {
    let task_managers = task_managers(0, slots, |_| usual_profile(), |slot| slot % 2 == 1);
    Box::new(move |clock| {
        let (mut manager, _) = started();
        join(&mut manager, &task_managers, || Prompt);
        let rounds = reports / task_managers.len();
        let applied = clock.time("report", reports, || {
            (0..rounds).map(|_| report(&mut manager, &task_managers)).sum::<usize>()
        });
        assert_eq!(applied, reports);
        assert_eq!(manager.overview().slots.free.slots, slots / 2);
    })
}

/// Takes reports. Returns the number of applied ones.
fn report(manager: &mut Manager<Prompt>, task_managers: &[TaskManager]) -> usize {
    task_managers
        .iter()
        .map(|task_manager| manager.report_slot_status(task_manager.instance_id, &task_manager.report))
        .filter(|outcome| *outcome == Ok(ReportOutcome::Applied))
        .count()
}

/// All slots were requested and granted. All task managers are unregistered in the order of their
/// registration.
pub(crate) fn unregister(slots: usize, _: usize) -> Prepared {
    let task_managers = usual_task_managers(slots);
    let requests = Requests::new().usual(slots);
    let cause: Arc<str> = "its heartbeat timed out".into();
    Box::new(move |clock| {
        let (mut manager, _) = started();
        join(&mut manager, &task_managers, || Prompt);
        let (mut requests, mut granted) = (requests.clone().into_iter(), places(slots));
        request(&mut manager, &mut requests, &mut granted);
        assert_eq!(manager.overview().slots.allocated.slots, slots);
        drop(granted);
        let gone = clock.time("task-manager", task_managers.len(), || {
            leave(&mut manager, &task_managers, &cause)
        });
        assert_eq!(gone, task_managers.len());
        assert_eq!(manager.overview().slots.registered.slots, 0);
        assert_eq!(manager.actions_mut().map(|actions| actions.failed), Some(slots));
    })
}

/// Unregisters task managers. Returns the number of unregistered ones.
fn leave(manager: &mut Manager<Prompt>, task_managers: &[TaskManager], cause: &Arc<str>) -> usize {
    task_managers
        .iter()
        .map(|task_manager| manager.unregister_task_manager(task_manager.instance_id, Arc::clone(cause)))
        .filter(|outcome| *outcome == UnregistrationOutcome::Unregistered)
        .count()
}
