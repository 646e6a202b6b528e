//! What must be true when time was handled and nobody was asked for a worker: nobody has to be.

use slot_manager::SlotManagerConfig;

use crate::cluster::capacity_rules;
use crate::cluster::checks::call_context::Moment;
use crate::cluster::checks::slot_inventory::Standing;
use crate::cluster::run::Check;

/// What there is to be is there, unless nobody may be asked, or nobody is because somebody declined.
pub(crate) fn check_reserve(config: &SlotManagerConfig, after: &Standing, moment: &Moment<'_>, asks: bool) -> Check {
    let Some(worker) = capacity_rules::described_worker(config) else {
        return Ok(());
    };
    let redundant = capacity_rules::redundant_slots(config, after.used);
    let spare = after.offered() + after.unbound();
    let is_short = after.usable() < config.min_slots || spare < redundant;
    let may_ask = moment.is_after(config.recovery_timeout)
        && asks
        && capacity_rules::limit_beyond(config, after.total(), capacity_rules::total(&worker)).is_none();
    if is_short && may_ask {
        return Err(format!("nobody is asked for what is missing: {after:?}"));
    }
    Ok(())
}
