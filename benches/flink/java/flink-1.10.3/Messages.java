import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.IntFunction;
import java.util.function.IntPredicate;
import org.apache.flink.api.common.JobID;
import org.apache.flink.runtime.clusterframework.types.AllocationID;
import org.apache.flink.runtime.clusterframework.types.ResourceID;
import org.apache.flink.runtime.clusterframework.types.ResourceProfile;
import org.apache.flink.runtime.clusterframework.types.SlotID;
import org.apache.flink.runtime.resourcemanager.SlotRequest;
import org.apache.flink.runtime.resourcemanager.registration.TaskExecutorConnection;
import org.apache.flink.runtime.taskexecutor.SlotReport;
import org.apache.flink.runtime.taskexecutor.SlotStatus;

/** Messages of the cluster. */
final class Messages {
    static final int SLOTS_PER_TASK_MANAGER = 10;

    /** A registration: its connection and its first report. */
    record TaskManager(TaskExecutorConnection connection, SlotReport report) {}

    private static final JobID JOB = new JobID(0, 0x10b);
    private static final JobID EARLIER_JOB = new JobID(0, 0xea711e7);
    private static final SplittableRandom RANDOM = new SplittableRandom(5810);

    static ResourceProfile usualProfile() {
        return profile(1, 1024);
    }

    /** Returns a profile that no slot of the usual profile fits. */
    static ResourceProfile hugeProfile() {
        return profile(1000, 1 << 20);
    }

    /** Returns profile n of a series in which each has more than the one before. */
    static ResourceProfile growingProfile(int n) {
        return profile(1 + n, 1024 * (1 + n));
    }

    /** Returns profile n of {@code count} profiles that do not fit each other. */
    static ResourceProfile separateProfile(int n, int count) {
        return profile(1 + n, 1024 * (count - n));
    }

    private static ResourceProfile profile(int cores, int heapMebibytes) {
        return ResourceProfile.newBuilder().setCpuCores(cores).setTaskHeapMemoryMB(heapMebibytes).build();
    }

    static List<TaskManager> taskManagers(int slots, Gateway gateway, ResourceProfile profile) {
        return taskManagers(0, slots, gateway, slot -> profile, slot -> false);
    }

    /**
     * Returns task managers, numbered from {@code first} on, with this number of slots. Allocations from before the
     * start hold the chosen slots.
     */
    static List<TaskManager> taskManagers(
            int first, int slots, Gateway gateway, IntFunction<ResourceProfile> profile, IntPredicate isAllocated) {
        List<TaskManager> taskManagers = new ArrayList<>();
        for (int n = 0; n < slots / SLOTS_PER_TASK_MANAGER; n++) {
            ResourceID resourceId = new ResourceID(String.format("taskmanager-%07d", first + n));
            List<SlotStatus> statuses = new ArrayList<>(SLOTS_PER_TASK_MANAGER);
            for (int number = 0; number < SLOTS_PER_TASK_MANAGER; number++) {
                SlotID slotId = new SlotID(resourceId, number);
                int slot = n * SLOTS_PER_TASK_MANAGER + number;
                statuses.add(
                        isAllocated.test(slot)
                                ? new SlotStatus(slotId, profile.apply(slot), EARLIER_JOB, allocationId())
                                : new SlotStatus(slotId, profile.apply(slot)));
            }
            TaskExecutorConnection connection = new TaskExecutorConnection(resourceId, gateway);
            taskManagers.add(new TaskManager(connection, new SlotReport(statuses)));
        }
        return taskManagers;
    }

    static SlotRequest[] requests(int count, ResourceProfile profile) {
        return requests(count, number -> profile);
    }

    static SlotRequest[] requests(int count, IntFunction<ResourceProfile> profile) {
        SlotRequest[] requests = new SlotRequest[count];
        for (int number = 0; number < count; number++) {
            requests[number] =
                    new SlotRequest(JOB, allocationId(), profile.apply(number), "job-master.cluster.example:6123");
        }
        return requests;
    }

    /** Returns random numbers below a bound. */
    static int[] picks(int count, int bound) {
        return RANDOM.ints(count, 0, bound).toArray();
    }

    private static AllocationID allocationId() {
        return new AllocationID(RANDOM.nextLong(), RANDOM.nextLong());
    }

    private Messages() {}
}
