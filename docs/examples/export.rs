//! The steps of `docs/export.md` in Rust, one function each. As a program it writes all conversations
//! as JSON Lines, the form that `duologue import` reads:
//!
//! ```sh
//! BP_API_URL=http://127.0.0.1:3000 BP_TOKEN=… BP_BOT_ID=… cargo run --example export > all.jsonl
//! ```

use std::{fs, io::Write, path::Path};

use duologue_client::{Client, Conversation, ImportRecord, Imported, Sort, TryStreamExt, id::BotId};
use duologue_transcript::{Format, Options, Transcript};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::from_env()?;
    export(&client, Format::JsonLines, &mut std::io::stdout().lock()).await
}

pub async fn list(client: &Client) -> Result<()> {
    let mut conversations = client.list_conversations().page_size(100).items();
    while let Some(conversation) = conversations.try_next().await? {
        // messages come newest first
        let messages = client.list_messages().conversation(&conversation.id).page_size(100).all().await?;
        println!("{} {}", conversation.id, messages.len());
    }
    Ok(())
}

pub async fn choose(client: &Client, user: &str) -> Result<Vec<Conversation>> {
    let conversations = client
        .list_conversations()
        .tag("topic", "sales")
        .tag("region", "eu")
        .participant(user)
        .after("2026-01-01".parse()?)
        .before("2026-01-31T23:59:59.999Z".parse()?)
        .all()
        .await?;
    Ok(conversations)
}

pub async fn export(client: &Client, format: Format, file: &mut impl Write) -> Result<()> {
    let bot = client.bot_id().map(BotId::from);
    let mut transcript = Transcript::new(format, Options { bot, ..Options::default() });
    let mut out = Vec::new();
    let mut conversations = client.list_conversations().sort(Sort::CreatedAscending).page_size(100).items();
    while let Some(conversation) = conversations.try_next().await? {
        let users = client.list_participants(&conversation.id).page_size(100).all().await?;
        let messages = client.list_messages().conversation(&conversation.id).page_size(100).all().await?;
        transcript.conversation(&conversation, &users, &mut out)?;
        // oldest first
        for message in messages.iter().rev() {
            transcript.message(message, &mut out)?;
        }
        file.write_all(&out)?;
        out.clear();
    }
    transcript.finish(&mut out)?;
    file.write_all(&out)?;
    Ok(())
}

pub async fn next_page(client: &Client, note: &Path) -> Result<Vec<Conversation>> {
    let mut list = client.list_conversations().sort(Sort::CreatedAscending).page_size(100);
    if let Ok(token) = fs::read_to_string(note) {
        list = list.next_token(token);
    }
    let page = list.send().await?;
    if let Some(token) = page.next_token {
        fs::write(note, token)?;
    }
    Ok(page.items)
}

pub async fn import(client: &Client, jsonl: &str) -> Result<Imported> {
    // the first line is the header
    let records = jsonl.lines().skip(1).map(serde_json::from_str);
    let records = records.collect::<serde_json::Result<Vec<ImportRecord>>>()?;
    Ok(client.import_records(&records).await?)
}

pub async fn transcript(client: &Client, conversation: &str, file: &mut impl Write) -> Result<()> {
    let mut pieces = client.transcript(conversation, "markdown").await?;
    while let Some(piece) = pieces.try_next().await? {
        file.write_all(&piece)?;
    }
    Ok(())
}
