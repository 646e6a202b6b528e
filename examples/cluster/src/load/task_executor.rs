//! A simulated task executor: it acknowledges at once, and frees a slot when its job says so.

use std::time::Duration;

use anyhow::{Context, bail};
use slot_manager::message::{ReleaseCheck, ReleaseDecision, SlotFreed};
use slot_manager::task_executor::TaskSlotTable;
use slot_manager::{AllocationId, ResourceId, ResourceProfile, SlotId, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::protocol::channel::PeerChannel;
use crate::protocol::v1::from_task_executor::Message as FromUs;
use crate::protocol::v1::resource_manager_client::ResourceManagerClient;
use crate::protocol::v1::to_task_executor::Message as ToUs;
use crate::protocol::{Epoch, Registration, instance_id, limits, slot_answer, v1};

const OUTBOX: usize = 256;

/// The start of the resource ids of simulated task executors.
const NAME: &str = "load-";

/// The way to a simulated task executor: it frees the slot of the allocation.
pub type Orders = mpsc::UnboundedSender<AllocationId>;

pub struct SimulatedTaskExecutor {
    pub number: u32,
    pub profiles: Vec<ResourceProfile>,
    pub heartbeat_interval: Option<Duration>,
    pub ordered: mpsc::UnboundedReceiver<AllocationId>,
}

/// Returns the number of the simulated task executor that offers a slot.
pub fn number_of(slot: &str) -> Option<usize> {
    let slot: SlotId = slot.parse().ok()?;
    slot.resource_id().as_str().strip_prefix(NAME)?.parse().ok()
}

impl SimulatedTaskExecutor {
    /// Registers with the resource manager.
    pub async fn register(self, channel: PeerChannel) -> anyhow::Result<Session> {
        let resource_id = ResourceId::from(format!("{NAME}{}", self.number));
        let mut table = TaskSlotTable::new(resource_id.clone(), self.profiles);
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let register = FromUs::Register(v1::RegisterTaskExecutor {
            resource_id: resource_id.to_string(),
            highest_epoch: 0,
            worker_request: None,
            report: Some((&table.report()).into()),
        });
        outbox
            .send(v1::FromTaskExecutor {
                message: Some(register),
            })
            .await?;
        let mut client = ResourceManagerClient::new(channel);
        let stream = timeout(limits::FIRST_MESSAGE, async {
            let mut stream = client
                .connect_task_executor(ReceiverStream::new(messages))
                .await?
                .into_inner();
            let first = stream.message().await?;
            anyhow::Ok((stream, first))
        });
        let (stream, first) = stream.await.context("the resource manager does not answer")??;
        let Some(ToUs::Registered(registered)) = first.and_then(|first| first.message) else {
            bail!("the resource manager has not accepted the registration");
        };
        let registration = Registration {
            epoch: Epoch(registered.epoch),
            resource_id,
            instance_id: instance_id("instance_id", &registered.instance_id)?,
        };
        table.connect(registration.epoch.leader_id(), registration.instance_id);
        let asked = Duration::from_millis(registered.heartbeat_interval_ms.max(1).into());
        Ok(Session {
            registration,
            table,
            stream,
            outbox,
            heartbeats: heartbeats(self.heartbeat_interval.unwrap_or(asked)),
            ordered: self.ordered,
        })
    }
}

/// Returns the ticks of heartbeats. The first comes at a random time within the interval.
fn heartbeats(interval: Duration) -> Interval {
    let first = Instant::now() + interval.mul_f64(rand::random_range(0.0..1.0));
    let mut heartbeats = interval_at(first, interval);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeats
}

/// How a simulated task executor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The load has ended.
    Load,
    /// The resource manager has released it, since it was idle.
    Released,
}

/// A registered task executor. One task owns its slots, so messages leave in the order of changes.
pub struct Session {
    registration: Registration,
    table: TaskSlotTable,
    stream: Streaming<v1::ToTaskExecutor>,
    outbox: mpsc::Sender<v1::FromTaskExecutor>,
    heartbeats: Interval,
    ordered: mpsc::UnboundedReceiver<AllocationId>,
}

impl Session {
    /// Serves until the end of the load, or until the resource manager releases it.
    ///
    /// # Errors
    /// The resource manager ends the connection.
    pub async fn run(mut self, end: CancellationToken) -> anyhow::Result<End> {
        loop {
            let message = tokio::select! {
                () = end.cancelled() => return Ok(End::Load),
                message = self.stream.message() => {
                    let message = message?.context("the resource manager has ended the connection")?;
                    if let Some(ToUs::Stop(_)) = message.message {
                        return Ok(End::Released);
                    }
                    self.answer(message)?
                }
                Some(allocation_id) = self.ordered.recv() => self.table.free(allocation_id).map(freed),
                _ = self.heartbeats.tick() => Some(FromUs::Heartbeat((&self.table.report()).into())),
            };
            if message.is_some() {
                self.outbox.send(v1::FromTaskExecutor { message }).await?;
            }
        }
    }

    fn answer(&mut self, message: v1::ToTaskExecutor) -> anyhow::Result<Option<FromUs>> {
        // A message of a later version is read as none.
        let Some(message) = message.message else {
            return Ok(None);
        };
        Ok(match message {
            ToUs::Registered(_) => bail!("registered twice"),
            ToUs::Heartbeat(_) | ToUs::Stop(_) => None,
            ToUs::AllocateSlot(request) => {
                let request = self.registration.allocate_slot(request)?;
                // No slot timeout is ever looked at, so the time does not matter.
                let result = self.table.request_slot(&request, Timestamp::ZERO);
                Some(FromUs::SlotAnswer(slot_answer(&request, &result)))
            }
            ToUs::FreeSlot(request) => {
                let request = self.registration.free_slot(request)?;
                self.table.free_slot(&request).map(freed)
            }
            // It is for jobs that declare. Simulated jobs request slots one by one.
            ToUs::FreeInactiveSlots(_) => None,
            ToUs::ReleaseCheck(v1::ReleaseCheck { check }) => {
                let decision = self.table.can_be_released(&ReleaseCheck {
                    instance_id: self.registration.instance_id,
                    leader_id: self.registration.epoch.leader_id(),
                    number: check,
                });
                let may_be_released = decision == ReleaseDecision::Release;
                Some(FromUs::ReleaseAnswer(v1::ReleaseAnswer { check, may_be_released }))
            }
        })
    }
}

fn freed(freed: SlotFreed) -> FromUs {
    FromUs::SlotFreed((&freed).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_name_their_task_executor() {
        assert_eq!(number_of("load-17_3"), Some(17));
        assert_eq!(number_of("worker-17_3"), None);
        assert_eq!(number_of("load-17"), None);
        assert_eq!(number_of(""), None);
    }
}
