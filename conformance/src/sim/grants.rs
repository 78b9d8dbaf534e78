//! Grants: signed by collectors from letters, or by subjects with keys of their own; paused, resumed, revoked, and ended
//! with their key. And what must hold of them, by rules written a second time.

use std::collections::{BTreeMap, BTreeSet};

use credit::{
    binding::{GrantOrder, KeyBinding, Signer},
    catalog::{FieldClass, Purpose},
    entry::{AskedBy, BasisRef, Entry, Fact, StatusFact},
    grant::{Frequency, Grant, GrantChange, Scope},
    id::{FieldId, GrantId, ItemId, MemberId},
    policy::Role,
    question::Question,
    subject::SubjectId,
};
use crypto::{
    Digest, Timestamp,
    secret::Secret,
    sign::{PublicKey, Signed, SigningKey},
};
use exchange::{
    logs::LogName,
    member::Input,
    wire::{GrantDraft, KeyDraft},
};

use super::{
    Broken, Check, Sim,
    checker::{Checker, question_of_bank},
    workload::{Operation, PENALTY_FIELDS},
};

/// How long collectors vouch for a key.
const KEY_MS: u64 = 30 * 86_400_000;

/// A subject's own key, and whose word stands for it.
#[derive(Clone, Debug)]
pub(super) struct OwnKey {
    collector: usize,
    seed: Secret,
    binding: Signed<KeyBinding>,
}

impl Sim {
    /// A collector signs a grant from a letter.
    pub(super) fn sign_grant(&mut self) -> Result<(), Broken> {
        let subject = self.rng.pick(self.work.subjects()).cloned().expect("there are subjects");
        let collector = self.collector();
        let everything = self.rng.one_in(2);
        let mut draft = self.draft(subject, everything);
        self.vary(&mut draft);
        let id = GrantId(self.rng.bytes());
        self.operator(collector, Operation::Grant(false), Input::IssueGrant { draft, id })
    }

    /// Grants begin later, end soon, allow few uses, or few in a day.
    fn vary(&mut self, draft: &mut GrantDraft) {
        let hour = 3_600_000;
        if self.rng.one_in(6) {
            draft.not_before = Timestamp(self.now + self.rng.below(20_000));
        }
        let length = if self.rng.one_in(3) { 9_000 } else { hour };
        draft.not_after = Timestamp(self.now + 21_000 + self.rng.below(length));
        draft.uses_max = 1 + self.rng.below(6) as u32;
        if self.rng.one_in(4) {
            draft.period = Some(Frequency { uses: 1 + self.rng.below(3) as u32, days: 1 });
        }
    }

    pub(super) fn draft(&self, subject: SubjectId, everything: bool) -> GrantDraft {
        let fields = |list: &[u16]| list.iter().map(|n| FieldId(*n)).collect();
        let mut scope = vec![Scope {
            item: ItemId::parse("CF").expect("an item"),
            fields: fields(&PENALTY_FIELDS[2..4]),
        }];
        if everything {
            scope[0].fields.clear();
            scope.push(Scope { item: ItemId::parse("NSXY").expect("an item"), fields: Vec::new() });
        }
        GrantDraft {
            subject,
            grantee: self.nodes[self.bank()].id.clone(),
            purposes: vec![Purpose::LoanReview],
            scope,
            not_before: Timestamp(self.now - 60_000),
            not_after: Timestamp(self.now + 3_600_000),
            uses_max: 100,
            keep_days: 30,
            letter: Digest::of(b"letter"),
            period: None,
        }
    }

    fn collector(&mut self) -> usize {
        if self.rng.one_in(2) { self.outlet() } else { self.bank() }
    }

    /// A subject has a collector vouch for a key of its own.
    pub(super) fn bind_key(&mut self) -> Result<(), Broken> {
        let subject = self.rng.pick(self.work.subjects()).cloned().expect("there are subjects");
        let (collector, seed) = (self.collector(), self.rng.secret());
        let key = PublicKey(SigningKey::from_seed(&seed).verifying_key().to_bytes());
        let not_after = self.clock(collector).plus_ms(KEY_MS);
        let draft = KeyDraft { subject, key, not_after, paper: Digest::of(b"application for a key") };
        self.operator(collector, Operation::Bind(seed), Input::BindKey(draft))
    }

