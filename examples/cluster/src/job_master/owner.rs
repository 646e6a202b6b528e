//! The task that owns the state of the job. It decides; the connection and the server carry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slot_manager::{AllocationId, JobId, ResourceId, ResourceProfile};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use super::connection::{News, Outbox};
use super::declaration::Declaration;
use super::server::{Offer, SlotOutbox};
use super::tasks::{OfferRefused, SlotEnd, TaskEnd, Tasks};
use super::{Input, Summary, task_command};
use crate::event_log::{Event, EventLog};
use crate::protocol::{Epoch, v1};

/// The time within which the slot of a grant must be offered. It is longer than the slot timeout of
/// task executors, after which they free a slot without a word to the job.
const OFFER_TIMEOUT: Duration = Duration::from_secs(15);

/// How often the owner looks at the clock.
const TICK: Duration = Duration::from_millis(50);

/// The time that task executors get to end the last streams.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The exit codes that say that a command could not be started, as in a shell.
const NOT_STARTED: [i32; 2] = [126, 127];

/// The longest pause after requests that fail.
const REQUEST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause of a worker after a task that it could not start.
const WORKER_PAUSE: Duration = Duration::from_secs(60);

pub struct Owner {
    job_id: JobId,
    profile: v1::ResourceProfile,
    command: Vec<String>,
    tasks: Tasks,
    /// `None` if the job requests its slots one by one.
    declaration: Option<Declaration>,
    log: EventLog,
    mailbox: mpsc::Receiver<Input>,
    /// The leader that has registered the job.
    leader: Option<Leader>,
    /// Cancelled allocations of which no leader has heard.
    unsent_cancels: BTreeSet<AllocationId>,
    /// The held slots.
    slots: BTreeMap<AllocationId, HeldSlot>,
    /// The workers that could not start a task, perhaps for want of its program.
    distrusted: BTreeMap<ResourceId, Backoff>,
    /// The accepted slots of which the end was not heard.
    open_slots: usize,
    backoff: Backoff,
    slots_granted: u64,
    slots_lost: u64,
}

struct HeldSlot {
    worker: ResourceId,
    outbox: SlotOutbox,
}

struct Leader {
    epoch: Epoch,
    outbox: Outbox,
}

impl Owner {
    pub fn new(
        job_id: JobId,
        profile: &ResourceProfile,
        command: Vec<String>,
        tasks: Tasks,
        log: EventLog,
        mailbox: mpsc::Receiver<Input>,
    ) -> Self {
        Self {
            job_id,
            profile: profile.into(),
            command,
            declaration: tasks.declares().then(Declaration::default),
            tasks,
            log,
            mailbox,
            leader: None,
            unsent_cancels: BTreeSet::new(),
            slots: BTreeMap::new(),
            distrusted: BTreeMap::new(),
            open_slots: 0,
            backoff: Backoff::new(Instant::now(), REQUEST_PAUSE),
            slots_granted: 0,
            slots_lost: 0,
        }
    }

    /// Runs until each task is done or has failed.
    pub async fn run(&mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.tasks.is_finished() {
            tokio::select! {
                input = self.mailbox.recv() => match input {
                    Some(input) => self.handle(input),
                    None => return,
                },
                _ = tick.tick() => self.drop_overdue_grants(),
            }
            self.release_kept();
            match self.declaration {
                Some(_) => self.declare(self.tasks.required()),
                None => self.balance_requests(),
            }
        }
    }

    /// Releases all slots, and cancels all requests or declares no slot. Then waits until the slots
    /// have ended, but not for long.
    pub async fn close(&mut self) {
        // First, so that no released slot comes back.
        self.declare(0);
        let held = std::mem::take(&mut self.slots);
        for (id, slot) in held {
            self.tasks.remove(id);
            slot.outbox.release();
        }
        for id in self
            .tasks
            .open_requests()
            .chain(self.tasks.grants())
            .collect::<Vec<_>>()
        {
            self.tasks.remove(id);
            self.cancel(id);
        }
        let ended = timeout(CLOSE_TIMEOUT, async {
            while self.open_slots > 0 {
                match self.mailbox.recv().await {
                    Some(input) => self.handle(input),
                    None => return,
                }
            }
        });
        if ended.await.is_err() {
            tracing::warn!("{} slots have not ended in {CLOSE_TIMEOUT:?}", self.open_slots);
        }
    }

    pub fn summary(&self, time: Duration) -> Summary {
        Summary {
            tasks: self.tasks.count(),
            done: self.tasks.done(),
            failed: self.tasks.failed(),
            slots_granted: self.slots_granted,
            slots_lost: self.slots_lost,
            time,
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Manager(news) => self.handle_news(news),
            Input::Offered { offer, outbox, answer } => {
                let result = self.accept(&offer);
                let is_accepted = result.is_ok();
                // Without a session, no end of the slot would come.
                if answer.send(result).is_ok() && is_accepted {
                    self.open_slots += 1;
                    let worker = offer.slot_id.resource_id().clone();
                    let is_distrusted = self.is_distrusted(&worker);
                    self.slots.insert(offer.allocation_id, HeldSlot { worker, outbox });
                    match is_distrusted {
                        true => self.tasks.keep(offer.allocation_id),
                        false => self.feed(offer.allocation_id),
                    }
                } else if is_accepted {
                    self.lose(offer.allocation_id, "its task executor has gone");
                }
            }
            Input::TaskEnded {
                allocation_id,
                task,
                exit_code,
            } => self.task_ended(allocation_id, task, exit_code),
            Input::SlotEnded { allocation_id } => {
                self.open_slots = self.open_slots.saturating_sub(1);
                if self.tasks.is_held(allocation_id) {
                    self.lose(allocation_id, "its stream has ended");
                    self.cancel(allocation_id);
                }
            }
        }
    }

