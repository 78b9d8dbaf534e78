//! A day of publication that its publisher is asked about first: what follows from it cannot be taken back, or it is likely a
//! slip. Clocks of the law count from that day ([`super::publish`]).

use credit::{id::RecordId, rules::Clock, value::Date};
use crypto::Timestamp;
use ledger::store::View;

use super::{newest, publish::published_on};
use crate::{
    context::Context,
    logs::LogName,
    refusal::{Fault, Refusal},
    repair,
};

/// Why it is asked whether an own record was really published on a day; `None` where nothing is odd about it. Of a copy only
/// its authority knows when publicity ends.
///
/// 1. Publicity counted from there would be over: the record ends at once, for good.
/// 2. The record was not here yet: a minimum would begin before anybody could publish it from here.
pub fn doubt(
    context: &Context,
    view: &dyn View,
    record: &RecordId,
    on: Date,
    now: Timestamp,
) -> Result<Option<Refusal>, Fault> {
    let Some((row, sealed)) = newest(view, record)? else { return Ok(None) };
    let facts = &sealed.facts;
    if facts.authority != context.own.id {
        return Ok(None);
    }
    let asked = |why: String| {
        Ok(Some(repair::denied(
            why,
            "if the record was really published on that day, say it again with --confirm; else give the right day with --on",
            "如确于该日公示，请加 --confirm 重新执行；否则请用 --on 填写正确日期",
        )))
    };
    // 1
    let rule = facts.tier.and_then(|_| repair::rule(context, facts).ok());
    if let (Some(rule), Some(decided), None) = (rule, facts.decided, facts.published) {
        let first = published_on(context, view, record)?.map_or(on, |first| first.min(on));
        let end =
            rule.publicity_end(decided, first.max(decided)).filter(|_| rule.clock == Clock::Publication);
        if let Some(end) = end.filter(|end| *end <= Date::from_timestamp(now)) {
            return asked(format!(
                "counted from {on}, publicity under `{0}` ended on {end}: the record would expire at once, and that is never undone / 依规则集 {0}，自{on}起公示已于{end}期满，该信息将立即终止公示且不可恢复",
                rule.set_id
            ));
        }
    }
    // 2
    let came = LogName::Records.entry(view, row.first().index)?.map(|entry| Date::from_timestamp(entry.at));
    match came.filter(|came| on < *came) {
        Some(came) => asked(format!(
            "{on} is before {came}, when the record was taken in here; periods would count from that earlier day / {on}早于本节点收录该信息之日（{came}），期限将自该日起计算"
        )),
        None => Ok(None),
    }
}
