//! A disk in memory that forgets what was not synced when its power is cut.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    stable: Vec<u8>,
}

#[derive(Debug, Default)]
struct Names {
    now: BTreeMap<String, Arc<MemoryFile>>,
    stable: BTreeMap<String, Arc<MemoryFile>>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Every sync fails.
    sync: AtomicBool,
    /// Bytes that may still be written.
    room: AtomicU64,
}

/// A folder in memory.
#[derive(Debug, Clone)]
pub struct Memory {
    names: Arc<Mutex<Names>>,
    faults: Arc<Faults>,
}

/// A file in memory.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    content: Mutex<Content>,
    faults: Arc<Faults>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Memory {
    fn default() -> Self {
        let faults = Faults { room: AtomicU64::new(u64::MAX), ..Faults::default() };
        Self { names: Arc::default(), faults: Arc::new(faults) }
    }
}

impl Memory {
    /// Lets every sync fail from now on, or not any more.
    pub fn fail_syncs(&self, fail: bool) {
        self.faults.sync.store(fail, Ordering::SeqCst);
    }

    /// Sets how many bytes may still be written.
    pub fn set_room(&self, bytes: u64) {
        self.faults.room.store(bytes, Ordering::SeqCst);
    }

    /// The disk as it would be found if the power were cut at this moment: of all that was not synced any sectors may be
    /// there and others not. `random` gives numbers.
    pub fn power_cut(&self, random: &mut dyn FnMut() -> u64) -> Self {
        let after = Self::default();
        let names = lock(&self.names);
        // All files as they are at one moment, before any is torn.
        let every: BTreeMap<&String, Vec<Content>> = names
            .now
            .keys()
            .chain(names.stable.keys())
            .map(|name| {
                (
                    name,
                    [&names.stable, &names.now]
                        .iter()
                        .filter_map(|n| n.get(name))
                        .map(|f| lock(&f.content).clone())
                        .collect(),
                )
            })
            .collect();
        for (name, mut versions) in every {
            let (was, is) = (names.stable.contains_key(name), names.now.contains_key(name));
            // A name that was made or removed and not synced may be there or not.
            if was != is && random().is_multiple_of(2) {
                continue;
            }
            if let Some(content) = versions.pop() {
                let bytes = torn(&content, random);
                let file = MemoryFile {
                    content: Mutex::new(Content { now: bytes.clone(), stable: bytes }),
                    faults: after.faults.clone(),
                };
                let file = Arc::new(file);
                lock(&after.names).now.insert(name.clone(), file.clone());
                lock(&after.names).stable.insert(name.clone(), file);
            }
        }
        drop(names);
        after
    }

    /// Changes the bytes of a file, as damage would.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(file) = lock(&self.names).now.get(name) {
            let mut content = lock(&file.content);
            change(&mut content.now);
            content.stable = content.now.clone();
        }
    }
}

/// What is on the disk after a power cut: up to a random place all that was written, and behind it sectors at random.
fn torn(content: &Content, random: &mut dyn FnMut() -> u64) -> Vec<u8> {
    let shared = content.now.iter().zip(&content.stable).take_while(|(a, b)| a == b).count();
    let whole = shared + usize::try_from(random()).unwrap_or(0) % (content.now.len() - shared + 1);
    let mut bytes = content.now.clone();
    let scattered = random().is_multiple_of(2);
    let mut place = whole;
    while place < bytes.len() {
        let end = ((place / SECTOR) + 1) * SECTOR;
        let end = end.min(bytes.len());
        if !scattered || random().is_multiple_of(2) {
            for (at, byte) in bytes[place..end].iter_mut().enumerate() {
                *byte = content.stable.get(place + at).copied().unwrap_or(0);
            }
        }
        place = end;
    }
    if !scattered {
        bytes.truncate(whole.max(content.stable.len()));
    }
    bytes
}

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.names).now.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut names = lock(&self.names);
        let file = names.now.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(MemoryFile { content: Mutex::default(), faults: self.faults.clone() })
        });
        Ok(file.clone())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let file = lock(&self.names).now.remove(name);
        let file = file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        if self.faults.room.load(Ordering::SeqCst) != u64::MAX {
            self.faults.room.fetch_add(file.size()?, Ordering::SeqCst);
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = lock(&self.names);
        let file = names.now.remove(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        names.now.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut names = lock(&self.names);
        names.stable = names.now.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.faults.room.load(Ordering::SeqCst))
    }
}

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.content).now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = lock(&self.content);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = content.now.get(from..from.saturating_add(buffer.len()));
        buffer.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = lock(&self.content);
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let room = self.faults.room.load(Ordering::SeqCst);
        let grows = (from + bytes.len()).saturating_sub(content.now.len()) as u64;
        let (written, full) = if grows > room { (&bytes[..bytes.len() / 2], true) } else { (bytes, false) };
        if content.now.len() < from + written.len() {
            content.now.resize(from + written.len(), 0);
        }
        content.now[from..from + written.len()].copy_from_slice(written);
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if room != u64::MAX {
            self.faults.room.fetch_sub(grows, Ordering::SeqCst);
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        lock(&self.content).now.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.faults.sync.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk failed to sync"));
        }
        let mut content = lock(&self.content);
        content.stable = content.now.clone();
        Ok(())
    }
}
