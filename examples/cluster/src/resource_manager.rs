//! The resource manager: the process that decides which slot serves which request.

pub mod handle;
pub mod mailbox;

use slot_manager::SlotManager;
use slot_manager::TokioScheduledExecutor;

/// The slot manager of this service.
pub type Manager = SlotManager<actions::Actions, gateway::Gateway, TokioScheduledExecutor>;
mod actions {
    pub struct Actions;
}
mod gateway {
    pub struct Gateway;
}
