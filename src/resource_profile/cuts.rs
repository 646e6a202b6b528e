//! The amounts that a cut leaves of a profile.

use super::{Kind, ResourceProfile};

impl ResourceProfile {
    /// Returns this profile without the amounts of a cut, none of them below zero.
    ///
    /// `ANY` and `UNKNOWN` do not change. A cut of `ANY` takes all amounts, and one of `UNKNOWN`
    /// takes none.
    pub(crate) fn reduced_by(&self, cut: &Self) -> Self {
        match (&self.0, &cut.0) {
            (Kind::Concrete(_), Kind::Concrete(_)) => self
                .combine(cut, |_, amount, taken| Ok(amount.saturating_sub(taken)))
                // No kind of memory grows, so the total memory does not overflow.
                .unwrap_or(Self::ZERO),
            (Kind::Concrete(_), Kind::Any) => Self::ZERO,
            (Kind::Concrete(_), Kind::Unknown) | (Kind::Unknown | Kind::Any, _) => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(cores: f64, memory: u64, gpus: f64) -> ResourceProfile {
        ResourceProfile::builder()
            .cpu_cores(cores)
            .network_memory_bytes(memory)
            .extended_resource("gpu", gpus)
            .build()
            .expect("valid amounts")
    }

    #[test]
    fn each_amount_is_reduced_but_not_below_zero() {
        let whole = profile(4.0, u64::MAX, 1.0);
        assert_eq!(
            whole.reduced_by(&profile(1.5, 1, 0.25)),
            profile(2.5, u64::MAX - 1, 0.75)
        );
        assert_eq!(whole.reduced_by(&profile(5.0, 0, 1.0)), profile(0.0, u64::MAX, 0.0));
        assert_eq!(
            profile(1.0, 1, 0.0).reduced_by(&profile(0.0, 2, 1.0)),
            profile(1.0, 0, 0.0)
        );
    }

    #[test]
    fn profiles_without_amounts_stay_and_any_takes_all() {
        let (whole, any, unknown) = (profile(4.0, 1, 1.0), ResourceProfile::ANY, ResourceProfile::UNKNOWN);
        for cut in [&whole, &any, &unknown] {
            assert_eq!(any.reduced_by(cut), any);
            assert_eq!(unknown.reduced_by(cut), unknown);
        }
        assert_eq!(whole.reduced_by(&any), ResourceProfile::ZERO);
        assert_eq!(whole.reduced_by(&unknown), whole);
    }
}
