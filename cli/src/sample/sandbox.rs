//! The subjects of the sandbox: one company for each outcome, with the same credit code on every machine and every day.

use super::*;

/// What the sandbox shows, in order: the outcome's name, and its company's name.
pub(crate) const OUTCOMES: [(&str, &str); 8] = [
    ("clean", "示例沙箱无不良记录有限公司（虚构）"),
    ("adverse", "示例沙箱有行政处罚有限公司（虚构）"),
    ("repaired", "示例沙箱已修复有限公司（虚构）"),
    ("disputed", "示例沙箱异议处理中有限公司（虚构）"),
    ("masked", "示例沙箱暂时屏蔽有限公司（虚构）"),
    ("grant-revoked", "示例沙箱授权已撤回有限公司（虚构）"),
    ("node-down", "示例沙箱节点离线有限公司（虚构）"),
    ("over-quota", "示例沙箱超出配额有限公司（虚构）"),
];

const SANDBOX_FROM: u64 = 600_000_000;

fn company(at: usize) -> Company {
    let (number, district) = (at as u64 + 1, PLACES[JS].districts[0]);
    Company {
        id: known(uscc_from_parts("91", district, SERIAL_BASE + SANDBOX_FROM + number)),
        name: OUTCOMES[at].1.to_owned(),
        number,
        district,
        individual: false,
    }
}

/// The credit code of the company that shows an outcome.
pub(crate) fn subject(at: usize) -> SubjectId {
    company(at).id
}

/// The number of an outcome's penalty, as written on the decision.
pub(crate) fn penalty(at: usize, today: Date) -> String {
    let maker = Maker::new(SANDBOX_FROM, today);
    maker.document(&PLACES[SH], "交罚例", maker.working_day_before(STORY_PENALTY_DAYS), at + 1)
}

/// The penalties of `sh`, of every company but the clean one, and the taxes of `js`, of all.
pub(crate) fn files(today: Date) -> [(&'static str, SampleFile); 2] {
    let maker = Maker::new(SANDBOX_FROM, today);
    let kind = |item| known(KINDS.iter().find(|kind| kind.item == item));
    let (penalties, taxes) = (kind("CF"), kind("NSXY"));
    let (mut cf, mut nsxy) = (Sheet::new(&maker, penalties, false), Sheet::new(&maker, taxes, false));
    for at in 0..OUTCOMES.len() {
        let company = &company(at);
        let decided = maker.working_day_before(2);
        let document = maker.document(&PLACES[JS], taxes.word, decided, at + 1);
        let matter = Matter { company, document, decided, choice: rows::CLEAN };
        nsxy.push(maker.cells(&PLACES[JS], taxes, &matter), None, false);
        if at > 0 {
            let decided = maker.working_day_before(STORY_PENALTY_DAYS);
            let choice = rows::CONFISCATION_AND_FINE;
            let matter = Matter { company, document: penalty(at, today), decided, choice };
            cf.push(maker.cells(&PLACES[SH], penalties, &matter), None, false);
        }
    }
    let finish = |sheet: Sheet<'_>, kind: &Kind| {
        let name = format!("sandbox-{}.csv", kind.item.to_ascii_lowercase());
        sheet.finish(BODIES[kind.body].source, name, kind.form)
    };
    [(PLACES[SH].member, finish(cf, penalties)), (PLACES[JS].member, finish(nsxy, taxes))]
}
