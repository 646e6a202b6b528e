//! The workload of a replay: nodes with their slots, and pods with their slot requests.

use std::time::Duration;

use slot_manager::error::ResourceProfileError;
use slot_manager::{ResourceProfile, Timestamp};

use crate::resources::Amounts;

/// The name of the extended resource for GPUs.
const GPU: &str = "gpu";
/// The CPU of one slot of a node without GPUs. A pod without GPUs requests one slot for each such
/// part, rounded up.
const CPU_MILLI_PER_SLOT: u64 = 8_000;
/// The most slots of one node or pod. More are a mistake in the data.
const MAX_SLOTS: u64 = 10_000;
/// The latest time, about three centuries. Later ones are a mistake in the data: the manager's
/// clock ends after 584 years.
const MAX_SECONDS: u64 = 10_000_000_000;

/// A cluster and its pods.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// Its source, as the summary names it.
    pub(crate) origin: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) pods: Vec<Pod>,
}

/// The way in which nodes offer their resources, and pods ask for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slicing {
    /// Each node has equal slots, and each pod requests several.
    Static,
    /// Slots are cut from the total of each node, and each pod requests one of its own size.
    Dynamic,
}

impl Slicing {
    /// Returns the name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Static => "static slots",
            Self::Dynamic => "dynamic slots",
        }
    }
}

/// A machine with `slots` slots, all with one profile.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) slots: u32,
    pub(crate) slot_profile: ResourceProfile,
    /// The whole node.
    pub(crate) total: ResourceProfile,
    pub(crate) amounts: Amounts,
}

/// A job that requests `slots` slots when it is created, and frees them when it is deleted.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) slots: u32,
    pub(crate) slot_profile: ResourceProfile,
    /// All that it needs, in one slot.
    pub(crate) total: ResourceProfile,
    pub(crate) created: Timestamp,
    pub(crate) deleted: Timestamp,
    /// The resources of each of its slots, and of all it needs.
    slot_amounts: Amounts,
    amounts: Amounts,
}

/// The resources of a node or pod, in the units of the trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) cpu_milli: u64,
    pub(crate) memory_mib: u64,
    pub(crate) gpus: u64,
    /// The share of each GPU, in thousandths. Always 1000 for a node.
    pub(crate) gpu_milli: u64,
}

/// The reason why numbers do not make a node or a pod, with the wrong one.
#[derive(Debug, PartialEq)]
pub(crate) struct Implausible {
    pub(crate) quantity: Quantity,
    pub(crate) problem: String,
}

/// The numbers from which nodes and pods are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantity {
    Cpu,
    Memory,
    Gpus,
    GpuMilli,
    Creation,
    Deletion,
}

impl Node {
    /// Makes a node with one slot for each GPU or, without GPUs, for each 8 CPU, but at least one.
    pub(crate) fn new(name: String, size: Size) -> Result<Self, Implausible> {
        let slots = if size.gpus > 0 {
            size.gpus
        } else {
            (size.cpu_milli / CPU_MILLI_PER_SLOT).max(1)
        };
        let slots = plausible_slots(slots, size)?;
        Ok(Self {
            name,
            slots,
            slot_profile: share(size, slots)?,
            total: total(size)?,
            amounts: size.in_total(),
        })
    }
}

impl Pod {
    /// Makes a pod that lives from one second of the trace to another.
    pub(crate) fn new(name: String, size: Size, created: u64, deleted: u64) -> Result<Self, Implausible> {
        let slots = if size.gpus > 0 {
            if !(1..=1000).contains(&size.gpu_milli) {
                return Err(Implausible {
                    quantity: Quantity::GpuMilli,
                    problem: format!("{} is not between 1 and 1000, a whole GPU", size.gpu_milli),
                });
            }
            size.gpus
        } else {
            size.cpu_milli.div_ceil(CPU_MILLI_PER_SLOT).max(1)
        };
        let slots = plausible_slots(slots, size)?;
        for (quantity, seconds) in [(Quantity::Creation, created), (Quantity::Deletion, deleted)] {
            if seconds > MAX_SECONDS {
                return Err(Implausible {
                    quantity,
                    problem: format!("{seconds} is later than {MAX_SECONDS} seconds"),
                });
            }
        }
        if deleted < created {
            return Err(Implausible {
                quantity: Quantity::Deletion,
                problem: format!("{deleted} is before the creation at {created}"),
            });
        }
        Ok(Self {
            name,
            slots,
            slot_profile: share(size, slots)?,
            total: total(size)?,
            created: Timestamp::from_secs(created),
            deleted: Timestamp::from_secs(deleted),
            slot_amounts: size.of_slot(slots),
            amounts: size.in_total(),
        })
    }

