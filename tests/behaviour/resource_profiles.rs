//! Resource profiles: which slot fits which request, equality, and arithmetic.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use slot_manager::error::ResourceProfileError;
use slot_manager::{ResourceAmounts, ResourceProfile, ResourceProfileBuilder, ResourceProfileKind};

const ANY: ResourceProfile = ResourceProfile::ANY;

const UNKNOWN: ResourceProfile = ResourceProfile::UNKNOWN;

const ZERO: ResourceProfile = ResourceProfile::ZERO;

fn build(builder: ResourceProfileBuilder) -> ResourceProfile {
    builder.build().expect("valid amounts")
}

fn cores(cores: f64) -> ResourceProfile {
    build(ResourceProfile::builder().cpu_cores(cores))
}

fn gpus(amount: f64) -> ResourceProfile {
    build(ResourceProfile::builder().extended_resource("gpu", amount))
}

fn heap(bytes: u64) -> ResourceProfile {
    build(ResourceProfile::builder().task_heap_memory_bytes(bytes))
}

/// Amounts of every resource, for tests that reduce one amount.
fn ample() -> ResourceProfileBuilder {
    ResourceProfile::builder()
        .cpu_cores(2.0)
        .task_heap_memory_bytes(20)
        .task_off_heap_memory_bytes(30)
        .managed_memory_bytes(40)
        .network_memory_bytes(50)
        .extended_resource("gpu", 1.5)
}

/// One profile of each kind.
fn kinds() -> [ResourceProfile; 4] {
    [UNKNOWN, ANY, ZERO, build(ample())]
}

// Fitting.

#[test]
fn every_slot_fits_a_request_for_unknown() {
    for slot in kinds() {
        assert!(slot.is_matching(&UNKNOWN), "{slot}");
    }
}

#[test]
fn slot_of_unknown_fits_only_requests_for_unknown() {
    for request in kinds() {
        assert_eq!(UNKNOWN.is_matching(&request), request == UNKNOWN, "{request}");
    }
}

#[test]
fn slot_of_any_fits_every_request() {
    for request in kinds() {
        assert!(ANY.is_matching(&request), "{request}");
    }
}

#[test]
fn only_a_slot_of_any_fits_a_request_for_any() {
    for slot in kinds() {
        assert_eq!(slot.is_matching(&ANY), slot == ANY, "{slot}");
    }
}

#[test]
fn every_slot_but_unknown_fits_a_request_for_nothing() {
    for slot in kinds() {
        assert_eq!(slot.is_matching(&ZERO), slot != UNKNOWN, "{slot}");
    }
    assert!(!ZERO.is_matching(&cores(1e-8)));
}

#[test]
fn slot_fits_an_equal_request() {
    for profile in kinds() {
        assert!(profile.is_matching(&profile), "{profile}");
    }
}

#[test]
fn slot_that_has_less_of_one_resource_does_not_fit() {
    let request = build(ample());
    let short = [
        ample().cpu_cores(2.0 - 1e-8),
        ample().task_heap_memory_bytes(19),
        ample().task_off_heap_memory_bytes(29),
        ample().managed_memory_bytes(39),
        ample().network_memory_bytes(49),
    ];
    for slot in short.map(build) {
        assert!(!slot.is_matching(&request), "{slot}");
        assert!(request.is_matching(&slot), "{slot}");
    }
}

#[test]
fn more_of_one_resource_does_not_make_up_for_less_of_another() {
    let slot = build(ample().cpu_cores(100.0).task_heap_memory_bytes(19));
    assert!(!slot.is_matching(&build(ample())));
    assert!(!build(ample()).is_matching(&slot));
}

#[test]
fn kinds_of_memory_do_not_stand_for_each_other() {
    let total = build(ResourceProfile::builder().task_heap_memory_bytes(1000));
    assert!(!total.is_matching(&build(ResourceProfile::builder().managed_memory_bytes(1))));
}

