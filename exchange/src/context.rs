//! Who a member is and under which rules it decides: what every handler may look at and none may change.

use std::sync::Arc;

use credit::{
    calendar::Calendar,
    catalog::Catalog,
    id::MemberId,
    policy::{Policy, Role},
    record::NamingKeys,
    rules::RuleBook,
};
use crypto::{
    Timestamp,
    secret::Secret,
    sign::{Signed, SigningKey, Statement},
};

use crate::{refusal::Refusal, registry::Registry};

/// Who this member is, with its secrets.
#[derive(Clone)]
pub struct Identity {
    /// Its id.
    pub id: MemberId,
    /// Signs statements and checkpoints.
    pub signing: SigningKey,
    /// Cosigns peers' checkpoints.
    pub witness: SigningKey,
    /// Names records and subjects.
    pub naming: NamingKeys,
    /// Derives subjects' access keys.
    pub access: Secret,
}

/// What every handler may look at and none may change.
#[derive(Clone)]
pub struct Context {
    /// Who we are.
    pub own: Identity,
    /// The registry decided under.
    pub registry: Arc<Registry>,
    /// The catalog in force.
    pub catalog: Arc<Catalog>,
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// The repair rule sets.
    pub rules: Arc<RuleBook>,
    /// Working days.
    pub calendar: Arc<Calendar>,
}

impl Context {
    /// Our role.
    pub fn role(&self) -> Result<Role, Refusal> {
        Ok(self.registry.member(&self.own.id)?.stated.role)
    }

    /// Signs a status statement as this member.
    pub fn sign<T: Statement>(&self, now: Timestamp, statement: &T) -> Signed<T> {
        Signed::new(&self.own.signing, self.own.id.as_str(), now, statement)
    }
}
