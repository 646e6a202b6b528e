import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.JobID;
import org.apache.flink.runtime.slots.ResourceRequirements;

/**
 * Jobs that declare slots of dynamic workers, which are half used or nearly full. Each job declares slots of one shape.
 * The slot manager checks after each change.
 */
final class DynamicWorkers {
    /** The slots that are given back one by one, before as many are declared again. */
    private static final int BATCH = 16;

    /** The distance from one given back slot to the next, so that the gaps are spread over the workers. */
    private static final int STRIDE = 1_000_003;

    /**
     * Jobs hold slots with a percentage of all cores. For each slot of a batch, a job declares one less and frees it.
     * Then they declare these again, one by one, and all are served.
     */
    static Workload lessThenMore(int workers, int operations, int jobs, int percent) {
        Gateway gateway = new Gateway();
        gateway.isRecording = true;
        List<Messages.TaskManager> taskManagers = Messages.dynamicWorkers(workers, gateway);
        int held = slotsInUse(workers * Messages.QUARTERS_PER_WORKER * percent / 100, jobs);
        List<List<ResourceRequirements>> declarations = new ArrayList<>();
        for (int job = 0; job < jobs; job++) {
            declarations.add(declarations(job, jobs, held));
        }
        List<ResourceRequirements> all = declarations.stream().map(withMissing -> withMissing.get(0)).toList();
        return clock -> {
            FineGrained flink = new FineGrained();
            flink.register(taskManagers);
            gateway.grants.clear();
            flink.declareAll(all);
            Check.equal(held, gateway.grants.size(), "granted slots");
            // Slot n is slot n / jobs of job n % jobs.
            List<List<Gateway.Grant>> slots = byJob(gateway, jobs);
            for (int start = 0; start < operations / BATCH; start++) {
                int[] batch = new int[BATCH];
                int[] missing = new int[jobs];
                List<ResourceRequirements> less = new ArrayList<>();
                List<ResourceRequirements> more = new ArrayList<>();
                List<Gateway.Grant> freed = new ArrayList<>();
                for (int n = 0; n < BATCH; n++) {
                    batch[n] = (int) ((long) (start * BATCH + n) * STRIDE % held);
                    int job = batch[n] % jobs;
                    more.add(0, declarations.get(job).get(missing[job]));
                    missing[job]++;
                    less.add(declarations.get(job).get(missing[job]));
                    freed.add(slots.get(job).get(batch[n] / jobs));
                }
                long free = flink.freeQuarters();
                clock.time("less", BATCH, () -> {
                    for (int n = 0; n < BATCH; n++) {
                        flink.declare(less.get(n));
                        flink.free(freed.get(n));
                    }
                });
                long given = 0;
                for (int slot : batch) {
                    given += Messages.quartersOfShape(slot % jobs, jobs);
                }
                Check.equal(free + given, flink.freeQuarters(), "free quarters of cores");
                clock.time("more", BATCH, () -> {
                    for (ResourceRequirements requirements : more) {
                        flink.declare(requirements);
                    }
                });
                Check.equal(free, flink.freeQuarters(), "free quarters of cores");
                Check.equal(BATCH, gateway.grants.size(), "granted slots");
                for (int n = BATCH - 1; n >= 0; n--) {
                    slots.get(batch[n] % jobs).set(batch[n] / jobs, gateway.grants.poll());
                }
            }
        };
    }

    /** Takes the recorded grants and returns those of each job. */
    private static List<List<Gateway.Grant>> byJob(Gateway gateway, int jobs) {
        Map<JobID, List<Gateway.Grant>> byId = new HashMap<>();
        while (!gateway.grants.isEmpty()) {
            Gateway.Grant grant = gateway.grants.poll();
            byId.computeIfAbsent(grant.jobId(), id -> new ArrayList<>()).add(grant);
        }
        List<List<Gateway.Grant>> result = new ArrayList<>();
        for (int job = 0; job < jobs; job++) {
            result.add(byId.get(Messages.jobId(job)));
        }
        return result;
    }

    /** Returns the number of slots that use so many quarters of cores. */
    private static int slotsInUse(int quarters, int jobs) {
        int used = 0;
        int slots = 0;
        while (true) {
            used += Messages.quartersOfShape(slots % jobs, jobs);
            if (used > quarters) {
                return slots;
            }
            slots++;
        }
    }

    /** Returns the declarations of a job in which 0, 1 and up to a batch of its slots are missing. */
    private static List<ResourceRequirements> declarations(int job, int jobs, int held) {
        int slots = (held - job + jobs - 1) / jobs;
        List<ResourceRequirements> result = new ArrayList<>();
        for (int missing = 0; missing < Math.min(BATCH + 1, slots); missing++) {
            result.add(Messages.requirementsOfJob(job, jobs, slots - missing));
        }
        return result;
    }

    private DynamicWorkers() {}
}
