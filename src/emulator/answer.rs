//! What was asked and what is answered, apart from the transport.

use super::partition::Refusal;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use std::time::Duration;

/// A request, wholly read.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// Decoded.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Since the endpoint was started.
    pub(super) now: Duration,
}

impl Asked {
    pub(super) fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the header says true, in whatever case.
    pub(super) fn is_set(&self, name: &'static str) -> bool {
        self.header(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Whether written documents need not be sent back.
    pub(super) fn wants_little(&self) -> bool {
        self.header("prefer").is_some_and(|value| value.eq_ignore_ascii_case("return=minimal"))
    }

    /// The partition key range that is named, without the container's id that some clients put before it.
    pub(super) fn range(&self) -> Option<&str> {
        let value = self.header("x-ms-documentdb-partitionkeyrangeid")?;
        Some(value.rsplit(',').next().unwrap_or(value).trim())
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body.to_string())
    }

    /// A failure with the service's word for it.
    pub(super) fn failure(status: u16, message: &str) -> Self {
        let code = match status {
            400 => "BadRequest",
            401 => "Unauthorized",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            408 => "RequestTimeout",
            409 => "Conflict",
            410 => "Gone",
            412 => "PreconditionFailed",
            413 => "RequestEntityTooLarge",
            429 => "TooManyRequests",
            449 => "RetryWith",
            503 => "ServiceUnavailable",
            _ => "InternalServerError",
        };
        Self::json(status, &json!({ "code": code, "message": message })).with("x-ms-request-charge", "0")
    }

    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_string()));
        self
    }

    #[must_use]
    pub(super) fn substatus(self, substatus: u16) -> Self {
        self.with("x-ms-substatus", substatus)
    }

    #[must_use]
    pub(super) fn charged(self, request_units: f64) -> Self {
        self.with("x-ms-request-charge", format!("{request_units:.2}"))
    }

    pub(super) fn throttled(wait: Duration) -> Self {
        let message = "The request rate is large. Retry after the time in x-ms-retry-after-ms.";
        Self::failure(429, message).substatus(3200).with("x-ms-retry-after-ms", milliseconds(wait))
    }

    /// For the transport. A header that cannot be sent is left out.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("x-ms-gatewayversion", HeaderValue::from_static("version=2.14.0"));
        headers.insert("x-ms-serviceversion", HeaderValue::from_static("version=2.14.0.0"));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Splitting => {
                Self::failure(410, "The partition key range is about to split.").substatus(1007)
            }
            Refusal::Gone => Self::gone(),
            Refusal::Throttled(wait) => Self::throttled(wait),
            Refusal::Unwritten(cause) => {
                let message =
                    format!("Nothing was done: the data folder of the emulator cannot be written ({cause}).");
                Self::failure(503, &message)
            }
        }
    }
}

impl Answer {
    /// The range that was named is not there (any more).
    pub(super) fn gone() -> Self {
        Self::failure(410, "The partition key range is gone: read the ranges again.").substatus(1002)
    }
}

/// A time to wait, rounded up: who waits so long meets the next window.
pub(super) fn milliseconds(wait: Duration) -> u128 {
    wait.as_micros().div_ceil(1000)
}
