//! The bytes that the manager holds for each slot and each waiting request, and the bytes that are
//! left when they are gone.
//!
//! ```sh
//! cargo bench --bench memory                # some seconds
//! cargo bench --bench memory -- --test      # small numbers, at once
//! ```
//!
//! **How to read it.** The bytes per slot or request include all that the manager keeps alive: its
//! tables with their spare room, and the ids, texts and profiles that came with messages. Records
//! grow by pages, and full tables of ids double, so the bytes vary between two doublings. The two
//! sizes lie at different places between doublings. Messages are made one at a time, as if they had just
//! been deserialized, handed over and dropped. With the capacity hint ([`Capacity`]) the tables are
//! made before, for the full size, and are counted.
//!
//! A task manager has ten slots. Its gateway has no size; the memory of a real gateway is
//! additional. "Left" is the memory still held, divided by the largest number of items. Without the
//! hint, empty tables give their memory back. With the hint they keep it until `suspend`.
//!
//! **Flink** is the memory of the slot manager of Flink 1.10.3 in the same states, with the ids of
//! slots and requests. It was measured on OpenJDK 17 with compressed pointers.

#[allow(dead_code, reason = "shared with other benches and tests")]
#[path = "common/allocator.rs"]
mod allocator;
#[allow(dead_code, reason = "shared with other benches")]
#[path = "common/messages.rs"]
mod messages;
#[allow(dead_code, reason = "shared with other benches")]
#[path = "common/outside.rs"]
mod outside;

use clap::Parser;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use slot_manager::config::Capacity;
use slot_manager::message::SlotFreed;
use slot_manager::outcome::{
    AllocationStatus, CancelOutcome, RegistrationOutcome, SlotFreedOutcome, SlotRequestOutcome, UnregistrationOutcome,
};
use slot_manager::{AllocationId, SlotManagerConfig};

use crate::allocator::held_bytes;
use crate::messages::{
    Requests, SLOTS_PER_TASK_MANAGER, connection, granted, instance_id, report, slot_id, usual_profile,
};
use crate::outside::{Count, Manager, Prompt, started_with};

/// Measures the bytes that a manager holds for each slot and request.
#[derive(Parser)]
struct Arguments {
    /// Use small numbers, to see that it works
    #[arg(long)]
    test: bool,
    /// Given by cargo; has no effect
    #[arg(long, hide = true)]
    bench: bool,
}

/// Flink's bytes per item, for the rows of the table.
struct Flink;

impl Flink {
    const FREE_SLOT: f64 = 247.0;
    const ALLOCATED_SLOT: f64 = 281.0;
    const WAITING_REQUEST: f64 = 416.0;
}

fn main() {
    let arguments = Arguments::parse();
    let sizes = if arguments.test {
        [100, 1_000]
    } else {
        [100_000, 1_000_000]
    };
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header([
        "bytes per item",
        "items",
        "without hint",
        "with hint",
        "Flink 1.10.3",
        "Flink / without hint",
    ]);
    for size in sizes {
        let plain = Figures::of(size, Capacity::default());
        let hinted = Figures::of(size, capacity(size));
        for row in ROWS {
            table.add_row(cells(row, size, &plain, &hinted));
        }
    }
    println!("{table}");
}

