//! What the page does, as commands that can be copied.

use anode_shared::source::SourceDefinition;
use anode_shared::status::NodeStatus;

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

/// What starts a second node: on this machine while the network is the one of trials, else on any that reaches this one.
pub fn second(node: &NodeStatus) -> String {
    if node.network == "local" {
        return "anode run --data-dir anode-data-2".to_owned();
    }
    let is_near = |address: &&String| !address.starts_with("/ip4/127.") && !address.starts_with("/ip6/::1/");
    let address = node.addresses.iter().find(is_near).or(node.addresses.first());
    let bootstrap = address.map(|address| format!(" \\\n  --bootstrap {address}")).unwrap_or_default();
    format!("anode run --data-dir anode-data-2 --network {}{bootstrap}", node.network)
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
    fn it_starts_a_second_node() {
        let node = |network: &str, addresses: &[&str]| -> NodeStatus {
            let addresses = serde_json::to_string(addresses).unwrap();
            let json = format!(
                r#"{{"id":"","name":"","network":"{network}","version":"","uptime_s":0,"addresses":{addresses},"retention":{{"age_s":0,"bytes":0}}}}"#
            );
            serde_json::from_str(&json).unwrap()
        };
        let (near, far) = ("/ip4/127.0.0.1/tcp/4001/p2p/x", "/ip4/10.0.0.7/tcp/4001/p2p/x");
        for (network, addresses, ending) in [
            ("local", &[near][..], "anode-data-2"),
            ("red", &[near, far], "--network red \\\n  --bootstrap /ip4/10.0.0.7/tcp/4001/p2p/x"),
            ("red", &[near], "--network red \\\n  --bootstrap /ip4/127.0.0.1/tcp/4001/p2p/x"),
            ("red", &[], "--network red"),
        ] {
            let command = second(&node(network, addresses));
            assert!(command.starts_with("anode run --data-dir ") && command.ends_with(ending), "{command}");
        }
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