    /// The collector has signed its word.
    pub(super) fn bound(&mut self, at: usize, seed: Secret, binding: Signed<KeyBinding>) {
        self.work.keys.push(OwnKey { collector: at, seed, binding });
    }

    /// A subject signs a grant with its own key, and hands it in at the collector that vouches for the key.
    pub(super) fn sign_own_grant(&mut self) -> Result<(), Broken> {
        let Some(OwnKey { collector, seed, binding }) = self.rng.pick(&self.work.keys).cloned() else {
            return self.bind_key();
        };
        let registry = self.nodes[collector].context.registry.clone();
        let Ok(word) = registry.verify_seen(&binding).map(|word| word.into_inner()) else { return Ok(()) };
        let everything = self.rng.one_in(2);
        let mut draft = self.draft(word.subject, everything);
        self.vary(&mut draft);
        let id = self.nodes[collector].id.clone();
        let grant = Grant {
            id: GrantId(self.rng.bytes()),
            collector: id.clone(),
            subject: draft.subject,
            grantee: draft.grantee,
            purposes: draft.purposes,
            scope: draft.scope,
            not_before: draft.not_before.max(word.not_before),
            not_after: draft.not_after,
            uses_max: draft.uses_max,
            keep_days: draft.keep_days,
            letter: None,
            period: draft.period,
            binding: Some(binding),
        };
        let now = self.clock(collector);
        let signed = Signed::new(&SigningKey::from_seed(&seed), &Signer::subject_of(&id), now, &grant);
        let verified = registry
            .verify_grant(&signed)
            .map_err(|r| Broken::new(Check::Fault, format!("a sound grant of a subject is refused: {r}")))?;
        self.operator(collector, Operation::Lodge(signed), Input::LodgeGrant(verified))
    }

    /// A subject has lost its key, and its collector vouches for it no longer.
    pub(super) fn withdraw_key(&mut self) -> Result<(), Broken> {
        let Some(OwnKey { collector, binding, .. }) = self.rng.pick(&self.work.keys).cloned() else {
            return Ok(());
        };
        match self.nodes[collector].context.registry.verify_seen(&binding) {
            Ok(word) => self.operator(collector, Operation::Done, Input::WithdrawKey(word)),
            Err(_) => Ok(()),
        }
    }

    /// A grant is signed and written down.
    pub(super) fn granted(&mut self, at: usize, signed: Signed<Grant>) -> Result<SubjectId, Broken> {
        let verified = self.nodes[at].context.registry.verify_grant(&signed);
        let grant = verified.map_err(|r| Broken::new(Check::Fault, r.to_string()))?.into_inner();
        let subject = grant.subject.clone();
        self.checker.granted(signed.digest(), grant);
        self.work.grants.push((at, signed));
        Ok(subject)
    }

    /// A subject pauses, resumes or revokes a grant; mostly one of the newest, which the bank asks on.
    pub(super) fn change_grant(&mut self) -> Result<(), Broken> {
        let newest = self.work.grants.len().saturating_sub(4);
        let Some((at, grant)) = self.rng.pick(&self.work.grants[newest..]).cloned() else { return Ok(()) };
        let change = match self.rng.below(6) {
            0 => GrantChange::Revoke,
            1..=3 => GrantChange::Pause,
            _ => GrantChange::Resume,
        };
        let registry = self.nodes[at].context.registry.clone();
        let Ok(Some(binding)) = registry.verify_grant(&grant).map(|verified| verified.into_inner().binding)
        else {
            return self.operator(at, Operation::Done, Input::ChangeGrant(grant.digest(), change));
        };
        // Its subject has signed it, and orders the change itself.
        let Some(key) = self.work.keys.iter().find(|key| key.binding == binding) else { return Ok(()) };
        let (now, key) = (self.clock(at), SigningKey::from_seed(&key.seed));
        let order = GrantOrder { grant, change, at: now };
        let issuer = Signer::subject_of(&self.nodes[at].id);
        match registry.verify_order(&Signed::new(&key, &issuer, now, &order)) {
            Ok(order) => self.operator(at, Operation::Done, Input::OrderGrant(order)),
            // The collector's key is replaced, and this member does not know it yet.
            Err(_) => Ok(()),
        }
    }
}

