//! Every distinct profile once, counted by its uses, and queues by profile: what makes matching cost as much as there
//! are distinct profiles, not slots.

use std::collections::BTreeSet;

use crate::ResourceProfile;
use crate::resource_profile::Sketch;

use crate::slot_manager::collections::arena::{Arena, Key, key};
use crate::slot_manager::collections::interner::Interner;
use crate::slot_manager::collections::linked_list::{Linked, List};

key! {
    /// A distinct profile that something uses.
    ProfileKey
}

/// The distinct profiles in use.
pub(crate) type Profiles = Interner<ProfileKey, ResourceProfile>;

/// A record that waits in a queue of kind `L`, in the order of its place there.
pub(crate) trait Queued<L, K>: Linked<L, K> {
    fn place(&self) -> u64;
}

/// One queue for each profile that has something queued.
#[derive(Debug)]
pub(crate) struct ProfileQueues<L, K> {
    /// By the index of the key of the profile: as many as were needed for what was pushed.
    queues: Vec<Queue<L, K>>,
    /// What there is to know about each queue that is not empty, side by side, in no particular order: looking for the
    /// first that fits reads little else.
    active: Vec<ActiveQueue>,
}

#[derive(Debug)]
struct Queue<L, K> {
    /// Those that came in the order of their sequence numbers: nearly all.
    in_order: List<L, K>,
    /// Those that came after one with a larger number: they had been here before, and keep their place.
    returned: BTreeSet<(u64, K)>,
    /// The place in `active`, while something is queued.
    position: usize,
}

#[derive(Debug)]
struct ActiveQueue {
    /// The place of the first in the queue.
    first: u64,
    sketch: Sketch,
    profile: ProfileKey,
}

/// Which profiles fit.
#[derive(Clone, Copy)]
pub(crate) enum Fitting<'a> {
    /// Those that have what is required.
    Request(&'a ResourceProfile),
    /// Those that ask for no more than a slot has.
    Slot(&'a ResourceProfile),
}

impl Fitting<'_> {
    #[inline]
    fn sketch(self) -> Sketch {
        match self {
            Self::Request(profile) | Self::Slot(profile) => profile.sketch(),
        }
    }

    /// Whether a profile can fit; a cheap comparison that most of those that do not fit do not pass.
    #[inline]
    fn may_fit(self, own: Sketch, other: Sketch) -> bool {
        match self {
            Self::Request(_) => other.covers(own),
            Self::Slot(_) => own.covers(other),
        }
    }

    #[inline]
    fn fits(self, other: &ResourceProfile) -> bool {
        match self {
            Self::Request(required) => other.is_matching(required),
            Self::Slot(slot) => slot.is_matching(other),
        }
    }
}

impl<L, K> Default for Queue<L, K> {
    fn default() -> Self {
        Self {
            in_order: List::default(),
            returned: BTreeSet::new(),
            position: 0,
        }
    }
}

