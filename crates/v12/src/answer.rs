//! What the API says when it doesn't answer with data: the error envelope, plain texts, the page for
//! unknown paths (`converse-api.md` § 6).

use std::borrow::Cow;

use base64::Engine;

use crate::json::{quoted, write_string};

/// A complete answer but for the headers that every answer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// For the header `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

const JSON: &str = "application/json; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

impl Answer {
    /// JSON text.
    pub fn json(status: u16, body: String) -> Self {
        Answer { status, content_type: JSON, body }
    }

    /// A plain text, which the original sends as HTML.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Answer { status, content_type: HTML, body: body.into() }
    }

    /// What a path or method that isn't served gets: 404 and a page. `path` is the request's,
    /// as sent, without query.
    pub fn cannot(method: &str, path: &str) -> Self {
        let mut shown = String::with_capacity(path.len());
        for character in path.chars() {
            match character {
                '&' => shown.push_str("&amp;"),
                '<' => shown.push_str("%3C"),
                '>' => shown.push_str("%3E"),
                '"' => shown.push_str("%22"),
                '\'' => shown.push_str("&#39;"),
                other => shown.push(other),
            }
        }
        let body = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Error</title>\n</head>\n\
             <body>\n<pre>Cannot {method} {shown}</pre>\n</body>\n</html>\n"
        );
        Answer { status: 404, content_type: HTML, body }
    }

    /// 429, when `httpServer.rateLimit` is exceeded.
    pub fn too_many_requests() -> Self {
        Answer::text(429, "Too many requests, please slow down.")
    }

    /// 403, when a registration comes after the first account exists.
    pub fn registration_is_disabled() -> Self {
        Answer::text(403, "Registration is disabled")
    }

    /// The weak `ETag` of a body.
    pub fn etag(body: &[u8]) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, body);
        let digest = base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest);
        format!("W/\"{:x}-{digest}\"", body.len())
    }

    /// `{"status":"success","message":…,"payload":…}`; `payload` is JSON text.
    pub fn success(message: &str, payload: &str) -> Self {
        let message = quoted(message);
        Answer::json(200, format!("{{\"status\":\"success\",\"message\":{message},\"payload\":{payload}}}"))
    }
}

/// An error as the API reports it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status; most errors of the original are 400, none is 500.
    pub status: u16,
    /// `BP_…`, where the class has one.
    pub code: Option<&'static str>,
    /// The class.
    pub kind: Cow<'static, str>,
    /// For humans; escaped where the original escapes.
    pub message: String,
}

impl ApiError {
    /// An error of one of the original's own classes: its message is HTML-escaped.
    pub fn typed(status: u16, code: Option<&'static str>, kind: &'static str, message: &str) -> Self {
        ApiError { status, code, kind: kind.into(), message: escape(message) }
    }

    /// Any other error, with the message as it is.
    pub fn plain(status: u16, kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        ApiError { status, code: None, kind: kind.into(), message: message.into() }
    }

    /// 404 `Not Found: Invalid Bot ID`.
    pub fn invalid_bot() -> Self {
        ApiError::typed(404, Some("BP_0044"), "NotFoundError", "Not Found: Invalid Bot ID")
    }

    /// 404 `Not Found: Bot is disabled`.
    pub fn disabled_bot() -> Self {
        ApiError::typed(404, Some("BP_0044"), "NotFoundError", "Not Found: Bot is disabled")
    }

    /// 401 `Unauthorized: …`.
    pub fn unauthorized(reason: &str) -> Self {
        ApiError::typed(401, Some("BP_0041"), "UnauthorizedError", &format!("Unauthorized: {reason}"))
    }

    /// 403 `Forbidden: …`.
    pub fn forbidden(reason: &str) -> Self {
        ApiError::typed(403, Some("BP_0043"), "ForbiddenError", &format!("Forbidden: {reason}"))
    }

    /// 400 `Bad Request: …`.
    pub fn bad_request(reason: &str) -> Self {
        ApiError::typed(400, Some("BP_0040"), "BadRequestError", &format!("Bad Request: {reason}"))
    }

    /// 409: a message while another of the same user is being answered, where those are refused.
    pub fn parallel() -> Self {
        ApiError::typed(409, None, "ConflictError", "Conflict: Another message of this user is being answered")
    }

    /// 400: the header that names the workspace is missing on an admin route.
    pub fn workspace_missing() -> Self {
        let message = "Invalid operation: Workspace is missing. Set header X-BP-Workspace";
        ApiError::typed(400, Some("BP_0006"), "InvalidOperationError", message)
    }

    /// 400: the turn didn't end in `converse.timeout`.
    pub fn timed_out() -> Self {
        ApiError::plain(400, "Error", "Request timed out.")
    }

    /// 400: a percent sequence of a path's parameter can't be decoded; `raw` is as sent.
    pub fn undecodable(raw: &str) -> Self {
        ApiError::plain(400, "URIError", format!("Failed to decode param '{raw}'"))
    }

    /// 400: `include` was given more than once or as an array.
    pub fn include_is_no_text() -> Self {
        ApiError::plain(400, "TypeError", "params.toLowerCase is not a function")
    }

    /// The envelope, members in the original's order.
    pub fn to_json(&self) -> String {
        let mut out = format!("{{\"statusCode\":{}", self.status);
        if let Some(code) = self.code {
            out.push_str(",\"errorCode\":");
            write_string(code, &mut out);
        }
        out.push_str(",\"type\":");
        write_string(&self.kind, &mut out);
        out.push_str(",\"message\":");
        write_string(&self.message, &mut out);
        out.push_str(",\"details\":\"\",\"docs\":\"https://botpress.com/docs\"}");
        out
    }

    /// The envelope as an answer.
    pub fn answer(&self) -> Answer {
        Answer::json(self.status, self.to_json())
    }
}

/// The escaping of the original's own error classes: tags, slashes and backticks, not quotes.
fn escape(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for character in message.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '/' => out.push_str("&#x2F;"),
            '\\' => out.push_str("&#x5C;"),
            '`' => out.push_str("&#96;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_order() {
        assert_eq!(
            ApiError::unauthorized("Unknown scheme \"<b>/\"").to_json(),
            "{\"statusCode\":401,\"errorCode\":\"BP_0041\",\"type\":\"UnauthorizedError\",\
             \"message\":\"Unauthorized: Unknown scheme \\\"&lt;b&gt;&#x2F;\\\"\",\"details\":\"\",\
             \"docs\":\"https://botpress.com/docs\"}"
        );
        assert_eq!(
            ApiError::timed_out().to_json(),
            "{\"statusCode\":400,\"type\":\"Error\",\"message\":\"Request timed out.\",\"details\":\"\",\
             \"docs\":\"https://botpress.com/docs\"}"
        );
    }

    #[test]
    fn the_page_shows_no_markup_of_the_request() {
        let page = Answer::cannot("GET", "/<script>&'");
        assert!(page.body.contains("<pre>Cannot GET /%3Cscript%3E&amp;&#39;</pre>"));
    }
}
