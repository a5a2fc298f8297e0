//! Which page an address means.

use super::question::pairs;

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Route {
    /// How the node is.
    #[default]
    Overview,
    /// All sources.
    Sources,
    /// The sources of another node, by its peer id, or of `all`.
    Others(String),
    /// The form for a new source.
    NewSource,
    /// The form for a source that is there.
    EditSource(String),
    /// All nodes.
    Mesh,
    /// All topics.
    Topics,
    /// The live records.
    Records,
    /// None of these.
    Unknown,
}

/// The entries of the navigation: the path, and its name.
pub const SECTIONS: [(&str, &str); 5] = [
    ("/", "Overview"),
    ("/sources", "Sources"),
    ("/topics", "Topics"),
    ("/records", "Records"),
    ("/mesh", "Mesh"),
];

impl Route {
    /// Reads a path. Names of sources need no decoding.
    pub fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts[..] {
            [] => Self::Overview,
            ["sources"] => Self::Sources,
            ["sources", "new"] => Self::NewSource,
            ["sources", name, "edit"] => Self::EditSource(name.to_owned()),
            ["mesh"] => Self::Mesh,
            ["topics"] => Self::Topics,
            ["records"] => Self::Records,
            _ => Self::Unknown,
        }
    }

    /// What the page is called.
    pub fn title(&self) -> String {
        match self {
            Self::Overview => "Overview".to_owned(),
            Self::Sources => "Sources".to_owned(),
            Self::Others(_) => "Sources in the mesh".to_owned(),
            Self::NewSource => "New source".to_owned(),
            Self::EditSource(name) => format!("Edit {name}"),
            Self::Mesh => "Mesh".to_owned(),
            Self::Topics => "Topics".to_owned(),
            Self::Records => "Live records".to_owned(),
            Self::Unknown => "No such page".to_owned(),
        }
    }

    /// The path of the navigation's entry that it belongs to.
    pub fn section(&self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Sources | Self::Others(_) | Self::NewSource | Self::EditSource(_) => "/sources",
            Self::Mesh => "/mesh",
            Self::Topics => "/topics",
            Self::Records => "/records",
            Self::Unknown => "",
        }
    }
}

/// A page's address on this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Location {
    /// `/sources`.
    pub path: String,
    /// The query with its question mark, or nothing.
    pub query: String,
}

impl Location {
    /// Reads `/path?query#fragment`; fragments mean no page.
    pub fn of(address: &str) -> Self {
        let address = address.split('#').next().unwrap_or_default();
        let (path, query) = address.split_at(address.find('?').unwrap_or(address.len()));
        Self { path: path.to_owned(), query: query.to_owned() }
    }

    /// The page.
    pub fn route(&self) -> Route {
        match (Route::of(&self.path), self.value("node")) {
            (Route::Sources, Some(node)) => Route::Others(node),
            (route, _) => route,
        }
    }

    /// The value of one name in the query.
    pub fn value(&self, name: &str) -> Option<String> {
        pairs(&self.query).find(|(other, _)| *other == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_every_path() {
        for (path, route, section) in [
            ("/", Route::Overview, "/"),
            ("", Route::Overview, "/"),
            ("/sources", Route::Sources, "/sources"),
            ("/sources/", Route::Sources, "/sources"),
            ("/sources/new", Route::NewSource, "/sources"),
            ("/sources/new/edit", Route::EditSource("new".to_owned()), "/sources"),
            ("/sources/a-b_1/edit", Route::EditSource("a-b_1".to_owned()), "/sources"),
            ("/topics", Route::Topics, "/topics"),
            ("/mesh", Route::Mesh, "/mesh"),
            ("/records", Route::Records, "/records"),
            ("/sources/a", Route::Unknown, ""),
            ("/nothing", Route::Unknown, ""),
        ] {
            assert_eq!((Route::of(path), Route::of(path).section()), (route, section), "{path}");
        }
    }

    #[test]
    fn it_takes_addresses_apart() {
        let location = Location::of("/sources/new?from=a%20b&x=1#token=t?");
        assert_eq!((location.path.as_str(), location.query.as_str()), ("/sources/new", "?from=a%20b&x=1"));
        assert_eq!(location.value("from").as_deref(), Some("a b"));
        assert_eq!(location.value("y"), None);
        assert_eq!(Location::of("/sources?node=all").route(), Route::Others("all".to_owned()));
        assert_eq!(Location::of("/mesh?node=x").route(), Route::Mesh);
        assert_eq!(Location::of("/topics"), Location { path: "/topics".to_owned(), query: String::new() });
    }
}
