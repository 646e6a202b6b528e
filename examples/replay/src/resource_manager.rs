//! The resource manager. In an elastic cluster it starts nodes on demand and stops released ones.
//! In a fixed cluster all nodes run from the beginning to the end.

use std::collections::BTreeSet;

use slot_manager::error::ResourceManagerError;
use slot_manager::message::{AllocationFailureCause, Release, ReleaseResource, WorkerPromise};
use slot_manager::{AllocationId, JobId, ResourceManagerActions, ResourceProfile, SlotId, WorkerRequestId};

use crate::effects::{Effect, Outbox, WorkerReply};
use crate::workload::Node;

/// Answers the manager and puts every call into the outbox.
#[derive(Debug)]
pub(crate) struct ReplayResourceManager {
    outbox: Outbox,
    /// `None` in a fixed cluster.
    pool: Option<NodePool>,
}

impl ReplayResourceManager {
    /// Makes the resource manager of a fixed cluster.
    pub(crate) fn fixed(outbox: Outbox) -> Self {
        Self { outbox, pool: None }
    }

    /// Makes the resource manager of an elastic cluster, in which no node runs yet.
    pub(crate) fn elastic(outbox: Outbox, nodes: &[Node]) -> Self {
        Self {
            outbox,
            pool: Some(NodePool::new(nodes)),
        }
    }

    /// Notes that a node has stopped or did not start, so that it can be started again.
    pub(crate) fn give_back(&mut self, node: usize) {
        if let Some(pool) = &mut self.pool {
            pool.give_back(node);
        }
    }
}

impl ResourceManagerActions for ReplayResourceManager {
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        let (reply, answer) = match &mut self.pool {
            None => (WorkerReply::Declined, Ok(WorkerPromise::Declined)),
            Some(pool) => match pool.take(profile) {
                Taken::Node(node, slots) => (WorkerReply::Starts(node), Ok(WorkerPromise::Slots(slots))),
                Taken::NoneLeft => (WorkerReply::Declined, Ok(WorkerPromise::Declined)),
                Taken::NoneFits => (
                    WorkerReply::Refused,
                    Err(ResourceManagerError::new("no node has such a slot")),
                ),
            },
        };
        self.outbox.put(Effect::AllocateResource {
            worker_request,
            profile: profile.clone(),
            reply,
        });
        answer
    }

    fn release_resource(&mut self, release: &ReleaseResource) -> Release {
        let reply = match self.pool {
            Some(_) => Release::Accepted,
            None => Release::Declined,
        };
        self.outbox.put(Effect::ReleaseResource {
            release: release.clone(),
            reply,
        });
        reply
    }

    fn notify_allocation_failure(
        &mut self,
        job_id: JobId,
        allocation_id: AllocationId,
        cause: &AllocationFailureCause,
    ) {
        self.outbox.put(Effect::AllocationFailed {
            job_id,
            allocation_id,
            cause: cause.clone(),
        });
    }

    fn notify_slot_allocated(&mut self, job_id: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        self.outbox.put(Effect::SlotAllocated {
            job_id,
            allocation_id,
            slot_id: slot_id.clone(),
        });
    }
}

/// The stopped nodes, by their slots.
#[derive(Debug)]
struct NodePool {
    /// From the smallest slots to the largest.
    kinds: Vec<NodeKind>,
    kind_of_node: Vec<usize>,
}

#[derive(Debug)]
struct NodeKind {
    slots: u32,
    slot_profile: ResourceProfile,
    stopped: BTreeSet<usize>,
}

#[derive(Debug, PartialEq)]
enum Taken {
    Node(usize, Vec<ResourceProfile>),
    /// All nodes with a slot that fits are running.
    NoneLeft,
    NoneFits,
}

