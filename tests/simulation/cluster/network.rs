//! The network between the manager and the parties: messages, their fate on the way, and their
//! arrival.

pub(crate) mod deliveries;
pub(crate) mod gateway;
pub(crate) mod manager_inputs;
pub(crate) mod registrations;
pub(crate) mod transport;
