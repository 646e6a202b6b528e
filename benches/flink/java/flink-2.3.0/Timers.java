import java.util.ArrayDeque;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Delayed;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import org.apache.flink.util.concurrent.ScheduledExecutor;

/** Runs nothing by itself: the workload runs what was scheduled once. Periodic checks never run. */
final class Timers implements ScheduledExecutor {
    private final ArrayDeque<Runnable> scheduled = new ArrayDeque<>();

    /** Runs what was scheduled, in the order of the calls, until nothing is left. */
    void run() {
        for (Runnable command = scheduled.poll(); command != null; command = scheduled.poll()) {
            command.run();
        }
    }

    @Override
    public ScheduledFuture<?> schedule(Runnable command, long delay, TimeUnit unit) {
        scheduled.add(command);
        return new Scheduled<>();
    }

    @Override
    public <V> ScheduledFuture<V> schedule(Callable<V> callable, long delay, TimeUnit unit) {
        throw new UnsupportedOperationException();
    }

    @Override
    public ScheduledFuture<?> scheduleWithFixedDelay(Runnable command, long initial, long delay, TimeUnit unit) {
        return new Scheduled<>();
    }

    @Override
    public ScheduledFuture<?> scheduleAtFixedRate(Runnable command, long initial, long period, TimeUnit unit) {
        return new Scheduled<>();
    }

    @Override
    public void execute(Runnable command) {
        command.run();
    }

    private static final class Scheduled<V> extends CompletableFuture<V> implements ScheduledFuture<V> {
        @Override
        public long getDelay(TimeUnit unit) {
            return 0;
        }

        @Override
        public int compareTo(Delayed other) {
            return 0;
        }
    }
}
