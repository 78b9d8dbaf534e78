//! What the built-in rule sets say of acts, regions and days, and which files are refused.

use super::*;

fn date(text: &str) -> Date {
    Date::parse(text).unwrap()
}

#[test]
fn the_decision_date_selects_the_order() {
    let book = RuleBook::builtin();
    let table = [
        (AuthorityKind::GENERAL, "2023-04-30", None),
        (AuthorityKind::GENERAL, "2023-05-01", Some("ndrc-58")),
        (AuthorityKind::GENERAL, "2026-03-31", Some("ndrc-58")),
        (AuthorityKind::GENERAL, "2026-04-01", Some("ndrc-36")),
        (AuthorityKind::SAMR, "2025-12-24", None),
        (AuthorityKind::SAMR, "2025-12-25", Some("samr-107")),
        (AuthorityKind::SAMR, "2026-11-01", Some("samr-107")),
    ];
    for (kind, decided, id) in table {
        assert_eq!(book.select(kind, date(decided)).map(|set| set.id.as_str()), id, "{kind:?} {decided}");
    }
    let e = book.rule(AuthorityKind::SAMR, date("2025-12-24"), Tier::General).unwrap_err();
    assert_eq!(e.code(), "no_rule_set");
    assert_eq!(e.to_string(), "no rule set provided for a `samr` decision of 2025-12-24");
}

#[test]
fn the_same_act_ages_by_different_clocks() {
    let book = RuleBook::builtin();
    let (decided, published) = (date("2026-04-10"), date("2026-04-20"));
    let general = book.rule(AuthorityKind::GENERAL, decided, Tier::General).unwrap();
    assert_eq!(general.earliest_repair(decided, published), Some(date("2026-07-10")));
    assert_eq!(general.publicity_end(decided, published), Some(date("2027-04-10")));
    assert_eq!((general.accept_working_days, general.decide_working_days), (Some(3), Some(10)));
    let samr = book.rule(AuthorityKind::SAMR, decided, Tier::General).unwrap();
    assert_eq!(samr.earliest_repair(decided, published), Some(date("2026-07-20")));
    assert_eq!(samr.accept_working_days, None);
    let serious = book.rule(AuthorityKind::GENERAL, decided, Tier::Serious).unwrap();
    assert_eq!(serious.earliest_repair(decided, published), Some(date("2027-04-10")));
    assert_eq!(serious.publicity_end(decided, published), Some(date("2029-04-10")));
    let minor = book.rule(AuthorityKind::GENERAL, decided, Tier::Minor).unwrap();
    assert_eq!((minor.earliest_repair(decided, published), minor.published), (Some(decided), Some(false)));
}

#[test]
fn a_period_that_is_not_provided_fails_closed() {
    let book = RuleBook::builtin();
    let day = date("2026-01-31");
    let old = book.rule(AuthorityKind::GENERAL, day, Tier::Serious).unwrap();
    assert_eq!((old.min_months, old.max_months), (Some(12), None));
    assert_eq!(old.publicity_end(day, day), None);
    let only_max = Rule { min_months: None, max_months: Some(3), ..old.clone() };
    assert_eq!(only_max.earliest_repair(day, day), Some(date("2026-04-30")));
    let neither = Rule { min_months: None, ..old.clone() };
    assert_eq!(neither.earliest_repair(day, day), None);
}

#[test]
fn no_act_is_worse_off_than_a_graver_one_and_what_need_not_be_published_is_repairable_at_once() {
    let day = date("2026-01-31");
    // A maximum that is not provided is no end.
    let times = |rule: &Rule| {
        let end = rule.publicity_end(day, day).unwrap_or(Date::LONG_TERM);
        (rule.earliest_repair(day, day).unwrap(), end)
    };
    for set in RuleBook::builtin().sets() {
        for (rule, graver) in set.rules.iter().zip(&set.rules[1..]) {
            let (now, then) = (times(rule), times(graver));
            assert!(now.0 <= then.0 && now.1 <= then.1, "{} {}", set.id, rule.tier);
        }
        for rule in set.rules.iter().filter(|rule| rule.published != Some(true)) {
            assert_eq!(rule.earliest_repair(day, day), Some(day), "{} {}", set.id, rule.tier);
            assert!(rule.max_months.is_some() && !rule.waits_for_publication(), "{}", set.id);
        }
    }
}

#[test]
fn nothing_counts_from_a_publication_before_the_decision() {
    let (book, decided) = (RuleBook::builtin(), date("2026-04-10"));
    let rule = book.rule(AuthorityKind::SAMR, decided, Tier::General).unwrap();
    let before = date("2025-04-10");
    assert_eq!(rule.earliest_repair(decided, before), Some(date("2026-07-10")));
    assert_eq!(rule.publicity_end(decided, before), Some(date("2027-04-10")));
}

