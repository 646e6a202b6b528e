/** What is measured. Its messages exist before it runs; every run begins with a new slot manager. */
interface Workload {
    void run(Clock clock) throws Exception;
}
