//! The resource manager: the process that decides which slot serves which request.
//!
//! One task owns the slot manager. Sessions of peers, the provisioner and the dashboard send inputs
//! to its mailbox.

mod actions;
mod dismissed;
mod gateway;
pub mod handle;
mod inputs;
pub mod mailbox;
mod messages;
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
use self::process::Process;

/// The slot manager of this service.
pub type Manager = SlotManager<Actions, Gateway, TokioScheduledExecutor>;

/// Runs a resource manager until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    Process::bind(options).await?.run(stop).await
}
