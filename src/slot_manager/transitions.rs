//! How the state changes: each module is about one kind of transition. All are methods of [`Core`](super::core::Core).
//!
//! A transaction changes what it has to and notes in [`Changes`](super::core::Changes) what became free, unplaced or
//! lost; [`settling`] ends it. Nothing here talks to the outside: what is to be said goes to
//! [`Effects`](super::effects::Effects).

mod asking;
mod attempts;
mod blocking;
mod coverage;
mod due_deadlines;
mod holdings;
pub(super) mod releasing;
mod reports;
mod request_states;
mod settling;
mod slot_states;
mod unfulfillable;
