//! Peers that break the protocol, do not belong to the cluster, or waste its memory.
//!
//! Each act must get a clear answer and change nothing, and the job at work must finish.

mod attacked;
mod peer;
#[cfg(feature = "tls")]
mod tls;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tonic::Code;

use self::attacked::{Attacked, TOKEN};
use self::peer::{Peer, v1};

/// The time within which a peer must get its answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The start of each HTTP/2 connection: the preface, and settings without any.
const HANDSHAKE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Returns the registration of a worker with free slots of one core.
fn register(slots: u32) -> v1::from_task_executor::Message {
    register_after_epoch(slots, 0)
}

fn register_after_epoch(slots: u32, highest_epoch: u64) -> v1::from_task_executor::Message {
    v1::from_task_executor::Message::Register(v1::RegisterTaskExecutor {
        resource_id: "hostile".to_owned(),
        highest_epoch,
        worker_request: None,
        report: Some(report(slots)),
    })
}

fn report(slots: u32) -> v1::SlotReport {
    let slots = (0..slots).map(|slot_number| v1::SlotStatus {
        slot_number,
        ..v1::SlotStatus::default()
    });
    v1::SlotReport {
        revision: 1,
        profiles: vec![profile(1.0)],
        slots: slots.collect(),
        dynamic: None,
    }
}

fn profile(cpu_cores: f64) -> v1::ResourceProfile {
    v1::ResourceProfile {
        cpu_cores,
        ..v1::ResourceProfile::default()
    }
}

fn register_job(job_id: &[u8]) -> v1::from_job_master::Message {
    v1::from_job_master::Message::Register(v1::RegisterJobMaster {
        job_id: job_id.to_vec(),
        address: "127.0.0.1:1".to_owned(),
        highest_epoch: 0,
        grants: Vec::new(),
    })
}

fn slot_request(allocation_id: &[u8], cpu_cores: f64) -> v1::from_job_master::Message {
    v1::from_job_master::Message::SlotRequest(v1::SlotRequest {
        allocation_id: allocation_id.to_vec(),
        resource_profile: Some(profile(cpu_cores)),
    })
}

/// Waits until the other side closes a connection.
fn assert_closed(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}

#[test]
fn bytes_that_are_no_calls_change_nothing() {
    let attacked = Attacked::start("bytes", &[]);
    let garbage: Vec<u8> = (0..100_000_u32).map(|number| (number * 31 % 251) as u8).collect();
    let http1 = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let broken_frame = [HANDSHAKE, &[0xff; 64]].concat();
    for (what, bytes) in [
        ("garbage", garbage.as_slice()),
        ("HTTP/1", http1),
        ("a broken frame", &broken_frame),
    ] {
        let before = attacked.state();
        let mut stream = TcpStream::connect(&attacked.address).expect("a connection");
        // It may be closed before all is written.
        let _ = stream.write_all(bytes);
        assert_closed(stream);
        attacked.assert_unchanged(what, &before);
    }

    let before = attacked.state();
    let status = attacked.run(async |address| {
        let peer = Peer::connect(&address, Some(TOKEN)).await;
        peer.call_path("/slot_manager.cluster.v2.ResourceManager/ConnectTaskExecutor")
            .await
    });
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    attacked.assert_unchanged("another version of the protocol", &before);

    let before = attacked.state();
    let status = attacked.run(async |address| {
        let peer = Peer::connect(&address, Some(&"x".repeat(100_000))).await;
        peer.end_of_task_executor(vec![register(1)]).await
    });
    assert_ne!(status.code(), Code::Ok, "{status}");
    attacked.assert_unchanged("headers of 100,000 bytes", &before);
    attacked.finish();
}

#[test]
fn messages_that_break_the_protocol_change_nothing() {
    let attacked = Attacked::start("messages", &[]);
    let heartbeat = v1::from_task_executor::Message::Heartbeat(report(1));
    let oversized = v1::from_task_executor::Message::Leaving(v1::Leaving {
        reason: "x".repeat(5 << 20),
    });
    let too_many = v1::from_task_executor::Message::Heartbeat(report(10_001));
    let without_total = v1::from_task_executor::Message::Heartbeat(v1::SlotReport {
        dynamic: Some(v1::DynamicResources::default()),
        ..report(0)
    });
    let bad_answer = v1::from_task_executor::Message::SlotFreed(v1::SlotFreed {
        allocation_id: vec![1; 17],
        ..v1::SlotFreed::default()
    });
    for (what, messages, code, part) in [
        (
            "a first message that is no registration",
            vec![heartbeat],
            Code::InvalidArgument,
            "not a registration",
        ),
        (
            "a message of 5 MiB",
            vec![oversized],
            Code::OutOfRange,
            "message length too large",
        ),
        (
            "a registration with an epoch of the future",
            vec![register_after_epoch(1, u64::MAX)],
            Code::FailedPrecondition,
            "is over",
        ),
        (
            "a registration with 10,001 slots",
            vec![register(10_001)],
            Code::InvalidArgument,
            "10001 slots",
        ),
        (
            "a report with 10,001 slots",
            vec![register(1), too_many],
            Code::InvalidArgument,
            "10001 slots",
        ),
        (
            "a total that is not there",
            vec![register(1), without_total],
            Code::InvalidArgument,
            "total: missing",
        ),
        (
            "two registrations",
            vec![register(1), register(1)],
            Code::InvalidArgument,
            "registered already",
        ),
        (
            "a worker's allocation id of 17 bytes",
            vec![register(1), bad_answer],
            Code::InvalidArgument,
            "17 bytes instead of 16",
        ),
    ] {
        let before = attacked.state();
        let status = attacked.run(async |address| {
            let peer = Peer::connect(&address, Some(TOKEN)).await;
            peer.end_of_task_executor(messages).await
        });
        assert_eq!(status.code(), code, "{what}: {status}");
        assert!(status.message().contains(part), "{what}: {status}");
        attacked.assert_unchanged(what, &before);
    }
    for (what, messages) in [
        ("a job id of 15 bytes", vec![register_job(&[1; 15])]),
        (
            "a job's allocation id of 15 bytes",
            vec![register_job(&[1; 16]), slot_request(&[1; 15], 1.0)],
        ),
    ] {
        let before = attacked.state();
        let status = attacked.run(async |address| {
            let peer = Peer::connect(&address, Some(TOKEN)).await;
            peer.end_of_job_master(messages).await
        });
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        assert!(status.message().contains("15 bytes instead of 16"), "{what}: {status}");
        attacked.assert_unchanged(what, &before);
    }
    attacked.finish();
}

