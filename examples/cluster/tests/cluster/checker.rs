//! What must hold in every run, whatever fails. It is read off the event logs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::event_log::Line;

/// The most younger requests that are granted before a request. While one waits for the answer of a
/// worker that is stopped, others are granted.
const MOST_PASSED: usize = 500;

/// The numbers of a run.
#[derive(Debug, Default)]
pub struct Counts {
    pub grants: usize,
    pub lost: usize,
    pub tasks_done: usize,
    /// The longest time from a request to its grant.
    pub longest_wait: Duration,
}

/// Checks all lines of a run.
///
/// - A slot holds one allocation at a time, and an allocation is on one slot at a time.
/// - A task executor takes nothing from a leader after it has taken something from a later one.
/// - Nobody takes anything from a leader that was stopped, was replaced and has woken up.
/// - Each task is counted as done once. None ends well twice or runs twice at a time, unless one of
///   its workers was stopped or killed. Nobody knows whether such a worker did the task, and one
///   that goes on can find an old order to run it.
/// - A grant is told once.
/// - Each request was granted, lost or failed, if its job has not ended before.
/// - No request waits while hundreds of younger ones are granted: it would be forgotten.
/// - A loss is told once, and only if the worker was stopped or killed before.
///
/// # Panics
/// If anything does not hold, with the lines that show it.
pub fn check(lines: &[Line], tasks: usize) -> Counts {
    let mut counts = Counts::default();
    check_slots(lines);
    check_epochs(lines);
    check_woken_leaders(lines);
    check_tasks(lines, tasks, &mut counts);
    check_running_tasks(lines);
    check_grants(lines);
    check_requests(lines, &mut counts);
    check_order(lines);
    check_losses(lines);
    counts.longest_wait = longest_wait(lines);
    counts
}

/// Returns the longest time from a request to its grant.
pub fn longest_wait(lines: &[Line]) -> Duration {
    let mut requested: BTreeMap<&str, u64> = BTreeMap::new();
    let mut longest = 0;
    for line in lines {
        match line.event.as_str() {
            "requested" => drop(requested.insert(&line.allocation, line.at_us)),
            "granted" => {
                let wait = requested
                    .remove(line.allocation.as_str())
                    .map(|at_us| line.at_us - at_us);
                longest = longest.max(wait.unwrap_or_default());
            }
            _ => {}
        }
    }
    Duration::from_micros(longest)
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

fn check_woken_leaders(lines: &[Line]) {
    let mut led: BTreeMap<&str, u64> = BTreeMap::new();
    let mut highest = 0;
    // All epochs up to this one are over.
    let mut over = 0;
    for line in lines {
        match line.event.as_str() {
            "leader_elected" => {
                led.insert(&line.process, line.epoch);
                highest = highest.max(line.epoch);
            }
            "continued" => {
                let woken = led.iter().find(|(process, _)| process.ends_with(&line.process));
                if let Some((_, epoch)) = woken.filter(|(_, epoch)| **epoch < highest) {
                    over = over.max(*epoch);
                }
            }
            "allocated" => assert!(line.epoch > over, "a leader that woke up has granted a slot: {line:?}"),
            _ => {}
        }
    }
}

fn check_tasks(lines: &[Line], tasks: usize, counts: &mut Counts) {
    let mut done = BTreeSet::new();
    let mut troubled = Troubled::default();
    let mut ended_well: BTreeMap<(&str, u64), &Line> = BTreeMap::new();
    for line in lines {
        troubled.note(line);
        match line.event.as_str() {
            "task_done" => assert!(done.insert((&line.job, line.task)), "a task is done twice: {line:?}"),
            "task_ended" if line.exit_code == Some(0) => {
                if let Some(other) = ended_well.insert((&line.job, line.task), line) {
                    let is_excused = troubled.contains_any(&[other, line]);
                    assert!(is_excused, "a task ran twice:\n{other:?}\n{line:?}");
                }
            }
            _ => {}
        }
    }
    assert_eq!(done.len(), tasks, "tasks that are done");
    counts.tasks_done = done.len();
}

fn check_running_tasks(lines: &[Line]) {
    let mut troubled = Troubled::default();
    let mut running: BTreeMap<(&str, u64), &Line> = BTreeMap::new();
    for line in lines {
        troubled.note(line);
        match line.event.as_str() {
            "task_started" => {
                if let Some(other) = running.insert((&line.job, line.task), line) {
                    let is_excused = troubled.contains_any(&[other, line]);
                    assert!(is_excused, "a task runs twice:\n{other:?}\n{line:?}");
                }
            }
            "task_ended" => {
                running.remove(&(line.job.as_str(), line.task));
            }
            _ => {}
        }
    }
}

/// The workers that were stopped or killed until a line.
#[derive(Default)]
struct Troubled<'a>(BTreeSet<&'a str>);

