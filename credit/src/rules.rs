//! Dated rule sets of credit repair (信用修复) and of retention, as data with their legal source.
//!
//! Which set rules over a record depends on who decided and when: a penalty of a market-regulation body and one of
//! any other department age by different clocks, and old decisions stay under old orders (docs/SOURCES.md).
//!
//! *Not here*: the course of a repair case (`repair`), working days (`calendar`). What the sources do not say is
//! `None`, "not provided"; nothing is inherited from a neighbour or a national rule, and callers refuse to guess.

mod authorities;
mod publication;
mod tiers;

use std::fmt;

use crypto::Digest;
use crypto::codec::{Decode, Encode};

use crate::catalog::{CatalogError, Line, digest_of, table};
use crate::id::ItemId;
use crate::status::Change;
use crate::subject::province_of;
use crate::value::Date;

pub use authorities::AuthorityKind;
pub use publication::Publication;
pub use tiers::Penalty;
use {authorities::Authorities, tiers::Words};

/// What the months of publicity count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Clock {
    /// The date of the decision (认定之日, 决定之日).
    #[n(0)]
    Decision,
    /// The date of publication (公示之日).
    #[n(1)]
    Publication,
}

impl Clock {
    /// The code, as in the data file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Publication => "publication",
        }
    }
}

/// What the working days until the result count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum DecideFrom {
    /// The application.
    #[n(0)]
    Application,
    /// The acceptance of the application.
    #[n(1)]
    Acceptance,
}

/// How grave a dishonest act is (失信程度), from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Tier {
    /// 轻微.
    #[n(0)]
    Minor,
    /// 一般.
    #[n(1)]
    General,
    /// 严重.
    #[n(2)]
    Serious,
}

impl Tier {
    /// The code, as in the data file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minor => "minor",
            Self::General => "general",
            Self::Serious => "serious",
        }
    }

    /// The legal term.
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Minor => "轻微",
            Self::General => "一般",
            Self::Serious => "严重",
        }
    }

    /// Reads the code or the legal term.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Minor, Self::General, Self::Serious].into_iter().find(|t| text == t.as_str() || text == t.zh())
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One set of rules: an order, for the decisions it rules over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// `ndrc-36`.
    pub id: String,
    /// Whose decisions.
    pub kind: AuthorityKind,
    /// First decision date it rules over.
    pub from: Date,
    /// Last decision date; `None` = in force.
    pub until: Option<Date>,
    /// One rule per tier the source knows, lightest first.
    pub rules: Vec<Rule>,
}

/// The clocks of one tier in one set. Every `None` is "not provided by the sources we have".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The set it belongs to.
    pub set_id: String,
    /// For acts of this gravity.
    pub tier: Tier,
    /// What the months count from.
    pub clock: Clock,
    /// Months of publicity before repair may be applied for.
    pub min_months: Option<u32>,
    /// Months after which publicity ends by itself.
    pub max_months: Option<u32>,
    /// Whether such acts are published in principle; `None` = some are and some are not.
    pub published: Option<bool>,
    /// Working days from application to the decision whether to accept it.
    pub accept_working_days: Option<u32>,
    /// Working days until the result, from [`Rule::decide_from`].
    pub decide_working_days: Option<u32>,
    /// What `decide_working_days` counts from.
    pub decide_from: Option<DecideFrom>,
    /// Months for which a subject that handed in false material may not apply again.
    pub ban_months: Option<u32>,
    /// What a granted repair brings about, in the order's words.
    pub effect: String,
    /// The order, in Chinese.
    pub source: String,
    /// How well the months are attested (marks as in docs/SOURCES.md).
    pub confidence: String,
    /// How well the working days are attested.
    pub days_confidence: String,
}

impl Rule {
    /// The first day on which repair may be applied for, if all duties are performed.
    ///
    /// Where the minimum is not provided this fails closed: the day on which publicity ends by itself; `None` if that is not
    /// provided either.
    pub fn earliest_repair(&self, decided: Date, published: Date) -> Option<Date> {
        let months = self.min_months.or(self.max_months)?;
        Some(self.start(decided, published).plus_months(months))
    }

