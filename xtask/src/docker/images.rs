//! The images of the demo mesh: the node's from the binary that is built, Cassandra's from a registry or its jars.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cassandra_dev::{image, java};

use super::client::Client;
use super::pack::Pack;
use crate::cassandra::ensure_tools;
use crate::command::{output, program, root, run, run_within};
use crate::screen::{elapsed, say};

/// What the images are called here; they are removed in the end.
const RUNTIME: &str = "anode-test-runtime:local";
const NODE: &str = "anode-test:local";
const CASSANDRA: &str = "anode-test-cassandra:local";
/// Where the binary is laid for the build, in the build's context.
const GIVEN: &str = "docker/given/anode-test";
/// What `docker-compose.yml` takes.
const OFFICIAL: &str = "docker.io/library/cassandra:5.0";

/// How long Cassandra's image may take to come: 150 MB, where a registry is there at all.
const PULL: Duration = Duration::from_secs(600);

/// The images that a test runs.
#[derive(Debug)]
pub(super) struct Images {
    /// The node's.
    pub(super) node: &'static str,
    /// Cassandra's.
    pub(super) cassandra: Cassandra,
    /// Removes in the end what was made here.
    pub(super) cleanup: Cleanup,
}

/// Cassandra's image.
#[derive(Debug)]
pub(super) struct Cassandra {
    pub(super) name: String,
    /// Whether it was made here: then it holds Java and Cassandra, and no program beside.
    pub(super) local: bool,
}

/// Removes images and files when it is dropped.
#[derive(Debug)]
pub(super) struct Cleanup {
    client: Client,
    scratch: PathBuf,
    images: Vec<&'static str>,
}

/// Makes the images, or fetches them.
///
/// # Errors
/// Fails where the engine refuses, or a file of this machine is not as expected.
pub(super) fn make(client: &Client, binary: &Path) -> Result<Images> {
    let scratch = root().join("target/docker/scratch");
    fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    let mut cleanup =
        Cleanup { client: client.clone(), scratch: scratch.clone(), images: vec![RUNTIME, NODE] };
    node(client, binary, &scratch)?;
    let cassandra = cassandra(client, &mut cleanup)?;
    Ok(Images { node: NODE, cassandra, cleanup })
}

/// Builds the node's image by its Dockerfile, from the binary and the libraries that it was linked with here.
fn node(client: &Client, binary: &Path, scratch: &Path) -> Result<()> {
    let began = Instant::now();
    let runtime = Pack::default().with_libraries_of(binary)?.with("/etc/ssl/certs/ca-certificates.crt");
    runtime.import(client, scratch, RUNTIME)?;
    let given = root().join(GIVEN);
    fs::create_dir_all(root().join("docker/given"))?;
    if program("strip").is_none()
        || run(Command::new("strip").arg("--strip-debug").arg("-o").arg(&given).arg(binary)).is_err()
    {
        fs::copy(binary, &given)?;
    }
    let revision = output(Command::new("git").current_dir(root()).args(["rev-parse", "HEAD"]));
    let arguments = [
        "ANODE=given".to_owned(),
        format!("ANODE_FILE={GIVEN}"),
        format!("RUNTIME_IMAGE={RUNTIME}"),
        format!("REVISION={}", revision.unwrap_or_else(|_| "unknown".to_owned())),
    ];
    let mut build = client.docker(["build", "--file", "docker/Dockerfile", "--tag", NODE]);
    for argument in &arguments {
        build.args(["--build-arg", argument]);
    }
    let built = run(build.arg(".").current_dir(root()));
    fs::remove_file(given)?;
    built?;
    let size = output(&mut client.docker(["image", "inspect", "--format", "{{.Size}}", NODE]))?;
    say(format!("    The node's image is built after {}: {size} bytes", elapsed(began.elapsed())));
    Ok(())
}

/// Takes the image that `CASSANDRA_IMAGE` names, else the official one, else one that is made of Cassandra's jars.
fn cassandra(client: &Client, cleanup: &mut Cleanup) -> Result<Cassandra> {
    if let Ok(name) = env::var("CASSANDRA_IMAGE") {
        return Ok(Cassandra { name, local: false });
    }
    match run_within(PULL, &mut client.docker(["pull", "--quiet", OFFICIAL])) {
        Ok(()) => return Ok(Cassandra { name: OFFICIAL.to_owned(), local: false }),
        Err(error) => {
            say(format!("    {error:#}; Cassandra's image is made of its jars and this machine's Java"));
        }
    }
    let began = Instant::now();
    ensure_tools()?;
    let java = fs::canonicalize(java::find().context("there is no Java 17 or 11")?)?;
    let home = java.parent().and_then(Path::parent).context("Java has no folder")?;
    let layout = cleanup.scratch.join("cassandra");
    // The name of its service in the compose file.
    let words = image::lay_out(&layout, "cassandra")?;
    let java = java.to_str().context("Java's place is no text")?;
    let words = [java].into_iter().chain(words.iter().map(String::as_str)).map(|word| format!("{word:?}"));
    let line = format!("ENTRYPOINT [{}]", words.collect::<Vec<_>>().join(", "));
    let mut pack = Pack::default().with_layout(&layout).with_line(line);
    pack = pack.with(home.to_str().context("Java's folder is no text")?).with("/etc/nsswitch.conf");
    for library in libraries(home)? {
        pack = pack.with_libraries_of(&library)?;
    }
    // For the Zstandard that Cassandra unpacks.
    pack = pack.with_beside_libc("libpthread.so.0");
    cleanup.images.push(CASSANDRA);
    pack.import(client, &cleanup.scratch, CASSANDRA)?;
    say(format!("    Cassandra's image is made after {}", elapsed(began.elapsed())));
    Ok(Cassandra { name: CASSANDRA.to_owned(), local: true })
}

/// Java's program and libraries, without those that draw windows.
fn libraries(home: &Path) -> Result<Vec<PathBuf>> {
    let drawing = ["libawt", "libsplashscreen", "libjawt", "libfontmanager", "libjsound"];
    let mut found = vec![home.join("bin/java"), home.join("lib/server/libjvm.so")];
    for entry in fs::read_dir(home.join("lib"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".so") && !drawing.iter().any(|start| name.starts_with(start)) {
            found.push(path);
        }
    }
    Ok(found)
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        for image in &self.images {
            // One that was not made yet is none to remove.
            let _ = output(&mut self.client.docker(["image", "rm", "--force", image]));
        }
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_labels_images_with_cargos_version() {
        let version = env!("CARGO_PKG_VERSION");
        for (file, words) in [
            ("docker/Dockerfile", format!("\nARG VERSION={version}\n")),
            ("docker-compose.yml", format!("anode:{version}}}\n")),
        ] {
            let text = fs::read_to_string(root().join(file)).unwrap();
            assert!(text.contains(&words), "{file} names another version than Cargo.toml: {words:?}");
        }
        let rust = env!("CARGO_PKG_RUST_VERSION");
        for file in ["docker/Dockerfile", "docker-compose.yml"] {
            let text = fs::read_to_string(root().join(file)).unwrap();
            assert!(text.contains(&format!("rust:{rust}-")), "{file} names another Rust than Cargo.toml");
        }
    }
}
