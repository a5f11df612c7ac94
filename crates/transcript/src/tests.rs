//! Whole documents, format by format, and what no content may do to them.

use duologue_model::{
    Conversation, Direction, Json, Message, Tags, Timestamp, User,
    id::{BotId, ConversationId, MessageId, UserId},
};
use proptest::prelude::*;

use crate::{
    Error, Format, LOOK_AHEAD, Options, Template, Transcript,
    jsonl::{self, Reader, Record},
    picked, readable,
};

const BOT: &str = "bot_00000000000000000000000BOT";
const ADA: &str = "user_0000000000000000000000ADA";

fn conversation(id: &str) -> Conversation {
    Conversation {
        id: ConversationId::new(id),
        current_task_id: None,
        current_workflow_id: None,
        created_at: "2026-11-21T12:00:00Z".parse().unwrap(),
        updated_at: "2026-11-21T12:00:00Z".parse().unwrap(),
        channel: "channel".into(),
        integration: "webchat".into(),
        tags: Tags([("topic".to_owned(), "sales".to_owned())].into()),
        message_count: 2,
        properties: None,
    }
}

fn user(id: &str, name: Option<&str>, second: i64) -> User {
    User {
        id: UserId::new(id),
        created_at: Timestamp::from_millis(second * 1000),
        updated_at: Timestamp::from_millis(second * 1000),
        tags: Tags::default(),
        name: name.map(str::to_owned),
        picture_url: None,
        properties: None,
        attributes: None,
    }
}

fn users() -> Vec<User> {
    vec![user(ADA, Some("Ada"), 20), user(BOT, Some("Helper"), 10)]
}

fn message(direction: Direction, kind: &str, payload: &str, second: i64) -> Message {
    let start: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let author = if direction == Direction::Incoming { ADA } else { BOT };
    Message {
        id: MessageId::new(format!("msg_{second:026}")),
        created_at: start.plus_millis(second * 1000),
        updated_at: start.plus_millis(second * 1000),
        kind: kind.into(),
        payload: Json::parse(payload.to_owned()).unwrap(),
        direction,
        user_id: UserId::new(author),
        conversation_id: ConversationId::new("conv_1"),
        tags: Tags::default(),
        origin: None,
    }
}

fn said(kind: &str, payload: &str) -> Message {
    message(Direction::Incoming, kind, payload, 1)
}

fn text(words: &str) -> Message {
    said("text", &serde_json::json!({ "text": words }).to_string())
}

fn options() -> Options {
    Options { bot: Some(BotId::new(BOT)), ..Options::default() }
}

