import java.math.BigDecimal;
import java.time.Duration;
import java.util.List;
import org.apache.flink.api.common.resources.CPUResource;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.TaskManagerOptions.TaskManagerLoadBalanceMode;
import org.apache.flink.runtime.clusterframework.types.ResourceProfile;
import org.apache.flink.runtime.metrics.groups.UnregisteredMetricGroups;
import org.apache.flink.runtime.resourcemanager.ResourceManagerId;
import org.apache.flink.runtime.resourcemanager.WorkerResourceSpec;
import org.apache.flink.runtime.resourcemanager.slotmanager.DefaultResourceAllocationStrategy;
import org.apache.flink.runtime.resourcemanager.slotmanager.DefaultResourceTracker;
import org.apache.flink.runtime.resourcemanager.slotmanager.DefaultSlotStatusSyncer;
import org.apache.flink.runtime.resourcemanager.slotmanager.FineGrainedSlotManager;
import org.apache.flink.runtime.resourcemanager.slotmanager.FineGrainedTaskManagerTracker;
import org.apache.flink.runtime.resourcemanager.slotmanager.NonSupportedResourceAllocatorImpl;
import org.apache.flink.runtime.resourcemanager.slotmanager.SlotManagerConfiguration;
import org.apache.flink.runtime.slots.ResourceRequirements;

/**
 * Flink's slot manager for declared requirements, started, and its surroundings: a cluster with a fixed number of
 * workers. It checks the requirements after each change.
 */
final class FineGrained {
    private static final Duration NEVER = Duration.ofDays(1);
    /** The default. The workload does not wait for it. */
    private static final Duration CHECK_DELAY = Duration.ofMillis(50);
    private static final ResourceManagerId LEADER = ResourceManagerId.generate();
    private static final int SLOTS = Messages.SLOTS_PER_TASK_MANAGER;
    private static final ResourceProfile TOTAL = Messages.usualProfile().multiply(SLOTS);
    private static final CPUResource NO_CORES = new CPUResource(0);
    private static final TaskManagerLoadBalanceMode FIRST_FIT = TaskManagerLoadBalanceMode.NONE;

    final FineGrainedSlotManager manager;
    private final Timers timers = new Timers();

    FineGrained() {
        manager =
                new FineGrainedSlotManager(
                        timers,
                        configuration(),
                        UnregisteredMetricGroups.createUnregisteredSlotManagerMetricGroup(),
                        new DefaultResourceTracker(),
                        new FineGrainedTaskManagerTracker(),
                        new DefaultSlotStatusSyncer(NEVER),
                        new DefaultResourceAllocationStrategy(
                                TOTAL, SLOTS, FIRST_FIT, NEVER, 0, NO_CORES, MemorySize.ZERO));
        manager.start(
                LEADER,
                Runnable::run,
                NonSupportedResourceAllocatorImpl.INSTANCE,
                (jobId, acquired) -> {
                    throw new IllegalStateException("the job lacks slots");
                },
                resourceId -> false);
    }

    private static SlotManagerConfiguration configuration() {
        return new SlotManagerConfiguration(
                NEVER,
                NEVER,
                CHECK_DELAY,
                CHECK_DELAY,
                FIRST_FIT,
                WorkerResourceSpec.fromTotalResourceProfile(TOTAL, SLOTS),
                SLOTS,
                0,
                Integer.MAX_VALUE,
                NO_CORES,
                new CPUResource(Integer.MAX_VALUE),
                MemorySize.ZERO,
                MemorySize.MAX_VALUE,
                0);
    }

    void register(List<Messages.TaskManager> taskManagers) {
        for (Messages.TaskManager taskManager : taskManagers) {
            manager.registerTaskManager(
                    taskManager.connection(), taskManager.report(), taskManager.total(), taskManager.slot());
        }
        timers.run();
    }

    void declare(ResourceRequirements requirements) {
        manager.processResourceRequirements(requirements);
        timers.run();
    }

    /** Declares the requirements of several jobs, and checks them in one go. */
    void declareAll(List<ResourceRequirements> ofJobs) {
        ofJobs.forEach(manager::processResourceRequirements);
        timers.run();
    }

    void free(Gateway.Grant grant) {
        manager.freeSlot(grant.slotId(), grant.allocationId());
        timers.run();
    }

    /** Returns the free quarters of cores of all workers. */
    long freeQuarters() {
        return manager.getFreeResource().getCpuCores().getValue().multiply(BigDecimal.valueOf(4)).longValueExact();
    }
}
