//! Profiles of arbitrary amounts, and arithmetic on them.

use std::sync::Arc;

use proptest::prelude::*;
use slot_manager::error::ResourceProfileError;
use slot_manager::{ResourceAmounts, ResourceProfile, ResourceProfileBuilder, ResourceProfileKind};

/// Up to this number of cores, or units of an extended resource, a profile can be built again from
/// its readings.
const EXACT: f64 = 2e7;

fn amount() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..EXACT,
        2 => (0..=1_000_u32).prop_map(f64::from),
        1 => any::<f64>(),
        1 => prop::sample::select(vec![
            f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -5e-324, 0.0, -0.0,
            -1e-9, 1e-8, 4.9e-9, 5e-9, 184_467_440_737.0, 184_467_440_738.0, 1e300, 9_007_199_254_740_993.0,
        ]),
    ]
}

fn memory() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => any::<u32>().prop_map(u64::from),
        1 => any::<u64>(),
        1 => prop::sample::select(vec![u64::MAX, u64::MAX - 1, u64::MAX / 4, (u64::MAX >> 20) + 1, u64::MAX >> 20]),
    ]
}

#[derive(Debug, Clone)]
struct Given {
    cores: f64,
    memory: [u64; 4],
    in_mebibytes: bool,
    extended: Vec<(String, f64)>,
}

impl Given {
    fn builder(&self) -> ResourceProfileBuilder {
        let [heap, off_heap, managed, network] = self.memory;
        let builder = ResourceProfile::builder().cpu_cores(self.cores);
        let builder = if self.in_mebibytes {
            builder
                .task_heap_memory_mebibytes(heap)
                .task_off_heap_memory_mebibytes(off_heap)
                .managed_memory_mebibytes(managed)
                .network_memory_mebibytes(network)
        } else {
            builder
                .task_heap_memory_bytes(heap)
                .task_off_heap_memory_bytes(off_heap)
                .managed_memory_bytes(managed)
                .network_memory_bytes(network)
        };
        self.extended.iter().fold(builder, |builder, (name, amount)| {
            builder.extended_resource(name.as_str(), *amount)
        })
    }
}

fn given() -> impl Strategy<Value = Given> {
    let name = prop_oneof![4 => "[a-e]", 1 => any::<String>(), 1 => Just(String::new())];
    let extended = prop::collection::vec((name, amount()), 0..5);
    (amount(), prop::array::uniform4(memory()), any::<bool>(), extended).prop_map(
        |(cores, memory, in_mebibytes, extended)| Given {
            cores,
            memory,
            in_mebibytes,
            extended,
        },
    )
}

/// Profiles of all kinds, large and small.
fn profile() -> impl Strategy<Value = ResourceProfile> {
    let made = given().prop_filter_map("not a profile", |given| given.builder().build().ok());
    prop_oneof![8 => made, 1 => Just(ResourceProfile::ANY), 1 => Just(ResourceProfile::UNKNOWN)]
}

/// Cores, bytes of each kind of memory, and extended resources.
type Readings = (f64, [u64; 4], Vec<(String, f64)>);

/// All amounts of a profile; the total memory is the sum.
fn readings(profile: &ResourceProfile) -> Option<Readings> {
    let memory = [
        profile.task_heap_memory_bytes()?,
        profile.task_off_heap_memory_bytes()?,
        profile.managed_memory_bytes()?,
        profile.network_memory_bytes()?,
    ];
    assert_eq!(Some(memory.iter().sum()), profile.total_memory_bytes());
    let extended = profile
        .extended_resources()
        .map(|(name, amount)| (name.to_owned(), amount))
        .collect();
    Some((profile.cpu_cores()?, memory, extended))
}

fn is_amount(amount: f64) -> bool {
    (0.0..=1.844_674_407_370_955_2e11).contains(&amount)
}

/// A profile of exact amounts in units of 10⁻⁸, which the builder cannot make of all large numbers.
fn exact_profile(cores: u64, gpus: u64) -> ResourceProfile {
    let exact = |units: u64| format!("{}.{:08}", units / 100_000_000, units % 100_000_000);
    let form = serde_json::json!({ "cpu_cores": exact(cores), "extended_resources": { "gpu": exact(gpus) } });
    serde_json::from_value(form).expect("valid amounts")
}

fn units() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..64_u32, any::<u64>()).prop_map(|(bits, number)| number >> bits),
        u64::MAX - 4096..=u64::MAX,
    ]
}

