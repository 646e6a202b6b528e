//! Workers that are jobs of a real Slurm. It runs on this machine, for one test.

mod daemons;

use std::fs::File;

use self::daemons::{Job, Slurm};
use super::harness::{Cluster, wait_until};

/// A cluster with workers from Slurm. Its processes end before Slurm does.
struct Site {
    cluster: Cluster,
    slurm: Slurm,
}

impl Site {
    /// Starts Slurm; `None` if this machine cannot run it.
    fn start(test: &str) -> Option<Self> {
        Slurm::is_possible().then(|| Self {
            cluster: Cluster::new(test),
            slurm: Slurm::start(test),
        })
    }

    /// Starts resource managers whose workers are jobs of Slurm with this many cores. Idle workers
    /// leave after some seconds.
    fn start_managers(&mut self, names: &[&str], cores: u32, idle_seconds: u32) {
        let programs = self.slurm.programs().display().to_string();
        let cores = format!("taskmanager.cpu.cores={cores}");
        let idle_timeout = format!("resourcemanager.taskmanager-timeout={idle_seconds} s");
        let more = [
            ["--provisioner", "slurm"],
            ["--slurm-programs", &programs],
            ["--slurm-partition", "main"],
            ["--slurm-argument", "--comment=test"],
            ["--slurm-poll-interval", "300ms"],
            ["-D", &cores],
            ["-D", &idle_timeout],
        ];
        self.cluster.resource_managers_with_workers(names, &more.concat());
    }

    /// Starts a job. Its tasks go on until [`let_tasks_end`](Self::let_tasks_end).
    fn job(&mut self, tasks: usize, parallelism: usize) {
        let script = format!("until [ -e {} ]; do sleep 0.1; done", self.cluster.path("go").display());
        self.cluster.job("job", tasks, parallelism, &["sh", "-c", &script]);
    }

    fn let_tasks_end(&self) {
        File::create(self.cluster.path("go")).expect("a file");
    }

    /// Waits until Slurm's queue is empty. Returns all jobs that it had.
    fn jobs_of_empty_queue(&self) -> Vec<Job> {
        let elapsed = wait_until("an empty queue", || self.slurm.queue().is_empty());
        println!("no Slurm job is left after {elapsed:?}");
        self.slurm.all_jobs()
    }
}

#[test]
fn workers_come_through_slurm_and_leave_when_idle() {
    // given
    let Some(mut site) = Site::start("slurm") else {
        return;
    };
    site.start_managers(&["a"], 2, 1);

    // when
    site.job(8, 4);
    let requested = wait_until("a worker request", || site.cluster.count("worker_requested") > 0);
    let running = wait_until("a Slurm job that runs", || site.slurm.count("RUNNING") > 0);
    let registered = wait_until("a worker", || site.cluster.count("registered") > 0);
    let granted = wait_until("all slots", || site.cluster.count("granted") == 4);
    println!(
        "job master started; worker requested {requested:?} later; its Slurm job runs {running:?} later; it has \
         registered {registered:?} later; all 4 slots are granted {granted:?} later"
    );
    site.let_tasks_end();
    site.cluster.wait("job");

    // then
    let released = wait_until("released workers", || site.cluster.count("worker_released") == 2);
    println!("the job has ended; its workers are released {released:?} later");
    let jobs = site.jobs_of_empty_queue();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    assert!(jobs.iter().all(|job| job.state == "COMPLETED"), "{jobs:?}");
    assert_eq!(site.cluster.count("worker_requested"), 2);
    let counts = site.cluster.check(8);
    assert_eq!(counts.lost, 0);
}

#[test]
fn next_leader_finds_the_workers_in_slurm() {
    // given: one worker runs, and there is no room for a second
    let Some(mut site) = Site::start("slurm-leader") else {
        return;
    };
    // The worker must not leave before the one that waits is cancelled.
    site.start_managers(&["a", "b"], 6, 5);
    site.job(4, 4);
    wait_until("two slots", || site.cluster.count("granted") == 2);
    wait_until("a worker that waits", || site.slurm.count("PENDING") == 1);
    let (leader, epoch) = site.cluster.leader().expect("a leader");
    let before = site.slurm.queue();

    // when
    site.cluster.kill(&leader);

    // then: the worker goes on under the new leader, which asks for the other one itself
    let registered = wait_until("the worker", || {
        let lines = site.cluster.lines();
        lines
            .iter()
            .any(|line| line.event == "registered" && line.epoch > epoch)
    });
    let is_replaced = |job: &Job| job.state == "PENDING" && before.iter().all(|known| known.name != job.name);
    let replaced = wait_until("a new worker that waits", || {
        let queue = site.slurm.queue();
        queue.len() == 2 && queue.iter().any(is_replaced)
    });
    println!(
        "the worker is back {registered:?} after kill -9 of the leader, the next one is asked for {replaced:?} later"
    );

    // when: nobody needs the worker that waits any more
    site.cluster.terminate("job");

    // then
    let jobs = site.jobs_of_empty_queue();
    let mut states: Vec<_> = jobs.iter().map(|job| job.state.as_str()).collect();
    states.sort_unstable();
    assert_eq!(states, ["CANCELLED", "CANCELLED", "COMPLETED"], "{jobs:?}");
    assert_eq!(site.cluster.count("lost"), 0);
    site.cluster.check(0);
}