impl<L, K: Key + Ord> Queue<L, K> {
    #[inline]
    fn first<R: Queued<L, K>>(&self, records: &Arena<K, R>) -> Option<(u64, K)> {
        let in_order = self.in_order.head().map(|key| (records[key].place(), key));
        if self.returned.is_empty() {
            return in_order;
        }
        match (in_order, self.returned.first().copied()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

impl<L, K: Key + Ord> ProfileQueues<L, K> {
    pub(crate) fn new() -> Self {
        Self {
            queues: Vec::new(),
            active: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// O(1) in the order of sequence numbers, else O(log n) in those that were not.
    #[inline]
    pub(crate) fn push<R: Queued<L, K>>(
        &mut self,
        records: &mut Arena<K, R>,
        profiles: &Profiles,
        profile: ProfileKey,
        key: K,
    ) {
        if self.queues.len() <= profile.index() {
            self.queues.resize_with(profile.index() + 1, Queue::default);
        }
        let queue = &mut self.queues[profile.index()];
        let sequence = records[key].place();
        if queue.in_order.is_empty() && queue.returned.is_empty() {
            queue.position = self.active.len();
            self.active.push(ActiveQueue {
                first: sequence,
                sketch: profiles[profile].sketch(),
                profile,
            });
        }
        match queue.in_order.tail() {
            Some(tail) if records[tail].place() <= sequence => return queue.in_order.push_back(records, key),
            Some(_) => {
                queue.returned.insert((sequence, key));
            }
            // Those that came back may all be behind it.
            None => queue.in_order.push_back(records, key),
        }
        let active = &mut self.active[queue.position];
        active.first = active.first.min(sequence);
    }

    #[inline]
    pub(crate) fn remove<R: Queued<L, K>>(&mut self, records: &mut Arena<K, R>, profile: ProfileKey, key: K) {
        let queue = &mut self.queues[profile.index()];
        let place = records[key].place();
        if queue.returned.is_empty() || !queue.returned.remove(&(place, key)) {
            queue.in_order.remove(records, key);
        }
        let position = queue.position;
        if self.active[position].first != place {
            return;
        }
        if let Some((first, _)) = queue.first(records) {
            self.active[position].first = first;
            return;
        }
        self.active.swap_remove(position);
        if let Some(moved) = self.active.get(position) {
            self.queues[moved.profile.index()].position = position;
        }
    }

    /// The first of one profile.
    pub(crate) fn first_of<R: Queued<L, K>>(&self, records: &Arena<K, R>, profile: ProfileKey) -> Option<K> {
        let (_, key) = self.queues.get(profile.index())?.first(records)?;
        Some(key)
    }

    /// The first, with its sequence number, among all profiles that fit. Costs one comparison for each profile that has
    /// something queued.
    #[inline]
    pub(crate) fn first_fitting<R: Queued<L, K>>(
        &self,
        records: &Arena<K, R>,
        profiles: &Profiles,
        fitting: Fitting<'_>,
    ) -> Option<(u64, K)> {
        if self.active.is_empty() {
            return None;
        }
        let sketch = fitting.sketch();
        let mut found: Option<&ActiveQueue> = None;
        for active in &self.active {
            if found.is_none_or(|found| active.first < found.first)
                && fitting.may_fit(sketch, active.sketch)
                && fitting.fits(&profiles[active.profile])
            {
                found = Some(active);
            }
        }
        self.queues[found?.profile.index()].first(records)
    }

    /// The place of the first of each profile that fits. Costs as much as `first_fitting`.
    pub(crate) fn fitting(&self, profiles: &Profiles, fitting: Fitting<'_>) -> impl Iterator<Item = (ProfileKey, u64)> {
        let sketch = fitting.sketch();
        self.active
            .iter()
            .filter(move |active| fitting.may_fit(sketch, active.sketch) && fitting.fits(&profiles[active.profile]))
            .map(|active| (active.profile, active.first))
    }

    /// The profiles that have something queued, in no particular order.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = ProfileKey> {
        self.active.iter().map(|active| active.profile)
    }

    /// All that is queued of one profile, in no particular order.
    pub(crate) fn iter_of<'a, R: Queued<L, K>>(
        &'a self,
        records: &'a Arena<K, R>,
        profile: ProfileKey,
    ) -> impl Iterator<Item = K> + 'a {
        let queue = self.queues.get(profile.index());
        queue.into_iter().flat_map(|queue| {
            let returned = queue.returned.iter().map(|(_, key)| *key);
            queue.in_order.iter(records).chain(returned)
        })
    }

    /// All that is queued, in no particular order.
    pub(crate) fn iter<'a, R: Queued<L, K>>(
        &'a self,
        records: &'a Arena<K, R>,
    ) -> impl Iterator<Item = (ProfileKey, K)> + 'a {
        self.profiles()
            .flat_map(move |profile| self.iter_of(records, profile).map(move |key| (profile, key)))
    }

