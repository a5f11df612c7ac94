//! The `html` format: one self-contained page with bubbles left and right.
//!
//! No content is ever markup: every text is escaped, there is no script, a content security policy
//! forbids any, links and media go to `http` and `https` (images also to image data URLs) or are
//! shown as text.

use std::fmt::Write;

use duologue_model::{Conversation, User};

use crate::{
    Error,
    cast::Cast,
    content::{Action, Body, Card, Choice, Content, Location, Media, MediaKind},
    plain,
    render::{Line, Put, Renderer},
    safe,
};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src http: https: data:; media-src http: https:; base-uri 'none'; form-action 'none'";

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#f5f6f8;--text:#1c2024;--soft:#667079;--in:#fff;--out:#dcebff;--line:#d9dde2;--mark:#0b6bcb}
@media(prefers-color-scheme:dark){:root{--page:#15181c;--text:#e6e8eb;--soft:#98a2ad;--in:#22272e;--out:#173a5e;--line:#363d46;--mark:#6cb6ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main{max-width:46rem;margin:0 auto;padding:1.5rem 1rem}
h1{font-size:1.4rem}h2{font-size:1.05rem;overflow-wrap:anywhere}
section+section{border-top:1px solid var(--line);margin-top:2.5rem;padding-top:1rem}
dl{display:grid;grid-template-columns:auto 1fr;gap:0 1rem;margin:0 0 1.5rem;font-size:.85rem;color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
article{display:flex;flex-direction:column;align-items:flex-start;margin:0 0 1rem}
article.outgoing{align-items:flex-end}
article header{font-size:.8rem;color:var(--soft);margin:0 .5rem .15rem}
article header b{color:var(--text)}
.bubble{max-width:85%;padding:.55rem .85rem;border-radius:1rem;border:1px solid var(--line);background:var(--in);overflow-wrap:anywhere}
.outgoing .bubble{background:var(--out);border-color:transparent}
.bubble>*{margin:.2rem 0}
p{white-space:pre-wrap}
a{color:var(--mark)}
ul{list-style:none;padding:0}
li{border:1px solid var(--line);border-radius:.6rem;padding:.15rem .6rem;margin:.25rem 0}
li.picked{border-color:var(--mark);font-weight:600}
li.picked::before{content:\"\\2713\\a0\"}
small,summary{color:var(--soft);font-weight:400;font-size:.8rem}
img,video,audio{display:block;max-width:100%;max-height:24rem;border-radius:.5rem}
pre{white-space:pre-wrap;font:.8rem/1.4 ui-monospace,monospace}
.card{border:1px solid var(--line);border-radius:.6rem;padding:.4rem .6rem}
.card>*{margin:.2rem 0}
@media print{body{background:none}article{break-inside:avoid}}
";

pub(crate) struct Html {
    pub title: Option<String>,
}

impl Renderer for Html {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let title = self.title.as_deref().unwrap_or("Transcript");
        let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        let _ = writeln!(page, "<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">");
        page.push_str("<meta name=\"referrer\" content=\"no-referrer\">\n");
        page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
        push_line(&mut page, title);
        let _ = write!(page, "</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>");
        push_line(&mut page, title);
        page.push_str("</h1>\n");
        out.put(&page);
    }

    fn conversation(
        &mut self,
        conversation: &Conversation,
        _: &[&User],
        cast: &Cast,
        _: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut html = String::from("<section>\n<h2>Conversation ");
        push_line(&mut html, conversation.id.as_str());
        html.push_str("</h2>\n<dl>\n");
        for (name, value) in plain::facts(conversation, cast) {
            let _ = write!(html, "<dt>{name}</dt><dd>");
            push_line(&mut html, &value);
            html.push_str("</dd>\n");
        }
        html.push_str("</dl>\n");
        out.put(&html);
        Ok(())
    }

    fn message(&mut self, line: &Line<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let content = Content::parse(&line.message.kind, line.message.payload.text());
        let mut html = format!("<article class=\"{}\">\n<header><b dir=\"auto\">", line.message.direction.name());
        push_line(&mut html, &line.author.name);
        let at = line.message.created_at;
        let _ =
            write!(html, "</b> <time datetime=\"{at}\">{} UTC</time></header>\n<div class=\"bubble\">", plain::at(at));
        write_content(&mut html, &content, line.picked);
        html.push_str("</div>\n</article>\n");
        out.put(&html);
        Ok(())
    }

    fn end_conversation(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        out.put("</section>\n");
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.put("</main>\n</body>\n</html>\n");
    }
}

fn write_content(out: &mut String, content: &Content, picked: Option<usize>) {
    match &content.body {
        Body::Text(text) | Body::Markdown(text) => write_text(out, text),
        Body::Media(media) => write_media(out, media),
        Body::Location(location) => write_location(out, location),
        Body::Card(card) => write_card(out, card),
        Body::Carousel(cards) => {
            for card in cards {
                write_card(out, card);
            }
        }
        Body::Choice(choice) => write_choice(out, choice, picked),
        Body::Bloc(items) => {
            for item in items {
                write_content(out, item, None);
            }
        }
        Body::Other { kind, json } => {
            out.push_str("<small>");
            push_line(out, kind);
            out.push_str("</small><pre dir=\"auto\">");
            push(out, json);
            out.push_str("</pre>");
        }
    }
    write_extras(out, content.extras.as_deref());
}

fn write_text(out: &mut String, text: &str) {
    out.push_str("<p dir=\"auto\">");
    push(out, text);
    out.push_str("</p>");
}

fn write_media(out: &mut String, media: &Media) {
    let title = media.title.as_deref().unwrap_or(media.kind.name());
    match media.kind {
        MediaKind::Image if safe::is_image_url(&media.url) => write_image(out, &media.url, title),
        MediaKind::Audio if safe::is_web_url(&media.url) => write_player(out, "audio", &media.url),
        MediaKind::Video if safe::is_web_url(&media.url) => write_player(out, "video", &media.url),
        _ => {}
    }
    out.push_str("<p dir=\"auto\"><small>");
    out.push_str(media.kind.name());
    out.push_str("</small> ");
    if safe::is_web_url(&media.url) {
        write_link(out, title, &media.url);
    } else {
        if let Some(title) = &media.title {
            push(out, title);
            out.push(' ');
        }
        push(out, &safe::short_url(&media.url));
    }
    out.push_str("</p>");
}

/// `url` must be an image URL.
fn write_image(out: &mut String, url: &str, alt: &str) {
    out.push_str("<img loading=\"lazy\" decoding=\"async\" referrerpolicy=\"no-referrer\" alt=\"");
    push_line(out, alt);
    out.push_str("\" src=\"");
    push(out, url);
    out.push_str("\">");
}

/// `url` must be a web URL.
fn write_player(out: &mut String, element: &str, url: &str) {
    let _ = write!(out, "<{element} controls preload=\"none\" src=\"");
    push(out, url);
    let _ = write!(out, "\"></{element}>");
}

/// `url` must be a web URL.
fn write_link(out: &mut String, label: &str, url: &str) {
    out.push_str("<a rel=\"noopener noreferrer\" target=\"_blank\" href=\"");
    push(out, url);
    out.push_str("\">");
    push(out, if label.trim().is_empty() { url } else { label });
    out.push_str("</a>");
}

fn write_location(out: &mut String, location: &Location) {
    out.push_str("<p dir=\"auto\"><small>location</small> ");
    for part in [&location.title, &location.address].into_iter().flatten() {
        push(out, part);
        out.push_str(", ");
    }
    push(out, &location.latitude);
    out.push_str(", ");
    push(out, &location.longitude);
    out.push_str("</p>");
}

fn write_card(out: &mut String, card: &Card) {
    out.push_str("<div class=\"card\">");
    if let Some(image) = &card.image {
        if safe::is_image_url(image) {
            write_image(out, image, &card.title);
        } else {
            out.push_str("<p><small>");
            push(out, &safe::short_url(image));
            out.push_str("</small></p>");
        }
    }
    out.push_str("<p dir=\"auto\"><b>");
    push(out, &card.title);
    out.push_str("</b></p>");
    if let Some(subtitle) = &card.subtitle {
        write_text(out, subtitle);
    }
    if !card.actions.is_empty() {
        out.push_str("<ul>");
        for action in &card.actions {
            write_action(out, action);
        }
        out.push_str("</ul>");
    }
    write_extras(out, card.extras.as_deref());
    out.push_str("</div>");
}

fn write_action(out: &mut String, action: &Action) {
    out.push_str("<li dir=\"auto\">");
    match &action.value {
        Some(url) if safe::is_web_url(url) => write_link(out, &action.label, url),
        _ => push(out, &action.label),
    }
    out.push_str(" <small>");
    push(out, &action.kind);
    if let Some(value) = &action.value {
        out.push_str(": ");
        push(out, &safe::short_url(value));
    }
    out.push_str("</small></li>");
}

fn write_choice(out: &mut String, choice: &Choice, picked: Option<usize>) {
    if !choice.text.is_empty() {
        write_text(out, &choice.text);
    }
    if choice.options.is_empty() {
        return;
    }
    out.push_str("<ul>");
    for (at, option) in choice.options.iter().enumerate() {
        let is_picked = picked == Some(at);
        out.push_str(if is_picked { "<li class=\"picked\" dir=\"auto\">" } else { "<li dir=\"auto\">" });
        push(out, &option.label);
        if let Some(value) = option.distinct_value() {
            out.push_str(" <small>");
            push(out, value);
            out.push_str("</small>");
        }
        out.push_str(if is_picked { " <small>picked</small></li>" } else { "</li>" });
    }
    out.push_str("</ul>");
}

fn write_extras(out: &mut String, extras: Option<&str>) {
    if let Some(extras) = extras {
        out.push_str("<details><summary>More</summary><pre>");
        push(out, extras);
        out.push_str("</pre></details>");
    }
}

/// Appends a text on one line, escaped.
fn push_line(out: &mut String, text: &str) {
    push(out, &safe::one_line(text));
}

/// Appends a text without control characters, escaped for elements and for quoted attributes.
fn push(out: &mut String, text: &str) {
    let cleaned = safe::clean(text);
    let mut rest = &*cleaned;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#39;",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}