    /// The day on which publicity ends by itself; `None` = not provided.
    pub fn publicity_end(&self, decided: Date, published: Date) -> Option<Date> {
        self.max_months.map(|months| self.start(decided, published).plus_months(months))
    }

    /// Whether the months cannot be counted before the day of publication is known. Where acts of the tier need not be
    /// published there may never be one, and they count from the decision then.
    pub fn waits_for_publication(&self) -> bool {
        self.clock == Clock::Publication && self.published == Some(true)
    }

    fn start(&self, decided: Date, published: Date) -> Date {
        match self.clock {
            Clock::Decision => decided,
            // Nothing is published before it is decided.
            Clock::Publication => published.max(decided),
        }
    }
}

/// What starts the years of retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionFrom {
    /// The end of the act or event.
    End,
    /// Its recognition (the decision).
    Recognition,
}

/// What happens when the years are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionEffect {
    /// It is no longer answered; it stays as an archive.
    Stop,
    /// It is deleted.
    Delete,
}

/// How long a region lets a record be queried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Six digits of GB/T 2260.
    pub region: String,
    /// The region's label among members: `sh`.
    pub label: String,
    /// Chinese name.
    pub name: String,
    /// Years.
    pub years: u32,
    /// What they count from.
    pub from: RetentionFrom,
    /// What happens then.
    pub effect: RetentionEffect,
    /// Records of this tier may be kept longer; people decide about them.
    pub longer: Option<Tier>,
    /// First day on which the rule is in force.
    pub valid_from: Date,
    /// Last day; `None` = in force.
    pub valid_until: Option<Date>,
    /// The regulation, in Chinese.
    pub source: String,
}

impl Retention {
    /// The first day on which a record is kept no more, of a matter recognised on `decided` whose act or event ended on
    /// `ended`; `None` where the years count from a day that the record does not tell.
    pub fn end(&self, decided: Option<Date>, ended: Option<Date>) -> Option<Date> {
        let from = match self.from {
            RetentionFrom::Recognition => decided,
            RetentionFrom::End => ended,
        };
        Some(from?.plus_months(self.years.saturating_mul(12)))
    }
}

/// One of the two national publicity systems, to which a platform belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum System {
    /// 信用中国, with its regional sites.
    #[n(0)]
    CreditChina,
    /// 国家企业信用信息公示系统, with its regional sites.
    #[n(1)]
    Gsxt,
}

impl System {
    /// The code, as in the data file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreditChina => "credit-china",
            Self::Gsxt => "gsxt",
        }
    }

    /// Reads the code.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::CreditChina, Self::Gsxt].into_iter().find(|system| system.as_str() == text)
    }
}

/// How one system takes a result of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recognition<'a> {
    /// On conflict the own result stands.
    pub prevails: bool,
    /// The order, in Chinese.
    pub source: &'a str,
}

/// A system's place in the recognition of one kind of result.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    system: System,
    change: Change,
    rank: u32,
    from: Date,
    until: Option<Date>,
    source: String,
}

/// Something a member must do within working days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// Erase a record whose act was revoked.
    EraseWithdrawn,
    /// Acknowledge a decision and stop using the record.
    Acknowledge,
    /// Bring an application to the member that decides.
    Forward,
    /// Mark a record as disputed.
    MarkObjection,
    /// Answer an objection.
    AnswerObjection,
    /// Hand in a decision.
    HandIn,
}

impl Duty {
    const ALL: [Self; 6] = [
        Self::HandIn,
        Self::EraseWithdrawn,
        Self::Acknowledge,
        Self::Forward,
        Self::MarkObjection,
        Self::AnswerObjection,
    ];

    /// The code, as in the data file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EraseWithdrawn => "erase-withdrawn",
            Self::Acknowledge => "acknowledge",
            Self::Forward => "forward",
            Self::MarkObjection => "mark-objection",
            Self::AnswerObjection => "answer-objection",
            Self::HandIn => "hand-in",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.as_str() == text)
    }
}

/// How long a duty takes in a region, for what happened in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    duty: Duty,
    /// Absent in a national rule.
    region: Option<String>,
    from: Date,
    until: Option<Date>,
    /// Working days.
    pub working_days: u32,
    /// The law, in Chinese.
    pub source: String,
}

