//! The gRPC server at which task executors offer slots.

use std::pin::Pin;

use slot_manager::{AllocationId, JobId, SlotId};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::Input;
use super::tasks::OfferRefused;
use crate::protocol::security::Security;
use crate::protocol::v1::from_slot::Message as FromSlot;
use crate::protocol::v1::job_master_server::{JobMaster, JobMasterServer};
use crate::protocol::v1::to_slot::Message as ToSlot;
use crate::protocol::{Epoch, ProtocolError, allocation_id, job_id, limits, server, v1};

/// The most messages that wait for a slot: a task, a release and an error.
const OUTBOX: usize = 3;

/// A slot that a task executor offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub slot_id: SlotId,
    pub allocation_id: AllocationId,
    /// The epoch in which the slot was granted.
    pub epoch: Epoch,
}

/// The way to a slot. Dropping it ends the stream, and so the use of the slot.
#[derive(Debug)]
pub struct SlotOutbox(mpsc::Sender<Result<v1::ToSlot, Status>>);

impl SlotOutbox {
    /// Runs a task in the slot. Returns `false` if the slot is gone.
    pub fn run(&self, task: u64, command: Vec<String>) -> bool {
        self.send(ToSlot::Run(v1::RunTask { task, command }))
    }

    /// Releases the slot.
    pub fn release(self) {
        self.send(ToSlot::Release(v1::ReleaseSlot {}));
    }

    fn send(&self, message: ToSlot) -> bool {
        let message = v1::ToSlot { message: Some(message) };
        self.0.try_send(Ok(message)).is_ok()
    }
}

/// Serves until it is stopped. Streams that are open then end with the process.
pub async fn serve(
    listener: TcpListener,
    job_id: JobId,
    inputs: mpsc::Sender<Input>,
    security: Security,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let service = JobMasterServer::new(Service { job_id, inputs });
    let service = service.max_decoding_message_size(limits::MESSAGE_BYTES);
    let server = server::serve(service, listener, &security, CancellationToken::new());
    // A graceful shutdown would wait for streams of peers that hang.
    stop.run_until_cancelled(server).await.unwrap_or(Ok(()))
}

struct Service {
    job_id: JobId,
    inputs: mpsc::Sender<Input>,
}

#[tonic::async_trait]
impl JobMaster for Service {
    type OfferSlotStream = Pin<Box<dyn Stream<Item = Result<v1::ToSlot, Status>> + Send>>;

    async fn offer_slot(
        &self,
        request: Request<Streaming<v1::FromSlot>>,
    ) -> Result<Response<Self::OfferSlotStream>, Status> {
        let mut messages = request.into_inner();
        let first = timeout(limits::FIRST_MESSAGE, messages.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no offer came"))??;
        let offer = self.read_offer(first)?;

        let (outbox, to_slot) = mpsc::channel(OUTBOX);
        let (accepted, is_accepted) = oneshot::channel();
        let slot = SlotSession {
            allocation_id: offer.allocation_id,
            messages,
            errors: outbox.downgrade(),
            inputs: self.inputs.clone(),
        };
        // A task of its own: this call is dropped if the peer goes, and the end of a slot that was
        // accepted must be told.
        tokio::spawn(slot.run(offer, SlotOutbox(outbox), accepted));
        is_accepted
            .await
            .map_err(|_| Status::unavailable("the job has ended"))??;
        Ok(Response::new(Box::pin(ReceiverStream::new(to_slot))))
    }
}

impl Service {
    fn read_offer(&self, first: Option<v1::FromSlot>) -> Result<Offer, Status> {
        let Some(FromSlot::Offer(offer)) = first.and_then(|first| first.message) else {
            return Err(ProtocolError::missing("offer").into());
        };
        if job_id("job_id", &offer.job_id)? != self.job_id {
            return Err(Status::not_found("another job has this address"));
        }
        let resource_id = limits::name("resource_id", offer.resource_id)?;
        Ok(Offer {
            slot_id: SlotId::new(resource_id, offer.slot_number),
            allocation_id: allocation_id("allocation_id", &offer.allocation_id)?,
            epoch: Epoch(offer.epoch),
        })
    }
}

impl From<OfferRefused> for Status {
    fn from(refused: OfferRefused) -> Self {
        match refused {
            OfferRefused::NotWanted => Self::failed_precondition(refused.to_string()),
            OfferRefused::Held => Self::already_exists(refused.to_string()),
        }
    }
}

/// The stream of one slot.
struct SlotSession {
    allocation_id: AllocationId,
    messages: Streaming<v1::FromSlot>,
    /// The way to tell the peer its error. It does not keep the stream open.
    errors: mpsc::WeakSender<Result<v1::ToSlot, Status>>,
    inputs: mpsc::Sender<Input>,
}

impl SlotSession {
    /// Offers the slot to the job. If it is accepted, forwards the ends of its tasks, and then the
    /// end of the slot.
    async fn run(mut self, offer: Offer, outbox: SlotOutbox, accepted: oneshot::Sender<Result<(), OfferRefused>>) {
        let (answer, answered) = oneshot::channel();
        let offered = Input::Offered { offer, outbox, answer };
        if self.inputs.send(offered).await.is_err() {
            return;
        }
        let Ok(result) = answered.await else {
            return;
        };
        // The peer may have gone meanwhile. The end of its stream shows it.
        let _ = accepted.send(result);
        if result.is_err() {
            return;
        }
        let allocation_id = self.allocation_id;
        if let Err(error) = self.forward().await {
            tracing::debug!(%allocation_id, "the stream of a slot is broken: {error}");
            if let Some(errors) = self.errors.upgrade() {
                // A peer that does not read needs no error.
                let _ = errors.try_send(Err(error));
            }
        }
        // Without a receiver the job has ended.
        let _ = self.inputs.send(Input::SlotEnded { allocation_id }).await;
    }

    async fn forward(&mut self) -> Result<(), Status> {
        while let Some(message) = self.messages.message().await? {
            let ended = match message.message {
                Some(FromSlot::Ended(ended)) => ended,
                Some(FromSlot::Offer(_)) => return Err(ProtocolError::new("offer", "it came twice").into()),
                None => {
                    tracing::debug!("a message of a later version is ignored");
                    continue;
                }
            };
            let input = Input::TaskEnded {
                allocation_id: self.allocation_id,
                task: ended.task,
                exit_code: ended.exit_code,
            };
            if self.inputs.send(input).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
