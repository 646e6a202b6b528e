//! A task executor that the test plays: it can be silent, or refuse all slots.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slot_manager::AllocationId;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::interval;
use tokio_stream::wrappers::ReceiverStream;

use super::harness::{Cluster, now_us};

use self::v1::from_task_executor::Message as FromUs;
use self::v1::to_task_executor::Message as ToUs;

/// The generated code.
#[expect(clippy::pedantic, reason = "generated")]
mod v1 {
    tonic::include_proto!("slot_manager.cluster.v1");
}

const OUTBOX: usize = 1_024;

/// What a double does with a request for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Gives no answer. It still sends heartbeats.
    Silent,
    Refuses,
    /// Gives the slot, and says that each task ends well.
    Works,
}

/// A task executor in the process of the test. It ends with it.
pub struct Double {
    behaviour: watch::Sender<Behaviour>,
    _runtime: Runtime,
}

impl Double {
    pub fn behave(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }
}

impl Cluster {
    /// Starts a double that registers with a resource manager.
    pub fn double(&self, name: &str, manager: &str, slots: u32, behaviour: Behaviour) -> Double {
        let (sender, behaviour) = watch::channel(behaviour);
        let (freed, is_free) = mpsc::channel(OUTBOX);
        let worker = Worker {
            name: name.to_owned(),
            slots,
            held: BTreeMap::new(),
            revision: 0,
            behaviour,
            freed,
            events: Events::new(self.path(&format!("{name}.events")), name),
        };
        let runtime = Runtime::new().expect("a runtime");
        runtime.spawn(worker.run(format!("http://{}", self.addresses[manager]), is_free));
        Double {
            behaviour: sender,
            _runtime: runtime,
        }
    }
}

/// The event log of a double.
#[derive(Clone)]
struct Events {
    path: PathBuf,
    name: String,
    next: Arc<Mutex<u64>>,
}

impl Events {
    fn new(path: PathBuf, name: &str) -> Self {
        let (name, next) = (name.to_owned(), Arc::default());
        Self { path, name, next }
    }

    fn log(&self, event: &str, epoch: u64, slot: &str, allocation: &str) {
        let mut next = self.next.lock().expect("no other test has it");
        let line = serde_json::json!({
            "seq": *next,
            "at_us": now_us(),
            "process": self.name,
            "event": event,
            "worker": self.name,
            "epoch": epoch,
            "slot": slot,
            "allocation": allocation,
        });
        *next += 1;
        let log = File::options().create(true).append(true).open(&self.path);
        log.and_then(|mut log| log.write_all(format!("{line}\n").as_bytes()))
            .expect("a log file");
    }
}

struct Worker {
    name: String,
    slots: u32,
    held: BTreeMap<u32, v1::AllocateSlot>,
    revision: u64,
    behaviour: watch::Receiver<Behaviour>,
    /// Hears of the slots that jobs have released.
    freed: mpsc::Sender<u32>,
    events: Events,
}

impl Worker {
    async fn run(mut self, manager: String, mut released: mpsc::Receiver<u32>) {
        let client = v1::resource_manager_client::ResourceManagerClient::connect(manager).await;
        let mut client = client.expect("a resource manager");
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let say = async |message| {
            let message = v1::FromTaskExecutor { message: Some(message) };
            outbox.send(message).await.expect("a resource manager that listens");
        };
        say(FromUs::Register(v1::RegisterTaskExecutor {
            resource_id: self.name.clone(),
            highest_epoch: 0,
            worker_request: None,
            report: Some(self.report()),
        }))
        .await;
        let messages = client.connect_task_executor(ReceiverStream::new(messages)).await;
        let mut messages = messages.expect("a leader").into_inner();
        let mut heartbeats = interval(Duration::from_millis(200));
        let mut epoch = 0;
        loop {
            tokio::select! {
                _ = heartbeats.tick(), if epoch > 0 => say(FromUs::Heartbeat(self.report())).await,
                Some(slot) = released.recv() => say(self.free(slot)).await,
                message = messages.message() => match message {
                    Ok(Some(v1::ToTaskExecutor { message: Some(message) })) => match message {
                        ToUs::Registered(registered) => {
                            epoch = registered.epoch;
                            self.events.log("registered", epoch, "", "");
                        }
                        ToUs::AllocateSlot(request) => {
                            if let Some(result) = self.allocate(&request, epoch) {
                                say(FromUs::SlotAnswer(answer(&request, result))).await;
                            }
                        }
                        _ => {}
                    },
                    // The test is over.
                    _ => return,
                },
            }
        }
    }

