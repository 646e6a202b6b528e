use std::future::pending;
use std::task::Waker;

use super::*;

const HEARTBEATS: Heartbeats = Heartbeats {
    interval: Duration::from_secs(3),
    timeout: Duration::from_secs(15),
};

fn session<M>() -> (Session, Outbox<M>, mpsc::Receiver<M>) {
    let session = Session::within(&CancellationToken::new());
    let (outbox, messages) = Outbox::new(session.clone());
    (session, outbox, messages)
}

#[tokio::test(start_paused = true)]
async fn heartbeats_begin_after_the_answer_to_the_registration() {
    let sessions = Sessions::new(mpsc::channel(1).0, HEARTBEATS);
    let (session, outbox, mut messages) = session::<&str>();
    let running = session.clone();
    let sender = outbox.clone();
    let driven = tokio::spawn(async move { sessions.drive(&sender, &running, || "heartbeat", pending()).await });
    // The owner is several intervals behind.
    assert!(timeout(HEARTBEATS.interval * 4, messages.recv()).await.is_err());
    outbox.send("registered");
    assert_eq!(messages.recv().await, Some("registered"));
    assert_eq!(messages.recv().await, Some("heartbeat"));
    session.end(Status::aborted("enough"));
    assert_eq!(driven.await.unwrap().cause, "enough");
}

#[tokio::test]
async fn a_session_that_is_not_read_any_more_is_void() {
    let sessions = Sessions::new(mpsc::channel(1).0, HEARTBEATS);
    let (session, outbox, _messages) = session::<&str>();
    let read = async { Err(End::left("the peer has gone")) };
    let end = sessions.drive(&outbox, &session, || "heartbeat", read).await;
    assert_eq!(end.cause, "the peer has gone");
    assert!(outbox.has_ended());
}

/// Polls without a pause, as if each poll were at the time of the message and of the end.
fn poll_until_ready<M>(outgoing: &mut Outgoing<M>) -> Option<Result<M, Status>> {
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(item) = Pin::new(&mut *outgoing).poll_next(&mut context) {
            return item;
        }
    }
}

#[test]
fn the_last_message_comes_before_the_end() {
    let (peers, others) = std::sync::mpsc::channel::<(mpsc::Sender<_>, oneshot::Sender<_>)>();
    let other = std::thread::spawn(move || {
        for (messages, end) in others {
            messages.try_send("stop").unwrap();
            end.send(Err(Status::aborted("the end"))).unwrap();
        }
    });
    for round in 0..20_000 {
        let (sender, messages) = mpsc::channel(1);
        let (end_sender, end) = oneshot::channel();
        let ended = None;
        let mut outgoing = Outgoing { messages, end, ended };
        peers.send((sender, end_sender)).unwrap();
        let first = poll_until_ready(&mut outgoing);
        assert_eq!(first.and_then(Result::ok), Some("stop"), "round {round}");
        let second = poll_until_ready(&mut outgoing);
        let end = second.and_then(Result::err).map(|status| status.code());
        assert_eq!(end, Some(tonic::Code::Aborted));
        assert!(poll_until_ready(&mut outgoing).is_none());
    }
    drop(peers);
    other.join().unwrap();
}
