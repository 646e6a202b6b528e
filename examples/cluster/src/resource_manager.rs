//! The resource manager: the process that decides which slot serves which request.
//!
//! One task owns the slot manager. Sessions of peers, the provisioner and the dashboard send inputs
//! to its mailbox.

mod actions;
mod gateway;
pub mod handle;
mod inputs;
pub mod mailbox;
mod messages;
pub mod notes;
mod options;
mod outbox;
mod owner;
#[cfg(test)]
mod owner_tests;
mod process;
mod server;
mod sessions;
#[cfg(test)]
mod tests;

use slot_manager::{SlotManager, TokioScheduledExecutor};
use tokio_util::sync::CancellationToken;

pub use self::actions::Actions;
pub use self::gateway::Gateway;
pub use self::options::Options;
pub use self::process::{Parts, Process};

use crate::provisioner;

/// The slot manager of this service.
pub type Manager = SlotManager<Actions, Gateway, TokioScheduledExecutor>;

/// Runs a resource manager until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let kind = options.provisioner;
    let process = Process::bind(options.clone()).await?;
    let settings = options.provisioner_settings(process.address());
    let parts = Parts {
        provision: Some(Box::new(move |orders, news, stop| {
            provisioner::start(kind, settings, orders, news, stop)
        })),
        ..Parts::default()
    };
    process.run(parts, stop).await
}