/// Every rule set and retention rule, with the digest that entries name.
#[derive(Clone, Debug)]
pub struct RuleBook {
    sets: Vec<RuleSet>,
    /// By region; `Err` keeps the name of a region whose rule is known to be missing.
    retention: Vec<Result<Retention, (String, String)>>,
    terms: Vec<Term>,
    places: Vec<Place>,
    words: Words,
    authorities: Authorities,
    publications: Vec<Publication>,
    digest: Digest,
}

impl RuleBook {
    /// The rules this build carries.
    pub fn builtin() -> Self {
        match Self::parse(BUILTIN) {
            Ok(book) => book,
            // INVARIANT: the embedded files are fixed at build time and a test parses them.
            Err(e) => unreachable!("embedded rules: {e}"),
        }
    }

    /// Reads the texts of `repair.csv`, `retention.csv`, `deadlines.csv`, `recognition.csv`, `tiers.csv`, `authorities.csv`
    /// and `publication.csv`, in this order.
    ///
    /// Errors: a malformed line, a set whose lines disagree, or two sets of one kind, two rules of one region or two terms of
    /// one duty for the same day.
    pub fn parse(texts: [&str; 7]) -> Result<Self, CatalogError> {
        let [repair, retention, deadlines, recognition, tiers, authorities, publication] = texts;
        let authorities = Authorities::parse(authorities)?;
        let mut sets: Vec<RuleSet> = Vec::new();
        for line in table("repair.csv", repair, &REPAIR_COLUMNS)? {
            let set = RuleSet {
                id: line.required("id")?,
                kind: line.parse("authority_kind", |id| authorities.by_id(id))?,
                from: line.parse("from", Date::parse)?,
                until: line.optional("until", Date::parse)?,
                rules: Vec::new(),
            };
            let rule = parse_rule(&line)?;
            if let Some(known) = sets.iter_mut().find(|known| known.id == set.id) {
                if (known.kind, known.from, known.until) != (set.kind, set.from, set.until) {
                    return Err(line.error("from", "kind and dates differ between lines of one set"));
                }
                if known.rules.last().is_none_or(|last| last.tier >= rule.tier) {
                    return Err(line.error("tier", "tiers of a set must rise"));
                }
                known.rules.push(rule);
                continue;
            }
            if set.until.is_some_and(|until| until < set.from) {
                return Err(line.error("until", "lies before `from`"));
            }
            // Two sets for one decision would let the order of lines decide a case.
            if sets.iter().any(|s| s.kind == set.kind && overlap((s.from, s.until), (set.from, set.until))) {
                return Err(line.error("from", "overlaps another set of the same kind"));
            }
            sets.push(RuleSet { rules: vec![rule], ..set });
        }
        let mut regions: Vec<Result<Retention, (String, String)>> = Vec::new();
        for line in table("retention.csv", retention, &RETENTION_COLUMNS)? {
            let rule = parse_retention(&line)?;
            let clash = |known: &Retention, rule: &Retention| {
                known.region == rule.region
                    && overlap((known.valid_from, known.valid_until), (rule.valid_from, rule.valid_until))
            };
            if let Ok(rule) = &rule
                && regions.iter().flatten().any(|known| clash(known, rule))
            {
                return Err(line.error("valid_from", "overlaps another rule of the region"));
            }
            regions.push(rule);
        }
        let mut terms: Vec<Term> = Vec::new();
        for line in table("deadlines.csv", deadlines, &DEADLINE_COLUMNS)? {
            let term = Term {
                duty: line.parse("id", Duty::parse)?,
                region: line.parse("region", |text| match text {
                    NATIONAL => Some(None),
                    _ => (text.len() == 6).then(|| Some(text.to_owned())),
                })?,
                from: line.parse("valid_from", Date::parse)?,
                until: line.optional("valid_until", Date::parse)?,
                working_days: line
                    .parse("working_days", |text| text.parse().ok().filter(|n| *n <= WORKING_DAYS_MAX))?,
                source: line.required("source")?,
            };
            let clash = |t: &Term| {
                (t.duty, &t.region) == (term.duty, &term.region)
                    && overlap((t.from, t.until), (term.from, term.until))
            };
            if terms.iter().any(clash) {
                return Err(line.error("valid_from", "overlaps another term of the duty in the region"));
            }
            terms.push(term);
        }
        let mut places: Vec<Place> = Vec::new();
        for line in table("recognition.csv", recognition, &RECOGNITION_COLUMNS)? {
            let place = Place {
                system: line.parse("system", System::parse)?,
                change: line.parse("change", |text| (text == "repair").then_some(Change::Repair))?,
                rank: line.parse("rank", |text| text.parse().ok())?,
                from: line.parse("valid_from", Date::parse)?,
                until: line.optional("valid_until", Date::parse)?,
                source: line.required("source")?,
            };
            let clash = |p: &Place| {
                (p.change == place.change && overlap((p.from, p.until), (place.from, place.until)))
                    && (p.system == place.system || p.rank == place.rank)
            };
            if places.iter().any(clash) {
                return Err(line.error("rank", "is another's, or overlaps another line of the system"));
            }
            places.push(place);
        }
        let words = Words::parse(tiers, &sets)?;
        let publications = publication::parse(publication, &authorities)?;
        let digest = digest_of(&texts);
        Ok(Self { sets, retention: regions, terms, places, words, authorities, publications, digest })
    }

