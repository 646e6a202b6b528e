//! A peer of the resource manager that sends what it likes.

use futures::stream::{self, Stream, StreamExt};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use self::v1::resource_manager_client::ResourceManagerClient;

/// The generated code.
#[expect(clippy::pedantic, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("slot_manager.cluster.v1");
}

/// The smallest window of HTTP/2 that clients have by default.
const SMALL_WINDOW: u32 = 65_535;

/// A connection to a resource manager.
pub struct Peer {
    channel: Channel,
    token: Option<String>,
}

impl Peer {
    pub async fn connect(address: &str, token: Option<&str>) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        Self::connect_to(endpoint, token).await.expect("a connection")
    }

    /// Connects, and lets the other side send little ahead.
    pub async fn connect_with_small_window(address: &str, token: Option<&str>) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let endpoint = endpoint
            .initial_stream_window_size(SMALL_WINDOW)
            .initial_connection_window_size(SMALL_WINDOW);
        Self::connect_to(endpoint, token).await.expect("a connection")
    }

    pub async fn connect_to(endpoint: Endpoint, token: Option<&str>) -> Result<Self, tonic::transport::Error> {
        Ok(Self {
            channel: endpoint.connect().await?,
            token: token.map(str::to_owned),
        })
    }

    fn client(&self) -> ResourceManagerClient<Channel> {
        ResourceManagerClient::new(self.channel.clone())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let value = MetadataValue::try_from(format!("Bearer {token}")).expect("visible characters");
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    /// Asks who leads, and returns the status.
    pub async fn leader(&self) -> Status {
        let reply = self.client().leader(self.request(v1::LeaderRequest {})).await;
        reply.map_or_else(|status| status, |_| Status::ok("answered"))
    }

    /// Calls any path with an empty message, and returns the status.
    pub async fn call_path(&self, path: &'static str) -> Status {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.expect("a connection");
        let codec: ProstCodec<v1::LeaderRequest, v1::LeaderReply> = ProstCodec::default();
        let request = self.request(v1::LeaderRequest {});
        let reply = client.unary(request, PathAndQuery::from_static(path), codec).await;
        reply.map_or_else(|status| status, |_| Status::ok("answered"))
    }

    /// Sends messages of a task executor, keeps the stream open, and returns its end.
    pub async fn end_of_task_executor(&self, messages: Vec<v1::from_task_executor::Message>) -> Status {
        let messages = messages
            .into_iter()
            .map(|message| v1::FromTaskExecutor { message: Some(message) });
        let request = self.request(stream::iter(messages).chain(stream::pending()));
        match self.client().connect_task_executor(request).await {
            Ok(stream) => end(stream.into_inner()).await,
            Err(status) => status,
        }
    }

    /// The same for those of a job master.
    pub async fn end_of_job_master(&self, messages: Vec<v1::from_job_master::Message>) -> Status {
        match self.job_master(stream::iter(messages).chain(stream::pending())).await {
            Ok(stream) => end(stream).await,
            Err(status) => status,
        }
    }

    /// Opens the stream of a job master.
    pub async fn job_master(
        &self,
        messages: impl Stream<Item = v1::from_job_master::Message> + Send + 'static,
    ) -> Result<Streaming<v1::ToJobMaster>, Status> {
        let messages = messages.map(|message| v1::FromJobMaster { message: Some(message) });
        let stream = self.client().connect_job_master(self.request(messages)).await?;
        Ok(stream.into_inner())
    }
}

/// Reads a stream to its end, and returns the status.
pub async fn end<M>(mut stream: Streaming<M>) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Status::ok("ended"),
            Err(status) => return status,
        }
    }
}
