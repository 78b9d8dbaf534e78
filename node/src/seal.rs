//! After commit: opens the granted fields and seals them to the asker, on the pool. Values are in clear here only
//! between two ciphers.

use exchange::{answer, answer::Plan, refusal::Fault, wire::Response};

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
