import java.util.ArrayDeque;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.time.Time;
import org.apache.flink.runtime.clusterframework.types.AllocationID;
import org.apache.flink.runtime.clusterframework.types.ResourceProfile;
import org.apache.flink.runtime.clusterframework.types.SlotID;
import org.apache.flink.runtime.messages.Acknowledge;
import org.apache.flink.runtime.resourcemanager.ResourceManagerId;

/** All task executors: they acknowledge at once or on demand. */
final class Gateway extends UnusedGateway {
    private static final CompletableFuture<Acknowledge> ACKNOWLEDGED =
            CompletableFuture.completedFuture(Acknowledge.get());

    /** The open answers, in the order of the requests. */
    final ArrayDeque<CompletableFuture<Acknowledge>> asked = new ArrayDeque<>();

    boolean isPatient;
    SlotID lastSlotId;

    @Override
    public CompletableFuture<Acknowledge> requestSlot(
            SlotID slotId,
            JobID jobId,
            AllocationID allocationId,
            ResourceProfile profile,
            String targetAddress,
            ResourceManagerId resourceManagerId,
            Time timeout) {
        lastSlotId = slotId;
        if (!isPatient) {
            return ACKNOWLEDGED;
        }
        CompletableFuture<Acknowledge> answer = new CompletableFuture<>();
        asked.add(answer);
        return answer;
    }
}
