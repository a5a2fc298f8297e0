//! What a Cassandra is told: its configuration, its log's, and Java's options.

use std::path::{Path, PathBuf};

use crate::plan::Plan;

/// Logs what a person may have to see.
pub(crate) const LOGBACK: &str = r#"<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
  <logger name="org.apache.cassandra.service.CassandraDaemon" level="INFO"/>
  <logger name="org.apache.cassandra.service.StorageService" level="INFO"/>
</configuration>
"#;

/// What `cassandra.yaml` says of one node with a small heap.
///
/// A write is acknowledged once it is on disk. By default it is so before, and only what was written a tenth of a
/// second before a kill is there after it: then other replicas have it, and here are none.
const SETTINGS: &str = r"partitioner: Murmur3Partitioner
endpoint_snitch: SimpleSnitch
num_tokens: 1
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
start_native_transport: true
cdc_enabled: false
commitlog_sync: batch
commitlog_segment_size: 8MiB
memtable_allocation_type: heap_buffers
memtable_heap_space: 96MiB
disk_access_mode: standard
concurrent_reads: 16
concurrent_writes: 32
concurrent_compactors: 1
compaction_throughput: 32MiB/s
key_cache_size: 8MiB
prepared_statements_cache_size: 4MiB
file_cache_size: 32MiB
auto_snapshot: false
hinted_handoff_enabled: false
";

/// Who may do what is asked anew after 100 ms, so that tests see a change of rights soon.
const LOGINS: &str = r"authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
roles_validity: 100ms
permissions_validity: 100ms
credentials_validity: 100ms
";

/// The file that holds key and certificates.
pub(crate) const PEM: &str = "tls.pem";

/// Makes `cassandra.yaml`.
pub(crate) fn yaml(folder: &Path, port: u16, between_nodes: u16, plan: &Plan) -> String {
    let place = |name: &str| format!("'{}'", folder.join(name).display().to_string().replace('\'', "''"));
    format!(
        "cluster_name: anode-{port}\n\
         native_transport_port: {port}\n\
         storage_port: {between_nodes}\n\
         seed_provider:\n  - class_name: org.apache.cassandra.locator.SimpleSeedProvider\n    \
         parameters:\n      - seeds: '127.0.0.1:{between_nodes}'\n\
         data_file_directories: [{}]\ncommitlog_directory: {}\nsaved_caches_directory: {}\n\
         hints_directory: {}\ncdc_raw_directory: {}\n{SETTINGS}{}{}",
        place("data"),
        place("commitlog"),
        place("saved_caches"),
        place("hints"),
        place("cdc"),
        if plan.login { LOGINS } else { "" },
        plan.pem.as_ref().map(|_| tls(&place(PEM))).unwrap_or_default(),
    )
}

fn tls(file: &str) -> String {
    format!(
        "client_encryption_options:\n  enabled: true\n  optional: false\n  require_client_auth: false\n  \
         ssl_context_factory:\n    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory\n  \
         keystore: {file}\n"
    )
}

/// Java's own doors that Cassandra goes through, as in its `jvm17-server.options`.
const EXPORTS: [&str; 10] = [
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.management/com.sun.jmx.remote.security",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.unsupported/sun.misc",
];
const OPENS: [&str; 15] = [
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.compiler/com.sun.tools.javac",
    "jdk.management/com.sun.management.internal",
];

/// A heap of 384 MiB, the collector for small ones, and nothing waited for that only a cluster needs.
const OPTIONS: [&str; 18] = [
    "-Xms384m",
    "-Xmx384m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:MaxDirectMemorySize=192m",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:+PerfDisableSharedMem",
    "-Djava.net.preferIPv4Stack=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.maxOrder=9",
    "-Djdk.attach.allowAttachSelf=true",
    "-Dcassandra-foreground=yes",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.initial_token=0",
    "-Dcassandra.ring_delay_ms=100",
    "-Dcassandra.load_ring_state=false",
    "-Dcassandra.superuser_setup_delay_ms=0",
    "-Dcassandra.shutdown_announce_in_ms=0",
];

/// Java's words, up to the class that it runs.
pub(crate) fn java_words(folder: &Path, jars: &[PathBuf], lasting: bool) -> Vec<String> {
    let mut words: Vec<String> = OPTIONS.iter().map(|word| (*word).to_owned()).collect();
    // The first compiler alone saves 2 s of processor time at the start, and costs throughput later.
    words.extend((!lasting).then(|| "-XX:TieredStopAtLevel=1".to_owned()));
    for (option, packages) in [("--add-exports", &EXPORTS[..]), ("--add-opens", &OPENS[..])] {
        words.extend(packages.iter().map(|package| format!("{option}={package}=ALL-UNNAMED")));
    }
    let folder = folder.display();
    words.push(format!("-Dcassandra.config=file://{folder}/cassandra.yaml"));
    words.push(format!("-Dlogback.configurationFile={folder}/logback.xml"));
    words.push(format!("-Dcassandra.storagedir={folder}/data"));
    words.push(format!("-Dcassandra.logdir={folder}/log"));
    words.push("-cp".to_owned());
    words.push(jars.iter().map(|jar| jar.display().to_string()).collect::<Vec<_>>().join(":"));
    words.push("org.apache.cassandra.service.CassandraDaemon".to_owned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_quotes_folders_and_says_only_what_is_wanted() {
        let open = yaml(Path::new("/it's here: #1"), 9042, 7010, &Plan::new());
        assert!(open.contains("\ncommitlog_directory: '/it''s here: #1/commitlog'\n"), "{open}");
        assert!(open.contains("- seeds: '127.0.0.1:7010'\n"), "{open}");
        assert!(!open.contains("authenticator") && !open.contains("encryption"), "{open}");
        let closed = yaml(Path::new("/d"), 9042, 7010, &Plan::new().login().tls("key"));
        assert!(closed.contains("\nauthenticator: PasswordAuthenticator\n"), "{closed}");
        assert!(closed.ends_with("\n  keystore: '/d/tls.pem'\n") && !closed.contains("key\n"), "{closed}");
    }
}
