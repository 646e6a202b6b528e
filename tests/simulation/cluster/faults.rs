//! The kinds of faults, and their counts.

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    RequestLost,
    AnswerLost,
    ConnectionBroken,
    OtherMessageLost,
    MessageDuplicated,
    MessageDelayed,
    MessageReordered,
    MalformedReport,
    Crashed,
    Hung,
    Restarted,
    SlotTableChanged,
    TaskManagerDeclaredDead,
    LeadershipMoved,
    DrivenLate,
    WorkerDeclined,
    WorkerRefused,
    PromiseBroken,
    WorkerLate,
    ReleaseDeclined,
    PromiseBeyondLimit,
    WorkerWithdrawn,
    WithdrawnTooLate,
    WithdrawnWorkerCame,
    RegistrationRefused,
    RegistrationSuperseded,
    ReleaseRefused,
    ReleaseAnswerLate,
    ReleaseAnswerVoid,
    WorkerBlocked,
    WorkerUnblocked,
    UnfulfillableSwitched,
    RequestUnfulfillable,
    AnswerVoid,
    FreedOutdated,
    PromiseOfFormerLeaderNamed,
    LeaseNotRenewed,
    LeaderStopped,
    InputAfterLease,
    LeadershipResumed,
    WorkersExpected,
    WorkerRefusedSlot,
    WorkerUnreachable,
    WorkerSilent,
    JobPoisoned,
    WorkerShort,
    WorkerUnnamed,
    DeclarationStale,
    DeclarationRefused,
    Shortage,
    InactiveSlotFreed,
    ResourcesChanged,
    ResourcesWithheld,
    ResourcesInsufficient,
}

impl Fault {
    pub(crate) const ALL: [Self; 54] = [
        Self::RequestLost,
        Self::AnswerLost,
        Self::ConnectionBroken,
        Self::OtherMessageLost,
        Self::MessageDuplicated,
        Self::MessageDelayed,
        Self::MessageReordered,
        Self::MalformedReport,
        Self::Crashed,
        Self::Hung,
        Self::Restarted,
        Self::SlotTableChanged,
        Self::TaskManagerDeclaredDead,
        Self::LeadershipMoved,
        Self::DrivenLate,
        Self::WorkerDeclined,
        Self::WorkerRefused,
        Self::PromiseBroken,
        Self::WorkerLate,
        Self::ReleaseDeclined,
        Self::PromiseBeyondLimit,
        Self::WorkerWithdrawn,
        Self::WithdrawnTooLate,
        Self::WithdrawnWorkerCame,
        Self::RegistrationRefused,
        Self::RegistrationSuperseded,
        Self::ReleaseRefused,
        Self::ReleaseAnswerLate,
        Self::ReleaseAnswerVoid,
        Self::WorkerBlocked,
        Self::WorkerUnblocked,
        Self::UnfulfillableSwitched,
        Self::RequestUnfulfillable,
        Self::AnswerVoid,
        Self::FreedOutdated,
        Self::PromiseOfFormerLeaderNamed,
        Self::LeaseNotRenewed,
        Self::LeaderStopped,
        Self::InputAfterLease,
        Self::LeadershipResumed,
        Self::WorkersExpected,
        Self::WorkerRefusedSlot,
        Self::WorkerUnreachable,
        Self::WorkerSilent,
        Self::JobPoisoned,
        Self::WorkerShort,
        Self::WorkerUnnamed,
        Self::DeclarationStale,
        Self::DeclarationRefused,
        Self::Shortage,
        Self::InactiveSlotFreed,
        Self::ResourcesChanged,
        Self::ResourcesWithheld,
        Self::ResourcesInsufficient,
    ];

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::RequestLost => "slot request lost",
            Self::AnswerLost => "answer lost",
            Self::ConnectionBroken => "connection broken before the answer",
            Self::OtherMessageLost => "other message lost",
            Self::MessageDuplicated => "message duplicated",
            Self::MessageDelayed => "message delayed",
            Self::MessageReordered => "message overtaken by a later one",
            Self::MalformedReport => "report with a slot of another worker",
            Self::Crashed => "task executor crashed",
            Self::Hung => "task executor hung",
            Self::Restarted => "task executor restarted",
            Self::SlotTableChanged => "slot added, changed or removed",
            Self::TaskManagerDeclaredDead => "living task manager unregistered",
            Self::LeadershipMoved => "leadership moved",
            Self::DrivenLate => "manager driven late",
            Self::WorkerDeclined => "worker declined",
            Self::WorkerRefused => "worker refused",
            Self::PromiseBroken => "promise broken",
            Self::WorkerLate => "worker late",
            Self::ReleaseDeclined => "release declined",
            Self::PromiseBeyondLimit => "promise beyond a limit",
            Self::WorkerWithdrawn => "worker withdrawn",
            Self::WithdrawnTooLate => "withdrawal too late",
            Self::WithdrawnWorkerCame => "withdrawn worker started anyway",
            Self::RegistrationRefused => "registration refused",
            Self::RegistrationSuperseded => "registration of a replaced instance",
            Self::ReleaseRefused => "release refused by the task executor",
            Self::ReleaseAnswerLate => "release check answered later",
            Self::ReleaseAnswerVoid => "answer to a release check that is over",
            Self::WorkerBlocked => "worker blocked",
            Self::WorkerUnblocked => "worker unblocked",
            Self::UnfulfillableSwitched => "failing of unfulfillable requests switched",
            Self::RequestUnfulfillable => "request unfulfillable",
            Self::AnswerVoid => "answer to an attempt that is over",
            Self::FreedOutdated => "freed slot in an outdated message",
            Self::PromiseOfFormerLeaderNamed => "worker request of a former leader named",
            Self::LeaseNotRenewed => "lease not renewed",
            Self::LeaderStopped => "process of the leader stopped",
            Self::InputAfterLease => "input after the end of the lease",
            Self::LeadershipResumed => "leadership resumed after its end",
            Self::WorkersExpected => "workers of the former leader expected",
            Self::WorkerRefusedSlot => "slot request refused by a bad worker",
            Self::WorkerUnreachable => "slot request to an unreachable worker",
            Self::WorkerSilent => "slot request not answered by a bad worker",
            Self::JobPoisoned => "slot request of a poisoned job",
            Self::WorkerShort => "worker with fewer slots than promised",
            Self::WorkerUnnamed => "worker that names no worker request",
            Self::DeclarationStale => "old declaration of requirements",
            Self::DeclarationRefused => "declaration refused at the limit of pending requests",
            Self::Shortage => "shortage of declared slots",
            Self::InactiveSlotFreed => "unused slot of an ended job freed",
            Self::ResourcesChanged => "resources of a dynamic worker changed, or a cut removed",
            Self::ResourcesWithheld => "dynamic worker has less left than its slots explain",
            Self::ResourcesInsufficient => "slot request beyond the remainder of a dynamic worker",
        }
    }
}

/// The number of injected faults of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FaultCounts([u64; Fault::ALL.len()]);

impl Default for FaultCounts {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl FaultCounts {
    pub(crate) fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    pub(crate) fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}
