import java.time.Duration;
import java.util.Collection;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.api.common.JobID;
import org.apache.flink.runtime.blob.TransientBlobKey;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.clusterframework.types.AllocationID;
import org.apache.flink.runtime.clusterframework.types.ResourceID;
import org.apache.flink.runtime.deployment.TaskDeploymentDescriptor;
import org.apache.flink.runtime.executiongraph.ExecutionAttemptID;
import org.apache.flink.runtime.executiongraph.PartitionInfo;
import org.apache.flink.runtime.io.network.partition.ResultPartitionID;
import org.apache.flink.runtime.jobgraph.IntermediateDataSetID;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.runtime.jobmaster.AllocatedSlotReport;
import org.apache.flink.runtime.jobmaster.JobMasterId;
import org.apache.flink.runtime.messages.Acknowledge;
import org.apache.flink.runtime.messages.TaskThreadInfoResponse;
import org.apache.flink.runtime.operators.coordination.OperatorEvent;
import org.apache.flink.runtime.resourcemanager.ResourceManagerId;
import org.apache.flink.runtime.rest.messages.LogInfo;
import org.apache.flink.runtime.rest.messages.ProfilingInfo;
import org.apache.flink.runtime.rest.messages.ThreadDumpInfo;
import org.apache.flink.runtime.taskexecutor.FileType;
import org.apache.flink.runtime.taskexecutor.TaskExecutorGateway;
import org.apache.flink.runtime.webmonitor.threadinfo.ThreadInfoSamplesRequest;
import org.apache.flink.types.SerializableOptional;
import org.apache.flink.util.SerializedValue;

/** The calls of a task executor that no workload makes. */
abstract class UnusedGateway implements TaskExecutorGateway {
    private static UnsupportedOperationException unused() {
        return new UnsupportedOperationException();
    }

    @Override
    public CompletableFuture<Acknowledge> submitTask(
            TaskDeploymentDescriptor task, JobMasterId job, Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> updatePartitions(
            ExecutionAttemptID attempt, Iterable<PartitionInfo> partitions, Duration timeout) {
        throw unused();
    }

    @Override
    public void releasePartitions(JobID job, Set<ResultPartitionID> released) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> promotePartitions(JobID job, Set<ResultPartitionID> promoted) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> releaseClusterPartitions(
            Collection<IntermediateDataSetID> released, Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> triggerCheckpoint(
            ExecutionAttemptID attempt, long checkpoint, long time, CheckpointOptions options) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> confirmCheckpoint(
            ExecutionAttemptID attempt, long completed, long completedTime, long subsumed) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> abortCheckpoint(
            ExecutionAttemptID attempt, long checkpoint, long latestCompleted, long time) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> cancelTask(ExecutionAttemptID attempt, Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<Void> heartbeatFromJobManager(ResourceID origin, AllocatedSlotReport report) {
        throw unused();
    }

    @Override
    public CompletableFuture<Void> heartbeatFromResourceManager(ResourceID origin) {
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
    public CompletableFuture<Acknowledge> freeSlot(AllocationID allocation, Throwable cause, Duration timeout) {
        throw unused();
    }

    @Override
    public void freeInactiveSlots(JobID job, Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<TransientBlobKey> requestFileUploadByType(FileType file, Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<TransientBlobKey> requestFileUploadByName(String file, Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<TransientBlobKey> requestFileUploadByNameAndType(
            String file, FileType type, Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<SerializableOptional<String>> requestMetricQueryServiceAddress(Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<Boolean> canBeReleased() {
        throw unused();
    }

    @Override
    public CompletableFuture<Collection<LogInfo>> requestLogList(Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> sendOperatorEventToTask(
            ExecutionAttemptID attempt, OperatorID operator, SerializedValue<OperatorEvent> event) {
        throw unused();
    }

    @Override
    public CompletableFuture<ThreadDumpInfo> requestThreadDump(Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<TaskThreadInfoResponse> requestThreadInfoSamples(
            Collection<ExecutionAttemptID> attempts, ThreadInfoSamplesRequest request, Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<Acknowledge> updateDelegationTokens(ResourceManagerId resourceManager, byte[] tokens) {
        throw unused();
    }

    @Override
    public CompletableFuture<ProfilingInfo> requestProfiling(
            int seconds, ProfilingInfo.ProfilingMode mode, Duration timeout) {
        throw unused();
    }

    @Override
    public CompletableFuture<Collection<ProfilingInfo>> requestProfilingList(Duration timeout) {
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
