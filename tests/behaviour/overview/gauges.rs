//! Gauges and counters by name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, to_value};
use slot_manager::ResourceProfile;

use super::everything;
use crate::common::{Fixture, small};

/// Returns `true` if a name fits Prometheus.
fn fits(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|it| matches!(it, 'a'..='z' | '0'..='9' | '_'))
}

#[test]
fn counters_have_the_names_of_their_fields() {
    // given
    let counters = everything().manager.counters();
    let mut fields = BTreeMap::new();
    for (name, value) in to_value(counters)
        .expect("it can be written")
        .as_object()
        .expect("fields")
    {
        match value {
            Value::Object(causes) => {
                fields.extend(
                    causes
                        .iter()
                        .map(|(cause, value)| (format!("{name}_{cause}"), value.as_u64())),
                );
            }
            value => {
                fields.insert(name.clone(), value.as_u64());
            }
        }
    }

    // when
    let named: Vec<_> = counters
        .iter()
        .map(|counter| (counter.name.to_owned(), Some(counter.value)))
        .collect();

    // then
    assert_eq!(named.len(), fields.len());
    assert_eq!(named.into_iter().collect::<BTreeMap<_, _>>(), fields);
    assert!(
        counters
            .iter()
            .all(|counter| fits(counter.name) && !counter.help.is_empty())
    );
}

#[test]
fn gauges_show_the_numbers_of_the_overview() {
    // given
    let overview = everything().manager.overview();

    // when
    let gauges: BTreeMap<_, _> = overview.gauges().map(|gauge| (gauge.name, gauge.value)).collect();

    // then
    assert_eq!(gauges.len(), overview.gauges().count(), "names are unique");
    assert!(
        overview
            .gauges()
            .all(|gauge| fits(gauge.name) && !gauge.help.is_empty())
    );
    let expected = [
        ("task_managers", 3.0),
        ("task_managers_blocked", 1.0),
        ("promised_slots_bound", 2.0),
        ("promised_slots_unbound", 0.0),
        ("requests_pending", 4.0),
        ("slots_registered", 5.0),
        ("slots_free", 1.0),
        ("slots_blocked", 1.0),
        ("slots_in_flight", 1.0),
        ("slots_allocated", 2.0),
        ("slots_promised", 2.0),
        ("cpu_cores_registered", 5.3),
        ("cpu_cores_free", 0.3),
        ("memory_bytes_in_flight", f64::from(200 << 20)),
        ("memory_bytes_allocated", f64::from(200 << 20)),
        ("task_heap_memory_bytes_promised", f64::from(200 << 20)),
        ("managed_memory_bytes_promised", 0.0),
    ];
    for (name, value) in expected {
        assert_eq!(gauges.get(name), Some(&value), "{name}");
    }
}

#[test]
fn each_kind_of_memory_has_its_gauge() {
    // given
    let mut fixture = Fixture::new();
    let slot = ResourceProfile::builder()
        .task_heap_memory_bytes(1)
        .task_off_heap_memory_bytes(2)
        .managed_memory_bytes(4)
        .network_memory_bytes(8)
        .build()
        .expect("valid amounts");

    // when
    fixture.register_free("tm", 1, &[slot]);

    // then
    let overview = fixture.manager.overview();
    let free = overview
        .gauges()
        .filter(|gauge| gauge.name.ends_with("memory_bytes_free"))
        .map(|gauge| (gauge.name, gauge.value));
    assert_eq!(
        free.collect::<Vec<_>>(),
        [
            ("memory_bytes_free", 15.0),
            ("task_heap_memory_bytes_free", 1.0),
            ("task_off_heap_memory_bytes_free", 2.0),
            ("managed_memory_bytes_free", 4.0),
            ("network_memory_bytes_free", 8.0),
        ]
    );
}

#[test]
fn extended_resources_have_a_gauge_for_each_state() {
    // given
    let mut fixture = Fixture::new();
    let with = |name: &str, amount| {
        let profile = ResourceProfile::builder()
            .cpu_cores(1.0)
            .extended_resource(name, amount);
        profile.build().expect("valid amounts")
    };
    fixture.register_free(
        "tm",
        1,
        &[with("gpu", 2.0), with("gpu", 0.5), with("a name/with signs", 1.0)],
    );
    fixture.promise_next(&[with("fpga", 3.0)]);

    // when
    fixture.request(1, &with("gpu", 1.0));
    fixture.request(2, &with("fpga", 1.0));

    // then
    let overview = fixture.manager.overview();
    let gauges: BTreeSet<_> = overview
        .extended_gauges()
        .map(|(name, gauge)| format!("{} {name} {}", gauge.name, gauge.value))
        .collect();
    assert_eq!(gauges.len(), overview.extended_gauges().count());
    let expected = [
        "extended_resource_registered gpu 2.5",
        "extended_resource_free gpu 0.5",
        "extended_resource_blocked gpu 0",
        "extended_resource_in_flight gpu 0",
        "extended_resource_allocated gpu 2",
        "extended_resource_registered a name/with signs 1",
        "extended_resource_free a name/with signs 1",
        "extended_resource_blocked a name/with signs 0",
        "extended_resource_in_flight a name/with signs 0",
        "extended_resource_allocated a name/with signs 0",
        "extended_resource_promised fpga 3",
    ];
    assert_eq!(gauges, expected.map(str::to_owned).into());
}

#[test]
fn gauges_have_a_fixed_order() {
    let mut fixture = Fixture::new();
    let names = |fixture: &Fixture| {
        fixture
            .manager
            .overview()
            .gauges()
            .map(|gauge| gauge.name)
            .collect::<Vec<_>>()
    };
    let before = names(&fixture);
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(names(&fixture), before);
}