#[test]
fn slot_needs_enough_of_a_requested_extended_resource() {
    let request = gpus(0.5);
    assert!(gpus(0.5).is_matching(&request));
    assert!(gpus(3.0).is_matching(&request));
    assert!(!gpus(0.49).is_matching(&request));
    assert!(!cores(64.0).is_matching(&request), "it has no gpu");
    let other = build(ResourceProfile::builder().extended_resource("fpga", 9.0));
    assert!(!other.is_matching(&request), "another resource does not count");
}

#[test]
fn extended_resource_that_is_not_requested_does_not_matter() {
    let slot = build(
        ResourceProfile::builder()
            .cpu_cores(1.0)
            .extended_resource("gpu", 4.0)
            .extended_resource("fpga", 1.0),
    );
    assert!(slot.is_matching(&cores(1.0)));
    assert!(slot.is_matching(&gpus(4.0)));
    assert!(!cores(1.0).is_matching(&slot));
}

#[test]
fn names_of_extended_resources_are_compared_exactly() {
    let named = |name: &str| build(ResourceProfile::builder().extended_resource(name, 1.0));
    assert!(!named("gpu").is_matching(&named("GPU")));
    assert!(!named("gpu").is_matching(&named("gp")));
}

// Equality.

#[test]
fn extended_resource_of_zero_equals_none() {
    assert_eq!(gpus(0.0), ZERO);
    assert_eq!(gpus(1e-9), ZERO, "it is rounded to zero");
    assert!(ZERO.is_matching(&gpus(0.0)));
    assert_eq!(gpus(0.0).extended_resources().count(), 0);
}

#[test]
fn profile_without_amounts_is_zero_and_neither_unknown_nor_any() {
    assert_eq!(build(ResourceProfile::builder()), ZERO);
    assert_eq!(cores(-0.0), ZERO);
    assert_ne!(ZERO, UNKNOWN);
    assert_ne!(ZERO, ANY);
    assert_ne!(ANY, UNKNOWN);
}

#[test]
fn order_of_extended_resources_does_not_matter() {
    let forth = ResourceProfile::builder()
        .extended_resource("a", 1.0)
        .extended_resource("b", 2.0);
    let back = ResourceProfile::builder()
        .extended_resource("b", 2.0)
        .extended_resource("a", 1.0);
    assert_eq!(build(forth.clone()), build(back));
    let listed: Vec<_> = build(forth.clone())
        .extended_resources()
        .map(|(name, amount)| (name.to_owned(), amount))
        .collect();
    assert_eq!(listed, [("a".to_owned(), 1.0), ("b".to_owned(), 2.0)]);
}

/// Fitting is a partial order that agrees with equality.
#[test]
fn profiles_that_fit_each_other_are_equal_and_have_equal_hashes() {
    let profiles = [
        UNKNOWN,
        ANY,
        ZERO,
        gpus(0.0),
        cores(1.0),
        cores(1.000_000_001),
        cores(0.5),
        gpus(1.0),
        heap(7),
        build(ample()),
    ];
    for a in &profiles {
        for b in &profiles {
            let both_ways = a.is_matching(b) && b.is_matching(a);
            assert_eq!(both_ways, a == b, "{a} and {b}");
            assert_eq!(HashSet::from([a, b]).len() == 1, a == b, "{a} and {b}");
        }
    }
}

/// Amounts are compared together: more of one does not make up for less of another.
#[test]
fn profiles_that_differ_in_one_amount_or_in_two_by_the_same_are_different() {
    let one = 8;
    let amounts: [fn(ResourceProfileBuilder, u64) -> ResourceProfileBuilder; 5] = [
        |builder, amount| builder.cpu_cores(amount as f64 / 1e8),
        |builder, amount| builder.task_heap_memory_bytes(amount),
        |builder, amount| builder.task_off_heap_memory_bytes(amount),
        |builder, amount| builder.managed_memory_bytes(amount),
        |builder, amount| builder.network_memory_bytes(amount),
    ];
    for (n, first) in amounts.iter().enumerate() {
        let of_one = build(first(ResourceProfile::builder(), one));
        assert_ne!(of_one, ZERO);
        for second in &amounts[n + 1..] {
            let of_two = build(second(first(ResourceProfile::builder(), one), one));
            assert_ne!(of_two, ZERO);
            assert_ne!(of_two, of_one);
        }
    }
}

