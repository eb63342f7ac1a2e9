//! `grpc.health.v1`: whether calls would be answered now, which is whether the database answers.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tok_api::wire::SERVICES;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Reply;
use crate::service::Service;

/// How long an answer of the database is good for, however many ask; and how soon a watcher learns of a change.
const FRESH: Duration = Duration::from_secs(1);

/// Answers about the whole server (the empty name) and each of its services. All of them stand on one database.
#[derive(Clone)]
pub(super) struct Pulse {
    service: Arc<Service>,
    last: Arc<Mutex<Option<(Instant, ServingStatus)>>>,
    stop: CancellationToken,
}

impl Pulse {
    pub(super) fn new(service: Arc<Service>, stop: CancellationToken) -> Self {
        Self { service, last: Arc::default(), stop }
    }

    /// The database is asked once, whoever waits for the answer.
    async fn status(&self) -> ServingStatus {
        if self.stop.is_cancelled() {
            return ServingStatus::NotServing;
        }
        let mut last = self.last.lock().await;
        if let Some((at, status)) = *last
            && at.elapsed() < FRESH
        {
            return status;
        }
        let status = match self.service.ready().await {
            Ok(()) => ServingStatus::Serving,
            Err(_) => ServingStatus::NotServing,
        };
        *last = Some((Instant::now(), status));
        status
    }

    /// Completes with the first status that is not `known`; never after a stop was told.
    async fn next(&self, known: Option<ServingStatus>) -> ServingStatus {
        loop {
            let status = self.status().await;
            if known != Some(status) {
                return status;
            }
            tokio::select! {
                () = sleep(FRESH) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }
}

fn is_known(name: &str) -> bool {
    name.is_empty() || SERVICES.contains(&name)
}

#[tonic::async_trait]
impl Health for Pulse {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Reply<HealthCheckResponse> {
        let name = request.into_inner().service;
        if !is_known(&name) {
            return Err(Status::not_found("there is no such service here"));
        }
        Ok(Response::new(HealthCheckResponse { status: self.status().await.into() }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Reply<Self::WatchStream> {
        if !is_known(&request.into_inner().service) {
            // The protocol wants this said and the stream kept; since no service is ever added, it says no more.
            let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
            return Ok(Response::new(Box::pin(stream::iter([Ok(unknown)]))));
        }
        let pulse = self.clone();
        // Ends with the server, which would otherwise wait for its watchers.
        let told = stream::unfold(Some(None), move |known: Option<Option<ServingStatus>>| {
            let pulse = pulse.clone();
            async move {
                let status = pulse.next(known?).await;
                let last = pulse.stop.is_cancelled();
                let told = HealthCheckResponse { status: status.into() };
                Some((Ok(told), if last { None } else { Some(Some(status)) }))
            }
        });
        Ok(Response::new(Box::pin(told)))
    }
}
