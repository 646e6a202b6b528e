//! What happens: every transition of the state, as methods of [`Core`](crate::slot_manager::state::core::Core).
//!
//! A rule changes the state and notes what it set free, detached or took away in
//! [`Transaction`](crate::slot_manager::state::transaction::Transaction); [`commit`] ends the transaction. No rule calls a trait: what the outside must hear
//! goes to [`Effects`](crate::slot_manager::state::effects::Effects).

mod attempts;
mod blocking;
mod commit;
mod grants;
pub(crate) mod idle_release;
mod promises;
mod registrations;
mod reports;
mod requests;
mod slots;
mod timers;
mod unfulfillable;
mod worker_requests;
