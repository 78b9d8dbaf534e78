//! The policy as a table: one line per case, the last column the rule that decides, ordered by precedence.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends with a panic

use credit::{
    catalog::{Catalog, Mode, Purpose},
    grant::{Frequency, Grant, GrantLife, Scope, Uses},
    id::{FieldId, GrantId, ItemId, MemberId},
    policy::{
        Asking, BasisFacts, Policy, Role, Verdict,
        cases::{About, Supposed, Trial},
    },
    subject::{SubjectId, uscc_from_parts},
};
use crypto::{Digest, Timestamp};

/// 2026-06-01 00:00 UTC.
const NOW: u64 = 1_780_272_000_000;

fn member(text: &str) -> MemberId {
    MemberId::parse(text).unwrap()
}

fn subject(n: u64) -> SubjectId {
    uscc_from_parts("91", "320505", n).unwrap()
}

fn item(text: &str) -> ItemId {
    ItemId::parse(text).unwrap()
}

/// 2025-07-31: the day before the rules on sharing between authorities came into force.
const BEFORE: u64 = 1_753_920_000_000;

/// A grant to bank-a about subject 1 for pre-loan review: every field of NSXY, and CF's document number.
fn grant() -> Grant {
    Grant {
        id: GrantId([1; 16]),
        collector: member("js"),
        subject: subject(1),
        grantee: member("bank-a"),
        purposes: vec![Purpose::LoanReview],
        scope: vec![
            Scope { item: item("CF"), fields: vec![FieldId(11), FieldId(14)] },
            Scope { item: item("NSXY"), fields: vec![] },
        ],
        not_before: Timestamp(NOW - 10),
        not_after: Timestamp(NOW + 10),
        uses_max: 3,
        keep_days: 30,
        letter: Some(Digest::ZERO),
        binding: None,
        period: Some(Frequency { uses: 2, days: 1 }),
    }
}

#[derive(Clone, Copy)]
enum Basis {
    Granted,
    Stranger,
    Used,
    Often,
    Paused,
    Revoked,
    NotCollector,
    Duty,
    Own,
    Nothing,
}

