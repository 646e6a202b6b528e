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

    /** A dynamic worker has 16 cores. Slots have multiples of a quarter. */
    static final int QUARTERS_PER_WORKER = 64;

    private static final ResourceProfile TOTAL_OF_DYNAMIC = resources(QUARTERS_PER_WORKER, 64);
    private static final String JOB_MASTER = "job-master.cluster.example:6123";
    private static final JobID JOB = new JobID(0, 0x10b);

    static ResourceProfile usualProfile() {
        return resources(4, 1);
    }

    private static ResourceProfile resources(int quartersOfCores, int gibibytes) {
        return ResourceProfile.newBuilder()
                .setCpuCores(0.25 * quartersOfCores)
                .setTaskHeapMemoryMB(1024 * gibibytes)
                .build();
    }

    /** Returns the quarters of cores of shape {@code n} of a slot of a dynamic worker, of {@code shapes}. */
    static int quartersOfShape(int n, int shapes) {
        return shapes == 1 ? 4 : 1 + n % 16;
    }

    /** Returns shape {@code n}, all different: up to four cores, and, out of proportion, one to four GiB. */
    private static ResourceProfile shape(int n, int shapes) {
        return resources(quartersOfShape(n, shapes), shapes == 1 ? 4 : 1 + n / 16);
    }

    /** Returns task managers with this number of free slots of the usual profile. */
    static List<TaskManager> taskManagers(int slots, Gateway gateway) {
        ResourceProfile slot = usualProfile();
        ResourceProfile total = slot.multiply(SLOTS_PER_TASK_MANAGER);
        List<TaskManager> taskManagers = new ArrayList<>();
        for (int n = 0; n < slots / SLOTS_PER_TASK_MANAGER; n++) {
            ResourceID resourceId = resourceId(n);
            List<SlotStatus> statuses = new ArrayList<>(SLOTS_PER_TASK_MANAGER);
            for (int number = 0; number < SLOTS_PER_TASK_MANAGER; number++) {
                statuses.add(new SlotStatus(new SlotID(resourceId, number), slot));
            }
            TaskExecutorConnection connection = new TaskExecutorConnection(resourceId, gateway);
            taskManagers.add(new TaskManager(connection, new SlotReport(statuses), total, slot));
        }
        return taskManagers;
    }

    /** Returns dynamic workers without slots. */
    static List<TaskManager> dynamicWorkers(int count, Gateway gateway) {
        List<TaskManager> workers = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            TaskExecutorConnection connection = new TaskExecutorConnection(resourceId(n), gateway);
            workers.add(new TaskManager(connection, new SlotReport(), TOTAL_OF_DYNAMIC, usualProfile()));
        }
        return workers;
    }

    private static ResourceID resourceId(int n) {
        return new ResourceID(String.format("taskmanager-%07d", n));
    }

    /** Returns the declaration of a job that needs this number of slots of the usual profile. */
    static ResourceRequirements requirements(int slots) {
        return requirements(JOB, usualProfile(), slots);
    }

    /** Returns the declaration of job {@code n} of several, which needs this number of slots of its shape. */
    static ResourceRequirements requirementsOfJob(int n, int jobs, int slots) {
        return requirements(jobId(n), shape(n, jobs), slots);
    }

    static JobID jobId(int n) {
        return new JobID(n, 0x10b);
    }

    private static ResourceRequirements requirements(JobID jobId, ResourceProfile profile, int slots) {
        return ResourceRequirements.create(jobId, JOB_MASTER, List.of(ResourceRequirement.create(profile, slots)));
    }

    private Messages() {}
}
