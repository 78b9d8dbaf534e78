//! Frames: one encoding per message, and no bytes that make the decoder panic.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends with a panic

use credit::{
    grant::GrantChange,
    id::{CaseId, ClerkId, MemberId, SourceId},
};
use crypto::{Bytes, Digest};
use exchange::{
    limits::FRAME_BYTES_MAX,
    logs::LogName,
    refusal::{Code, Refusal},
    wire::{Operation, Request, Response, VERSION, from_frame, to_frame},
};
use proptest::prelude::*;

fn requests() -> Vec<Request> {
    vec![
        Request::Registry,
        Request::Pull { owner: MemberId::parse("sh").unwrap(), log: LogName::Status, from: 300 },
        Request::Heads,
        Request::Prove { owner: MemberId::parse("sh").unwrap(), log: LogName::Access, old: 3, new: 300 },
        Request::AddCheckpoint(Bytes(b"old 0\n\n".to_vec())),
        Request::Operate(Operation::AddSource(SourceId::parse("transport").unwrap())),
        Request::Operate(Operation::ChangeGrant(Digest([5; 32]), GrantChange::Pause)),
        Request::Operate(Operation::Prove { log: LogName::Access, index: 300 }),
        Request::Operate(Operation::DecideRepair {
            case: CaseId([7; 16]),
            grant: false,
            reason: "未履行".into(),
            clerk: ClerkId::parse("c-7"),
        }),
    ]
}

#[test]
fn a_message_has_one_encoding_and_reads_back() {
    for request in requests() {
        let frame = to_frame(&request);
        assert_eq!(from_frame::<Request>(&frame, FRAME_BYTES_MAX).unwrap(), request);
        let mut longer = frame.clone();
        longer.push(0);
        assert_eq!(
            from_frame::<Request>(&longer, FRAME_BYTES_MAX).unwrap_err().known(),
            Some(Code::FrameMalformed)
        );
        assert!(
            from_frame::<Request>(&frame, frame.len() - 1)
                .is_err_and(|r| r.known() == Some(Code::FrameTooLong))
        );
    }
}

#[test]
fn every_refusal_code_travels_and_is_known_again() {
    for code in Code::ALL {
        let response = Response::Refused(Refusal::new(*code, "why"));
        let Response::Refused(read) = from_frame(&to_frame(&response), FRAME_BYTES_MAX).unwrap() else {
            panic!()
        };
        assert_eq!(read.known(), Some(*code));
        assert!(!code.zh().is_empty() && !code.en().is_empty());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic_and_what_it_accepts_is_canonical(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let frame = [&[VERSION][..], &bytes].concat();
        if let Ok(request) = from_frame::<Request>(&frame, FRAME_BYTES_MAX) {
            prop_assert_eq!(to_frame(&request), frame.clone());
        }
        if let Ok(response) = from_frame::<Response>(&frame, FRAME_BYTES_MAX) {
            prop_assert_eq!(to_frame(&response), frame);
        }
    }

    #[test]
    fn a_changed_frame_is_refused_or_another_message(which in 0usize..5, at in any::<prop::sample::Index>(), flip in 1u8..) {
        let request = &requests()[which];
        let mut frame = to_frame(request);
        let at = at.index(frame.len());
        frame[at] ^= flip;
        if let Ok(read) = from_frame::<Request>(&frame, FRAME_BYTES_MAX) {
            prop_assert_ne!(&read, request);
        }
    }
}
