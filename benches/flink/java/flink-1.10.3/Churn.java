import java.util.List;
import org.apache.flink.runtime.clusterframework.types.AllocationID;
import org.apache.flink.runtime.clusterframework.types.ResourceProfile;
import org.apache.flink.runtime.clusterframework.types.SlotID;
import org.apache.flink.runtime.resourcemanager.SlotRequest;

/** Nine slots in ten are used. One of the used slots, picked at random, is freed, and one slot is requested. */
final class Churn {
    private static final int SLOTS_WHERE_OTHERS_ARE_PENDING = 10_000;
    private static final int FIRST_OF_THE_OTHERS = 1 << 20;

    /** Adds the pending requests to the slot manager. */
    private interface Others {
        void join(Original original) throws Exception;
    }

    static Workload alone(int slots, int operations) {
        return workload(new Gateway(), slots, operations, 0, original -> {});
    }

    /** Churns while requests that no slot fits wait. */
    static Workload othersWait(int waiting, int operations) {
        SlotRequest[] others = Messages.requests(waiting, Messages.hugeProfile());
        Gateway gateway = new Gateway();
        return workload(gateway, SLOTS_WHERE_OTHERS_ARE_PENDING, operations, waiting, original -> {
            original.request(others);
        });
    }

    /** Churns while requests are in flight to other task managers. */
    static Workload othersInFlight(int inFlight, int operations) {
        Gateway gateway = new Gateway();
        ResourceProfile huge = Messages.hugeProfile();
        SlotRequest[] others = Messages.requests(inFlight, Messages.hugeProfile());
        List<Messages.TaskManager> otherTaskManagers =
                Messages.taskManagers(FIRST_OF_THE_OTHERS, inFlight, gateway, slot -> huge, slot -> false);
        return workload(gateway, SLOTS_WHERE_OTHERS_ARE_PENDING, operations, inFlight, original -> {
            original.register(otherTaskManagers);
            gateway.asked.clear();
            gateway.isPatient = true;
            original.request(others);
            gateway.isPatient = false;
        });
    }

    private static Workload workload(Gateway gateway, int slots, int operations, int pending, Others others) {
        int used = slots / 10 * 9;
        List<Messages.TaskManager> taskManagers = Messages.taskManagers(slots, gateway, Messages.usualProfile());
        SlotRequest[] first = Messages.requests(used, Messages.usualProfile());
        SlotRequest[] further = Messages.requests(operations, Messages.usualProfile());
        int[] picks = Messages.picks(operations, used);
        SlotID[] slotIds = new SlotID[used];
        AllocationID[] allocationIds = new AllocationID[used];
        return clock -> {
            Original original = new Original();
            original.register(taskManagers);
            for (int n = 0; n < used; n++) {
                original.manager.registerSlotRequest(first[n]);
                slotIds[n] = gateway.lastSlotId;
                allocationIds[n] = first[n].getAllocationId();
            }
            others.join(original);
            Check.equal(pending, original.manager.getNumberPendingSlotRequests(), "pending requests");
            clock.time("both", operations, () -> {
                for (int n = 0; n < operations; n++) {
                    int pick = picks[n];
                    original.manager.freeSlot(slotIds[pick], allocationIds[pick]);
                    original.manager.registerSlotRequest(further[n]);
                    slotIds[pick] = gateway.lastSlotId;
                    allocationIds[pick] = further[n].getAllocationId();
                }
            });
            Check.equal(slots - used, original.manager.getNumberFreeSlots(), "free slots");
            Check.equal(pending, original.manager.getNumberPendingSlotRequests(), "pending requests");
        };
    }

    private Churn() {}
}
