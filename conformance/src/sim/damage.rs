//! Standings on a disk that are not what the log says, as a mistaken projection or a damaged copy would leave them, and
//! what must have become of them: found by comparing with a peer, mended by the log, noted and reported.

use std::collections::BTreeMap;

use credit::{
    entry::{Changed, StatusFact},
    id::RecordId,
    status::{Change, Standing},
};
use exchange::{
    reconcile::FindingRow,
    tables::{self, Key},
};
use ledger::store::{Batch, Space, Store};

use super::{Broken, Check, Sim};

/// Records damaged at once.
const RECORDS_MAX: usize = 3;

/// What was damaged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Damage {
    /// At whom.
    pub(super) at: usize,
    /// Under whom.
    pub(super) authority: usize,
    /// Records whose standing is not what the log says.
    records: u64,
    /// Records that this member had mended before.
    before: u64,
}

impl Sim {
    /// Damages standings under `authority` on the disk of a member that is down. `None` when there are none.
    pub(super) fn damage(&mut self, at: usize, authority: usize) -> Result<Option<Damage>, Broken> {
        let author = self.nodes[authority].id.clone();
        self.nodes[at].disk = self.nodes[at].disk.reopened();
        let mut rows: Vec<(RecordId, Standing)> = self.standings_at(at, authority)?.into_iter().collect();
        let Some(before) = self.mended(at, authority)?.filter(|_| !rows.is_empty()) else { return Ok(None) };
        let statements: Vec<StatusFact> = self.checker.statements(authority).cloned().collect();
        let (mut records, mut strangers) = (0, false);
        for _ in 0..1 + self.rng.below(RECORDS_MAX as u64) {
            if rows.is_empty() {
                break;
            }
            let (record, was) = rows.swap_remove(self.rng.below(rows.len() as u64) as usize);
            let told: Vec<(Change, u64)> = was.told().collect();
            let (record, damaged) = match self.rng.below(4) {
                // The row is gone.
                0 => (record, None),
                // The last of what it rests on is forgotten.
                1 => (record, of(&told[..told.len() - 1])),
                // It says, or a row of no record says, what the entry does not.
                which => {
                    // Of a row of no record only the digests tell: while more is written and they are wrong too, nobody
                    // but `node fsck` would see it.
                    let of_none = which == 3 && self.network.is_calm();
                    let record = if of_none { RecordId(self.rng.bytes()) } else { record };
                    strangers |= of_none;
                    let index = self.rng.below(statements.len() as u64);
                    let change = *self
                        .rng
                        .pick(&[Change::Mask, Change::Dispute, Change::Withdraw])
                        .unwrap_or(&Change::Mask);
                    let says = |fact: &StatusFact| matches!(fact, StatusFact::Changed(Changed { record: r, change: c, .. }) if *r == record && *c == change);
                    if statements.get(index as usize).is_none_or(says) {
                        continue;
                    }
                    (record, Some(Standing::of(change, index)))
                }
            };
            self.nodes[at].disk.overwrite(&author, &record, damaged.as_ref())?;
            records += 1;
        }
        // Sometimes the digests are not those of the rows.
        if !strangers && self.rng.one_in(3) {
            let mut batch = Batch::default();
            batch.delete(Space::Row, Key::standing_node(&author, self.rng.below(2) as u8, 0).as_bytes());
            self.nodes[at].disk.apply(&batch).map_err(|e| broken(e.to_string()))?;
        }
        self.say(|| format!("{records} standings under node {authority} are damaged at node {at}"));
        self.figures.damaged += records;
        Ok(Some(Damage { at, authority, records, before }))
    }

    /// What was damaged is mended, was noted with the peer that told of it, and was reported.
    pub(super) fn found(&self, damage: Damage) -> Result<(), Broken> {
        let Damage { at, authority, records, before } = damage;
        let (member, author) = (&self.nodes[at].id, &self.nodes[authority].id);
        let mended = self.mended(at, authority)?.unwrap_or_default() - before;
        if mended != records {
            return Err(broken(format!(
                "`{member}` has noted {mended} mended standings under `{author}`, and {records} were damaged"
            )));
        }
        let said = format!("standings under `{author}` differed from those of ");
        let reported = self.alerts.iter().any(|(by, what)| *by == at && what.starts_with(&said));
        if records > 0 && !reported {
            return Err(broken(format!(
                "`{member}` has mended standings under `{author}`, and said nothing"
            )));
        }
        Ok(())
    }

    fn standings_at(&self, at: usize, authority: usize) -> Result<BTreeMap<RecordId, Standing>, Broken> {
        let prefix = Key::standings(&self.nodes[authority].id);
        let rows = tables::rows::<Standing>(&self.nodes[at].disk, &prefix, usize::MAX);
        let rows = rows.map_err(|f| broken(f.to_string()))?.into_iter();
        Ok(rows.filter_map(|(rest, row)| Some((RecordId(rest.try_into().ok()?), row))).collect())
    }

    /// Records under an authority that a member has ever mended, by its findings. `None` when its disk does not answer.
    fn mended(&self, at: usize, authority: usize) -> Result<Option<u64>, Broken> {
        let mut mended = 0;
        for peer in &self.nodes {
            let key = Key::finding(&self.nodes[authority].id, &peer.id);
            let row =
                tables::row::<FindingRow>(&self.nodes[at].disk, &key).map_err(|f| broken(f.to_string()))?;
            mended += row.map_or(0, |row| row.mine);
        }
        Ok(Some(mended))
    }
}

/// What entries alone would give; `None` of none.
fn of(told: &[(Change, u64)]) -> Option<Standing> {
    told.iter().map(|(change, index)| Standing::of(*change, *index)).reduce(Standing::merge)
}

fn broken(what: impl Into<String>) -> Broken {
    Broken::new(Check::Reconciled, what)
}
