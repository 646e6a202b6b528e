//! Interned profiles, and queues by profile.
//!
//! With them matching costs one comparison for each distinct profile, not for each slot or request.

use std::collections::BTreeSet;

use crate::ResourceProfile;
use crate::resource_profile::Sketch;

use crate::slot_manager::collections::arena::{Arena, Key, key};
use crate::slot_manager::collections::interner::Interner;
use crate::slot_manager::collections::linked_list::{Linked, Links, List};
use crate::slot_manager::collections::pages::{PagedTable, shrink_if_sparse};

key! {
    /// A distinct profile in use.
    ProfileKey
}

/// The distinct profiles in use.
pub(crate) type Profiles = Interner<ProfileKey, ResourceProfile>;

/// A record in a queue of kind `L`, in the order of its place.
pub(crate) trait Queued<L, K>: Linked<L, K> {
    /// Returns the place in queues of kind `L`; lower places come first.
    fn place(&self) -> u64;
}

/// One queue for each profile, in the order of places.
#[derive(Debug)]
pub(crate) struct ProfileQueues<L, K> {
    /// The queues with members.
    queues: PagedTable<ProfileKey, Queue<L, K>>,
    /// The heads of all queues with members, in no particular order. A search reads little else.
    active: Vec<ActiveQueue<K>>,
}

/// The queue of one profile.
#[derive(Debug)]
struct Queue<L, K> {
    /// Members that were pushed in the order of their places: nearly all.
    in_order: List<L, K>,
    /// Members that were pushed after a member with a later place. They have been queued before.
    returned: BTreeSet<(u64, K)>,
    /// The index in `active`, while the queue has members.
    position: usize,
}

/// The head of a queue with members.
#[derive(Debug)]
struct ActiveQueue<K> {
    /// The place of the first member.
    first: u64,
    sketch: Sketch,
    profile: ProfileKey,
    first_member: K,
}

impl<K> ActiveQueue<K> {
    #[inline]
    fn set_first(&mut self, place: u64, member: K) {
        (self.first, self.first_member) = (place, member);
    }
}