#[test]
fn connections_without_use_are_cut_while_others_are_served() {
    // given
    attacked::allow_many_files();
    let mut attacked = Attacked::start("idle", &[]);
    let before = attacked.state();

    // when
    let idle = (0..1_000).map(|number| {
        let mut stream = TcpStream::connect(&attacked.address).expect("a connection");
        if number % 2 == 0 {
            stream.write_all(HANDSHAKE).expect("an open connection");
        }
        stream
    });
    let idle: Vec<TcpStream> = idle.collect();
    let half_request = attacked.connect_to_web(b"GET /api/overview HTTP/1.1\r\nhost: ");
    let silent_stream = attacked.run(async |address| {
        let peer = Peer::connect(&address, Some(TOKEN)).await;
        peer.end_of_task_executor(Vec::new()).await
    });

    // then
    assert_eq!(silent_stream.code(), Code::DeadlineExceeded, "{silent_stream}");
    attacked.run_another_job();
    attacked.assert_restored("1,000 idle connections", &before);
    assert_closed(half_request);
    drop(idle);
    attacked.finish();
}

#[test]
fn peer_that_never_reads_loses_its_session_and_its_connection() {
    // given
    let attacked = Attacked::start("reads-nothing", &[]);
    let before = attacked.state();

    // when: each request is answered, and no slot is large enough
    let (peer, stream) = attacked.run(async |address| {
        let peer = Peer::connect_with_small_window(&address, Some(TOKEN)).await;
        let requests = (0..30_000_u128).map(|number| slot_request(&number.to_be_bytes(), 1e6));
        let messages = stream::iter(std::iter::once(register_job(&[9; 16])).chain(requests));
        let heartbeats = interval(Duration::from_millis(300));
        let heartbeats =
            IntervalStream::new(heartbeats).map(|_| v1::from_job_master::Message::Heartbeat(v1::Heartbeat {}));
        let stream = peer.job_master(messages.chain(heartbeats)).await;
        (peer, stream.expect("a stream"))
    });

    // then
    attacked.wait_for_log("manager", "too many messages were not read");
    attacked.assert_restored("a peer that never reads", &before);
    let end = attacked.run(async |_| peer::end(stream).await);
    println!("a peer that never reads: {end}");
    assert_ne!(end.code(), Code::Ok, "{end}");
    drop(peer);
    attacked.finish();
}

#[test]
fn peers_without_the_token_are_refused() {
    let mut attacked = Attacked::start("token", &[]);
    for (what, token) in [
        ("a missing token", None),
        ("a wrong token", Some("wrong")),
        ("the start of the token", Some(&TOKEN[1..])),
    ] {
        let before = attacked.state();
        let (worker, job, leader) = attacked.run(async |address| {
            let peer = Peer::connect(&address, token).await;
            let worker = peer.end_of_task_executor(vec![register(1)]).await;
            let job = peer.end_of_job_master(vec![register_job(&[1; 16])]).await;
            (worker, job, peer.leader().await)
        });
        for status in [worker, job, leader] {
            assert_eq!(status.code(), Code::Unauthenticated, "{what}: {status}");
            assert!(status.message().contains("--token-file"), "{what}: {status}");
        }
        attacked.assert_unchanged(what, &before);
    }

    // A worker that is started without the token says so, and the page asks for it.
    let before = attacked.state();
    attacked.start_stranger(&[]);
    attacked.wait_for_log("stranger", "a token is needed: see --token-file");
    attacked.end_stranger();
    assert_eq!(attacked.page_without_token(), 401);
    attacked.assert_unchanged("a worker without the token", &before);
    assert!(!attacked.logs().contains(TOKEN));
    attacked.finish();
}

#[test]
fn processes_without_token_and_tls_listen_on_loopback_only() {
    let refusal = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_cluster")).args(arguments).output();
        let output = output.expect("the binary starts");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let folder = std::env::temp_dir().join(format!("cluster-listen-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a writable temporary folder");
    let election = format!("file:{}", folder.join("leader").display());
    let manager = ["resource-manager", "--election", &election];
    let listen = refusal(&[&manager[..], &["--listen", "0.0.0.0:0"]].concat());
    let web = refusal(&[&manager[..], &["--web", "0.0.0.0:0"]].concat());
    let job = ["run", "--resource-managers", "127.0.0.1:1", "--listen", "0.0.0.0:0"];
    let job = refusal(&[&job[..], &["--advertise", "127.0.0.1:1", "--", "true"]].concat());
    for refusal in [listen, web, job] {
        assert!(refusal.contains("is not a loopback address"), "{refusal}");
        assert!(refusal.contains("--token-file"), "{refusal}");
    }
    std::fs::remove_dir_all(folder).expect("the folder of this test");
}
