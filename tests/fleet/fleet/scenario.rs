//! Scenarios: a configuration, orders with their times, and the choices of the resource manager.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::config::{WorkerDescription, WorkerPolicy};
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::{ResourceProfile, SlotManagerConfig, Timestamp};

use super::jobs::JobSpec;
use super::resource_manager::{Shape, Start, StartPolicy};
use super::workers::{Answers, Conduct, Naming, WorkerSpec};

/// The largest number of steps of a drawn scenario. Without it a few seeds with many failing
/// attempts take most of the time.
const MOST_STEPS: u64 = 4_000;

/// The number of the first of many small jobs.
const FIRST_SMALL_JOB: u64 = 1_000;

/// The number of the first of the jobs that declare.
const FIRST_DECLARING_JOB: u64 = 500;

/// An event that a scenario plans. A position means a registered worker, counted over all.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// A worker registers that nobody requested.
    Worker(WorkerSpec),
    Requests {
        job: u64,
        is_poisoned: bool,
        profile: ResourceProfile,
        requests: u32,
        hold: Duration,
    },
    /// A job declares how many slots it needs in all, in place of what it declared before. Each
    /// slot that its worker frees is replaced.
    Declare {
        job: u64,
        is_poisoned: bool,
        profile: ResourceProfile,
        slots: u32,
        hold: Duration,
    },
    CancelJob {
        job: u64,
    },
    Conduct {
        position: usize,
        conduct: Conduct,
    },
    Lose {
        position: usize,
    },
    /// The process starts again in place. A registration of its former instance arrives later.
    Restart {
        position: usize,
        late_after: Duration,
    },
    Block {
        position: usize,
        duration: Duration,
    },
    Unblock {
        worker: usize,
    },
}

/// The plan of one run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) config: SlotManagerConfig,
    pub(crate) orders: Vec<(Timestamp, Order)>,
    pub(crate) starts: StartPolicy,
    pub(crate) until: Timestamp,
    /// The number of steps after which the run ends early.
    pub(crate) most_steps: u64,
    pub(crate) stops_at_first: bool,
}

impl Scenario {
    /// Returns a scenario with this configuration, without workers and jobs, whose resource manager
    /// declines all worker requests.
    pub(crate) fn new(config: SlotManagerConfig, seconds: u64) -> Self {
        Self {
            config,
            orders: Vec::new(),
            starts: StartPolicy::new(0, Vec::new()),
            until: Timestamp::from_secs(seconds),
            most_steps: u64::MAX,
            stops_at_first: true,
        }
    }

    /// Adds an order.
    pub(crate) fn at(mut self, seconds: f64, order: Order) -> Self {
        let at = Timestamp::ZERO + Duration::from_secs_f64(seconds);
        self.orders.push((at, order));
        self
    }

    /// Adds the orders of a job.
    pub(crate) fn job(mut self, job: &JobSpec) -> Self {
        self.orders.extend(job.orders());
        self
    }

    /// Draws the scenario of a seed.
    pub(crate) fn draw(seed: u64) -> Self {
        Draw::new(seed).scenario()
    }
}

/// Returns a profile of cores and 100 MiB for each core.
pub(crate) fn cores(cores: u32) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(cores.into())
        .task_heap_memory_mebibytes(u64::from(cores) * 100)
        .build()
        .expect("valid amounts")
}

/// The random choices of one seed.
struct Draw {
    seed: u64,
    rng: ChaCha8Rng,
    /// The end of the run in seconds.
    seconds: u64,
    orders: Vec<(Timestamp, Order)>,
}

