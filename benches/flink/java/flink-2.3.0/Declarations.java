import java.util.Arrays;
import java.util.List;
import org.apache.flink.runtime.slots.ResourceRequirements;

/** A job that declares the slots that it needs in all. The slot manager checks after each change. */
final class Declarations {
    /** The slots that a job declares one by one: those of one task manager. */
    private static final int SPARE_SLOTS = Messages.SLOTS_PER_TASK_MANAGER;

    /** A job declares all free slots, and all are served. */
    static Workload all(int slots) {
        List<Messages.TaskManager> taskManagers = Messages.taskManagers(slots, new Gateway());
        ResourceRequirements requirements = Messages.requirements(slots);
        return clock -> {
            FineGrained flink = new FineGrained();
            flink.register(taskManagers);
            clock.time("slot", slots, () -> flink.declare(requirements));
            Check.equal(0, flink.manager.getNumberFreeSlots(), "free slots");
        };
    }

    /**
     * A job that holds slots declares one more, which is served, as long as slots are free. Then it gives these back.
     */
    static Workload oneMore(int slots, int operations) {
        Gateway gateway = new Gateway();
        gateway.isRecording = true;
        List<Messages.TaskManager> taskManagers = Messages.taskManagers(slots + SPARE_SLOTS, gateway);
        ResourceRequirements first = Messages.requirements(slots);
        ResourceRequirements[] more = new ResourceRequirements[SPARE_SLOTS];
        Arrays.setAll(more, spare -> Messages.requirements(slots + 1 + spare));
        return clock -> {
            FineGrained flink = new FineGrained();
            flink.register(taskManagers);
            flink.declare(first);
            gateway.grants.clear();
            for (int n = 0; n < operations / SPARE_SLOTS; n++) {
                Check.equal(SPARE_SLOTS, flink.manager.getNumberFreeSlots(), "free slots");
                clock.time("more", SPARE_SLOTS, () -> {
                    for (ResourceRequirements requirements : more) {
                        flink.declare(requirements);
                    }
                });
                Check.equal(0, flink.manager.getNumberFreeSlots(), "free slots");
                flink.declare(first);
                while (!gateway.grants.isEmpty()) {
                    flink.free(gateway.grants.poll());
                }
            }
        };
    }

    /**
     * A job that holds all slots gives back a tenth of them: it declares one slot less and frees one, as often. Then it
     * declares all again.
     */
    static Workload oneLess(int slots, int operations) {
        int givenBack = slots / 10;
        Gateway gateway = new Gateway();
        gateway.isRecording = true;
        List<Messages.TaskManager> taskManagers = Messages.taskManagers(slots, gateway);
        ResourceRequirements all = Messages.requirements(slots);
        ResourceRequirements[] less = new ResourceRequirements[givenBack];
        Arrays.setAll(less, number -> Messages.requirements(slots - 1 - number));
        return clock -> {
            FineGrained flink = new FineGrained();
            flink.register(taskManagers);
            gateway.grants.clear();
            for (int n = 0; n < operations / givenBack; n++) {
                flink.declare(all);
                Check.equal(0, flink.manager.getNumberFreeSlots(), "free slots");
                while (gateway.grants.size() > givenBack) {
                    gateway.grants.poll();
                }
                clock.time("less", givenBack, () -> {
                    for (ResourceRequirements requirements : less) {
                        flink.declare(requirements);
                        flink.free(gateway.grants.poll());
                    }
                });
                Check.equal(givenBack, flink.manager.getNumberFreeSlots(), "free slots");
            }
        };
    }

    private Declarations() {}
}
