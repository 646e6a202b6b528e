import java.util.List;
import org.apache.flink.runtime.clusterframework.types.ResourceProfile;
import org.apache.flink.runtime.resourcemanager.SlotRequest;

/** Task managers that report and go. */
final class TaskManagers {
    /** Allocations hold every second slot, and the reports show it. */
    static Workload unchangedReports(int slots, int reports) {
        ResourceProfile profile = Messages.usualProfile();
        List<Messages.TaskManager> taskManagers =
                Messages.taskManagers(0, slots, new Gateway(), slot -> profile, slot -> slot % 2 == 1);
        return clock -> {
            Original original = new Original();
            original.register(taskManagers);
            clock.time("report", reports, () -> {
                for (int n = 0; n < reports; n += taskManagers.size()) {
                    for (Messages.TaskManager taskManager : taskManagers) {
                        original.manager.reportSlotStatus(
                                taskManager.connection().getInstanceID(), taskManager.report());
                    }
                }
            });
            Check.equal(slots / 2, original.manager.getNumberFreeSlots(), "free slots");
        };
    }

    /** All slots were requested and granted. All task managers are unregistered in the order of their registration. */
    static Workload unregister(int slots) {
        Exception cause = new Exception("its heartbeat timed out");
        List<Messages.TaskManager> taskManagers =
                Messages.taskManagers(slots, new Gateway(), Messages.usualProfile());
        SlotRequest[] requests = Messages.requests(slots, Messages.usualProfile());
        return clock -> {
            Original original = new Original();
            original.register(taskManagers);
            original.request(requests);
            Check.equal(0, original.manager.getNumberFreeSlots(), "free slots");
            clock.time("task-manager", taskManagers.size(), () -> {
                for (Messages.TaskManager taskManager : taskManagers) {
                    original.manager.unregisterTaskManager(taskManager.connection().getInstanceID(), cause);
                }
            });
            Check.equal(0, original.manager.getNumberRegisteredSlots(), "slots");
            Check.equal(slots, original.actions.failed, "failures");
        };
    }

    private TaskManagers() {}
}
