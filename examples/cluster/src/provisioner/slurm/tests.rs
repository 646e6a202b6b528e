use super::super::tests_support::{Bench, request};
use super::super::{Kind, News, Order};

/// A fake of Slurm: `queue/ID` has the line of a job.
fn bench(name: &str) -> Bench {
    let bench = Bench::new(name);
    std::fs::create_dir(bench.path("queue")).unwrap();
    bench.program("sbatch", SBATCH);
    bench.program("squeue", SQUEUE);
    bench.program("scancel", SCANCEL);
    bench
}

const SBATCH: &str = r#"echo "sbatch $@" >> calls
cat > script
while [ "$1" != --job-name ]; do shift; done
n=$(( $(cat next 2>/dev/null || echo 1) )); echo $((n + 1)) > next
echo "$n|PENDING|$2" > queue/$n
echo "$n;cluster""#;

const SQUEUE: &str = r#"case "$*" in
*--states=all*) echo "FAILED (NonZeroExitCode)" ;;
*) cat queue/* 2>/dev/null; true ;;
esac"#;

/// Cancels what it is asked to, if the state fits.
const SCANCEL: &str = r#"echo "scancel $@" >> calls
case "$1" in
--state=PENDING) grep -q PENDING queue/$2 2>/dev/null && rm -f queue/$2 ;;
*) rm -f queue/$1 ;;
esac; true"#;

fn set_state(bench: &Bench, job: u32, state: &str, number: u64) {
    std::fs::write(bench.path("new-line"), format!("{job}|{state}|test-7-{number}\n")).unwrap();
    std::fs::rename(bench.path("new-line"), bench.path(&format!("queue/{job}"))).unwrap();
}

async fn submitted(bench: &Bench, job: u32) {
    let path = bench.path(&format!("queue/{job}"));
    bench.wait("a job", || path.exists().then_some(())).await;
}

async fn left(bench: &Bench, job: u32) {
    let path = bench.path(&format!("queue/{job}"));
    bench.wait("the end of a job", || (!path.exists()).then_some(())).await;
}

#[tokio::test]
async fn a_worker_is_a_job() {
    let mut bench = bench("slurm-job");
    bench.settings.slurm.partition = Some("long".to_owned());
    bench.settings.slurm.arguments = vec!["--time=5".to_owned()];
    bench.start(Kind::Slurm);
    bench.lead().await;
    bench.order(bench.worker(1)).await;
    submitted(&bench, 1).await;
    let calls = bench.file_with("calls", "\n").await;
    for part in [
        "--job-name test-7-1",
        "--partition long",
        "--time=5",
        "--cpus-per-task=2",
        "--output=",
    ] {
        assert!(calls.contains(part), "{part} is not in {calls}");
    }
    let script = bench.file_with("script", "exec").await;
    assert!(
        script.contains("'task-executor' '--resource-managers' 'a:1,b:2'"),
        "{script}"
    );

    set_state(&bench, 1, "RUNNING", 1);
    assert!(bench.is_quiet().await);
    std::fs::remove_file(bench.path("queue/1")).unwrap();
    assert_eq!(
        bench.failure(1).await,
        "the Slurm job 1 ended: FAILED (NonZeroExitCode)"
    );
}

#[tokio::test]
async fn a_withdrawn_job_is_cancelled_only_before_it_runs() {
    let mut bench = bench("slurm-withdraw");
    bench.start(Kind::Slurm);
    bench.lead().await;
    bench.order(bench.worker(1)).await;
    bench.order(bench.worker(2)).await;
    submitted(&bench, 2).await;
    set_state(&bench, 2, "RUNNING", 2);
    bench.order(Order::Withdraw(request(1))).await;
    assert_eq!(bench.failure(1).await, "withdrawn");
    bench.order(Order::Withdraw(request(2))).await;
    assert_eq!(bench.news().await, News::Comes(request(2)));
    assert!(bench.path("queue/2").exists());

    // The worker that came all the same is released.
    bench.order(Order::Stop("test-7-2".into())).await;
    left(&bench, 2).await;
    assert!(bench.is_quiet().await);
    let calls = std::fs::read_to_string(bench.path("calls")).unwrap();
    assert!(calls.contains("scancel 2\n"), "{calls}");
}

#[tokio::test]
async fn few_jobs_wait_in_the_queue() {
    let mut bench = bench("slurm-queue");
    bench.settings.slurm.max_queued = 1;
    bench.start(Kind::Slurm);
    bench.lead().await;
    for number in 1..=3 {
        bench.order(bench.worker(number)).await;
    }
    submitted(&bench, 1).await;
    bench.order(Order::Withdraw(request(2))).await;
    assert_eq!(bench.failure(2).await, "withdrawn");
    assert!(bench.is_quiet().await);
    assert!(!bench.path("queue/2").exists());
    set_state(&bench, 1, "RUNNING", 1);
    submitted(&bench, 2).await;
    let line = std::fs::read_to_string(bench.path("queue/2")).unwrap();
    assert_eq!(line, "2|PENDING|test-7-3\n");
}

#[tokio::test]
async fn after_a_failure_other_orders_wait() {
    let mut bench = bench("slurm-backoff");
    bench.program("sbatch", "echo sbatch >> calls; echo 'no partition' >&2; exit 1");
    bench.start(Kind::Slurm);
    bench.lead().await;
    bench.order(bench.worker(1)).await;
    bench.order(bench.worker(2)).await;
    let cause = bench.failure(1).await;
    assert!(cause.contains("no partition"), "{cause}");
    bench.program("sbatch", SBATCH);
    submitted(&bench, 1).await;
    let line = std::fs::read_to_string(bench.path("queue/1")).unwrap();
    assert_eq!(line, "1|PENDING|test-7-2\n");
}

#[test]
fn each_failure_doubles_the_pause() {
    let second = std::time::Duration::from_secs(1);
    let mut backoff = super::Backoff::default();
    let pauses: Vec<u64> = (0..8).map(|_| backoff.begin(second).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert!(backoff.is_on());
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_says_nothing() {
    let mut bench = bench("slurm-away");
    bench.start(Kind::Slurm);
    bench.lead().await;
    bench.order(bench.worker(1)).await;
    submitted(&bench, 1).await;
    bench.program("squeue", "exit 1");
    std::fs::remove_file(bench.path("queue/1")).unwrap();
    bench.recover().await;
    assert!(bench.is_quiet().await);
    bench.program("squeue", SQUEUE);
    bench.failure(1).await;
    assert_eq!(bench.known().await, 0);
}

#[tokio::test]
async fn the_next_leader_finds_the_jobs_that_run() {
    let mut bench = bench("slurm-recover");
    set_state(&bench, 4, "RUNNING", 4);
    std::fs::write(bench.path("queue/6"), "6|RUNNING|another-7-4\n").unwrap();
    bench.start(Kind::Slurm);
    bench.recover().await;
    assert_eq!(bench.known().await, 1);
    bench.order(Order::Stop("test-7-4".into())).await;
    left(&bench, 4).await;
    assert!(bench.path("queue/6").exists());
}

#[tokio::test]
async fn an_order_to_stop_that_is_repeated_defers_nothing() {
    let mut bench = bench("slurm-stop-again");
    set_state(&bench, 4, "RUNNING", 4);
    bench.start(Kind::Slurm);
    bench.recover().await;
    assert_eq!(bench.known().await, 1);
    let stop_again = async {
        loop {
            bench.order(Order::Stop("test-7-4".into())).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        never = stop_again => never,
        () = left(&bench, 4) => {}
    }
}

#[tokio::test]
async fn the_next_leader_withdraws_the_jobs_that_wait() {
    let mut bench = bench("slurm-recover-pending");
    bench.settings.slurm.max_queued = 1;
    bench.start(Kind::Slurm);
    bench.lead().await;
    bench.order(bench.worker(1)).await;
    // It waits here, since the queue has enough.
    bench.order(bench.worker(2)).await;
    submitted(&bench, 1).await;
    bench.end_leadership();
    bench.recover().await;
    assert_eq!(bench.known().await, 1);
    assert_eq!(bench.failure(1).await, "withdrawn");
    assert!(!bench.path("queue/1").exists());
    assert!(bench.is_quiet().await);
    assert!(!bench.path("queue/2").exists());
}

#[tokio::test]
async fn a_provisioner_of_a_former_leader_does_nothing() {
    let mut bench = bench("slurm-former");
    bench.settings.slurm.max_queued = 1;
    bench.start(Kind::Slurm);
    bench.lead().await;
    for number in 1..=2 {
        bench.order(bench.worker(number)).await;
    }
    submitted(&bench, 1).await;
    set_state(&bench, 1, "RUNNING", 1);
    submitted(&bench, 2).await;
    bench.order(bench.worker(3)).await;
    bench.order(Order::Stop("test-7-1".into())).await;
    bench.end_leadership();
    // There is room for the third, and time to stop the first.
    set_state(&bench, 2, "RUNNING", 2);
    assert!(bench.is_quiet().await && bench.is_quiet().await);
    assert!(bench.path("queue/1").exists() && !bench.path("queue/3").exists());
    bench.recover().await;
    assert_eq!(bench.known().await, 2);
}

#[tokio::test]
async fn a_job_that_begins_while_it_is_withdrawn_is_known() {
    let mut bench = bench("slurm-recover-late");
    // It begins just after the look at the queue.
    bench.program("scancel", "sed -i s/PENDING/RUNNING/ queue/5");
    set_state(&bench, 5, "PENDING", 5);
    bench.start(Kind::Slurm);
    bench.recover().await;
    assert_eq!(bench.known().await, 1);
    assert_eq!(bench.news().await, News::Comes(request(5)));
    std::fs::remove_file(bench.path("queue/5")).unwrap();
    let cause = bench.failure(5).await;
    assert!(cause.contains("the Slurm job 5 ended"), "{cause}");
}

#[tokio::test]
async fn without_slurm_each_worker_fails_with_the_cause() {
    let mut bench = Bench::new("slurm-missing");
    bench.start(Kind::Slurm);
    bench.recover().await;
    bench.order(bench.worker(1)).await;
    let cause = bench.failure(1).await;
    assert!(cause.contains("sbatch"), "{cause}");
}
