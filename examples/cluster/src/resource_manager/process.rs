//! The parts of the process, from the first to the last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use slot_manager::TokioScheduledExecutor;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Manager;
use super::actions::Actions;
use super::handle::{Handle, Published, QUESTIONS};
use super::mailbox::{self, Envelope, Input};
use super::options::Options;
use super::owner::{Channels, Owner};
use super::server::{self, Service};
use super::sessions::Sessions;
use crate::election::{self, Addresses};
use crate::event_log::EventLog;
use crate::protocol::Epoch;
use crate::protocol::listener::listen;
use crate::protocol::security::{PEER_OPTIONS, Security};
use crate::provisioner::{self, Kind, News};
use crate::web::{self, Access, Events};

/// The remedy for a web server that others could reach.
const WEB_OPTIONS: &str = "--token-file (TLS does not cover the web server: for it, use a reverse proxy)";

/// The most orders that wait for the provisioner, and the most news of it.
const ORDERS: usize = 1_024;

/// The most time that the end may take. Then open connections are cut.
const STOP_TIME: Duration = Duration::from_secs(2);

/// The most time that it may take to give the leadership up.
const RESIGN_TIME: Duration = Duration::from_secs(1);

/// A resource manager that listens, and does not run yet.
pub struct Process {
    options: Options,
    security: Security,
    listener: TcpListener,
    web: Option<TcpListener>,
    addresses: Addresses,
}

impl Process {
    /// Opens the listeners, and prints their addresses.
    pub async fn bind(options: Options) -> anyhow::Result<Self> {
        let security = options.security.load()?;
        let listener = listen(&options.listen, security.authenticates_peers(), PEER_OPTIONS).await?;
        let address = listener.local_addr()?.to_string();
        println!("listening on {address}");
        let web = match &options.web {
            Some(web) => Some(listen(web, security.token.is_some(), WEB_OPTIONS).await?),
            None => None,
        };
        let grpc = options.advertise.clone().unwrap_or(address);
        let mut addresses = Addresses { grpc, web: None };
        if let Some(web) = &web {
            let web = web.local_addr()?;
            println!("web on http://{web}");
            let given = options.advertise_web.clone();
            addresses.web = Some(given.unwrap_or_else(|| web_address(web, &addresses.grpc)));
        }
        Ok(Self {
            options,
            security,
            listener,
            web,
            addresses,
        })
    }

    /// Returns the address at which others reach this process.
    #[cfg(test)]
    pub fn address(&self) -> &str {
        &self.addresses.grpc
    }

    /// Runs until `stop` is cancelled or a part fails.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            options,
            security,
            listener,
            web,
            addresses,
        } = self;
        let settings = options.provisioner_settings()?;
        let heartbeats = options.heartbeats()?;
        let config = options.slot_manager_config()?;
        let worker = config.workers.as_ref().map(|workers| workers.description.clone());
        let manager = Manager::new(config, TokioScheduledExecutor::new())?;
        let events = match &options.event_log {
            Some(path) => EventLog::open(path, format!("resource-manager@{}", addresses.grpc))
                .with_context(|| format!("cannot open {}", path.display()))?,
            None => EventLog::default(),
        };

        let stop = stop.child_token();
        let resign = CancellationToken::new();
        let (election, campaign) = election::campaign(
            options.election,
            options.cluster,
            addresses,
            options.lease,
            resign.clone(),
        );
        let (mailbox, inputs) = mpsc::channel(mailbox::CAPACITY);
        let (publish, published) = watch::channel(Arc::new(Published::default()));
        let (lead, leads) = watch::channel(None);
        let mut tasks = JoinSet::new();

        let mut orders = None;
        if options.provisioner != Kind::None {
            let (order_sender, order_receiver) = mpsc::channel(ORDERS);
            let (news_sender, news) = mpsc::channel(ORDERS);
            orders = Some(order_sender);
            let provisioner =
                provisioner::start(options.provisioner, settings, order_receiver, news_sender, stop.clone());
            tasks.spawn(async { provisioner.await.context("the provisioner has failed") });
            tokio::spawn(forward_news(news, mailbox.downgrade()));
        }

        let channels = Channels {
            mailbox: inputs,
            ours: election.ours.clone(),
            leads: lead,
            published: publish,
        };
        let shown = Events::default();
        let actions = Actions::new(orders, worker, events.clone(), shown.clone());
        let owner = Owner::new(manager, actions, heartbeats, channels, events);
        let owner = owner.run(stop.clone());
        tasks.spawn(owner);

        let leader = election.leader.clone();
        // The leadership is given up when nobody holds the receivers of the election.
        let handle = Handle {
            mailbox: mailbox.clone(),
            election,
            published,
            questions: Arc::new(Semaphore::new(QUESTIONS)),
        };
        match web {
            Some(web) => {
                let access = Access::new(security.token.clone());
                tasks.spawn(web::serve(web, handle, access, shown, stop.clone()));
            }
            None => drop(handle),
        }
        let service = Service {
            leader,
            leads,
            sessions: Sessions::new(mailbox, heartbeats),
        };
        let serving = stop.clone();
        tasks.spawn(async move {
            let served = server::serve(service, listener, &security, serving).await;
            served.context("the gRPC server has failed")
        });

        let result = first_end(&mut tasks, &stop).await;
        stop.cancel();
        if timeout(STOP_TIME, drain(&mut tasks)).await.is_err() {
            warn!("connections are cut: they do not end");
            tasks.shutdown().await;
        }
        // Only now, when nothing acts for the leader any more.
        resign.cancel();
        if timeout(RESIGN_TIME, campaign).await.is_err() {
            warn!("the leadership is not given up in time");
        }
        result
    }
}

/// Returns the address at which others reach the web server. One that listens on all addresses is
/// reached by the name of the gRPC server.
fn web_address(web: SocketAddr, grpc: &str) -> String {
    match grpc.rsplit_once(':') {
        Some((host, _)) if web.ip().is_unspecified() => format!("{host}:{}", web.port()),
        _ => web.to_string(),
    }
}

/// Waits until the process is stopped, or a part has ended too early.
async fn first_end(tasks: &mut JoinSet<anyhow::Result<()>>, stop: &CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        Some(ended) = tasks.join_next() => match ended? {
            Ok(()) if stop.is_cancelled() => Ok(()),
            Ok(()) => bail!("a part of the process has ended"),
            Err(error) => Err(error),
        },
    }
}

async fn drain(tasks: &mut JoinSet<anyhow::Result<()>>) {
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "a part of the process has failed"),
            Err(error) => warn!(%error, "a part of the process has failed"),
        }
    }
    info!("stopped");
}

/// Forwards the news of the provisioner to the leadership that they are for.
async fn forward_news(mut news: mpsc::Receiver<(Epoch, News)>, mailbox: mpsc::WeakSender<Envelope>) {
    while let Some((epoch, news)) = news.recv().await {
        let input = Input::Provisioner(news);
        let Some(mailbox) = mailbox.upgrade() else {
            return;
        };
        if mailbox.send(Envelope { epoch, input }).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_server_on_all_addresses_has_the_name_of_the_process() {
        let web = |listener: &str| web_address(listener.parse().unwrap(), "node-1:7001");
        assert_eq!(web("0.0.0.0:8001"), "node-1:8001");
        assert_eq!(web("[::]:8001"), "node-1:8001");
        assert_eq!(web("10.0.0.1:8001"), "10.0.0.1:8001");
    }
}
