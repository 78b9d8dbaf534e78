//! Files of penalties (CF) as a department hands them in, about plainly fictitious companies.

use credit::{subject::uscc_from_parts, value::Date};
use crypto::Timestamp;

/// The columns, in the order of [`Penalty::line`].
const COLUMNS: &str = "CF_XDR_MC,CF_XDR_LB,CF_XDR_SHXYM,CF_FRDB,CF_WSH,CF_WFXW,CF_SY,CF_YJ,CF_CFLB,CF_NR,CF_NR_FK,CF_JDRQ,CF_YXQ,CF_CFJG,CF_CFJGDM,CF_SJLY,CF_SJLYDM,BZ";

/// Organisation codes that begin with `Y` are not in use: no code made here is anybody's.
const SERIAL_BASE: u64 = 29 * 31_u64.pow(7);

/// A company's credit code.
pub(crate) fn company(number: u64) -> String {
    uscc_from_parts("91", "320102", SERIAL_BASE + 7_000 + number).unwrap().as_str().to_owned()
}

/// The credit code of the body that penalises at `sh`.
pub(crate) fn body() -> String {
    uscc_from_parts("11", "310000", SERIAL_BASE + 9).unwrap().as_str().to_owned()
}

/// The credit code of a body that decides at `js`.
pub(crate) fn body_of_js() -> String {
    uscc_from_parts("11", "320000", SERIAL_BASE + 10).unwrap().as_str().to_owned()
}

/// Three days ago: a decision handed in in time.
pub(crate) fn decided() -> Date {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Date::from_timestamp(Timestamp(now.as_millis() as u64)).plus_days(-3)
}

/// One row.
#[derive(Clone)]
pub(crate) struct Penalty {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) document: String,
    pub(crate) remark: String,
}

impl Penalty {
    /// The `number`-th penalty, of the `number`-th company.
    pub(crate) fn new(number: u64) -> Self {
        Self {
            name: format!("示例{number:04}号公司（虚构）"),
            subject: company(number),
            document: format!("示罚〔2026〕第{number:05}号"),
            remark: String::new(),
        }
    }

    fn line(&self) -> String {
        let Self { name, subject, document, remark } = self;
        let (day, body) = (decided().to_string().replace('-', "/"), body());
        let office = "示例市交通执法机构（虚构）";
        format!(
            "{name},法人及非法人组织,{subject},示例负责人,{document},未按规定报送经营信息,经查属实（虚构）,《示例办法（虚构）》第一条,罚款,罚款3000元,0.3,{day},2099/12/31,{office},{body},{office},{body},{remark}"
        )
    }
}

/// A file of these rows.
pub(crate) fn file(rows: &[Penalty]) -> String {
    let lines: Vec<String> = rows.iter().map(Penalty::line).collect();
    format!("{COLUMNS}\n{}\n", lines.join("\n"))
}

/// A file of the penalties `from` to `to`, `to` not included.
pub(crate) fn numbered(from: u64, to: u64) -> String {
    file(&(from..to).map(Penalty::new).collect::<Vec<_>>())
}
