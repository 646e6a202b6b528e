//! Conversions between messages and the types of the slot manager.

mod dynamic_resources;

use std::sync::Arc;

use slot_manager::error::SlotAllocationError;
use slot_manager::message::{
    Acknowledge, AllocateSlot, Allocation, FreeInactiveSlots, FreeSlot, SlotFreed, SlotResult,
};
use slot_manager::{
    AllocationId, DynamicResources, InstanceId, JobId, ResourceId, ResourceProfile, ResourceRequirements, SlotId,
    SlotReport, SlotStatus, WorkerRequestId,
};

use super::{Epoch, ProtocolError, limits, v1};

/// Ids of 16 bytes.
macro_rules! id {
    ($name:ident, $id:ty) => {
        /// Reads an id of 16 bytes.
        pub fn $name(field: &'static str, bytes: &[u8]) -> Result<$id, ProtocolError> {
            let bytes = bytes
                .try_into()
                .map_err(|_| ProtocolError::new(field, format!("{} bytes instead of 16", bytes.len())))?;
            Ok(<$id>::from_bytes(bytes))
        }
    };
}

id!(allocation_id, AllocationId);
id!(job_id, JobId);
id!(instance_id, InstanceId);

impl From<Allocation> for v1::Allocation {
    fn from(allocation: Allocation) -> Self {
        Self {
            allocation_id: allocation.id.to_bytes().into(),
            job_id: allocation.job.to_bytes().into(),
        }
    }
}

impl TryFrom<v1::Allocation> for Allocation {
    type Error = ProtocolError;

    fn try_from(allocation: v1::Allocation) -> Result<Self, ProtocolError> {
        Ok(Self {
            id: allocation_id("allocation_id", &allocation.allocation_id)?,
            job: job_id("job_id", &allocation.job_id)?,
        })
    }
}

impl From<&ResourceProfile> for v1::ResourceProfile {
    fn from(profile: &ResourceProfile) -> Self {
        use v1::resource_profile::Kind;
        let kind = match profile {
            profile if *profile == ResourceProfile::ANY => Kind::Any,
            profile if *profile == ResourceProfile::UNKNOWN => Kind::Unknown,
            _ => Kind::Amounts,
        };
        let extended = profile.extended_resources();
        Self {
            kind: kind.into(),
            cpu_cores: profile.cpu_cores().unwrap_or_default(),
            task_heap_memory_bytes: profile.task_heap_memory_bytes().unwrap_or_default(),
            task_off_heap_memory_bytes: profile.task_off_heap_memory_bytes().unwrap_or_default(),
            managed_memory_bytes: profile.managed_memory_bytes().unwrap_or_default(),
            network_memory_bytes: profile.network_memory_bytes().unwrap_or_default(),
            extended_resources: extended.map(|(name, amount)| (name.to_owned(), amount)).collect(),
        }
    }
}

impl TryFrom<v1::ResourceProfile> for ResourceProfile {
    type Error = ProtocolError;

    fn try_from(profile: v1::ResourceProfile) -> Result<Self, ProtocolError> {
        use v1::resource_profile::Kind;
        match profile.kind() {
            Kind::Any => return Ok(Self::ANY),
            Kind::Unknown => return Ok(Self::UNKNOWN),
            Kind::Amounts => {}
        }
        if profile.extended_resources.len() > limits::EXTENDED_RESOURCES {
            return Err(ProtocolError::new("extended_resources", "too many"));
        }
        let mut builder = Self::builder()
            .cpu_cores(profile.cpu_cores)
            .task_heap_memory_bytes(profile.task_heap_memory_bytes)
            .task_off_heap_memory_bytes(profile.task_off_heap_memory_bytes)
            .managed_memory_bytes(profile.managed_memory_bytes)
            .network_memory_bytes(profile.network_memory_bytes);
        for (name, amount) in profile.extended_resources {
            builder = builder.extended_resource(limits::name("extended_resources", name)?, amount);
        }
        builder
            .build()
            .map_err(|error| ProtocolError::new("resource_profile", error.to_string()))
    }
}

impl From<&SlotReport> for v1::SlotReport {
    fn from(report: &SlotReport) -> Self {
        let mut profiles: Vec<&ResourceProfile> = Vec::new();
        let slots = report.statuses().iter().map(|status| {
            let profile = status.resource_profile();
            let known = profiles.iter().rposition(|known| *known == profile);
            let index = known.unwrap_or_else(|| {
                profiles.push(profile);
                profiles.len() - 1
            });
            v1::SlotStatus {
                slot_number: status.slot_id().slot_number(),
                profile: index as u32,
                allocation: status.allocation().map(Into::into),
            }
        });
        let slots = slots.collect();
        Self {
            revision: report.revision().unwrap_or_default(),
            profiles: profiles.into_iter().map(Into::into).collect(),
            slots,
            dynamic: report.dynamic().map(Into::into),
        }
    }
}

