import java.time.Duration;

/**
 * Runs one workload on Flink's slot manager and prints a line for each phase: its name and the median of nanoseconds
 * per operation.
 *
 * <p>Arguments: workload, size, operations, milliseconds of warm-up, iterations.
 */
public final class Main {
    public static void main(String[] arguments) throws Exception {
        Workload workload = workload(arguments[0], Integer.parseInt(arguments[1]), Integer.parseInt(arguments[2]));
        Duration warmUp = Duration.ofMillis(Long.parseLong(arguments[3]));
        new Measurement(workload, warmUp, Integer.parseInt(arguments[4])).print();
    }

    private static Workload workload(String name, int size, int operations) {
        return switch (name) {
            case "all-slots" -> Requests.allSlots(size);
            case "in-flight", "in-flight-later" -> Requests.inFlight(size);
            case "spread-out" -> Requests.spreadOut(size, operations);
            case "churn" -> Churn.alone(size, operations);
            case "churn-others-wait" -> Churn.othersWait(size, operations);
            case "churn-others-in-flight" -> Churn.othersInFlight(size, operations);
            case "waiting" -> Waiting.cancelled(size, operations);
            case "due" -> Waiting.due(size);
            case "drain-1" -> Matching.drain(size, 1);
            case "drain-100" -> Matching.drain(size, 100);
            case "largest" -> Matching.onlyTheLargestFits(size, operations);
            case "report" -> TaskManagers.unchangedReports(size, operations);
            case "unregister" -> TaskManagers.unregister(size);
            default -> throw new IllegalArgumentException("no such workload: " + name);
        };
    }

    private Main() {}
}