/// Hash tables of profiles would be lists if all hashes were equal.
#[test]
fn profiles_with_different_amounts_have_different_hashes() {
    let hash = |profile: &ResourceProfile| BuildHasherDefault::<DefaultHasher>::default().hash_one(profile);
    assert_ne!(hash(&cores(1.0)), hash(&cores(2.0)));
    assert_ne!(hash(&heap(1)), hash(&heap(2)));
    assert_ne!(hash(&gpus(1.0)), hash(&gpus(2.0)));
}

/// The totals are equal, and neither profile fits the other.
#[test]
fn equal_totals_do_not_make_equal_profiles() {
    let heap = heap(10);
    let managed = build(ResourceProfile::builder().managed_memory_bytes(10));
    assert_eq!(heap.total_memory_bytes(), managed.total_memory_bytes());
    assert_ne!(heap, managed);
    assert!(!heap.is_matching(&managed) && !managed.is_matching(&heap));
}

#[test]
fn amounts_are_rounded_half_up_to_eight_digits() {
    assert_eq!(cores(0.000_000_005), cores(0.000_000_01));
    assert_eq!(cores(0.000_000_004), ZERO);
    assert_eq!(cores(0.1 + 0.2), cores(0.3), "which differ as floating-point numbers");
    assert_eq!(cores(1.5).cpu_cores(), Some(1.5));
}

// Readings.

#[test]
fn amounts_read_as_given() {
    let profile = build(ample());
    assert_eq!(profile.cpu_cores(), Some(2.0));
    assert_eq!(profile.task_heap_memory_bytes(), Some(20));
    assert_eq!(profile.task_off_heap_memory_bytes(), Some(30));
    assert_eq!(profile.managed_memory_bytes(), Some(40));
    assert_eq!(profile.network_memory_bytes(), Some(50));
    assert_eq!(profile.total_memory_bytes(), Some(140));
    assert_eq!(profile.extended_resource("gpu"), Some(1.5));
    assert_eq!(profile.extended_resource("fpga"), Some(0.0));
}

#[test]
fn mebibytes_are_two_to_the_twenty_bytes() {
    let profile = build(
        ResourceProfile::builder()
            .task_heap_memory_mebibytes(1)
            .task_off_heap_memory_mebibytes(2)
            .managed_memory_mebibytes(3)
            .network_memory_mebibytes(4),
    );
    assert_eq!(profile.task_heap_memory_bytes(), Some(1_048_576));
    assert_eq!(profile.total_memory_bytes(), Some(10 * 1_048_576));
}

#[test]
fn unknown_and_any_have_no_amounts() {
    for profile in [UNKNOWN, ANY] {
        assert_eq!(profile.cpu_cores(), None);
        assert_eq!(profile.task_heap_memory_bytes(), None);
        assert_eq!(profile.task_off_heap_memory_bytes(), None);
        assert_eq!(profile.managed_memory_bytes(), None);
        assert_eq!(profile.network_memory_bytes(), None);
        assert_eq!(profile.total_memory_bytes(), None);
        assert_eq!(profile.extended_resource("gpu"), None);
        assert_eq!(profile.extended_resources().count(), 0);
    }
}

// Plain amounts.

fn ample_amounts() -> ResourceAmounts {
    ResourceAmounts {
        cpu_cores: 2.0,
        task_heap_memory_bytes: 20,
        task_off_heap_memory_bytes: 30,
        managed_memory_bytes: 40,
        network_memory_bytes: 50,
        extended_resources: BTreeMap::from([("gpu".to_owned(), 1.5)]),
    }
}