/// Reads the report of a worker.
pub fn slot_report(resource_id: &ResourceId, report: v1::SlotReport) -> Result<SlotReport, ProtocolError> {
    if report.slots.len() > limits::SLOTS {
        let reason = format!("{} slots, at most {} are possible", report.slots.len(), limits::SLOTS);
        return Err(ProtocolError::new("slots", reason));
    }
    if report.profiles.len() > limits::PROFILES {
        return Err(ProtocolError::new("profiles", "too many"));
    }
    let profiles = report.profiles.into_iter().map(ResourceProfile::try_from);
    let profiles: Vec<ResourceProfile> = profiles.collect::<Result<_, _>>()?;
    let statuses = report.slots.into_iter().map(|status| {
        let slot_id = SlotId::new(resource_id.clone(), status.slot_number);
        let profile = profiles.get(status.profile as usize);
        let profile = profile.ok_or_else(|| ProtocolError::new("profile", "not in the list of profiles"))?;
        Ok(match status.allocation {
            None => SlotStatus::free(slot_id, profile.clone()),
            Some(allocation) => {
                let Allocation { id, job } = allocation.try_into()?;
                SlotStatus::allocated(slot_id, profile.clone(), id, job)
            }
        })
    });
    let statuses = statuses.collect::<Result<Vec<_>, ProtocolError>>()?;
    let slot_report = match report.dynamic {
        Some(worker) => SlotReport::of_dynamic(DynamicResources::try_from(worker)?, statuses),
        None => SlotReport::new(statuses),
    };
    Ok(slot_report.with_revision(report.revision))
}

/// Reads the requirements of a job whose master has this address.
pub fn requirements(
    job_id: JobId,
    address: Arc<str>,
    declare: v1::DeclareRequirements,
) -> Result<ResourceRequirements, ProtocolError> {
    if declare.required.len() > limits::REQUIRED_PROFILES {
        return Err(ProtocolError::new("required", "too many"));
    }
    let mut requirements = ResourceRequirements::new(job_id, address).with_revision(declare.revision);
    for v1::RequiredSlots {
        resource_profile,
        slots,
    } in declare.required
    {
        let profile = resource_profile.ok_or_else(|| ProtocolError::missing("resource_profile"))?;
        requirements = requirements
            .require(profile.try_into()?, slots)
            .map_err(|error| ProtocolError::new("slots", error.to_string()))?;
    }
    Ok(requirements)
}

impl From<WorkerRequestId> for v1::WorkerRequest {
    fn from(id: WorkerRequestId) -> Self {
        Self {
            // Leader ids are epochs here.
            epoch: id.leader_id().as_u128() as u64,
            number: id.number(),
        }
    }
}

impl From<v1::WorkerRequest> for WorkerRequestId {
    fn from(request: v1::WorkerRequest) -> Self {
        Self::new(Epoch(request.epoch).leader_id(), request.number)
    }
}

fn allocation(id: AllocationId, job: JobId) -> v1::Allocation {
    Allocation { id, job }.into()
}

impl From<&AllocateSlot> for v1::AllocateSlot {
    fn from(request: &AllocateSlot) -> Self {
        Self {
            slot_number: request.slot_id.slot_number(),
            allocation: Some(allocation(request.allocation_id, request.job_id)),
            resource_profile: Some((&request.resource_profile).into()),
            target_address: request.target_address.to_string(),
            attempt: request.attempt,
        }
    }
}

impl From<&FreeSlot> for v1::FreeSlot {
    fn from(request: &FreeSlot) -> Self {
        Self {
            slot_number: request.slot_id.slot_number(),
            allocation: Some(allocation(request.allocation_id, request.job_id)),
            attempt: request.attempt,
        }
    }
}

impl From<&FreeInactiveSlots> for v1::FreeInactiveSlots {
    fn from(request: &FreeInactiveSlots) -> Self {
        Self {
            job_id: request.job_id.to_bytes().into(),
            attempt: request.attempt,
        }
    }
}

/// The registration to which messages of one connection belong.
#[derive(Debug, Clone)]
pub struct Registration {
    pub epoch: Epoch,
    pub resource_id: ResourceId,
    pub instance_id: InstanceId,
}

