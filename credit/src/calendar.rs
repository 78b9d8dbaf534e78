//! Working days (工作日), with the State Council's holidays and make-up working days (调休).
//!
//! Deadlines of two to ten days "are working days without statutory holidays" (行政处罚法 art. 85). The calendars are
//! dated data, `credit/data/calendar/<year>.csv`, from NateScarlet/holiday-cn (MIT; licence beside them). They name
//! the days that differ from the week or belong to a holiday; every other day follows Monday to Friday.

use std::collections::{BTreeMap, BTreeSet};

use crypto::Digest;

use crate::catalog::{CatalogError, digest_of, table};
use crate::value::Date;

/// The published calendars, joined.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// Years whose own notice is in.
    years: BTreeSet<i32>,
    /// Days a notice names; true = day off.
    days: BTreeMap<Date, bool>,
    digest: Digest,
}

/// When something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The last day on which it is in time.
    pub date: Date,
    /// The count touched a day whose calendar is not published yet; the date may still move.
    pub provisional: bool,
}

impl Calendar {
    /// The calendars this build carries (2016 to 2026).
    pub fn builtin() -> Self {
        match Self::parse(&YEARS) {
            Ok(calendar) => calendar,
            // INVARIANT: the embedded files are fixed at build time and a test parses them.
            Err(e) => unreachable!("embedded calendar: {e}"),
        }
    }

    /// Reads calendars, each a year and the text of its file (`date,off,name`; off is `1` or `0`).
    ///
    /// Errors: a malformed line, or two notices that contradict each other about one day.
    pub fn parse(years: &[(i32, &str)]) -> Result<Self, CatalogError> {
        let mut days = BTreeMap::new();
        for (year, text) in years {
            for line in table("calendar", text, &["date", "off", "name"])? {
                // The turn of the year is arranged by the notice of the year that begins.
                let ours = |date: &Date| {
                    date.year() == *year || (date.year() == *year - 1 && in_turn_of_year(*date))
                };
                let date = line.parse("date", |text| Date::parse(text).filter(ours))?;
                let off = line.parse("off", |text| match text {
                    "0" => Some(false),
                    "1" => Some(true),
                    _ => None,
                })?;
                if days.insert(date, off).is_some_and(|before| before != off) {
                    return Err(line.error("off", "contradicts another calendar"));
                }
            }
        }
        let texts: Vec<&str> = years.iter().map(|(_, text)| *text).collect();
        Ok(Self { years: years.iter().map(|(year, _)| *year).collect(), days, digest: digest_of(&texts) })
    }

    /// SHA-256 over the texts of the calendars, each with its length before it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether offices work on `date`. In a year without a calendar: Monday to Friday.
    pub fn is_working_day(&self, date: Date) -> bool {
        self.days.get(&date).map_or(date.weekday() <= 5, |off| !off)
    }

    /// Whether the calendar of `date` is published, so that [`Calendar::is_working_day`] is a fact.
    pub fn knows(&self, date: Date) -> bool {
        let year = date.year();
        self.years.contains(&year) && (!in_turn_of_year(date) || self.years.contains(&(year + 1)))
    }

    /// The `n`-th working day after `from`, counting from the next day; `n` = 0 is `from` itself.
    ///
    /// Units: working days. Takes time in proportion to `n`; every caller's `n` comes from checked rule data.
    pub fn add_working_days(&self, from: Date, n: u32) -> Due {
        let mut due = Due { date: from, provisional: false };
        for _ in 0..n {
            loop {
                due.date = due.date.plus_days(1);
                due.provisional |= !self.knows(due.date);
                if self.is_working_day(due.date) || due.date.0 == i32::MAX {
                    break;
                }
            }
        }
        due
    }

    /// Working days after `from` up to and including `to`; 0 if `to` is not after `from`. The inverse of
    /// [`Calendar::add_working_days`] on working days: how long something took, or how late it is.
    pub fn working_days_between(&self, from: Date, to: Date) -> u32 {
        (from.0.saturating_add(1)..=to.0).filter(|day| self.is_working_day(Date(*day))).count() as u32
    }
}

