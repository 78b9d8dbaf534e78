//! On the pool: after commit, opens the granted fields and seals them to the asker; before it, judges what a question wants
//! checked. Values are in clear here only.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use credit::id::MemberId;
use crypto::Timestamp;
use exchange::{
    answer::{self, AnswerNumber, Epoch, Plan, Provers},
    check::{self, Judging},
    limits::EPOCH_MS,
    member::Input,
    refusal::{Fault, Refusal},
    registry::Registry,
    wire::Response,
};

use crate::{clock, core::Shared};

/// What answers have in common: the epochs towards their askers, and the inner nodes of the logs they are proved
/// against.
#[derive(Default)]
pub struct Sealing {
    epochs: Mutex<BTreeMap<MemberId, (Timestamp, Arc<Epoch>)>>,
    /// Makes the paths.
    pub provers: Provers,
}

impl Sealing {
    /// The epoch towards `asker`, begun anew when it is old or the asker's key is another one. There is one for each
    /// member that has asked.
    pub fn epoch(
        &self,
        registry: &Registry,
        own: &MemberId,
        asker: &MemberId,
    ) -> Result<Arc<Epoch>, Refusal> {
        let now = clock::now();
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        match epochs.get(asker) {
            Some((began, epoch))
                if now < began.plus_ms(EPOCH_MS) && now >= *began && epoch.stands(registry, asker) =>
            {
                Ok(epoch.clone())
            }
            _ => {
                let epoch = Arc::new(Epoch::begin(registry, own, asker, &clock::secret())?);
                epochs.insert(asker.clone(), (now, epoch.clone()));
                Ok(epoch)
            }
        }
    }
}

/// Seals a planned answer.
pub fn answer(shared: &Shared, plan: &Plan) -> Result<Response, Fault> {
    let context = &shared.context();
    let own = &context.own.id;
    let key = |slot| shared.keys.record_key(slot);
    let view = shared.store.freeze()?;
    let sealed = match shared.sealing.epoch(&context.registry, own, &plan.asker) {
        Ok(epoch) => {
            let number = AnswerNumber(clock::random());
            answer::seal(&view, &shared.sealing.provers, context, &epoch, &key, plan, number)?
        }
        Err(refusal) => Err(refusal),
    };
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
