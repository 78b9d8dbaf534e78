//! Mistakes built in on purpose, to show that the checks find them.
//!
//! A mutant is planted around the member: in what it sees of its disk and what of its writes arrives there
//! ([`Mutated`]), or in the shell. The crates under test hold none of it, so no build of a node can.

use credit::{
    grant::GrantLife,
    id::{CaseId, MemberId, RecordId},
    repair::Case,
};
use crypto::{Digest, Timestamp, codec};
use exchange::{
    logs::LogName,
    tables::{DeliveryRow, Key},
};
use ledger::store::{Batch, Pair, Space, Store, StoreError, View};

use super::{Config, Outcome, Violation, disk::Disk, lie::lying, run};

/// Histories within which every mutant must be found.
pub const SEEDS_MAX: u64 = 40;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Effects are released and their batch is never written.
    AnswerBeforeCommit,
    /// A status entry that was handled before is handled once more.
    NoDuplicateCheck,
    /// A restored member takes back its logs, and no record's end with them.
    ForgetTombstones,
    /// What members know of records' standing vanishes from their disks when the faults end.
    ForgetStandings,
    /// Another authority's change is acknowledged, and the record is used as before.
    AcknowledgeOnly,
    /// One member's acknowledgements are thrown away.
    DropAcknowledgements,
    /// What is not acknowledged at once is never sent again.
    NeverRetry,
    /// Only public platforms hear of a change, and no asker to whom the record was disclosed.
    PlatformsOnly,
    /// A member comes back from an older copy and serves at once.
    SkipCatchUp,
    /// A witness cosigns, and does not write down what.
    CosignWithoutPersisting,
    /// What comes from a convicted member is taken as before.
    SkipFrozenCheck,
    /// No member tells another what it has seen.
    SilentPeers,
    /// A grant that was revoked or paused opens records.
    ForgetRevocations,
    /// A grant opens records more often than it says.
    ForgetUses,
    /// An erasure is logged, and the keys stay.
    KeepErasedKeys,
    /// A read that fails is an empty answer.
    EmptyReads,
    /// What a peer tells of records whose standings differ is passed over.
    SkipBuckets,
    /// A peer's standing is taken over without a look at the log.
    BelievePeers,
    /// Nobody is told that a recipient has not acknowledged in time.
    NeverReport,
    /// It is told again each time the change is sent.
    ReportAgain,
    /// An authority does not look who is barred.
    ForgetBans,
    /// Nobody keeps another authority's bans.
    LoseBans,
    /// A platform does not know under which ids the other one of its region holds what it holds.
    ForgetTwins,
    /// A platform does not know what was examined and refused.
    ForgetRefusals,
    /// A case is nobody's in particular, whomever it was assigned to.
    ForgetClerks,
    /// Grants go on when the key that has signed them is withdrawn.
    ForgetKeys,
    /// No member compares with another one what they have made of the logs.
    NeverCompare,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::ForgetTwins,
        Self::ForgetRefusals,
        Self::AnswerBeforeCommit,
        Self::NoDuplicateCheck,
        Self::ForgetTombstones,
        Self::ForgetStandings,
        Self::AcknowledgeOnly,
        Self::DropAcknowledgements,
        Self::NeverRetry,
        Self::PlatformsOnly,
        Self::SkipCatchUp,
        Self::CosignWithoutPersisting,
        Self::SkipFrozenCheck,
        Self::SilentPeers,
        Self::ForgetRevocations,
        Self::ForgetUses,
        Self::KeepErasedKeys,
        Self::EmptyReads,
        Self::SkipBuckets,
        Self::BelievePeers,
        Self::NeverReport,
        Self::ReportAgain,
        Self::ForgetBans,
        Self::LoseBans,
        Self::ForgetClerks,
        Self::ForgetKeys,
        Self::NeverCompare,
    ];

    /// Runs the history of a seed with the mistake in it; with a liar when the mistake is about one.
    pub fn run(self, seed: u64) -> Result<Outcome, Violation> {
        let config = |regions| Config { mutant: Some(self), ..Config::new(seed, regions) };
        match self {
            Self::SilentPeers | Self::SkipFrozenCheck => lying(config(3)),
            // Every fourth history has two platforms that recognise each other's repair.
            Self::ForgetTwins | Self::ForgetRefusals => {
                run(Config { mutant: Some(self), ..Config::new(4 * seed + 1, 2) })
            }
            _ => run(config(2)),
        }
    }

    /// The first history of seed 1 to [`SEEDS_MAX`] that finds the mistake.
    pub fn hunt(self) -> Option<Violation> {
        (1..=SEEDS_MAX).find_map(|seed| self.run(seed).err())
    }

    /// Whether the member does not see the row.
    fn hides(self, key: &[u8]) -> bool {
        let table = match self {
            Self::NoDuplicateCheck => Key::handled(&nobody(), 0),
            Self::PlatformsOnly => Key::recipients(&RecordId([0; 32])),
            Self::SkipFrozenCheck => Key::frozen(&nobody()),
            Self::ForgetRevocations => Key::grant_life(&nobody(), &Digest::ZERO),
            Self::ForgetUses => Key::grant_use(&Digest::ZERO),
            Self::ForgetBans => Key::bans(),
            Self::ForgetTwins => Key::twin(&RecordId([0; 32])),
            Self::ForgetRefusals => Key::examined(&nobody(), &RecordId([0; 32])),
            _ => return false,
        };
        same_table(&table, key)
    }

    /// Whether a row of member `own` is not written.
    fn loses(self, key: &[u8], own: &MemberId, restored: bool) -> bool {
        let standings = Key::standings(own);
        match self {
            Self::AcknowledgeOnly => same_table(&standings, key) && !key.starts_with(standings.as_bytes()),
            Self::ForgetTombstones => restored && same_table(&standings, key),
            Self::CosignWithoutPersisting => same_table(&Key::witness(LogName::Status.as_str()), key),
            Self::NeverRetry => same_table(&Key::due_after(Timestamp(0)), key),
            Self::LoseBans => {
                let of_own = Key::ban(own, &CaseId([0; 16]));
                let author = of_own.as_bytes().len() - 16;
                same_table(&Key::bans(), key) && key.get(..author) != of_own.as_bytes().get(..author)
            }
            _ => false,
        }
    }

    /// What is written in place of a row.
    fn instead(self, key: &[u8], value: Vec<u8>) -> Vec<u8> {
        let told = match self {
            Self::NeverReport => true,
            Self::ReportAgain => false,
            Self::ForgetClerks if same_table(&Key::cases(), key) => return nobodys(value),
            Self::ForgetKeys if same_table(&Key::grant_life(&nobody(), &Digest::ZERO), key) => {
                return going_on(value);
            }
            _ => return value,
        };
        match codec::from_slice::<DeliveryRow>(&value) {
            Ok(row) if same_table(&Key::all_deliveries(), key) => codec::to_vec(&DeliveryRow { told, ..row }),
            _ => value,
        }
    }
}