impl Registration {
    /// Reads the request for a slot, on the side of the task executor.
    pub fn allocate_slot(&self, request: v1::AllocateSlot) -> Result<AllocateSlot, ProtocolError> {
        let allocation = request.allocation.ok_or_else(|| ProtocolError::missing("allocation"))?;
        let Allocation { id, job } = allocation.try_into()?;
        let profile = request.resource_profile;
        let profile = profile.ok_or_else(|| ProtocolError::missing("resource_profile"))?;
        Ok(AllocateSlot {
            slot_id: SlotId::new(self.resource_id.clone(), request.slot_number),
            job_id: job,
            allocation_id: id,
            resource_profile: profile.try_into()?,
            target_address: limits::name("target_address", request.target_address)?.into(),
            leader_id: self.epoch.leader_id(),
            instance_id: self.instance_id,
            attempt: request.attempt,
        })
    }

    /// Reads the request to free a slot, on the side of the task executor.
    pub fn free_slot(&self, request: v1::FreeSlot) -> Result<FreeSlot, ProtocolError> {
        let allocation = request.allocation.ok_or_else(|| ProtocolError::missing("allocation"))?;
        let Allocation { id, job } = allocation.try_into()?;
        Ok(FreeSlot {
            slot_id: SlotId::new(self.resource_id.clone(), request.slot_number),
            job_id: job,
            allocation_id: id,
            leader_id: self.epoch.leader_id(),
            instance_id: self.instance_id,
            attempt: request.attempt,
        })
    }

    /// Reads the request to free the unused slots of a job, on the side of the task executor.
    pub fn free_inactive_slots(&self, request: v1::FreeInactiveSlots) -> Result<FreeInactiveSlots, ProtocolError> {
        Ok(FreeInactiveSlots {
            job_id: job_id("job_id", &request.job_id)?,
            leader_id: self.epoch.leader_id(),
            instance_id: self.instance_id,
            attempt: request.attempt,
        })
    }

    /// Reads the news of a freed slot, on the side of the resource manager.
    pub fn slot_freed(&self, freed: v1::SlotFreed) -> Result<SlotFreed, ProtocolError> {
        let slot_id = SlotId::new(self.resource_id.clone(), freed.slot_number);
        let allocation_id = allocation_id("allocation_id", &freed.allocation_id)?;
        let message = SlotFreed::new(slot_id, allocation_id).with_revision(self.instance_id, freed.revision);
        Ok(match freed.attempt {
            Some(attempt) => message.with_attempt(attempt),
            None => message,
        })
    }
}

impl From<&SlotFreed> for v1::SlotFreed {
    fn from(freed: &SlotFreed) -> Self {
        Self {
            slot_number: freed.slot_id().slot_number(),
            allocation_id: freed.allocation_id().to_bytes().into(),
            revision: freed.revision().map_or(0, |(_, revision)| revision),
            attempt: freed.attempt(),
        }
    }
}

/// Writes the answer to a slot request.
pub fn slot_answer(request: &AllocateSlot, result: &SlotResult) -> v1::SlotAnswer {
    use v1::slot_answer::Result as Answer;
    let result = match result {
        Ok(acknowledge) => Answer::Acknowledged(v1::Acknowledged {
            revision: acknowledge.revision().unwrap_or_default(),
        }),
        Err(SlotAllocationError::Occupied { allocation_id, job_id }) => {
            let (id, job) = (*allocation_id, *job_id);
            Answer::Occupied(Allocation { id, job }.into())
        }
        Err(SlotAllocationError::Insufficient { free }) => Answer::Insufficient(v1::Insufficient {
            free: Some((&**free).into()),
        }),
        Err(other) => Answer::Rejected(other.to_string()),
    };
    v1::SlotAnswer {
        attempt: Some(v1::AttemptId {
            number: request.attempt,
            allocation_id: request.allocation_id.to_bytes().into(),
        }),
        result: Some(result),
    }
}

/// Reads the result of a slot request.
pub fn slot_result(result: Option<v1::slot_answer::Result>) -> Result<SlotResult, ProtocolError> {
    use v1::slot_answer::Result as Answer;
    Ok(match result.ok_or_else(|| ProtocolError::missing("result"))? {
        Answer::Acknowledged(acknowledged) => Ok(Acknowledge::new().with_revision(acknowledged.revision)),
        Answer::Occupied(holder) => {
            let Allocation { id, job } = holder.try_into()?;
            Err(SlotAllocationError::Occupied {
                allocation_id: id,
                job_id: job,
            })
        }
        Answer::Rejected(reason) => Err(SlotAllocationError::rejected(reason)),
        Answer::Insufficient(v1::Insufficient { free }) => {
            let free = free.ok_or_else(|| ProtocolError::missing("free"))?;
            let free = ResourceProfile::try_from(free).map_err(|error| error.within("free"))?;
            Err(SlotAllocationError::insufficient(free))
        }
    })
}

#[cfg(test)]
mod tests;
