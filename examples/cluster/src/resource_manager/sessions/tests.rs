use std::future::pending;

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
