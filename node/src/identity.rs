//! The data directory, and who the node is: lock, format version, key, admin token.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anode_shared::ids::Origin;
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use libp2p_identity::Keypair;
use rand::TryRngCore as _;

/// The version of the data directory's layout.
const FORMAT: u32 = 1;
/// Bytes of a new admin token: beyond guessing, and short enough for a link.
const TOKEN_BYTES: usize = 24;
/// The shortest admin token that is taken from a file: 22 characters of base64 hold 128 bits.
const MIN_TOKEN: usize = 22;
/// The longest file of these that is read: a wrong path must not fill the memory.
const MAX_FILE: u64 = 4 << 10;

/// A data directory that this process holds alone until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Opens or makes a data directory, and takes it for this process.
    ///
    /// # Errors
    /// When another node holds it, its format is newer, or it cannot be used.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make the data directory {shown}"))?;
        let lock = lock(path)?;
        check_format(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// A path in the directory.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the node's identity, or makes it at the first start.
    ///
    /// # Errors
    /// When the key is readable for others, no key, or missing from a directory that was in use.
    pub fn identity(&self) -> anyhow::Result<Identity> {
        let path = self.join("identity.key");
        let used = self.join("format").exists();
        let identity = match read_private(&path)? {
            Some(bytes) => Identity::decode(&bytes).with_context(|| {
                format!("{} holds no ed25519 key; restore it from a backup", path.display())
            })?,
            None if used => bail!(
                "{} is missing from a data directory that was in use; restore it from a backup, or start with an empty --data-dir",
                path.display()
            ),
            None => {
                let identity = Identity::generate()?;
                write_atomically(&path, &identity.encode()?, 0o600)?;
                identity
            }
        };
        if !used {
            write_atomically(&self.join("format"), format!("{FORMAT}\n").as_bytes(), 0o644)?;
        }
        Ok(identity)
    }

    /// Reads the admin token out of `given`, else out of the directory; made there at the first start.
    ///
    /// # Errors
    /// When a file cannot be read, is readable for others, or holds no token.
    pub fn admin_token(&self, given: Option<&Path>) -> anyhow::Result<AdminToken> {
        if let Some(path) = given {
            return Ok(AdminToken { text: read_token(path)?, new: false });
        }
        let path = self.join("admin.token");
        if let Some(bytes) = read_private(&path)? {
            return Ok(AdminToken { text: check_token(&path, &bytes)?, new: false });
        }
        let text = new_token()?;
        write_atomically(&path, format!("{text}\n").as_bytes(), 0o600)?;
        Ok(AdminToken { text, new: true })
    }
}

/// The token that may do everything on this node.
#[derive(Clone)]
pub struct AdminToken {
    /// The token.
    pub text: String,
    /// Whether it was made just now.
    pub new: bool,
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminToken").field("new", &self.new).finish_non_exhaustive()
    }
}

/// Who a node is: an ed25519 key, kept in libp2p's encoding, so that its peer id is that of the mesh.
#[derive(Clone)]
pub struct Identity(Keypair);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.0.public().to_peer_id())
    }
}

impl Identity {
    fn generate() -> anyhow::Result<Self> {
        Ok(Self(Keypair::ed25519_from_bytes(&mut random::<32>()?)?))
    }

    fn encode(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.0.to_protobuf_encoding()?)
    }

    fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        let pair = Keypair::from_protobuf_encoding(bytes)?;
        pair.clone().try_into_ed25519()?;
        Ok(Self(pair))
    }

    /// The key that signs batches.
    ///
    /// # Errors
    /// Never in practice: only ed25519 keys are read.
    pub fn signing_key(&self) -> anyhow::Result<SigningKey> {
        let pair = self.0.clone().try_into_ed25519()?;
        let secret: [u8; 32] = pair.secret().as_ref().try_into()?;
        Ok(SigningKey::from_bytes(&secret))
    }

    /// The node as an origin of records.
    ///
    /// # Errors
    /// Never in practice: only ed25519 keys are read.
    pub fn origin(&self) -> anyhow::Result<Origin> {
        Ok(Origin(self.0.public().try_into_ed25519()?.to_bytes()))
    }

    /// The key pair for libp2p.
    pub fn keypair(&self) -> &Keypair {
        &self.0
    }
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).context("the system gives no random bytes")?;
    Ok(bytes)
}

fn lock(dir: &Path) -> anyhow::Result<File> {
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(MAX_FILE).read_to_string(&mut holder);
            let holder = holder.trim();
            let who = if holder.is_empty() { "another process" } else { holder };
            bail!(
                "the data directory {} is in use by a node (process {who}); stop it, or start this one with its own --data-dir",
                dir.display()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    file.set_len(0)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    Ok(file)
}

fn check_format(dir: &Path) -> anyhow::Result<()> {
    let path = dir.join("format");
    let Some(bytes) = read_small(&path)? else { return Ok(()) };
    let text = String::from_utf8_lossy(&bytes);
    match text.trim().parse::<u32>() {
        Ok(FORMAT) => Ok(()),
        Ok(newer) if newer > FORMAT => bail!(
            "the data directory {} has format {newer}, this version of anode reads up to {FORMAT}; run a newer anode on it",
            dir.display()
        ),
        _ => bail!("{} holds {:?}, which is no format version of anode", path.display(), text.trim()),
    }
}

/// Makes an admin token.
///
/// # Errors
/// When the system gives no random bytes.
pub fn new_token() -> anyhow::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random::<TOKEN_BYTES>()?))
}

