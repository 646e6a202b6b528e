/** Checks that a workload did what its name promises. */
final class Check {
    static void equal(long expected, long found, String what) {
        if (expected != found) {
            throw new IllegalStateException(what + ": " + found + " instead of " + expected);
        }
    }

    private Check() {}
}