    /// How system `own` takes a result of `other` that was decided on `day`; `None` = it does not.
    pub fn recognition(
        &self,
        own: System,
        other: System,
        change: Change,
        day: Date,
    ) -> Option<Recognition<'_>> {
        let place = |system| {
            let covers = |p: &&Place| {
                (p.system, p.change) == (system, change) && overlap((p.from, p.until), (day, Some(day)))
            };
            self.places.iter().find(covers)
        };
        let (own, other) = (place(own)?, place(other)?);
        (own.system != other.system)
            .then_some(Recognition { prevails: own.rank < other.rank, source: &own.source })
    }

    /// The time a duty takes in `region` after what happened on `day`: by the region's own rule, else by that of its
    /// province, else by the national one; `None` = not provided. A neighbour's is never taken.
    pub fn term(&self, duty: Duty, region: &str, day: Date) -> Option<&Term> {
        let covers = |t: &&Term| t.duty == duty && overlap((t.from, t.until), (day, Some(day)));
        let of =
            |place: Option<&str>| self.terms.iter().filter(covers).find(|t| t.region.as_deref() == place);
        of(Some(region)).or_else(|| of(Some(&province_of(region)))).or_else(|| of(None))
    }

    /// How a decision of such an authority about an item is published; `None` = not provided.
    pub fn publication(&self, item: &ItemId, kind: AuthorityKind, decided: Date) -> Option<&Publication> {
        publication::find(&self.publications, item, kind, decided)
    }

    /// The rule with this id, as an entry names it.
    pub fn publication_named(&self, id: &str) -> Option<&Publication> {
        self.publications.iter().find(|rule| rule.id == id)
    }

    /// SHA-256 over the seven texts, each with its length before it (8 bytes, big endian).
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whose rules the decisions of a body fall under, by its name.
    pub fn kind_of_body(&self, name: &str) -> AuthorityKind {
        self.authorities.of_body(name)
    }

    /// Every set, in the order of the file.
    pub fn sets(&self) -> &[RuleSet] {
        &self.sets
    }

    /// The set that rules over a decision of such an authority on that day.
    pub fn select(&self, kind: AuthorityKind, decided: Date) -> Option<&RuleSet> {
        let covers = |set: &&RuleSet| set.from <= decided && set.until.is_none_or(|until| decided <= until);
        self.sets.iter().filter(|set| set.kind == kind).find(covers)
    }

    /// The tier of a penalty by the words of the set that rules over the decision; general where none does, or where the
    /// record has no day: then no rule is found either.
    pub fn tier_of_penalty(&self, kind: AuthorityKind, decided: Option<Date>, penalty: &Penalty<'_>) -> Tier {
        let set = decided.and_then(|day| self.select(kind, day));
        set.map_or(penalty.stated.unwrap_or(Tier::General), |set| self.words.tier(&set.id, penalty))
    }

    /// The rule for a decision of that gravity.
    ///
    /// Errors: [`RuleError::NoRuleSet`], [`RuleError::NoTier`]. Never falls back to another set.
    pub fn rule(&self, kind: AuthorityKind, decided: Date, tier: Tier) -> Result<&Rule, RuleError> {
        let set = self.select(kind, decided).ok_or_else(|| {
            let (kind, kind_zh) = self.authorities.names(kind);
            RuleError::NoRuleSet { kind, kind_zh, decided }
        })?;
        set.rules
            .iter()
            .find(|rule| rule.tier == tier)
            .ok_or_else(|| RuleError::NoTier { set_id: set.id.clone(), tier })
    }

    /// Whose decisions a set rules over.
    pub fn kind_of_set(&self, set_id: &str) -> Option<AuthorityKind> {
        self.sets.iter().find(|set| set.id == set_id).map(|set| set.kind)
    }

    /// The rule with this set id and tier, for a record that names the set it was decided under.
    pub fn rule_of_set(&self, set_id: &str, tier: Tier) -> Option<&Rule> {
        self.sets.iter().find(|set| set.id == set_id)?.rules.iter().find(|rule| rule.tier == tier)
    }

    /// How long a region (`310000` or `sh`) lets a record be queried, by the rule in force on `day`: its own, or else that of
    /// its province, whose regulations hold in each of its districts.
    ///
    /// Errors: [`RuleError::NoRetention`] for an unknown region and for one whose regulation was not available.
    pub fn retention(&self, region: &str, day: Date) -> Result<&Retention, RuleError> {
        let holds = |r: &&Retention| overlap((r.valid_from, r.valid_until), (day, Some(day)));
        let rules = || self.retention.iter().flatten().filter(holds);
        let own = rules().find(|r| r.region == region || r.label == region);
        own.or_else(|| rules().find(|r| r.region == province_of(region)))
            .ok_or_else(|| RuleError::NoRetention { region: region.to_owned() })
    }

    /// Regions whose retention rule is known to be missing, as (region, label).
    pub fn retention_not_provided(&self) -> impl Iterator<Item = (&str, &str)> {
        self.retention
            .iter()
            .filter_map(|r| r.as_ref().err())
            .map(|(region, label)| (region.as_str(), label.as_str()))
    }
}