    fn handle_news(&mut self, news: News) {
        match news {
            News::Connecting { grants } => {
                // A connection that is gone needs no answer.
                let _ = grants.send(self.tasks.grants().collect());
            }
            News::Connected { epoch, outbox } => {
                tracing::info!(%epoch, "the job is registered");
                let job = self.job_id.to_string();
                self.log.log(&Event::JobRegistered { job, epoch });
                for id in std::mem::take(&mut self.unsent_cancels) {
                    outbox.cancel(id);
                }
                for id in self.tasks.open_requests() {
                    outbox.request(id, &self.profile);
                }
                if let Some(declaration) = &mut self.declaration {
                    declaration.repeat();
                }
                self.leader = Some(Leader { epoch, outbox });
            }
            News::Disconnected => self.leader = None,
            News::Granted(id) => {
                if self.tasks.grant(id, Instant::now()) {
                    let epoch = self.leader.as_ref().map(|leader| leader.epoch);
                    self.granted(id, epoch.unwrap_or_default());
                } else if !self.tasks.is_known(id) {
                    // Its request was cancelled meanwhile.
                    self.cancel(id);
                }
            }
            News::Failed { allocation_id, cause } => {
                // A slot that is at hand outweighs the word of a leader that has not heard of it.
                if !self.tasks.is_held(allocation_id) && self.tasks.remove(allocation_id).is_some() {
                    tracing::warn!(%allocation_id, cause, "a request failed");
                    self.backoff.failed(Instant::now());
                    let (job, allocation) = self.names(allocation_id);
                    self.log.log(&Event::Failed { job, allocation, cause });
                }
            }
            News::Lost { allocation_id, cause } => self.lose(allocation_id, &cause),
            News::DeclarationRefused(v1::DeclarationRefused {
                revision,
                highest_revision,
                cause,
            }) => {
                let declaration = self.declaration.as_mut();
                if declaration.is_some_and(|declaration| declaration.refused(revision, highest_revision)) {
                    tracing::warn!(cause, "the declaration is refused");
                    self.backoff.failed(Instant::now());
                }
            }
            News::Shortage(v1::Shortage { declared, held, cause }) => {
                tracing::warn!(declared, held, cause, "slots are missing");
                let job = self.job_id.to_string();
                self.log.log(&Event::Shortage { job, cause });
            }
        }
    }

    fn accept(&mut self, offer: &Offer) -> Result<(), OfferRefused> {
        let is_news = self.tasks.hold(offer.allocation_id).inspect_err(|refused| {
            tracing::debug!(slot = %offer.slot_id, allocation_id = %offer.allocation_id, "an offer is refused: {refused}");
        })?;
        if is_news {
            self.granted(offer.allocation_id, offer.epoch);
        }
        Ok(())
    }

    /// Gives the next task to a slot, or releases the slot if no task waits.
    fn feed(&mut self, id: AllocationId) {
        match self.tasks.next(id) {
            Some(task) => {
                let command = task_command(&self.command, task);
                let is_sent = self.slots.get(&id).is_some_and(|slot| slot.outbox.run(task, command));
                if !is_sent {
                    self.lose(id, "its task executor does not hear");
                    self.cancel(id);
                }
            }
            None => {
                if let Some(slot) = self.slots.remove(&id) {
                    slot.outbox.release();
                }
            }
        }
    }

    fn task_ended(&mut self, id: AllocationId, task: u64, exit_code: Option<i32>) {
        match self.tasks.end(id, task, exit_code == Some(0)) {
            None => {
                tracing::debug!(allocation_id = %id, task, "the end of a task comes from a slot that does not run it");
                return;
            }
            Some(TaskEnd::Done) => {
                let job = self.job_id.to_string();
                self.log.log(&Event::TaskDone { job, task });
            }
            Some(TaskEnd::Again) => tracing::warn!(task, exit_code, "a task failed and is run again"),
            Some(TaskEnd::Failed) => tracing::warn!(task, exit_code, "a task failed too often"),
        }
        match exit_code.is_some_and(|code| NOT_STARTED.contains(&code)) {
            true => self.distrust(id, task),
            false => self.feed(id),
        }
    }

