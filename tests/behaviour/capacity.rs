//! How many workers there are: when one is asked for, refused, kept, released, withdrawn or blocked, and what is told
//! of it.

mod ask_before_release;
mod blocked;
mod explanations;
mod floor;
mod limits;
mod options;
mod overviews;
mod recovery;
mod redundancy;
mod refused_registrations;
mod unfulfillable;
mod validation;
mod withdrawal;
mod worker_descriptions;
