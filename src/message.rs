//! The messages between the manager, task executors and the resource manager.
//!
//! # JSON
//!
//! With the feature `serde` a message has its fields under their names. Ids are their texts, as in
//! logs. Times are nanoseconds since the origin of the manager's clock, and `null` is never. An
//! enum is the name of its variant, or an object with that name as its only key.
//!
//! ```
//! use slot_manager::error::SlotAllocationError;
//! use slot_manager::message::{Acknowledge, SlotFreed, SlotResult};
//! use slot_manager::{AllocationId, InstanceId, SlotId};
//!
//! let freed = SlotFreed::new(SlotId::new("worker-1", 0), AllocationId::from_u128(0xa1))
//!     .with_revision(InstanceId::from_u128(0xb1), 3)
//!     .with_attempt(7);
//! let text = serde_json::to_string(&freed)?;
//! assert_eq!(
//!     text,
//!     concat!(
//!         r#"{"slot_id":"worker-1_0","allocation_id":"000000000000000000000000000000a1","#,
//!         r#""instance_id":"000000000000000000000000000000b1","revision":3,"attempt":7}"#
//!     )
//! );
//! assert_eq!(serde_json::from_str::<SlotFreed>(&text)?, freed);
//!
//! let granted: SlotResult = Ok(Acknowledge::new().with_revision(2));
//! assert_eq!(serde_json::to_string(&granted)?, r#"{"Ok":{"revision":2}}"#);
//! let refused: SlotResult = Err(SlotAllocationError::rejected("the disk is full"));
//! assert_eq!(serde_json::to_string(&refused)?, r#"{"Err":{"Rejected":{"reason":"the disk is full"}}}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod allocation;
mod resource_manager;
mod task_executor;

pub use self::allocation::Allocation;
pub use self::resource_manager::{
    AllocationFailureCause, GrantLoss, Release, ReleaseCause, ReleaseResource, RequestFailure, ResourceShortage,
    ShortageCause, WithdrawResource, Withdrawal, WithdrawalCause, WorkerPromise,
};
pub use self::task_executor::{
    Acknowledge, AllocateSlot, AttemptId, FreeInactiveSlots, FreeSlot, NoFuture, ReleaseCheck, ReleaseDecision,
    SlotAnswer, SlotFreed, SlotResult,
};
