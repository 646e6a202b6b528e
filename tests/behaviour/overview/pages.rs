//! Pages of task managers and requests.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use slot_manager::SlotReport;
use slot_manager::view::{Page, PageCursor};

use crate::common::{Fixture, small};

/// Returns the numbers of the instances on a page of task managers.
fn task_managers(fixture: &Fixture, from: PageCursor, n: usize) -> Page<u128> {
    let page = fixture.manager.task_managers_from(from, n);
    page.map(|view| view.instance_id().as_uuid().as_u128())
}

/// Returns the numbers of the allocations on a page of requests.
fn requests(fixture: &Fixture, from: PageCursor, n: usize) -> Page<u128> {
    let page = fixture.manager.pending_slot_requests_from(from, n);
    page.map(|view| view.allocation_id().as_uuid().as_u128())
}

type PageOf = fn(&Fixture, PageCursor, usize) -> Page<u128>;

/// Returns a manager with task managers and requests of these numbers.
fn with(numbers: impl IntoIterator<Item = u128>) -> Fixture {
    let mut fixture = Fixture::new();
    for number in numbers {
        add(&mut fixture, number);
    }
    fixture
}

fn add(fixture: &mut Fixture, number: u128) {
    fixture.register(&format!("worker-{number}"), number, &SlotReport::default());
    fixture.request(number, &small());
}

fn remove(fixture: &mut Fixture, number: u128) {
    fixture.unregister(number);
    fixture.cancel(number);
}

#[test]
fn pages_show_each_record_once_and_end() {
    let fixture = with(1..=5);
    for page_of in [task_managers as PageOf, requests] {
        for n in 1..=6 {
            let mut sizes = Vec::new();
            let mut seen = BTreeSet::new();
            let mut cursor = Some(PageCursor::default());
            while let Some(from) = cursor {
                let page = page_of(&fixture, from, n);
                sizes.push(page.items.len());
                seen.extend(page.items);
                cursor = page.next;
            }
            assert_eq!(seen, (1..=5).collect());
            assert!(sizes.iter().rev().skip(1).all(|size| *size == n), "{sizes:?}");
            assert_eq!(sizes.len(), 5_usize.div_ceil(n), "the last page is not empty");
        }
    }
}

#[test]
fn page_of_an_empty_manager_is_the_last() {
    let fixture = Fixture::new();
    for page_of in [task_managers as PageOf, requests] {
        let page = page_of(&fixture, PageCursor::default(), 10);
        assert_eq!((page.items, page.next), (Vec::new(), None));
    }
}

#[test]
fn page_of_zero_records_has_one() {
    let fixture = with(1..=2);
    for page_of in [task_managers as PageOf, requests] {
        let page = page_of(&fixture, PageCursor::default(), 0);
        assert_eq!(page.items.len(), 1);
        assert!(page.next.is_some());
    }
}

#[test]
fn page_of_any_size_from_any_cursor_is_answered() {
    let fixture = with(1..=2);
    let far: PageCursor = usize::MAX.to_string().parse().expect("a cursor");
    for page_of in [task_managers as PageOf, requests] {
        assert_eq!(page_of(&fixture, PageCursor::default(), usize::MAX).items.len(), 2);
        assert_eq!(page_of(&fixture, far, 10).items, Vec::<u128>::new());
    }
}

#[test]
fn page_after_removals_goes_on_behind_them() {
    // given
    let mut fixture = with(1..=6);
    let first = requests(&fixture, PageCursor::default(), 2);

    // when: the record that the cursor names goes too
    for number in [1, 3, 4] {
        remove(&mut fixture, number);
    }

    // then
    let next = requests(&fixture, first.next.expect("more requests"), 10);
    assert_eq!((first.items, next.items), (vec![1, 2], vec![5, 6]));
}

#[test]
fn cursors_are_read_back_from_their_text() {
    // given
    let fixture = with(1..=3);
    let next = requests(&fixture, PageCursor::default(), 1)
        .next
        .expect("more requests");

    // then
    assert_eq!(next.to_string().parse(), Ok(next));
    let written = serde_json::to_string(&next).expect("it can be written");
    assert_eq!(written, format!("\"{next}\""));
    assert_eq!(
        serde_json::from_str::<PageCursor>(&written).expect("it can be read"),
        next
    );

    // then: other texts are refused
    for text in ["", "-1", "+1", "01", " 1", "x", "99999999999999999999999"] {
        let error = text.parse::<PageCursor>().expect_err(text);
        assert_eq!(error.to_string(), format!("{text:?} is not a page cursor (a number)"));
    }
    assert!(serde_json::from_str::<PageCursor>("\"x\"").is_err());
}

#[test]
fn pages_are_read_back() {
    // given
    let fixture = with(1..=3);

    // when
    let page = fixture.manager.task_managers_from(PageCursor::default(), 2);
    let page = page.map(|view| view.snapshot());

    // then
    let written = serde_json::to_string(&page).expect("it can be written");
    let read: Page<slot_manager::view::TaskManagerSnapshot> = serde_json::from_str(&written).expect("it can be read");
    assert_eq!(read, page);
}

/// Changes between two pages: the number of new records, and places of records to remove.
fn changes() -> impl Strategy<Value = (usize, Vec<prop::sample::Index>)> {
    (0..4_usize, prop::collection::vec(any::<prop::sample::Index>(), 0..4))
}

proptest! {
    /// A record that exists from the first page to the last is on one page. No record is on two.
    #[test]
    fn record_that_stays_is_on_exactly_one_page(
        before in prop::collection::vec(changes(), 0..8),
        between in prop::collection::vec((1..5_usize, changes()), 0..12),
    ) {
        for page_of in [task_managers as PageOf, requests] {
            let mut fixture = with(1..=6);
            let (mut present, mut last) = ((1..=6).collect::<Vec<u128>>(), 6);
            let mut change = |fixture: &mut Fixture, (new, removed): &(usize, Vec<prop::sample::Index>)| {
                for place in removed {
                    if !present.is_empty() {
                        remove(fixture, present.swap_remove(place.index(present.len())));
                    }
                }
                for _ in 0..*new {
                    last += 1;
                    add(fixture, last);
                    present.push(last);
                }
                present.iter().copied().collect::<BTreeSet<_>>()
            };
            // Places become free.
            let mut stay = change(&mut fixture, &(0, Vec::new()));
            for changes in &before {
                stay = change(&mut fixture, changes);
            }
            let mut seen = BTreeMap::new();
            let mut between = between.iter();
            let mut cursor = Some(PageCursor::default());
            while let Some(from) = cursor {
                let step = between.next();
                let page = page_of(&fixture, from, step.map_or(3, |(n, _)| *n));
                for number in page.items {
                    *seen.entry(number).or_insert(0) += 1;
                }
                cursor = page.next.map(|next| next.to_string().parse().expect("its text"));
                if let (Some((_, changes)), Some(_)) = (step, cursor) {
                    let present = change(&mut fixture, changes);
                    stay.retain(|number| present.contains(number));
                }
            }
            prop_assert!(seen.values().all(|times| *times == 1), "{:?}", seen);
            prop_assert!(stay.iter().all(|number| seen.contains_key(number)), "{:?} of {:?}", seen, stay);
        }
    }
}
