//! The bounds of what an upstream may make the node spend.

use std::time::Duration;

/// The longest body of a poll, and the longest message of a WebSocket, after decompression: order books and lists of
/// everything come in a few MiB, and a hostile upstream must not fill the memory.
pub const BODY: u64 = 8 << 20;
/// The longest head of a response: what servers and proxies themselves take at most.
pub const HEAD: usize = 64 << 10;
/// The most headers of a response: hyper's own default, which nobody reaches in good faith.
pub const HEADERS: usize = 100;
/// The most redirects of one request: a new name, a new path and a login each take one or two.
pub const REDIRECTS: usize = 5;
/// How long a body may say nothing before its end: what drips slower than this is cut, long before most timeouts.
pub const IDLE: Duration = Duration::from_secs(15);
/// The longest that connecting may take, whatever a source's own timeout says: TCP gives up asking after about as long.
pub const CONNECT: Duration = Duration::from_secs(30);
/// How long the first address has before the next one is tried beside it (RFC 8305, section 5).
pub const HEAD_START: Duration = Duration::from_millis(250);
/// The most addresses of one name that are tried: the first few are as good as all.
pub const ADDRESSES: usize = 8;
/// The most names that are resolved at once. Each takes a thread, of which storing needs some too.
pub const LOOKUPS: usize = 32;
/// The most idle connections that are kept to one host: as many as hundreds of polls a second have open at once.
pub const IDLE_CONNECTIONS: usize = 64;
/// How long an idle connection is kept: shorter than most servers keep theirs, so that few are met closed.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// The longest wait that an upstream may ask for by `Retry-After`: a day, as the longest time of a definition.
pub const RETRY_AFTER: Duration = Duration::from_secs(86_400);
