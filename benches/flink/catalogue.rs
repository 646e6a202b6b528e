//! The compared workloads.

use crate::clock::Clock;
use crate::distribution::{Distribution, FLINK_1_10, FLINK_2_3};
use crate::workloads::{
    churn, contract_floor, declarations, dynamic_workers, floor, matching, requests, task_managers, waiting,
};

/// A prepared workload: its messages exist. Each call runs it once, on a new manager.
pub(crate) type Prepared = Box<dyn FnMut(&mut Clock)>;

/// The workloads that are compared with one version of Flink.
pub(crate) struct Comparison {
    pub(crate) flink: &'static Distribution,
    pub(crate) workloads: &'static [Workload],
}

pub(crate) struct Workload {
    /// The name in both programs.
    pub(crate) name: &'static str,
    /// The parts that are measured separately.
    pub(crate) phases: &'static [Phase],
    /// The cases, the smallest first.
    pub(crate) cases: &'static [Case],
    /// Prepares our side for a size and a number of operations.
    pub(crate) prepare: fn(usize, usize) -> Prepared,
    /// Prepares the floor likewise; `None` where it cannot do the workload.
    pub(crate) floor: Option<fn(usize, usize) -> Prepared>,
    /// Prepares the contract floor likewise. It may have fewer phases.
    pub(crate) contract_floor: Option<fn(usize, usize) -> Prepared>,
}

impl Workload {
    pub(crate) fn smallest(&self) -> &'static Case {
        &self.cases[0]
    }
}

pub(crate) struct Phase {
    /// The name in both programs.
    pub(crate) name: &'static str,
    /// The name in the table.
    pub(crate) title: &'static str,
}

impl Phase {
    pub(crate) fn label(&self, case: &Case) -> String {
        format!("{} {}", self.title, case.size)
    }
}

/// A size, in slots, requests or dynamic workers.
pub(crate) struct Case {
    pub(crate) size: usize,
    /// The number of operations on our side, where it does not follow from the size.
    pub(crate) operations: usize,
    /// The number on Flink's side; `None` if it would take too long.
    pub(crate) flink_operations: Option<usize>,
}

const fn phase(name: &'static str, title: &'static str) -> Phase {
    Phase { name, title }
}

/// Returns a case with as many operations on both sides.
const fn same(size: usize, operations: usize) -> Case {
    limited(size, operations, operations)
}

/// Returns a case with fewer operations on Flink's side, where each takes longer the larger the
/// size.
const fn limited(size: usize, operations: usize, flink_operations: usize) -> Case {
    Case {
        size,
        operations,
        flink_operations: Some(flink_operations),
    }
}

const fn ours_only(size: usize, operations: usize) -> Case {
    Case {
        size,
        operations,
        flink_operations: None,
    }
}

/// Returns a case with one operation for each slot or request.
const fn each(size: usize) -> Case {
    same(size, size)
}

const UP_TO_A_HUNDRED_THOUSAND: &[Case] = &[each(100), each(1_000), each(10_000), each(100_000)];
const UP_TO_A_MILLION: &[Case] = &[each(100), each(1_000), each(10_000), each(100_000), each(1_000_000)];

/// Enough for a steady state that has been through the whole cluster.
const CHURNS: usize = 100_000;
const CHECKS: usize = 1_000;
const CHANGES: usize = 1_000;

const DYNAMIC_WORKERS: &[Case] = &[
    same(100, CHANGES),
    limited(1_000, CHANGES, 64),
    limited(10_000, CHANGES, 16),
];

/// The comparisons. Each has a table of its own.
pub(crate) const COMPARISONS: &[Comparison] = &[
    Comparison {
        flink: &FLINK_1_10,
        workloads: REQUESTS,
    },
    Comparison {
        flink: &FLINK_2_3,
        workloads: DECLARATIONS,
    },
];

/// Returns the workloads of all comparisons.
pub(crate) fn workloads() -> impl Iterator<Item = &'static Workload> {
    COMPARISONS.iter().flat_map(|comparison| comparison.workloads)
}