impl<'a> Troubled<'a> {
    fn note(&mut self, line: &'a Line) {
        // Others may see the end of a process before the test does.
        if ["stopped", "to_be_killed"].contains(&line.event.as_str()) {
            self.0.insert(&line.worker);
        }
    }

    /// Returns `true` if the worker of the slot in a line is one of them.
    fn contains(&self, line: &Line) -> bool {
        self.0.contains(worker_of(line))
    }

    fn contains_any(&self, lines: &[&Line]) -> bool {
        lines.iter().any(|line| self.contains(line))
    }
}

/// Returns the worker of the slot in a line.
fn worker_of(line: &Line) -> &str {
    line.slot.rsplit_once('_').map_or("", |(worker, _)| worker)
}

fn check_grants(lines: &[Line]) {
    let mut granted: BTreeMap<&str, &Line> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.event == "granted") {
        if let Some(other) = granted.insert(&line.allocation, line) {
            panic!("a grant is told twice:\n{other:?}\n{line:?}");
        }
    }
}

fn check_requests(lines: &[Line], counts: &mut Counts) {
    let mut open: BTreeMap<&str, &Line> = BTreeMap::new();
    // The grants of these jobs have no requests.
    let mut declaring = BTreeSet::new();
    for line in lines {
        match line.event.as_str() {
            "requested" => drop(open.insert(&line.allocation, line)),
            "declared" => _ = declaring.insert(&line.job),
            "granted" => {
                let is_requested = open.remove(line.allocation.as_str()).is_some();
                counts.grants += usize::from(is_requested || declaring.contains(&line.job));
            }
            "lost" => {
                open.remove(line.allocation.as_str());
                counts.lost += 1;
            }
            "failed" => drop(open.remove(line.allocation.as_str())),
            "job_ended" | "killed" => open.retain(|_, request| request.job != line.job),
            _ => {}
        }
    }
    assert!(open.is_empty(), "requests that were forgotten: {open:?}");
}

fn check_order(lines: &[Line]) {
    // By age, with the number of younger requests that were granted.
    let mut open: Vec<(&Line, usize)> = Vec::new();
    for line in lines {
        match line.event.as_str() {
            "requested" => open.push((line, 0)),
            "granted" => {
                let place = open
                    .iter()
                    .position(|(request, _)| request.allocation == line.allocation);
                let Some(place) = place else { continue };
                for (request, passed) in &mut open[..place] {
                    *passed += 1;
                    assert!(*passed < MOST_PASSED, "a request was passed over: {request:?}");
                }
                open.remove(place);
            }
            "lost" | "failed" => open.retain(|(request, _)| request.allocation != line.allocation),
            "job_ended" | "killed" => open.retain(|(request, _)| request.job != line.job),
            _ => {}
        }
    }
}

fn check_losses(lines: &[Line]) {
    let mut troubled = Troubled::default();
    let mut places: BTreeMap<&str, &Line> = BTreeMap::new();
    let mut lost: BTreeMap<&str, &Line> = BTreeMap::new();
    for line in lines {
        troubled.note(line);
        match line.event.as_str() {
            "allocated" => drop(places.insert(&line.allocation, line)),
            "lost" => {
                if let Some(other) = lost.insert(&line.allocation, line) {
                    panic!("a loss is told twice:\n{other:?}\n{line:?}");
                }
                let place = places.get(line.allocation.as_str());
                let is_explained = place.is_some_and(|place| troubled.contains(place));
                assert!(is_explained, "a grant is lost without a cause:\n{place:?}\n{line:?}");
            }
            _ => {}
        }
    }
}

