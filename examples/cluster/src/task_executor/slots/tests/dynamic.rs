//! A dynamic worker, whose slots are cut from its total.

use slot_manager::DynamicResources;

use super::*;
use crate::protocol::{slot_report, slot_result};

fn cores(cores: f64) -> ResourceProfile {
    ResourceProfile::builder().cpu_cores(cores).build().unwrap()
}

/// A dynamic worker of 8 cores. The default slot has 2.
async fn start(most_slots: usize) -> Worker {
    let resources = DynamicResources::new(cores(8.0)).with_default_slot(cores(2.0));
    let table = TaskSlotTable::dynamic("w", resources).with_slot_timeout(Duration::from_secs(10));
    let (worker, report) = Worker::start_with(table, most_slots, 100).await;
    let (free, cuts) = free_and_cuts(report);
    assert_eq!((free, cuts.len()), (cores(8.0), 0));
    worker
}

/// Returns the free resources of the worker, and the resources of each cut by its number.
fn free_and_cuts(report: v1::SlotReport) -> (ResourceProfile, Vec<(u32, ResourceProfile)>) {
    let report = slot_report(&"w".into(), report).unwrap();
    let worker = report.dynamic().expect("a dynamic worker");
    assert_eq!(
        (worker.total(), worker.default_slot()),
        (&cores(8.0), Some(&cores(2.0)))
    );
    let cuts = report.statuses().iter().map(|cut| {
        assert!(cut.slot_id().is_dynamic() && cut.allocation().is_some());
        (cut.slot_id().slot_number() - (1 << 31), cut.resource_profile().clone())
    });
    (worker.free().unwrap().clone(), cuts.collect())
}

impl Worker {
    /// Asks for a cut as the leader. Returns the answer.
    async fn cut(&mut self, number: u32, profile: ResourceProfile) -> Result<Offer, SlotAllocationError> {
        let attempt = u64::from(number) + 1;
        self.allocate_slot(SlotId::dynamic("w", number), profile, attempt.into(), attempt)
            .await;
        let Message::SlotAnswer(answer) = self.hears().await else {
            panic!("no answer");
        };
        slot_result(answer.result).unwrap()?;
        Ok(self.offers.recv().await.unwrap())
    }

    async fn reported(&mut self) -> (ResourceProfile, Vec<(u32, ResourceProfile)>) {
        self.tell(Input::Heartbeat).await;
        match self.hears().await {
            Message::Heartbeat(report) => free_and_cuts(report),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn slots_are_cut_offered_and_reported_until_they_are_freed() {
    let mut worker = start(10).await;
    let first = worker.cut(0, cores(3.0)).await.unwrap();
    assert_eq!(first.slot_id, SlotId::dynamic("w", 0));
    let second = worker.cut(1, ResourceProfile::UNKNOWN).await.unwrap();
    assert!(worker.uses(first.grant).await && worker.uses(second.grant).await);
    let cuts = vec![(0, cores(3.0)), (1, cores(2.0))];
    assert_eq!(worker.reported().await, (cores(3.0), cuts));

    worker.tell(Input::Free(first.grant)).await;
    assert_eq!(worker.hears_freed().await.slot_number, 1 << 31);
    assert!(first.ended.is_cancelled());
    assert_eq!(worker.reported().await, (cores(6.0), vec![(1, cores(2.0))]));
}

#[tokio::test]
async fn a_request_that_does_not_fit_learns_how_much_is_left() {
    let mut worker = start(10).await;
    worker.cut(0, cores(6.0)).await.unwrap();
    let refused = worker.cut(1, cores(3.0)).await.unwrap_err();
    assert_eq!(refused, SlotAllocationError::insufficient(cores(2.0)));
    assert!(worker.cut(2, cores(2.0)).await.is_ok());
}

#[tokio::test]
async fn no_more_slots_are_cut_than_a_report_may_have() {
    let mut worker = start(2).await;
    let first = worker.cut(0, ResourceProfile::ZERO).await.unwrap();
    worker.cut(1, ResourceProfile::ZERO).await.unwrap();
    let refused = worker.cut(2, ResourceProfile::ZERO).await.unwrap_err();
    assert!(refused.to_string().contains("the most slots"), "{refused}");
    // The same request again is no new slot.
    worker
        .allocate_slot(SlotId::dynamic("w", 1), ResourceProfile::ZERO, 2, 4)
        .await;
    assert!(matches!(worker.hears().await, Message::SlotAnswer(answer) if is_acknowledged(&answer)));

    worker.tell(Input::Free(first.grant)).await;
    worker.hears_freed().await;
    assert!(worker.cut(3, ResourceProfile::ZERO).await.is_ok());
}

#[tokio::test]
async fn cuts_that_are_held_are_reported_to_the_next_leader() {
    let mut worker = start(10).await;
    let offer = worker.cut(0, cores(3.0)).await.unwrap();
    assert!(worker.uses(offer.grant).await);
    worker.tell(Input::Disconnected).await;
    let (outbox, leader) = mpsc::channel(100);
    worker.leader = leader;
    let report = worker.connect(outbox).await;
    assert_eq!(free_and_cuts(report), (cores(5.0), vec![(0, cores(3.0))]));
    worker.registered().await;
    assert!(worker.uses(offer.grant).await);
}
