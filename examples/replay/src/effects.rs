//! The effect log: all calls of the manager to the traits it is given, in their order.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use slot_manager::message::{AllocateSlot, AllocationFailureCause, FreeSlot, Release, ReleaseResource};
use slot_manager::{AllocationId, JobId, ResourceProfile, SlotId, Timestamp, WorkerRequestId};
use twox_hash::XxHash3_128;

/// One call of the manager to a trait, with the data that the simulation needs to continue.
#[derive(Debug)]
pub(crate) enum Effect {
    AllocateSlot(AllocateSlot),
    FreeSlot(FreeSlot),
    AllocateResource {
        worker_request: WorkerRequestId,
        profile: ResourceProfile,
        reply: WorkerReply,
    },
    ReleaseResource {
        release: ReleaseResource,
        reply: Release,
    },
    SlotAllocated {
        job_id: JobId,
        allocation_id: AllocationId,
        slot_id: SlotId,
    },
    AllocationFailed {
        job_id: JobId,
        allocation_id: AllocationId,
        cause: AllocationFailureCause,
    },
}

/// The answer of the resource manager to a worker request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerReply {
    /// The node with this number starts.
    Starts(usize),
    Declined,
    Refused,
}

/// The effects of the current call, until the simulation takes them. Clones share one list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox(Rc<RefCell<Vec<Effect>>>);

impl Outbox {
    pub(crate) fn put(&self, effect: Effect) {
        self.0.borrow_mut().push(effect);
    }

    pub(crate) fn take(&self) -> Vec<Effect> {
        std::mem::take(&mut *self.0.borrow_mut())
    }
}

/// The hash of all effects, and optionally a file with one line for each effect.
pub(crate) struct EffectLog {
    hasher: XxHash3_128,
    file: Option<BufWriter<File>>,
    line: String,
    effects: u64,
}

impl EffectLog {
    pub(crate) fn new(file: Option<&Path>) -> Result<Self> {
        let file = file
            .map(|path| File::create(path).with_context(|| format!("cannot write {}", path.display())))
            .transpose()?;
        Ok(Self {
            hasher: XxHash3_128::new(),
            file: file.map(BufWriter::new),
            line: String::new(),
            effects: 0,
        })
    }

    pub(crate) fn record(&mut self, now: Timestamp, effect: &Effect) -> Result<()> {
        self.effects += 1;
        self.line.clear();
        describe(&mut self.line, now, effect).context("cannot describe an effect")?;
        self.hasher.write(self.line.as_bytes());
        if let Some(file) = &mut self.file {
            file.write_all(self.line.as_bytes())
                .context("cannot write the effect log")?;
        }
        Ok(())
    }

    /// Returns the number of effects and their hash.
    pub(crate) fn finish(mut self) -> Result<(u64, u128)> {
        if let Some(file) = &mut self.file {
            file.flush().context("cannot write the effect log")?;
        }
        Ok((self.effects, self.hasher.finish_128()))
    }
}

fn describe(line: &mut String, now: Timestamp, effect: &Effect) -> std::fmt::Result {
    write!(line, "{} ", now.as_nanos())?;
    match effect {
        Effect::AllocateSlot(request) => write!(
            line,
            "request_slot {} allocation={} job={} profile={} target={} leader={} instance={} attempt={}",
            request.slot_id,
            request.allocation_id,
            request.job_id,
            request.resource_profile,
            request.target_address,
            request.leader_id,
            request.instance_id,
            request.attempt
        )?,
        Effect::FreeSlot(free) => write!(
            line,
            "free_slot {} allocation={} job={} leader={} instance={} attempt={}",
            free.slot_id, free.allocation_id, free.job_id, free.leader_id, free.instance_id, free.attempt
        )?,
        Effect::AllocateResource {
            worker_request,
            profile,
            reply,
        } => write!(
            line,
            "allocate_resource {} profile={profile} -> {reply:?}",
            worker_request.number()
        )?,
        Effect::ReleaseResource { release, reply } => write!(
            line,
            "release_resource {} cause={:?} -> {reply:?}",
            release.instance_id, release.cause
        )?,
        Effect::SlotAllocated {
            job_id,
            allocation_id,
            slot_id,
        } => write!(
            line,
            "notify_slot_allocated {slot_id} allocation={allocation_id} job={job_id}"
        )?,
        Effect::AllocationFailed {
            job_id,
            allocation_id,
            cause,
        } => write!(
            line,
            "notify_allocation_failure allocation={allocation_id} job={job_id} cause={cause}"
        )?,
    }
    line.write_char('\n')
}

#[cfg(test)]
mod tests {
    use slot_manager::message::ReleaseCause;
    use slot_manager::{InstanceId, ResourceId};

    use super::*;

    fn released(instance: u128) -> Effect {
        Effect::ReleaseResource {
            release: ReleaseResource {
                resource_id: ResourceId::new("node-1"),
                instance_id: InstanceId::from_u128(instance),
                worker_request: None,
                is_blocked: false,
                cause: ReleaseCause::IdleTimeout {
                    idle_since: Timestamp::from_secs(1),
                    idle_period: 2,
                },
            },
            reply: Release::Declined,
        }
    }

    fn hash(effects: &[(u64, u128)]) -> (u64, u128) {
        let mut log = EffectLog::new(None).unwrap();
        for (seconds, instance) in effects {
            log.record(Timestamp::from_secs(*seconds), &released(*instance))
                .unwrap();
        }
        log.finish().unwrap()
    }

    #[test]
    fn the_hash_depends_on_every_effect_its_time_and_the_order() {
        assert_eq!(hash(&[(1, 1), (1, 2)]), hash(&[(1, 1), (1, 2)]));
        assert_eq!(hash(&[(1, 1), (1, 2)]).0, 2);
        assert_ne!(hash(&[(1, 1), (1, 2)]).1, hash(&[(1, 2), (1, 1)]).1);
        assert_ne!(hash(&[(1, 1), (1, 2)]).1, hash(&[(1, 1), (2, 2)]).1);
        assert_ne!(hash(&[(1, 1)]).1, hash(&[]).1);
    }

    #[test]
    fn the_log_is_readable_and_the_same_on_every_machine() {
        let mut line = String::new();
        describe(&mut line, Timestamp::from_secs(3), &released(0xab)).unwrap();
        assert_eq!(
            line,
            "3000000000 release_resource 000000000000000000000000000000ab \
             cause=IdleTimeout { idle_since: +1s, idle_period: 2 } -> Declined\n"
        );
    }
}
