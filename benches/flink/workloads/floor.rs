//! The workloads on the floor, where it can do them.

use slot_manager::message::SlotFreed;
use slot_manager::{AllocationId, SlotId, SlotRequest};

use crate::catalogue::Prepared;
use crate::floor::Floor;
use crate::messages::{Requests, TaskManager, task_managers, usual_profile, usual_task_managers};
use crate::workloads::churn::{picks, used};
use crate::workloads::{allocation_ids, places};

pub(crate) fn all_slots(slots: usize, _: usize) -> Prepared {
    let task_managers = usual_task_managers(slots);
    let requests = Requests::new().usual(slots);
    let allocation_ids = allocation_ids(&requests);
    Box::new(move |clock| {
        let mut floor = Floor::default();
        let registered = clock.time("register", slots, || register(&mut floor, &task_managers));
        assert_eq!(registered, task_managers.len());
        let (requests, mut granted) = (requests.clone(), places(slots));
        clock.time("request", slots, || request(&mut floor, requests, &mut granted));
        assert_eq!(floor.num_granted(), slots);
        let messages = freed(granted, &allocation_ids);
        let freed = clock.time("free", slots, || {
            messages.iter().filter(|message| floor.free(message)).count()
        });
        assert_eq!(freed, slots);
        assert_eq!(floor.num_free(), slots);
    })
}

/// Registers task managers. Returns the number of registered ones.
fn register(floor: &mut Floor, task_managers: &[TaskManager]) -> usize {
    task_managers
        .iter()
        .filter(|task_manager| floor.register(task_manager.instance_id, &task_manager.report))
        .count()
}

/// Registers requests, and keeps the granted slots.
fn request(floor: &mut Floor, requests: impl IntoIterator<Item = SlotRequest>, slots: &mut [Option<SlotId>]) {
    for (slot, request) in slots.iter_mut().zip(requests) {
        *slot = floor.request(request);
    }
}

/// Returns the messages that free granted slots.
fn freed(granted: Vec<Option<SlotId>>, allocation_ids: &[AllocationId]) -> Vec<SlotFreed> {
    let slot_ids = granted.into_iter().flatten();
    slot_ids
        .zip(allocation_ids)
        .map(|(slot_id, allocation_id)| SlotFreed::new(slot_id, *allocation_id))
        .collect()
}

pub(crate) fn churn(slots: usize, operations: usize) -> Prepared {
    let used = used(slots);
    let task_managers = usual_task_managers(slots);
    let requests = Requests::new().usual(used + operations);
    let allocation_ids = allocation_ids(&requests);
    let picks = picks(used, operations);
    Box::new(move |clock| {
        let mut floor = Floor::default();
        assert_eq!(register(&mut floor, &task_managers), task_managers.len());
        let (mut requests, mut granted) = (requests.clone().into_iter(), places(used));
        request(&mut floor, &mut requests, &mut granted);
        let mut grants = freed(granted, &allocation_ids);
        let freed = clock.time("both", operations, || {
            let mut freed = 0;
            for (pick, request) in picks.iter().zip(&mut requests) {
                let grant = &mut grants[*pick];
                freed += usize::from(floor.free(grant));
                let allocation_id = request.allocation_id();
                if let Some(slot_id) = floor.request(request) {
                    *grant = SlotFreed::new(slot_id, allocation_id);
                }
            }
            freed
        });
        assert_eq!(freed, operations);
        assert_eq!(floor.num_free(), slots - used);
    })
}

/// Requests wait and are cancelled.
pub(crate) fn waiting(waiting: usize, _: usize) -> Prepared {
    let requests = Requests::new().usual(waiting);
    let allocation_ids = allocation_ids(&requests);
    Box::new(move |clock| {
        let mut floor = Floor::default();
        let requests = requests.clone().into_iter();
        let served = clock.time("both", waiting, || {
            requests.filter_map(|request| floor.request(request)).count()
        });
        assert_eq!((served, floor.num_waiting()), (0, waiting));
        let cancelled = clock.time("both", 0, || {
            let ids = allocation_ids.iter();
            ids.filter(|allocation_id| floor.cancel(**allocation_id)).count()
        });
        assert_eq!((cancelled, floor.num_waiting()), (waiting, 0));
    })
}

pub(crate) fn unchanged_reports(slots: usize, reports: usize) -> Prepared {
    let task_managers = task_managers(0, slots, |_| usual_profile(), |slot| slot % 2 == 1);
    Box::new(move |clock| {
        let mut floor = Floor::default();
        assert_eq!(register(&mut floor, &task_managers), task_managers.len());
        let rounds = reports / task_managers.len();
        let unchanged = clock.time("report", reports, || {
            let is_unchanged =
                |task_manager: &&TaskManager| floor.report(task_manager.instance_id, &task_manager.report);
            let round = || task_managers.iter().filter(is_unchanged).count();
            (0..rounds).map(|_| round()).sum::<usize>()
        });
        assert_eq!(unchanged, reports);
    })
}

pub(crate) fn unregister(slots: usize, _: usize) -> Prepared {
    let task_managers = usual_task_managers(slots);
    let requests = Requests::new().usual(slots);
    Box::new(move |clock| {
        let mut floor = Floor::default();
        assert_eq!(register(&mut floor, &task_managers), task_managers.len());
        request(&mut floor, requests.clone(), &mut places(slots));
        assert_eq!(floor.num_granted(), slots);
        let gone = clock.time("task-manager", task_managers.len(), || {
            let task_managers = task_managers.iter();
            task_managers
                .filter(|task_manager| floor.unregister(task_manager.instance_id))
                .count()
        });
        assert_eq!(gone, task_managers.len());
        assert_eq!(floor.num_granted(), 0);
    })
}
