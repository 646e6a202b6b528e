//! The only code that calls a trait of the embedder.

pub(crate) mod delay;
pub(crate) mod driver;
pub(crate) mod pending_answers;
pub(crate) mod rounds;
