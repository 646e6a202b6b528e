//! What goes wrong, and how often it did.

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
}

impl Fault {
    pub(crate) const ALL: [Self; 20] = [
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
        }
    }
}

/// How often each kind of fault was injected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FaultCounts([u64; Fault::ALL.len()]);

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
