import org.apache.flink.api.common.time.Time;
import org.apache.flink.runtime.resourcemanager.SlotRequest;

/** Requests that wait where there is no slot. */
final class Waiting {
    /** Requests are registered and wait, timeouts are checked while none is due, and the requests are cancelled. */
    static Workload cancelled(int waiting, int checks) {
        SlotRequest[] requests = Messages.requests(waiting, Messages.usualProfile());
        return clock -> {
            Original original = new Original();
            clock.time("both", waiting, () -> original.request(requests));
            clock.time("check", checks, () -> {
                for (int n = 0; n < checks; n++) {
                    original.checkRequestTimeouts();
                }
            });
            Check.equal(waiting, original.manager.getNumberPendingSlotRequests(), "pending requests");
            clock.time("both", 0, () -> {
                for (SlotRequest request : requests) {
                    original.manager.unregisterSlotRequest(request.getAllocationId());
                }
            });
            Check.equal(0, original.manager.getNumberPendingSlotRequests(), "pending requests");
        };
    }

    /** The timeouts of all requests are due. */
    static Workload due(int waiting) {
        SlotRequest[] requests = Messages.requests(waiting, Messages.usualProfile());
        return clock -> {
            Original original = new Original(Time.milliseconds(1));
            original.request(requests);
            Thread.sleep(2);
            clock.time("request", waiting, original::checkRequestTimeouts);
            Check.equal(0, original.manager.getNumberPendingSlotRequests(), "pending requests");
            Check.equal(waiting, original.actions.failed, "failures");
        };
    }

    private Waiting() {}
}
