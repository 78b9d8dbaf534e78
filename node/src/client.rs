//! A program's way to its own node: finds it by its directory and asks it over QUIC, with the key of its operator.
//!
//! [`Client::ask`] is all that a bank's program in Rust needs: the node signs and logs the question, has the outlet carry
//! it, opens and verifies what every member has answered, and keeps its own line. `conformance/tests/client.rs` shows it.
//!
//! *Not here*: programs that are not to have all rights of an operator; they come through the gateway.

use std::path::Path;

use credit::id::MemberId;
use crypto::{Timestamp, secret::Secret, sign::PublicKey};
use exchange::{
    refusal::{Code, Refusal},
    registry::Registry,
    wire::{AskDraft, AskResult, Operation, Response},
};

use crate::{Problem, home::Home, keys, quic};

/// A node that this operator may operate.
pub struct Client {
    /// The member.
    pub member: MemberId,
    /// The registry in its directory.
    pub registry: Registry,
    address: String,
    seed: Secret,
    keys: Vec<PublicKey>,
}

impl Client {
    /// The node of a directory.
    pub fn open(dir: &Path) -> Result<Self, Problem> {
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
    pub async fn operate(&self, operation: Operation) -> Result<Response, Problem> {
        let session = self.session().await?;
        let response = session.ask(operation).await;
        session.close().await;
        response
    }

    /// Asks a question as this member and waits for the answer; [`exchange::parts::complete`] says whether a record that is
    /// not in it is none.
    ///
    /// Errors: `peer.unreachable` when the node does not run; what the node refuses. A member that did not answer is a line
    /// of the result, and no error.
    pub async fn ask(&self, draft: AskDraft) -> Result<AskResult, Problem> {
        match self.operate(Operation::Ask(draft)).await? {
            Response::Result(result) => Ok(*result),
            other => Err(unexpected(&other)),
        }
    }

    /// A connection for several operations.
    pub async fn session(&self) -> Result<Session, Problem> {
        let connected = quic::Operator::connect(&self.address, &self.seed, &self.keys).await;
        connected.map(Session).map_err(problem)
    }
}

/// An open connection to the node.
pub struct Session(quic::Operator);

impl Session {
    /// Says goodbye.
    pub async fn close(self) {
        self.0.close().await;
    }

    /// Asks the node to carry out an operation.
    pub async fn ask(&self, operation: Operation) -> Result<Response, Problem> {
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
pub fn member_id(text: &str) -> Result<MemberId, Problem> {
    MemberId::parse(text).ok_or_else(|| {
        Problem::new(
            format!("`{text}` is no member id"),
            "write 1 to 32 lower-case letters, digits, dots or hyphens, beginning with a letter",
            "成员标识为 1 至 32 个小写字母、数字、点或连字符，并以字母开头",
        )
    })
}

/// An answer of a kind the operation does not give: the node runs another build.
pub fn unexpected(response: &Response) -> Problem {
    let kind = format!("{response:?}");
    let kind = kind.split(['(', ' ', '{']).next().unwrap_or("?").to_owned();
    Problem::fault(format!("the node answered with `{kind}`, which does not belong to this verb"))
}
