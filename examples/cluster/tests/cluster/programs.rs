//! Workers on which the program of a job is missing.

use super::harness::{Cluster, wait_until};

#[test]
fn worker_without_the_program_does_not_fail_the_job() {
    // given: a worker that fails each task at once, with more slots than the good one
    let mut cluster = Cluster::beside_others("program");
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &[]);
    cluster.worker("bad", 4);
    cluster.worker("good", 2);
    wait_until("registered workers", || cluster.count("registered") == 2);

    // when
    let script = r#"case "$CLUSTER_SLOT" in bad_*) exit 127 ;; esac; sleep 0.2"#;
    cluster.job("job", 20, 3, &["sh", "-c", script]);

    // then
    cluster.wait("job");
    cluster.check(20);
}

#[test]
fn job_of_which_no_worker_has_the_program_ends_soon() {
    // given
    let mut cluster = Cluster::beside_others("no-program");
    let election = format!("file:{}", cluster.path("leader").display());
    cluster.resource_manager("a", &election, &[]);
    cluster.worker("worker", 2);

    // when
    cluster.job("job", 10, 2, &["/does/not/exist"]);

    // then
    assert_eq!(cluster.exit_code("job"), Some(1));
    cluster.check(0);
}