    /// Returns the number of its requests.
    pub(crate) fn requests(&self, slicing: Slicing) -> u32 {
        match slicing {
            Slicing::Static => self.slots,
            Slicing::Dynamic => 1,
        }
    }

    /// Returns the profile of each of its requests.
    pub(crate) fn request_profile(&self, slicing: Slicing) -> &ResourceProfile {
        match slicing {
            Slicing::Static => &self.slot_profile,
            Slicing::Dynamic => &self.total,
        }
    }

    /// Returns the resources that each of its requests asks for.
    pub(crate) fn request_amounts(&self, slicing: Slicing) -> Amounts {
        match slicing {
            Slicing::Static => self.slot_amounts,
            Slicing::Dynamic => self.amounts,
        }
    }

    /// Returns the time from its creation to its deletion.
    pub(crate) fn lifetime(&self) -> Duration {
        self.deleted - self.created
    }
}

impl Workload {
    /// Orders the pods by their creation, and starts the time with the first.
    pub(crate) fn new(origin: String, nodes: Vec<Node>, mut pods: Vec<Pod>) -> Self {
        pods.sort_by_key(|pod| pod.created);
        if let Some(beginning) = pods.first().map(|pod| pod.created) {
            for pod in &mut pods {
                pod.created = Timestamp::ZERO + (pod.created - beginning);
                pod.deleted = Timestamp::ZERO + (pod.deleted - beginning);
            }
        }
        Self { origin, nodes, pods }
    }

    /// Divides the times of creation and keeps the lifetimes, so that more pods live at the same
    /// time.
    pub(crate) fn compress(&mut self, factor: f64) {
        for pod in &mut self.pods {
            let lifetime = pod.lifetime();
            pod.created = Timestamp::from_nanos((pod.created.as_nanos() as f64 / factor) as u64);
            pod.deleted = pod.created + lifetime;
        }
    }

    /// Returns the number of slots of all nodes.
    pub(crate) fn slots(&self) -> u64 {
        self.nodes.iter().map(|node| u64::from(node.slots)).sum()
    }

    /// Returns the resources of all nodes.
    pub(crate) fn amounts(&self) -> Amounts {
        let mut sum = Amounts::default();
        for node in &self.nodes {
            sum += node.amounts;
        }
        sum
    }

    /// For each pod whether some slot of the cluster, or some whole node, fits its requests.
    pub(crate) fn fits(&self, slicing: Slicing) -> Vec<bool> {
        let mut profiles: Vec<&ResourceProfile> = Vec::new();
        for node in &self.nodes {
            let profile = match slicing {
                Slicing::Static => &node.slot_profile,
                Slicing::Dynamic => &node.total,
            };
            if !profiles.contains(&profile) {
                profiles.push(profile);
            }
        }
        let fits = |pod: &Pod| {
            let required = pod.request_profile(slicing);
            profiles.iter().any(|profile| profile.is_matching(required))
        };
        self.pods.iter().map(fits).collect()
    }
}

impl Size {
    /// Returns all resources together.
    fn in_total(self) -> Amounts {
        Amounts([
            self.cpu_milli,
            self.memory_mib,
            self.gpus.saturating_mul(self.gpu_milli),
        ])
    }

    /// Returns one of `slots` equal shares, rounded down.
    fn of_slot(self, slots: u32) -> Amounts {
        let slots = u64::from(slots);
        let gpu_milli = if self.gpus > 0 { self.gpu_milli } else { 0 };
        Amounts([self.cpu_milli / slots, self.memory_mib / slots, gpu_milli])
    }
}

