//! The task executor's half of the protocol, for real task executors and their gateways.
//!
//! | item | use it to |
//! |---|---|
//! | [`TaskSlotTable`] | keep the slots of a task executor by the [rules](crate#what-a-task-executor-must-do) |
//! | [`TaskExecutorMessage`] | send the calls of the manager to a task executor |
//! | `channel_gateway` (feature `tokio`) | reach a task executor through a channel, with answers that come later |
//! | [`PendingAnswer`] | write a gateway whose answers are futures |

#[cfg(feature = "tokio")]
mod channel_gateway;
mod pending_answer;
mod slot_table;
mod task_executor_message;

#[cfg(feature = "tokio")]
pub use self::channel_gateway::{ChannelGateway, channel_gateway};
pub use self::pending_answer::{AnswerSender, PendingAnswer};
pub use self::slot_table::TaskSlotTable;
pub use self::task_executor_message::TaskExecutorMessage;
