//! Errors of the REST interface: a status, and a clear text as JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::numbers::LeaderView;
use crate::election::Leader;
use crate::resource_manager::handle::Unanswered;

/// The reason why the interface does not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    #[error("this resource manager does not lead")]
    NotLeading(Option<Leader>),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Invalid(String),
    #[error("this address does not take this method")]
    MethodNotAllowed,
    #[error("orders are taken from this page and from programs only, not from other sites")]
    OtherSite,
    #[error("this address is for pages of this machine, under its own name")]
    OtherName,
    #[error("the token of the cluster is needed, as a bearer token or as a password")]
    NoToken,
    #[error("too many pages are open")]
    TooManyStreams,
    #[error("{}", Unanswered::Busy)]
    Busy,
}

/// The JSON form of an error.
#[derive(Serialize)]
struct Body {
    error: String,
    /// The leader, if this process does not lead and knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<LeaderView>,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotLeading(_) | Self::TooManyStreams | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::OtherSite | Self::OtherName => StatusCode::FORBIDDEN,
            Self::NoToken => StatusCode::UNAUTHORIZED,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::NotLeading(Some(leader)) => format!("{self}; the leader is {}", leader.addresses.grpc),
            Self::NotLeading(None) => format!("{self}, and it knows no leader; try again soon"),
            _ => self.to_string(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error) = (self.status(), self.text());
        let leader = match self {
            Self::NotLeading(leader) => leader.map(LeaderView::from),
            _ => None,
        };
        (status, Json(Body { error, leader })).into_response()
    }
}
