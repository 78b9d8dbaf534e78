//! Who guesses identifiers learns nothing: a refusal about somebody who is on record has the shape and the size of one about
//! somebody who is not, whatever it rests on. What they take in time, the program `guesses` prints.
#![allow(clippy::unwrap_used, reason = "a test; what fails here fails the test")]

use conformance::guesses::{KNOWN, Rests, UNKNOWN, stage};
use exchange::answer::OpenedAnswer;

#[test]
fn a_refusal_does_not_tell_whether_a_subject_is_on_record() {
    let stage = stage();
    let rules = |answer: &OpenedAnswer| -> Vec<String> {
        answer.withheld.iter().map(|w| format!("{} {} {}", w.item, w.field.0, w.rule)).collect()
    };
    let mut sizes = Vec::new();
    for rests in [Rests::OnNothing, Rests::OnAnothersGrant] {
        let (size, refused) = stage.answered(KNOWN, rests);
        let (other_size, other) = stage.answered(UNKNOWN, rests);
        assert!(refused.refused && other.refused && refused.records.is_empty() && other.records.is_empty());
        assert_eq!(size, other_size, "{rests:?}");
        assert_eq!((refused.index, refused.more, rules(&refused)), (other.index, other.more, rules(&other)));
        sizes.push((size, rules(&refused)));
    }
    // Between the two there are only the reference to the grant and the rule's name, and the asker knows both.
    assert_ne!(sizes[0].1, sizes[1].1);
    // The harness tells a record from none: on a grant of the subject's own, they differ, as they must.
    let (found, none) =
        (stage.answered(KNOWN, Rests::OnItsOwnGrant), stage.answered(UNKNOWN, Rests::OnItsOwnGrant));
    assert_eq!((found.1.records.len(), none.1.records.len()), (1, 0));
    assert!(found.0 > none.0);
}
