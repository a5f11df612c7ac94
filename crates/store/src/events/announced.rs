//! `message_created` events that are no rows of their own: an incoming message is its own event,
//! under the same ULID.
//!
//! This saves each message a row, five indexes and the later change of its status. The event is
//! pending while its delivery waits in the outbox and processed afterwards. `announced` is 2 instead of 1
//! for one that was ignored. Failures are written to `events` under the event's id and then stand in
//! its stead.

use duologue_model::{EventStatus, Identity, id::EventId};

use super::List;
use crate::{Result, page::Query, sql::Row, tx::Tx};

/// The name of these events in every view.
pub(crate) const KIND: &str = "message_created";

/// What [`super::stored`] reads, from a message `m`.
const COLUMNS: &str = "'evt' || substr(m.id, 4), 'message_created', NULL, \
     CASE WHEN m.announced = 2 THEN 'ignored' WHEN EXISTS (SELECT 1 FROM outbox w WHERE w.bot_id = m.bot_id AND w.id = 'evt' || substr(m.id, 4)) \
     THEN 'pending' ELSE 'processed' END, NULL, m.conversation_id, m.user_id, m.id, m.created_at";

/// The event of this id, if it is a message.
pub(super) async fn find(tx: &mut Tx<'_>, who: &Identity, id: &str) -> Result<Option<Row>> {
    let Some(message) = EventId::new(id).message() else { return Ok(None) };
    let mut query = Query::new(&format!("SELECT {COLUMNS} FROM messages m WHERE m.announced > 0"));
    query.and("m.id =", &message);
    visible(&mut query, who);
    Ok(query.run(tx).await?.into_iter().next())
}

/// Only those of the caller, that have no row in `events`.
fn visible(query: &mut Query, who: &Identity) {
    query.and("m.bot_id =", &who.bot);
    if !who.is_bot() {
        let owner = query.bind(who.view.owner());
        query.text.push_str(&format!(
            " AND EXISTS (SELECT 1 FROM conversations o WHERE o.id = m.conversation_id AND o.owner = {owner})"
        ));
    }
    query.text.push_str(
        " AND NOT EXISTS (SELECT 1 FROM events x WHERE x.bot_id = m.bot_id AND x.id = 'evt' || substr(m.id, 4))",
    );
}

/// Whether some of these events can be in the list.
pub(super) fn concern(list: &List) -> bool {
    list.kind.as_ref().is_none_or(|kind| list.who.view.stored_event(kind) == KIND)
        && matches!(list.status, None | Some(EventStatus::Pending | EventStatus::Processed | EventStatus::Ignored))
        && list.links.workflow.is_none()
}

/// A page of them and one more, as [`super::stored`] reads them after position and id.
pub(super) async fn page(tx: &mut Tx<'_>, list: &List) -> Result<Vec<Row>> {
    let mut query = source(list);
    visible(&mut query, &list.who);
    if let Some(id) = &list.links.message {
        query.and("m.id =", id);
    }
    if let Some(id) = &list.links.conversation {
        query.and("m.conversation_id =", id);
    }
    if let Some(id) = &list.links.user {
        query.and("m.user_id =", id);
    }
    const WAITS: &str = "EXISTS (SELECT 1 FROM outbox v WHERE v.bot_id = m.bot_id AND v.id = 'evt' || substr(m.id, 4))";
    match list.status {
        Some(EventStatus::Ignored) => query.text.push_str(" AND m.announced = 2"),
        Some(EventStatus::Pending) => query.text.push_str(&format!(" AND m.announced = 1 AND {WAITS}")),
        Some(_) => query.text.push_str(&format!(" AND m.announced = 1 AND NOT {WAITS}")),
        None => {}
    }
    after(&mut query, list, "m");
    query.order("m.created_at", "m.id", false, list.page.size.get() + 1);
    query.run(tx).await
}

/// Where they are found without reading past others.
fn source(list: &List) -> Query {
    let head = format!("SELECT m.created_at, 'evt' || substr(m.id, 4), {COLUMNS} FROM");
    let links = &list.links;
    if links.conversation.is_some() || links.message.is_some() {
        return Query::new(&format!("{head} messages m WHERE m.announced > 0"));
    }
    if let Some(user) = &links.user {
        // A page's worth out of each of the user's conversations.
        let mut query = Query::new(&format!(
            "{head} participants p JOIN messages m ON m.conversation_id = p.conversation_id AND m.created_at IN \
             (SELECT n.created_at FROM messages n WHERE n.conversation_id = p.conversation_id AND n.announced > 0"
        ));
        query.and("n.user_id =", user);
        after(&mut query, list, "n");
        let limit = list.page.size.get() + 1;
        query.text.push_str(&format!(" ORDER BY n.created_at DESC LIMIT {limit}) WHERE m.announced > 0"));
        query.and("p.user_id =", user);
        return query;
    }
    if list.status == Some(EventStatus::Pending) {
        let mut query = Query::new(&format!(
            "{head} outbox q JOIN messages m ON m.id = 'msg' || substr(q.id, 4) WHERE m.announced = 1 AND q.kind = 'announced'"
        ));
        query.and("q.bot_id =", &list.who.bot);
        if let Some(cursor) = &list.page.after {
            query.and("q.id <", &cursor.id);
        }
        return query;
    }
    Query::new(&format!("{head} messages m WHERE m.announced > 0"))
}

/// Only those after the list's cursor, which names an event.
fn after(query: &mut Query, list: &List, table: &str) {
    if let Some(cursor) = &list.page.after {
        let message = EventId::new(cursor.id.as_str()).message().map(|id| id.to_string()).unwrap_or_default();
        let (pos, id) = (query.bind(cursor.pos), query.bind(message));
        query.text.push_str(&format!(" AND ({table}.created_at, {table}.id) < ({pos}, {id})"));
    }
}
