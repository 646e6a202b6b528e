//! The session of a job master.

use std::convert::Infallible;

use slot_manager::{JobId, SlotRequest};
use tonic::{Status, Streaming};
use tracing::{debug, info};

use super::{End, Leads, Outgoing, Sessions, check_epoch, first};
use crate::protocol::v1::from_job_master::Message;
use crate::protocol::v1::to_job_master;
use crate::protocol::{Epoch, ProtocolError, allocation_id, job_id, limits, requirements, v1};
use crate::resource_manager::mailbox::Input;
use crate::resource_manager::outbox::{Outbox, Session};

/// A job master that has registered.
struct JobMaster {
    epoch: Epoch,
    job_id: JobId,
    session: u64,
    /// The address at which task executors reach it.
    address: std::sync::Arc<str>,
}

impl Sessions {
    /// Begins the session of a job master.
    pub fn job_master(&self, leads: Leads, messages: Streaming<v1::FromJobMaster>) -> Outgoing<v1::ToJobMaster> {
        let sessions = self.clone();
        self.begin(&leads.clone(), |outbox, session| async move {
            sessions.run_job_master(leads, messages, outbox, session).await
        })
    }

    async fn run_job_master(
        self,
        leads: Leads,
        mut messages: Streaming<v1::FromJobMaster>,
        outbox: Outbox<v1::ToJobMaster>,
        session: Session,
    ) -> End {
        let job_master = tokio::select! {
            biased;
            cause = session.ended() => return cause.into(),
            job_master = self.register_job_master(&leads, &mut messages, &outbox) => match job_master {
                Ok(job_master) => job_master,
                Err(end) => return end,
            },
        };
        let read = self.read_job_master(&job_master, &mut messages);
        let heartbeat = || to_job_master::Message::Heartbeat(v1::Heartbeat {}).into();
        let end = self.drive(&outbox, &session, heartbeat, read).await;

        let JobMaster { job_id, session, .. } = job_master;
        info!(%job_id, cause = end.cause, "session of a job master has ended");
        // If the owner has ended, nobody needs to know.
        let _ = self.send(leads.epoch, Input::JobMasterGone { job_id, session }).await;
        end
    }

    /// Reads the registration and gives it to the owner. An error means that the owner has not got
    /// it.
    async fn register_job_master(
        &self,
        leads: &Leads,
        messages: &mut Streaming<v1::FromJobMaster>,
        outbox: &Outbox<v1::ToJobMaster>,
    ) -> Result<JobMaster, End> {
        let Some(Message::Register(register)) = first(messages).await?.message else {
            return Err(ProtocolError::new("message", "the first one is not a registration").into());
        };
        check_epoch(leads, register.highest_epoch)?;
        let grants = register.grants.iter().map(|id| allocation_id("grants", id));
        let grants = grants.collect::<Result<_, _>>()?;
        let job_master = JobMaster {
            epoch: leads.epoch,
            job_id: job_id("job_id", &register.job_id)?,
            session: self.next_number(),
            address: limits::name("address", register.address)?.into(),
        };
        let input = Input::JobMaster {
            job_id: job_master.job_id,
            session: job_master.session,
            grants,
            outbox: outbox.clone(),
        };
        self.send(leads.epoch, input).await?;
        Ok(job_master)
    }

    async fn read_job_master(
        &self,
        job_master: &JobMaster,
        messages: &mut Streaming<v1::FromJobMaster>,
    ) -> Result<Infallible, End> {
        loop {
            let message = self.next(messages).await?.message;
            let Some(message) = message else {
                debug!(job_id = %job_master.job_id, "a message of a later version is ignored");
                continue;
            };
            if let Some(input) = read(job_master, message)? {
                self.send(job_master.epoch, input).await?;
            }
        }
    }
}

/// Reads a message that follows the registration. A heartbeat is no input.
fn read(job_master: &JobMaster, message: Message) -> Result<Option<Input>, End> {
    let job_id = job_master.job_id;
    Ok(match message {
        Message::Register(_) => return Err(Status::invalid_argument("register: it is registered already").into()),
        Message::SlotRequest(request) => {
            let id = allocation_id("allocation_id", &request.allocation_id)?;
            let profile = request.resource_profile;
            let profile = profile.ok_or_else(|| ProtocolError::missing("resource_profile"))?;
            let request = SlotRequest::new(job_id, id, profile.try_into()?, job_master.address.clone());
            Some(Input::Requested(request))
        }
        Message::Cancel(cancel) => Some(Input::Cancelled {
            job_id,
            allocation_id: allocation_id("allocation_id", &cancel.allocation_id)?,
        }),
        Message::Declare(declare) => {
            let requirements = requirements(job_id, job_master.address.clone(), declare)?;
            Some(Input::Declared(requirements))
        }
        Message::Heartbeat(_) => None,
    })
}
