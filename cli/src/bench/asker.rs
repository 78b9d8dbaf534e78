//! Askers that exist as keys only: members without a node, whose part the benchmark plays.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ::node::{Problem, client::member_id, clock, tls};
use credit::{
    catalog::Purpose,
    grant::{Grant, Scope},
    id::{ClerkId, FieldId, GrantId, ItemId, MemberId, QuestionId},
    policy::Role,
    question::{Basis, Question, Want},
    subject::SubjectId,
};
use crypto::{
    Digest, Timestamp,
    seal::OpeningKey,
    secret::Secret,
    sign::{PublicKey, Signed, SigningKey, Verified},
};
use exchange::registry::MemberRequest;

use crate::cmd::new_file::write_new;

/// What each question asks for: document number, kind, facts and class of a penalty, and the day of its decision.
pub(super) const FIELDS: [FieldId; 5] = [FieldId(14), FieldId(15), FieldId(16), FieldId(18), FieldId(23)];
/// Time an asker waits for its answer.
const WAIT: Duration = Duration::from_secs(30);
/// Time a grant is valid before and after now.
const VALID: Duration = Duration::from_secs(24 * 3_600);

/// A member without a node.
pub(super) struct Guest {
    pub(super) id: MemberId,
    pub(super) tls: Secret,
    pub(super) opening: OpeningKey,
    signing: SigningKey,
    clerk: ClerkId,
    role: Role,
}

impl Guest {
    pub(super) fn new(id: &str, role: Role) -> Result<Self, Problem> {
        Ok(Self {
            id: member_id(id)?,
            tls: clock::secret(),
            opening: OpeningKey::from_seed(&clock::secret()),
            signing: SigningKey::from_seed(&clock::secret()),
            clerk: ClerkId::parse("clerk-1").ok_or_else(|| Problem::fault("no clerk"))?,
            role,
        })
    }

    /// Its request for admission, as a file under `root`.
    pub(super) fn request(&self, root: &Path) -> Result<PathBuf, Problem> {
        let stated = MemberRequest {
            id: self.id.clone(),
            role: self.role,
            region: String::new(),
            name: "bench".to_owned(),
            sign: PublicKey(self.signing.verifying_key().to_bytes()),
            tls: tls::public_key(&self.tls),
            seal: self.opening.public(),
            quic: String::new(),
            http: String::new(),
            collector: false,
            bodies: Vec::new(),
            witness: PublicKey(SigningKey::from_seed(&clock::secret()).verifying_key().to_bytes()),
            system: None,
        };
        let path = root.join(format!("{}.request", self.id));
        write_new(&path, Signed::new(&self.signing, self.id.as_str(), clock::now(), &stated).as_bytes())?;
        Ok(path)
    }

    /// A question about `subject` on its grant, asked now.
    pub(super) fn question(
        &self,
        item: &ItemId,
        subject: SubjectId,
        grant: Signed<Grant>,
    ) -> Verified<Question> {
        let now = clock::now();
        let question = Question {
            id: QuestionId(clock::random()),
            asker: self.id.clone(),
            clerk: self.clerk.clone(),
            purpose: Purpose::LoanReview,
            subject,
            wants: vec![Want { item: item.clone(), fields: FIELDS.to_vec() }],
            basis: Basis::Grant(grant),
            asked_at: now,
            deadline: now.plus_ms(WAIT.as_millis() as u64),
            checks: Vec::new(),
        };
        Verified::own(&self.signing, self.id.as_str(), now, question)
    }
}

/// A grant by `collector` to `grantee` about `subject`, for any number of questions.
pub(super) fn grant(
    collector: (&MemberId, &SigningKey),
    grantee: &MemberId,
    item: &ItemId,
    subject: SubjectId,
) -> Signed<Grant> {
    let now = clock::now();
    let grant = Grant {
        id: GrantId(clock::random()),
        collector: collector.0.clone(),
        subject,
        grantee: grantee.clone(),
        purposes: vec![Purpose::LoanReview],
        scope: vec![Scope { item: item.clone(), fields: FIELDS.to_vec() }],
        not_before: Timestamp(now.0.saturating_sub(VALID.as_millis() as u64)),
        not_after: now.plus_ms(VALID.as_millis() as u64),
        uses_max: u32::MAX,
        keep_days: 30,
        period: None,
        letter: Some(Digest(clock::random())),
        binding: None,
    };
    Signed::new(collector.1, collector.0.as_str(), now, &grant)
}
