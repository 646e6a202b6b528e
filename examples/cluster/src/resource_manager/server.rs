//! The gRPC service of the resource manager.

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::sessions::{Leads, Outgoing, Sessions};
use crate::election::Leader;
use crate::protocol::security::Security;
use crate::protocol::v1::resource_manager_server::{ResourceManager, ResourceManagerServer};
use crate::protocol::{limits, server, v1};

/// The service behind the protocol.
pub struct Service {
    /// The leader, as this process knows it. A handle would keep the leadership of a process that
    /// stops until its last connection has ended.
    pub leader: watch::Receiver<Option<Leader>>,
    pub leads: watch::Receiver<Option<Leads>>,
    pub sessions: Sessions,
}

/// Serves the connections of a listener until `stop` is cancelled. Sessions must have ended by
/// then: open streams keep it from ending.
pub async fn serve(
    service: Service,
    listener: TcpListener,
    security: &Security,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let service = ResourceManagerServer::new(service)
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES);
    server::serve(service, listener, security, stop).await
}

impl Service {
    /// Returns the leadership of this process, or the error that names the leader.
    fn leads(&self) -> Result<Leads, Status> {
        self.leads.borrow().clone().ok_or_else(|| {
            let mut metadata = MetadataMap::new();
            let leader = self.leader.borrow().clone();
            if let Some(address) = leader.and_then(|leader| leader.addresses.grpc.parse().ok()) {
                metadata.insert("leader", address);
            }
            let reason = "this resource manager does not lead";
            Status::with_metadata(tonic::Code::FailedPrecondition, reason, metadata)
        })
    }
}

#[tonic::async_trait]
impl ResourceManager for Service {
    type ConnectTaskExecutorStream = Outgoing<v1::ToTaskExecutor>;
    type ConnectJobMasterStream = Outgoing<v1::ToJobMaster>;

    async fn leader(&self, _: Request<v1::LeaderRequest>) -> Result<Response<v1::LeaderReply>, Status> {
        let leader = self.leader.borrow().clone();
        Ok(Response::new(leader.map_or_else(v1::LeaderReply::default, |leader| {
            v1::LeaderReply {
                epoch: leader.epoch.0,
                address: leader.addresses.grpc,
                web_address: leader.addresses.web.unwrap_or_default(),
            }
        })))
    }

    async fn connect_task_executor(
        &self,
        request: Request<Streaming<v1::FromTaskExecutor>>,
    ) -> Result<Response<Self::ConnectTaskExecutorStream>, Status> {
        let leads = self.leads()?;
        Ok(Response::new(self.sessions.task_executor(leads, request.into_inner())))
    }

    async fn connect_job_master(
        &self,
        request: Request<Streaming<v1::FromJobMaster>>,
    ) -> Result<Response<Self::ConnectJobMasterStream>, Status> {
        let leads = self.leads()?;
        Ok(Response::new(self.sessions.job_master(leads, request.into_inner())))
    }
}