impl Checker {
    /// The grants whose last use a member has answered, each said by it once, with the question that was the last; by the
    /// outlet what the others have said. Errors: it has said something else.
    pub fn last_uses(&self, at: usize) -> Result<BTreeSet<Digest>, String> {
        let outlet = self.members[at].1 == Role::Platform;
        let said_by = |at: usize| {
            self.statements(at).filter_map(|fact| match fact {
                StatusFact::GrantUsedUp(used) => Some((used.grant, used.question)),
                _ => None,
            })
        };
        let mut last = BTreeMap::new();
        for (digest, grant) in self.grants.iter().filter(|_| !self.twin) {
            let on_it = self.log(at, LogName::Access).iter().filter_map(|entry| match &entry.fact {
                Fact::Disclosed(told) => Some(&told.asked),
                _ => None,
            });
            let on_it = on_it.filter(|asked| matches!(&asked.basis, BasisRef::Grant(g, _) if g == digest));
            let counted = on_it.map(|asked| asked.question).nth(grant.uses_max as usize - 1);
            let others = (0..self.members.len()).filter(|other| outlet && *other != at).flat_map(said_by);
            let question = others.filter(|(g, _)| g == digest).map(|(_, question)| question).next();
            last.extend(counted.or(question).map(|question| (*digest, question)));
        }
        let said: Vec<(Digest, Digest)> = said_by(at).filter(|(g, _)| self.grants.contains_key(g)).collect();
        for (digest, question) in &said {
            let right = if outlet { last.contains_key(digest) } else { last.get(digest) == Some(question) };
            if !right && !self.twin {
                return Err(format!("says of grant {digest} that {question} was the last question on it"));
            }
        }
        let once: BTreeSet<Digest> = said.iter().map(|(digest, _)| *digest).collect();
        if !self.twin && (once.len() != said.len() || once.len() != last.len()) {
            return Err(format!(
                "says of {} grants that they are used up, {} times; {} are",
                once.len(),
                said.len(),
                last.len()
            ));
        }
        Ok(once)
    }

    /// When a grant ends between two moments, the last one: by its collector's clock, in virtual time.
    pub(super) fn grant_end(&self, from: u64, to: u64) -> Option<u64> {
        let ahead = |id: &MemberId| self.ahead_ms.get(id).copied().unwrap_or(0);
        let ends = self.grants.values().map(|grant| grant.not_after.0 - ahead(&grant.collector));
        ends.filter(|end| (from..to).contains(end)).max()
    }

    /// Key withdrawals, and answers on grants that subjects have signed.
    pub(super) fn own_keys(&self) -> (u64, u64) {
        let ended = (0..self.members.len()).flat_map(|at| self.statements(at));
        let ended = ended.filter(|fact| matches!(fact, StatusFact::KeyWithdrawn(_))).count();
        let access = (0..self.members.len()).flat_map(|at| self.log(at, LogName::Access));
        let signed = |digest: &Digest| self.grants.get(digest).is_some_and(|grant| grant.binding.is_some());
        let answers = access.filter(|entry| {
            matches!(&entry.fact, Fact::Disclosed(told) if matches!(&told.asked.basis, BasisRef::Grant(g, _) if signed(g)))
        });
        (ended as u64, answers.count() as u64)
    }

