import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A warm-up, then the median of some iterations. */
final class Measurement {
    private static final int LEAST_WARM_UP_ITERATIONS = 2;
    private static final int LEAST_ITERATIONS = 3;
    private static final Duration LEAST_ITERATION = Duration.ofMillis(100);
    private static final Duration ENOUGH = Duration.ofSeconds(5);

    private final Workload workload;
    private final Duration warmUp;
    private final int iterations;

    Measurement(Workload workload, Duration warmUp, int iterations) {
        this.workload = workload;
        this.warmUp = warmUp;
        this.iterations = iterations;
    }

    void print() throws Exception {
        long start = System.nanoTime();
        for (int n = 0; n < LEAST_WARM_UP_ITERATIONS || !hasPassed(warmUp, start); n++) {
            iteration();
        }
        Map<String, List<Double>> samples = new LinkedHashMap<>();
        start = System.nanoTime();
        for (int n = 0; n < iterations && !(n >= LEAST_ITERATIONS && hasPassed(ENOUGH, start)); n++) {
            // Collects the garbage of one iteration outside the time of the next.
            System.gc();
            iteration()
                    .nanosecondsPerOperation()
                    .forEach((phase, sample) -> samples.computeIfAbsent(phase, name -> new ArrayList<>()).add(sample));
        }
        samples.forEach((phase, values) -> System.out.println(phase + " " + median(values)));
    }

    /** Repeats a short workload until the iteration is long enough. */
    private Clock iteration() throws Exception {
        Clock clock = new Clock();
        long start = System.nanoTime();
        do {
            workload.run(clock);
        } while (!hasPassed(LEAST_ITERATION, start));
        return clock;
    }

    private static boolean hasPassed(Duration duration, long start) {
        return System.nanoTime() - start >= duration.toNanos();
    }

    private static double median(List<Double> values) {
        values.sort(null);
        int middle = values.size() / 2;
        return values.size() % 2 == 1 ? values.get(middle) : (values.get(middle - 1) + values.get(middle)) / 2;
    }
}
