//! The names of workers that a provisioner starts: `<cluster>-<epoch>-<number>`.
//!
//! A name is a resource id, and names the worker request. So the next leader knows whose worker it
//! finds.

use slot_manager::{LeaderId, ResourceId, WorkerRequestId};

/// The most characters of the name of a cluster. With its numbers it is a name for most engines.
const CLUSTER_CHARACTERS: usize = 40;

/// Parses the name of a cluster. It is a part of names of files, jobs and keys.
pub fn parse_cluster(text: &str) -> Result<String, String> {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let begins_well = text.starts_with(|character: char| character.is_ascii_alphanumeric());
    match begins_well && text.chars().all(is_allowed) && text.len() <= CLUSTER_CHARACTERS {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is not a name of at most {CLUSTER_CHARACTERS} letters, digits, '-', '_' and '.'"
        )),
    }
}

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
    fn names_of_clusters_are_safe_in_paths_and_keys() {
        for good in ["cluster", "a", "team-1_b.test"] {
            assert_eq!(parse_cluster(good).as_deref(), Ok(good));
        }
        for wrong in ["", "a/b", "..", "-a", "a b", "a%x", "ä", &"a".repeat(41)] {
            assert!(parse_cluster(wrong).is_err(), "{wrong}");
        }
    }

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
