//! The operator's side of a node: finds it by its directory and asks it over QUIC.

use std::path::Path;

use credit::id::MemberId;
use crypto::{Timestamp, secret::Secret, sign::PublicKey};
use exchange::{
    refusal::{Code, Refusal},
    registry::Registry,
    wire::{Operation, Response},
};
use node::{Problem, home::Home, keys, quic};

/// A node that this operator may operate.
pub(crate) struct Client {
    /// The member.
    pub(crate) member: MemberId,
    /// The registry in its directory.
    pub(crate) registry: Registry,
    address: String,
    seed: Secret,
    keys: Vec<PublicKey>,
}

impl Client {
    /// The node of a directory.
    pub(crate) fn open(dir: &Path) -> Result<Self, Problem> {
        let home = Home::open(dir)?;
        let config = home.config()?;
        let (_, registry) = home.registry()?;
        let member = member_id(&config.member)?;
        // A node that was not started since its keys were replaced has the ones before, whether or not they have ended: it
        // is to be stopped, too.
        let keys = registry.tls_keys(&member, Timestamp(0))?;
        Ok(Self { member, registry, address: config.quic, seed: keys::operator_seed(dir)?, keys })
    }

    /// Asks the node to carry out an operation.
    pub(crate) async fn operate(&self, operation: Operation) -> Result<Response, Problem> {
        let session = self.session().await?;
        let response = session.ask(operation).await;
        session.close().await;
        response
    }

    /// A connection for several operations.
    pub(crate) async fn session(&self) -> Result<Session, Problem> {
        let connected = quic::Operator::connect(&self.address, &self.seed, &self.keys).await;
        connected.map(Session).map_err(problem)
    }
}

/// An open connection to the node.
pub(crate) struct Session(quic::Operator);

impl Session {
    /// Says goodbye.
    pub(crate) async fn close(self) {
        self.0.close().await;
    }

    /// Asks the node to carry out an operation.
    pub(crate) async fn ask(&self, operation: Operation) -> Result<Response, Problem> {
        self.0.ask(operation).await.map_err(problem)
    }
}

fn problem(refusal: Refusal) -> Problem {
    let unreachable = refusal.code == Code::Unreachable.as_str();
    let mut problem = Problem::from(refusal);
    if unreachable {
        problem.next = "start it with `xinqiao node run --dir …`, and look at its log".into();
        problem.next_zh = "请用 `xinqiao node run --dir …` 启动节点，并查看其日志".into();
    }
    problem
}

/// Reads a member id.
pub(crate) fn member_id(text: &str) -> Result<MemberId, Problem> {
    MemberId::parse(text).ok_or_else(|| {
        Problem::new(
            format!("`{text}` is no member id"),
            "write 1 to 32 lower-case letters, digits, dots or hyphens, beginning with a letter",
            "成员标识为 1 至 32 个小写字母、数字、点或连字符，并以字母开头",
        )
    })
}

/// An answer of a kind the operation does not give: the node runs another build.
pub(crate) fn unexpected(response: &Response) -> Problem {
    let kind = format!("{response:?}");
    let kind = kind.split(['(', ' ', '{']).next().unwrap_or("?").to_owned();
    Problem::fault(format!("the node answered with `{kind}`, which does not belong to this verb"))
}
