//! Rows about cases, held against those made again from the log.

use credit::repair::Case;

use crate::{
    logs::LogName,
    refusal::Fault,
    tables::{self, ForwardRow, Key, RecordRow, TwinRow, decode},
};

use super::{Check, Wrong};

impl Check<'_> {
    /// A case: the same but for its deadlines, which are counted again when a calendar is published.
    pub(super) fn case(
        &self,
        key: &[u8],
        stored: Option<&[u8]>,
        made: Option<&[u8]>,
    ) -> Result<Option<Wrong>, Fault> {
        let read = |bytes: &[u8]| decode::<Case>(key, bytes).map(Case::without_deadlines);
        let (stored, made) = (stored.map(read).transpose()?, made.map(read).transpose()?);
        let complete = self.complete(&self.context.own.id, LogName::Status);
        Ok(match (stored, made) {
            (Some(stored), Some(made)) if complete && stored != made => Some(Wrong::RowDiffers),
            (Some(_), None) if complete => Some(Wrong::RowUnexplained),
            (None, Some(_)) => Some(Wrong::RowMissing),
            _ => None,
        })
    }

    /// An application on its way: tries, and the authority's answer, are no entries of this member.
    pub(super) fn forward(
        &self,
        key: &[u8],
        stored: Option<&[u8]>,
        made: Option<&[u8]>,
    ) -> Result<Option<Wrong>, Fault> {
        let Some(bytes) = stored else { return Ok(made.map(|_| Wrong::RowMissing)) };
        let row: ForwardRow = decode(key, bytes)?;
        let made: Option<ForwardRow> = made.map(|m| decode(key, m)).transpose()?;
        let fits =
            made.is_some_and(|m| (m.application, m.to, m.since) == (row.application, row.to, row.since));
        let complete = self.complete(&self.context.own.id, LogName::Status);
        Ok((complete && !fits).then_some(Wrong::RowDiffers))
    }

    /// An own record that another platform holds, too, is there.
    pub(super) fn twin(&self, key: &[u8], bytes: &[u8]) -> Result<Option<Wrong>, Fault> {
        let row: TwinRow = decode(key, bytes)?;
        let held: Option<RecordRow> = tables::row(self.view, &Key::record(&row.own))?;
        Ok(held.is_none().then_some(Wrong::RowUnexplained))
    }

    /// What an own record is known as elsewhere is known as that record's twin.
    pub(super) fn counterpart(&self, key: &[u8], rest: &[u8], bytes: &[u8]) -> Result<Option<Wrong>, Fault> {
        let row: Option<TwinRow> = tables::row(self.view, &Key::twin(&decode(key, bytes)?))?;
        let fits = row.is_some_and(|row| {
            rest.strip_prefix(&row.own.0).and_then(tables::key_text) == Some(row.author.as_str())
        });
        Ok((!fits).then_some(Wrong::RowUnexplained))
    }
}