/// One line of the table: its name, its figure and Flink's figure.
type Row = (&'static str, fn(&Figures) -> f64, Option<f64>);

const ROWS: [Row; 7] = [
    ("free slot", |figures| figures.slots.free, Some(Flink::FREE_SLOT)),
    (
        "allocated slot",
        |figures| figures.slots.allocated,
        Some(Flink::ALLOCATED_SLOT),
    ),
    (
        "waiting request",
        |figures| figures.requests.waiting,
        Some(Flink::WAITING_REQUEST),
    ),
    (
        "left of a slot that was freed and unregistered",
        |figures| figures.slots.left,
        None,
    ),
    (
        "left of a request that was cancelled",
        |figures| figures.requests.left,
        None,
    ),
    (
        "left of a slot after suspend",
        |figures| figures.slots.after_suspend,
        None,
    ),
    (
        "left of a request after suspend",
        |figures| figures.requests.after_suspend,
        None,
    ),
];

fn cells((name, figure, flink): Row, size: usize, plain: &Figures, hinted: &Figures) -> Vec<Cell> {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let numbers = [
        size.to_string(),
        format!("{:.1}", figure(plain)),
        format!("{:.1}", figure(hinted)),
        or_dash(flink.map(|flink| flink.to_string())),
        or_dash(flink.map(|flink| format!("{:.2}", flink / figure(plain)))),
    ];
    std::iter::once(Cell::new(name))
        .chain(numbers.map(|number| Cell::new(number).set_alignment(CellAlignment::Right)))
        .collect()
}

fn capacity(size: usize) -> Capacity {
    Capacity {
        task_managers: size / SLOTS_PER_TASK_MANAGER,
        slots: size,
        pending_requests: size,
    }
}

/// The results for one number of slots and requests, in bytes per item.
struct Figures {
    slots: OfSlots,
    requests: OfRequests,
}

impl Figures {
    fn of(size: usize, hint: Capacity) -> Self {
        // The hint covers only the items of the measurement: unused tables take no memory.
        let slots_only = Capacity {
            pending_requests: 0,
            ..hint
        };
        let requests_only = Capacity {
            pending_requests: hint.pending_requests,
            ..Capacity::default()
        };
        Self {
            slots: OfSlots::measure(size, slots_only),
            requests: OfRequests::measure(size, requests_only),
        }
    }
}

struct OfSlots {
    free: f64,
    allocated: f64,
    left: f64,
    after_suspend: f64,
}

impl OfSlots {
    fn measure(slots: usize, hint: Capacity) -> Self {
        let mut requests = Requests::default();
        let mut grants = Vec::with_capacity(slots);
        let scale = Scale::new(slots);
        let mut manager = manager(hint);
        register(&mut manager, slots);
        let free = scale.bytes_per_item();
        for _ in 0..slots {
            grants.push(serve(&mut manager, &mut requests));
        }
        assert_eq!(manager.overview().slots.allocated.slots, slots);
        let allocated = scale.bytes_per_item();
        for (slot, allocation_id) in grants.drain(..) {
            let freed = manager.slot_freed(&SlotFreed::new(slot_id(slot), allocation_id));
            assert_eq!(freed, SlotFreedOutcome::Freed);
        }
        unregister(&mut manager, slots);
        let left = scale.bytes_per_item();
        // The suspension finds the largest number of items.
        register(&mut manager, slots);
        for _ in 0..slots {
            grants.push(serve(&mut manager, &mut requests));
        }
        assert!(manager.suspend().is_some());
        Self {
            free,
            allocated,
            left,
            after_suspend: scale.bytes_per_item(),
        }
    }
}

struct OfRequests {
    waiting: f64,
    left: f64,
    after_suspend: f64,
}

impl OfRequests {
    fn measure(waiting: usize, hint: Capacity) -> Self {
        let mut requests = Requests::default();
        let mut allocation_ids = Vec::with_capacity(waiting);
        let scale = Scale::new(waiting);
        let mut manager = manager(hint);
        wait(&mut manager, &mut requests, waiting, &mut allocation_ids);
        let bytes_waiting = scale.bytes_per_item();
        for allocation_id in allocation_ids.drain(..) {
            let cancelled = manager.unregister_slot_request(allocation_id);
            assert_eq!(cancelled, CancelOutcome::Cancelled);
        }
        let left = scale.bytes_per_item();
        wait(&mut manager, &mut requests, waiting, &mut allocation_ids);
        assert!(manager.suspend().is_some());
        Self {
            waiting: bytes_waiting,
            left,
            after_suspend: scale.bytes_per_item(),
        }
    }
}

/// Weighs the memory taken since it was made.
struct Scale {
    items: usize,
    empty: usize,
}

impl Scale {
    fn new(items: usize) -> Self {
        Self {
            items,
            empty: held_bytes(),
        }
    }

    fn bytes_per_item(&self) -> f64 {
        (held_bytes() - self.empty) as f64 / self.items as f64
    }
}

fn manager(hint: Capacity) -> Manager<Prompt> {
    let config = SlotManagerConfig::default().with_initial_capacity(hint);
    let (manager, _) = started_with(config, Count::default());
    manager
}

fn register(manager: &mut Manager<Prompt>, slots: usize) {
    for task_manager in 0..slots / SLOTS_PER_TASK_MANAGER {
        let report = report(task_manager, |_| usual_profile(), |_| false);
        let outcome = manager.register_task_manager(connection(task_manager, Prompt), &report);
        assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
    }
    assert_eq!(manager.overview().slots.free.slots, slots);
    drive(manager);
}

fn unregister(manager: &mut Manager<Prompt>, slots: usize) {
    for task_manager in 0..slots / SLOTS_PER_TASK_MANAGER {
        let outcome = manager.unregister_task_manager(instance_id(task_manager), "it is not needed any more");
        assert_eq!(outcome, UnregistrationOutcome::Unregistered);
    }
    assert_eq!(manager.overview().slots.registered.slots, 0);
    drive(manager);
}

fn serve(manager: &mut Manager<Prompt>, requests: &mut Requests) -> (usize, AllocationId) {
    let request = requests.request(usual_profile());
    let allocation_id = request.allocation_id();
    (granted(&manager.register_slot_request(request)), allocation_id)
}

fn wait(manager: &mut Manager<Prompt>, requests: &mut Requests, waiting: usize, ids: &mut Vec<AllocationId>) {
    for _ in 0..waiting {
        let request = requests.request(usual_profile());
        ids.push(request.allocation_id());
        let registered = manager.register_slot_request(request);
        assert_eq!(registered, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
    }
    assert_eq!(manager.overview().pending_requests, waiting);
    drive(manager);
}

/// Arms the delay, as a service does that drives the manager.
fn drive(manager: &mut Manager<Prompt>) {
    assert_eq!(manager.run_until_stalled(), 0);
}
