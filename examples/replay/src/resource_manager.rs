//! The resource manager. In an elastic cluster it starts nodes on demand and stops released ones.
//! In a fixed cluster all nodes run from the beginning to the end.

use std::collections::BTreeSet;

use slot_manager::error::ResourceManagerError;
use slot_manager::message::{AllocationFailureCause, Release, ReleaseResource, WorkerPromise};
use slot_manager::{AllocationId, JobId, ResourceManagerActions, ResourceProfile, SlotId, WorkerRequestId};

use crate::effects::{Effect, Outbox, WorkerReply};
use crate::workload::{Node, Slicing};

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
    pub(crate) fn elastic(outbox: Outbox, nodes: &[Node], slicing: Slicing) -> Self {
        Self {
            outbox,
            pool: Some(NodePool::new(nodes, slicing)),
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
                Taken::Node(node, promise) => (WorkerReply::Starts(node), Ok(promise)),
                Taken::NoneLeft => (WorkerReply::Declined, Ok(WorkerPromise::Declined)),
                Taken::NoneFits => (
                    WorkerReply::Refused,
                    Err(ResourceManagerError::new("no node has so much in a slot, or in total")),
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

/// The stopped nodes, by their slots or totals.
#[derive(Debug)]
struct NodePool {
    /// From the smallest slots or totals to the largest.
    kinds: Vec<NodeKind>,
    kind_of_node: Vec<usize>,
}

#[derive(Debug)]
struct NodeKind {
    slots: u32,
    /// The largest request that such a node serves: a slot, or the total of a dynamic worker.
    largest: ResourceProfile,
    slicing: Slicing,
    stopped: BTreeSet<usize>,
}

#[derive(Debug, PartialEq)]
enum Taken {
    Node(usize, WorkerPromise),
    /// All nodes that fit are running.
    NoneLeft,
    NoneFits,
}

impl NodePool {
    fn new(nodes: &[Node], slicing: Slicing) -> Self {
        let mut kinds: Vec<NodeKind> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let (slots, largest) = match slicing {
                Slicing::Static => (node.slots, &node.slot_profile),
                Slicing::Dynamic => (1, &node.total),
            };
            let same = |kind: &&mut NodeKind| kind.slots == slots && kind.largest == *largest;
            match kinds.iter_mut().find(same) {
                Some(kind) => {
                    kind.stopped.insert(index);
                }
                None => kinds.push(NodeKind {
                    slots,
                    largest: largest.clone(),
                    slicing,
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

    /// Takes a node with the smallest slots or total that fits, and among equal ones the first of the
    /// trace.
    fn take(&mut self, profile: &ResourceProfile) -> Taken {
        let mut answer = Taken::NoneFits;
        for kind in &mut self.kinds {
            if !kind.largest.is_matching(profile) {
                continue;
            }
            if let Some(node) = kind.stopped.pop_first() {
                return Taken::Node(node, kind.promise());
            }
            answer = Taken::NoneLeft;
        }
        answer
    }

    fn give_back(&mut self, node: usize) {
        self.kinds[self.kind_of_node[node]].stopped.insert(node);
    }
}

impl NodeKind {
    /// Returns the promise of such a node.
    fn promise(&self) -> WorkerPromise {
        match self.slicing {
            Slicing::Static => WorkerPromise::Slots(vec![self.largest.clone(); self.slots as usize]),
            Slicing::Dynamic => WorkerPromise::Total(self.largest.clone().into()),
        }
    }
}

/// Returns the sort key of a kind. GPUs come first, because they are scarce.
fn size_key(kind: &NodeKind) -> (f64, f64, u64, u32) {
    let profile = &kind.largest;
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
        let nodes = [node(16_000, 1), node(8_000, 1), node(8_000, 0), node(8_000, 0)];
        let mut pool = NodePool::new(&nodes, Slicing::Static);
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
        let mut pool = NodePool::new(&[node(16_000, 2)], Slicing::Static);
        let taken = pool.take(&ResourceProfile::ZERO);
        assert!(matches!(taken, Taken::Node(0, WorkerPromise::Slots(slots)) if slots.len() == 2));
    }

    #[test]
    fn a_dynamic_node_comes_with_its_total_and_serves_requests_up_to_it() {
        let mut pool = NodePool::new(&[node(16_000, 2), node(8_000, 2)], Slicing::Dynamic);
        let whole = ResourceProfile::builder().cpu_cores(16.0).build().unwrap();
        let taken = pool.take(&whole);
        assert!(
            matches!(&taken, Taken::Node(0, WorkerPromise::Total(worker)) if worker.total().cpu_cores() == Some(16.0)),
            "{taken:?}"
        );
        assert_eq!(pool.take(&whole), Taken::NoneLeft);
        assert!(matches!(pool.take(&ResourceProfile::ZERO), Taken::Node(1, _)));
    }

    #[test]
    fn a_slot_that_no_node_has_differs_from_one_that_is_used_up() {
        let mut pool = NodePool::new(&[node(8_000, 0)], Slicing::Static);
        let too_large = ResourceProfile::builder().cpu_cores(9.0).build().unwrap();
        assert_eq!(pool.take(&too_large), Taken::NoneFits);
        assert!(matches!(pool.take(&ResourceProfile::ZERO), Taken::Node(0, _)));
        assert_eq!(pool.take(&ResourceProfile::ZERO), Taken::NoneLeft);
    }
}
