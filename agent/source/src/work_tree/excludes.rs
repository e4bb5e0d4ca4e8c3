//! The file in which users say what git should ignore in all of their repositories.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use gix::config::{
    File, Source,
    file::{
        Metadata,
        includes::{self, conditional},
        init::Options,
    },
    path::interpolate::Context,
};

/// The setting that names the file.
pub(super) const SETTING: &str = "core.excludesFile";
/// Where the setting is looked up beside the repository's own configuration. The last one that has it counts.
const SOURCES: [Source; 3] = [Source::System, Source::Git, Source::User];

/// A lookup of an environment variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Looks up an environment variable of this process.
pub(super) fn of_process(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Returns the path of the file, which need not exist: the one that the repository names, or the user or the system, or else
/// the one where git looks by default.
///
/// Nothing else in the users' configuration is used, as everything else is about what they do with git themselves.
pub(super) fn excludes_file(
    named_by_repository: Option<gix::config::Path>,
    git_dir: &Path,
    root: &Path,
    environment: Environment<'_>,
) -> gix::Result<Option<PathBuf>> {
    // As in git, an empty variable counts as unset.
    let variable = |name: &str| match environment(name) {
        Some(value) if value.is_empty() && ["HOME", "XDG_CONFIG_HOME"].contains(&name) => None,
        value => value,
    };
    let home = variable("HOME").map(PathBuf::from);
    let context = Context {
        home_dir: home.as_deref(),
        ..Context::default()
    };
    let named = match named_by_repository {
        Some(named) => Some(named),
        None => named_by_user(context, git_dir, &variable)?,
    };
    match named {
        Some(named) if named.is_empty() => Ok(None),
        Some(named) => Ok(Some(root.join(named.interpolate(context)?))),
        None => {
            let folder = match variable("XDG_CONFIG_HOME") {
                Some(folder) => Some(PathBuf::from(folder)),
                None => home.map(|home| home.join(".config")),
            };
            Ok(folder.map(|folder| folder.join("git/ignore")))
        }
    }
}

/// Reads the files that hold the configuration of the user and the system. Files that do not exist, or may not be read, are
/// skipped.
fn named_by_user(
    context: Context<'_>,
    git_dir: &Path,
    environment: Environment<'_>,
) -> gix::Result<Option<gix::config::Path>> {
    let mut files = SOURCES.into_iter().filter_map(|source| {
        let mut variable = environment;
        let path = source.storage_location(&mut variable)?;
        let trust = gix::sec::Trust::Full;
        Some(Metadata::from(source).at(path).with(trust))
    });
    let condition = conditional::Context {
        git_dir: Some(git_dir),
        ..conditional::Context::default()
    };
    let options = Options {
        includes: includes::Options::follow(context, condition),
        lossy: true,
        ignore_io_errors: true,
    };
    let found = File::from_paths_metadata_buf(&mut files, &mut Vec::new(), false, options)?;
    Ok(found.and_then(|configured| configured.path(SETTING)))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs};

    use tempfile::TempDir;

    use super::*;

    /// The home of a user, with environment variables of that user.
    struct User {
        home: TempDir,
        variables: HashMap<&'static str, OsString>,
    }

    impl User {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let variables = HashMap::from([
                ("HOME", OsString::from(home.path())),
                ("GIT_CONFIG_NOSYSTEM", OsString::from("1")),
            ]);
            Self { home, variables }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.home.path().join(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
            self.variables.insert(name, value.into());
        }

        fn within(&self, repository: Option<&str>) -> gix::Result<Option<PathBuf>> {
            let named = repository.map(gix::config::Path::from);
            let root = Path::new("/repository");
            excludes_file(named, &root.join(".git"), root, &|name| {
                self.variables.get(name).cloned()
            })
        }

        fn file(&self) -> Option<PathBuf> {
            self.within(None).unwrap()
        }
    }

    #[test]
    fn without_a_setting_it_is_where_git_looks() {
        let mut user = User::new();
        assert_eq!(user.file(), Some(user.at(".config/git/ignore")));
        user.set("XDG_CONFIG_HOME", "");
        assert_eq!(user.file(), Some(user.at(".config/git/ignore")));
        user.set("XDG_CONFIG_HOME", user.at("xdg"));
        assert_eq!(user.file(), Some(user.at("xdg/git/ignore")));
        user.variables.clear();
        user.set("GIT_CONFIG_NOSYSTEM", "1");
        assert_eq!(user.file(), None);
        user.set("HOME", "/dev/null");
        assert_eq!(user.file(), Some("/dev/null/.config/git/ignore".into()));
    }

    #[test]
    fn a_setting_of_the_user_names_it() {
        let mut user = User::new();
        user.write(".config/git/config", "[core]\nexcludesFile = ~/first");
        assert_eq!(user.file(), Some(user.at("first")));
        user.write(
            ".gitconfig",
            "[user]\n\tname = me\n[core]\n\texcludesfile = \"~/second\" # mine\n",
        );
        assert_eq!(user.file(), Some(user.at("second")));
        user.write(".gitconfig", "[include]\n\tpath = more\n");
        user.write("more", "[core]\n\texcludesFile = /third\n");
        assert_eq!(user.file(), Some("/third".into()));
        user.write("more", "[core]\n\texcludesFile =\n");
        assert_eq!(user.file(), None);
        user.write("other", "[core]\n\texcludesFile = fourth\n");
        user.set("GIT_CONFIG_GLOBAL", user.at("other"));
        assert_eq!(user.file(), Some("/repository/fourth".into()));
        user.set("GIT_CONFIG_GLOBAL", "/dev/null");
        assert_eq!(user.file(), Some(user.at(".config/git/ignore")));
    }

    #[test]
    fn a_setting_of_the_system_counts_less() {
        let mut user = User::new();
        user.write("system", "[core]\nexcludesFile = /system");
        user.set("GIT_CONFIG_SYSTEM", user.at("system"));
        assert_eq!(user.file(), Some(user.at(".config/git/ignore")));
        user.variables.remove("GIT_CONFIG_NOSYSTEM");
        assert_eq!(user.file(), Some("/system".into()));
        user.write(".gitconfig", "[core]\nexcludesFile = /user");
        assert_eq!(user.file(), Some("/user".into()));
    }

    #[test]
    fn a_setting_of_the_repository_counts_more() {
        let user = User::new();
        user.write(".gitconfig", "[core]\nexcludesFile = /user");
        let own = user.within(Some("~/own")).unwrap();
        assert_eq!(own, Some(user.at("own")));
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        let user = User::new();
        user.write(".gitconfig", "[core\nexcludesFile = /user");
        assert!(user.within(None).is_err());
        assert!(user.within(Some("own")).is_ok());
    }
}
