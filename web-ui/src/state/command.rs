//! What the page does, as commands that can be copied.

use anode_shared::source::SourceDefinition;

use super::json::pretty;

/// A definition as the API takes it.
pub fn json(definition: &SourceDefinition) -> String {
    pretty(&serde_json::to_string(definition).unwrap_or_default())
}

/// The request that registers a definition, or replaces the one of its name.
pub fn curl(origin: &str, definition: &SourceDefinition, replaces: bool) -> String {
    let (method, path) = if replaces {
        ("PUT", format!("/api/v1/sources/{}", definition.name))
    } else {
        ("POST", "/api/v1/sources".to_owned())
    };
    request(method, &format!("{origin}{path}"), &json(definition))
}

/// The request that publishes a first record.
pub fn publish(origin: &str) -> String {
    let record = r#"{"topic": "hello.world", "payload": {"says": "hi"}}"#;
    request("POST", &format!("{origin}/api/v1/records"), record)
}

fn request(method: &str, url: &str, body: &str) -> String {
    // In a single-quoted word of a shell nothing but the quote itself means anything.
    let body = body.replace('\'', r"'\''");
    let method = if method == "POST" { String::new() } else { format!("-X {method} ") };
    format!(
        "curl {method}{url} \\\n  -H \"Authorization: Bearer $(cat anode-data/admin.token)\" \\\n  \
         -H 'Content-Type: application/json' \\\n  -d '{body}'"
    )
}

/// A client in a few lines: each by its name, and how it is written.
pub fn clients(origin: &str) -> [(&'static str, String); 3] {
    let socket = origin.strip_prefix("http").map_or_else(|| origin.to_owned(), |rest| format!("ws{rest}"));
    [
        (
            "JavaScript",
            format!(
                "const feed = new WebSocket(\"{socket}/feed?topic=%3E\");\nfeed.onmessage = ({{ data }}) => {{\n  \
                 const frame = JSON.parse(data);\n  if (frame.type === \"record\") console.log(frame.topic, frame.payload);\n}};"
            ),
        ),
        ("curl", format!("curl -N -H 'Accept: text/event-stream' '{origin}/feed?topic=%3E'")),
        ("Command line", format!("anode tail '>' --node {origin}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_quotes_for_a_shell() {
        let json = r#"{"name":"a","kind":"rest","url":"http://x.example","topic":"a","emit":"payload['b']"}"#;
        let definition = serde_json::from_str(json).unwrap();
        let command = curl("http://n", &definition, true);
        assert!(command.starts_with("curl -X PUT http://n/api/v1/sources/a \\\n"), "{command}");
        assert!(command.contains(r"payload['\''b'\'']"), "{command}");
        assert!(curl("http://n", &definition, false).starts_with("curl http://n/api/v1/sources \\\n"));
    }

    #[test]
    fn it_names_this_node() {
        let [script, curl, command] = clients("https://n.example:1").map(|(_, text)| text);
        assert!(script.contains("wss://n.example:1/feed"), "{script}");
        assert!(
            curl.contains("'https://n.example:1/feed?topic=%3E'") && command.ends_with("https://n.example:1")
        );
    }
}