/// The condition for a fitting profile.
#[derive(Clone, Copy)]
pub(crate) enum Fitting<'a> {
    /// Profiles of slots that fit this request.
    Request(&'a ResourceProfile),
    /// Profiles of requests that this slot fits.
    Slot(&'a ResourceProfile),
    /// Profiles of requests for which a slot can be cut from a dynamic worker.
    Worker {
        /// The resources that remain of the worker.
        remainder: &'a ResourceProfile,
        /// The remainder fits the slot that is cut for a request for `UNKNOWN`.
        fits_default_slot: bool,
    },
}

impl Fitting<'_> {
    #[inline]
    fn sketch(self) -> Sketch {
        match self {
            Self::Request(profile) | Self::Slot(profile) => profile.sketch(),
            Self::Worker { remainder, .. } => remainder.sketch(),
        }
    }

    /// Returns `false` if a profile certainly does not fit. The comparison is cheap and rarely
    /// wrong.
    #[inline]
    fn may_fit(self, own: Sketch, other: Sketch) -> bool {
        match self {
            Self::Request(_) => other.is_matching(own),
            Self::Slot(_) | Self::Worker { .. } => own.is_matching(other),
        }
    }

    #[inline(always)]
    pub(crate) fn fits(self, other: &ResourceProfile) -> bool {
        match self {
            Self::Request(required) => other.is_matching(required),
            Self::Slot(slot) => slot.is_matching(other),
            Self::Worker { fits_default_slot, .. } if *other == ResourceProfile::UNKNOWN => fits_default_slot,
            Self::Worker { remainder, .. } => remainder.is_matching(other),
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
    fn is_empty(&self) -> bool {
        self.in_order.is_empty() && self.returned.is_empty()
    }

    #[cold]
    fn push_returned(&mut self, place: u64, key: K) {
        self.returned.insert((place, key));
    }

    /// Removes a returned member. Returns `false` if the member is in order.
    #[cold]
    fn remove_returned(&mut self, place: u64, key: K) -> bool {
        self.returned.remove(&(place, key))
    }

    /// Returns the first member and its place.
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
            queues: PagedTable::new(),
            active: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Adds a record to the queue of a profile. `place` is its place.
    ///
    /// Cost: O(1) in the order of places; else O(log returned members).
    #[inline]
    pub(crate) fn push<R: Queued<L, K>>(
        &mut self,
        records: &mut Arena<K, R>,
        profiles: &Profiles,
        profile: ProfileKey,
        place: u64,
        key: K,
    ) {
        *records[key].links_mut() = self.link(records, profiles, profile, place, key);
    }

    /// Adds a record whose place is behind all others to the queue of a profile, up to its links: the
    /// caller sets them to those returned.
    #[inline(always)]
    pub(crate) fn link_last<R: Queued<L, K>>(
        &mut self,
        records: &mut Arena<K, R>,
        profiles: &Profiles,
        profile: ProfileKey,
        place: u64,
        key: K,
    ) -> Links<K> {
        let queue = self.queues.get_mut(profile);
        match queue.filter(|queue| queue.in_order.tail().is_some()) {
            Some(queue) => queue.in_order.append(records, key),
            None => self.link_first_or_returned(records, profiles, profile, place, key),
        }
    }

    /// Adds a record to the queue of a profile, up to its links: the caller sets them to those
    /// returned.
    ///
    /// Cost: as of [`push`](Self::push).
    #[inline(always)]
    pub(crate) fn link<R: Queued<L, K>>(
        &mut self,
        records: &mut Arena<K, R>,
        profiles: &Profiles,
        profile: ProfileKey,
        place: u64,
        key: K,
    ) -> Links<K> {
        // In order, behind another member: nearly always.
        if let Some(queue) = self.queues.get_mut(profile) {
            if let Some(tail) = queue.in_order.tail() {
                if records[tail].place() <= place {
                    return queue.in_order.append(records, key);
                }
            }
        }
        self.link_first_or_returned(records, profiles, profile, place, key)
    }

    #[inline(never)]
    fn link_first_or_returned<R: Queued<L, K>>(
        &mut self,
        records: &mut Arena<K, R>,
        profiles: &Profiles,
        profile: ProfileKey,
        place: u64,
        key: K,
    ) -> Links<K> {
        if self.queues.get(profile).is_none_or(Queue::is_empty) {
            self.activate(profiles, profile, place, key);
        }
        let queue = &mut self.queues[profile];
        let active = &mut self.active[queue.position];
        if place < active.first {
            active.set_first(place, key);
        }
        match queue.in_order.is_empty() {
            // The returned members may all be later.
            true => queue.in_order.append(records, key),
            false => {
                queue.push_returned(place, key);
                Links::NONE
            }
        }
    }

    /// Begins the queue of a profile. The caller adds the first member.
    fn activate(&mut self, profiles: &Profiles, profile: ProfileKey, first: u64, first_member: K) {
        self.queues.occupy(profile).position = self.active.len();
        self.active.push(ActiveQueue {
            first,
            sketch: profiles[profile].sketch(),
            profile,
            first_member,
        });
    }

    /// Removes a member.
    #[inline(always)]
    pub(crate) fn remove<R: Queued<L, K>>(&mut self, records: &mut Arena<K, R>, profile: ProfileKey, key: K) {
        let record = &mut records[key];
        let (place, links) = (record.place(), std::mem::take(record.links_mut()));
        self.unlink(records, profile, place, key, links);
    }

    /// Removes a member with this place and these links. Its record is gone, or goes next.
    #[inline(always)]
    pub(crate) fn unlink<R: Queued<L, K>>(
        &mut self,
        records: &mut Arena<K, R>,
        profile: ProfileKey,
        place: u64,
        key: K,
        links: Links<K>,
    ) {
        let queue = &mut self.queues[profile];
        if queue.returned.is_empty() || !queue.remove_returned(place, key) {
            queue.in_order.unlink(records, links);
        }
        let position = queue.position;
        if self.active[position].first != place {
            return;
        }
        if let Some((first, member)) = queue.first(records) {
            self.active[position].set_first(first, member);
            return;
        }
        self.active.swap_remove(position);
        if let Some(moved) = self.active.get(position) {
            self.queues[moved.profile].position = position;
        }
        self.queues.vacate(profile);
        shrink_if_sparse(&mut self.active);
    }

    /// Returns the first member, if all members have one given profile.
    #[inline]
    pub(crate) fn first_of_only(&self, profile: ProfileKey) -> Option<K> {
        match self.active.as_slice() {
            [only] if only.profile == profile => Some(only.first_member),
            _ => None,
        }
    }

    /// Returns the first member of one profile.
    pub(crate) fn first_of<R: Queued<L, K>>(&self, records: &Arena<K, R>, profile: ProfileKey) -> Option<K> {
        let (_, key) = self.queues.get(profile)?.first(records)?;
        Some(key)
    }

    /// Returns the first member of one profile for which a condition holds.
    ///
    /// Cost: O(members before it).
    pub(crate) fn first_where<R: Queued<L, K>>(
        &self,
        records: &Arena<K, R>,
        profile: ProfileKey,
        condition: impl Fn(K) -> bool,
    ) -> Option<(u64, K)> {
        let queue = self.queues.get(profile)?;
        let in_order = queue.in_order.iter(records).find(|key| condition(*key));
        let in_order = in_order.map(|key| (records[key].place(), key));
        let returned = queue.returned.iter().copied().find(|(_, key)| condition(*key));
        in_order.into_iter().chain(returned).min()
    }

    /// Returns the first member of all fitting profiles, with its place.
    ///
    /// Cost: O(profiles with members).
    #[inline(always)]
    pub(crate) fn first_fitting(&self, profiles: &Profiles, fitting: Fitting<'_>) -> Option<(u64, K)> {
        match self.active.is_empty() {
            true => None,
            false => self.first_fitting_active(profiles, fitting),
        }
    }

    #[inline(always)]
    fn first_fitting_active(&self, profiles: &Profiles, fitting: Fitting<'_>) -> Option<(u64, K)> {
        let sketch = fitting.sketch();
        let (mut first, mut found) = (u64::MAX, None);
        for active in &self.active {
            if active.first < first && fitting.may_fit(sketch, active.sketch) && fitting.fits(&profiles[active.profile])
            {
                (first, found) = (active.first, Some(active.first_member));
            }
        }
        Some((first, found?))
    }

    /// Returns the place of the first member of each fitting profile.
    ///
    /// Cost: O(profiles with members).
    #[inline]
    pub(crate) fn fitting(&self, profiles: &Profiles, fitting: Fitting<'_>) -> impl Iterator<Item = (ProfileKey, u64)> {
        let sketch = fitting.sketch();
        self.active
            .iter()
            .filter(move |active| fitting.may_fit(sketch, active.sketch) && fitting.fits(&profiles[active.profile]))
            .map(|active| (active.profile, active.first))
    }

    /// Returns the profiles with members, in no particular order.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = ProfileKey> {
        self.active.iter().map(|active| active.profile)
    }

    /// Returns all members of one profile, in no particular order.
    pub(crate) fn iter_of<'a, R: Queued<L, K>>(
        &'a self,
        records: &'a Arena<K, R>,
        profile: ProfileKey,
    ) -> impl Iterator<Item = K> + 'a {
        let queue = self.queues.get(profile);
        queue.into_iter().flat_map(|queue| {
            let returned = queue.returned.iter().map(|(_, key)| *key);
            queue.in_order.iter(records).chain(returned)
        })
    }

    /// Returns all members with the profiles of their queues, in no particular order.
    pub(crate) fn iter<'a, R: Queued<L, K>>(
        &'a self,
        records: &'a Arena<K, R>,
    ) -> impl Iterator<Item = (ProfileKey, K)> + 'a {
        self.profiles()
            .flat_map(move |profile| self.iter_of(records, profile).map(move |key| (profile, key)))
    }

    /// Returns `true` if each queue is in order and its head is right; for the check of invariants.
    pub(crate) fn are_in_order<R: Queued<L, K>>(&self, records: &Arena<K, R>) -> bool {
        self.active.iter().enumerate().all(|(position, active)| {
            let queue = &self.queues[active.profile];
            let first = queue.first(records);
            let places = queue.in_order.iter(records).map(|key| records[key].place());
            queue.position == position && first == Some((active.first, active.first_member)) && places.is_sorted()
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
    fn a_profile_is_interned_once_and_while_it_is_used() {
        let mut profiles = Profiles::new();
        let one = profiles.acquire(&cores(1.0), 1);
        let two = profiles.acquire(&cores(2.0), 1);
        assert_eq!(profiles.acquire(&cores(1.0), 1), one);
        profiles.release(one, 1);
        assert_eq!(profiles[one], cores(1.0));
        profiles.release(one, 1);
        assert_eq!(profiles.uses().collect::<Vec<_>>(), [(two, 1)]);
    }

    #[test]
    fn a_returned_member_keeps_its_place_and_the_first_fitting_member_comes_first() {
        let mut profiles = Profiles::new();
        let (small, large) = (profiles.acquire(&cores(1.0), 1), profiles.acquire(&cores(2.0), 1));
        let mut records = Arena::new();
        let mut queues = ProfileQueues::<Line, TestKey>::new();
        let mut push = |profile, place| {
            let key = records.insert(Record {
                place,
                links: Links::default(),
            });
            queues.push(&mut records, &profiles, profile, place, key);
            (place, key)
        };
        let (late, returned, other) = (push(small, 7), push(small, 2), push(large, 5));
        let first =
            |queues: &ProfileQueues<_, _>, least: f64| queues.first_fitting(&profiles, Fitting::Request(&cores(least)));
        assert_eq!(first(&queues, 1.0), Some(returned));
        assert_eq!(first(&queues, 2.0), Some(other));
        assert_eq!(first(&queues, 3.0), None);
        queues.remove(&mut records, small, returned.1);
        assert_eq!(first(&queues, 1.0), Some(other));
        queues.remove(&mut records, large, other.1);
        assert_eq!(first(&queues, 1.0), Some(late));
        assert!(!queues.is_empty());
        queues.remove(&mut records, small, late.1);
        assert_eq!(queues.iter(&records).count(), 0);
        assert!(queues.is_empty());
    }

    #[test]
    fn members_in_order_are_in_the_list_and_returned_members_beside_it() {
        let mut profiles = Profiles::new();
        let profile = profiles.acquire(&cores(1.0), 1);
        let mut records = Arena::new();
        let mut queues = ProfileQueues::<Line, TestKey>::new();
        for (place, returned) in [(1, 0), (3, 0), (2, 1), (4, 1)] {
            let links = Links::default();
            let key = records.insert(Record { place, links });
            queues.push(&mut records, &profiles, profile, place, key);
            assert_eq!(queues.queues[profile].returned.len(), returned);
        }
    }

    #[test]
    fn sketches_exclude_most_profiles_that_do_not_fit() {
        let (small, large) = (cores(1.0), cores(2.0));
        let may_fit = |fitting: Fitting<'_>, other: &ResourceProfile| fitting.may_fit(fitting.sketch(), other.sketch());
        assert!(may_fit(Fitting::Request(&small), &large) && !may_fit(Fitting::Request(&large), &small));
        assert!(may_fit(Fitting::Slot(&large), &small) && !may_fit(Fitting::Slot(&small), &large));
    }

    #[test]
    fn profiles_that_fit_only_by_their_sketches_do_not_fit() {
        let mut profiles = Profiles::new();
        let profile = profiles.acquire(&cores(1.0), 1);
        let mut records = Arena::new();
        let mut queues = ProfileQueues::<Line, TestKey>::new();
        let links = Links::default();
        let key = records.insert(Record { place: 1, links });
        queues.push(&mut records, &profiles, profile, 1, key);
        let with_gpu = ResourceProfile::builder().cpu_cores(1.0).extended_resource("gpu", 1.0);
        let with_gpu = with_gpu.build().expect("valid amounts");
        let fits = |fitting| queues.fitting(&profiles, fitting).count();
        assert_eq!(
            (fits(Fitting::Request(&with_gpu)), fits(Fitting::Slot(&with_gpu))),
            (0, 1)
        );
    }

    #[test]
    fn a_returned_member_can_come_before_other_returned_members() {
        let mut profiles = Profiles::new();
        let profile = profiles.acquire(&cores(1.0), 1);
        let mut records = Arena::new();
        let mut queues = ProfileQueues::<Line, TestKey>::new();
        let push = |queues: &mut ProfileQueues<_, _>, records: &mut Arena<_, _>, place| {
            let links = Links::default();
            let key = records.insert(Record { place, links });
            queues.push(records, &profiles, profile, place, key);
            key
        };
        let newest = push(&mut queues, &mut records, 3);
        push(&mut queues, &mut records, 2);
        queues.remove(&mut records, profile, newest);
        let key = push(&mut queues, &mut records, 1);
        let first = queues.first_fitting(&profiles, Fitting::Request(&cores(1.0)));
        assert_eq!(first, Some((1, key)));
        assert!(queues.are_in_order(&records));
    }
}
