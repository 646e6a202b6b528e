//! Pages of views, for a service that shows a large cluster piece by piece.

use crate::view::{Page, PageCursor, PendingSlotRequest, TaskManagerRegistration};
use crate::{ScheduledExecutor, SlotManager, TaskExecutorGateway};

use crate::slot_manager::collections::arena::{Arena, Key};

/// Pages.
impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// Returns up to `n` registered task managers from a cursor on. `0` counts as `1`.
    ///
    /// Start with the default cursor, and go on with [`Page::next`] until it is `None`. A
    /// registration that exists from the first page to the last is on exactly one page, even if
    /// others begin and end in between.
    ///
    /// The order is that of places in memory. It is fixed while a registration lasts and has
    /// nothing to do with age: a new registration takes the place of one that has ended.
    ///
    /// Cost: O(n + free places passed by).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::view::PageCursor;
    ///
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::RegistrationOutcome;
    /// # use slot_manager::{InstanceId, LeaderId, SlotManager, SlotManagerConfig, SlotReport, TaskExecutorConnection};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # for worker in 1..=5 {
    /// #     let instance_id = InstanceId::from_u128(worker);
    /// #     let connection = TaskExecutorConnection::new(format!("worker-{worker}"), instance_id, ScriptedGateway::new());
    /// #     let registered = manager.register_task_manager(connection, &SlotReport::default())?;
    /// #     assert_eq!(registered, RegistrationOutcome::Registered);
    /// # }
    /// // Five task managers are registered.
    /// let mut shown = Vec::new();
    /// let mut cursor = Some(PageCursor::default());
    /// while let Some(from) = cursor {
    ///     let page = manager.task_managers_from(from, 2).map(|task_manager| task_manager.snapshot());
    ///     shown.extend(page.items);
    ///     cursor = page.next;
    /// }
    /// assert_eq!(shown.len(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task_managers_from(&self, cursor: PageCursor, n: usize) -> Page<TaskManagerRegistration<'_>> {
        let core = &self.core;
        page(&core.task_managers.records, cursor, n).map(|key| TaskManagerRegistration { core, key })
    }

    /// Returns up to `n` pending requests from a cursor on. `0` counts as `1`.
    ///
    /// The rules are those of [`task_managers_from`](Self::task_managers_from): a request that is
    /// pending from the first page to the last is on exactly one page, and the order is not that of
    /// age.
    ///
    /// Cost: O(n + free places passed by).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::view::PageCursor;
    ///
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::SlotRequestOutcome;
    /// # use slot_manager::{
    /// #     AllocationId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotRequest,
    /// # };
    /// # let config = SlotManagerConfig::default();
    /// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # for id in 1..=3 {
    /// #     let allocation_id = AllocationId::from_u128(id);
    /// #     let request = SlotRequest::new(JobId::from_u128(7), allocation_id, ResourceProfile::ZERO, "job-master-7");
    /// #     assert!(matches!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(_)));
    /// # }
    /// // Three requests are pending.
    /// let first = manager.pending_slot_requests_from(PageCursor::default(), 2);
    /// assert_eq!(first.items.len(), 2);
    ///
    /// // The cursor travels in a URL.
    /// let next = first.next.ok_or("there is another page")?.to_string();
    /// let second = manager.pending_slot_requests_from(next.parse()?, 2);
    /// assert_eq!((second.items.len(), second.next), (1, None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pending_slot_requests_from(&self, cursor: PageCursor, n: usize) -> Page<PendingSlotRequest<'_>> {
        let core = &self.core;
        page(&core.requests.records, cursor, n).map(|key| PendingSlotRequest { core, key })
    }
}

/// Returns a page of keys. It has at least one if there is any, or paging would not end.
fn page<K: Key, R>(records: &Arena<K, R>, cursor: PageCursor, n: usize) -> Page<K> {
    let (items, next) = records.page(cursor.index(), n.max(1));
    Page {
        items,
        next: next.map(PageCursor::new),
    }
}
