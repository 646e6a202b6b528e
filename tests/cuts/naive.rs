//! The naive scan: each decision looks at all workers and all waiting requests.

use slot_manager::matching::SlotMatchingStrategy;

/// Cores, memory and GPUs.
pub(crate) type Amounts = [u32; 3];

/// The lowest number of a cut.
const FIRST_DYNAMIC: u32 = 1 << 31;

/// All workers and requests.
pub(crate) struct Naive {
    strategy: SlotMatchingStrategy,
    /// Dynamic workers by place.
    dynamic: Vec<Option<Dynamic>>,
    /// Static workers, in no order that decides anything.
    fixed: Vec<Static>,
    /// Free slots of static workers that are not blocked: worker and number, longest free first.
    free: Vec<(u128, u32)>,
    /// Waiting requests, oldest first. `None` is a request for `UNKNOWN`.
    waiting: Vec<(u128, Option<Amounts>)>,
    /// Blocked workers, registered or not.
    blocked: Vec<u128>,
}

struct Dynamic {
    worker: u128,
    registration: u128,
    total: Amounts,
    default_slot: Option<Amounts>,
    withheld: Amounts,
    /// Number, resources and allocation of each slot.
    held: Vec<(u32, Amounts, u128)>,
    next_number: u32,
}

struct Static {
    worker: u128,
    registration: u128,
    profile: Amounts,
    slots: u32,
    held: Vec<(u32, u128)>,
}

fn fits(has: Amounts, needs: Amounts) -> bool {
    has.iter().zip(needs).all(|(has, needs)| *has >= needs)
}

fn minus(has: Amounts, taken: Amounts) -> Amounts {
    std::array::from_fn(|at| has[at].saturating_sub(taken[at]))
}

impl Dynamic {
    fn remainder(&self) -> Amounts {
        let rest = minus(self.total, self.withheld);
        self.held.iter().fold(rest, |rest, (_, cut, _)| minus(rest, *cut))
    }

    /// Returns the largest share of a resource that is used, in 64ths.
    fn used_parts(&self) -> u32 {
        let used = minus(self.total, self.remainder());
        let shares = used.iter().zip(self.total).filter(|(_, total)| *total > 0);
        shares
            .map(|(used, total)| (used * 64 / total).min(63))
            .max()
            .unwrap_or(0)
    }

    /// Returns the resources that a request gets, if they fit.
    fn cut_for(&self, required: Option<Amounts>) -> Option<Amounts> {
        let cut = required.or(self.default_slot)?;
        fits(self.remainder(), cut).then_some(cut)
    }

    fn cut(&mut self, id: u128, cut: Amounts) -> u32 {
        while self
            .held
            .iter()
            .any(|(number, ..)| *number == FIRST_DYNAMIC + self.next_number)
        {
            self.next_number += 1;
        }
        let number = FIRST_DYNAMIC + self.next_number;
        self.next_number += 1;
        self.held.push((number, cut, id));
        number
    }
}

impl Naive {
    pub(crate) fn new(strategy: &SlotMatchingStrategy) -> Self {
        Self {
            strategy: strategy.clone(),
            dynamic: Vec::new(),
            fixed: Vec::new(),
            free: Vec::new(),
            waiting: Vec::new(),
            blocked: Vec::new(),
        }
    }

    pub(crate) fn is_registered(&self, worker: u128) -> bool {
        self.workers().iter().any(|(other, _)| *other == worker)
    }

    /// Returns all workers, each with its registration.
    pub(crate) fn workers(&self) -> Vec<(u128, u128)> {
        let dynamic = self.dynamic.iter().flatten();
        let dynamic = dynamic.map(|worker| (worker.worker, worker.registration));
        let fixed = self.fixed.iter().map(|worker| (worker.worker, worker.registration));
        dynamic.chain(fixed).collect()
    }

