//! The task that owns the slot manager.
//!
//! It follows the election first: inputs and deadlines are handled only while the leadership lasts.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use slot_manager::outcome::RenewalOutcome;
use slot_manager::{JobId, ResourceId, WorkerRequestId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Manager;
use super::actions::Actions;
use super::dismissed::Dismissed;
use super::handle::Published;
use super::mailbox::Envelope;
use super::sessions::{Heartbeats, Leads};
use crate::election::Leadership;
use crate::event_log::{Event, EventLog};
use crate::protocol::Epoch;
use crate::provisioner::Order;
use crate::web::EventKind;

/// The time between two publications of the numbers.
const PUBLISH_EVERY: Duration = Duration::from_millis(200);

/// The most inputs that are handled before time and the election are looked at.
const BATCH: usize = 256;

/// The ends of channels that the owner has.
pub struct Channels {
    pub mailbox: mpsc::Receiver<Envelope>,
    pub ours: watch::Receiver<Option<Leadership>>,
    pub leads: watch::Sender<Option<Leads>>,
    pub published: watch::Sender<Arc<Published>>,
}

/// The owner of the slot manager.
pub struct Owner {
    pub(super) manager: Manager,
    pub(super) heartbeats: Heartbeats,
    /// The present leadership.
    pub(super) term: Option<Term>,
    /// The actions while the manager is not started.
    idle_actions: Option<Actions>,
    inbox: VecDeque<Envelope>,
    channels: Channels,
    events: EventLog,
}

/// The state of the present leadership.
pub(super) struct Term {
    pub epoch: Epoch,
    until: Option<Instant>,
    /// Ends all sessions.
    end: CancellationToken,
    /// Workers of earlier leaderships may still come. Grants of jobs are checked after that.
    pub recovers: bool,
    /// The provisioner knows of the leadership. Until then it drops all other orders.
    is_announced: bool,
    /// The workers that earlier leaders had started.
    pub earlier_workers: BTreeMap<WorkerRequestId, ResourceId>,
    /// Jobs whose job master is away, and the time at which their requests are cancelled.
    pub away: HashMap<JobId, Instant>,
}

impl Owner {
    pub fn new(
        manager: Manager,
        actions: Actions,
        heartbeats: Heartbeats,
        channels: Channels,
        events: EventLog,
    ) -> Self {
        Self {
            manager,
            heartbeats,
            term: None,
            idle_actions: Some(actions),
            inbox: VecDeque::new(),
            channels,
            events,
        }
    }

    /// Runs until `stop` is cancelled or the election ends.
    ///
    /// # Errors
    /// A leadership cannot begin. The process must end, or nobody leads while it holds the election.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let result = self.run_until(stop).await;
        self.end_term();
        result
    }

    async fn run_until(&mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut publish = interval(PUBLISH_EVERY);
        publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.follow_election()?;
            self.handle_inbox();
            let lease_end = self.term.as_ref().and_then(|term| term.until);
            let lasts = lease_end.is_some_and(|until| Instant::now() < until);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                changed = self.channels.ours.changed() => if changed.is_err() { return Ok(()) },
                // A process that was stopped must not act first when it wakes.
                () = sleep_until(lease_end.unwrap_or_else(Instant::now)), if lasts => {}
                // Before the mailbox, or a busy mailbox would starve it.
                _ = publish.tick() => self.tick(),
                _ = self.manager.progress() => {}
                // Inputs left in the inbox wait for a new lease, and the mailbox with them.
                received = self.channels.mailbox.recv_many(&mut batch, BATCH), if self.inbox.is_empty() => {
                    if received == 0 {
                        return Ok(());
                    }
                    self.inbox.extend(batch.drain(..));
                }
            }
        }
    }

    /// Begins, renews and ends the leadership as the election says.
    fn follow_election(&mut self) -> anyhow::Result<()> {
        let ours = *self.channels.ours.borrow_and_update();
        let present = self.term.as_ref().map(|term| term.epoch);
        if let Some(ours) = ours.filter(|ours| Some(ours.epoch) == present) {
            self.renew(ours.until);
            return Ok(());
        }
        self.end_term();
        ours.map_or(Ok(()), |ours| self.begin_term(ours))
    }

    fn begin_term(&mut self, Leadership { epoch, until }: Leadership) -> anyhow::Result<()> {
        // A lease that is over before it was noticed: the election ends or renews it.
        let is_over = until.is_some_and(|until| until <= Instant::now());
        let Some(actions) = self.idle_actions.take_if(|_| !is_over) else {
            return Ok(());
        };
        info!(%epoch, "leadership begins");
        let started = match until {
            None => self.manager.start(epoch.leader_id(), actions),
            Some(until) => {
                let until = self.manager.scheduled_executor().timestamp_of(until);
                self.manager.start_until(epoch.leader_id(), actions, until)
            }
        };
        started.context("the slot manager does not start")?;
        self.events.log(&Event::LeaderElected { epoch });

        let end = CancellationToken::new();
        self.term = Some(Term {
            epoch,
            until,
            end: end.clone(),
            recovers: self.manager.recovery().is_some(),
            is_announced: false,
            earlier_workers: BTreeMap::new(),
            away: HashMap::new(),
        });
        self.channels.leads.send_replace(Some(Leads { epoch, end }));
        // After the sessions: the answer of the provisioner is for this leadership.
        self.announce();
        if let Some(actions) = self.manager.actions() {
            let text = format!("leadership {epoch} begins");
            actions.shown.push(EventKind::Leader, text);
        }
        self.publish();
        Ok(())
    }

    /// Tells the provisioner of the leadership. If too many orders of the last one wait for it, it
    /// is told later.
    fn announce(&mut self) {
        let Some((actions, term)) = self.manager.actions().zip(self.term.as_mut()) else {
            return;
        };
        if !term.is_announced {
            let (epoch, end) = (term.epoch, term.end.clone());
            term.is_announced = actions.order(Order::Recover { epoch, end });
        }
    }

    fn renew(&mut self, until: Option<Instant>) {
        let Some(term) = self.term.as_mut().filter(|term| term.until != until) else {
            return;
        };
        term.until = until;
        let until = until.map(|until| self.manager.scheduled_executor().timestamp_of(until));
        match self
            .manager
            .renew_leadership(until.unwrap_or(slot_manager::Timestamp::MAX))
        {
            RenewalOutcome::Renewed => {}
            // No input was lost: inputs wait in the mailbox while there is no lease.
            RenewalOutcome::Resumed { ended_at } => info!(%ended_at, "leadership resumed"),
            outcome => warn!(%outcome, "lease not renewed"),
        }
    }

    /// Ends the leadership, if there is one, and all sessions.
    fn end_term(&mut self) {
        let Some(term) = self.term.take() else {
            return;
        };
        info!(epoch = %term.epoch, "leadership ends");
        self.channels.leads.send_replace(None);
        // Before the gateways go, which would end the sessions for another reason.
        term.end.cancel();
        if let Some(mut actions) = self.manager.suspend() {
            let text = format!("leadership {} has ended", term.epoch);
            actions.shown.warn(EventKind::Leader, text);
            actions.job_masters.clear();
            // The next leader decides anew: no provisioner stops them any more.
            actions.dismissed = Dismissed::default();
            self.idle_actions = Some(actions);
        }
        self.events.log(&Event::LeaderLost { epoch: term.epoch });
        self.publish();
    }

    /// Handles the inputs at hand, and drops those of other leaderships. If the lease is over, the
    /// inputs wait: nothing is lost if it is renewed.
    fn handle_inbox(&mut self) {
        let epoch = self.term.as_ref().map(|term| term.epoch);
        while self.term.is_none() || self.manager.is_leading() {
            let Some(envelope) = self.inbox.pop_front() else {
                return;
            };
            if Some(envelope.epoch) == epoch {
                self.handle(envelope.input);
            }
        }
    }

    /// Announces the leadership if that is left to do, cancels the requests of absent jobs, stops
    /// drained workers, checks the recovery, and publishes the numbers.
    fn tick(&mut self) {
        self.announce();
        self.cancel_requests_of_absent();
        self.stop_drained();
        self.check_recovery();
        self.publish();
    }

    fn cancel_requests_of_absent(&mut self) {
        let now = Instant::now();
        let Some(term) = self.term.as_mut().filter(|_| self.manager.is_leading()) else {
            return;
        };
        for (job_id, _) in term.away.extract_if(|_, until| *until <= now) {
            let cancelled = self.manager.unregister_job(job_id);
            info!(%job_id, cancelled, "job master stays away: its requests are cancelled");
        }
    }

    /// Stops the drained workers that are idle. Without an idle timeout, the slot manager does not.
    fn stop_drained(&mut self) {
        let Some(actions) = self.manager.actions().filter(|_| self.manager.is_leading()) else {
            return;
        };
        let drained = actions.drained.iter();
        let task_managers = drained.filter_map(|resource_id| self.manager.task_manager_of(resource_id));
        let idle = task_managers.filter(|task_manager| {
            let slots = task_manager.slot_counts();
            slots.allocated + slots.in_flight == 0
        });
        let idle: Vec<_> = idle
            .map(|idle| (idle.resource_id().clone(), idle.instance_id()))
            .collect();
        for (resource_id, instance_id) in idle {
            let cause = "it is drained and idle";
            if let Some(gateway) = self.manager.gateway(instance_id) {
                gateway.tell_to_stop(cause.to_owned());
            }
            if let Some(actions) = self.manager.actions_mut() {
                actions.release(&resource_id, cause);
            }
            let outcome = self.manager.unregister_task_manager(instance_id, cause);
            debug!(%resource_id, %outcome, "drained worker told to stop");
        }
    }

    /// Checks the grants that jobs believe to have, once the recovery is over.
    pub(super) fn check_recovery(&mut self) {
        let is_over = self.manager.is_leading() && self.manager.recovery().is_none();
        if let Some(term) = self.term.as_mut().filter(|term| term.recovers && is_over) {
            info!("recovery is over");
            term.recovers = false;
            self.check_all_grants();
        }
    }

    fn publish(&self) {
        let overview = self.manager.overview();
        let leading = self.term.as_ref().filter(|_| self.manager.is_leading());
        self.channels.published.send_replace(Arc::new(Published {
            at: Some(Instant::now()),
            epoch: leading.map(|term| term.epoch),
            overview,
            changes: self.manager.changes(),
            waiting_inputs: self.channels.mailbox.len() + self.inbox.len(),
            job_masters: self.manager.actions().map_or(0, |actions| actions.job_masters.len()),
        }));
    }
}
