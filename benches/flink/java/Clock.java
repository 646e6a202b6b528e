import java.util.LinkedHashMap;
import java.util.Map;

/** Sums of operations and time by the phases of a workload. */
final class Clock {
    interface Work {
        void run() throws Exception;
    }

    private static final class Phase {
        long operations;
        long nanoseconds;
    }

    private final Map<String, Phase> phases = new LinkedHashMap<>();

    void time(String phase, long operations, Work work) throws Exception {
        long start = System.nanoTime();
        work.run();
        long nanoseconds = System.nanoTime() - start;
        Phase sum = phases.computeIfAbsent(phase, name -> new Phase());
        sum.operations += operations;
        sum.nanoseconds += nanoseconds;
    }

    /** Returns the nanoseconds per operation of each phase. */
    Map<String, Double> nanosecondsPerOperation() {
        Map<String, Double> result = new LinkedHashMap<>();
        phases.forEach((name, phase) -> result.put(name, (double) phase.nanoseconds / phase.operations));
        return result;
    }
}