proptest! {
    #[test]
    fn amounts_are_refused_by_name_or_make_a_profile_of_them(given in given()) {
        match given.builder().build() {
            Ok(profile) => {
                let (cores, memory, extended) = readings(&profile).expect("concrete amounts");
                prop_assert!((cores - given.cores).abs() <= 5e-9 + given.cores * 1e-15);
                let unit = if given.in_mebibytes { 1 << 20 } else { 1 };
                prop_assert_eq!(memory, given.memory.map(|amount| amount * unit));
                prop_assert!(extended.is_sorted_by(|a, b| a.0 < b.0), "in order, each once");
                prop_assert!(extended.iter().all(|(_, amount)| *amount > 0.0));
                for (name, amount) in &given.extended {
                    let kept = profile.extended_resource(name).expect("concrete amounts");
                    prop_assert!((kept - amount).abs() <= 5e-9 + amount * 1e-15);
                }
            }
            Err(ResourceProfileError::InvalidAmount { resource, amount }) => {
                prop_assert!(!is_amount(amount));
                prop_assert!(resource == "cpu" || given.extended.iter().any(|(name, _)| *name == resource));
            }
            Err(ResourceProfileError::Duplicate { resource }) => {
                prop_assert!(given.extended.iter().filter(|(name, _)| *name == resource).count() > 1);
            }
            Err(error) => {
                prop_assert!(matches!(error, ResourceProfileError::Overflow { .. }), "{}", error);
                let total: u128 = given.memory.iter().map(|amount| u128::from(*amount)).sum();
                prop_assert!(total << (20 * u32::from(given.in_mebibytes)) > u128::from(u64::MAX));
            }
        }
    }

    /// The readings of a profile make an equal profile, unless the amounts are very large.
    #[test]
    fn profile_made_of_the_readings_of_another_is_equal(profile in profile()) {
        if let Some((cores, memory, extended)) = readings(&profile) {
            if cores <= EXACT && extended.iter().all(|(_, amount)| *amount <= EXACT) {
                let same = Given { cores, memory, in_mebibytes: false, extended }.builder().build();
                prop_assert_eq!(same.as_ref(), Ok(&profile));
            }
        }
    }

    /// The kind of a profile makes an equal profile, unless the amounts are very large.
    #[test]
    fn profile_made_of_the_kind_of_another_is_equal(profile in profile()) {
        let kind = profile.kind();
        let Some((cores, memory, extended)) = readings(&profile) else {
            prop_assert_eq!(kind == ResourceProfileKind::Any, profile == ResourceProfile::ANY);
            prop_assert_eq!(kind == ResourceProfileKind::Unknown, profile == ResourceProfile::UNKNOWN);
            prop_assert_eq!(ResourceAmounts::try_from(&profile), Err(ResourceProfileError::NoAmounts));
            prop_assert_eq!(ResourceProfile::try_from(kind), Ok(profile));
            return Ok(());
        };
        let amounts = ResourceAmounts::try_from(&profile).expect("it has amounts");
        prop_assert_eq!(&kind, &ResourceProfileKind::Amounts(amounts.clone()));
        prop_assert_eq!(amounts.cpu_cores, cores);
        prop_assert_eq!(memory, [
            amounts.task_heap_memory_bytes,
            amounts.task_off_heap_memory_bytes,
            amounts.managed_memory_bytes,
            amounts.network_memory_bytes,
        ]);
        prop_assert_eq!(amounts.extended_resources.clone().into_iter().collect::<Vec<_>>(), extended);
        let is_exact = cores <= EXACT && amounts.extended_resources.values().all(|amount| *amount <= EXACT);
        let same = ResourceProfile::try_from(kind).expect("amounts of a profile");
        prop_assert!(!is_exact || same == profile);
    }

    /// The amounts of a profile make a profile. Up to 20 million cores or units it is equal, above
    /// that it differs in the last digits of the number.
    #[test]
    fn amounts_of_a_profile_are_legal_and_nearly_exact(cores in units(), gpus in units()) {
        let profile = exact_profile(cores, gpus);
        let same = ResourceProfile::try_from(profile.kind()).expect("amounts of a profile");
        if cores.max(gpus) <= 2_000_000_000_000_000 {
            prop_assert_eq!(same, profile);
        } else {
            let is_near = |a: Option<f64>, b: Option<f64>| {
                a.zip(b).is_some_and(|(a, b)| (a - b).abs() <= a * f64::EPSILON)
            };
            prop_assert!(is_near(same.cpu_cores(), profile.cpu_cores()));
            prop_assert!(is_near(same.extended_resource("gpu"), profile.extended_resource("gpu")));
        }
    }

    /// Serialization loses no digit of any amount.
    #[test]
    fn serialized_profile_is_read_back_equal(cores in units(), gpus in units(), profile in profile()) {
        for profile in [exact_profile(cores, gpus), profile] {
            let written = serde_json::to_string(&profile)?;
            prop_assert_eq!(&serde_json::from_str::<ResourceProfile>(&written)?, &profile);
            let form = serde_json::to_value(&profile)?;
            // Other numbers may be texts.
            let safe = 1.6e7;
            let cores = profile.cpu_cores().unwrap_or_default();
            prop_assert!(cores > safe || !form["cpu_cores"].is_string(), "{}", written);
            for (name, amount) in profile.extended_resources() {
                let is_text = form["extended_resources"][name].is_string();
                prop_assert!(amount > safe || !is_text, "{}", written);
            }
            let written = postcard::to_stdvec(&profile)?;
            prop_assert_eq!(&postcard::from_bytes::<ResourceProfile>(&written)?, &profile);
        }
    }

    #[test]
    fn sums_and_differences_are_exact_or_refused(a in profile(), b in profile()) {
        prop_assert_eq!(a.checked_add(&b), b.checked_add(&a));
        if let Ok(sum) = a.checked_add(&b) {
            let is_concrete = readings(&sum).is_some();
            prop_assert_eq!(sum.checked_sub(&b), Ok(if is_concrete { a.clone() } else { sum.clone() }));
            if is_concrete {
                prop_assert!(sum.is_matching(&a) && sum.is_matching(&b));
            }
        }
        let is_concrete = readings(&a).is_some() && readings(&b).is_some();
        prop_assert_eq!(a.checked_sub(&b).is_ok(), !is_concrete || a.is_matching(&b));
        prop_assert!(a.is_matching(&a) && (a.is_matching(&b) && b.is_matching(&a)) == (a == b));
    }

    #[test]
    fn multiples_are_exact_or_refused(profile in profile(), factor in prop_oneof![0..5_u64, any::<u64>()]) {
        prop_assert_eq!(profile.checked_mul(1), Ok(profile.clone()));
        prop_assert_eq!(profile.checked_mul(2), profile.checked_add(&profile));
        if let Ok(multiple) = profile.checked_mul(factor) {
            if let (Some((_, memory, _)), Some((_, multiples, _))) = (readings(&profile), readings(&multiple)) {
                prop_assert_eq!(multiples, memory.map(|amount| amount * factor));
            } else {
                prop_assert_eq!(multiple, profile);
            }
        }
    }

    #[test]
    fn every_profile_can_be_shown(profile in profile()) {
        let shown = format!("{profile:?}");
        prop_assert!(shown.contains(&profile.to_string()));
    }
}

