//! A client of etcd for what the election needs.
//!
//! Each call has a time limit of its own, and uses that time: a try that gets no answer in
//! [`PATIENCE`] goes on while the next endpoint is tried, and a try that fails is followed by
//! another. So an endpoint that hangs or is away costs little. Every call may be repeated.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use tracing::debug;

use self::api::kv_client::KvClient;
use self::api::lease_client::LeaseClient;
use self::api::{compare, request_op};

/// The generated code.
#[expect(clippy::enum_variant_names, clippy::pedantic, reason = "generated")]
mod api {
    tonic::include_proto!("etcdserverpb");
}

/// The time after which a try without an answer is not relied on.
const PATIENCE: Duration = Duration::from_millis(300);

/// The pause after a try that failed, such as at an endpoint that refuses connections.
const PAUSE: Duration = Duration::from_millis(100);

/// The time limit of calls that change nothing, or only a lease.
const SHORT: Duration = Duration::from_secs(2);

/// The time limit of calls that etcd writes to its disk.
const LONG: Duration = Duration::from_secs(5);

/// The time limit when the process is about to end.
const FAREWELL: Duration = Duration::from_millis(700);

/// A granted lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) id: i64,
    pub(super) time_to_live: Duration,
}

/// The key of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Larger for each later creation of the key.
    pub(super) create_revision: u64,
    pub(super) lease: i64,
    pub(super) value: String,
}

pub(super) struct Client {
    endpoints: Vec<Endpoint>,
    connections: Mutex<Connections>,
}

struct Connections {
    channels: Vec<Channel>,
    /// The index of the endpoint that answered last.
    preferred: usize,
}

