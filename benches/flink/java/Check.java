/** A workload that does something else than it says must not be measured. */
final class Check {
    static void equal(long expected, long found, String what) {
        if (expected != found) {
            throw new IllegalStateException(what + ": " + found + " instead of " + expected);
        }
    }

    private Check() {}
}