/// The days of late December that the next year's notice may rearrange: New Year's holiday has begun as early as 30
/// December with its make-up Saturday on the 29th (2018); a week leaves room for the weekend before.
fn in_turn_of_year(date: Date) -> bool {
    let (_, month, day) = date.parts();
    month == 12 && day >= 24
}

const YEARS: [(i32, &str); 11] = [
    (2016, include_str!("../data/calendar/2016.csv")),
    (2017, include_str!("../data/calendar/2017.csv")),
    (2018, include_str!("../data/calendar/2018.csv")),
    (2019, include_str!("../data/calendar/2019.csv")),
    (2020, include_str!("../data/calendar/2020.csv")),
    (2021, include_str!("../data/calendar/2021.csv")),
    (2022, include_str!("../data/calendar/2022.csv")),
    (2023, include_str!("../data/calendar/2023.csv")),
    (2024, include_str!("../data/calendar/2024.csv")),
    (2025, include_str!("../data/calendar/2025.csv")),
    (2026, include_str!("../data/calendar/2026.csv")),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    #[test]
    fn counts_the_worked_deadlines() {
        let calendar = Calendar::builtin();
        let table = [
            ("2024-02-05", 7, "2024-02-20"),
            ("2024-09-29", 7, "2024-10-14"), // a make-up Sunday
            ("2025-01-24", 7, "2025-02-10"),
            ("2025-01-24", 10, "2025-02-13"),
            ("2025-09-26", 7, "2025-10-13"),
            ("2026-02-12", 7, "2026-02-28"), // due on a make-up Saturday
            ("2026-04-01", 3, "2026-04-07"),
            ("2026-04-01", 7, "2026-04-13"),
            ("2026-04-01", 10, "2026-04-16"),
            ("2026-09-30", 3, "2026-10-10"), // due on a make-up Saturday
            ("2026-04-01", 0, "2026-04-01"),
        ];
        for (from, n, due) in table {
            assert_eq!(
                calendar.add_working_days(date(from), n),
                Due { date: date(due), provisional: false },
                "{from} + {n}"
            );
            assert_eq!(calendar.working_days_between(date(from), date(due)), n);
        }
    }

    #[test]
    fn a_december_day_can_be_ruled_by_the_next_years_notice() {
        let calendar = Calendar::builtin();
        assert!(calendar.is_working_day(date("2018-12-29")), "a make-up Saturday of the 2019 notice");
        assert!(!calendar.is_working_day(date("2018-12-31")), "a Monday off by the 2019 notice");
        assert!(calendar.knows(date("2025-12-31")));
        assert!(calendar.knows(date("2026-12-23")) && !calendar.knows(date("2026-12-24")));
    }

    #[test]
    fn a_deadline_without_a_published_calendar_is_provisional() {
        let calendar = Calendar::builtin();
        assert!(!calendar.add_working_days(date("2026-12-14"), 7).provisional);
        assert!(calendar.add_working_days(date("2026-12-23"), 7).provisional);
        assert!(calendar.add_working_days(date("2027-03-01"), 3).provisional);
        assert!(calendar.add_working_days(date("2015-03-02"), 3).provisional);
        assert_eq!(calendar.working_days_between(date("2026-04-02"), date("2026-04-01")), 0);
    }

    #[test]
    fn refuses_calendars_that_contradict_each_other_or_leave_their_year() {
        let head = "date,off,name\n";
        let day = |text: &str| format!("{head}{text}\n");
        let both = [(2018, day("2018-12-31,0,x")), (2019, day("2018-12-31,1,元旦"))];
        let both: Vec<_> = both.iter().map(|(y, t)| (*y, t.as_str())).collect();
        assert_eq!(Calendar::parse(&both).unwrap_err().column, "off");
        assert!(Calendar::parse(&[(2019, &day("2020-01-01,1,元旦"))]).is_err());
        assert!(Calendar::parse(&[(2019, &day("2019-01-01,2,元旦"))]).is_err());
        assert!(Calendar::parse(&[(2019, "date,off\n")]).is_err());
    }
}
