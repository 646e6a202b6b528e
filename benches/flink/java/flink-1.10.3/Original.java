import java.util.List;
import org.apache.flink.api.common.time.Time;
import org.apache.flink.runtime.resourcemanager.ResourceManagerId;
import org.apache.flink.runtime.resourcemanager.SlotRequest;
import org.apache.flink.runtime.resourcemanager.slotmanager.AnyMatchingSlotMatchingStrategy;
import org.apache.flink.runtime.resourcemanager.slotmanager.SlotManagerImpl;
import org.apache.flink.runtime.resourcemanager.slotmanager.SlotMatchingStrategy;

/** Flink's slot manager, started, and its surroundings. */
final class Original {
    private static final Time NEVER = Time.days(1);
    private static final ResourceManagerId LEADER = ResourceManagerId.generate();

    final Outside.Actions actions = new Outside.Actions();
    final SlotManagerImpl manager;
    private final Outside.Timers timers = new Outside.Timers();

    Original() {
        this(AnyMatchingSlotMatchingStrategy.INSTANCE, NEVER);
    }

    Original(SlotMatchingStrategy strategy) {
        this(strategy, NEVER);
    }

    Original(Time requestTimeout) {
        this(AnyMatchingSlotMatchingStrategy.INSTANCE, requestTimeout);
    }

    private Original(SlotMatchingStrategy strategy, Time requestTimeout) {
        manager = new SlotManagerImpl(strategy, timers, NEVER, requestTimeout, NEVER, true);
        manager.start(LEADER, Runnable::run, actions);
        // Lets requests wait that no registered slot fits.
        manager.setFailUnfulfillableRequest(false);
    }

    void register(List<Messages.TaskManager> taskManagers) {
        for (Messages.TaskManager taskManager : taskManagers) {
            manager.registerTaskManager(taskManager.connection(), taskManager.report());
        }
    }

    void request(SlotRequest[] requests) throws Exception {
        for (SlotRequest request : requests) {
            manager.registerSlotRequest(request);
        }
    }

    void checkRequestTimeouts() {
        timers.periodic.get(1).run();
    }
}
