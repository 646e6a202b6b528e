use super::super::tests_support::{Bench, processes, request};
use super::super::{Kind, Order};

/// A worker that writes its arguments, and ends when it is told to.
const OBEDIENT: &str = "echo \"$@\" > arguments; trap 'echo told > told; exit 0' TERM; while :; do sleep 0.05; done";

/// A worker that does not listen.
const DEAF: &str = "trap '' TERM; echo up > up; while :; do sleep 0.05; done";

async fn bench(name: &str, worker: &str) -> Bench {
    let mut bench = Bench::new(name);
    bench.program("worker", worker);
    bench.start(Kind::Local);
    bench.lead().await;
    bench
}

async fn all_ended(bench: &Bench) {
    let worker = bench.path("worker");
    bench
        .wait("the end", || processes(&worker).is_empty().then_some(()))
        .await;
}

#[tokio::test]
async fn a_worker_gets_its_arguments() {
    let mut bench = Bench::new("local-arguments");
    bench.settings.worker_arguments = vec!["--token-file".to_owned(), "a b".to_owned()];
    bench.program("worker", OBEDIENT);
    bench.start(Kind::Local);
    bench.lead().await;
    bench.order(bench.worker(3)).await;
    let arguments = bench.file_with("arguments", "\n").await;
    let id = request(3);
    let start = "task-executor --resource-managers a:1,b:2 --slots 2 --profile cpu=1 --worker-request";
    assert!(arguments.starts_with(start), "{arguments}");
    let end = format!("--worker-request {id} --resource-id test-7-3 --token-file a b\n");
    assert!(arguments.ends_with(&end), "{arguments}");
    bench.order(Order::Withdraw(id)).await;
    assert_eq!(bench.failure(3).await, "withdrawn");
    all_ended(&bench).await;
}

#[tokio::test]
async fn a_worker_that_ends_is_news() {
    let mut bench = bench("local-ends", "echo 'out of order' >&2; exit 3").await;
    bench.order(bench.worker(1)).await;
    let cause = bench.failure(1).await;
    assert!(cause.contains("exit status: 3"), "{cause}");
    let log = bench.file_with("logs/test-7-1.log", "out of order").await;
    assert_eq!(log, "out of order\n");
    bench.recover().await;
    assert_eq!(bench.known().await, 0);
}

#[tokio::test]
async fn a_worker_that_cannot_start_is_news() {
    let mut bench = bench("local-cannot", "").await;
    std::fs::remove_file(bench.path("worker")).unwrap();
    bench.order(bench.worker(1)).await;
    let cause = bench.failure(1).await;
    assert!(cause.contains("did not start"), "{cause}");
}

#[tokio::test]
async fn a_worker_without_a_record_does_not_stay() {
    let mut bench = bench("local-record", DEAF).await;
    std::fs::write(bench.path("workers"), "not a folder").unwrap();
    bench.order(bench.worker(1)).await;
    bench.failure(1).await;
    all_ended(&bench).await;
}

#[tokio::test]
async fn a_worker_that_does_not_stop_is_killed_in_silence() {
    let mut bench = bench("local-deaf", DEAF).await;
    bench.order(bench.worker(1)).await;
    bench.file_with("up", "up").await;
    bench.order(Order::Stop("test-7-1".into())).await;
    // Strangers are left alone.
    bench.order(Order::Stop("other".into())).await;
    all_ended(&bench).await;
    assert!(bench.is_quiet().await);
}

#[tokio::test]
async fn the_next_leader_finds_the_workers() {
    let mut bench = bench("local-recover", OBEDIENT).await;
    bench.order(bench.worker(1)).await;
    bench.order(bench.worker(2)).await;
    let worker = bench.path("worker");
    bench
        .wait("two workers", || (processes(&worker).len() >= 2).then_some(()))
        .await;
    bench.recover().await;
    assert_eq!(bench.known().await, 2);
    bench.stop().await;

    // A record of a process that is no more, or another one.
    let own = super::process::Process::find(std::process::id()).unwrap();
    let stale = format!(
        "{{\"name\":\"test-6-9\",\"process\":{}}}",
        serde_json::to_string(&own).unwrap()
    );
    let started = stale.replace("\"started\":", "\"started\":1");
    std::fs::write(bench.path("workers/test-6-9.json"), started).unwrap();
    std::fs::write(bench.path("workers/broken.json"), "{").unwrap();
    bench.start(Kind::Local);
    bench.recover().await;
    assert_eq!(bench.known().await, 2);
    assert!(!bench.path("workers/test-6-9.json").exists());

    bench.order(Order::Stop("test-7-1".into())).await;
    bench.file_with("told", "told").await;
    bench.order(Order::Withdraw(request(2))).await;
    assert_eq!(bench.failure(2).await, "withdrawn");
    all_ended(&bench).await;
}

#[tokio::test]
async fn a_provisioner_of_a_former_leader_stops_nobody() {
    let mut bench = bench("local-former", DEAF).await;
    bench.order(bench.worker(1)).await;
    bench.file_with("up", "up").await;
    bench.order(Order::Stop("test-7-1".into())).await;
    bench.end_leadership();
    // Of the leadership that has ended.
    bench.order(Order::Withdraw(request(1))).await;
    bench.order(bench.worker(2)).await;
    // Much longer than the grace period.
    assert!(bench.is_quiet().await && bench.is_quiet().await);
    bench.recover().await;
    assert_eq!(bench.known().await, 1);

    bench.order(Order::Stop("test-7-1".into())).await;
    all_ended(&bench).await;
}

#[tokio::test]
async fn a_withdrawal_without_a_worker_is_answered() {
    let mut bench = bench("local-nobody", OBEDIENT).await;
    bench.order(Order::Withdraw(request(4))).await;
    let cause = bench.failure(4).await;
    assert!(cause.contains("no process"), "{cause}");
}
