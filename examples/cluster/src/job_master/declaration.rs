//! The declaration of a job: the number of slots that it needs in all, and whether the leader knows.

/// The last declaration of a job.
#[derive(Debug, Default)]
pub struct Declaration {
    /// Grows with each declaration. A leader ignores a lower one than it has seen.
    revision: u64,
    slots: u32,
    /// `false` if the present leader must hear the declaration.
    is_told: bool,
}

impl Declaration {
    /// Declares this number of slots. Returns `true` if it is another one than before.
    pub fn set(&mut self, slots: u32) -> bool {
        let is_new = self.revision == 0 || self.slots != slots;
        if is_new {
            self.slots = slots;
            self.revise(self.revision);
        }
        is_new
    }

    /// Returns the revision and the number of slots that the leader must hear, if any. The leader
    /// counts as told from now on.
    pub fn take_untold(&mut self) -> Option<(u64, u32)> {
        let is_told = std::mem::replace(&mut self.is_told, true);
        (!is_told).then_some((self.revision, self.slots))
    }

    /// Notes that another leader must hear the declaration.
    pub fn repeat(&mut self) {
        self.is_told = false;
    }

    /// Notes that the leader refuses a revision, and has seen this one. Returns `true` if it refuses
    /// the present one, which it must hear again.
    pub fn refused(&mut self, revision: u64, highest_seen: u64) -> bool {
        let is_present = self.revision == revision;
        if is_present {
            // An earlier process of the job has declared more often.
            self.revise(revision.max(highest_seen));
        }
        is_present
    }

    /// Makes the revision higher than another one.
    fn revise(&mut self, other: u64) {
        self.revision = other.saturating_add(1);
        self.is_told = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_slots_is_told_once() {
        let mut declaration = Declaration::default();
        assert!(declaration.set(3));
        assert_eq!(declaration.take_untold(), Some((1, 3)));
        assert!(!declaration.set(3));
        assert_eq!(declaration.take_untold(), None);
        assert!(declaration.set(0));
        assert_eq!(declaration.take_untold(), Some((2, 0)));
    }

    #[test]
    fn another_leader_hears_the_same_declaration() {
        let mut declaration = Declaration::default();
        declaration.set(3);
        declaration.take_untold();
        declaration.repeat();
        assert_eq!(declaration.take_untold(), Some((1, 3)));
    }

    #[test]
    fn declaration_that_is_refused_is_told_again_above_those_of_earlier_processes() {
        let mut declaration = Declaration::default();
        declaration.set(3);
        declaration.take_untold();
        assert!(declaration.refused(1, 7));
        assert_eq!(declaration.take_untold(), Some((8, 3)));
        assert!(!declaration.refused(1, 7), "it was replaced meanwhile");
        assert_eq!(declaration.take_untold(), None);
    }
}