/// A case without the clerk that it was assigned to.
fn nobodys(value: Vec<u8>) -> Vec<u8> {
    let Ok(mut case) = codec::from_slice::<Case>(&value) else { return value };
    match &mut case {
        Case::Applied(applied) => applied.assigned = None,
        Case::Accepted(accepted) => accepted.applied.assigned = None,
        Case::Decided(decided) => decided.accepted.applied.assigned = None,
    }
    codec::to_vec(&case)
}

/// What is known of a key, or of a grant of whose issue nothing is known, without its end.
fn going_on(value: Vec<u8>) -> Vec<u8> {
    match codec::from_slice::<GrantLife>(&value) {
        Ok(life) if life.issued().is_none() => codec::to_vec(&GrantLife::default()),
        _ => value,
    }
}

fn nobody() -> MemberId {
    MemberId::parse("x").expect("a label")
}

/// The first byte of a key is its table.
fn same_table(of: &Key, key: &[u8]) -> bool {
    of.as_bytes().first() == key.first()
}

/// A member's disk as the mutant lets it see and write it; without a mutant the disk itself.
#[derive(Debug)]
pub struct Mutated<'a> {
    disk: &'a Disk,
    own: &'a MemberId,
    /// The disk is an older copy, and the member has not caught up.
    restored: bool,
    mutant: Option<Mutant>,
}

impl<'a> Mutated<'a> {
    /// The disk of member `own`.
    pub fn new(disk: &'a Disk, own: &'a MemberId, restored: bool, mutant: Option<Mutant>) -> Self {
        Self { disk, own, restored, mutant }
    }

    fn hides(&self, space: Space, key: &[u8]) -> bool {
        space == Space::Row && self.mutant.is_some_and(|mutant| mutant.hides(key))
    }

    fn read<T>(&self, read: Result<T, StoreError>, empty: T) -> Result<T, StoreError> {
        if self.mutant == Some(Mutant::EmptyReads) { Ok(read.unwrap_or(empty)) } else { read }
    }
}

impl View for Mutated<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.read(self.disk.get(space, key), None)?;
        Ok(found.filter(|_| !self.hides(space, key)))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let mut found = self.read(self.disk.scan(space, from, to, limit), Vec::new())?;
        found.retain(|(key, _)| !self.hides(space, key));
        Ok(found)
    }

    fn last_in(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Result<Option<Pair>, StoreError> {
        let found = self.read(self.disk.last_in(space, from, to), None)?;
        Ok(found.filter(|(key, _)| !self.hides(space, key)))
    }
}

impl Store for Mutated<'_> {
    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        let Some(mutant) = self.mutant else { return self.disk.apply(batch) };
        let mut left = Batch::default();
        for (space, key, value) in batch.iter() {
            match value {
                Some(_) if space == Space::Row && mutant.loses(key, self.own, self.restored) => {}
                Some(value) => left.put(space, key, mutant.instead(key, value.to_vec())),
                None => left.delete(space, key),
            }
        }
        self.disk.apply(&left)
    }
}