fn plausible_slots(slots: u64, size: Size) -> Result<u32, Implausible> {
    if slots <= MAX_SLOTS {
        return Ok(slots as u32);
    }
    let (quantity, value) = if size.gpus > 0 {
        (Quantity::Gpus, size.gpus)
    } else {
        (Quantity::Cpu, size.cpu_milli)
    };
    Err(Implausible {
        quantity,
        problem: format!("{value} makes {slots} slots, more than {MAX_SLOTS}"),
    })
}

/// Returns one of `slots` equal shares. It is rounded down for nodes and pods, so that a pod that
/// needs a whole node still fits the node.
fn share(size: Size, slots: u32) -> Result<ResourceProfile, Implausible> {
    profile(size.of_slot(slots))
}

/// Returns all resources in one profile.
fn total(size: Size) -> Result<ResourceProfile, Implausible> {
    profile(size.in_total())
}

fn profile(Amounts([cpu_milli, memory_mib, gpu_milli]): Amounts) -> Result<ResourceProfile, Implausible> {
    let profile = ResourceProfile::builder()
        .cpu_cores(cpu_milli as f64 / 1000.0)
        .task_heap_memory_mebibytes(memory_mib)
        .extended_resource(GPU, gpu_milli as f64 / 1000.0);
    profile.build().map_err(|error| Implausible {
        quantity: match &error {
            ResourceProfileError::InvalidAmount { resource, .. } if resource == "cpu" => Quantity::Cpu,
            _ => Quantity::Memory,
        },
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(cpu_milli: u64, memory_mib: u64, gpus: u64, gpu_milli: u64) -> Size {
        Size {
            cpu_milli,
            memory_mib,
            gpus,
            gpu_milli,
        }
    }

    fn node(cpu_milli: u64, memory_mib: u64, gpus: u64) -> Node {
        Node::new("node".to_owned(), size(cpu_milli, memory_mib, gpus, 1000)).unwrap()
    }

    fn pod(size: Size, created: u64, deleted: u64) -> Result<Pod, Implausible> {
        Pod::new("pod".to_owned(), size, created, deleted)
    }

    #[test]
    fn a_node_with_gpus_has_a_slot_for_each() {
        let node = node(96_000, 393_216, 8);
        assert_eq!(node.slots, 8);
        assert_eq!(node.slot_profile.cpu_cores(), Some(12.0));
        assert_eq!(node.slot_profile.task_heap_memory_bytes(), Some(49_152 << 20));
        assert_eq!(node.slot_profile.extended_resource("gpu"), Some(1.0));
    }

    #[test]
    fn a_node_without_gpus_has_a_slot_for_each_8_cpu_and_at_least_one() {
        assert_eq!(node(104_000, 524_288, 0).slots, 13);
        assert_eq!(node(15_999, 1024, 0).slots, 1);
        assert_eq!(node(4_000, 1024, 0).slots, 1);
    }

    #[test]
    fn a_pod_asks_for_a_slot_for_each_gpu_or_for_each_8_cpu_begun() {
        let shared = pod(size(6_000, 12_288, 1, 460), 0, 1).unwrap();
        assert_eq!(shared.slots, 1);
        assert_eq!(shared.slot_profile.extended_resource("gpu"), Some(0.46));
        assert_eq!(pod(size(88_000, 327_680, 8, 1000), 0, 1).unwrap().slots, 8);
        assert_eq!(pod(size(12_500, 57_344, 0, 0), 0, 1).unwrap().slots, 2);
        assert_eq!(pod(size(16_000, 57_344, 0, 0), 0, 1).unwrap().slots, 2);
        assert_eq!(pod(size(0, 0, 0, 0), 0, 1).unwrap().slots, 1);
    }

    #[test]
    fn a_dynamic_pod_asks_for_all_it_needs_in_one_slot_of_a_whole_node() {
        let node = node(96_000, 393_216, 8);
        assert_eq!(node.total.cpu_cores(), Some(96.0));
        assert_eq!(node.total.task_heap_memory_bytes(), Some(393_216 << 20));
        assert_eq!(node.total.extended_resource("gpu"), Some(8.0));

        let large = pod(size(20_000, 65_536, 4, 250), 0, 1).unwrap();
        assert_eq!(
            (large.requests(Slicing::Static), large.requests(Slicing::Dynamic)),
            (4, 1)
        );
        let asked = large.request_profile(Slicing::Dynamic);
        assert_eq!(
            (asked.cpu_cores(), asked.extended_resource("gpu")),
            (Some(20.0), Some(1.0))
        );
        assert_eq!(large.request_amounts(Slicing::Static), Amounts([5_000, 16_384, 250]));
        assert_eq!(
            large.request_amounts(Slicing::Dynamic),
            Amounts([20_000, 65_536, 1_000])
        );
        let without_gpu = pod(size(12_500, 57_344, 0, 1000), 0, 1).unwrap();
        assert_eq!(
            without_gpu.request_amounts(Slicing::Static),
            Amounts([6_250, 28_672, 0])
        );
        assert_eq!(
            without_gpu
                .request_profile(Slicing::Dynamic)
                .extended_resources()
                .count(),
            0
        );
    }

    #[test]
    fn a_pod_can_fit_a_whole_node_but_no_slot_of_it() {
        let pods = [(20_000, 1), (24_000, 2), (40_000, 2)].map(|(cpu_milli, gpus)| {
            let size = size(cpu_milli, 1_024, gpus, 1000);
            pod(size, 0, 1).unwrap()
        });
        let workload = Workload::new(String::new(), vec![node(32_000, 65_536, 2)], pods.to_vec());
        assert_eq!(workload.fits(Slicing::Static), [false, true, false]);
        assert_eq!(workload.fits(Slicing::Dynamic), [true, true, false]);
        assert_eq!(workload.amounts(), Amounts([32_000, 65_536, 2_000]));
    }

    #[test]
    fn rounding_never_makes_a_share_too_large_for_its_node() {
        for (cpu_milli, memory_mib, gpus) in [(82_000, 344_065, 7), (100_001, 100_003, 3), (25_999, 65_537, 0)] {
            let node = node(cpu_milli, memory_mib, gpus);
            let cpu_of_pod = cpu_milli.min(u64::from(node.slots) * CPU_MILLI_PER_SLOT);
            let asked = if gpus > 0 { cpu_milli } else { cpu_of_pod };
            let pod = pod(size(asked, memory_mib, gpus, 1000), 0, 1).unwrap();
            assert_eq!(pod.slots, node.slots);
            assert!(node.slot_profile.is_matching(&pod.slot_profile));
        }
    }

    #[test]
    fn implausible_numbers_name_the_quantity() {
        let quantity = |size, created, deleted| pod(size, created, deleted).unwrap_err().quantity;
        assert_eq!(quantity(size(1, 1, 1, 0), 0, 1), Quantity::GpuMilli);
        assert_eq!(quantity(size(1, 1, 1, 1001), 0, 1), Quantity::GpuMilli);
        assert_eq!(quantity(size(u64::MAX, 1, 0, 0), 0, 1), Quantity::Cpu);
        assert_eq!(quantity(size(u64::MAX, 1, 1, 1000), 0, 1), Quantity::Cpu);
        assert_eq!(quantity(size(1, u64::MAX, 1, 1000), 0, 1), Quantity::Memory);
        assert_eq!(quantity(size(1, 1, 1 << 32, 1000), 0, 1), Quantity::Gpus);
        assert_eq!(quantity(size(1, 1, 0, 0), 9, 8), Quantity::Deletion);
        assert_eq!(quantity(size(1, 1, 0, 0), u64::MAX, u64::MAX), Quantity::Creation);
    }

    #[test]
    fn compression_keeps_lifetimes_and_time_begins_with_the_first_pod() {
        let pods = vec![
            pod(size(1, 1, 0, 0), 1_100, 1_150).unwrap(),
            pod(size(1, 1, 0, 0), 1_000, 1_700).unwrap(),
        ];
        let mut workload = Workload::new(String::new(), Vec::new(), pods);
        workload.compress(10.0);
        let times: Vec<_> = workload.pods.iter().map(|pod| (pod.created, pod.deleted)).collect();
        let seconds = Timestamp::from_secs;
        assert_eq!(times, [(seconds(0), seconds(700)), (seconds(10), seconds(60))]);
    }
}