    /// Keeps the slot of a worker that could not start a task. While the job holds it, a request
    /// gets another slot, so that the task runs elsewhere.
    fn distrust(&mut self, id: AllocationId, task: u64) {
        let Some(HeldSlot { worker, .. }) = self.slots.get(&id) else {
            return;
        };
        tracing::warn!(task, %worker, "the command could not be started: is its program there?");
        let now = Instant::now();
        let distrusted = self.distrusted.entry(worker.clone());
        let pause = distrusted.or_insert_with(|| Backoff::new(now, WORKER_PAUSE));
        // If no worker can start the command, long pauses would only hide the mistake.
        if !self.tasks.has_started_any() {
            pause.succeeded();
        }
        pause.failed(now);
        self.tasks.keep(id);
    }

    fn is_distrusted(&self, worker: &ResourceId) -> bool {
        let pause = self.distrusted.get(worker);
        pause.is_some_and(|pause| !pause.is_over(Instant::now()))
    }

    /// Releases the kept slots once the job has others, or their workers get another try.
    fn release_kept(&mut self) {
        let has_others = self.tasks.missing() == 0 && !self.tasks.awaits_slots();
        for id in self.tasks.kept().collect::<Vec<_>>() {
            let slot = self.slots.get(&id);
            if slot.is_some_and(|slot| has_others || !self.is_distrusted(&slot.worker)) {
                self.tasks.remove(id);
                if let Some(slot) = self.slots.remove(&id) {
                    slot.outbox.release();
                }
            }
        }
    }

    /// Notes a grant, when it is first heard of.
    fn granted(&mut self, id: AllocationId, epoch: Epoch) {
        self.slots_granted += 1;
        self.backoff.succeeded();
        let (job, allocation) = self.names(id);
        self.log.log(&Event::Granted { job, allocation, epoch });
    }

    /// Ends an allocation. The stream of its slot ends, so that a task executor that lives stops
    /// the task.
    fn lose(&mut self, id: AllocationId, cause: &str) {
        self.slots.remove(&id);
        let Some(end) = self.tasks.remove(id) else {
            return;
        };
        if end != SlotEnd::Requested {
            self.slots_lost += 1;
        }
        tracing::warn!(allocation_id = %id, cause, ?end, "a slot is lost");
        let (job, allocation) = self.names(id);
        let cause = cause.to_owned();
        self.log.log(&Event::Lost { job, allocation, cause });
    }

    fn drop_overdue_grants(&mut self) {
        let Some(granted_until) = Instant::now().checked_sub(OFFER_TIMEOUT) else {
            return;
        };
        for id in self.tasks.take_overdue(granted_until) {
            tracing::warn!(allocation_id = %id, "the slot of a grant was not offered in {OFFER_TIMEOUT:?}");
            self.slots_lost += 1;
            self.cancel(id);
            let (job, allocation) = self.names(id);
            let cause = "not offered".to_owned();
            self.log.log(&Event::Lost { job, allocation, cause });
        }
    }

    /// Cancels requests that are not wanted any more, and requests the slots that are missing.
    fn balance_requests(&mut self) {
        for id in self.tasks.take_surplus() {
            self.cancel(id);
        }
        let Some(leader) = &self.leader else {
            return;
        };
        if !self.backoff.is_over(Instant::now()) {
            return;
        }
        for _ in 0..self.tasks.missing() {
            let id = AllocationId::from(Uuid::new_v4());
            self.tasks.request(id);
            let (job, allocation) = self.names(id);
            self.log.log(&Event::Requested { job, allocation });
            leader.outbox.request(id, &self.profile);
        }
    }

    /// Declares this number of slots, if the job declares and the leader does not know it yet.
    fn declare(&mut self, slots: usize) {
        let Some(declaration) = &mut self.declaration else {
            return;
        };
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        if declaration.set(slots) {
            let job = self.job_id.to_string();
            self.log.log(&Event::Declared { job, slots });
        }
        if let Some(leader) = &self.leader
            && self.backoff.is_over(Instant::now())
            && let Some((revision, slots)) = declaration.take_untold()
        {
            leader.outbox.declare(revision, slots, &self.profile);
        }
    }

    /// Tells the leader, or the next one, that an allocation is not wanted. A declared slot has no
    /// request that could be cancelled.
    fn cancel(&mut self, id: AllocationId) {
        if self.declaration.is_some() {
            return;
        }
        match &self.leader {
            Some(leader) => leader.outbox.cancel(id),
            None => {
                self.unsent_cancels.insert(id);
            }
        }
    }

    fn names(&self, id: AllocationId) -> (String, String) {
        (self.job_id.to_string(), id.to_string())
    }
}

/// A pause that is longer from failure to failure. A request that cannot be served fails at once, and
/// so does a task that cannot be started.
struct Backoff {
    delay: Duration,
    longest: Duration,
    until: Instant,
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(100);

    fn new(now: Instant, longest: Duration) -> Self {
        Self {
            delay: Self::SHORTEST,
            longest,
            until: now,
        }
    }

    /// Begins a pause. Failures within a pause count once: they are of the same requests.
    fn failed(&mut self, now: Instant) {
        if self.is_over(now) {
            self.until = now + self.delay;
            self.delay = (self.delay * 2).min(self.longest);
        }
    }

    fn succeeded(&mut self) {
        self.delay = Self::SHORTEST;
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }
}