#[test]
fn kind_of_a_profile_has_its_amounts() {
    assert_eq!(UNKNOWN.kind(), ResourceProfileKind::Unknown);
    assert_eq!(ANY.kind(), ResourceProfileKind::Any);
    assert_eq!(ZERO.kind(), ResourceProfileKind::Amounts(ResourceAmounts::default()));
    assert_eq!(build(ample()).kind(), ResourceProfileKind::Amounts(ample_amounts()));
}

#[test]
fn profile_is_made_of_its_kind() {
    for profile in kinds() {
        assert_eq!(ResourceProfile::try_from(profile.kind()), Ok(profile));
    }
}

#[test]
fn amounts_become_a_profile_and_back() {
    assert_eq!(ResourceProfile::try_from(ample_amounts()), Ok(build(ample())));
    assert_eq!(ResourceAmounts::try_from(&build(ample())), Ok(ample_amounts()));
    for profile in [UNKNOWN, ANY] {
        let error = ResourceAmounts::try_from(&profile).expect_err("no amounts");
        assert_eq!(error.to_string(), "the profile is UNKNOWN or ANY and has no amounts");
    }
}

#[test]
fn amounts_that_the_builder_refuses_become_no_profile() {
    let no_cores = ResourceAmounts {
        cpu_cores: f64::NAN,
        ..ample_amounts()
    };
    let error = ResourceProfile::try_from(no_cores).expect_err("not a number");
    assert!(error.to_string().starts_with("cpu: NaN is not an amount"), "{error}");
    let negative = ResourceAmounts {
        extended_resources: BTreeMap::from([("gpu".to_owned(), -1.0)]),
        ..ample_amounts()
    };
    let error = ResourceProfile::try_from(negative).expect_err("a negative amount");
    assert!(error.to_string().starts_with("gpu: -1 is not an amount"), "{error}");
    let too_much = ResourceAmounts {
        managed_memory_bytes: u64::MAX,
        ..ample_amounts()
    };
    assert_eq!(ResourceProfile::try_from(too_much), overflow("memory"));
}

#[test]
fn amounts_of_zero_make_no_extended_resource() {
    let amounts = ResourceAmounts {
        extended_resources: BTreeMap::from([("gpu".to_owned(), 0.0), ("fpga".to_owned(), 1e-9)]),
        ..ResourceAmounts::default()
    };
    assert_eq!(ResourceProfile::try_from(amounts), Ok(ZERO));
}

#[test]
fn profiles_are_written_with_their_amounts() {
    assert_eq!(UNKNOWN.to_string(), "UNKNOWN");
    assert_eq!(ANY.to_string(), "ANY");
    assert_eq!(ZERO.to_string(), "{cpu: 0}");
    assert_eq!(
        build(ample()).to_string(),
        "{cpu: 2, task heap: 20 B, task off-heap: 30 B, managed: 40 B, network: 50 B, gpu: 1.5}"
    );
    let mebibytes = build(ResourceProfile::builder().cpu_cores(0.25).managed_memory_mebibytes(64));
    assert_eq!(mebibytes.to_string(), "{cpu: 0.25, managed: 64 MiB}");
    assert_eq!(format!("{ANY:?}"), "ResourceProfile ANY");
}

// The largest amounts.

#[test]
fn memory_may_be_the_largest_number() {
    let most = heap(u64::MAX);
    assert_eq!(most.total_memory_bytes(), Some(u64::MAX));
    assert!(most.is_matching(&heap(u64::MAX - 1)));
    assert!(ANY.is_matching(&most));
    let split = ResourceProfile::builder()
        .task_heap_memory_bytes(u64::MAX - 10)
        .network_memory_bytes(10);
    assert_eq!(build(split).total_memory_bytes(), Some(u64::MAX));
}