/// Role, asker, subject, purpose, basis, time, item, field; the rule that decides.
type Line = (Role, &'static str, u64, Purpose, Basis, u64, &'static str, u16, &'static str);

#[test]
fn every_verdict_names_the_rule_of_the_table() {
    use Basis::*;
    use Purpose::{Administration, LoanReview, PostLoan, Self_};
    #[rustfmt::skip]
    let table: &[Line] = &[
        // role, asker, subject, purpose, basis, now, item, field, rule
        (Role::Bank,     "bank-a", 1, LoanReview,     Granted,      NOW,      "CF",   14, "bank-granted"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Granted,      NOW,      "NSXY",  5, "bank-granted"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Granted,      NOW,      "NSXY", 99, "field-unknown"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Nothing,      NOW,      "NSXY",  5, "grant-missing"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Stranger,     NOW,      "NSXY",  5, "grant-collector"),
        (Role::Bank,     "bank-a", 1, LoanReview,     NotCollector, NOW,      "NSXY",  5, "grant-collector"),
        (Role::Bank,     "bank-b", 1, LoanReview,     Granted,      NOW,      "NSXY",  5, "grant-other-asker"),
        (Role::Bank,     "bank-a", 2, LoanReview,     Granted,      NOW,      "NSXY",  5, "grant-other-subject"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Revoked,      NOW,      "NSXY",  5, "grant-revoked"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Granted,      NOW - 11, "NSXY",  5, "grant-not-yet"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Granted,      NOW + 9,  "NSXY",  5, "bank-granted"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Granted,      NOW + 10, "NSXY",  5, "grant-expired"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Used,         NOW,      "NSXY",  5, "grant-used-up"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Often,        NOW,      "NSXY",  5, "grant-too-often"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Paused,       NOW,      "NSXY",  5, "grant-paused"),
        (Role::Bank,     "bank-a", 1, PostLoan,       Paused,       NOW,      "NSXY",  5, "grant-paused"),
        (Role::Bank,     "bank-a", 1, PostLoan,       Granted,      NOW,      "NSXY",  5, "grant-other-purpose"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Granted,      NOW,      "CF",   19, "grant-field"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Granted,      NOW,      "NSXY",  6, "verify-only"),
        (Role::Bank,     "bank-a", 1, LoanReview,     Granted,      NOW,      "CF",   11, "bank-government"),
        (Role::Bank,     "bank-a", 1, Administration, Duty,         NOW,      "CF",   14, "default-deny"),
        (Role::Region,   "zj",     1, Administration, Duty,         NOW,      "CF",   14, "administration-duty"),
        (Role::Region,   "zj",     1, Administration, Duty,         NOW,      "CF",   31, "administration-duty"),
        (Role::Region,   "zj",     1, Administration, Duty,         BEFORE,   "CF",   14, "default-deny"),
        (Role::Region,   "zj",     1, Self_,          Own,          NOW,      "NSXY",  5, "own-report"),
        (Role::Region,   "zj",     1, Self_,          Duty,         NOW,      "NSXY",  5, "default-deny"),
        (Role::Bank,     "bank-a", 1, Self_,          Own,          NOW,      "NSXY",  5, "default-deny"),
        (Role::Region,   "zj",     1, Administration, Nothing,      NOW,      "CF",   14, "default-deny"),
        (Role::Region,   "zj",     1, Administration, Duty,         NOW,      "NSXY",  5, "default-deny"),
        (Role::Platform, "xyd",    1, LoanReview,     Nothing,      NOW,      "CF",   14, "default-deny"),
        (Role::Auditor,  "audit",  1, Administration, Duty,         NOW,      "CF",   14, "default-deny"),
    ];
    let (policy, catalog, grant) = (Policy::builtin(), Catalog::builtin(), grant());
    for (line, (role, asker, about, purpose, basis, now, of, field, rule)) in table.iter().enumerate() {
        let (mut life, mut uses) = (GrantLife::default(), Uses::default());
        for _ in 0..match basis {
            Used => 3,
            Often => 2,
            _ => 1,
        } {
            uses.count(Timestamp(NOW));
        }
        match basis {
            Revoked => life = GrantLife::of_revocation(0),
            Paused => life = GrantLife::of_pause(true, 0, None),
            _ => {}
        }
        let (asker, subject) = (member(asker), subject(*about));
        let basis = match basis {
            Duty => BasisFacts::Duty,
            Own => BasisFacts::Own,
            Nothing => BasisFacts::None,
            Stranger => BasisFacts::UnknownCollector,
            _ => BasisFacts::Grant {
                grant: &grant,
                status: grant.status(&life, &uses, Timestamp(*now)),
                collector_registered: !matches!(basis, NotCollector),
            },
        };
        let (role, purpose) = (*role, *purpose);
        let asking =
            Asking { role, asker: &asker, purpose, subject: Some(&subject), basis, at: Timestamp(*now) };
        let verdict = policy.decide(&asking, &catalog, &item(of), FieldId(*field));
        let (decided, allows) = match &verdict {
            Verdict::Allow { rule, mode } => {
                assert_ne!(*mode, Mode::Verify, "line {line}");
                (rule, true)
            }
            Verdict::Deny { rule } => (rule, false),
        };
        assert_eq!(decided.0, *rule, "line {line}");
        assert_eq!(
            allows,
            matches!(*rule, "bank-granted" | "administration-duty" | "own-report"),
            "line {line}"
        );
        assert!(policy.rule(decided).is_some(), "line {line}: the rule stands in the file");
    }
}

#[test]
fn what_is_not_public_of_a_company_is_told_under_its_grant_or_to_itself_alone() {
    let (policy, catalog) = (Policy::builtin(), Catalog::builtin());
    for field in &catalog.item(&item("NSXY")).unwrap().fields {
        let about = About::Field(item("NSXY"), field.id);
        for (role, purpose, basis) in everything() {
            if matches!(
                Trial { role, purpose, basis, at: Timestamp(NOW) }.verdict(&policy, &catalog, &about),
                Verdict::Allow { .. }
            ) {
                let granted = role == Role::Bank && basis == Supposed::Grant;
                let own = role.collects() && purpose == Purpose::Self_ && basis == Supposed::Own;
                assert!(granted || own, "{} for {purpose} on {}", role.as_str(), basis.as_str());
            }
        }
    }
}

#[test]
fn whom_accesses_are_about_is_told_to_an_auditor_under_its_mandate_alone() {
    let (policy, catalog) = (Policy::builtin(), Catalog::builtin());
    for (role, purpose, basis) in everything() {
        let told = matches!(
            Trial { role, purpose, basis, at: Timestamp(NOW) }.verdict(&policy, &catalog, &About::Identity),
            Verdict::Allow { .. }
        );
        let mandated = (role, purpose, basis) == (Role::Auditor, Purpose::Audit, Supposed::Mandate);
        assert_eq!(told, mandated, "{} for {purpose} on {}", role.as_str(), basis.as_str());
    }
}

/// Every role, purpose and basis.
fn everything() -> Vec<(Role, Purpose, Supposed)> {
    let of = |role| Purpose::ALL.iter().map(move |purpose| (role, *purpose));
    let roles = Role::ALL.into_iter().flat_map(of);
    roles.flat_map(|(role, purpose)| Supposed::all().map(move |basis| (role, purpose, basis))).collect()
}

#[test]
fn the_name_of_a_natural_person_is_masked_and_that_of_a_company_is_not() {
    let (policy, catalog, zj) = (Policy::builtin(), Catalog::builtin(), member("zj"));
    let person =
        "0123456789X".chars().find_map(|c| SubjectId::parse(&format!("32010219900101001{c}")).ok()).unwrap();
    let mode = |subject: &SubjectId, field: u16| {
        let (role, purpose, basis) = (Role::Region, Purpose::Administration, BasisFacts::Duty);
        let asking = Asking { role, asker: &zj, purpose, subject: Some(subject), basis, at: Timestamp(NOW) };
        match policy.decide(&asking, &catalog, &item("CF"), FieldId(field)) {
            Verdict::Allow { mode, .. } => mode,
            Verdict::Deny { rule } => panic!("{rule}"),
        }
    };
    assert_eq!((mode(&person, 1), mode(&subject(1), 1)), (Mode::Mask, Mode::Value));
    assert_eq!((mode(&person, 14), mode(&person, 10)), (Mode::Value, Mode::Mask));
}
