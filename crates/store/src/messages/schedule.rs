//! Messages that are said later.

use duologue_model::{
    Direction, Identity, Message, Origin, Tags, Timestamp,
    id::{ConversationId, MessageId, UserId},
};

use super::{
    NewMessage,
    append::{direction, enter, write},
    seen_by,
};
use crate::{Error, Result, conversations, params, participants, tag_index, tx::Tx, users};

/// Keeps a message until its time. Its id exists at once; lists show it when it is due.
pub(super) async fn schedule(tx: &mut Tx<'_>, who: &Identity, new: &NewMessage, due: Timestamp) -> Result<Message> {
    let conversation = conversations::referenced(tx, who, new.conversation.as_str()).await?;
    let user = users::referenced(tx, who, new.user.as_str()).await?;
    participants::acceptable(who, &conversation.integration, &user)?;
    let message = Message {
        id: tx.ids().id(due),
        created_at: due,
        updated_at: due,
        kind: new.kind.clone(),
        payload: new.payload.clone(),
        direction: direction(who, &new.user, new.origin.is_some()),
        user_id: new.user.clone(),
        conversation_id: new.conversation.clone(),
        tags: Tags::create(&new.tags, &who.view)?,
        origin: new.origin,
    };
    let tags = message.tags.text();
    tx.execute(
        "INSERT INTO scheduled_messages (id, due_at, bot_id, conversation_id, user_id, owner, type, payload, direction, origin, tags) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            &message.id, due, &who.bot, &message.conversation_id, &message.user_id, who.view.owner(), &message.kind,
            &message.payload, message.direction.name(), message.origin.map(|_| "synthetic"), &tags
        ],
    )
    .await?;
    tag_index::update(tx, &who.bot, "m", message.id.as_str(), message.created_at, &Tags::default(), &message.tags)
        .await?;
    tx.touches().due(due);
    Ok(seen_by(message, who))
}

/// Says the scheduled messages whose time has come; answers how many.
pub(crate) async fn release_due(tx: &mut Tx<'_>, limit: i64) -> Result<usize> {
    let sql = format!(
        "DELETE FROM scheduled_messages WHERE id IN (SELECT id FROM scheduled_messages WHERE due_at <= ?1 ORDER BY due_at, id LIMIT {limit}) \
         RETURNING id, due_at, bot_id, conversation_id, user_id, owner, type, payload, direction, origin, tags"
    );
    let rows = tx.query(&sql, params![tx.now()]).await?;
    let mut due = Vec::with_capacity(rows.len());
    for mut row in rows {
        let id: MessageId = row.id()?;
        due.push((row.at()?, id, row));
    }
    due.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let count = due.len();
    for (scheduled_at, id, mut row) in due {
        let bot = row.id()?;
        let who = Identity::bot(bot);
        let (conversation, user): (ConversationId, UserId) = (row.id()?, row.id()?);
        let (_owner, kind, payload, direction) = (row.text()?, row.text()?, row.json()?, row.text()?);
        let (origin, tags) = (row.opt_text()?.map(|_| Origin::Synthetic), row.tags()?);
        // Whoever was to speak may have been deleted meanwhile: then there is nothing to say.
        let place = match enter(tx, &who, &conversation, &user).await {
            Ok(place) => place,
            Err(Error::Refused(_)) => continue,
            Err(error) => return Err(error),
        };
        tag_index::update(tx, &who.bot, "m", id.as_str(), scheduled_at, &tags, &Tags::default()).await?;
        let message = Message {
            id,
            created_at: place.at,
            updated_at: place.at,
            kind,
            payload,
            direction: Direction::from_name(&direction),
            user_id: user,
            conversation_id: conversation,
            tags,
            origin,
        };
        write(tx, &who, &place, &message, false).await?;
    }
    Ok(count)
}
