use std::time::Duration;

use tokio::net::TcpListener;
use tonic::Code;

use super::*;
use crate::protocol::channel::Dialer;
use crate::protocol::token::Token;
use crate::protocol::v1::job_master_client::JobMasterClient;

const JOB: JobId = JobId::from_u128(7);

/// A server, and the mailbox of the job.
struct Job {
    address: String,
    mailbox: mpsc::Receiver<Input>,
    stop: CancellationToken,
}

/// The task executor's end of the stream of a slot.
struct Slot {
    sender: mpsc::Sender<v1::FromSlot>,
    messages: Streaming<v1::ToSlot>,
}

async fn start() -> Job {
    start_with(Security::default()).await
}

async fn start_with(security: Security) -> Job {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (inputs, mailbox) = mpsc::channel(8);
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, JOB, inputs, security, stop.clone()));
    Job { address, mailbox, stop }
}

fn offer_of(job: JobId, allocation: u128) -> FromSlot {
    FromSlot::Offer(v1::OfferSlot {
        resource_id: "worker-1".into(),
        slot_number: 3,
        allocation_id: AllocationId::from_u128(allocation).to_bytes().into(),
        job_id: job.to_bytes().into(),
        epoch: 5,
    })
}

async fn offer(address: String, first: FromSlot) -> Result<Slot, Status> {
    let mut client = JobMasterClient::connect(format!("http://{address}")).await.unwrap();
    let (sender, messages) = mpsc::channel(8);
    sender.send(v1::FromSlot { message: Some(first) }).await.unwrap();
    let messages = client.offer_slot(ReceiverStream::new(messages)).await?.into_inner();
    Ok(Slot { sender, messages })
}

impl Job {
    async fn hear(&mut self) -> Input {
        timeout(Duration::from_secs(10), self.mailbox.recv())
            .await
            .unwrap()
            .unwrap()
    }

    /// Answers the next offer.
    async fn answer(&mut self, result: Result<(), OfferRefused>) -> (Offer, SlotOutbox) {
        let Input::Offered { offer, outbox, answer } = self.hear().await else {
            panic!("no offer");
        };
        answer.send(result).unwrap();
        (offer, outbox)
    }

    async fn accepted(&mut self, allocation: u128) -> (Slot, SlotOutbox) {
        let slot = tokio::spawn(offer(self.address.clone(), offer_of(JOB, allocation)));
        let (_, outbox) = self.answer(Ok(())).await;
        (slot.await.unwrap().unwrap(), outbox)
    }
}

impl Slot {
    async fn hear(&mut self) -> Option<ToSlot> {
        let message = timeout(Duration::from_secs(10), self.messages.message()).await.unwrap();
        message.unwrap().map(|message| message.message.unwrap())
    }

    async fn say(&self, message: FromSlot) {
        self.sender.send(v1::FromSlot { message: Some(message) }).await.unwrap();
    }
}

#[tokio::test]
async fn a_slot_runs_tasks_until_it_is_released() {
    let mut job = start().await;
    let slot = tokio::spawn(offer(job.address.clone(), offer_of(JOB, 1)));
    let (offer, outbox) = job.answer(Ok(())).await;
    let allocation_id = AllocationId::from_u128(1);
    let expected = Offer {
        slot_id: SlotId::new("worker-1", 3),
        allocation_id,
        epoch: Epoch(5),
    };
    assert_eq!(offer, expected);
    let mut slot = slot.await.unwrap().unwrap();

    assert!(outbox.run(9, vec!["true".into()]));
    let run = v1::RunTask {
        task: 9,
        command: vec!["true".into()],
    };
    assert_eq!(slot.hear().await, Some(ToSlot::Run(run)));
    slot.say(FromSlot::Ended(v1::TaskEnded {
        task: 9,
        exit_code: Some(0),
    }))
    .await;
    let Input::TaskEnded {
        allocation_id: id,
        task: 9,
        exit_code: Some(0),
    } = job.hear().await
    else {
        panic!("the task has not ended");
    };
    assert_eq!(id, allocation_id);

    outbox.release();
    assert_eq!(slot.hear().await, Some(ToSlot::Release(v1::ReleaseSlot {})));
    assert_eq!(slot.hear().await, None, "the stream ends");
    drop(slot);
    assert!(matches!(job.hear().await, Input::SlotEnded { allocation_id: id } if id == allocation_id));
}