    /// Whether each queue is in order, and is known by its first; for the check of invariants.
    pub(crate) fn are_in_order<R: Queued<L, K>>(&self, records: &Arena<K, R>) -> bool {
        self.active.iter().enumerate().all(|(position, active)| {
            let queue = &self.queues[active.profile.index()];
            let first = queue.first(records).map(|(first, _)| first);
            let places = queue.in_order.iter(records).map(|key| records[key].place());
            queue.position == position && first == Some(active.first) && places.is_sorted()
        })
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot_manager::collections::linked_list::{Links, linked};

    key! {
        TestKey
    }

    #[derive(Debug)]
    enum Line {}

    struct Record {
        place: u64,
        links: Links<TestKey>,
    }

    linked!(Record, TestKey, Line => links);

    impl Queued<Line, TestKey> for Record {
        fn place(&self) -> u64 {
            self.place
        }
    }

    fn cores(cores: f64) -> ResourceProfile {
        ResourceProfile::builder()
            .cpu_cores(cores)
            .build()
            .expect("a valid amount")
    }

    #[test]
    fn a_profile_is_kept_once_and_as_long_as_it_is_used() {
        let mut profiles = Profiles::new();
        let one = profiles.acquire(&cores(1.0));
        let two = profiles.acquire(&cores(2.0));
        assert_eq!(profiles.acquire(&cores(1.0)), one);
        profiles.release(one);
        assert_eq!(profiles[one], cores(1.0));
        profiles.release(one);
        assert_eq!(profiles.uses().collect::<Vec<_>>(), [(two, 1)]);
    }

    #[test]
    fn who_comes_back_keeps_its_place_and_the_first_that_fits_comes_first() {
        let mut profiles = Profiles::new();
        let (small, large) = (profiles.acquire(&cores(1.0)), profiles.acquire(&cores(2.0)));
        let mut records = Arena::new();
        let mut queues = ProfileQueues::<Line, TestKey>::new();
        let mut push = |profile, place| {
            let key = records.insert(Record {
                place,
                links: Links::default(),
            });
            queues.push(&mut records, &profiles, profile, key);
            (place, key)
        };
        let (late, back, other) = (push(small, 7), push(small, 2), push(large, 5));
        let first = |queues: &ProfileQueues<_, _>, records: &_, least: f64| {
            queues.first_fitting(records, &profiles, Fitting::Request(&cores(least)))
        };
        assert_eq!(first(&queues, &records, 1.0), Some(back));
        assert_eq!(first(&queues, &records, 2.0), Some(other));
        assert_eq!(first(&queues, &records, 3.0), None);
        queues.remove(&mut records, small, back.1);
        assert_eq!(first(&queues, &records, 1.0), Some(other));
        queues.remove(&mut records, large, other.1);
        assert_eq!(first(&queues, &records, 1.0), Some(late));
        assert!(!queues.is_empty());
        queues.remove(&mut records, small, late.1);
        assert_eq!(queues.iter(&records).count(), 0);
        assert!(queues.is_empty());
    }

    #[test]
    fn who_comes_in_order_is_in_the_list_and_who_comes_back_beside_it() {
        let mut profiles = Profiles::new();
        let profile = profiles.acquire(&cores(1.0));
        let mut records = Arena::new();
        let mut queues = ProfileQueues::<Line, TestKey>::new();
        for (place, returned) in [(1, 0), (3, 0), (2, 1), (4, 1)] {
            let links = Links::default();
            let key = records.insert(Record { place, links });
            queues.push(&mut records, &profiles, profile, key);
            assert_eq!(queues.queues[profile.index()].returned.len(), returned);
        }
    }

    #[test]
    fn most_profiles_that_do_not_fit_are_told_by_their_sketch() {
        let (small, large) = (cores(1.0), cores(2.0));
        let may_fit = |fitting: Fitting<'_>, other: &ResourceProfile| fitting.may_fit(fitting.sketch(), other.sketch());
        assert!(may_fit(Fitting::Request(&small), &large) && !may_fit(Fitting::Request(&large), &small));
        assert!(may_fit(Fitting::Slot(&large), &small) && !may_fit(Fitting::Slot(&small), &large));
    }

    #[test]
    fn who_comes_back_before_others_that_came_back_is_the_first() {
        let mut profiles = Profiles::new();
        let profile = profiles.acquire(&cores(1.0));
        let mut records = Arena::new();
        let mut queues = ProfileQueues::<Line, TestKey>::new();
        let push = |queues: &mut ProfileQueues<_, _>, records: &mut Arena<_, _>, place| {
            let links = Links::default();
            let key = records.insert(Record { place, links });
            queues.push(records, &profiles, profile, key);
            key
        };
        let newest = push(&mut queues, &mut records, 3);
        push(&mut queues, &mut records, 2);
        queues.remove(&mut records, profile, newest);
        let key = push(&mut queues, &mut records, 1);
        let first = queues.first_fitting(&records, &profiles, Fitting::Request(&cores(1.0)));
        assert_eq!(first, Some((1, key)));
        assert!(queues.are_in_order(&records));
    }
}
