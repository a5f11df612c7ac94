//! Media of bots: `GET /api/v1/bots/{botId}/media/{file}`, for everybody.

use std::path::{Component, Path};

use axum::body::Body;
use duologue_v12::{Answer, ApiError};
use http::{HeaderValue, Response, header};

use super::{Call, Outcome, decoded};

/// Files by their ending. What isn't here is bytes to a browser.
const TYPES: &[(&str, &str)] = &[
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("bmp", "image/bmp"),
    ("svg", "image/svg+xml"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("ogg", "audio/ogg"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain; charset=utf-8"),
];

pub(super) async fn serve(call: &Call, bot: &str, file: &str) -> Outcome {
    let (bot, file) = (decoded(bot)?, decoded(file)?);
    let live = call.installed.bot(&bot).ok_or_else(ApiError::invalid_bot)?;
    live.settings.check_enabled()?;
    let missing = || Answer::cannot(call.method.as_str(), &call.path);
    let mut parts = Path::new(&file).components();
    let is_plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    if !is_plain || file.contains(['/', '\\', '\0']) {
        return Err(missing().into());
    }
    let path = call.bots.folder_of(&live).join("media").join(&file);
    // A link could lead out of the folder.
    let is_file = tokio::fs::symlink_metadata(&path).await.is_ok_and(|data| data.is_file());
    let Some(content) = (if is_file { tokio::fs::read(&path).await.ok() } else { None }) else {
        return Err(missing().into());
    };
    let ending = file.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let kind = TYPES.iter().find(|(known, _)| *known == ending).map_or("application/octet-stream", |(_, kind)| kind);
    let etag = Answer::etag(&content);
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Pictures can hold scripts.
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}
