//! What must hold in every run, whatever fails. It is read off the event logs.

use std::collections::{BTreeMap, BTreeSet};

use super::event_log::Line;

/// The numbers of a run.
#[derive(Debug, Default)]
pub struct Counts {
    pub grants: usize,
    pub lost: usize,
    pub tasks_done: usize,
}

/// Checks all lines of a run.
///
/// - A slot holds one allocation at a time, and an allocation is on one slot at a time.
/// - A task executor takes nothing from a leader after it has taken something from a later one.
/// - Each task is counted as done once. None ends well twice, unless its first worker was stopped
///   or killed: then nobody can know whether it did.
/// - Each request was granted, lost or failed, if its job has not ended before.
///
/// # Panics
/// If anything does not hold, with the lines that show it.
pub fn check(lines: &[Line], tasks: usize) -> Counts {
    let mut counts = Counts::default();
    check_slots(lines);
    check_epochs(lines);
    check_tasks(lines, tasks, &mut counts);
    check_requests(lines, &mut counts);
    counts
}

fn check_slots(lines: &[Line]) {
    let mut holders: BTreeMap<&str, &Line> = BTreeMap::new();
    let mut places: BTreeMap<&str, &Line> = BTreeMap::new();
    for line in lines {
        match line.event.as_str() {
            "allocated" => {
                if let Some(other) = holders.insert(&line.slot, line) {
                    assert_eq!(
                        other.allocation, line.allocation,
                        "two allocations on one slot:\n{other:?}\n{line:?}"
                    );
                }
                if let Some(other) = places.insert(&line.allocation, line) {
                    assert_eq!(
                        other.slot, line.slot,
                        "one allocation on two slots:\n{other:?}\n{line:?}"
                    );
                }
            }
            "freed" => {
                holders.remove(line.slot.as_str());
                places.remove(line.allocation.as_str());
            }
            // The slots of a killed worker are gone.
            "killed" => {
                holders.retain(|_, held| worker_of(held) != line.worker);
                places.retain(|_, held| worker_of(held) != line.worker);
            }
            _ => {}
        }
    }
}

fn check_epochs(lines: &[Line]) {
    let mut highest: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines
        .iter()
        .filter(|line| line.event == "allocated" || line.event == "registered")
    {
        let highest = highest.entry(&line.process).or_default();
        assert!(
            line.epoch >= *highest,
            "an old leader was obeyed after epoch {highest}: {line:?}"
        );
        *highest = line.epoch;
    }
}

fn check_tasks(lines: &[Line], tasks: usize, counts: &mut Counts) {
    let mut done = BTreeSet::new();
    let mut troubled: BTreeSet<&str> = BTreeSet::new();
    let mut ended_well: BTreeMap<(&str, u64), &Line> = BTreeMap::new();
    for line in lines {
        match line.event.as_str() {
            "task_done" => assert!(done.insert((&line.job, line.task)), "a task is done twice: {line:?}"),
            "stopped" | "killed" => drop(troubled.insert(line.worker.as_str())),
            "task_ended" if line.exit_code == Some(0) => {
                if let Some(other) = ended_well.insert((&line.job, line.task), line) {
                    let is_excused = [other, line].iter().any(|line| troubled.contains(worker_of(line)));
                    assert!(is_excused, "a task ran twice:\n{other:?}\n{line:?}");
                }
            }
            _ => {}
        }
    }
    assert_eq!(done.len(), tasks, "tasks that are done");
    counts.tasks_done = done.len();
}

/// Returns the worker of the slot in a line.
fn worker_of(line: &Line) -> &str {
    line.slot.rsplit_once('_').map_or("", |(worker, _)| worker)
}

fn check_requests(lines: &[Line], counts: &mut Counts) {
    let mut open: BTreeMap<&str, &Line> = BTreeMap::new();
    for line in lines {
        match line.event.as_str() {
            "requested" => drop(open.insert(&line.allocation, line)),
            "granted" => {
                counts.grants += usize::from(open.remove(line.allocation.as_str()).is_some());
            }
            "lost" => {
                open.remove(line.allocation.as_str());
                counts.lost += 1;
            }
            "failed" => drop(open.remove(line.allocation.as_str())),
            "job_ended" => open.retain(|_, request| request.job != line.job),
            _ => {}
        }
    }
    assert!(open.is_empty(), "requests that were forgotten: {open:?}");
}

mod tests {
    use super::{Line, check};

    fn line(event: &str, slot: &str, allocation: &str, epoch: u64) -> Line {
        Line {
            process: "worker".to_owned(),
            event: event.to_owned(),
            slot: slot.to_owned(),
            allocation: allocation.to_owned(),
            epoch,
            exit_code: Some(0),
            ..Line::default()
        }
    }

    #[test]
    #[should_panic(expected = "two allocations on one slot")]
    fn slot_that_is_given_twice_is_found() {
        check(&[line("allocated", "w_0", "a", 1), line("allocated", "w_0", "b", 1)], 0);
    }

    #[test]
    #[should_panic(expected = "one allocation on two slots")]
    fn allocation_that_is_granted_twice_is_found() {
        check(&[line("allocated", "w_0", "a", 1), line("allocated", "v_0", "a", 1)], 0);
    }

    #[test]
    #[should_panic(expected = "an old leader was obeyed")]
    fn old_leader_that_is_obeyed_is_found() {
        check(&[line("allocated", "w_0", "a", 2), line("allocated", "w_1", "b", 1)], 0);
    }

    #[test]
    #[should_panic(expected = "a task ran twice")]
    fn task_that_runs_twice_is_found() {
        check(
            &[line("task_ended", "w_0", "a", 1), line("task_ended", "v_0", "b", 1)],
            0,
        );
    }

    #[test]
    #[should_panic(expected = "requests that were forgotten")]
    fn forgotten_request_is_found() {
        check(&[line("requested", "", "a", 1)], 0);
    }
}