#[test]
fn profile_may_have_thousands_of_extended_resources() {
    const RESOURCES: u32 = 20_000;
    let of = |amount: f64, range: std::ops::Range<u32>| {
        range
            .rev()
            .fold(ResourceProfile::builder(), |builder, n| {
                builder.extended_resource(format!("resource-{n}"), amount)
            })
            .build()
            .expect("valid amounts")
    };
    let (one, two) = (of(1.0, 0..RESOURCES), of(2.0, 0..RESOURCES));
    assert!(two.is_matching(&one) && !one.is_matching(&two));
    assert_eq!(one.checked_add(&one), Ok(two.clone()));
    assert_eq!(two.checked_sub(&one), Ok(one.clone()));
    assert_eq!(one.checked_mul(2), Ok(two));
    assert_eq!(one.checked_sub(&one), Ok(ResourceProfile::ZERO));
    let (first, second) = (of(1.0, 0..RESOURCES / 2), of(1.0, RESOURCES / 2..RESOURCES));
    assert_eq!(first.checked_add(&second), Ok(one));
    assert!(!first.is_matching(&second));
}

#[test]
fn name_of_an_extended_resource_may_be_any_text_of_any_length() {
    let long: Arc<str> = "x".repeat(1 << 20).into();
    for name in ["", "cpu", "\0", "gpu\n", "🦀", &long] {
        let profile = ResourceProfile::builder()
            .extended_resource(name, 1.0)
            .build()
            .expect("valid");
        assert_eq!(profile.extended_resource(name), Some(1.0));
        assert_eq!(profile.cpu_cores(), Some(0.0));
    }
}