impl Client {
    /// Connects when the first call needs it. Returns an error if an endpoint is no `host:port`.
    pub(super) fn new(endpoints: &[String]) -> Result<Self, String> {
        let endpoint = |address: &String| match Endpoint::from_shared(format!("http://{address}")) {
            Ok(endpoint) => Ok(endpoint.connect_timeout(Duration::from_secs(1))),
            Err(error) => Err(format!("the etcd endpoint {address:?} is no host:port: {error}")),
        };
        let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err("no etcd endpoint is given".to_owned());
        }
        let connections = Mutex::new(Connections {
            channels: connect(&endpoints),
            preferred: 0,
        });
        Ok(Self { endpoints, connections })
    }

    pub(super) async fn grant(&self, time_to_live: Duration) -> Result<Granted, Status> {
        let seconds = time_to_live.as_millis().div_ceil(1_000).max(1);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let request = api::LeaseGrantRequest { ttl: seconds, id: 0 };
        let call = |channel| async move { LeaseClient::new(channel).lease_grant(request).await };
        let reply = self.call(LONG, call).await?.into_inner();
        Ok(Granted {
            id: reply.id,
            time_to_live: seconds_of(reply.ttl),
        })
    }

    /// Renews a lease. Returns its time to live, or `None` if the lease is over.
    ///
    /// etcd's call is a stream. Each renewal has a stream of its own, so none can be stuck in an
    /// old one.
    pub(super) async fn renew(&self, lease: i64) -> Result<Option<Duration>, Status> {
        let call = |channel| async move {
            let requests = tokio_stream::once(api::LeaseKeepAliveRequest { id: lease });
            let replies = LeaseClient::new(channel).lease_keep_alive(requests).await?;
            let reply = replies.into_inner().message().await?;
            reply.ok_or_else(|| Status::unavailable("the stream ended without an answer"))
        };
        let reply = self.call(SHORT, call).await?;
        Ok((reply.ttl > 0).then(|| seconds_of(reply.ttl)))
    }

    /// Ends a lease, and with it deletes the keys that belong to it.
    pub(super) async fn revoke(&self, lease: i64) -> Result<(), Status> {
        let request = api::LeaseRevokeRequest { id: lease };
        let call = |channel| async move { LeaseClient::new(channel).lease_revoke(request).await };
        self.call(FAREWELL, call).await.map(drop)
    }

    /// Reads a key. The answer is not older than the call.
    pub(super) async fn read(&self, key: &str) -> Result<Option<Key>, Status> {
        let call = |channel| {
            let request = range(key);
            async move { KvClient::new(channel).range(request).await }
        };
        Ok(first(self.call(SHORT, call).await?.into_inner()))
    }

    /// Creates a key unless it exists. Returns the key as it is then.
    pub(super) async fn create(&self, key: &str, value: &str, lease: i64) -> Result<Option<Key>, Status> {
        let put = request_op::Request::RequestPut(api::PutRequest {
            key: key.into(),
            value: value.into(),
            lease,
        });
        let get = request_op::Request::RequestRange(range(key));
        let transaction = api::TxnRequest {
            compare: vec![created_at(key, 0)],
            success: vec![put.into()],
            failure: vec![get.into()],
        };
        let reply = self.transact(transaction).await?;
        if reply.succeeded {
            let revision = reply.header.map_or(0, |header| header.revision);
            return Ok(Some(Key {
                create_revision: revision.unsigned_abs(),
                lease,
                value: value.to_owned(),
            }));
        }
        let existing = reply
            .responses
            .into_iter()
            .find_map(|response| match response.response? {
                api::response_op::Response::ResponseRange(found) => first(found),
                _ => None,
            });
        Ok(existing)
    }

    /// Deletes a key if it is still that of this creation.
    pub(super) async fn delete(&self, key: &str, create_revision: u64) -> Result<(), Status> {
        let delete = request_op::Request::RequestDeleteRange(api::DeleteRangeRequest { key: key.into() });
        let transaction = api::TxnRequest {
            compare: vec![created_at(key, create_revision)],
            success: vec![delete.into()],
            failure: Vec::new(),
        };
        self.transact(transaction).await.map(drop)
    }

    async fn transact(&self, transaction: api::TxnRequest) -> Result<api::TxnResponse, Status> {
        let call = |channel| {
            let transaction = transaction.clone();
            async move { KvClient::new(channel).txn(transaction).await }
        };
        self.call(LONG, call).await.map(Response::into_inner)
    }

    /// Makes a call, by as many tries as the time limit allows. The first answer counts.
    async fn call<T, F>(&self, limit: Duration, call: impl Fn(Channel) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let end = Instant::now() + limit;
        let mut last_error = Status::deadline_exceeded("etcd does not answer");
        let mut tries = FuturesUnordered::new();
        let (mut next, channels) = self.channels();
        loop {
            let index = next % channels.len();
            let attempt = call(channels[index].clone());
            tries.push(async move { (index, attempt.await) });
            next += 1;
            let mut patience = Instant::now() + PATIENCE;
            // Waits for an answer until it is time for another try.
            while let Ok(answer) = timeout_at(patience.min(end), tries.next()).await {
                match answer {
                    Some((index, Ok(reply))) => {
                        self.lock().preferred = index;
                        return Ok(reply);
                    }
                    Some((_, Err(error))) if is_final(&error) => return Err(error),
                    Some((_, Err(error))) => {
                        debug!(%error, "a call to etcd failed");
                        last_error = error;
                        patience = patience.min(Instant::now() + PAUSE);
                    }
                    None => {
                        // All tries have failed.
                        sleep_until(patience.min(end)).await;
                        break;
                    }
                }
            }
            if Instant::now() >= end {
                // A connection whose packets are lost would be kept for minutes.
                self.lock().channels = connect(&self.endpoints);
                return Err(last_error);
            }
        }
    }

    fn channels(&self) -> (usize, Vec<Channel>) {
        let connections = self.lock();
        (connections.preferred, connections.channels.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(endpoints: &[Endpoint]) -> Vec<Channel> {
    endpoints.iter().map(Endpoint::connect_lazy).collect()
}

/// Returns `true` if another try would have the same result.
fn is_final(error: &Status) -> bool {
    let code = error.code();
    matches!(
        code,
        Code::NotFound | Code::InvalidArgument | Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented
    )
}

fn seconds_of(seconds: i64) -> Duration {
    Duration::from_secs(seconds.max(0).unsigned_abs())
}

fn range(key: &str) -> api::RangeRequest {
    api::RangeRequest { key: key.into() }
}

fn first(reply: api::RangeResponse) -> Option<Key> {
    let found = reply.kvs.into_iter().next()?;
    Some(Key {
        create_revision: found.create_revision.unsigned_abs(),
        lease: found.lease,
        value: String::from_utf8_lossy(&found.value).into_owned(),
    })
}

/// Compares the creation of a key. A key that does not exist has the revision 0.
fn created_at(key: &str, create_revision: u64) -> api::Compare {
    let revision = i64::try_from(create_revision).unwrap_or(i64::MAX);
    api::Compare {
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Create.into(),
        key: key.into(),
        target_union: Some(compare::TargetUnion::CreateRevision(revision)),
    }
}

impl From<request_op::Request> for api::RequestOp {
    fn from(request: request_op::Request) -> Self {
        Self { request: Some(request) }
    }
}