mod tests {
    use super::{Duration, Line, check};

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
    #[should_panic(expected = "a grant is told twice")]
    fn grant_that_is_told_twice_is_found() {
        check(&[line("granted", "", "a", 1), line("granted", "", "a", 2)], 0);
    }

    #[test]
    fn grants_of_declared_slots_are_counted() {
        let counts = check(&[line("declared", "", "", 0), line("granted", "", "a", 1)], 0);
        assert_eq!(counts.grants, 1);
    }

    #[test]
    #[should_panic(expected = "requests that were forgotten")]
    fn forgotten_request_is_found() {
        check(&[line("requested", "", "a", 1)], 0);
    }

    #[test]
    #[should_panic(expected = "a request was passed over")]
    fn request_that_is_passed_over_is_found() {
        let younger = (0..super::MOST_PASSED).flat_map(|number| {
            let allocation = format!("a{number}");
            ["requested", "granted"].map(|event| line(event, "", &allocation, 1))
        });
        let oldest = line("requested", "", "oldest", 1);
        let ended = line("job_ended", "", "", 1);
        check(&[vec![oldest], younger.collect(), vec![ended]].concat(), 0);
    }

    fn act(event: &str, worker: &str) -> Line {
        Line {
            process: worker.to_owned(),
            event: event.to_owned(),
            worker: worker.to_owned(),
            ..Line::default()
        }
    }

    #[test]
    #[should_panic(expected = "a leader that woke up has granted a slot")]
    fn leader_that_grants_after_it_woke_up_is_found() {
        let elected = |process: &str, epoch| Line {
            process: process.to_owned(),
            ..line("leader_elected", "", "", epoch)
        };
        let lines = [elected("rm@a", 1), elected("rm@b", 2), act("continued", "a")];
        check(&[&lines[..], &[line("allocated", "w_0", "a", 1)]].concat(), 0);
    }

    #[test]
    fn leader_that_wakes_up_before_it_is_replaced_may_go_on() {
        let elected = line("leader_elected", "", "", 1);
        check(
            &[elected, act("continued", "worker"), line("allocated", "w_0", "a", 1)],
            0,
        );
    }

    #[test]
    #[should_panic(expected = "a task runs twice")]
    fn task_that_runs_twice_at_a_time_is_found() {
        check(
            &[line("task_started", "w_0", "", 1), line("task_started", "v_0", "", 1)],
            0,
        );
    }

    #[test]
    fn task_may_run_again_once_its_worker_is_stopped() {
        let started = |slot| line("task_started", slot, "", 1);
        check(&[started("w_0"), act("stopped", "w"), started("v_0")], 0);
    }

    #[test]
    fn worker_that_goes_on_may_find_an_old_order_to_run_a_task() {
        let started = |slot| line("task_started", slot, "", 1);
        check(
            &[
                act("stopped", "w"),
                started("v_0"),
                act("continued", "w"),
                started("w_0"),
            ],
            0,
        );
    }

    #[test]
    #[should_panic(expected = "a loss is told twice")]
    fn loss_that_is_told_twice_is_found() {
        let lines = [
            line("allocated", "w_0", "a", 1),
            act("to_be_killed", "w"),
            line("lost", "", "a", 0),
        ];
        check(&[&lines[..], &lines[2..]].concat(), 0);
    }

    #[test]
    #[should_panic(expected = "a grant is lost without a cause")]
    fn loss_without_a_cause_is_found() {
        let lines = [
            line("allocated", "w_0", "a", 1),
            act("stopped", "v"),
            line("lost", "", "a", 0),
        ];
        check(&lines, 0);
    }

    #[test]
    fn requests_of_a_killed_job_are_over() {
        let of_job = |line| Line {
            job: "j".to_owned(),
            ..line
        };
        check(
            &[of_job(line("requested", "", "a", 1)), of_job(act("killed", "job"))],
            0,
        );
    }

    #[test]
    fn longest_wait_is_found() {
        let at = |at_us, line| Line { at_us, ..line };
        let requested = at(1_000, line("requested", "", "a", 1));
        let counts = check(&[requested, at(3_000, line("granted", "", "a", 1))], 0);
        assert_eq!(counts.longest_wait, Duration::from_millis(2));
    }
}
