import java.time.Duration;

/**
 * Runs one workload on a slot manager of Flink and prints a line for each phase: its name and the median of nanoseconds
 * per operation.
 *
 * <p>Arguments: workload, size, operations, milliseconds of warm-up, iterations.
 */
public final class Main {
    public static void main(String[] arguments) throws Exception {
        Workload workload = Workloads.find(arguments[0], Integer.parseInt(arguments[1]), Integer.parseInt(arguments[2]));
        Duration warmUp = Duration.ofMillis(Long.parseLong(arguments[3]));
        new Measurement(workload, warmUp, Integer.parseInt(arguments[4])).print();
    }

    private Main() {}
}