/// Reads the token that an operator chose.
///
/// # Errors
/// When the file cannot be read or holds no token.
pub fn read_token(path: &Path) -> anyhow::Result<String> {
    let bytes = read_small(path)?.with_context(|| format!("{} is not there", path.display()))?;
    check_token(path, &bytes)
}

fn check_token(path: &Path, bytes: &[u8]) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(bytes).trim().to_owned();
    if text.len() >= MIN_TOKEN && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text)
    } else {
        bail!(
            "{} holds no admin token: {MIN_TOKEN} or more printable ASCII characters without spaces, as `openssl rand -hex 32` makes them",
            path.display()
        )
    }
}

/// Reads a file that only its owner may read; `None` where there is none.
fn read_private(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(bytes) = read_small(path)? else { return Ok(None) };
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!(
            "{} is readable or writable for others (mode {mode:03o}); run: chmod 600 {}",
            path.display(),
            path.display()
        );
    }
    Ok(Some(bytes))
}

fn read_small(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        bail!("{} is larger than such a file can be", path.display());
    }
    Ok(Some(bytes))
}

/// Writes a file so that after a crash it is there as a whole or not at all.
///
/// # Errors
/// When the directory cannot be written to.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let temporary = path.with_extension(format!("tmp{}", std::process::id()));
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_start(dir: &Path) -> (Origin, String) {
        let data = DataDir::open(dir).unwrap();
        (data.identity().unwrap().origin().unwrap(), data.admin_token(None).unwrap().text)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_is_the_same_node_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a/b");
        let first = first_start(&place);
        assert_eq!(first_start(&place), first);
        assert_eq!((mode(&place.join("identity.key")), mode(&place.join("admin.token"))), (0o600, 0o600));
        let identity = DataDir::open(&place).unwrap().identity().unwrap();
        assert_eq!(identity.keypair().public().to_peer_id().to_string(), first.0.to_string());
        assert_eq!(identity.signing_key().unwrap().verifying_key().to_bytes(), first.0.0);
        assert!(first.1.len() * 6 >= 128 && !format!("{identity:?}").contains(&first.1));
    }

    #[test]
    fn it_names_the_process_that_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open(dir.path()).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        assert!(DataDir::open(dir.path()).is_ok());
    }

    #[test]
    fn it_refuses_what_it_cannot_trust() {
        for (file, bytes, file_mode, words) in [
            ("format", &b"2"[..], 0o644, "run a newer anode"),
            ("format", b"x", 0o644, "no format version"),
            ("identity.key", b"garbage", 0o600, "holds no ed25519 key"),
            ("identity.key", b"", 0o600, "holds no ed25519 key"),
            ("identity.key", &[7; 5_000], 0o600, "larger"),
            ("admin.token", b"short", 0o600, "holds no admin token"),
            ("admin.token", b"0123456789012345678901 23", 0o600, "holds no admin token"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            first_start(dir.path());
            fs::write(dir.path().join(file), bytes).unwrap();
            fs::set_permissions(dir.path().join(file), fs::Permissions::from_mode(file_mode)).unwrap();
            assert_refused(dir.path(), words);
        }
    }

    fn assert_refused(dir: &Path, words: &str) {
        let result = DataDir::open(dir).and_then(|data| data.identity().and_then(|_| data.admin_token(None)));
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn it_refuses_secrets_that_others_can_read_and_a_lost_key() {
        for file in ["identity.key", "admin.token"] {
            let dir = tempfile::tempdir().unwrap();
            first_start(dir.path());
            fs::set_permissions(dir.path().join(file), fs::Permissions::from_mode(0o640)).unwrap();
            assert_refused(dir.path(), "chmod 600");
        }
        let dir = tempfile::tempdir().unwrap();
        first_start(dir.path());
        fs::remove_file(dir.path().join("identity.key")).unwrap();
        assert_refused(dir.path(), "is missing from a data directory that was in use");
    }

    #[test]
    fn it_takes_a_token_that_an_operator_chose() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let path = dir.path().join("chosen");
        assert!(data.admin_token(Some(&path)).is_err());
        fs::write(&path, "0123456789012345678901\n").unwrap();
        let token = data.admin_token(Some(&path)).unwrap();
        assert_eq!((token.text.as_str(), token.new), ("0123456789012345678901", false));
        assert!(!dir.path().join("admin.token").exists());
    }
}
