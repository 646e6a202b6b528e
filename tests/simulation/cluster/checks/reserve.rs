//! The check of a call that handled time and requested no worker: none was needed.

use slot_manager::SlotManagerConfig;

use crate::cluster::capacity_rules;
use crate::cluster::checks::call_context::CallContext;
use crate::cluster::checks::slot_inventory::SlotInventory;
use crate::cluster::run::Check;

/// Checks that fewest slots and redundancy are met, unless no worker may be requested.
pub(crate) fn check_reserve(
    config: &SlotManagerConfig,
    after: &SlotInventory,
    context: &CallContext<'_>,
    asks: bool,
) -> Check {
    let Some(worker) = capacity_rules::described_worker(config) else {
        return Ok(());
    };
    let redundant = capacity_rules::redundant_slots(config, after.used);
    let spare = after.offered() + after.unbound();
    let is_short = after.usable() < capacity_rules::min_slots(config) || spare < redundant;
    let may_ask = context.has_recovered(config.recovery_timeout)
        && asks
        && capacity_rules::limit_beyond(config, after.total(), capacity_rules::total(&worker)).is_none();
    if is_short && may_ask {
        return Err(format!("slots are missing, and no worker is requested: {after:?}"));
    }
    Ok(())
}