impl NodePool {
    fn new(nodes: &[Node]) -> Self {
        let mut kinds: Vec<NodeKind> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let same = |kind: &&mut NodeKind| kind.slots == node.slots && kind.slot_profile == node.slot_profile;
            match kinds.iter_mut().find(same) {
                Some(kind) => {
                    kind.stopped.insert(index);
                }
                None => kinds.push(NodeKind {
                    slots: node.slots,
                    slot_profile: node.slot_profile.clone(),
                    stopped: BTreeSet::from([index]),
                }),
            }
        }
        // A stable sort: equal kinds keep the order of the trace.
        kinds.sort_by(|a, b| {
            size_key(a)
                .partial_cmp(&size_key(b))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let mut kind_of_node = vec![0; nodes.len()];
        for (number, kind) in kinds.iter().enumerate() {
            for node in &kind.stopped {
                kind_of_node[*node] = number;
            }
        }
        Self { kinds, kind_of_node }
    }

    /// Takes a node with the smallest slots that fit, and among equal ones the first of the trace.
    fn take(&mut self, profile: &ResourceProfile) -> Taken {
        let mut answer = Taken::NoneFits;
        for kind in &mut self.kinds {
            if !kind.slot_profile.is_matching(profile) {
                continue;
            }
            if let Some(node) = kind.stopped.pop_first() {
                return Taken::Node(node, vec![kind.slot_profile.clone(); kind.slots as usize]);
            }
            answer = Taken::NoneLeft;
        }
        answer
    }

    fn give_back(&mut self, node: usize) {
        self.kinds[self.kind_of_node[node]].stopped.insert(node);
    }
}

/// Returns the sort key of a kind. GPUs come first, because they are scarce.
fn size_key(kind: &NodeKind) -> (f64, f64, u64, u32) {
    let profile = &kind.slot_profile;
    (
        profile.extended_resource("gpu").unwrap_or_default(),
        profile.cpu_cores().unwrap_or_default(),
        profile.total_memory_bytes().unwrap_or_default(),
        kind.slots,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Size;

    fn node(cpu_milli: u64, gpus: u64) -> Node {
        let size = Size {
            cpu_milli,
            memory_mib: 1024,
            gpus,
            gpu_milli: 1000,
        };
        Node::new(String::new(), size).unwrap()
    }

    fn taken(pool: &mut NodePool, cpu_cores: f64, gpus: f64) -> Option<usize> {
        let profile = ResourceProfile::builder()
            .cpu_cores(cpu_cores)
            .extended_resource("gpu", gpus)
            .build()
            .unwrap();
        match pool.take(&profile) {
            Taken::Node(node, _) => Some(node),
            Taken::NoneLeft => None,
            Taken::NoneFits => panic!("nothing fits"),
        }
    }

    #[test]
    fn the_smallest_slot_that_fits_is_taken_and_gpus_are_spared() {
        let mut pool = NodePool::new(&[node(16_000, 1), node(8_000, 1), node(8_000, 0), node(8_000, 0)]);
        assert_eq!(taken(&mut pool, 4.0, 0.0), Some(2));
        assert_eq!(taken(&mut pool, 4.0, 0.5), Some(1));
        assert_eq!(taken(&mut pool, 4.0, 0.5), Some(0));
        assert_eq!(taken(&mut pool, 4.0, 0.5), None);
        assert_eq!(taken(&mut pool, 4.0, 0.0), Some(3));
        pool.give_back(1);
        assert_eq!(taken(&mut pool, 4.0, 0.0), Some(1));
    }

    #[test]
    fn a_node_comes_with_all_its_slots() {
        let mut pool = NodePool::new(&[node(16_000, 2)]);
        assert!(matches!(pool.take(&ResourceProfile::ZERO), Taken::Node(0, slots) if slots.len() == 2));
    }

    #[test]
    fn a_slot_that_no_node_has_differs_from_one_that_is_used_up() {
        let mut pool = NodePool::new(&[node(8_000, 0)]);
        let too_large = ResourceProfile::builder().cpu_cores(9.0).build().unwrap();
        assert_eq!(pool.take(&too_large), Taken::NoneFits);
        assert!(matches!(pool.take(&ResourceProfile::ZERO), Taken::Node(0, _)));
        assert_eq!(pool.take(&ResourceProfile::ZERO), Taken::NoneLeft);
    }
}
