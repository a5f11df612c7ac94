//! Drives a format through conversations and messages, naming authors and finding picked options.

use duologue_model::{Conversation, Message, User, id::BotId};

use crate::{
    Error, Format, Template,
    cast::Cast,
    csv::Csv,
    html::Html,
    json::JsonDocument,
    jsonl::{self, JsonLines},
    markdown::Markdown,
    picks::{self, LOOK_AHEAD, Prompt},
    plain::Text,
    render::{Line, Renderer},
    template::Templated,
};

/// What a transcript may be told beside its content.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bot: messages of the user with its id are the bot's. JSON Lines name it in their header.
    pub bot: Option<BotId>,
    /// What the bot is called. Default: its user's name, else `Bot`.
    pub bot_name: Option<String>,
    /// Heading of the document, where the format has one.
    pub title: Option<String>,
    /// How much one conversation's messages may take in memory for a template, in bytes. Default:
    /// 64 MiB.
    pub template_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { bot: None, bot_name: None, title: None, template_bytes: 64 << 20 }
    }
}

/// Writes conversations as a document, piece by piece.
///
/// Every call appends to `out`; the caller drains it whenever it likes. At most [`LOOK_AHEAD`]
/// messages after a choice are held back, so memory stays flat however long a conversation is
/// (templates aside). Calls that are left out are made up for: a conversation that wasn't ended ends
/// with the next, a document that wasn't begun begins with its first conversation.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use duologue_transcript::{Format, Options, Transcript};
/// # let conversation: duologue_model::Conversation = serde_json::from_str(r#"{"id":"conv_1","createdAt":"2026-11-21T12:00:00.000Z","updatedAt":"2026-11-21T12:00:00.000Z","channel":"channel","integration":""}"#)?;
/// # let (users, messages) = (vec![], Vec::<duologue_model::Message>::new());
/// let mut transcript = Transcript::new(Format::Text, Options::default());
/// let mut out = Vec::new();
/// transcript.begin(&mut out)?;
/// transcript.conversation(&conversation, &users, &mut out)?;
/// for message in &messages {
///     transcript.message(message, &mut out)?;
///     // write `out` somewhere, then `out.clear()`
/// }
/// transcript.end_conversation(&mut out)?;
/// transcript.finish(&mut out)?;
/// # Ok(()) }
/// ```
pub struct Transcript {
    renderer: Box<dyn Renderer>,
    options: Options,
    cast: Cast,
    waiting: Option<Waiting>,
    begun: bool,
    first: bool,
    open: bool,
}

/// A choice that waits for its answer, and what came after it.
struct Waiting {
    prompt: Prompt,
    message: Message,
    after: Vec<Message>,
}

impl Transcript {
    /// A document of `format`.
    pub fn new(format: Format, options: Options) -> Self {
        let title = options.title.clone();
        let renderer: Box<dyn Renderer> = match format {
            Format::Text => Box::new(Text),
            Format::Markdown => Box::new(Markdown { title }),
            Format::Html => Box::new(Html { title }),
            Format::Csv => Box::new(Csv),
            Format::Json => Box::new(JsonDocument::default()),
            Format::JsonLines => Box::new(JsonLines { bot: options.bot.clone() }),
        };
        Transcript::with(renderer, options)
    }

    /// A document made by a user's template.
    pub fn templated(template: Template, options: Options) -> Self {
        let templated = Templated::new(template, options.title.clone(), options.template_bytes);
        Transcript::with(Box::new(templated), options)
    }

    fn with(renderer: Box<dyn Renderer>, options: Options) -> Self {
        Transcript { renderer, options, cast: Cast::default(), waiting: None, begun: false, first: true, open: false }
    }

    /// Begins the document.
    pub fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if !std::mem::replace(&mut self.begun, true) {
            self.renderer.begin(out);
        }
        Ok(())
    }

    /// Begins a conversation with the participants `users`, in any order.
    pub fn conversation(
        &mut self,
        conversation: &Conversation,
        users: &[User],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.begin(out)?;
        self.end_conversation(out)?;
        let users = jsonl::in_order(users);
        self.cast = Cast::new(self.options.bot.as_ref(), self.options.bot_name.as_deref(), &users);
        let first = std::mem::replace(&mut self.first, false);
        self.open = true;
        self.renderer.conversation(conversation, &users, &self.cast, first, out)
    }

    /// The next message of the conversation, oldest first. It may be held back until a later call.
    ///
    /// Errors: [`Error::NoConversation`]; [`Error::TooLarge`] with a template.
    pub fn message(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), Error> {
        if !self.open {
            return Err(Error::NoConversation);
        }
        if !self.renderer.shows_picks() {
            return self.write(message, None, out);
        }
        if picks::is_prompt(message) {
            self.release(None, out)?;
            return match Prompt::of(message) {
                Some(prompt) => {
                    self.waiting = Some(Waiting { prompt, message: message.clone(), after: Vec::new() });
                    Ok(())
                }
                None => self.write(message, None, out),
            };
        }
        let Some(waiting) = &mut self.waiting else { return self.write(message, None, out) };
        let picked = waiting.prompt.picked_by(message);
        waiting.after.push(message.clone());
        if picked.is_some() || waiting.after.len() >= LOOK_AHEAD {
            self.release(picked, out)?;
        }
        Ok(())
    }

    /// Ends the conversation. Does nothing when none is open.
    ///
    /// Errors: [`Error::Template`] when the template fails on this conversation.
    pub fn end_conversation(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if !self.open {
            return Ok(());
        }
        self.release(None, out)?;
        self.open = false;
        self.renderer.end_conversation(out)
    }

    /// Ends the document, and with it the conversation that is open. The transcript can't be used
    /// after it.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.begin(out)?;
        self.end_conversation(out)?;
        self.renderer.finish(out);
        Ok(())
    }

    /// Writes what was held back.
    fn release(&mut self, picked: Option<usize>, out: &mut Vec<u8>) -> Result<(), Error> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        self.write(&waiting.message, picked, out)?;
        waiting.after.iter().try_for_each(|message| self.write(message, None, out))
    }

    fn write(&mut self, message: &Message, picked: Option<usize>, out: &mut Vec<u8>) -> Result<(), Error> {
        let author = self.cast.author(message);
        self.renderer.message(&Line { message, author, picked }, out)
    }
}
