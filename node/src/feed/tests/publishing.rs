//! Publishing, on either kind of socket.

use super::*;

/// How many acks were timed.
fn acks(server: &Server) -> u64 {
    let (mut registry, mut text) = (prometheus_client::registry::Registry::default(), String::new());
    registry.register("acks", "acks", server.feed.acks());
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("acks_count "));
    count.unwrap().parse().unwrap()
}

#[tokio::test]
async fn it_publishes_on_the_feeds_socket() {
    let server = Server::start().await;
    let mut client = server.connect("/feed?topic=none").await;
    assert_eq!(client.word().await, "caught_up");
    for (message, expected) in [
        (r#"{"type":"publish","ref":1,"topic":"a","payload":{"x":1}}"#, r#"published 1 null"#),
        (
            r#"{"type":"publish","ref":"k","topic":"a","payload_base64":"AAE=","content_type":"a/b"}"#,
            r#"published "k" null"#,
        ),
        (r#"{"type":"publish","topic":"a","payload":1}"#, "published null null"),
        (r#"{"type":"publish","ref":{"a":[1]},"topic":"A","payload":1}"#, r#"error {"a":[1]} "bad_record""#),
        (r#"{"type":"publish","ref":2,"topic":"a","payload":1,"colour":1}"#, r#"error 2 "bad_record""#),
        (r#"{"type":"publish","ref":3,"topic":"a","payload":1,"ack":"replicated"}"#, r#"error 3 "no_peers""#),
        (r#"{"type":"publish","ref":4,"topic":"a","payload":1,"ack":"archived"}"#, r#"error 4 "no_archive""#),
        (r#"{"type":"publish","ref":5,"topic":"a"}"#, r#"error 5 "bad_record""#),
    ] {
        client.say(message).await;
        let frame = client.frame().await;
        let word = format!("{} {} {}", frame["type"].as_str().unwrap(), frame["ref"], frame["code"]);
        assert_eq!(word, expected, "{message}");
    }
    let big = format!(r#"{{"type":"publish","ref":6,"topic":"a","payload":"{}"}}"#, "x".repeat(140_000));
    client.say(&big).await;
    assert_eq!(client.frame().await["code"], "too_big");
    for n in 0..1_000 {
        client
            .0
            .feed(Message::text(format!(r#"{{"type":"publish","ref":{n},"topic":"a","payload":{n}}}"#)))
            .await
            .unwrap();
    }
    client.0.flush().await.unwrap();
    let mut seen: Vec<u64> = Vec::new();
    for _ in 0..1_000 {
        let frame = client.frame().await;
        assert_eq!(frame["type"], "published");
        seen.push(frame["ref"].as_u64().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
    assert_eq!(acks(&server), 1_003, "as many as were published");
    let mut reader = server.connect("/feed?topic=a&start=last:1000").await;
    assert_eq!(reader.word().await, "cursor");
    for n in 0..1_000 {
        let frame = reader.frame().await;
        assert_eq!((frame["payload"].as_u64(), frame["publisher"].as_str()), (Some(n), Some("tester")));
    }
}

#[tokio::test]
async fn it_refuses_to_publish_without_the_right() {
    let why = Fault::new(Code::Forbidden, "a page of this origin may not; see --allow-origin");
    let server = Server::with(Rights { publish: Err(why.clone()) }).await;
    let mut client = server.connect("/feed").await;
    client.word().await;
    client.say(r#"{"type":"publish","ref":1,"topic":"a","payload":1}"#).await;
    let frame = client.frame().await;
    assert_eq!((frame["code"].as_str(), frame["ref"].as_u64()), (Some("forbidden"), Some(1)));
    assert_eq!(frame["detail"], why.detail);
    server.put("a", &["1"]).await;
    assert_eq!(client.word().await, "1");
    // Who may not publish has nothing long to say.
    client.say(&format!(r#"{{"type":"subscribe","filter":"topic == '{}'"}}"#, "x".repeat(100_000))).await;
    assert_eq!(client.close_code().await, CloseCode::Size);
}

#[tokio::test]
async fn it_takes_payloads_and_answers_in_order() {
    let server = Server::start().await;
    let mut client = server.connect("/publish?topic=a.b&content_type=image/png").await;
    client.0.feed(Message::text(r#" {"x" :1} "#)).await.unwrap();
    client.0.feed(Message::text("{")).await.unwrap();
    client.0.feed(Message::binary(vec![0, 255])).await.unwrap();
    client.0.feed(Message::text("\"x".to_owned() + &"y".repeat(140_000) + "\"")).await.unwrap();
    for n in 5..=3_000 {
        client.0.feed(Message::text(n.to_string())).await.unwrap();
    }
    client.0.flush().await.unwrap();
    for n in 1..=3_000_u64 {
        let frame = client.frame().await;
        assert_eq!(frame["n"], n);
        match n {
            2 => assert_eq!(frame["code"], "bad_record"),
            4 => assert_eq!(frame["code"], "too_big"),
            _ => assert_eq!(
                (frame["type"].as_str(), frame["ack"].as_str()),
                (Some("published"), Some("durable")),
                "{frame}"
            ),
        }
    }
    assert!((1..=3_000).contains(&acks(&server)), "one for each that went to the store together");
    let mut reader = server.connect("/feed?start=earliest").await;
    assert_eq!(reader.word().await, "cursor");
    let text = reader.message().await.to_text().unwrap().to_owned();
    assert!(text.ends_with(r#""publisher":"tester","payload":{"x" :1}}"#), "{text}");
    let binary = reader.frame().await;
    assert_eq!(
        (binary["payload_base64"].as_str(), binary["content_type"].as_str()),
        (Some("AP8="), Some("image/png"))
    );
    for n in 5..=3_000_u64 {
        assert_eq!(reader.frame().await["payload"], n);
    }
}

#[tokio::test]
async fn it_answers_what_was_taken_and_says_goodbye() {
    let server = Server::start().await;
    let mut reader = server.connect("/feed").await;
    reader.word().await;
    let mut publisher = server.connect("/publish?topic=a").await;
    for n in 0..500 {
        publisher.0.feed(Message::text(n.to_string())).await.unwrap();
    }
    publisher.0.flush().await.unwrap();
    assert_eq!(publisher.frame().await["n"], 1);
    let feed = server.feed.clone();
    let ending = TaskTracker::new();
    ending.spawn(async move { feed.shutdown().await });
    let mut last = 1;
    let code = loop {
        match publisher.message().await {
            Message::Close(Some(frame)) => break frame.code,
            message => {
                let frame: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
                assert_eq!(
                    (frame["type"].as_str(), frame["n"].as_u64()),
                    (Some("published"), Some(last + 1))
                );
                last += 1;
            }
        }
    };
    assert_eq!(code, CloseCode::Away);
    let code = loop {
        if let Message::Close(Some(frame)) = reader.message().await {
            break frame.code;
        }
    };
    assert_eq!(code, CloseCode::Away);
    drop((reader, publisher));
    ending.close();
    ending.wait().await;
    let stored: u64 = server.store.topics().iter().map(|topic| topic.count).sum();
    assert_eq!(stored, last, "all that is stored was acknowledged: none was cut off after it was taken");
}
