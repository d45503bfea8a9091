//! Redfish error answers (DSP0266 1.20, "Error responses"), with messages of the Base registry (DSP8011 1.18).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Version of the message registry, as message identifiers bear it.
const REGISTRY: &str = "Base.1.18";

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct RedfishError {
    status: StatusCode,
    key: &'static str,
    message: Box<str>,
    arguments: Box<[String]>,
    resolution: &'static str,
    property: Option<Box<str>>,
    allow: Option<&'static str>,
}

impl RedfishError {
    fn new(status: StatusCode, key: &'static str, message: String, arguments: &[&str], resolution: &'static str) -> Self {
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        Self { status, key, message: message.into(), arguments, resolution, property: None, allow: None }
    }

    fn about(mut self, property: &str) -> Self {
        self.property = Some(format!("#/{}", property.replace('.', "/")).into());
        self
    }

    /// 401: no credentials, or wrong ones.
    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "NoValidSession",
            "There is no valid session established with the implementation.".into(),
            &[],
            "Supply the user name and password of the service.",
        )
    }

    /// 404: no such resource.
    pub(crate) fn not_found(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "ResourceMissingAtURI",
            format!("The resource at the URI '{path}' was not found."),
            &[path],
            "Place a valid resource at the URI or correct the URI and resubmit the request.",
        )
    }

    /// 405: the resource is there but does not know the method.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let mut error = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "OperationNotAllowed",
            "The HTTP method is not allowed on this resource.".into(),
            &[],
            "None.",
        );
        error.allow = Some(allow);
        error
    }

    /// 400: the body is not a JSON object.
    pub(crate) fn malformed() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "MalformedJSON",
            "The request body submitted was malformed JSON and could not be parsed by the receiving service.".into(),
            &[],
            "Ensure that the request body is valid JSON and resubmit the request.",
        )
    }

    /// 400: a property nobody knows.
    pub(crate) fn unknown(property: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "PropertyUnknown",
            format!("The property {property} is not in the list of valid properties for the resource."),
            &[property],
            "Remove the unknown property from the request body and resubmit the request if the operation failed.",
        )
        .about(property)
    }

    /// 400: a property that cannot be set.
    pub(crate) fn read_only(property: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "PropertyNotWritable",
            format!("The property {property} is a read only property and cannot be assigned a value."),
            &[property],
            "Remove the property from the request body and resubmit the request if the operation failed.",
        )
        .about(property)
    }

    /// 400: a property with a value outside its list.
    pub(crate) fn not_in_list(property: &str, value: &Value) -> Self {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Self::new(
            StatusCode::BAD_REQUEST,
            "PropertyValueNotInList",
            format!("The value '{value}' for the property {property} is not in the list of acceptable values."),
            &[&value, property],
            "Choose a value from the enumeration list that the implementation can support and resubmit the request.",
        )
        .about(property)
    }

    /// 400: a property of the wrong type.
    pub(crate) fn wrong_type(property: &str, value: &Value) -> Self {
        let value = value.to_string();
        Self::new(
            StatusCode::BAD_REQUEST,
            "PropertyValueTypeError",
            format!("The value '{value}' for the property {property} is not a type that the property can accept."),
            &[&value, property],
            "Correct the value for the property in the request body and resubmit the request if the operation failed.",
        )
        .about(property)
    }

    /// 400: an action without a parameter it needs.
    pub(crate) fn parameter_missing(action: &str, parameter: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "ActionParameterMissing",
            format!("The action {action} requires the parameter {parameter} to be present in the request body."),
            &[action, parameter],
            "Supply the action with the required parameter in the request body when the request is resubmitted.",
        )
    }

    /// 400: a parameter the action does not know.
    pub(crate) fn parameter_unknown(action: &str, parameter: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "ActionParameterUnknown",
            format!("The action {action} was submitted with the invalid parameter {parameter}."),
            &[action, parameter],
            "Correct the invalid parameter and resubmit the request if the operation failed.",
        )
    }

    /// 400: a parameter with a value outside its list.
    pub(crate) fn parameter_not_in_list(action: &str, parameter: &str, value: &Value) -> Self {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Self::new(
            StatusCode::BAD_REQUEST,
            "ActionParameterValueNotInList",
            format!("The value '{value}' for the parameter {parameter} in the action {action} is not in the list of acceptable values."),
            &[&value, parameter, action],
            "Choose a value from the enumeration list that the implementation can support and resubmit the request.",
        )
    }

    /// 409: the system is off and can only be switched on.
    pub(crate) fn in_standby() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "ResourceInStandby",
            "The request could not be performed because the resource is in standby.".into(),
            &[],
            "Ensure that the resource is in the correct power state and resubmit the request.",
        )
    }

    /// 503: too many orders are waiting.
    pub(crate) fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceTemporarilyUnavailable",
            "The service is temporarily unavailable.  Retry in 1 seconds.".into(),
            &["1"],
            "Wait for the indicated retry duration and retry the operation.",
        )
    }
}

impl IntoResponse for RedfishError {
    fn into_response(self) -> Response {
        let id = format!("{REGISTRY}.{}", self.key);
        let severity = if self.status == StatusCode::UNAUTHORIZED || self.status.is_server_error() { "Critical" } else { "Warning" };
        let mut info = json!({
            "@odata.type": "#Message.v1_2_1.Message",
            "MessageId": id,
            "Message": self.message,
            "MessageArgs": self.arguments,
            "Severity": severity,
            "MessageSeverity": severity,
            "Resolution": self.resolution,
        });
        if let (Some(property), Some(info)) = (&self.property, info.as_object_mut()) {
            info.insert("RelatedProperties".into(), json!([property]));
        }
        let body = json!({"error": {"code": id, "message": self.message, "@Message.ExtendedInfo": [info]}});
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Redfish\""));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
