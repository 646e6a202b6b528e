import java.time.Duration;
import java.util.ArrayDeque;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.api.common.ApplicationID;
import org.apache.flink.api.common.JobID;
import org.apache.flink.runtime.clusterframework.types.AllocationID;
import org.apache.flink.runtime.clusterframework.types.ResourceProfile;
import org.apache.flink.runtime.clusterframework.types.SlotID;
import org.apache.flink.runtime.messages.Acknowledge;
import org.apache.flink.runtime.resourcemanager.ResourceManagerId;

/** All task executors: they acknowledge at once. */
final class Gateway extends UnusedGateway {
    private static final CompletableFuture<Acknowledge> ACKNOWLEDGED =
            CompletableFuture.completedFuture(Acknowledge.get());

    /** A requested slot, and the job and allocation that it was requested for. */
    record Grant(JobID jobId, SlotID slotId, AllocationID allocationId) {}

    /** The recorded grants, in the order of the requests. */
    final ArrayDeque<Grant> grants = new ArrayDeque<>();

    boolean isRecording;

    @Override
    public CompletableFuture<Acknowledge> requestSlot(
            SlotID slotId,
            JobID jobId,
            ApplicationID applicationId,
            AllocationID allocationId,
            ResourceProfile profile,
            String targetAddress,
            ResourceManagerId resourceManagerId,
            Duration timeout) {
        if (isRecording) {
            grants.add(new Grant(jobId, slotId, allocationId));
        }
        return ACKNOWLEDGED;
    }
}
