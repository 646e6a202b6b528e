//! The session of a task executor.

use std::convert::Infallible;

use slot_manager::message::{AttemptId, ReleaseCheck, ReleaseDecision};
use slot_manager::{InstanceId, ResourceId};
use tonic::{Status, Streaming};
use tracing::{debug, info};

use super::{End, Leads, Outgoing, Sessions, check_epoch, first};
use crate::protocol::v1::from_task_executor::Message;
use crate::protocol::v1::to_task_executor;
use crate::protocol::{ProtocolError, Registration, allocation_id, limits, slot_report, slot_result, v1};
use crate::resource_manager::mailbox::Input;
use crate::resource_manager::outbox::{Outbox, Session};

impl Sessions {
    /// Begins the session of a task executor.
    pub fn task_executor(
        &self,
        leads: Leads,
        messages: Streaming<v1::FromTaskExecutor>,
    ) -> Outgoing<v1::ToTaskExecutor> {
        let sessions = self.clone();
        self.begin(&leads.clone(), |outbox, session| async move {
            sessions.run_task_executor(leads, messages, outbox, session).await
        })
    }

    async fn run_task_executor(
        self,
        leads: Leads,
        mut messages: Streaming<v1::FromTaskExecutor>,
        outbox: Outbox<v1::ToTaskExecutor>,
        session: Session,
    ) -> End {
        let registration = tokio::select! {
            biased;
            cause = session.ended() => return cause.into(),
            registration = self.register(&leads, &mut messages, &outbox) => match registration {
                Ok(registration) => registration,
                Err(end) => return end,
            },
        };
        let read = self.read_task_executor(&registration, &mut messages);
        let heartbeat = || to_task_executor::Message::Heartbeat(v1::Heartbeat {}).into();
        let end = self.drive(&outbox, &session, heartbeat, read).await;

        info!(resource_id = %registration.resource_id, cause = end.cause, "session of a task executor has ended");
        let gone = Input::TaskExecutorGone {
            instance_id: registration.instance_id,
            cause: end.cause.clone(),
        };
        // If the owner has ended, nobody needs to know.
        let _ = self.send(leads.epoch, gone).await;
        end
    }

    /// Reads the registration and gives it to the owner. An error means that the owner has not got
    /// it.
    async fn register(
        &self,
        leads: &Leads,
        messages: &mut Streaming<v1::FromTaskExecutor>,
        outbox: &Outbox<v1::ToTaskExecutor>,
    ) -> Result<Registration, End> {
        let Some(Message::Register(register)) = first(messages).await?.message else {
            return Err(ProtocolError::new("message", "the first one is not a registration").into());
        };
        check_epoch(leads, register.highest_epoch)?;
        let resource_id = ResourceId::new(limits::name("resource_id", register.resource_id)?);
        let report = register.report.ok_or_else(|| ProtocolError::missing("report"))?;
        let report = slot_report(&resource_id, report)?;
        let registration = Registration {
            epoch: leads.epoch,
            resource_id,
            instance_id: InstanceId::from_u128(rand::random()),
        };
        let input = Input::Register {
            registration: registration.clone(),
            worker_request: register.worker_request.map(Into::into),
            report,
            outbox: outbox.clone(),
        };
        self.send(leads.epoch, input).await?;
        Ok(registration)
    }

    async fn read_task_executor(
        &self,
        registration: &Registration,
        messages: &mut Streaming<v1::FromTaskExecutor>,
    ) -> Result<Infallible, End> {
        loop {
            let message = self.next(messages).await?.message;
            let Some(message) = message else {
                debug!(resource_id = %registration.resource_id, "a message of a later version is ignored");
                continue;
            };
            let input = read(registration, message)?;
            self.send(registration.epoch, input).await?;
        }
    }
}

/// Reads a message that follows the registration.
fn read(registration: &Registration, message: Message) -> Result<Input, End> {
    let leader_id = registration.epoch.leader_id();
    Ok(match message {
        Message::Register(_) => return Err(Status::invalid_argument("register: it is registered already").into()),
        Message::Heartbeat(report) => Input::Reported {
            instance_id: registration.instance_id,
            report: slot_report(&registration.resource_id, report)?,
        },
        Message::SlotAnswer(answer) => {
            let attempt = answer.attempt.ok_or_else(|| ProtocolError::missing("attempt"))?;
            Input::Answered {
                attempt: AttemptId {
                    leader_id,
                    allocation_id: allocation_id("allocation_id", &attempt.allocation_id)?,
                    number: attempt.number,
                },
                result: slot_result(answer.result)?,
            }
        }
        Message::SlotFreed(freed) => Input::Freed(registration.slot_freed(freed)?),
        Message::ReleaseAnswer(answer) => Input::ReleaseAnswered {
            check: ReleaseCheck {
                instance_id: registration.instance_id,
                leader_id,
                number: answer.check,
            },
            decision: match answer.may_be_released {
                true => ReleaseDecision::Release,
                false => ReleaseDecision::Keep,
            },
        },
        Message::Leaving(leaving) => return Err(End::left(format!("it leaves: {}", leaving.reason))),
    })
}
