//! On the pool: after commit, opens the granted fields and seals them to the asker; before it, judges what a question wants
//! checked. Values are in clear here only.

use exchange::{
    answer::{self, Plan},
    check::{self, Judging},
    member::Input,
    refusal::{Fault, Refusal},
    wire::Response,
};

use crate::{clock, core::Shared};

/// Seals a planned answer.
pub fn answer(shared: &Shared, plan: &Plan) -> Result<Response, Fault> {
    let context = &shared.context();
    let key = |slot| shared.keys.record_key(slot);
    let sealed =
        answer::seal(&shared.store, &context.own.id, &context.registry, &key, plan, &clock::secret())?;
    Ok(match sealed {
        Ok(answer) => Response::Answer(Box::new(answer)),
        Err(refusal) => Response::Refused(refusal),
    })
}

/// Judges the checks of a question; the question, to be handed in again with what came out.
pub fn judge(shared: &Shared, judging: Judging) -> Result<Result<Input, Refusal>, Fault> {
    let key = |slot| shared.keys.record_key(slot);
    let judged = check::judge(&shared.context(), &shared.store, &key, &judging)?;
    let Judging { caller, question, grant, .. } = judging;
    Ok(judged.map(|judged| Input::Question { caller, question, grant, judged: Some(Box::new(judged)) }))
}