fn document(mut transcript: Transcript, users: &[User], messages: &[Message]) -> String {
    let mut out = Vec::new();
    transcript.begin(&mut out).unwrap();
    transcript.conversation(&conversation("conv_1"), users, &mut out).unwrap();
    for message in messages {
        transcript.message(message, &mut out).unwrap();
    }
    transcript.end_conversation(&mut out).unwrap();
    transcript.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn render(format: Format, messages: &[Message]) -> String {
    document(Transcript::new(format, options()), &users(), messages)
}

fn templated(name: &str, source: &str, messages: &[Message]) -> Result<String, Error> {
    let mut transcript = Transcript::templated(Template::compile(name, source)?, options());
    let mut out = Vec::new();
    transcript.conversation(&conversation("conv_1"), &users(), &mut out)?;
    for message in messages {
        transcript.message(message, &mut out)?;
    }
    transcript.finish(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// A short conversation with a choice that is answered.
fn dialogue() -> Vec<Message> {
    use Direction::{Incoming, Outgoing};
    vec![
        message(Incoming, "text", r#"{"text":"hello\nthere"}"#, 1),
        message(
            Outgoing,
            "choice",
            r#"{"text":"Which size?","options":[{"label":"Small","value":"s"},{"label":"Large","value":"large"}]}"#,
            2,
        ),
        message(Outgoing, "text", r#"{"text":"Take your time."}"#, 3),
        message(Incoming, "text", r#"{"text":" LARGE "}"#, 4),
    ]
}

// ── readable ────────────────────────────────────────────────────────────────────────────────────

#[test]
fn every_type_reads_well() {
    for (kind, payload, expected) in [
        ("text", r#"{"text":"hi\u001b[2J\r\nyou"}"#, "hi␛[2J\nyou"),
        ("markdown", r#"{"markdown":"**hi**"}"#, "**hi**"),
        ("image", r#"{"imageUrl":"https://x/a.png"}"#, "[image] https://x/a.png"),
        ("audio", r#"{"audioUrl":"https://x/a.mp3","title":"Song"}"#, "[audio] Song — https://x/a.mp3"),
        ("video", r#"{"videoUrl":"https://x/a.mp4"}"#, "[video] https://x/a.mp4"),
        ("file", r#"{"fileUrl":"https://x/a.pdf","title":"Bill","metadata":{}}"#, "[file] Bill — https://x/a.pdf"),
        (
            "location",
            r#"{"latitude":45.50,"longitude":-73.6,"address":"1 Road","title":"Home"}"#,
            "[location] Home, 1 Road, 45.50, -73.6",
        ),
        (
            "card",
            r#"{"title":"Pizza","subtitle":"Hot","imageUrl":"https://x/p.png","actions":[{"action":"postback","label":"Buy","value":"BUY"},{"action":"url","label":"More","value":"https://x"},{"action":"say","label":"Hi","value":"hi"}]}"#,
            "[card] Pizza\nHot\nimage: https://x/p.png\n- Buy (postback: BUY)\n- More (url: https://x)\n- Hi (say: hi)",
        ),
        (
            "carousel",
            r#"{"items":[{"title":"A","actions":[]},{"title":"B","subtitle":"b\nc","actions":[{"action":"say","label":"x","value":"x"}]}]}"#,
            "[carousel]\n1. A\n2. B\n   b\n   c\n   - x (say: x)",
        ),
        (
            "choice",
            r#"{"text":"Which?","options":[{"label":"Small","value":"s"},{"label":"Large","value":"large"}]}"#,
            "Which?\n[ ] Small = s\n[ ] Large",
        ),
        ("dropdown", r#"{"text":"Which?","options":[{"label":"A","value":"a"}]}"#, "Which?\n[ ] A"),
        (
            "bloc",
            r#"{"items":[{"type":"text","payload":{"text":"a"}},{"type":"image","payload":{"imageUrl":"https://x"}},{"type":"odd","payload":{"k":1}}]}"#,
            "a\n[image] https://x\n[odd] {\n  \"k\": 1\n}",
        ),
        (
            "custom",
            r#"{"name":"x","data":{"n":1.0}}"#,
            "[custom] {\n  \"name\": \"x\",\n  \"data\": {\n    \"n\": 1.0\n  }\n}",
        ),
        ("text", r#"{"text":["no"]}"#, "[text] {\n  \"text\": [\n    \"no\"\n  ]\n}"),
        ("text", r#"{"text":"hi","lang":"en","markdown":true}"#, "hi\n+ {\"lang\":\"en\"}"),
        ("text", "[]", "[text] []"),
    ] {
        assert_eq!(readable(&said(kind, payload)), expected, "{kind} {payload}");
    }
}

// ── formats ─────────────────────────────────────────────────────────────────────────────────────

#[test]
fn text_reads_like_a_conversation() {
    assert_eq!(
        render(Format::Text, &dialogue()),
        "\
Conversation conv_1
  Created: 2026-11-21 12:00:00 UTC
  Channel: channel
  Integration: webchat
  Participants: Helper, Ada
  Tags: topic=sales

2026-11-21 12:00:01  Ada: hello
                     there
2026-11-21 12:00:02  Helper: Which size?
                     [ ] Small = s
                     [x] Large (picked)
2026-11-21 12:00:03  Helper: Take your time.
2026-11-21 12:00:04  Ada:  LARGE 
"
    );
}

#[test]
fn markdown_reads_like_a_conversation() {
    let mut messages = dialogue();
    messages.push(message(Direction::Outgoing, "markdown", r##"{"markdown":"# Hi\n\n<b>x</b> 1 < 2"}"##, 5));
    messages.push(message(Direction::Outgoing, "image", r#"{"imageUrl":"https://x/a>b","title":"A [b]"}"#, 6));
    messages.push(message(Direction::Outgoing, "file", r#"{"fileUrl":"javascript:alert(1)"}"#, 7));
    messages.push(message(Direction::Outgoing, "odd", r#"{"a":"````"}"#, 8));
    let shown = render(Format::Markdown, &messages);
    let (head, body) = shown.split_once("\n\n**Ada**").unwrap();
    assert!(head.starts_with("## Conversation conv\\_1\n\n- Created: 2026-11-21 12:00:00 UTC\n"), "{head}");
    assert_eq!(
        body,
        " · 2026-11-21 12:00:01 UTC\n\nhello\\\nthere\n\n\
**Helper** · 2026-11-21 12:00:02 UTC\n\nWhich size?\n\n- [ ] Small = s\n- [x] **Large** (picked)\n\n<!-- -->\n\n\
**Helper** · 2026-11-21 12:00:03 UTC\n\nTake your time.\n\n\
**Ada** · 2026-11-21 12:00:04 UTC\n\n\u{a0}LARGE\n\n\
**Helper** · 2026-11-21 12:00:05 UTC\n\n> # Hi\n>\n> \\<b>x\\</b> 1 < 2\n\n\
**Helper** · 2026-11-21 12:00:06 UTC\n\n[image: A \\[b\\]](<https://x/a%3Eb>)\n\n\
**Helper** · 2026-11-21 12:00:07 UTC\n\nfile: javascript:alert(1)\n\n\
**Helper** · 2026-11-21 12:00:08 UTC\n\n*odd*\n\n`````json\n{\n  \"a\": \"````\"\n}\n`````\n\n"
    );
}

#[test]
fn markdown_structure_in_text_is_escaped() {
    for (said, shown) in [
        ("# no heading", "\\# no heading"),
        ("a\n---\nb", "a\\\n\\---\\\nb"),
        ("- a\n+ b\n* c", "\\- a\\\n\\+ b\\\n\\* c"),
        ("12. twelve", "12\\. twelve"),
        ("    code", "\u{a0}\u{a0}\u{a0}\u{a0}code"),
        ("```\nx", "\\`\\`\\`\\\nx"),
        ("<script>&amp;", "\\<script\\>\\&amp;"),
        ("[a](b) ![c](d)", "\\[a\\](b) !\\[c\\](d)"),
        ("a\n\n\n\nb", "a\n\nb"),
        ("> quote", "\\> quote"),
        ("back\\", "back\\\\"),
    ] {
        let document = render(Format::Markdown, &[text(said)]);
        assert!(document.ends_with(&format!("12:00:01 UTC\n\n{shown}\n\n")), "{said:?} became {document}");
    }
}

#[test]
fn html_is_one_page_with_bubbles() {
    let page = render(Format::Html, &dialogue());
    assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "));
    assert!(page.ends_with("</section>\n</main>\n</body>\n</html>\n"));
    let bubbles = &page[page.find("</dl>\n").unwrap() + 6..page.find("</section>").unwrap()];
    assert!(bubbles.starts_with(
        "<article class=\"incoming\">\n<header><b dir=\"auto\">Ada</b> <time datetime=\"2026-11-21T12:00:01.000Z\">2026-11-21 12:00:01 UTC</time></header>\n<div class=\"bubble\"><p dir=\"auto\">hello\nthere</p></div>\n</article>\n"
    ), "{bubbles}");
    assert!(bubbles.contains("<ul><li dir=\"auto\">Small <small>s</small></li><li class=\"picked\" dir=\"auto\">Large <small>picked</small></li></ul>"));
}

#[test]
fn html_links_only_to_the_web() {
    let page = |kind: &str, payload: &str| render(Format::Html, &[said(kind, payload)]);
    let image = page("image", r#"{"imageUrl":"https://x/?a=1&b=\"2\"","title":"<i>"}"#);
    assert!(
        image.contains(r#"referrerpolicy="no-referrer" alt="&lt;i&gt;" src="https://x/?a=1&amp;b=&quot;2&quot;">"#)
    );
    assert!(image.contains(
        r#"<a rel="noopener noreferrer" target="_blank" href="https://x/?a=1&amp;b=&quot;2&quot;">&lt;i&gt;</a>"#
    ));
    assert!(
        page("image", r#"{"imageUrl":"data:image/png;base64,AA=="}"#).contains(r#"src="data:image/png;base64,AA==""#)
    );
    for bad in ["javascript:alert(1)", "data:text/html,<script>", " https://x", "vbscript:x", "file:///etc/passwd"] {
        for (kind, key) in [("image", "imageUrl"), ("audio", "audioUrl"), ("video", "videoUrl"), ("file", "fileUrl")] {
            let page = page(kind, &serde_json::json!({ key: bad }).to_string());
            assert!(!page.contains("src=") && !page.contains("href="), "{kind} {bad}");
        }
        let card = serde_json::json!({"title": "t", "imageUrl": bad, "actions": [{"action": "url", "label": "l", "value": bad}]});
        let page = page("card", &card.to_string());
        assert!(!page.contains("src=") && !page.contains("href="), "card {bad}");
    }
}

#[test]
fn csv_has_one_header_and_guards_formulas() {
    let mut messages = dialogue();
    messages.push(text("=1+1"));
    messages.push(text("a \"b\", c"));
    messages.push(message(Direction::Incoming, "@x", "-1", 6));
    assert_eq!(
        render(Format::Csv, &messages[3..]),
        "conversationId,messageId,createdAt,direction,author,type,text,payload,tags\r\n\
conv_1,msg_00000000000000000000000004,2026-11-21T12:00:04.000Z,incoming,Ada,text,\" LARGE \",\"{\"\"text\"\":\"\" LARGE \"\"}\",{}\r\n\
conv_1,msg_00000000000000000000000001,2026-11-21T12:00:01.000Z,incoming,Ada,text,\"'=1+1\",\"{\"\"text\"\":\"\"=1+1\"\"}\",{}\r\n\
conv_1,msg_00000000000000000000000001,2026-11-21T12:00:01.000Z,incoming,Ada,text,\"a \"\"b\"\", c\",\"{\"\"text\"\":\"\"a \\\"\"b\\\"\", c\"\"}\",{}\r\n\
conv_1,msg_00000000000000000000000006,2026-11-21T12:00:06.000Z,incoming,Ada,\"'@x\",[@x] -1,\"'-1\",{}\r\n"
    );
}

#[test]
fn json_is_one_document_for_any_number_of_conversations() {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parse(&many(Format::Json, 0)), serde_json::json!({"conversations": []}));
    let two = parse(&many(Format::Json, 2));
    assert_eq!(two["conversations"][1]["conversation"]["id"], "conv_1");
    assert_eq!(two["conversations"][1]["messages"].as_array().unwrap().len(), 4);
    assert_eq!(two["conversations"][0]["users"][0]["name"], "Helper");
}

#[test]
fn documents_stay_whole_with_many_conversations() {
    for count in [0, 1, 3] {
        let html = many(Format::Html, count);
        assert_eq!((html.matches("<html").count(), html.matches("<section>").count()), (1, count));
        assert_eq!(html.matches("</section>").count(), count);
        assert_eq!(many(Format::Csv, count).matches("conversationId,").count(), 1);
        assert_eq!(many(Format::JsonLines, count).lines().count(), 1 + 5 * count);
        assert_eq!(many(Format::Text, count).matches("Conversation conv_1").count(), count);
        assert_eq!(many(Format::Markdown, count).matches("\n---\n").count(), count.saturating_sub(1));
    }
}

/// A document of `count` conversations that relies on calls being made up for.
fn many(format: Format, count: usize) -> String {
    let mut transcript = Transcript::new(format, options());
    let mut out = Vec::new();
    for _ in 0..count {
        transcript.conversation(&conversation("conv_1"), &users(), &mut out).unwrap();
        for message in dialogue() {
            transcript.message(&message, &mut out).unwrap();
        }
    }
    transcript.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn format_names_round_trip() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
        assert_eq!(Format::from_name(format.extension()), Some(format));
    }
    assert_eq!(Format::from_name("pdf"), None);
}

// ── who speaks ──────────────────────────────────────────────────────────────────────────────────

#[test]
fn strangers_are_named_by_direction_and_id() {
    let mut gone = message(Direction::Incoming, "text", r#"{"text":"x"}"#, 1);
    gone.user_id = UserId::new("user_0000000000000000000ABCDEF");
    let mut agent = message(Direction::Outgoing, "text", r#"{"text":"y"}"#, 2);
    agent.user_id = UserId::new("user_0000000000000000000AGENT1");
    let bot = message(Direction::Outgoing, "text", r#"{"text":"z"}"#, 3);
    let shown = document(Transcript::new(Format::Text, options()), &[], &[gone, agent, bot]);
    assert!(shown.ends_with(
        "\n\n2026-11-21 12:00:01  User ABCDEF: x\n2026-11-21 12:00:02  Bot AGENT1: y\n2026-11-21 12:00:03  Bot: z\n"
    ));
}

#[test]
fn a_user_cannot_take_the_bots_name() {
    let users = [user(BOT, Some("Helper"), 1), user(ADA, Some(" helper\n"), 2)];
    let shown = document(Transcript::new(Format::Text, options()), &users, &dialogue()[..1]);
    assert!(shown.contains("12:00:01  helper (000ADA): hello"), "{shown}");
    let named = Options { bot_name: Some("Desk".into()), ..options() };
    let shown = document(Transcript::new(Format::Text, named), &users[..1], &dialogue()[2..3]);
    assert!(shown.contains("  Desk: Take"), "{shown}");
}

// ── picks ───────────────────────────────────────────────────────────────────────────────────────

const SIZES: &str = r#"{"text":"?","options":[{"label":"One","value":"1"},{"label":"Two","value":"2"}]}"#;

fn prompt() -> Message {
    message(Direction::Outgoing, "dropdown", SIZES, 1)
}

#[test]
fn an_option_is_picked_by_value_label_or_postback() {
    for (payload, expected) in [
        (r#"{"text":"2"}"#, Some(1)),
        (r#"{"text":" two "}"#, Some(1)),
        (r#"{"text":"Something else","value":"1"}"#, Some(0)),
        (r#"{"text":"Two","payload":"1"}"#, Some(0)),
        (r#"{"payload":{"text":"One"}}"#, Some(0)),
        (r#"{"text":"three"}"#, None),
        (r#"{"text":null}"#, None),
        ("[]", None),
    ] {
        assert_eq!(picked(&prompt(), [&said("text", payload)]), expected, "{payload}");
    }
}

#[test]
fn the_search_for_a_pick_is_bounded() {
    let other = text("hm");
    let answer = text("one");
    let near: Vec<&Message> = std::iter::repeat_n(&other, LOOK_AHEAD - 1).chain([&answer]).collect();
    assert_eq!(picked(&prompt(), near), Some(0));
    let far: Vec<&Message> = std::iter::repeat_n(&other, LOOK_AHEAD).chain([&answer]).collect();
    assert_eq!(picked(&prompt(), far), None);
    assert_eq!(picked(&prompt(), [&prompt(), &answer]), None);
    let echo = message(Direction::Outgoing, "text", r#"{"text":"one"}"#, 2);
    assert_eq!(picked(&prompt(), [&echo]), None);
    assert_eq!(picked(&answer, [&answer]), None);
}

#[test]
fn a_transcript_holds_back_no_more_than_it_must() {
    let mut transcript = Transcript::new(Format::Text, options());
    let mut out = Vec::new();
    transcript.conversation(&conversation("conv_1"), &users(), &mut out).unwrap();
    let head = out.len();
    transcript.message(&prompt(), &mut out).unwrap();
    for _ in 1..LOOK_AHEAD {
        transcript.message(&text("hm"), &mut out).unwrap();
    }
    assert_eq!(out.len(), head);
    transcript.message(&text("hm"), &mut out).unwrap();
    assert_eq!(String::from_utf8_lossy(&out[head..]).matches(": hm\n").count(), LOOK_AHEAD);
    transcript.message(&text("one"), &mut out).unwrap();
    assert!(out.ends_with(b": one\n"));
    assert!(!String::from_utf8_lossy(&out).contains("picked"));
}

proptest! {
    /// What the transcript marks while streaming is what `picked` finds with everything at hand.
    #[test]
    fn streaming_finds_the_same_picks(kinds in proptest::collection::vec(0..6u8, 0..60)) {
        let messages: Vec<Message> = kinds.iter().map(|kind| match kind {
            0 => prompt(),
            1 => message(Direction::Outgoing, "choice", "[]", 1),
            2 => text("one"),
            3 => text("TWO"),
            4 => message(Direction::Outgoing, "text", r#"{"text":"one"}"#, 1),
            _ => text("hm"),
        }).collect();
        let expected: Vec<Option<usize>> =
            (0..messages.len()).map(|at| picked(&messages[at], &messages[at + 1..])).collect();
        let source = "{% for m in messages %}{{ m.picked.value }};{% endfor %}";
        let shown = templated("t.txt", source, &messages).unwrap();
        let expected: String = expected.iter().map(|pick| pick.map_or(";".into(), |at| format!("{};", at + 1))).collect();
        prop_assert_eq!(shown, expected);
    }
}

// ── templates ───────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_template_sees_what_its_contract_says() {
    let source = "\
{{ index }} {{ conversation.id }} {{ conversation.tags.topic }} {{ title }}|
{%- for u in users %}{{ u.displayName }}/{{ u.isBot }}/{{ u.name }} {% endfor %}|
{%- for m in messages %}
{{ m.createdAt[:10] }} {{ m.author.name }} {{ m.author.isBot }} {{ m.direction }} {{ m.type }}: {{ m.text }}
{%- if m.picked %} -> {{ m.picked.label }}={{ m.picked.value }}{% endif %}
{%- endfor %}
{{ messages|length }} {{ messages[0].payload.text }} {{ (messages|last).text }} {{ messages[1:2][0].payload.options[0].label }}";
    assert_eq!(
        templated("t.txt", source, &dialogue()).unwrap(),
        "1 conv_1 sales |Helper/True/Helper Ada/False/Ada |
2026-11-21 Ada False incoming text: hello
there
2026-11-21 Helper True outgoing choice: Which size?
[ ] Small = s
[x] Large (picked) -> Large=large
2026-11-21 Helper True outgoing text: Take your time.
2026-11-21 Ada False incoming text:  LARGE 
4 hello
there  LARGE  Small"
    );
}

#[test]
fn html_templates_escape() {
    let said = [text("<b>"), said("text", r#"{"text":"x","url":"javascript:alert(1)"}"#)];
    let source = "{{ messages[0].text }} {{ messages[1].payload.url|safe_url }}.";
    assert_eq!(templated("t.html", source, &said).unwrap(), "&lt;b&gt; .");
    assert_eq!(templated("t.md", source, &said).unwrap(), "<b> .");
}

#[test]
fn template_failures_are_told() {
    let failure = |source: &str| templated("mine.txt", source, &dialogue()).unwrap_err().to_string();
    assert!(failure("a\n{{ ").contains("mine.txt:2"), "{}", failure("a\n{{ "));
    assert!(
        failure("{% for i in range(9999) %}{% for j in range(9999) %}{{ j }}{% endfor %}{% endfor %}").contains("fuel")
    );
    assert!(failure("{% include '/etc/passwd' %}").contains("mine.txt:1"));
}

#[test]
fn templates_refuse_what_would_not_fit() {
    let options = Options { template_bytes: 1500, ..options() };
    let mut transcript = Transcript::templated(Template::compile("t", "").unwrap(), options);
    let mut out = Vec::new();
    transcript.conversation(&conversation("conv_1"), &[], &mut out).unwrap();
    transcript.message(&text("a"), &mut out).unwrap();
    transcript.message(&text("b"), &mut out).unwrap();
    assert!(matches!(transcript.message(&text("c"), &mut out), Err(Error::TooLarge { limit: 1500, .. })));
}

#[test]
fn templates_hold_what_json_cannot() {
    let deep = format!(r#"{{"a":1,"deep":{}{},"big":1e999}}"#, "[".repeat(300), "]".repeat(300));
    let shown = templated(
        "t",
        "{{ messages[0].payload.a }} {{ messages[0].payload.big }} {{ messages[0].payload.deep|length }}",
        &[said("x", &deep)],
    );
    assert_eq!(shown.unwrap(), "1 1e999 600");
}

#[test]
fn a_message_needs_a_conversation() {
    let mut transcript = Transcript::new(Format::Text, options());
    assert!(matches!(transcript.message(&text("x"), &mut Vec::new()), Err(Error::NoConversation)));
}

// ── JSON Lines ──────────────────────────────────────────────────────────────────────────────────

fn read(text: &str) -> Result<Vec<Record>, jsonl::ReadError> {
    let mut reader = Reader::new();
    let mut records = Vec::new();
    for line in text.split('\n') {
        records.extend(reader.line(line.as_bytes())?);
    }
    reader.finish()?;
    Ok(records)
}

#[test]
fn jsonl_has_the_documented_form() {
    let mut pretty = said("text", "{ \"text\" :\r\n \"a\\nb\",\n \"n\": 1.10 }");
    pretty.tags = Tags([("a".to_owned(), "b".to_owned())].into());
    let shown = document(Transcript::new(Format::JsonLines, options()), &[user(ADA, None, 1)], &[pretty]);
    assert_eq!(
        shown,
        r#"{"duologue":"export","version":1,"botId":"bot_00000000000000000000000BOT"}
{"conversation":{"id":"conv_1","createdAt":"2026-11-21T12:00:00.000Z","updatedAt":"2026-11-21T12:00:00.000Z","channel":"channel","integration":"webchat","tags":{"topic":"sales"},"messageCount":2},"users":[{"id":"user_0000000000000000000000ADA","createdAt":"1970-01-01T00:00:01.000Z","updatedAt":"1970-01-01T00:00:01.000Z","tags":{}}]}
{"message":{"id":"msg_00000000000000000000000001","createdAt":"2026-11-21T12:00:01.000Z","updatedAt":"2026-11-21T12:00:01.000Z","type":"text","payload":{ "text" : "a\nb", "n": 1.10 },"direction":"incoming","userId":"user_0000000000000000000000ADA","conversationId":"conv_1","tags":{"a":"b"}}}
"#
    );
}

#[test]
fn a_record_is_one_line_whatever_its_line_breaks() {
    for payload in ["{\n}", "{\r}", "{\r\n\"a\":\n1\r}"] {
        let mut out = Vec::new();
        jsonl::write_message(&said("x", payload), &mut out).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert_eq!(line.matches(['\n', '\r']).count(), 1, "{line:?}");
        assert!(line.ends_with("}}\n"));
    }
}

#[test]
fn reading_names_the_line_and_what_is_wrong() {
    const HEADER: &str = "{\"duologue\":\"export\",\"version\":1}\n";
    let good = many(Format::JsonLines, 1);
    assert_eq!(read(&format!("\u{feff}{}\n\n \r\n", good.replace('\n', "\r\n"))).unwrap().len(), 5);
    let lines: Vec<&str> = good.lines().collect();
    for (text, error) in [
        (String::new(), "line 1: a Duologue export begins"),
        ("{}\n".into(), "line 1: a Duologue export begins"),
        ("\nnot json".into(), "line 2: a Duologue export begins"),
        (r#"{"duologue":"backup","version":1}"#.into(), "line 1: a Duologue export begins"),
        (r#"{"duologue":"export","version":2,"new":1}"#.into(), "line 1: this export has version 2"),
        (format!("{HEADER}{HEADER}"), "line 2: a second header"),
        (format!("{HEADER}{{\"message\":"), "line 2: the line ends in the middle"),
        (format!("{HEADER}{{\"message\":{{}}}}"), "line 2: column 13: missing field `id`"),
        (format!("{HEADER}{{\"state\":{{}}}}"), "line 2: column 8: unknown field `state`"),
        (format!("{HEADER}{{}}"), "line 2: expected either"),
        (format!("{HEADER}\n{}", lines[2]), "line 3: message msg_00000000000000000000000001 comes before any"),
        (
            format!("{HEADER}{}\n{}", lines[1].replace("conv_1", "conv_2"), lines[2]),
            "line 3: message msg_00000000000000000000000001 belongs to conversation conv_1, but",
        ),
    ] {
        let told = read(&text).unwrap_err().to_string();
        assert!(told.starts_with(error), "{text:?} gave {told:?}");
    }
}

// ── any content ─────────────────────────────────────────────────────────────────────────────────

/// Text that likes to break things.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "<script>alert(1)</script>",
            "\" onload=\"x",
            "' onerror='x",
            "</p>",
            "<!--",
            "-->",
            "]]>",
            "&lt;",
            "javascript:x",
            "\r\n",
            "\n",
            "\r",
            "\t",
            "\u{1b}[31m",
            "\u{2028}",
            "=1+1",
            "@",
            "\"",
            ",",
            "'",
            "`",
            "```",
            "\n\n# x",
            "\n> ",
            "{{ x }}",
            "{% x %}",
            "\\",
            "\u{202e}",
            "\0",
            "https://x.example/",
            "data:image/png,x",
            " ",
            "one",
            "1",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let key = prop_oneof![
        prop::sample::select(vec![
            "text",
            "markdown",
            "imageUrl",
            "audioUrl",
            "videoUrl",
            "fileUrl",
            "title",
            "subtitle",
            "latitude",
            "longitude",
            "address",
            "items",
            "options",
            "choices",
            "label",
            "value",
            "action",
            "actions",
            "type",
            "payload",
            "metadata",
        ])
        .prop_map(str::to_owned),
        nasty(),
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        nasty().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::btree_map(key.clone(), inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Types a payload may claim to be.
const KINDS: &[&str] = &[
    "text",
    "markdown",
    "image",
    "audio",
    "video",
    "file",
    "location",
    "card",
    "carousel",
    "choice",
    "dropdown",
    "single-choice",
    "bloc",
    "custom",
    "<b>",
];

/// Payloads that have the shape of their type, with `words` where text goes.
fn shaped(kind: &str, words: &[String]) -> serde_json::Value {
    let word = |at: usize| words[at % words.len()].clone();
    match kind {
        "text" => serde_json::json!({ "text": word(0), "extra": word(1) }),
        "markdown" => serde_json::json!({ "markdown": word(0) }),
        "image" | "audio" | "video" | "file" => serde_json::json!({ format!("{kind}Url"): word(0), "title": word(1) }),
        "location" => {
            serde_json::json!({ "latitude": word(0), "longitude": 2.5, "title": word(1), "address": word(2) })
        }
        "card" => serde_json::json!({ "title": word(0), "subtitle": word(1), "imageUrl": word(2),
            "actions": [{ "action": word(3), "label": word(4), "value": word(5) }] }),
        "carousel" => serde_json::json!({ "items": [shaped("card", words), shaped("card", words)] }),
        "choice" | "dropdown" | "single-choice" => serde_json::json!({ "text": word(0),
            "options": [{ "label": word(1), "value": word(2) }, { "label": word(3), "value": word(4) }] }),
        "bloc" => serde_json::json!({ "items": [
            { "type": "text", "payload": shaped("text", words) }, { "type": "file", "payload": shaped("file", words) }] }),
        _ => serde_json::json!({ "anything": words }),
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let payload = (prop::sample::select(KINDS), any_json(), proptest::collection::vec(nasty(), 6), any::<bool>())
        .prop_map(|(kind, json, words, has_shape)| (kind, if has_shape { shaped(kind, &words) } else { json }));
    let tags = proptest::collection::btree_map(nasty(), nasty(), 0..3);
    (payload, any::<bool>(), 0..100_000i64, tags).prop_map(|((kind, payload), incoming, second, tags)| {
        let direction = if incoming { Direction::Incoming } else { Direction::Outgoing };
        Message { tags: Tags(tags), ..message(direction, kind, &payload.to_string(), second) }
    })
}

fn any_users() -> impl Strategy<Value = Vec<User>> {
    proptest::collection::vec((prop::sample::select(vec![ADA, BOT]), proptest::option::of(nasty()), 0..9i64), 0..3)
        .prop_map(|users| users.into_iter().map(|(id, name, second)| user(id, name.as_deref(), second)).collect())
}

/// The tags of an HTML document with the names of their attributes, in order.
fn tags(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let mut tag = String::new();
        let mut quoted = false;
        let mut length = 0;
        for c in rest[at + 1..].chars() {
            length += c.len_utf8();
            match c {
                '"' => quoted = !quoted,
                '>' if !quoted => break,
                c if !quoted => tag.push(c),
                _ => {}
            }
        }
        found.push(tag);
        rest = &rest[at + 1 + length..];
    }
    found
}

/// The records of an RFC 4180 document.
fn rows(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = csv.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && chars.next_if_eq(&'\n').is_some() => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !quoted, "the last record is complete");
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_content_breaks_a_document(users in any_users(), messages in proptest::collection::vec(any_message(), 0..6)) {
        for format in Format::ALL {
            let document = document(Transcript::new(format, options()), &users, &messages);
            match format {
                Format::Csv => {
                    let rows = rows(&document);
                    prop_assert_eq!(rows.len(), messages.len() + 1);
                    for row in &rows {
                        prop_assert_eq!(row.len(), 9);
                        prop_assert!(!row.iter().any(|cell| cell.trim_start().starts_with(['=', '+', '-', '@'])));
                    }
                    let payloads = rows[1..].iter().map(|row| row[7].trim_start_matches('\''));
                    for (payload, message) in payloads.zip(&messages) {
                        prop_assert_eq!(payload, message.payload.text());
                    }
                }
                Format::Json => { serde_json::from_str::<serde_json::Value>(&document).unwrap(); }
                Format::JsonLines => {}
                Format::Text => {
                    prop_assert!(!document.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
                    let heads = document.lines().filter(|line| line.starts_with("2026-")).count();
                    prop_assert_eq!(heads, messages.len());
                }
                Format::Html => {
                    prop_assert!(!document.contains("<script") && !document.contains('\0'));
                    prop_assert_eq!(document.matches("<article ").count(), messages.len());
                    prop_assert_eq!(document.matches("</article>").count(), messages.len());
                }
                Format::Markdown => {
                    let heads = document.lines().filter(|line| line.starts_with("**") && line.ends_with(" UTC")).count();
                    prop_assert_eq!(heads, messages.len());
                }
            }
        }
        let source = "{% for m in messages %}{{ m }}{{ m.text }}{{ m.payload|tojson }}{% endfor %}";
        let _ = templated("t.html", source, &messages).unwrap();
    }

    /// The markup depends on a message's type alone: whatever its texts are, the tags and their
    /// attributes are those of a message with harmless texts.
    #[test]
    fn html_markup_is_independent_of_content(kind in prop::sample::select(KINDS), words in proptest::collection::vec(nasty(), 6)) {
        // A word before each text keeps it from being empty, a URL or the same as its neighbour.
        let marked: Vec<String> = words.iter().enumerate().map(|(at, word)| format!("w{at}{word}")).collect();
        let plain: Vec<String> = (0..6).map(|at| format!("w{at}")).collect();
        let page = |words: &[String]| render(Format::Html, &[said(kind, &shaped(kind, words).to_string())]);
        prop_assert_eq!(tags(&page(&marked)), tags(&page(&plain)));
        let links: Vec<String> = words.iter().map(|word| format!("https://x/{word}").replace(char::is_whitespace, "").replace(char::is_control, "")).collect();
        let plain_links: Vec<String> = (0..6).map(|_| "https://x/".to_owned()).collect();
        if !kind.contains("choice") && kind != "dropdown" {
            prop_assert_eq!(tags(&page(&links)), tags(&page(&plain_links)));
        }
    }

    #[test]
    fn reading_what_was_written_gives_the_same(users in any_users(), messages in proptest::collection::vec(any_message(), 0..6)) {
        let first = document(Transcript::new(Format::JsonLines, options()), &users, &messages);
        let records = read(&first).unwrap();
        prop_assert_eq!(records.len(), messages.len() + 1);
        for (record, message) in records[1..].iter().zip(&messages) {
            prop_assert_eq!(record, &Record::Message(message.clone()));
        }
        let mut second = Vec::new();
        jsonl::write_header(options().bot.as_ref(), &mut second);
        for record in &records {
            jsonl::write(record, &mut second).unwrap();
        }
        prop_assert_eq!(String::from_utf8(second).unwrap(), first);
    }
}

/// A guard against rendering becoming the slow part of an export. Far below what a release build
/// does, as tests run unoptimised.
#[test]
fn rendering_is_fast() {
    let message = text("How much would a large one with olives be, delivered to the harbour?");
    let mut transcript = Transcript::new(Format::JsonLines, options());
    let mut out = Vec::new();
    transcript.conversation(&conversation("conv_1"), &users(), &mut out).unwrap();
    let start = std::time::Instant::now();
    for _ in 0..50_000 {
        out.clear();
        transcript.message(&message, &mut out).unwrap();
    }
    let rate = 50_000.0 / start.elapsed().as_secs_f64();
    eprintln!("{rate:.0} messages a second");
    assert!(rate > 10_000.0, "{rate:.0} messages a second");
}