    fn report(&self) -> v1::SlotReport {
        let slots = (0..self.slots).map(|slot| v1::SlotStatus {
            slot_number: slot,
            profile: 0,
            allocation: self.held.get(&slot).and_then(|held| held.allocation.clone()),
        });
        v1::SlotReport {
            revision: self.revision,
            profiles: vec![v1::ResourceProfile {
                cpu_cores: 1.0,
                ..v1::ResourceProfile::default()
            }],
            slots: slots.collect(),
            dynamic: None,
        }
    }

    /// Returns the answer to a request; `None` without one.
    fn allocate(&mut self, request: &v1::AllocateSlot, epoch: u64) -> Option<v1::slot_answer::Result> {
        let (slot, allocation) = (self.slot(request.slot_number), allocation_of(request));
        self.events.log("asked", epoch, &slot, &allocation);
        let behaviour = *self.behaviour.borrow();
        match behaviour {
            Behaviour::Silent => None,
            Behaviour::Refuses => Some(v1::slot_answer::Result::Rejected("it refuses all".to_owned())),
            Behaviour::Works => {
                self.events.log("allocated", epoch, &slot, &allocation);
                self.revision += 1;
                self.held.insert(request.slot_number, request.clone());
                let offer = offer(self.name.clone(), request.clone(), epoch);
                let (freed, slot) = (self.freed.clone(), request.slot_number);
                tokio::spawn(async move {
                    offer.await;
                    // The double may have ended.
                    let _ = freed.send(slot).await;
                });
                let revision = self.revision;
                Some(v1::slot_answer::Result::Acknowledged(v1::Acknowledged { revision }))
            }
        }
    }

    fn free(&mut self, slot: u32) -> FromUs {
        let held = self.held.remove(&slot).expect("a slot is released once");
        self.events.log("freed", 0, &self.slot(slot), &allocation_of(&held));
        self.revision += 1;
        FromUs::SlotFreed(v1::SlotFreed {
            slot_number: slot,
            allocation_id: held.allocation.map(|held| held.allocation_id).unwrap_or_default(),
            revision: self.revision,
            attempt: Some(held.attempt),
        })
    }

    fn slot(&self, number: u32) -> String {
        format!("{}_{number}", self.name)
    }
}

fn answer(request: &v1::AllocateSlot, result: v1::slot_answer::Result) -> v1::SlotAnswer {
    let allocation = request.allocation.clone().expect("an allocation");
    v1::SlotAnswer {
        attempt: Some(v1::AttemptId {
            number: request.attempt,
            allocation_id: allocation.allocation_id,
        }),
        result: Some(result),
    }
}

/// Returns the id of an allocation, as in the logs of others.
fn allocation_of(request: &v1::AllocateSlot) -> String {
    let id = &request.allocation.as_ref().expect("an allocation").allocation_id;
    AllocationId::from_bytes(id.as_slice().try_into().expect("16 bytes")).to_string()
}

/// Offers a slot to the job master, and says that each task ends well. Ends when the job releases
/// the slot or is gone.
async fn offer(name: String, request: v1::AllocateSlot, epoch: u64) {
    let address = format!("http://{}", request.target_address);
    let Ok(mut client) = v1::job_master_client::JobMasterClient::connect(address).await else {
        return;
    };
    let (outbox, messages) = mpsc::channel(OUTBOX);
    let say = async |message| {
        let message = v1::FromSlot { message: Some(message) };
        outbox.send(message).await.is_ok()
    };
    let allocation = request.allocation.expect("an allocation");
    let offer = v1::from_slot::Message::Offer(v1::OfferSlot {
        resource_id: name,
        slot_number: request.slot_number,
        allocation_id: allocation.allocation_id,
        job_id: allocation.job_id,
        epoch,
    });
    say(offer).await;
    let Ok(messages) = client.offer_slot(ReceiverStream::new(messages)).await else {
        return;
    };
    let mut messages = messages.into_inner();
    while let Ok(Some(v1::ToSlot {
        message: Some(v1::to_slot::Message::Run(run)),
    })) = messages.message().await
    {
        let ended = v1::TaskEnded {
            task: run.task,
            exit_code: Some(0),
        };
        if !say(v1::from_slot::Message::Ended(ended)).await {
            return;
        }
    }
}