/// Why there is no rule. None of these may be answered by taking another rule instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// No set rules over decisions of this kind on this day.
    NoRuleSet {
        /// Whose decision: the kind's code.
        kind: String,
        /// Its Chinese name.
        kind_zh: String,
        /// When.
        decided: Date,
    },
    /// The set has no rule for this tier.
    NoTier {
        /// The set.
        set_id: String,
        /// The tier.
        tier: Tier,
    },
    /// No retention rule is provided for the region.
    NoRetention {
        /// As asked.
        region: String,
    },
}

impl RuleError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoRuleSet { .. } => "no_rule_set",
            Self::NoTier { .. } => "no_rule_for_tier",
            Self::NoRetention { .. } => "no_retention_rule",
        }
    }

    /// The same statement in Chinese.
    pub fn zh(&self) -> String {
        match self {
            Self::NoRuleSet { kind_zh, decided, .. } => {
                format!("没有适用于{kind_zh}{decided}所作决定的修复规则，不作推定")
            }
            Self::NoTier { set_id, tier } => {
                format!("规则`{set_id}`未规定“{}”失信的期限，不作推定", tier.zh())
            }
            Self::NoRetention { region } => format!("未提供地区`{region}`的保存期限规则，不作推定"),
        }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuleSet { kind, decided, .. } => {
                write!(f, "no rule set provided for a `{kind}` decision of {decided}")
            }
            Self::NoTier { set_id, tier } => {
                write!(f, "rule set `{set_id}` provides nothing for tier `{tier}`")
            }
            Self::NoRetention { region } => write!(f, "no retention rule provided for region `{region}`"),
        }
    }
}

impl std::error::Error for RuleError {}

/// Whether two periods have a day in common; without an end a period goes on.
fn overlap(a: (Date, Option<Date>), b: (Date, Option<Date>)) -> bool {
    b.1.is_none_or(|end| a.0 <= end) && a.1.is_none_or(|end| b.0 <= end)
}

