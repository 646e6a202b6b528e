//! The events of nodes: they start, register, fail, come back and stop.

use std::time::Duration;

use anyhow::{Result, bail};
use slot_manager::message::Release;
use slot_manager::outcome::{RegistrationOutcome, UnregistrationOutcome, WorkerFailedOutcome};
use slot_manager::{InstanceId, TaskExecutorConnection, WorkerRequestId};

use super::{Event, Simulation};
use crate::effects::WorkerReply;
use crate::machines::{Link, Start};
use crate::network::ReplayGateway;

/// The time that a node takes to stop.
const STOP_TIME: Duration = Duration::from_secs(5);

impl Simulation {
    pub(super) fn worker_asked_for(&mut self, worker_request: WorkerRequestId, reply: WorkerReply) {
        let machine = match reply {
            WorkerReply::Starts(machine) => machine,
            WorkerReply::Declined | WorkerReply::Refused => {
                self.statistics.workers_declined += 1;
                return;
            }
        };
        self.statistics.workers_asked += 1;
        let delay = self.settings.start_delay;
        if !self.chance.fails() {
            self.push(
                delay,
                Event::WorkerStarts {
                    machine,
                    worker_request,
                },
            );
            return;
        }
        self.statistics.workers_failed += 1;
        if self.chance.is_told() {
            self.push(
                delay / 2,
                Event::WorkerFails {
                    machine,
                    worker_request,
                },
            );
        } else {
            self.push(delay, Event::MachineStopped { machine });
        }
    }

    pub(super) fn worker_starts(&mut self, machine: usize, worker_request: WorkerRequestId) -> Result<()> {
        let start = self.machines.start(machine);
        self.statistics.workers_started += 1;
        self.push(self.settings.heartbeat, Event::Heartbeat { start });
        self.register(start, Some(worker_request))
    }

    pub(super) fn worker_fails(&mut self, machine: usize, worker_request: WorkerRequestId) {
        // Unknown if the manager gave the worker up before.
        let _: WorkerFailedOutcome = self.manager.worker_failed(worker_request, "the node did not start");
        self.machine_stopped(machine);
    }

    /// Registers a task executor, after its start or after an outage.
    pub(super) fn register(&mut self, start: Start, worker_request: Option<WorkerRequestId>) -> Result<()> {
        let Some(running) = self.machines.connect(start) else {
            return Ok(());
        };
        let (resource_id, instance_id) = (running.executor.resource_id(), running.instance_id);
        let report = running.executor.slot_report();
        let gateway = ReplayGateway::new(self.outbox.clone());
        let mut connection = TaskExecutorConnection::new(resource_id, instance_id, gateway);
        if let Some(worker_request) = worker_request {
            connection = connection.with_worker_request(worker_request);
        }
        match self.manager.register_task_manager(connection, &report)? {
            RegistrationOutcome::Registered => {}
            RegistrationOutcome::Replaced { .. } => self.statistics.replaced_registrations += 1,
            outcome => bail!("the registration {instance_id} is new, and its outcome is: {outcome}"),
        }
        Ok(())
    }

    pub(super) fn release_asked_for(&mut self, instance_id: InstanceId, reply: Release) -> Result<()> {
        if reply == Release::Declined {
            self.statistics.releases_declined += 1;
            return Ok(());
        }
        let Some(machine) = self.machines.stop(instance_id) else {
            bail!("the manager releases {instance_id}, which is not the registration of any node");
        };
        self.statistics.workers_released += 1;
        self.push(STOP_TIME, Event::MachineStopped { machine });
        Ok(())
    }

    pub(super) fn machine_stopped(&mut self, machine: usize) {
        if let Some(resource_manager) = self.manager.resource_manager() {
            resource_manager.give_back(machine);
        }
    }

    /// Adds the next outage to the queue.
    pub(super) fn expect_outage(&mut self) {
        if let Some((after, machine)) = self.chance.next_outage(self.machines.len()) {
            self.push(after, Event::Outage { machine });
        }
    }

    pub(super) fn outage(&mut self, machine: usize) {
        if self.pods_left == 0 {
            return;
        }
        self.expect_outage();
        let outage = self.chance.outage();
        let Some(running) = self.machines.running_on_mut(machine) else {
            return;
        };
        // The node has failed already.
        if running.link != Link::Up {
            return;
        }
        let (start, instance_id) = (running.start, running.instance_id);
        running.link = if outage.noticed_at_once {
            Link::Refusing
        } else {
            Link::Silent
        };
        if outage.crash {
            running.alive = false;
            running.executor.crash();
            self.statistics.crashes += 1;
        } else {
            running.executor.disconnect();
            self.statistics.disconnections += 1;
        }
        self.push(outage.noticed_after, Event::ConnectionLost { instance_id });
        self.push(outage.back_after, Event::Returns { start });
    }

    pub(super) fn connection_lost(&mut self, instance_id: InstanceId) {
        // Unknown if the node has registered again or was released in the meantime.
        let _: UnregistrationOutcome = self
            .manager
            .unregister_task_manager(instance_id, "the connection is lost");
    }
}
