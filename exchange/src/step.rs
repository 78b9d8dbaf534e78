//! What a member's decision is made of: effects that wait for their batch, and replies that wait for their proofs.

use credit::id::{CaseId, MemberId, RecordId};
use credit::repair::Application;
use crypto::{keytree::Slot, sign::Signed};
use ledger::store::{Batch, Store, StoreError};

use crate::{answer::Plan, check::Judging, evidence::Doubt, logs::LogName, wire::Response};

/// Which caller waits for a reply; chosen by the shell, meaningless here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What a step lets out, in order, once its batch is durable.
#[derive(Debug)]
pub enum Effect {
    /// Answer a caller.
    Reply {
        /// Which.
        token: Token,
        /// What; some replies are completed from durable state first.
        reply: Reply,
    },
    /// Push a status entry to a recipient.
    Deliver {
        /// Index of the event in this member's status log.
        event: u64,
        /// The recipient.
        to: MemberId,
    },
    /// Push an own record to the member that publishes it.
    Push(RecordId),
    /// Push it once more, although it was acknowledged: its receiver has lost it.
    PushAgain(RecordId),
    /// Ask the authority of a copy whose values are lost to push the record again.
    AskPush {
        /// The authority.
        to: MemberId,
        /// The record.
        record: RecordId,
    },
    /// Find out who is to publish an own record now, with [`crate::push::place_again`], and hand that in.
    Place(RecordId),
    /// Send an application to its authority.
    Forward {
        /// The authority.
        to: MemberId,
        /// The application's id here.
        case: CaseId,
        /// The application.
        application: Signed<Application>,
    },
    /// Fetch what is new of a log.
    Pull {
        /// From its owner.
        owner: MemberId,
        /// Which log.
        log: LogName,
        /// First index wanted.
        from: u64,
    },
    /// Ask a witness to cosign the newest checkpoint of an own log.
    AskWitness {
        /// The witness.
        witness: MemberId,
        /// Which log.
        log: LogName,
        /// Size it has cosigned last, as far as known.
        old: u64,
    },
    /// Ask a peer for the heads it has seen, and hold them against what is kept here.
    AskHeads(MemberId),
    /// Have two heads of one log proven, by its owner or by who keeps a copy.
    Prove(Box<Doubt>),
    /// Destroy the keys of these slots: the log says they are erased.
    Puncture(Vec<Slot>),
    /// Erase these records: a withdrawal has made it due.
    Erase(Vec<RecordId>),
    /// Erase these records: their retention has ended.
    Retire(Vec<RecordId>),
    /// Something an operator must see.
    Alert(String),
}

/// A reply as decided; [`crate::read::complete`] adds proofs from durable state.
#[derive(Debug)]
pub enum Reply {
    /// Complete.
    Ready(Box<Response>),
    /// Open and seal the planned fields.
    Answer(Box<Plan>),
    /// Judge the checks of a question, or mask fields, with [`crate::check::judge`], and hand it in again: no reply yet.
    Judge(Box<Judging>),
    /// Build the receipt of an own status entry.
    Receipt(u64),
    /// Build the receipt of an own access entry.
    AccessReceipt(u64),
}

impl Effect {
    /// The plan of an answer that it lets out.
    pub(crate) fn plan(&mut self) -> Option<&mut Plan> {
        match self {
            Self::Reply { reply: Reply::Answer(plan), .. } => Some(plan),
            _ => None,
        }
    }
}

impl Reply {
    /// A complete reply.
    pub fn ready(response: Response) -> Self {
        Self::Ready(Box::new(response))
    }
}

/// What was decided. Effects cannot be read, only released by committing.
#[must_use]
pub struct Step {
    batch: Batch,
    effects: Vec<Effect>,
}

impl Step {
    /// A step of one member; only [`crate::member`] decides.
    pub(crate) fn new(batch: Batch, effects: Vec<Effect>) -> Self {
        Self { batch, effects }
    }

    /// Makes the step durable and releases its effects.
    ///
    /// Errors: the store failed; nothing is released, and the process must end.
    pub fn commit(self, store: &dyn Store) -> Result<Vec<Effect>, StoreError> {
        if !self.batch.is_empty() {
            store.apply(&self.batch)?;
        }
        Ok(self.effects)
    }

    /// Whether it writes anything.
    pub fn writes(&self) -> bool {
        !self.batch.is_empty()
    }
}
