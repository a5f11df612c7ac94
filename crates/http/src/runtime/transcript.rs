//! `/v1/chat/conversations/{id}/transcript`: a conversation to read or to keep, streamed, oldest
//! message first (our superset).

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use duologue_model::{
    Error as Refusal, Identity, Timestamp, User,
    id::{ConversationId, MessageId},
};
use duologue_store::page::PageRequest;
use duologue_transcript::{Format, Options, Transcript};
use futures_util::stream;
use http::{HeaderValue, Response, header};

use crate::{
    App,
    call::Call,
    envelope::Failure,
    route::{Answer, Route},
};

pub(crate) const ROUTES: &[Route] =
    &[route!(Runtime GET "/v1/chat/conversations/{id}/transcript" getTranscript transcript)];

/// Messages read at a time: what a slow reader keeps in memory.
const BATCH: usize = 500;

async fn transcript(call: Call) -> Answer {
    let format = match call.query.get("format") {
        None => Format::Text,
        Some(name) => Format::from_name(name).ok_or_else(|| {
            Refusal::invalid_query(format!(
                "the query parameter format must be text, markdown, html, csv, json or jsonl, not \"{name}\""
            ))
        })?,
    };
    let who = call.who()?.clone();
    let store = &call.app.store;
    let conversation = store.get_conversation(who.clone(), call.param(0)).await?;
    let users = participants(&call.app, &who, conversation.id.as_str()).await?;
    let options = Options { bot: Some(who.bot.clone()), ..Options::default() };
    let mut start = Vec::new();
    let mut transcript = Transcript::new(format, options);
    transcript.begin(&mut start).map_err(broken)?;
    transcript.conversation(&conversation, &users, &mut start).map_err(broken)?;
    let pages = Pages {
        app: call.app.clone(),
        who,
        conversation: conversation.id.clone(),
        after: None,
        transcript: Some(transcript),
        start,
    };
    let body = Body::from_stream(stream::try_unfold(pages, |mut pages| async move {
        Ok::<_, Error>(pages.next().await?.map(|bytes| (bytes, pages)))
    }));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    // What people wrote is in the page: a browser shows it with its pictures, and runs nothing.
    let policy = HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; img-src https: http: data:; media-src https: http: data:; sandbox allow-popups allow-popups-to-escape-sandbox",
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let disposition = format!("inline; filename=\"{}.{}\"", conversation.id, format.extension());
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

fn broken(error: duologue_transcript::Error) -> Failure {
    tracing::error!(%error, "a transcript could not be rendered");
    Refusal::new(
        duologue_model::ErrorKind::Internal,
        "The transcript could not be rendered. The server's log says why.",
    )
    .into()
}

async fn participants(app: &App, who: &Identity, conversation: &str) -> Result<Vec<User>, Failure> {
    let mut users = Vec::new();
    let mut page = PageRequest { size: duologue_model::PageSize::new(100), after: None };
    loop {
        let part = app.store.list_participants(who.clone(), conversation.to_owned(), page.clone()).await?;
        users.extend(part.items);
        match part.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    users.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(users)
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A transcript in the making.
struct Pages {
    app: Arc<App>,
    who: Identity,
    conversation: ConversationId,
    after: Option<(Timestamp, MessageId)>,
    transcript: Option<Transcript>,
    start: Vec<u8>,
}

impl Pages {
    /// The next piece; `None` at the end. A failure breaks the connection off, so that nobody takes
    /// half a transcript for a whole one.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(mut transcript) = self.transcript.take() else { return Ok(None) };
        let mut out = std::mem::take(&mut self.start);
        let messages = self
            .app
            .store
            .export_messages(self.who.clone(), self.conversation.clone(), self.after.take(), BATCH)
            .await?;
        for message in &messages {
            transcript.message(message, &mut out)?;
        }
        match messages.last().filter(|_| messages.len() == BATCH) {
            Some(last) => {
                self.after = Some((last.created_at, last.id.clone()));
                self.transcript = Some(transcript);
            }
            None => {
                transcript.end_conversation(&mut out)?;
                transcript.finish(&mut out)?;
            }
        }
        Ok(Some(out.into()))
    }
}
