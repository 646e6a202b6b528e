use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

async fn connections(most: usize, idle: Duration) -> (Connections, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Connections {
        idle,
        ..Connections::new(listener, most, 8)
    };
    (connections, address)
}

async fn read_error(connection: &mut Connection) -> ErrorKind {
    let read = async {
        loop {
            if let Err(error) = connection.read_u8().await {
                return error.kind();
            }
        }
    };
    timeout(PATIENCE, read).await.unwrap()
}

#[tokio::test]
async fn a_connection_without_use_is_cut_whatever_it_sends() {
    let (mut connections, address) = connections(1, Duration::from_millis(50)).await;
    let mut peer = TcpStream::connect(address).await.unwrap();
    let mut connection = connections.accept().await;
    let sending = tokio::spawn(async move {
        while peer.write_u8(1).await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(read_error(&mut connection).await, ErrorKind::TimedOut);
    drop(connection);
    timeout(PATIENCE, sending).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_is_cut_while_its_peer_reads_nothing() {
    let (mut connections, address) = connections(1, Duration::from_millis(50)).await;
    let _peer = TcpStream::connect(address).await.unwrap();
    let mut connection = connections.accept().await;
    let writing = async {
        loop {
            if let Err(error) = connection.write_all(&[0; 65_536]).await {
                return error.kind();
            }
        }
    };
    let error = timeout(PATIENCE, writing).await.unwrap();
    assert_eq!(error, ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_connection_is_kept_while_it_is_used_and_for_a_time_after() {
    let idle = Duration::from_millis(50);
    let (mut connections, address) = connections(1, idle).await;
    let _peer = TcpStream::connect(address).await.unwrap();
    let mut connection = connections.accept().await;
    let in_use = connection.usage().begin();
    let ended = tokio::spawn(async move {
        sleep(idle * 4).await;
        drop(in_use);
        Instant::now()
    });
    assert_eq!(read_error(&mut connection).await, ErrorKind::TimedOut);
    let kept = ended.await.unwrap().elapsed();
    assert!(kept >= idle, "{kept:?}");
}

#[tokio::test]
async fn the_number_of_connections_is_bounded() {
    let (mut connections, address) = connections(2, PATIENCE).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(TcpStream::connect(address).await.unwrap());
    }
    let (first, _second) = (connections.accept().await, connections.accept().await);
    let third = tokio::spawn(async move { connections.accept().await });
    sleep(Duration::from_millis(50)).await;
    assert!(!third.is_finished());
    drop(first);
    timeout(PATIENCE, third).await.unwrap().unwrap();
}

#[test]
fn connections_leave_files_to_others() {
    assert_eq!(share_of_files(Some(1_024), 6), Some(768));
    assert_eq!(share_of_files(None, 6), None);
}