/// Jobs request single slots.
const REQUESTS: &[Workload] = &[
    Workload {
        name: "all-slots",
        phases: &[
            phase("register", "register task manager of 10 slots, per slot"),
            phase("request", "request served at once"),
            phase("free", "free slot"),
        ],
        cases: UP_TO_A_MILLION,
        prepare: requests::all_slots,
        floor: Some(floor::all_slots),
        contract_floor: Some(contract_floor::free),
    },
    Workload {
        name: "in-flight",
        phases: &[phase("both", "request in flight, then acknowledge")],
        cases: UP_TO_A_MILLION,
        prepare: requests::in_flight,
        floor: None,
        contract_floor: Some(contract_floor::in_flight),
    },
    Workload {
        name: "in-flight-later",
        phases: &[phase("both", "request in flight, then acknowledge, with Later")],
        cases: UP_TO_A_MILLION,
        prepare: requests::in_flight_with_later,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "spread-out",
        phases: &[phase("request", "request served at once, slots spread out")],
        cases: &[each(100), each(1_000), each(10_000), ours_only(100_000, 100_000)],
        prepare: requests::spread_out,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "churn",
        phases: &[phase("both", "churn at 90 % utilisation")],
        cases: &[
            same(100, CHURNS),
            same(1_000, CHURNS),
            same(10_000, CHURNS),
            same(100_000, CHURNS),
            same(1_000_000, CHURNS),
        ],
        prepare: churn::alone,
        floor: Some(floor::churn),
        contract_floor: None,
    },
    Workload {
        name: "churn-others-wait",
        phases: &[phase("both", "churn of 10000 slots, others wait")],
        cases: &[
            same(100, CHURNS),
            limited(1_000, CHURNS, 10_000),
            limited(10_000, CHURNS, 1_000),
            limited(100_000, CHURNS, 50),
        ],
        prepare: churn::others_wait,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "churn-others-in-flight",
        phases: &[phase("both", "churn of 10000 slots, others in flight")],
        cases: &[
            same(100, CHURNS),
            limited(1_000, CHURNS, 10_000),
            limited(10_000, CHURNS, 5_000),
            limited(100_000, CHURNS, 300),
        ],
        prepare: churn::others_in_flight,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "waiting",
        phases: &[
            phase("both", "request waits, then cancel"),
            phase("check", "timeout check of all waiting, none due"),
        ],
        cases: &[
            same(100, CHECKS),
            limited(1_000, CHECKS, 1_000),
            limited(10_000, CHECKS, 100),
            limited(100_000, CHECKS, 10),
            limited(1_000_000, CHECKS, 3),
        ],
        prepare: waiting::cancelled,
        floor: Some(floor::waiting),
        contract_floor: Some(contract_floor::waiting),
    },
    Workload {
        name: "due",
        phases: &[phase("request", "all request timeouts due, per request")],
        cases: UP_TO_A_MILLION,
        prepare: waiting::due,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "drain-1",
        phases: &[phase("slot", "new slot serves a waiting request, 1 profile")],
        cases: UP_TO_A_HUNDRED_THOUSAND,
        prepare: matching::drain_of_one_profile,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "drain-100",
        phases: &[phase("slot", "new slot serves a waiting request, 100 profiles")],
        cases: UP_TO_A_HUNDRED_THOUSAND,
        prepare: matching::drain_of_a_hundred_profiles,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "largest",
        phases: &[phase(
            "both",
            "request only the largest of 100 profiles fits, then free",
        )],
        cases: &[
            same(100, CHURNS),
            limited(1_000, CHURNS, 5_000),
            limited(10_000, CHURNS, 1_000),
            limited(100_000, CHURNS, 200),
        ],
        prepare: matching::only_the_largest_fits,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "report",
        phases: &[phase("report", "unchanged report of 10 slots, half allocated")],
        cases: &[
            same(100, 10_000),
            same(1_000, 10_000),
            same(10_000, 10_000),
            same(100_000, 10_000),
            same(1_000_000, 100_000),
        ],
        prepare: task_managers::unchanged_reports,
        floor: Some(floor::unchanged_reports),
        contract_floor: None,
    },
    Workload {
        name: "unregister",
        phases: &[phase("task-manager", "unregister task manager of 10 allocated slots")],
        cases: UP_TO_A_MILLION,
        prepare: task_managers::unregister,
        floor: Some(floor::unregister),
        contract_floor: Some(contract_floor::unregister),
    },
];

/// A job declares the slots that it needs in all.
const DECLARATIONS: &[Workload] = &[
    Workload {
        name: "declare-all",
        phases: &[phase("slot", "declare all slots, all are served, per slot")],
        cases: UP_TO_A_HUNDRED_THOUSAND,
        prepare: declarations::all,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "declare-more",
        phases: &[phase("more", "declare one more slot, which is served")],
        cases: &[
            same(100, CHANGES),
            limited(1_000, CHANGES, 500),
            limited(10_000, CHANGES, 50),
            limited(100_000, CHANGES, 10),
        ],
        prepare: declarations::one_more,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "declare-less",
        phases: &[phase("less", "declare one slot less, then free one")],
        cases: &[
            same(100, CHANGES),
            same(1_000, CHANGES),
            same(10_000, CHANGES),
            same(100_000, 10_000),
        ],
        prepare: declarations::one_less,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "dynamic-1-half",
        phases: &[
            phase(
                "more",
                "declare one more slot, which is served, dynamic workers, 1 shape, 50 % used",
            ),
            phase(
                "less",
                "declare one slot less, then free one, dynamic workers, 1 shape, 50 % used",
            ),
        ],
        cases: DYNAMIC_WORKERS,
        prepare: dynamic_workers::one_shape_half_used,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "dynamic-64-half",
        phases: &[
            phase(
                "more",
                "declare one more slot, which is served, dynamic workers, 64 shapes, 50 % used",
            ),
            phase(
                "less",
                "declare one slot less, then free one, dynamic workers, 64 shapes, 50 % used",
            ),
        ],
        cases: DYNAMIC_WORKERS,
        prepare: dynamic_workers::many_shapes_half_used,
        floor: None,
        contract_floor: None,
    },
    Workload {
        name: "dynamic-64-nearly-full",
        phases: &[
            phase(
                "more",
                "declare one more slot, which is served, dynamic workers, 64 shapes, 95 % used",
            ),
            phase(
                "less",
                "declare one slot less, then free one, dynamic workers, 64 shapes, 95 % used",
            ),
        ],
        cases: DYNAMIC_WORKERS,
        prepare: dynamic_workers::many_shapes_nearly_full,
        floor: None,
        contract_floor: None,
    },
];
