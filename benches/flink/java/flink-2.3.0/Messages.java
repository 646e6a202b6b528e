import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.JobID;
import org.apache.flink.runtime.clusterframework.types.ResourceID;
import org.apache.flink.runtime.clusterframework.types.ResourceProfile;
import org.apache.flink.runtime.clusterframework.types.SlotID;
import org.apache.flink.runtime.resourcemanager.registration.TaskExecutorConnection;
import org.apache.flink.runtime.slots.ResourceRequirement;
import org.apache.flink.runtime.slots.ResourceRequirements;
import org.apache.flink.runtime.taskexecutor.SlotReport;
import org.apache.flink.runtime.taskexecutor.SlotStatus;

/** Messages of the cluster. */
final class Messages {
    static final int SLOTS_PER_TASK_MANAGER = 10;

    /** A registration: its connection, its first report, and the resources of the task manager and of a slot. */
    record TaskManager(
            TaskExecutorConnection connection, SlotReport report, ResourceProfile total, ResourceProfile slot) {}

    private static final JobID JOB = new JobID(0, 0x10b);

    static ResourceProfile usualProfile() {
        return ResourceProfile.newBuilder().setCpuCores(1).setTaskHeapMemoryMB(1024).build();
    }

    /** Returns task managers with this number of free slots of the usual profile. */
    static List<TaskManager> taskManagers(int slots, Gateway gateway) {
        ResourceProfile slot = usualProfile();
        ResourceProfile total = slot.multiply(SLOTS_PER_TASK_MANAGER);
        List<TaskManager> taskManagers = new ArrayList<>();
        for (int n = 0; n < slots / SLOTS_PER_TASK_MANAGER; n++) {
            ResourceID resourceId = new ResourceID(String.format("taskmanager-%07d", n));
            List<SlotStatus> statuses = new ArrayList<>(SLOTS_PER_TASK_MANAGER);
            for (int number = 0; number < SLOTS_PER_TASK_MANAGER; number++) {
                statuses.add(new SlotStatus(new SlotID(resourceId, number), slot));
            }
            TaskExecutorConnection connection = new TaskExecutorConnection(resourceId, gateway);
            taskManagers.add(new TaskManager(connection, new SlotReport(statuses), total, slot));
        }
        return taskManagers;
    }

    /** Returns the declaration of a job that needs this number of slots of the usual profile. */
    static ResourceRequirements requirements(int slots) {
        List<ResourceRequirement> requirements = List.of(ResourceRequirement.create(usualProfile(), slots));
        return ResourceRequirements.create(JOB, "job-master.cluster.example:6123", requirements);
    }

    private Messages() {}
}
