/** The workloads on the slot manager of Flink 2.3.0. */
final class Workloads {
    static Workload find(String name, int size, int operations) {
        return switch (name) {
            case "declare-all" -> Declarations.all(size);
            case "declare-more" -> Declarations.oneMore(size, operations);
            case "declare-less" -> Declarations.oneLess(size, operations);
            default -> throw new IllegalArgumentException("no such workload: " + name);
        };
    }

    private Workloads() {}
}
