//! Why a request was not done, in our words; each service puts them into its own form in one place.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use store::StoreError;

/// Why a request was not done.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The request makes no sense: 400.
    BadRequest(String),
    /// No valid token, or wrong credentials: 401.
    Unauthorized(String),
    /// The caller may not: 403.
    Forbidden(String),
    /// There is no such thing for the caller: 404.
    NotFound {
        /// What kind of thing.
        what: String,
        /// Which.
        id: String,
    },
    /// There is no such path: 404.
    NoRoute,
    /// The path does not take this method: 405.
    MethodNotAllowed,
    /// A version that cannot be had: 406.
    NotAcceptable(String),
    /// It contradicts what is there: 409.
    Conflict(String),
    /// Too long a body: 413.
    TooLarge(String),
    /// A body of another type: 415.
    UnsupportedMediaType(String),
    /// A failure that has a name of its own in the service's API.
    Named {
        /// HTTP status.
        status: StatusCode,
        /// The name, such as Neutron's exception classes.
        kind: &'static str,
        /// What is wrong.
        message: String,
    },
    /// Cannot be done now: 503.
    Unavailable(String),
    /// Our fault: 500. The text goes to the log, not to the caller.
    Internal(String),
}

impl Failure {
    /// There is no `what` called `id`.
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::NotFound { what: what.to_owned(), id: id.to_owned() }
    }

    /// A failure with a name.
    pub fn named(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self::Named { status, kind, message: message.into() }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound { .. } | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Named { status, .. } => *status,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The text the caller may see.
    pub fn message(&self) -> String {
        match self {
            Self::BadRequest(text)
            | Self::Unauthorized(text)
            | Self::Forbidden(text)
            | Self::NotAcceptable(text)
            | Self::Conflict(text)
            | Self::TooLarge(text)
            | Self::UnsupportedMediaType(text)
            | Self::Unavailable(text)
            | Self::Named { message: text, .. } => text.clone(),
            Self::NotFound { what, id } => format!("{what} {id} could not be found."),
            Self::NoRoute => "The resource could not be found.".into(),
            Self::MethodNotAllowed => "The method is not allowed for this resource.".into(),
            Self::Internal(_) => "An unexpected error occurred. The request id names it in the log.".into(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Stale { .. } | StoreError::Taken { .. } | StoreError::Exists { .. } => {
                Self::Conflict("It was changed by somebody else meanwhile; try again.".into())
            }
            StoreError::Referenced { kind, .. } => Self::Conflict(format!("It is in use by a {}.", kind.replace('_', " "))),
            StoreError::Unstorable => Self::BadRequest("A text of the request contains a NUL character.".into()),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl IntoResponse for Failure {
    /// A bare answer that carries the failure; the service's envelope gives it a body.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The failure an answer carries, also if axum itself made it (a body of the wrong type, a path that cannot be decoded).
pub(crate) fn carried(response: &Response) -> Option<Failure> {
    if let Some(failure) = response.extensions().get::<Failure>() {
        return Some(failure.clone());
    }
    let is_json = response.headers().get(http::header::CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"application/json"));
    if is_json {
        return None;
    }
    let text = || "The request could not be understood.".to_owned();
    match response.status() {
        StatusCode::NOT_FOUND => Some(Failure::NoRoute),
        StatusCode::METHOD_NOT_ALLOWED => Some(Failure::MethodNotAllowed),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Failure::TooLarge("The request body is too large.".into())),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Some(Failure::UnsupportedMediaType("The request body is of a type that is not taken here.".into()))
        }
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Some(Failure::BadRequest(text())),
        _ => None,
    }
}

/// Gives the body of a service's own form to an answer that carries a failure, keeping its headers.
pub(crate) fn envelope(response: Response, render: fn(&Failure) -> serde_json::Value) -> Response {
    let Some(failure) = carried(&response) else {
        return response;
    };
    let (mut parts, _) = response.into_parts();
    parts.status = failure.status();
    parts.extensions.insert(failure.clone());
    parts.headers.remove(http::header::CONTENT_LENGTH);
    parts.headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    if let Failure::Internal(why) = &failure {
        tracing::error!(why, "a request failed by our fault");
    }
    if matches!(failure, Failure::Unavailable(_)) {
        parts.headers.insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    Response::from_parts(parts, axum::body::Body::from(render(&failure).to_string()))
}

/// `BadRequest`, `NotFound`, …: the name HTTP gives the status, without spaces.
pub(crate) fn class(failure: &Failure) -> &'static str {
    match failure {
        Failure::BadRequest(_) => "BadRequest",
        Failure::Unauthorized(_) => "Unauthorized",
        Failure::Forbidden(_) => "Forbidden",
        Failure::NotFound { .. } | Failure::NoRoute => "NotFound",
        Failure::MethodNotAllowed => "MethodNotAllowed",
        Failure::NotAcceptable(_) => "NotAcceptable",
        Failure::Conflict(_) => "Conflict",
        Failure::TooLarge(_) => "RequestEntityTooLarge",
        Failure::UnsupportedMediaType(_) => "UnsupportedMediaType",
        Failure::Named { kind, .. } => kind,
        Failure::Unavailable(_) => "ServiceUnavailable",
        Failure::Internal(_) => "InternalServerError",
    }
}

impl std::fmt::Display for Failure {
    /// With the private text: for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Internal(why) => f.write_str(why),
            other => f.write_str(&other.message()),
        }
    }
}

impl std::error::Error for Failure {}