#[test]
fn a_court_has_no_rule_set_and_none_is_guessed() {
    let book = RuleBook::builtin();
    let court = book.kind_of_body("示例市示例区人民法院");
    let e = book.rule(court, date("2026-05-01"), Tier::General).unwrap_err();
    assert_eq!(e.to_string(), "no rule set provided for a `court` decision of 2026-05-01");
    assert_eq!(e.zh(), "没有适用于人民法院2026-05-01所作决定的修复规则，不作推定");
}

#[test]
fn neighbouring_regions_do_not_inherit_each_others_retention() {
    let book = RuleBook::builtin();
    let today = date("2026-11-25");
    let (sh, zj) = (book.retention("sh", today).unwrap(), book.retention("330000", today).unwrap());
    assert_eq!((sh.years, sh.from, sh.effect), (5, RetentionFrom::End, RetentionEffect::Stop));
    assert_eq!((zj.years, zj.from, zj.effect), (5, RetentionFrom::Recognition, RetentionEffect::Delete));
    let (decided, ended) = (Some(date("2020-02-29")), Some(date("2019-12-31")));
    assert_eq!((sh.end(decided, None), zj.end(decided, None)), (None, Some(date("2025-02-28"))));
    // Told the end of the act, the one counts from it and the other still does not.
    assert_eq!(
        (sh.end(decided, ended), zj.end(decided, ended)),
        (Some(date("2024-12-31")), zj.end(decided, None))
    );
    assert_eq!((sh.longer, zj.longer), (None, Some(Tier::Serious)));
    // A district lies under the regulation of its province.
    for district in ["310105", "310110"] {
        assert_eq!(book.retention(district, today), Ok(sh), "{district}");
    }
    assert_eq!(book.retention("330421", today), Ok(zj));
    // Known to be missing, never heard of, and not yet in force: nobody's rule is taken instead.
    for (region, day) in
        [("js", today), ("320509", today), ("440000", today), ("", today), ("zj", date("2017-12-31"))]
    {
        let refused = book.retention(region, day).unwrap_err();
        assert_eq!(refused.code(), "no_retention_rule", "{region}");
        assert!(refused.zh().contains("不作推定"));
    }
    assert_eq!(book.retention_not_provided().map(|(_, label)| label).collect::<Vec<_>>(), ["js", "ah"]);
}

#[test]
fn another_order_is_another_line_and_no_code() {
    let next = "ndrc-99,general,2030-01-01,,decision,general,1,6,1,2,5,application,24,终止公示,示例令,K,K\n";
    let ended = REPAIR.replace("ndrc-36,general,2026-04-01,,", "ndrc-36,general,2026-04-01,2029-12-31,");
    let term = "acknowledge,310000,2030-01-01,,1,示例条例,K\n";
    let (open, ended_term) = ("acknowledge,310000,2024-11-01,,", "acknowledge,310000,2024-11-01,2029-12-31,");
    let deadlines = DEADLINES.replace(open, ended_term);
    let book = RuleBook::parse([
        &(ended + next),
        RETENTION,
        &(deadlines + term),
        RECOGNITION,
        TIERS,
        AUTHORITIES,
        PUBLICATION,
    ])
    .unwrap();
    let rule = |day| book.rule(AuthorityKind::GENERAL, date(day), Tier::General).unwrap();
    assert_eq!((rule("2029-12-31").set_id.as_str(), rule("2029-12-31").ban_months), ("ndrc-36", None));
    assert_eq!((rule("2030-01-01").set_id.as_str(), rule("2030-01-01").ban_months), ("ndrc-99", Some(24)));
    assert_eq!(rule("2030-01-01").decide_working_days, Some(5));
    let days = |day| book.term(Duty::Acknowledge, "310000", date(day)).map(|t| t.working_days);
    assert_eq!((days("2024-10-31"), days("2029-12-31"), days("2030-01-01")), (None, Some(3), Some(1)));
    assert_ne!(book.digest(), RuleBook::builtin().digest());
}

