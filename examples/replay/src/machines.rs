//! The machines of the cluster, and the task executors on them.

use std::collections::HashMap;

use slot_manager::testing::{ManualScheduledExecutor, SimulatedTaskExecutor};
use slot_manager::{InstanceId, LeaderId, ResourceId, SlotId, Timestamp};

use crate::workload::{Node, Slicing};

/// All machines, by their index in the workload.
pub(crate) struct Machines {
    machines: Vec<Machine>,
    /// The machine that runs under a resource id.
    by_resource: HashMap<ResourceId, usize>,
    clock: ManualScheduledExecutor,
    leader_id: LeaderId,
    registrations: u128,
    slicing: Slicing,
    /// Whether each start of a machine is a new worker.
    elastic: bool,
}

/// One start of a machine. A message to an earlier start never arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) machine: usize,
    number: u32,
}

struct Machine {
    node: Node,
    starts: u32,
    running: Option<Running>,
}

/// A running machine with its task executor.
pub(crate) struct Running {
    pub(crate) start: Start,
    pub(crate) executor: SimulatedTaskExecutor,
    /// Its current or last registration.
    pub(crate) instance_id: InstanceId,
    pub(crate) link: Link,
    /// Whether the process lives. A crashed process does nothing until it is back.
    pub(crate) alive: bool,
    /// An attempt gets no answer, or a late one, until this time.
    pub(crate) hangs_until: Timestamp,
    /// Whether an event that frees unused slots is in the queue.
    pub(crate) expects_slot_timeout: bool,
}

/// The connection between a task executor and the manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    /// Broken, and each sender gets an error.
    Refusing,
    /// Broken without a sign.
    Silent,
}

impl Machines {
    pub(crate) fn new(
        nodes: &[Node],
        slicing: Slicing,
        elastic: bool,
        leader_id: LeaderId,
        clock: ManualScheduledExecutor,
    ) -> Self {
        let machine = |node: &Node| Machine {
            node: node.clone(),
            starts: 0,
            running: None,
        };
        Self {
            machines: nodes.iter().map(machine).collect(),
            by_resource: HashMap::new(),
            clock,
            leader_id,
            registrations: 0,
            slicing,
            elastic,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.machines.len()
    }

    /// Starts a stopped machine with all slots free, or with its whole total.
    pub(crate) fn start(&mut self, index: usize) -> Start {
        let machine = &mut self.machines[index];
        machine.starts += 1;
        let start = Start {
            machine: index,
            number: machine.starts,
        };
        let resource_id = ResourceId::new(if self.elastic {
            format!("{}#{}", machine.node.name, start.number)
        } else {
            machine.node.name.clone()
        });
        let (node, clock) = (&machine.node, self.clock.clone());
        let executor = match self.slicing {
            Slicing::Static => {
                let slots = std::iter::repeat_n(node.slot_profile.clone(), node.slots as usize);
                SimulatedTaskExecutor::new(resource_id.clone(), slots, clock)
            }
            Slicing::Dynamic => SimulatedTaskExecutor::dynamic(resource_id.clone(), node.total.clone(), clock),
        };
        machine.running = Some(Running {
            start,
            executor,
            instance_id: InstanceId::from_u128(0),
            link: Link::Silent,
            alive: true,
            hangs_until: Timestamp::ZERO,
            expects_slot_timeout: false,
        });
        self.by_resource.insert(resource_id, index);
        start
    }

    /// Connects the task executor to the manager as a new registration.
    pub(crate) fn connect(&mut self, start: Start) -> Option<&Running> {
        self.registrations += 1;
        let (instance_id, leader_id) = (InstanceId::from_u128(self.registrations), self.leader_id);
        let running = self.running_mut(start)?;
        // The returned connection has no delay. The replay has its own network.
        let _ = running.executor.connect(leader_id, instance_id);
        running.instance_id = instance_id;
        running.link = Link::Up;
        running.alive = true;
        Some(running)
    }

    /// Stops the machine with this registration and returns its index. `None` if there is none.
    pub(crate) fn stop(&mut self, instance_id: InstanceId) -> Option<usize> {
        let index = self.machines.iter().position(|machine| {
            let running = machine.running.as_ref();
            running.is_some_and(|running| running.instance_id == instance_id)
        })?;
        let running = self.machines[index].running.take()?;
        self.by_resource.remove(&running.executor.resource_id());
        Some(index)
    }

    /// Returns the running machine of this start, if it still runs.
    pub(crate) fn running_mut(&mut self, start: Start) -> Option<&mut Running> {
        let running = self.machines[start.machine].running.as_mut()?;
        (running.start == start).then_some(running)
    }

    /// Returns the running machine with this index.
    pub(crate) fn running_on_mut(&mut self, machine: usize) -> Option<&mut Running> {
        self.machines[machine].running.as_mut()
    }

    fn running_on(&self, machine: usize) -> Option<&Running> {
        self.machines[machine].running.as_ref()
    }

    /// Returns the running machine that has a slot, if its process lives.
    pub(crate) fn owner(&self, slot_id: &SlotId) -> Option<&Running> {
        let machine = *self.by_resource.get(slot_id.resource_id())?;
        self.running_on(machine).filter(|running| running.alive)
    }

    /// Returns `true` if this registration of a machine is the present one, its link is up, and it
    /// answers.
    pub(crate) fn is_healthy(&self, resource_id: &ResourceId, instance_id: InstanceId, now: Timestamp) -> bool {
        let machine = self.by_resource.get(resource_id);
        let running = machine.and_then(|machine| self.running_on(*machine));
        running.is_some_and(|running| {
            let answers = running.link == Link::Up && running.hangs_until <= now;
            running.alive && answers && running.instance_id == instance_id
        })
    }

    /// Returns the start of the machine that has a slot.
    pub(crate) fn start_of(&self, slot_id: &SlotId) -> Option<Start> {
        let machine = *self.by_resource.get(slot_id.resource_id())?;
        Some(self.running_on(machine)?.start)
    }

    /// Returns all running machines in the order of the workload.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Running> {
        self.machines.iter().filter_map(|machine| machine.running.as_ref())
    }
}
