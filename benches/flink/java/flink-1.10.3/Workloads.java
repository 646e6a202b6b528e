/** The workloads on the slot manager of Flink 1.10.3. */
final class Workloads {
    static Workload find(String name, int size, int operations) {
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

    private Workloads() {}
}
