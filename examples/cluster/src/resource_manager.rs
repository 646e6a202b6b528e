//! The resource manager: the process that decides which slot serves which request.
//!
//! One task owns the slot manager. Sessions of peers, the provisioner and the dashboard send inputs
//! to its mailbox.

mod actions;
mod dismissed;
mod gateway;
pub mod handle;
mod inputs;
pub mod mailbox;
mod messages;
pub mod notes;
mod options;
mod outbox;
mod owner;
#[cfg(test)]
mod owner_tests;
mod process;
mod server;
mod sessions;
#[cfg(test)]
mod tests;

use slot_manager::{SlotManager, TokioScheduledExecutor};
use tokio_util::sync::CancellationToken;

pub use self::actions::Actions;
pub use self::gateway::Gateway;
pub use self::options::Options;
pub use self::process::{Parts, Process};

use self::notes::{Note, Notes, Subject};
use crate::web::{Access, EventKind, Events};
use crate::{provisioner, web};

/// The slot manager of this service.
pub type Manager = SlotManager<Actions, Gateway, TokioScheduledExecutor>;

/// Runs a resource manager until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let kind = options.provisioner;
    let process = Process::bind(options.clone()).await?;
    let settings = options.provisioner_settings()?;
    let access = Access::new(process.security().token.clone());
    let events = Events::default();
    let noted = events.clone();
    let parts = Parts {
        serve_web: Some(Box::new(move |listener, handle, stop| {
            Box::pin(web::serve(listener, handle, access, events, stop))
        })),
        provision: Some(Box::new(move |orders, news, stop| {
            provisioner::start(kind, settings, orders, news, stop)
        })),
        notes: Notes::new(move |note| show(&noted, note)),
    };
    process.run(parts, stop).await
}

/// Shows a notable event on the dashboard.
fn show(events: &Events, note: Note) {
    let kind = match note.subject {
        Subject::Leader => EventKind::Leader,
        Subject::Worker => EventKind::Worker,
        Subject::Request => EventKind::Request,
        Subject::Job => EventKind::Job,
    };
    match note.is_warning {
        true => events.warn(kind, note.text),
        false => events.push(kind, note.text),
    }
}
