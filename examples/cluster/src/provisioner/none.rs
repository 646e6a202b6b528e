//! No provisioner: workers are started by hand.

use std::time::Duration;

use slot_manager::config::WorkerDescription;
use slot_manager::{ResourceId, WorkerRequestId};

use super::{News, Provisioner, failed};

/// Fails all worker requests.
///
/// It reports no [`News::Known`]: workers may exist, but it cannot know which.
pub(super) struct None;

impl Provisioner for None {
    fn period(&self) -> Duration {
        Duration::from_secs(3600)
    }

    async fn start(&mut self, worker_request: WorkerRequestId, _: WorkerDescription, news: &mut Vec<News>) {
        let cause = "no provisioner is set up; start a worker by hand with `cluster task-executor`";
        news.push(failed(worker_request, cause));
    }

    async fn withdraw(&mut self, _: WorkerRequestId, _: &mut Vec<News>) {}

    async fn stop(&mut self, _: &ResourceId) {}

    async fn recover(&mut self, _: &mut Vec<News>) {}

    fn suspend(&mut self) {}

    async fn look(&mut self, _: &mut Vec<News>) {}
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{Bench, request};
    use super::super::{Kind, News};

    #[tokio::test]
    async fn each_worker_request_fails_with_the_cause() {
        let mut bench = Bench::new("none");
        bench.start(Kind::None);
        bench.recover().await;
        bench.order(bench.worker(1)).await;
        let News::Failed { worker_request, cause } = bench.news().await else {
            panic!("the worker request must fail");
        };
        assert_eq!(worker_request, request(1));
        assert!(cause.contains("by hand"), "{cause}");
    }
}
