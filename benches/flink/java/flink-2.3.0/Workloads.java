/** The workloads on the slot manager of Flink 2.3.0. */
final class Workloads {
    static Workload find(String name, int size, int operations) {
        return switch (name) {
            case "declare-all" -> Declarations.all(size);
            case "declare-more" -> Declarations.oneMore(size, operations);
            case "declare-less" -> Declarations.oneLess(size, operations);
            case "dynamic-1-half" -> DynamicWorkers.lessThenMore(size, operations, 1, 50);
            case "dynamic-64-half" -> DynamicWorkers.lessThenMore(size, operations, 64, 50);
            case "dynamic-64-nearly-full" -> DynamicWorkers.lessThenMore(size, operations, 64, 95);
            default -> throw new IllegalArgumentException("no such workload: " + name);
        };
    }

    private Workloads() {}
}
