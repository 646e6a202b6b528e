//! No provisioner: workers are started by hand.

use std::time::Duration;

use super::{News, Order, Provisioner, failed};

/// Fails all worker requests.
///
/// It does not answer [`Order::Recover`]: workers may exist, but it cannot know how many.
pub(super) struct None;

impl Provisioner for None {
    fn period(&self) -> Duration {
        Duration::from_secs(3600)
    }

    async fn obey(&mut self, order: Order, news: &mut Vec<News>) {
        if let Order::Start { worker_request, .. } = order {
            let cause = "no provisioner is set up; start a worker by hand with `cluster task-executor`";
            news.push(failed(worker_request, cause));
        }
    }

    async fn look(&mut self, _: &mut Vec<News>) {}
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{Bench, request};
    use super::super::{Kind, News, Order};

    #[tokio::test]
    async fn each_worker_request_fails_with_the_cause() {
        let mut bench = Bench::new("none");
        bench.start(Kind::None);
        bench.order(Order::Recover).await;
        bench.order(bench.worker(1)).await;
        let News::Failed { worker_request, cause } = bench.news().await else {
            panic!("the worker request must fail");
        };
        assert_eq!(worker_request, request(1));
        assert!(cause.contains("by hand"), "{cause}");
    }
}
