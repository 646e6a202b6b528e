/** A measured workload. Its messages exist before it runs, and each run begins with a new slot manager. */
interface Workload {
    void run(Clock clock) throws Exception;
}