    /// Why a field may not leave, by the naive rule.
    #[allow(clippy::too_many_arguments, reason = "the rule looks at all of them, and at nothing else")]
    pub(super) fn granted_field(
        &self,
        at: usize,
        question: &Question,
        asked: &AskedBy,
        item: &ItemId,
        field: FieldId,
        now: Timestamp,
        (before, index): (usize, u64),
    ) -> Result<(), String> {
        let class = self.catalog.item(item).and_then(|i| i.field(field)).map(|f| f.class);
        let wanted = question.wants.iter().any(|w| w.item == *item && w.fields.contains(&field));
        if !wanted && !question.checks.iter().any(|c| (&c.item, c.field) == (item, field)) {
            return Err("was not asked for".to_owned());
        }
        if !question_of_bank(&self.members, question) {
            let open = matches!(class, Some(FieldClass::Public | FieldClass::Government));
            let duty =
                matches!(asked.basis, BasisRef::Duty(_)) && question.purpose == Purpose::Administration;
            return if open && duty { Ok(()) } else { Err("no duty covers it".to_owned()) };
        }
        let BasisRef::Grant(digest, collector) = &asked.basis else {
            return Err("without a grant".to_owned());
        };
        let Some(grant) = self.grants.get(digest) else { return Err("on a grant nobody signed".to_owned()) };
        let origin = self.members.iter().position(|(id, _)| id == collector);
        let said = origin.map_or(Vec::new(), |origin| self.verified(at, origin, before));
        let revoked = said.iter().any(|fact| matches!(fact, StatusFact::GrantRevoked(d, _) if d == digest));
        let word = grant.binding.as_ref().and_then(|binding| self.registry.verify_logged(binding).ok());
        let key = word.map(|word| word.get().key_digest());
        // Whichever collector says it.
        let withdrawn = (0..self.members.len())
            .flat_map(|origin| self.verified(at, origin, before))
            .any(|fact| matches!(fact, StatusFact::KeyWithdrawn(d) if Some(*d) == key));
        // In the order of the collector's log: its last word counts.
        let paused = said.iter().rev().find_map(|fact| match fact {
            StatusFact::GrantPaused(d, _) if d == digest => Some(true),
            StatusFact::GrantResumed(d, _) if d == digest => Some(false),
            _ => None,
        });
        let earlier = &self.log(at, LogName::Access)[..index as usize];
        let on_it = |e: &&Entry| matches!(&e.fact, Fact::Disclosed(d) if matches!(&d.asked.basis, BasisRef::Grant(g, _) if g == digest));
        let uses = earlier.iter().filter(on_it).count();
        // Days of Shanghai, counted by hand: eight hours ahead.
        let day = |at: Timestamp| (at.0 + 8 * 3_600_000) / 86_400_000;
        let too_often = grant.period.is_some_and(|period| {
            let recent = |e: &&Entry| day(e.at) + u64::from(period.days) > day(now);
            earlier.iter().filter(on_it).filter(recent).count() >= period.uses as usize
        });
        let covered =
            grant.scope.iter().any(|s| s.item == *item && (s.fields.is_empty() || s.fields.contains(&field)));
        let table = [
            (grant.subject != question.subject, "the grant is about another subject"),
            (grant.grantee != question.asker, "the grant names another asker"),
            (grant.collector != *collector, "the grant is another collector's"),
            (!grant.purposes.contains(&question.purpose), "the grant names another purpose"),
            (question.purpose == Purpose::Administration, "a bank does not administer"),
            (now < grant.not_before || now >= grant.not_after, "the grant is not valid now"),
            (revoked, "the grant is revoked"),
            (withdrawn, "the key that has signed the grant is withdrawn"),
            (paused == Some(true), "the grant is paused"),
            (too_often, "the grant has been used as often as its period allows"),
            (uses >= grant.uses_max as usize, "the grant is used up"),
            (!covered, "the grant does not name the field"),
            (
                !matches!(class, Some(FieldClass::Public | FieldClass::Authorised)),
                "its class is not for banks",
            ),
        ];
        table.iter().find(|(fails, _)| *fails).map_or(Ok(()), |(_, why)| Err((*why).to_owned()))
    }
}