fn parse_rule(line: &Line) -> Result<Rule, CatalogError> {
    let number = |max: u32| move |text: &str| text.parse::<u32>().ok().filter(|n| *n <= max);
    let rule = Rule {
        set_id: line.required("id")?,
        tier: line.parse("tier", Tier::parse)?,
        clock: line.parse("clock", |text| {
            [Clock::Decision, Clock::Publication].into_iter().find(|c| c.as_str() == text)
        })?,
        min_months: line.optional("min_months", number(MONTHS_MAX))?,
        max_months: line.optional("max_months", number(MONTHS_MAX))?,
        published: line.optional("published", |text| match text {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        })?,
        accept_working_days: line.optional("accept_working_days", number(WORKING_DAYS_MAX))?,
        decide_working_days: line.optional("decide_working_days", number(WORKING_DAYS_MAX))?,
        decide_from: line.optional("decide_from", |text| match text {
            "application" => Some(DecideFrom::Application),
            "acceptance" => Some(DecideFrom::Acceptance),
            _ => None,
        })?,
        ban_months: line.optional("ban_months", number(MONTHS_MAX))?,
        effect: line.required("effect")?,
        source: line.required("source")?,
        confidence: line.required("confidence")?,
        days_confidence: line.get("days_confidence").to_owned(),
    };
    if rule.min_months.zip(rule.max_months).is_some_and(|(min, max)| min > max) {
        return Err(line.error("max_months", "is less than min_months"));
    }
    Ok(rule)
}

fn parse_retention(line: &Line) -> Result<Result<Retention, (String, String)>, CatalogError> {
    let region = line
        .parse("region", |t| (t.len() == 6 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.to_owned()))?;
    let (label, source) = (line.required("label")?, line.required("source")?);
    let Some(years) = line.optional("years", |text| text.parse().ok())? else {
        return Ok(Err((region, label)));
    };
    Ok(Ok(Retention {
        region,
        label,
        name: line.required("name")?,
        years,
        from: line.parse("from", |text| match text {
            "end" => Some(RetentionFrom::End),
            "recognition" => Some(RetentionFrom::Recognition),
            _ => None,
        })?,
        effect: line.parse("effect", |text| match text {
            "stop" => Some(RetentionEffect::Stop),
            "delete" => Some(RetentionEffect::Delete),
            _ => None,
        })?,
        longer: line.optional("longer_tier", Tier::parse)?,
        valid_from: line.parse("valid_from", Date::parse)?,
        valid_until: line.optional("valid_until", Date::parse)?,
        source,
    }))
}

/// 50 years: a longer period in a rule file is a slip of the pen.
const MONTHS_MAX: u32 = 600;

/// About two years of working days; also bounds the loop of `Calendar::add_working_days`.
const WORKING_DAYS_MAX: u32 = 500;

const REPAIR_COLUMNS: [&str; 17] = [
    "id",
    "authority_kind",
    "from",
    "until",
    "clock",
    "tier",
    "min_months",
    "max_months",
    "published",
    "accept_working_days",
    "decide_working_days",
    "decide_from",
    "ban_months",
    "effect",
    "source",
    "confidence",
    "days_confidence",
];

const RETENTION_COLUMNS: [&str; 12] = [
    "region",
    "label",
    "name",
    "years",
    "from",
    "effect",
    "longer_tier",
    "note",
    "valid_from",
    "valid_until",
    "source",
    "confidence",
];

const RECOGNITION_COLUMNS: [&str; 7] =
    ["system", "change", "rank", "valid_from", "valid_until", "source", "confidence"];

const DEADLINE_COLUMNS: [&str; 7] =
    ["id", "region", "valid_from", "valid_until", "working_days", "source", "confidence"];

/// In place of a region: the whole country.
const NATIONAL: &str = "*";

const REPAIR: &str = include_str!("../data/rules/repair.csv");
const RETENTION: &str = include_str!("../data/rules/retention.csv");
const DEADLINES: &str = include_str!("../data/rules/deadlines.csv");
const RECOGNITION: &str = include_str!("../data/rules/recognition.csv");
const TIERS: &str = include_str!("../data/rules/tiers.csv");
const AUTHORITIES: &str = include_str!("../data/rules/authorities.csv");
const PUBLICATION: &str = include_str!("../data/rules/publication.csv");
const BUILTIN: [&str; 7] = [REPAIR, RETENTION, DEADLINES, RECOGNITION, TIERS, AUTHORITIES, PUBLICATION];

#[cfg(test)]
mod tests;
