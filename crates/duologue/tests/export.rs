//! `duologue export` and `duologue import`, run as users run them: the binary against a server.

#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::Path, time::Duration};

use duologue_client::{CreateConversation, CreateMessage, CreateUser, Direction, Origin};
use serde_json::json;
use support::{Run, Server, duologue, eventually, proxy::Proxy};

/// A server with everything that an export must carry, made as bots and integrations make it.
async fn fill(server: &Server) {
    let client = server.client();
    let user = client.create_user(CreateUser::new().name("Ada \"L\" 🦀").tag("tier", "gold")).await.unwrap();
    let quiet = client.create_user(CreateUser::new()).await.unwrap();
    for n in 0..12 {
        let conversation = CreateConversation::new(if n % 3 == 0 { "web" } else { "mail" })
            .tag("topic", if n % 2 == 0 { "sales" } else { "support" })
            .tag("n", n.to_string())
            .properties(json!({"z": 1.5, "a": [n]}));
        let conversation = client.create_conversation(conversation).await.unwrap();
        if n == 4 {
            client.add_participant(&conversation.id, &quiet.id).await.unwrap();
        }
        if n == 5 {
            continue;
        }
        let bot = server.bot.as_str();
        let says = |text: String| CreateMessage::new(&conversation.id, bot, "text", json!({"text": text}));
        client
            .create_message(says(format!("Hello {n}, <b>1 & 2</b>\nsecond line")).tag("kind", "greeting"))
            .await
            .unwrap();
        let choice =
            json!({"text": "Pick", "options": [{"label": "Red", "value": "r"}, {"label": "Blue", "value": "b"}]});
        client.create_message(CreateMessage::new(&conversation.id, bot, "choice", choice)).await.unwrap();
        let odd = json!({"text": "b", "deep": {"y": [1, {"x": null}], "big": 12345678901234567890u64}});
        // Said by the user, and recorded by the bot.
        let recorded = CreateMessage::new(&conversation.id, &user.id, "text", odd).origin(Origin::Synthetic);
        client.create_message(recorded).await.unwrap();
    }
}

/// An export with so many conversations of so many messages each.
fn sample(bot: &str, conversations: usize, messages: usize) -> String {
    let mut text = format!("{{\"duologue\":\"export\",\"version\":1,\"botId\":\"{bot}\"}}\n");
    let mut line = |value: serde_json::Value| {
        text.push_str(&value.to_string());
        text.push('\n');
    };
    for c in 0..conversations {
        let at = |n: usize| {
            format!("2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z", c % 28 + 1, c % 24, n / 60 % 60, n % 60, c % 1000)
        };
        let (conversation, user) = (format!("conv_{c:026}"), format!("user_{c:026}"));
        line(json!({
            "conversation": {
                "id": conversation, "createdAt": at(0), "updatedAt": at(messages), "channel": "web", "integration": "",
                "tags": {"c": c.to_string()}, "messageCount": messages,
            },
            "users": [{"id": user, "createdAt": at(0), "updatedAt": at(0), "tags": {}, "name": format!("User {c}")}],
        }));
        for m in 0..messages {
            let incoming = m % 2 == 0;
            line(json!({
                "message": {
                    "id": format!("msg_{:026}", c * messages + m), "createdAt": at(m), "updatedAt": at(m), "type": "text",
                    "payload": {"text": format!("Message {m} of conversation {c}, and some more words")},
                    "direction": if incoming { "incoming" } else { "outgoing" },
                    "userId": if incoming { user.as_str() } else { bot }, "conversationId": conversation, "tags": {},
                }
            }));
        }
    }
    text
}

fn export(server: &Server, extra: &[&str]) -> Run {
    duologue("export").server(server).args(extra).run()
}

/// What an export to standard output wrote.
fn exported(server: &Server, extra: &[&str]) -> String {
    export(server, &[&["--quiet"], extra].concat()).success().stdout
}

fn conversations(jsonl: &str) -> Vec<duologue_client::Conversation> {
    jsonl
        .lines()
        .filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.get("conversation").map(|conversation| serde_json::from_value(conversation.clone()).unwrap())
        })
        .collect()
}

