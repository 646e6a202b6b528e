//! Workers that take part and do nothing: they give no answer, or refuse all slots.

use super::checker::longest_wait;
use super::double::Behaviour;
use super::event_log::Line;
use super::harness::{Cluster, now_us, wait_until};
use super::measure::{Times, measure, time_until};

/// The number of slots of the worker at fault. It is far more than it may be asked for.
const SLOTS: u32 = 40;

/// The number of tasks of a job, each in a slot of its own.
const TASKS: usize = 60;

/// The most requests that may go to the worker at fault. Four wait at a time, and four slots work.
const MOST_ATTEMPTS: usize = 20;

#[test]
fn worker_that_refuses_all_slots_delays_nobody() {
    measure("a worker refuses all slots", || faulty_worker(Behaviour::Refuses));
}

#[test]
fn worker_that_gives_no_answer_delays_nobody_for_long() {
    measure("a worker gives no answer for 1 s", || faulty_worker(Behaviour::Silent));
}

fn faulty_worker(behaviour: Behaviour) -> Option<Times> {
    // given: a worker at fault that is asked first, and two others
    let mut cluster = Cluster::new("faulty-worker");
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &["-D", "pekko.ask.timeout=1 s"]);
    wait_until("a leader", || cluster.leader().is_some());
    let double = cluster.double("double", "a", SLOTS, behaviour);
    wait_until("the double", || cluster.count("registered") == 1);
    for worker in ["worker-1", "worker-2"] {
        cluster.worker(worker, 2);
    }
    wait_until("registered workers", || cluster.count("registered") == 3);

    // when
    cluster.job_with_slot_per_task("job", TASKS, 4, &["true"]);
    cluster.wait("job");

    // then: the others serve, and it is asked rarely
    let attempts = cluster.count("asked");
    assert!((1..MOST_ATTEMPTS).contains(&attempts), "{attempts} attempts");
    let longest_wait = longest_wait(&cluster.lines());

    // when: it works, and the others cannot do all
    double.behave(Behaviour::Works);
    let works = now_us();
    cluster.job_with_slot_per_task("large-job", TASKS, TASKS, &["sleep", "0.5"]);

    // then: it is used again
    let is_used = |line: &Line| line.event == "allocated" && line.slot.starts_with("double_");
    wait_until("the use of the double", || cluster.lines().iter().any(is_used));
    let used = time_until(&cluster.lines(), works, "its use", is_used);
    cluster.wait("large-job");
    drop(double);
    assert_eq!(cluster.check(2 * TASKS).lost, 0);
    println!("{behaviour:?}: {attempts} attempts for {TASKS} requests");
    Some(vec![
        ("longest wait for a slot", longest_wait),
        ("used after it recovers", used),
    ])
}