#[test]
fn cores_may_be_close_to_the_largest_number() {
    let many = cores(184_467_440_000.0);
    assert!(many.is_matching(&cores(184_467_439_999.0)));
    // The number of cores that the largest amount reads as.
    let most = cores(184_467_440_737.095_52);
    assert_eq!(most.cpu_cores(), Some(184_467_440_737.095_52));
    assert!(most.checked_add(&cores(1e-8)).is_err());
    assert!(ResourceProfile::builder().cpu_cores(184_467_440_738.0).build().is_err());
    assert!(ResourceProfile::builder().cpu_cores(f64::MAX).build().is_err());
}

// Arithmetic.

fn overflow(resource: &str) -> Result<ResourceProfile, ResourceProfileError> {
    Err(ResourceProfileError::Overflow {
        resource: resource.to_owned(),
    })
}

fn underflow(resource: &str) -> Result<ResourceProfile, ResourceProfileError> {
    Err(ResourceProfileError::Underflow {
        resource: resource.to_owned(),
    })
}

#[test]
fn sums_add_every_amount() {
    let sum = build(ample()).checked_add(&build(ample().extended_resource("fpga", 1.0)));
    let expected = ResourceProfile::builder()
        .cpu_cores(4.0)
        .task_heap_memory_bytes(40)
        .task_off_heap_memory_bytes(60)
        .managed_memory_bytes(80)
        .network_memory_bytes(100)
        .extended_resource("gpu", 3.0)
        .extended_resource("fpga", 1.0);
    assert_eq!(sum, Ok(build(expected)));
}

#[test]
fn any_absorbs_every_profile_then_unknown() {
    for other in kinds() {
        assert_eq!(ANY.checked_add(&other), Ok(ANY));
        assert_eq!(other.checked_add(&ANY), Ok(ANY));
        assert_eq!(ANY.checked_sub(&other), Ok(ANY));
        assert_eq!(other.checked_sub(&ANY), Ok(ANY));
        if other != ANY {
            assert_eq!(UNKNOWN.checked_add(&other), Ok(UNKNOWN));
            assert_eq!(other.checked_add(&UNKNOWN), Ok(UNKNOWN));
            assert_eq!(UNKNOWN.checked_sub(&other), Ok(UNKNOWN));
            assert_eq!(other.checked_sub(&UNKNOWN), Ok(UNKNOWN));
        }
    }
}

#[test]
fn sum_that_overflows_is_refused() {
    assert_eq!(heap(u64::MAX).checked_add(&heap(1)), overflow("task heap memory"));
    let managed = build(ResourceProfile::builder().managed_memory_bytes(1));
    assert_eq!(
        heap(u64::MAX).checked_add(&managed),
        overflow("memory"),
        "only the total overflows"
    );
    assert_eq!(cores(1e11).checked_add(&cores(1e11)), overflow("cpu"));
    assert_eq!(gpus(1e11).checked_add(&gpus(1e11)), overflow("gpu"));
    assert_eq!(heap(u64::MAX).checked_add(&ANY), Ok(ANY));
}

#[test]
fn differences_take_every_amount_away() {
    let sum = build(ample()).checked_add(&gpus(2.0)).expect("small");
    assert_eq!(sum.checked_sub(&build(ample())), Ok(gpus(2.0)));
    let nothing = build(ample()).checked_sub(&build(ample())).expect("equal amounts");
    assert_eq!(nothing, ZERO);
    assert_eq!(nothing.extended_resources().count(), 0, "an amount of zero is removed");
}

#[test]
fn difference_below_zero_is_refused() {
    assert_eq!(cores(1.0).checked_sub(&cores(1.1)), underflow("cpu"));
    assert_eq!(cores(1.0).checked_sub(&gpus(0.1)), underflow("gpu"));
    let network = build(ResourceProfile::builder().network_memory_bytes(1));
    assert_eq!(heap(9).checked_sub(&network), underflow("network memory"));
    assert_eq!(
        underflow("cpu").expect_err("an error").to_string(),
        "cpu: the amount to subtract is larger than the amount present"
    );
}

