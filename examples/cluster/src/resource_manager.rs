//! The resource manager: the process that decides which slot serves which request.

pub mod handle;
pub mod mailbox;

use slot_manager::SlotManager;
use slot_manager::TokioScheduledExecutor;

pub use self::actions::Actions;
pub use self::gateway::Gateway;

/// The slot manager of this service.
pub type Manager = SlotManager<Actions, Gateway, TokioScheduledExecutor>;
mod actions {
    pub type Actions = Box<dyn slot_manager::ResourceManagerActions + Send>;
}
mod gateway {
    pub type Gateway = slot_manager::task_executor::ChannelGateway;
}
