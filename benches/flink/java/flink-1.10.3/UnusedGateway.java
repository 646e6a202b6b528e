import java.util.Set;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.time.Time;
import org.apache.flink.runtime.blob.TransientBlobKey;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.clusterframework.types.AllocationID;
import org.apache.flink.runtime.clusterframework.types.ResourceID;
import org.apache.flink.runtime.deployment.TaskDeploymentDescriptor;
import org.apache.flink.runtime.executiongraph.ExecutionAttemptID;
import org.apache.flink.runtime.executiongraph.PartitionInfo;
import org.apache.flink.runtime.io.network.partition.ResultPartitionID;
import org.apache.flink.runtime.jobmaster.AllocatedSlotReport;
import org.apache.flink.runtime.jobmaster.JobMasterId;
import org.apache.flink.runtime.messages.Acknowledge;
import org.apache.flink.runtime.messages.TaskBackPressureResponse;
import org.apache.flink.runtime.taskexecutor.FileType;
import org.apache.flink.runtime.taskexecutor.TaskExecutorGateway;
import org.apache.flink.types.SerializableOptional;

/** The calls of a task executor that no workload makes. */
abstract class UnusedGateway implements TaskExecutorGateway {
    private static UnsupportedOperationException unused() {
        return new UnsupportedOperationException();
    }

    @Override
    public CompletableFuture<TaskBackPressureResponse> requestTaskBackPressure(
            ExecutionAttemptID attempt, int request, Time timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> submitTask(TaskDeploymentDescriptor task, JobMasterId job, Time timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> updatePartitions(
            ExecutionAttemptID attempt, Iterable<PartitionInfo> partitions, Time timeout) {
        throw unused();
    }

    @Override
    public void releaseOrPromotePartitions(
            JobID job, Set<ResultPartitionID> released, Set<ResultPartitionID> promoted) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> triggerCheckpoint(
            ExecutionAttemptID attempt, long checkpoint, long time, CheckpointOptions options, boolean advance) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> confirmCheckpoint(ExecutionAttemptID attempt, long checkpoint, long time) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> cancelTask(ExecutionAttemptID attempt, Time timeout) {
        throw unused();
    }

    @Override
    public void heartbeatFromJobManager(ResourceID origin, AllocatedSlotReport report) {
        throw unused();
    }

    @Override
    public void heartbeatFromResourceManager(ResourceID origin) {
        throw unused();
    }

    @Override
    public void disconnectJobManager(JobID job, Exception cause) {
        throw unused();
    }

    @Override
    public void disconnectResourceManager(Exception cause) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> freeSlot(AllocationID allocation, Throwable cause, Time timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<TransientBlobKey> requestFileUpload(FileType file, Time timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<SerializableOptional<String>> requestMetricQueryServiceAddress(Time timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<Boolean> canBeReleased() {
        throw unused();
    }

    @Override
    public String getAddress() {
        throw unused();
    }

    @Override
    public String getHostname() {
        throw unused();
    }
}