fn messages(jsonl: &str) -> Vec<duologue_client::Message> {
    #[derive(serde::Deserialize)]
    struct Line {
        message: duologue_client::Message,
    }
    jsonl
        .lines()
        .filter(|line| line.starts_with("{\"message\""))
        .map(|line| serde_json::from_str::<Line>(line).unwrap().message)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_filter_and_source() {
    let server = Server::start();
    fill(&server).await;

    let all = exported(&server, &[]);
    assert!(
        all.starts_with(&format!("{{\"duologue\":\"export\",\"version\":1,\"botId\":\"{}\"}}\n", server.bot)),
        "{all}"
    );
    let listed = conversations(&all);
    assert_eq!(listed.len(), 12);
    assert!(listed.is_sorted_by_key(|conversation| (conversation.created_at, conversation.id.clone())));
    let said = messages(&all);
    assert_eq!(said.len(), 33);
    assert_eq!(said.iter().filter(|message| message.direction == Direction::Outgoing).count(), 22);
    assert!(all.contains("12345678901234567890"));

    // Straight from the data folder, beside the running server: the same bytes.
    let folder = server.data.to_str().unwrap();
    assert_eq!(exported(&server, &["--data", folder]), all);

    for (format, expected) in [
        ("text", "Hello 1, <b>1 & 2</b>"),
        ("markdown", "second line"),
        ("html", "Hello 1, &lt;b&gt;1 &amp; 2&lt;/b&gt;"),
        ("csv", "conversationId,messageId,createdAt,direction,author,type,text,payload,tags\r\n"),
        ("json", "{\"conversations\":["),
    ] {
        let document = exported(&server, &["--format", format]);
        assert!(document.contains(expected), "{format}: {document}");
        assert_eq!(exported(&server, &["--format", format, "--data", folder]), document);
    }

    let count = |extra: &[&str]| conversations(&exported(&server, extra)).len();
    for more in [&[][..], &["--data", folder]] {
        let count = |extra: &[&str]| count(&[extra, more].concat());
        assert_eq!(count(&["--channel", "web"]), 4);
        assert_eq!(count(&["--tag", "topic=sales"]), 6);
        assert_eq!(count(&["--tag", "topic=sales", "--channel", "web"]), 2);
        assert_eq!(count(&["--tag", "topic=nothing"]), 0);
        assert_eq!(count(&["--tag", "absent=", "--channel", "web"]), 4);
        assert_eq!(count(&["--integration", "slack"]), 0);
        assert_eq!(count(&["--user", said[2].user_id.as_str()]), 11);
        let (third, ninth) = (&listed[2], &listed[8]);
        let (since, until) = (third.created_at.to_string(), ninth.created_at.to_string());
        // From the third to the ninth, and what else was made within their milliseconds.
        let span = third.created_at..=ninth.created_at;
        let within = listed.iter().filter(|conversation| span.contains(&conversation.created_at)).count();
        assert_eq!(count(&["--since", &since, "--until", &until]), within);
        assert_eq!(count(&["--until", "2020-01-01"]), 0);
        assert_eq!(count(&["--limit", "5"]), 5);
        let named = exported(
            &server,
            &[&["--conversation", ninth.id.as_str(), "--conversation", third.id.as_str()], more].concat(),
        );
        assert_eq!(conversations(&named), [third.clone(), ninth.clone()]);
    }

    let counted = export(&server, &["--dry-run", "--channel", "web"]).success();
    assert_eq!(counted.stdout, "4 conversations, 12 messages\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_and_folders() {
    let server = Server::start();
    fill(&server).await;
    let work = tempfile::tempdir().unwrap();
    let template = work.path().join("list.md.j2");
    fs::write(&template, "{{ index }}. {{ conversation.tags.topic }}:{% for m in messages %} {{ m.author.name }}={{ m.type }}{% endfor %}\n").unwrap();
    let template = template.to_str().unwrap();
    let document = exported(&server, &["--template", template]);
    assert!(document.starts_with("1. sales:"), "{document}");
    assert_eq!(document.lines().count(), 12);
    assert!(document.contains("=choice Ada \"L\" 🦀=text\n"), "{document}");

    let folder = work.path().join("each");
    let run = export(&server, &["--template", template, "--out-dir", folder.to_str().unwrap()]).success();
    assert!(run.stderr.contains("12 conversations, 33 messages"), "{}", run.stderr);
    let mut names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 12);
    assert!(names.iter().all(|name| name.contains("-conv_") && name.ends_with(".md")), "{names:?}");
    assert!(fs::read_to_string(folder.join(&names[0])).unwrap().starts_with("1. "));
    assert!(!work.path().join("each.state").exists());

    let broken = work.path().join("broken.txt");
    fs::write(&broken, "{{ messages[0].text | nonsense }}").unwrap();
    let run = export(&server, &["--template", broken.to_str().unwrap()]).failure(1);
    assert!(run.stderr.contains("nonsense"), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_trip_is_byte_identical() {
    let first = Server::start();
    fill(&first).await;
    let work = tempfile::tempdir().unwrap();
    let (one, two) = (work.path().join("one.jsonl"), work.path().join("two.jsonl"));
    export(&first, &["--out", one.to_str().unwrap()]).success();

    let second = Server::start_with_bot(&first.bot);
    let import = || duologue("import").server(&second).args(&[one.to_str().unwrap()]).run().success();
    let run = import();
    assert!(
        run.stderr.contains("12 conversations, 33 messages") && run.stderr.contains("45 new, 0 there"),
        "{}",
        run.stderr
    );
    export(&second, &["--out", two.to_str().unwrap()]).success();
    same(&one, &two);

    // Again: everything is there, nothing changes.
    let run = import();
    assert!(run.stderr.contains("0 new, 45 there"), "{}", run.stderr);
    export(&second, &["--out", two.to_str().unwrap(), "--force"]).success();
    same(&one, &two);

    // Under another bot's id, only that id differs.
    let third = Server::start();
    duologue("import").server(&third).args(&["--quiet", one.to_str().unwrap()]).run().success();
    let text = fs::read_to_string(&one).unwrap();
    assert_eq!(exported(&third, &[]), text.replace(first.bot.as_str(), third.bot.as_str()));

    // Through a pipe.
    let fourth = Server::start_with_bot(&first.bot);
    duologue("import").server(&fourth).args(&["-"]).stdin(text.as_bytes()).run().success();
    assert_eq!(exported(&fourth, &[]), text);
}

fn same(a: &Path, b: &Path) {
    let (a, b) = (fs::read_to_string(a).unwrap(), fs::read_to_string(b).unwrap());
    for (a, b) in a.lines().zip(b.lines()) {
        assert_eq!(a, b);
    }
    assert!(a == b);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_killed_goes_on_without_hole_or_repeat() {
    let server = Server::start();
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("sample.jsonl");
    fs::write(&source, sample(&server.bot, 150, 20)).unwrap();
    duologue("import").server(&server).args(&["--quiet", source.to_str().unwrap()]).run().success();
    let slow = Proxy { delay: Duration::from_millis(25), ..Proxy::default() }.start(&server);

    for (format, plain) in [("jsonl", false), ("json", false), ("html", true)] {
        let whole = exported(&server, &["--format", format]);
        let out = work.path().join(format!("out.{format}"));
        let out = out.to_str().unwrap();
        let state = format!("{out}.state");
        let noted = || fs::read_to_string(&state).ok().filter(|state| !state.contains("\"conversations\": 0"));
        let begin = |command: &str| {
            let slow = if plain { slow.plain() } else { slow.address() };
            duologue(command).at(&server, &slow).args(&["--out", out, "--parallel", "1", "--resume", "--quiet"])
        };

        let mut child = begin("export").spawn();
        eventually(|| noted().is_some());
        std::thread::sleep(Duration::from_millis(300));
        child.kill().unwrap();
        child.wait().unwrap();
        let partial = fs::metadata(out).unwrap().len();
        assert!(partial < whole.len() as u64, "it was killed too late to test anything");

        // Without --resume, and with other options, it is left alone.
        let run = duologue("export").server(&server).args(&["--out", out]).run().failure(2);
        assert!(run.stderr.contains("--resume"), "{}", run.stderr);
        let run = begin("export").args(&["--channel", "other"]).run().failure(2);
        assert!(run.stderr.contains("channel was not set, now it is \"other\""), "{}", run.stderr);
        assert_eq!(fs::metadata(out).unwrap().len(), partial);

        // Interrupted once more, by hand this time: what is there is a document of its own.
        if cfg!(unix) {
            let before = noted();
            let mut child = begin("export").spawn();
            eventually(|| noted() != before);
            support::interrupt(&child);
            assert_eq!(child.wait().unwrap().code(), Some(130));
            if format == "json" {
                let value: serde_json::Value = serde_json::from_slice(&fs::read(out).unwrap()).unwrap();
                assert!(!value["conversations"].as_array().unwrap().is_empty());
            }
        }
        begin("export").run().success();
        assert!(fs::read_to_string(out).unwrap() == whole, "{format} differs");
        assert!(!Path::new(&state).exists());

        // A finished export isn't touched again.
        let run = duologue("export").server(&server).args(&["--out", out, "--resume"]).run().success();
        assert!(run.stderr.contains("is finished"), "{}", run.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn some_at_a_time() {
    let server = Server::start();
    fill(&server).await;
    let work = tempfile::tempdir().unwrap();
    for (format, each) in [("markdown", false), ("csv", false), ("html", true)] {
        let out = work.path().join(format);
        let to = if each { "--out-dir" } else { "--out" };
        let step = || {
            let args = [to, out.to_str().unwrap(), "--format", format, "--limit", "5", "--resume"];
            export(&server, &args).success().stderr
        };
        assert!(step().contains("go on with --resume"));
        assert!(step().contains("in all 10 conversations"));
        assert!(!step().contains("go on"));
        assert!(step().contains("is finished"));
        if each {
            assert_eq!(fs::read_dir(&out).unwrap().count(), 12);
        } else {
            assert_eq!(fs::read_to_string(&out).unwrap(), exported(&server, &["--format", format]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_other_servers_and_over_bad_lines() {
    let server = Server::start();
    fill(&server).await;
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("sample.jsonl");
    fs::write(&source, sample(&server.bot, 3, 450)).unwrap();
    duologue("import").server(&server).args(&["--quiet", source.to_str().unwrap()]).run().success();
    let whole = exported(&server, &[]);
    let through = |address: &str| duologue("export").at(&server, address).args(&["--quiet"]).run().success().stdout;

    // Every third request is refused by a rate limit.
    let limited = Proxy { refuse_every: 3, ..Proxy::default() }.start(&server);
    assert!(through(&limited.address()) == whole);
    assert!(limited.refused() > 3);

    // Pages only, newest first, as the Cloud has them; then also without any order of conversations.
    assert!(through(&limited.plain()) == whole);
    let unsorted = Proxy { unsorted: true, refuse_every: 7, ..Proxy::default() }.start(&server);
    assert!(through(&unsorted.plain()) == whole);

    // Every transcript breaks off once.
    let broken = Proxy { cut: 20_000, ..Proxy::default() }.start(&server);
    assert!(through(&broken.address()) == whole);
    assert!(broken.refused() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_explained() {
    let server = Server::start();
    let run = duologue("export").run().failure(2);
    assert!(run.stderr.contains("BP_API_URL"), "{}", run.stderr);
    let run = duologue("export").args(&["--api-url", "http://127.0.0.1:9", "--token", "x"]).run().failure(1);
    assert!(run.stderr.contains("Is the server running"), "{}", run.stderr);
    let run =
        duologue("export").args(&["--api-url", &server.url, "--token", "x", "--bot-id", &server.bot]).run().failure(1);
    assert!(run.stderr.contains("BP_TOKEN"), "{}", run.stderr);
    let run = duologue("export").args(&["--api-url", "localhost:x", "--token", "x"]).run().failure(2);
    assert!(run.stderr.contains("localhost:x"), "{}", run.stderr);
    let run = duologue("export").args(&["--data", "/nowhere", "--bot-id", "b"]).run().failure(2);
    assert!(run.stderr.contains("/nowhere"), "{}", run.stderr);

    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("a.jsonl");
    let path = file.to_str().unwrap();
    let import = |text: &str, more: &[&str]| {
        fs::write(&file, text).unwrap();
        duologue("import").server(&server).args(&[path]).args(more).run()
    };
    let whole = sample(&server.bot, 2, 3);
    let run = import("", &[]).failure(1);
    assert!(run.stderr.contains("begins with the line"), "{}", run.stderr);
    let run = import(&whole[..whole.len() - 10], &["--dry-run"]).failure(1);
    assert!(run.stderr.contains("a.jsonl: line 9") && run.stderr.contains("cut off"), "{}", run.stderr);
    let run = import(&whole, &["--dry-run"]).success();
    assert!(run.stderr.contains("2 conversations, 6 messages"), "{}", run.stderr);
    assert_eq!(conversations(&exported(&server, &[])).len(), 0);
    let run = import(&whole, &["--api-url", &Proxy::default().start(&server).plain()]).failure(2);
    assert!(run.stderr.contains("only a Duologue"), "{}", run.stderr);
    let run = import(&whole, &["--bot-id", ""]).failure(2);
    assert!(run.stderr.contains("BP_BOT_ID"), "{}", run.stderr);
    let run = import(&whole, &["--token", "x"]).failure(1);
    assert!(run.stderr.contains("BP_TOKEN"), "{}", run.stderr);
    let run = duologue("import").args(&[path]).run().failure(2);
    assert!(run.stderr.contains("BP_API_URL"), "{}", run.stderr);
}
