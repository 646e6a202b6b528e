//! placeholder
mod actions;
mod config;
mod error;
mod gateway;
mod id;
mod matching;
mod outcome;
mod resource_profile;
mod scheduled_executor;
mod slot_manager;
mod slot_report;
mod slot_request;
#[cfg(feature = "test-util")]
pub mod testing;

pub use crate::actions::{
    AllocationFailureCause, GrantLoss, Release, ReleaseCause, RequestFailure, ResourceManagerActions, WorkerPromise,
};
pub use crate::config::{ConfigError, SlotManagerConfig};
pub use crate::error::{
    Conflict, NotStarted, ResourceManagerError, SlotAllocationError, SlotManagerError, SlotReportError,
    SlotRequestError, StartError,
};
pub use crate::gateway::{Acknowledge, FreeSlot, RequestSlot, TaskExecutorConnection, TaskExecutorGateway};
pub use crate::id::{AllocationId, InstanceId, JobId, LeaderId, ParseIdError, ResourceId, SlotId, WorkerRequestId};
pub use crate::matching::SlotMatchingStrategy;
pub use crate::outcome::{
    AllocationStatus, CancelOutcome, FreeSlotOutcome, RegistrationOutcome, ReportOutcome, SlotRequestOutcome, Stale,
    UnregistrationOutcome, WorkerFailedOutcome,
};
pub use crate::resource_profile::{ResourceProfile, ResourceProfileBuilder, ResourceProfileError};
#[cfg(feature = "tokio")]
pub use crate::scheduled_executor::TokioScheduledExecutor;
pub use crate::scheduled_executor::{ScheduledExecutor, Timestamp};
#[cfg(feature = "test-util")]
pub use crate::slot_manager::InvariantViolation;
pub use crate::slot_manager::{
    PendingSlotRequest, PromisedSlot, PromisedSlotCounts, SlotCounts, SlotManager, SlotState, TaskManagerRegistration,
    TaskManagerSlot,
};
pub use crate::slot_report::{SlotReport, SlotStatus};
pub use crate::slot_request::SlotRequest;
