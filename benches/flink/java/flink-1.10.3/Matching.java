import java.util.List;
import org.apache.flink.runtime.clusterframework.types.ResourceProfile;
import org.apache.flink.runtime.resourcemanager.SlotRequest;

/** Slots and requests of different profiles. */
final class Matching {
    private static final int GROWING_PROFILES = 100;

    /** Requests of several profiles wait; task managers register until all are served. */
    static Workload drain(int waiting, int profiles) {
        ResourceProfile[] ofSlots = separateProfiles(profiles);
        ResourceProfile[] ofRequests = separateProfiles(profiles);
        SlotRequest[] requests = Messages.requests(waiting, number -> ofRequests[number % profiles]);
        List<Messages.TaskManager> taskManagers =
                Messages.taskManagers(0, waiting, new Gateway(), slot -> ofSlots[slot % profiles], slot -> false);
        return clock -> {
            Original original = new Original();
            original.request(requests);
            Check.equal(waiting, original.manager.getNumberPendingSlotRequests(), "pending requests");
            clock.time("slot", waiting, () -> original.register(taskManagers));
            Check.equal(0, original.manager.getNumberPendingSlotRequests(), "pending requests");
            Check.equal(0, original.manager.getNumberFreeSlots(), "free slots");
        };
    }

    /** Free slots, the smallest first and free for the longest time. One of the largest is requested and freed. */
    static Workload onlyTheLargestFits(int slots, int operations) {
        Gateway gateway = new Gateway();
        ResourceProfile[] profiles = new ResourceProfile[GROWING_PROFILES];
        for (int n = 0; n < GROWING_PROFILES; n++) {
            profiles[n] = Messages.growingProfile(n);
        }
        List<Messages.TaskManager> taskManagers =
                Messages.taskManagers(
                        0, slots, gateway, slot -> profiles[slot * GROWING_PROFILES / slots], slot -> false);
        SlotRequest[] requests = Messages.requests(operations, Messages.growingProfile(GROWING_PROFILES - 1));
        return clock -> {
            Original original = new Original();
            original.register(taskManagers);
            clock.time("both", operations, () -> {
                for (SlotRequest request : requests) {
                    original.manager.registerSlotRequest(request);
                    original.manager.freeSlot(gateway.lastSlotId, request.getAllocationId());
                }
            });
            Check.equal(slots, original.manager.getNumberFreeSlots(), "free slots");
        };
    }

    private static ResourceProfile[] separateProfiles(int count) {
        ResourceProfile[] profiles = new ResourceProfile[count];
        for (int n = 0; n < count; n++) {
            profiles[n] = Messages.separateProfile(n, count);
        }
        return profiles;
    }

    private Matching() {}
}