#[test]
fn profile_can_be_multiplied() {
    let twice = build(ample()).checked_add(&build(ample()));
    assert_eq!(build(ample()).checked_mul(2), twice);
    assert_eq!(build(ample()).checked_mul(1), Ok(build(ample())));
    assert_eq!(build(ample()).checked_mul(0), Ok(ZERO));
    for profile in [ANY, UNKNOWN] {
        assert_eq!(profile.checked_mul(0), Ok(profile.clone()));
        assert_eq!(profile.checked_mul(u64::MAX), Ok(profile));
    }
    assert_eq!(heap(2).checked_mul(u64::MAX), overflow("task heap memory"));
    let two_kinds = ResourceProfile::builder()
        .task_heap_memory_bytes(u64::MAX / 3)
        .network_memory_bytes(u64::MAX / 3);
    assert_eq!(build(two_kinds).checked_mul(2), overflow("memory"));
}

// Invalid amounts.

#[track_caller]
fn assert_no_profile(builder: ResourceProfileBuilder, message: &str) {
    let error = builder.build().expect_err("not a profile");
    assert_eq!(error.to_string(), message);
}

#[test]
fn profile_with_an_invalid_amount_cannot_be_made() {
    const MUST: &str = "is not an amount (it must be finite, at least 0 and at most 184467440737)";
    let cpu = |cores| ResourceProfile::builder().cpu_cores(cores);
    assert_no_profile(cpu(-1.0), &format!("cpu: -1 {MUST}"));
    assert_no_profile(cpu(-1e-12), &format!("cpu: -0.000000000001 {MUST}"));
    assert_no_profile(cpu(f64::NAN), &format!("cpu: NaN {MUST}"));
    assert_no_profile(cpu(f64::INFINITY), &format!("cpu: inf {MUST}"));
    assert_no_profile(cpu(f64::NEG_INFINITY), &format!("cpu: -inf {MUST}"));
    assert_no_profile(cpu(1e12), &format!("cpu: 1000000000000 {MUST}"));
    let gpu = |amount| ResourceProfile::builder().extended_resource("gpu", amount);
    assert_no_profile(gpu(-0.5), &format!("gpu: -0.5 {MUST}"));
    assert_no_profile(gpu(f64::NAN), &format!("gpu: NaN {MUST}"));
}

#[test]
fn profile_with_memory_that_overflows_cannot_be_made() {
    const TOO_LARGE: &str = "the amount is too large";
    let builder = ResourceProfile::builder;
    let mebibytes = u64::MAX / (1 << 20) + 1;
    assert_no_profile(
        builder().task_heap_memory_mebibytes(mebibytes),
        &format!("task heap memory: {TOO_LARGE}"),
    );
    assert_no_profile(
        builder().task_off_heap_memory_mebibytes(mebibytes),
        &format!("task off-heap memory: {TOO_LARGE}"),
    );
    assert_no_profile(
        builder().managed_memory_mebibytes(mebibytes),
        &format!("managed memory: {TOO_LARGE}"),
    );
    assert_no_profile(
        builder().network_memory_mebibytes(u64::MAX),
        &format!("network memory: {TOO_LARGE}"),
    );
    assert_no_profile(
        builder().task_heap_memory_bytes(u64::MAX).network_memory_bytes(1),
        &format!("memory: {TOO_LARGE}"),
    );
}

#[test]
fn profile_with_an_extended_resource_given_twice_cannot_be_made() {
    let builder = ResourceProfile::builder()
        .extended_resource("gpu", 1.0)
        .extended_resource("fpga", 1.0)
        .extended_resource("gpu", 0.0);
    assert_no_profile(builder, "gpu: the extended resource is given twice");
}
