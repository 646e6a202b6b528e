import java.util.List;
import org.apache.flink.runtime.clusterframework.types.SlotID;
import org.apache.flink.runtime.messages.Acknowledge;
import org.apache.flink.runtime.resourcemanager.SlotRequest;
import org.apache.flink.runtime.resourcemanager.slotmanager.LeastUtilizationSlotMatchingStrategy;

/** Requests that find a free slot. */
final class Requests {
    /** All slots are registered, requested, granted and freed. */
    static Workload allSlots(int slots) {
        Gateway gateway = new Gateway();
        List<Messages.TaskManager> taskManagers = Messages.taskManagers(slots, gateway, Messages.usualProfile());
        SlotRequest[] requests = Messages.requests(slots, Messages.usualProfile());
        SlotID[] granted = new SlotID[slots];
        return clock -> {
            Original original = new Original();
            clock.time("register", slots, () -> original.register(taskManagers));
            clock.time("request", slots, () -> {
                for (int n = 0; n < slots; n++) {
                    original.manager.registerSlotRequest(requests[n]);
                    granted[n] = gateway.lastSlotId;
                }
            });
            Check.equal(0, original.manager.getNumberFreeSlots(), "free slots");
            Check.equal(0, original.manager.getNumberPendingSlotRequests(), "pending requests");
            clock.time("free", slots, () -> {
                for (int n = 0; n < slots; n++) {
                    original.manager.freeSlot(granted[n], requests[n].getAllocationId());
                }
            });
            Check.equal(slots, original.manager.getNumberFreeSlots(), "free slots");
        };
    }

    /** All slots are requested before any task executor answers. Then all answers arrive. */
    static Workload inFlight(int slots) {
        Gateway gateway = new Gateway();
        gateway.isPatient = true;
        List<Messages.TaskManager> taskManagers = Messages.taskManagers(slots, gateway, Messages.usualProfile());
        SlotRequest[] requests = Messages.requests(slots, Messages.usualProfile());
        return clock -> {
            Original original = new Original();
            original.register(taskManagers);
            clock.time("both", slots, () -> original.request(requests));
            Check.equal(slots, original.manager.getNumberPendingSlotRequests(), "pending requests");
            clock.time("both", 0, () -> {
                while (!gateway.asked.isEmpty()) {
                    gateway.asked.poll().complete(Acknowledge.get());
                }
            });
            Check.equal(0, original.manager.getNumberPendingSlotRequests(), "pending requests");
        };
    }

    /** Each request takes a slot of the least used task manager. */
    static Workload spreadOut(int slots, int operations) {
        Gateway gateway = new Gateway();
        List<Messages.TaskManager> taskManagers = Messages.taskManagers(slots, gateway, Messages.usualProfile());
        SlotRequest[] requests = Messages.requests(operations, Messages.usualProfile());
        return clock -> {
            Original original = new Original(LeastUtilizationSlotMatchingStrategy.INSTANCE);
            original.register(taskManagers);
            clock.time("request", operations, () -> original.request(requests));
            Check.equal(slots - operations, original.manager.getNumberFreeSlots(), "free slots");
        };
    }

    private Requests() {}
}