impl Draw {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self {
            seed,
            seconds: rng.random_range(400..900),
            rng,
            orders: Vec::new(),
        }
    }

    fn scenario(mut self) -> Scenario {
        let description = self.chance(0.5).then(|| {
            let profile = match self.chance(0.15) {
                true => ResourceProfile::ANY,
                false => cores([1, 2, 2, 4][self.rng.random_range(0..4)]),
            };
            WorkerDescription::new(self.rng.random_range(1..5), profile).expect("a valid description")
        });
        let slots = self.workers();
        self.jobs(description.as_ref());
        if self.chance(0.4) {
            self.declaring_jobs(description.as_ref());
        }
        self.operators();
        let policy = description.map(|description| self.policy(description, slots));
        let config = self.config().with_workers(policy.clone());
        let starts = self.starts();
        if self.chance(0.1) {
            self.small_poisoned_jobs();
        }
        self.orders.sort_by_key(|(at, _)| *at);
        Scenario {
            config,
            orders: self.orders,
            starts,
            until: Timestamp::from_secs(self.seconds),
            most_steps: MOST_STEPS,
            stops_at_first: true,
        }
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }

    fn order(&mut self, at: Duration, order: Order) {
        self.orders.push((Timestamp::ZERO + at, order));
    }

    fn config(&mut self) -> SlotManagerConfig {
        let strategies = [
            SlotMatchingStrategy::FirstFit,
            SlotMatchingStrategy::BestFit,
            SlotMatchingStrategy::LeastUtilization,
            SlotMatchingStrategy::MostUtilization,
        ];
        let mut config =
            SlotManagerConfig::default().with_slot_matching_strategy(strategies[self.rng.random_range(0..4)].clone());
        if self.chance(0.3) {
            config = config.with_rpc_timeout(self.millis(1_000..5_000));
        }
        if self.chance(0.2) {
            config = config.with_request_timeout(Duration::from_secs(3_600));
        }
        if self.chance(0.2) {
            config = config.with_task_manager_timeout(Duration::MAX);
        }
        if self.chance(0.3) {
            config = config.with_worker_registration_timeout(self.millis(20_000..100_000));
        }
        config
    }

    fn policy(&mut self, description: WorkerDescription, strangers: usize) -> WorkerPolicy {
        let slots = description.slots();
        let mut policy = WorkerPolicy::new(description);
        if self.chance(0.1) {
            // A pool of fixed size.
            let size = self.rng.random_range(1..4) * slots;
            return policy.with_min_slots(size).with_max_slots(Some(size));
        }
        if self.chance(0.35) {
            policy = policy.with_min_slots(self.rng.random_range(1..5) * slots);
        }
        if self.chance(0.3) {
            policy = policy.with_redundant_task_managers(self.rng.random_range(1..3));
        }
        if self.chance(0.4) {
            let reserve = policy.min_slots.max(policy.redundant_task_managers * slots);
            let above = self.rng.random_range(0..6) * slots;
            let strangers = if self.chance(0.5) { strangers } else { 0 };
            policy = policy.with_max_slots(Some((reserve + above + strangers).max(1)));
        }
        policy
    }

    /// Draws a conduct that is mostly healthy.
    fn conduct(&mut self, bad: f64) -> Conduct {
        match self.chance(bad) {
            true => [Conduct::Refusing, Conduct::Unreachable, Conduct::Hanging][self.rng.random_range(0..3)],
            false => Conduct::Healthy,
        }
    }

    fn worker(&mut self, slots: Vec<ResourceProfile>, bad: f64) -> WorkerSpec {
        let conduct = self.conduct(bad);
        let mut changes = Vec::new();
        if self.chance(bad) {
            let mut at = Duration::ZERO;
            let mut is_bad = conduct != Conduct::Healthy;
            for _ in 0..self.rng.random_range(1..5) {
                at += self.millis(5_000..90_000);
                is_bad = !is_bad;
                let conduct = if is_bad { self.conduct(1.0) } else { Conduct::Healthy };
                changes.push((at, conduct));
            }
        }
        WorkerSpec {
            slots,
            total: None,
            conduct,
            changes,
            answers: [Answers::InCall, Answers::ByFuture, Answers::Later][self.rng.random_range(0..3)],
            latency: self.millis(1..25),
            naming: Naming::Unnamed,
            slots_after: None,
        }
    }

    /// Draws workers that nobody requests, and returns the number of their slots.
    fn workers(&mut self) -> usize {
        let bad = [0.0, 0.3, 0.5][self.rng.random_range(0..3)];
        let most = [1, 3, 7][self.rng.random_range(0..3)];
        let are_small = self.chance(0.3);
        let mut slots = 0;
        for _ in 0..self.rng.random_range(0..most) {
            let number = match self.chance(0.15) {
                true => self.rng.random_range(10..40),
                false => self.rng.random_range(1..7),
            };
            let profile = match self.chance(0.5) && !are_small {
                true => cores(4),
                false => cores([1, 2][self.rng.random_range(0..2)]),
            };
            slots += number;
            let spec = self.worker(vec![profile; number], bad);
            let at = match self.chance(0.7) {
                true => self.millis(0..2_000),
                false => self.millis(0..200_000),
            };
            self.order(at, Order::Worker(spec));
        }
        slots
    }

    fn jobs(&mut self, description: Option<&WorkerDescription>) {
        let largest = self.largest_request(description);
        let mut job = 0;
        let mut add = |draw: &mut Self, spec: JobSpec| {
            job += 1;
            let spec = JobSpec { job, ..spec };
            let orders: Vec<_> = spec.orders().collect();
            draw.orders.extend(orders);
            if draw.chance(0.1) {
                let at = draw.millis(10_000..draw.seconds * 1_000);
                draw.order(at, Order::CancelJob { job });
            }
        };
        for _ in 0..self.rng.random_range(1..4) {
            let every = self.millis(800..12_000);
            let spec = JobSpec {
                every,
                bursts: (Duration::from_secs(self.seconds).as_millis() / every.as_millis()) as u32,
                ..self.job(largest)
            };
            add(self, spec);
        }
        if self.chance(0.4) {
            let spec = JobSpec {
                every: self.millis(20_000..90_000),
                bursts: 6,
                requests: self.rng.random_range(5..30),
                ..self.job(largest)
            };
            add(self, spec);
        }
        if self.chance(0.25) {
            let spec = JobSpec {
                requests: self.rng.random_range(40..150),
                hold: self.millis(200..4_000),
                ..self.job(largest)
            };
            add(self, spec);
        }
        let poisoned = [0, 0, 1, 1, 2][self.rng.random_range(0..5)];
        for _ in 0..poisoned {
            let spec = JobSpec {
                is_poisoned: true,
                every: self.millis(30_000..150_000),
                bursts: self.rng.random_range(1..4),
                requests: self.rng.random_range(1..40),
                ..self.job(largest)
            };
            add(self, spec);
        }
    }

    /// Returns the cores of the largest requests. Mostly every described worker can serve them.
    fn largest_request(&mut self, description: Option<&WorkerDescription>) -> u32 {
        match description.and_then(|worker| worker.slot_profile().cpu_cores()) {
            Some(cores) if !self.rng.random_bool(0.1) => cores as u32,
            _ => 4,
        }
    }

    /// Adds jobs that declare more and fewer slots in the course of time.
    fn declaring_jobs(&mut self, description: Option<&WorkerDescription>) {
        let largest = self.largest_request(description);
        for number in 0..self.rng.random_range(1..3) {
            let is_poisoned = self.chance(0.2);
            let JobSpec {
                profile, first, hold, ..
            } = self.job(largest);
            let mut at = first;
            for _ in 0..self.rng.random_range(1..6) {
                let slots = self.rng.random_range(0..20);
                let declare = Order::Declare {
                    job: FIRST_DECLARING_JOB + number,
                    is_poisoned,
                    profile: profile.clone(),
                    slots,
                    hold,
                };
                self.order(at, declare);
                at += self.millis(10..100_000);
            }
        }
    }

    /// Adds many jobs that make one request, which every worker refuses.
    fn small_poisoned_jobs(&mut self) {
        let jobs = self.rng.random_range(10..60);
        let within = self.rng.random_range(1..60_000);
        for number in 0..jobs {
            let spec = JobSpec {
                is_poisoned: true,
                first: self.millis(0..within),
                ..JobSpec::once(FIRST_SMALL_JOB + number, 1, &cores(1))
            };
            self.orders.extend(spec.orders());
        }
    }

    /// Draws a job that requests once.
    fn job(&mut self, largest: u32) -> JobSpec {
        let sizes: Vec<u32> = [1, 2, 4].into_iter().filter(|size| *size <= largest).collect();
        let profile = cores(sizes[self.rng.random_range(0..sizes.len())]);
        let first = match self.chance(0.5) {
            true => self.millis(0..3_000),
            false => self.millis(0..self.seconds * 500),
        };
        let hold = match self.chance(0.1) {
            true => Duration::MAX,
            false => self.millis(1_000..60_000),
        };
        JobSpec {
            first,
            hold,
            ..JobSpec::once(0, 1, &profile)
        }
    }

    fn operators(&mut self) {
        let end = self.seconds * 1_000;
        let any = |draw: &mut Self| draw.rng.random_range(0..100);
        if self.chance(0.3) {
            for _ in 0..self.rng.random_range(1..4) {
                let (at, position) = (self.millis(0..end), any(self));
                self.order(at, Order::Lose { position });
            }
        }
        if self.chance(0.3) {
            for _ in 0..self.rng.random_range(1..4) {
                let (at, position, duration) = (self.millis(0..end), any(self), self.millis(1_000..60_000));
                self.order(at, Order::Block { position, duration });
            }
        }
        if self.chance(0.3) {
            let (at, position, late_after) = (self.millis(end / 2..end), any(self), self.millis(10..20_000));
            self.order(at, Order::Restart { position, late_after });
        }
        if self.chance(0.2) {
            let (at, position, conduct) = (self.millis(0..end), any(self), self.conduct(1.0));
            self.order(at, Order::Conduct { position, conduct });
            let at = at + self.millis(5_000..100_000);
            self.order(
                at,
                Order::Conduct {
                    position,
                    conduct: Conduct::Healthy,
                },
            );
        }
    }

    /// Draws the mix of answers of the resource manager.
    fn starts(&mut self) -> StartPolicy {
        let naming = match self.chance(0.5) {
            true => Naming::Request,
            false => Naming::Unnamed,
        };
        let slow = self.chance(0.3);
        let mut mix = match self.rng.random_range(0..12) {
            0 | 1 => vec![(60, Start::Silent)],
            2 => vec![(
                80,
                Start::Fails {
                    after: self.millis(5..2_000),
                },
            )],
            _ => Vec::new(),
        };
        let usual = self.start(naming, Shape::AsPromised, slow);
        mix.push((10, usual));
        let rare = |draw: &mut Self| draw.chance(0.2).then(|| draw.rng.random_range(1..6));
        for shape in [Shape::Short, Shape::Larger, Shape::Smaller] {
            if let Some(weight) = rare(self) {
                let start = self.start(naming, shape, false);
                mix.push((weight, start));
            }
        }
        for naming in [Naming::Unnamed, Naming::OtherLeader, Naming::ClosedRequest] {
            if let Some(weight) = rare(self) {
                let start = self.start(naming, Shape::AsPromised, false);
                mix.push((weight, start));
            }
        }
        if let Some(weight) = rare(self) {
            if let Start::Worker { delay, shape, mut spec } = self.start(naming, Shape::AsPromised, false) {
                spec.slots_after = Some(self.millis(100..30_000));
                mix.push((weight, Start::Worker { delay, shape, spec }));
            }
        }
        if let Some(weight) = rare(self) {
            mix.push((weight, Start::Silent));
        }
        if let Some(weight) = rare(self) {
            let after = self.millis(10..5_000);
            mix.push((weight, Start::Fails { after }));
        }
        if self.chance(0.07) {
            mix.push((2, Start::Declined));
        }
        if self.chance(0.07) {
            mix.push((2, Start::Refused));
        }
        if self.chance(0.15) {
            mix = vec![(1, Start::Declined)];
        }
        let mut policy = StartPolicy::new(self.seed, mix);
        policy.confirms_withdrawals = self.chance(0.6);
        policy.slot_profile = self.chance(0.05).then(|| cores(4));
        policy
    }

    fn start(&mut self, naming: Naming, shape: Shape, is_slow: bool) -> Start {
        let delay = match is_slow {
            true => self.millis(20_000..200_000),
            false => self.millis(0..15_000),
        };
        let mut spec = self.worker(Vec::new(), 0.1);
        spec.naming = naming;
        Start::Worker { delay, shape, spec }
    }
}