#[tokio::test]
async fn the_end_of_a_task_is_heard_before_that_of_its_slot() {
    let mut job = start().await;
    let (slot, _outbox) = job.accepted(1).await;
    slot.say(FromSlot::Ended(v1::TaskEnded {
        task: 1,
        exit_code: None,
    }))
    .await;
    drop(slot.sender);
    assert!(matches!(
        job.hear().await,
        Input::TaskEnded {
            task: 1,
            exit_code: None,
            ..
        }
    ));
    assert!(matches!(job.hear().await, Input::SlotEnded { .. }));
}

#[tokio::test]
async fn the_job_ends_the_use_of_a_slot() {
    let mut job = start().await;
    let (mut slot, outbox) = job.accepted(1).await;
    drop(outbox);
    assert_eq!(slot.hear().await, None);
}

#[tokio::test]
async fn a_slot_that_is_gone_takes_no_task() {
    let mut job = start().await;
    let (slot, outbox) = job.accepted(1).await;
    drop(slot);
    assert!(matches!(job.hear().await, Input::SlotEnded { .. }));
    // The end of the response is noticed by the server at some time.
    let refuses = async {
        while outbox.run(1, Vec::new()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), refuses).await.unwrap();
}

#[tokio::test]
async fn refused_offers_have_clear_statuses_and_no_end() {
    let mut job = start().await;
    for (refused, code) in [
        (OfferRefused::NotWanted, Code::FailedPrecondition),
        (OfferRefused::Held, Code::AlreadyExists),
    ] {
        let slot = tokio::spawn(offer(job.address.clone(), offer_of(JOB, 1)));
        job.answer(Err(refused)).await;
        assert_eq!(slot.await.unwrap().err().map(|status| status.code()), Some(code));
    }
    // The next input is that of the next offer, not an end.
    job.accepted(2).await;
}

#[tokio::test]
async fn bad_offers_change_nothing() {
    let mut job = start().await;
    let mut short = offer_of(JOB, 1);
    let mut unnamed = offer_of(JOB, 1);
    let mut long = offer_of(JOB, 1);
    if let (FromSlot::Offer(short), FromSlot::Offer(unnamed), FromSlot::Offer(long)) =
        (&mut short, &mut unnamed, &mut long)
    {
        short.allocation_id = vec![1; 15];
        unnamed.resource_id.clear();
        long.resource_id = "w".repeat(257);
    }
    let no_offer = FromSlot::Ended(v1::TaskEnded {
        task: 1,
        exit_code: Some(0),
    });
    for first in [short, unnamed, long, no_offer] {
        let status = offer(job.address.clone(), first).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    let status = offer(job.address.clone(), offer_of(JobId::from_u128(8), 1))
        .await
        .err()
        .unwrap();
    assert_eq!(status.code(), Code::NotFound);
    assert!(job.mailbox.try_recv().is_err());
}

#[tokio::test]
async fn a_second_offer_ends_the_stream_with_a_clear_status() {
    let mut job = start().await;
    let (mut slot, outbox) = job.accepted(1).await;
    slot.say(offer_of(JOB, 1)).await;
    assert!(matches!(job.hear().await, Input::SlotEnded { .. }));
    drop(outbox);
    let status = slot.messages.message().await.err().unwrap();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn a_stopped_server_takes_no_offers() {
    let job = start().await;
    job.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        JobMasterClient::connect(format!("http://{}", job.address))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn offers_without_the_token_are_refused() {
    let token = Token::new("secret").unwrap();
    let security = Security {
        token: Some(token),
        #[cfg(feature = "tls")]
        tls: None,
    };
    let mut job = start_with(security.clone()).await;
    let refused = offer(job.address.clone(), offer_of(JOB, 1)).await;
    assert_eq!(refused.err().map(|status| status.code()), Some(Code::Unauthenticated));
    assert!(job.mailbox.try_recv().is_err());

    let channel = Dialer::new(&security).dial(&job.address).await.unwrap();
    let first = v1::FromSlot {
        message: Some(offer_of(JOB, 1)),
    };
    let first = tokio_stream::once(first);
    let offered = tokio::spawn(async move { JobMasterClient::new(channel).offer_slot(first).await });
    job.answer(Ok(())).await;
    offered.await.unwrap().unwrap();
}
