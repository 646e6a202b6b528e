//! The names of workers that a provisioner starts: `<cluster>-<epoch>-<number>`.
//!
//! A name is a resource id, and names the worker request. So the next leader knows whose worker it
//! finds.

use slot_manager::{LeaderId, ResourceId, WorkerRequestId};

/// Returns the name of the worker that is started for a worker request.
pub(super) fn name(cluster: &str, id: WorkerRequestId) -> String {
    // Leader ids are epochs here.
    format!("{cluster}-{}-{}", id.leader_id().as_u128(), id.number())
}

/// Returns the worker request of a name; `None` if the name is that of another cluster.
pub(super) fn worker_request(cluster: &str, name: &str) -> Option<WorkerRequestId> {
    let numbers = name.strip_prefix(cluster)?.strip_prefix('-')?;
    let (epoch, number) = numbers.split_once('-')?;
    let id = WorkerRequestId::new(
        LeaderId::from_u128(epoch.parse::<u64>().ok()?.into()),
        number.parse().ok()?,
    );
    // Each worker request has one name.
    (self::name(cluster, id) == name).then_some(id)
}

/// Returns the worker request of a resource id; `None` if the worker is of another origin.
pub(super) fn worker_request_of(cluster: &str, resource_id: &ResourceId) -> Option<WorkerRequestId> {
    worker_request(cluster, resource_id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_read_back() {
        let id = WorkerRequestId::new(LeaderId::from_u128(12), 3);
        assert_eq!(name("my-cluster", id), "my-cluster-12-3");
        assert_eq!(worker_request("my-cluster", "my-cluster-12-3"), Some(id));
        for other in [
            "my-cluster-12",
            "my-12-3",
            "my-cluster-2-12-3",
            "my-cluster-012-3",
            "my-cluster--12-3",
        ] {
            assert_eq!(worker_request("my-cluster", other), None, "{other}");
        }
    }
}