    /// Registers a worker with static slots of `total` each, or a dynamic one.
    pub(crate) fn register(
        &mut self,
        worker: u128,
        registration: u128,
        total: Amounts,
        static_slots: u32,
        default_slot: Option<Amounts>,
    ) {
        if static_slots > 0 {
            self.fixed.push(Static {
                worker,
                registration,
                profile: total,
                slots: static_slots,
                held: Vec::new(),
            });
            return (0..static_slots).for_each(|number| self.offer_slot(worker, number));
        }
        let dynamic = Dynamic {
            worker,
            registration,
            total,
            default_slot,
            withheld: [0; 3],
            held: Vec::new(),
            next_number: 0,
        };
        let place = self
            .dynamic
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.dynamic.len());
        if place == self.dynamic.len() {
            self.dynamic.push(None);
        }
        self.dynamic[place] = Some(dynamic);
        self.offer_worker(place);
    }

    pub(crate) fn unregister(&mut self, registration: u128) {
        if let Some(place) = self.place_of(registration) {
            self.dynamic[place] = None;
            return;
        }
        let gone = self.fixed.iter().position(|worker| worker.registration == registration);
        let gone = self.fixed.remove(gone.expect("a static worker"));
        self.free.retain(|(worker, _)| *worker != gone.worker);
    }

    /// Blocks or unblocks a worker. Returns `true` if it is blocked now.
    pub(crate) fn toggle_blocked(&mut self, worker: u128) -> bool {
        if !self.is_blocked(worker) {
            self.blocked.push(worker);
            self.free.retain(|(other, _)| *other != worker);
            return true;
        }
        self.blocked.retain(|blocked| *blocked != worker);
        let dynamic = self.dynamic.iter().flatten().find(|other| other.worker == worker);
        if let Some(place) = dynamic.and_then(|worker| self.place_of(worker.registration)) {
            self.offer_worker(place);
        }
        let Some(fixed) = self.fixed.iter().find(|other| other.worker == worker) else {
            return false;
        };
        let is_free = |number: &u32| !fixed.held.iter().any(|(held, _)| held == number);
        let free: Vec<_> = (0..fixed.slots).filter(is_free).collect();
        free.into_iter().for_each(|number| self.offer_slot(worker, number));
        false
    }

    fn is_blocked(&self, worker: u128) -> bool {
        self.blocked.contains(&worker)
    }

    fn place_of(&self, registration: u128) -> Option<usize> {
        let mut places = self.dynamic.iter();
        places.position(|place| place.as_ref().is_some_and(|worker| worker.registration == registration))
    }

    /// Applies the report of a dynamic worker that has at most `bound` left. Returns its total, its
    /// default slot and its slots by number.
    #[allow(clippy::type_complexity, reason = "the parts of one report")]
    pub(crate) fn report(
        &mut self,
        registration: u128,
        bound: Option<Amounts>,
    ) -> Option<(Amounts, Option<Amounts>, Vec<(u32, Amounts, u128)>)> {
        let place = self.place_of(registration)?;
        let worker = self.dynamic[place].as_mut()?;
        worker.withheld = [0; 3];
        if let Some(bound) = bound {
            worker.withheld = minus(worker.remainder(), bound);
        }
        let mut held = worker.held.clone();
        held.sort_unstable();
        let report = (worker.total, worker.default_slot, held);
        self.offer_worker(place);
        Some(report)
    }

    /// Registers a request. Returns the worker and the number of the slot that it gets.
    pub(crate) fn request(&mut self, id: u128, required: Option<Amounts>) -> Option<(u128, u32)> {
        if let Some(at) = self.best_static(required) {
            let (worker, number) = self.free.remove(at);
            self.hold_static(worker, number, id);
            return Some((worker, number));
        }
        if let Some((place, cut)) = self.best_dynamic(required) {
            let worker = self.dynamic[place].as_mut().expect("it fits");
            return Some((worker.worker, worker.cut(id, cut)));
        }
        self.waiting.push((id, required));
        None
    }

    /// Returns the index of the free slot that a request takes.
    fn best_static(&self, required: Option<Amounts>) -> Option<usize> {
        let fitting = self.free.iter().enumerate().filter_map(|(at, (worker, _))| {
            let worker = self.fixed.iter().find(|other| other.worker == *worker)?;
            let fits = required.is_none_or(|required| fits(worker.profile, required));
            fits.then_some((at, worker))
        });
        let best = fitting.min_by_key(|(at, worker)| {
            let share = worker.held.len() as u32 * 1000 / worker.slots;
            let [cores, memory, gpus] = minus(worker.profile, required.unwrap_or_default());
            let rank = match self.strategy {
                SlotMatchingStrategy::BestFit => [gpus, memory, cores],
                SlotMatchingStrategy::LeastUtilization => [share, 0, 0],
                SlotMatchingStrategy::MostUtilization => [1000 - share, 0, 0],
                _ => [0; 3],
            };
            (rank, *at)
        });
        best.map(|(at, _)| at)
    }

    /// Returns the place of the dynamic worker from which a request is cut, and its resources.
    fn best_dynamic(&self, required: Option<Amounts>) -> Option<(usize, Amounts)> {
        let workers = self.dynamic.iter().enumerate();
        let workers = workers.filter_map(|(place, worker)| Some((place, worker.as_ref()?)));
        let fitting = workers.filter_map(|(place, worker)| {
            let cut = worker.cut_for(required).filter(|_| !self.is_blocked(worker.worker))?;
            Some((place, worker, cut))
        });
        let best = fitting.min_by_key(|(place, worker, _)| {
            let rank = match self.strategy {
                SlotMatchingStrategy::LeastUtilization => worker.used_parts(),
                SlotMatchingStrategy::BestFit | SlotMatchingStrategy::MostUtilization => 63 - worker.used_parts(),
                _ => 0,
            };
            (rank, *place)
        });
        best.map(|(place, _, cut)| (place, cut))
    }

    fn hold_static(&mut self, worker: u128, number: u32, id: u128) {
        let worker = self.fixed.iter_mut().find(|other| other.worker == worker);
        worker.expect("a static worker").held.push((number, id));
    }

    pub(crate) fn cancel(&mut self, at: usize) -> u128 {
        self.waiting.remove(at).0
    }

    /// Frees the slot of an allocation.
    pub(crate) fn free(&mut self, id: u128) {
        let is_holder = |worker: &Option<Dynamic>| {
            let worker = worker.as_ref();
            worker.is_some_and(|worker| worker.held.iter().any(|(_, _, holder)| *holder == id))
        };
        if let Some(place) = self.dynamic.iter().position(is_holder) {
            if let Some(worker) = &mut self.dynamic[place] {
                worker.held.retain(|(_, _, holder)| *holder != id);
            }
            return self.offer_worker(place);
        }
        for worker in &mut self.fixed {
            if let Some(at) = worker.held.iter().position(|(_, holder)| *holder == id) {
                let (number, _) = worker.held.remove(at);
                let worker = worker.worker;
                return self.offer_slot(worker, number);
            }
        }
    }

    /// Gives a free static slot to the oldest request that fits, or lets it wait for one.
    fn offer_slot(&mut self, worker: u128, number: u32) {
        if self.is_blocked(worker) {
            return;
        }
        let fixed = self.fixed.iter().find(|other| other.worker == worker);
        let profile = fixed.expect("a static worker").profile;
        let mut waiting = self.waiting.iter();
        match waiting.position(|(_, required)| required.is_none_or(|required| fits(profile, required))) {
            Some(at) => {
                let (id, _) = self.waiting.remove(at);
                self.hold_static(worker, number, id);
            }
            None => self.free.push((worker, number)),
        }
    }

    /// Cuts slots for the oldest requests that fit, until none does.
    fn offer_worker(&mut self, place: usize) {
        let Some(worker) = &mut self.dynamic[place] else {
            return;
        };
        if self.blocked.contains(&worker.worker) {
            return;
        }
        let fitting = |worker: &Dynamic, waiting: &[(u128, Option<Amounts>)]| {
            let mut waiting = waiting.iter().enumerate();
            waiting.find_map(|(at, (_, required))| Some((at, worker.cut_for(*required)?)))
        };
        while let Some((at, cut)) = fitting(worker, &self.waiting) {
            let (id, _) = self.waiting.remove(at);
            worker.cut(id, cut);
        }
    }

    /// Returns all grants: allocation, worker and number.
    pub(crate) fn held(&self) -> Vec<(u128, u128, u32)> {
        let dynamic = self.dynamic.iter().flatten().flat_map(|worker| {
            let held = worker.held.iter();
            held.map(|(number, _, id)| (*id, worker.worker, *number))
        });
        let fixed = self.fixed.iter().flat_map(|worker| {
            let held = worker.held.iter();
            held.map(|(number, id)| (*id, worker.worker, *number))
        });
        dynamic.chain(fixed).collect()
    }

    pub(crate) fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the waiting requests in ascending order, which is that of their age.
    pub(crate) fn waiting(&self) -> Vec<u128> {
        self.waiting.iter().map(|(id, _)| *id).collect()
    }

    /// Returns what remains of a dynamic worker; `None` for a static one.
    pub(crate) fn remainder(&self, registration: u128) -> Option<Amounts> {
        let place = self.place_of(registration)?;
        self.dynamic[place].as_ref().map(Dynamic::remainder)
    }
}
