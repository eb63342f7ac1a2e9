//! The client of a user's agent: what only the agent itself is asked.

use std::path::Path;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::{call, endpoint, stranger, unreadable};
use crate::convert::AgentStatus;
use crate::endpoint::{DialError, dial};
use crate::fault::{Fault, FaultCode};
use crate::wire::agent as wire;
use crate::wire::agent::agent_service_client::AgentServiceClient;

/// How long the agent may take; it asks nobody.
const DEADLINE: Duration = Duration::from_secs(10);

/// A connection to a user's agent.
#[derive(Debug, Clone)]
pub struct AgentClient {
    agent: AgentServiceClient<Channel>,
}

impl AgentClient {
    /// Connects, if an agent of this user answers there.
    ///
    /// # Errors
    /// `unavailable` if nobody does; `forbidden` if it is somebody else's process.
    pub async fn connect(socket: &Path) -> Result<Self, Fault> {
        let stream = dial(socket).await.map_err(|failure| match failure {
            DialError::Stranger { uid } => stranger(socket, uid),
            failure => {
                Fault::new(FaultCode::Unavailable, format!("no agent answers at {} ({failure})", socket.display()))
                    .hint("start one with `tok agent start`; git's helper does so by itself when it needs one")
            }
        })?;
        let mut stream = Some(stream);
        let connector = tower::service_fn(move |_| {
            let stream = stream.take().map(TokioIo::new);
            async move { stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)) }
        });
        let channel = endpoint("http://localhost")?
            .connect_with_connector(connector)
            .await
            .map_err(|_| Fault::new(FaultCode::Unavailable, format!("{} hung up", socket.display())))?;
        Ok(Self { agent: AgentServiceClient::new(channel) })
    }

    /// How it is, and what it holds.
    pub async fn status(&mut self) -> Result<AgentStatus, Fault> {
        call!(self.agent, status, within(wire::StatusRequest {})).try_into().map_err(unreadable)
    }

    /// Has it forget every secret, and answer nobody; says how many tokens and passwords it forgot.
    pub async fn lock(&mut self) -> Result<u32, Fault> {
        Ok(call!(self.agent, lock, within(wire::LockRequest {})).forgotten)
    }

    /// Lets it read the logins again; says how many there are.
    pub async fn unlock(&mut self) -> Result<u32, Fault> {
        Ok(call!(self.agent, unlock, within(wire::UnlockRequest {})).logins)
    }

    /// Has it forget the git tokens of one server, or of all; says how many.
    pub async fn forget(&mut self, server: Option<&str>) -> Result<u32, Fault> {
        let server = server.unwrap_or_default().to_owned();
        Ok(call!(self.agent, forget, within(wire::ForgetRequest { server })).forgotten)
    }

    /// Ends it.
    pub async fn stop(&mut self) -> Result<(), Fault> {
        match self.agent.stop(within(wire::StopRequest {})).await.map_err(Fault::from) {
            Ok(_) => Ok(()),
            // It was gone before it could say so.
            Err(fault) if fault.code == FaultCode::Unavailable => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// What an agent answers to somebody who may not ask it that.
pub fn not_yours() -> Status {
    Fault::new(FaultCode::Forbidden, "this agent is another user's").into()
}
