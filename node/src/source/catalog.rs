//! The definitions on disk: one file a source, each there as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anode_shared::source::{SourceDefinition, SourceKind, is_name};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The version of a file's form.
const FORMAT: u32 = 1;
/// What a definition's file ends with.
const ENDING: &str = "json";
/// What the file of a damaged definition is called once another one takes its place.
const ASIDE: &str = "json.damaged";
/// The longest file that is read: above what a definition at all its bounds takes.
const LONGEST: u64 = 64 << 20;

/// The folder that holds the definitions.
#[derive(Debug, Clone)]
pub(super) struct Catalog {
    dir: PathBuf,
}

/// What a file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    format: u32,
    definition: serde_json::Value,
}

/// A source that was found at the start.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    /// Its definition; where the file is damaged, one that says no more than the name.
    pub(super) definition: SourceDefinition,
    /// What is wrong with the file.
    pub(super) damage: Option<String>,
}

impl Catalog {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open(dir: PathBuf) -> anyhow::Result<Self> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every source that is kept, by name. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(super) fn load(&self) -> anyhow::Result<Vec<Stored>> {
        let entries =
            fs::read_dir(&self.dir).with_context(|| format!("cannot read {}", self.dir.display()))?;
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|ending| ending == ENDING) && is_name(name) {
                found.push(read(&path, name));
            }
        }
        found.sort_by(|one, other| one.definition.name.cmp(&other.definition.name));
        Ok(found)
    }

    /// Keeps a definition: on stable storage when this returns. Blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self, definition: &SourceDefinition) -> anyhow::Result<()> {
        let entry = Entry { format: FORMAT, definition: serde_json::to_value(definition)? };
        let path = self.path(&definition.name, ENDING);
        self.set_aside(&path, &definition.name);
        let written = write(&path, &serde_json::to_vec_pretty(&entry)?);
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    /// Forgets a definition. Blocks.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn remove(&self, name: &str) -> anyhow::Result<()> {
        let path = self.path(name, ENDING);
        self.set_aside(&path, name);
        let removed = || -> io::Result<()> {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let _ = fs::remove_file(self.path(name, "place"));
            File::open(&self.dir)?.sync_all()
        };
        removed().with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Moves a damaged file aside, so that whoever wrote it can still look at it.
    fn set_aside(&self, path: &Path, name: &str) {
        if path.exists() && read(path, name).damage.is_some() {
            let _ = fs::rename(path, self.path(name, ASIDE));
        }
    }

    fn path(&self, name: &str, ending: &str) -> PathBuf {
        self.dir.join(format!("{name}.{ending}"))
    }
}

fn read(path: &Path, name: &str) -> Stored {
    parse(path, name).map_or_else(
        |error| Stored {
            definition: SourceDefinition::blank(name, "", SourceKind::Rest),
            damage: Some(format!(
                "its file {} is damaged and left as it is: {error:#}; register the source anew by PUT, or delete it",
                path.display()
            )),
        },
        |definition| Stored { definition, damage: None },
    )
}

fn parse(path: &Path, name: &str) -> anyhow::Result<SourceDefinition> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    let entry: Entry = serde_json::from_slice(&bytes)?;
    anyhow::ensure!(
        entry.format == FORMAT,
        "it has format {}, and this version of anode reads {FORMAT}",
        entry.format
    );
    let definition: SourceDefinition = serde_json::from_value(entry.definition)?;
    anyhow::ensure!(definition.name == name, "it holds a source of another name, {:?}", definition.name);
    Ok(definition)
}

/// Writes a file so that it is there as a whole or not at all, also after the power failed.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    create(&temporary, bytes)?.sync_data()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// The same for what may be older after the power failed.
pub(super) fn write_aside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp-place");
    create(&temporary, bytes)?;
    fs::rename(&temporary, path)
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str) -> SourceDefinition {
        let json =
            serde_json::json!({"name": name, "kind": "sse", "url": "https://h/${secret:K}", "topic": "a"});
        serde_json::from_value(json).unwrap()
    }

    fn catalog() -> (tempfile::TempDir, Catalog) {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(dir.path().join("sources")).unwrap();
        (dir, catalog)
    }

    fn names(catalog: &Catalog) -> Vec<(String, bool)> {
        let found = catalog.load().unwrap();
        found.into_iter().map(|stored| (stored.definition.name, stored.damage.is_some())).collect()
    }

    #[test]
    fn it_keeps_what_it_was_given() {
        let (_dir, catalog) = catalog();
        for name in ["b", "a"] {
            catalog.save(&definition(name)).unwrap();
        }
        let changed = SourceDefinition { paused: true, ..definition("b") };
        catalog.save(&changed).unwrap();
        let found: Vec<_> = catalog.load().unwrap().into_iter().map(|stored| stored.definition).collect();
        assert_eq!(found, [definition("a"), changed]);
        catalog.remove("a").unwrap();
        catalog.remove("a").unwrap();
        assert_eq!(names(&catalog), [("b".to_owned(), false)]);
    }

    #[test]
    fn it_keeps_the_old_definition_wherever_writing_was_cut() {
        let (_dir, catalog) = catalog();
        catalog.save(&definition("a")).unwrap();
        let whole = fs::read(catalog.path("a", ENDING)).unwrap();
        for length in 0..whole.len() {
            fs::write(catalog.path("a", "tmp"), &whole[..length]).unwrap();
            assert_eq!(catalog.load().unwrap(), [Stored { definition: definition("a"), damage: None }]);
        }
    }

    #[test]
    fn it_names_damage_and_never_loses_it() {
        let (_dir, catalog) = catalog();
        catalog.save(&definition("a")).unwrap();
        let whole = fs::read(catalog.path("a", ENDING)).unwrap();
        let text = String::from_utf8(whole.clone()).unwrap();
        let damages = [
            Vec::new(),
            whole[..whole.len() - 2].to_vec(),
            b"{}".to_vec(),
            text.replace("\"format\": 1", "\"format\": 2").into_bytes(),
            text.replace("\"name\": \"a\"", "\"name\": \"b\"").into_bytes(),
            text.replace("\"topic\"", "\"tropic\"").into_bytes(),
            vec![0; 500],
        ];
        for damage in damages {
            fs::write(catalog.path("a", ENDING), &damage).unwrap();
            assert_eq!(names(&catalog), [("a".to_owned(), true)], "{}", String::from_utf8_lossy(&damage));
            assert_eq!(names(&catalog), [("a".to_owned(), true)], "also at the next start");
            catalog.save(&definition("a")).unwrap();
            assert_eq!(names(&catalog), [("a".to_owned(), false)]);
            assert_eq!(fs::read(catalog.path("a", ASIDE)).unwrap(), damage);
        }
        fs::write(catalog.path("a", ENDING), b"x").unwrap();
        catalog.remove("a").unwrap();
        assert_eq!((names(&catalog), fs::read(catalog.path("a", ASIDE)).unwrap()), (vec![], b"x".to_vec()));
    }
}
