//! Input from someone who means ill, or whose program is broken: a clear error or a value like any other, never a panic,
//! an overflow or memory without bounds.
//!
//! First what is read and made (ids, options, profiles, times, serialised messages), against arbitrary text, text that is
//! nearly right, and numbers at their limits. Then a whole manager, against numbers at their limits, many slots and many
//! requests, and ids chosen to be found slowly.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the benches")]
#[path = "../../benches/common/outside.rs"]
mod outside;

mod colliding_ids;
mod extremes;
mod ids;
mod many;
mod options;
mod profiles;
mod serialized;
mod text;
mod times;
