//! The sources of the demo mesh, as `docker-compose.yml` gives them to its nodes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anode::pipeline::Pipeline;
use anode_shared::source::SourceDefinition;

#[derive(serde::Deserialize)]
struct File {
    sources: Vec<SourceDefinition>,
}

/// The sources of a file, all of which can run.
#[expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]
fn read(name: &str) -> Vec<SourceDefinition> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/sources").join(name);
    let file: File = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    for source in &file.sources {
        assert_eq!(source.check(), [], "{name}: {}", source.name);
        let compiled = Pipeline::compile(source);
        assert!(compiled.is_ok(), "{name}: {}: {:?}", source.name, compiled.err());
    }
    file.sources
}

#[test]
fn it_spreads_a_hundred_sources_of_each_kind_over_three_nodes() {
    let nodes = ["node1.toml", "node2.toml", "node3.toml"].map(read);
    for sources in &nodes {
        let kinds: BTreeSet<String> = sources.iter().map(|one| format!("{:?}", one.kind)).collect();
        assert_eq!(kinds.len(), 3);
        assert!(sources.iter().all(|one| one.url.split('/').nth(2) == Some("feed:8090")));
    }
    let all: Vec<_> = nodes.iter().flatten().collect();
    let topics: BTreeSet<_> = all.iter().map(|one| &one.topic).collect();
    let names: BTreeSet<_> = all.iter().map(|one| &one.name).collect();
    assert_eq!((all.len(), topics.len(), names.len()), (100, 100, 100));
}

#[test]
fn it_reads_public_sources_that_need_no_key() {
    let public = read("public.toml");
    assert!(public.iter().all(|one| one.url.starts_with("https://") || one.url.starts_with("wss://")));
    for topic in ["exchanges.", "earthquakes.", "wikipedia.", "ethereum."] {
        assert!(public.iter().any(|one| one.topic.starts_with(topic)), "{topic}");
    }
}