#[test]
fn a_region_has_its_own_time_or_the_national_one_and_never_a_neighbours() {
    let book = RuleBook::builtin();
    let term = |duty, region| book.term(duty, region, date("2026-04-01"));
    let days = |duty, region| term(duty, region).map(|t| t.working_days);
    assert_eq!(days(Duty::MarkObjection, "310000"), Some(1));
    assert_eq!(days(Duty::MarkObjection, "330000"), Some(0));
    assert_eq!(days(Duty::AnswerObjection, "330000"), Some(5));
    // A district has its province's time, unless it has a line of its own.
    assert_eq!(term(Duty::HandIn, "310105"), term(Duty::HandIn, "*"));
    assert_eq!(term(Duty::Acknowledge, "310105"), term(Duty::Acknowledge, "310000"));
    assert_eq!(days(Duty::MarkObjection, "330421"), Some(0));
    let own = format!("{DEADLINES}mark-objection,310105,2020-01-01,,2,示例,K\n");
    let texts = [REPAIR, RETENTION, &own, RECOGNITION, TIERS, AUTHORITIES, PUBLICATION];
    let own = RuleBook::parse(texts).unwrap();
    let mark = |region| own.term(Duty::MarkObjection, region, date("2026-04-01")).map(|t| t.working_days);
    assert_eq!((mark("310105"), mark("310110"), mark("310000")), (Some(2), Some(1), Some(1)));
    for region in ["320000", "320509", "340000", ""] {
        assert_eq!(days(Duty::MarkObjection, region), None, "{region}");
        assert_eq!(days(Duty::Acknowledge, region), None, "{region}");
        assert!(term(Duty::EraseWithdrawn, region).unwrap().source.contains("行政处罚法"), "{region}");
    }
    assert!(term(Duty::EraseWithdrawn, "310000").unwrap().source.contains("上海市"));
    assert_eq!(book.term(Duty::EraseWithdrawn, "320000", date("2021-07-14")), None);
}

#[test]
fn of_two_systems_one_prevails_and_none_recognises_before_the_order() {
    let book = RuleBook::builtin();
    let of = |own, other, day| book.recognition(own, other, Change::Repair, date(day));
    let prevails = |own, other| of(own, other, "2026-04-01").map(|r| r.prevails);
    assert_eq!(prevails(System::CreditChina, System::Gsxt), Some(true));
    assert_eq!(prevails(System::Gsxt, System::CreditChina), Some(false));
    assert_eq!(prevails(System::Gsxt, System::Gsxt), None);
    assert_eq!(of(System::Gsxt, System::CreditChina, "2026-03-31"), None);
    let change = Change::Withdraw;
    assert_eq!(book.recognition(System::Gsxt, System::CreditChina, change, date("2026-04-01")), None);
    let same = RECOGNITION.replace("gsxt,repair,2", "gsxt,repair,1");
    assert_eq!(
        RuleBook::parse([REPAIR, RETENTION, DEADLINES, &same, TIERS, AUTHORITIES, PUBLICATION])
            .unwrap_err()
            .column,
        "rank"
    );
}

#[test]
fn refuses_rule_files_that_contradict_themselves() {
    let overlap = REPAIR.replace("2026-04-01,,decision", "2026-03-01,,decision");
    assert_eq!(
        RuleBook::parse([&overlap, RETENTION, DEADLINES, RECOGNITION, TIERS, AUTHORITIES, PUBLICATION])
            .unwrap_err()
            .column,
        "from"
    );
    let split = REPAIR.replacen("2026-04-01,,decision", "2026-05-01,,decision", 1);
    assert_eq!(
        RuleBook::parse([&split, RETENTION, DEADLINES, RECOGNITION, TIERS, AUTHORITIES, PUBLICATION])
            .unwrap_err()
            .column,
        "from"
    );
    let min = REPAIR.replacen("general,3,12", "general,13,12", 1);
    assert_eq!(
        RuleBook::parse([&min, RETENTION, DEADLINES, RECOGNITION, TIERS, AUTHORITIES, PUBLICATION])
            .unwrap_err()
            .column,
        "max_months"
    );
    let tier = REPAIR.replacen("general,3,12", "minor,3,12", 1);
    assert_eq!(
        RuleBook::parse([&tier, RETENTION, DEADLINES, RECOGNITION, TIERS, AUTHORITIES, PUBLICATION])
            .unwrap_err()
            .column,
        "tier"
    );
    let twice = format!("{DEADLINES}forward,310000,2020-01-01,,1,示例,K\n");
    assert_eq!(
        RuleBook::parse([REPAIR, RETENTION, &twice, RECOGNITION, TIERS, AUTHORITIES, PUBLICATION])
            .unwrap_err()
            .column,
        "valid_from"
    );
    let twice = format!("{RETENTION}310000,sh,上海市,3,end,stop,,,2020-01-01,,示例,K\n");
    assert_eq!(
        RuleBook::parse([REPAIR, &twice, DEADLINES, RECOGNITION, TIERS, AUTHORITIES, PUBLICATION])
            .unwrap_err()
            .column,
        "valid_from"
    );
    assert_ne!(
        RuleBook::parse([
            REPAIR,
            &RETENTION.replace(",5,", ",6,"),
            DEADLINES,
            RECOGNITION,
            TIERS,
            AUTHORITIES,
            PUBLICATION
        ])
        .unwrap()
        .digest(),
        RuleBook::builtin().digest()
    );
}
