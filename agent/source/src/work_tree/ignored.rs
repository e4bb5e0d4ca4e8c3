//! The files and folders that git would ignore.

use std::{
    collections::HashSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use gix::{
    AttributeStack,
    glob::pattern::Case,
    ignore::Search,
    index::entry::Mode,
    worktree::{
        Index, Stack,
        stack::{
            State,
            state::{
                Ignore,
                ignore::{ParseIgnore, Source},
            },
        },
    },
};

use super::excludes::{Environment, SETTING, excludes_file};
use crate::error::{SourceError, chain};

/// The files and folders that git would ignore.
pub(super) struct Ignored<'a> {
    rules: Option<Rules<'a>>,
}

struct Rules<'a> {
    repository: &'a gix::Repository,
    root: &'a Path,
    index: Index,
    /// Files that git tracks, and their folders. They count even if a rule matches them.
    tracked: HashSet<PathBuf>,
    environment: Environment<'a>,
    /// Read only when something is met that git does not track. Most often nothing is.
    stack: Option<AttributeStack<'a>>,
}

impl<'a> Ignored<'a> {
    pub(super) fn new(
        repository: Option<&'a (gix::Repository, PathBuf)>,
        folder: &Path,
        environment: Environment<'a>,
    ) -> Result<Self, SourceError> {
        let Some((repository, root)) = repository else {
            return Ok(Self { rules: None });
        };
        let index = repository
            .index_or_empty()
            .map_err(|error| unreadable(folder, &chain(&error)))?;
        let mut tracked = HashSet::new();
        for entry in index.entries() {
            let path = OsStr::from_bytes(entry.path(&index));
            let mut next = Some(Path::new(path));
            while let Some(path) = next.filter(|path| !path.as_os_str().is_empty()) {
                if !tracked.insert(path.to_owned()) {
                    break;
                }
                next = path.parent();
            }
        }
        let mut ignored = Self {
            rules: Some(Rules {
                repository,
                root,
                index,
                tracked,
                environment,
                stack: None,
            }),
        };
        // Whoever names an ignored folder wants what is in it.
        if folder != root && ignored.is(folder, true)? {
            ignored.rules = None;
        }
        Ok(ignored)
    }

    /// Returns whether git would ignore what is at a path.
    pub(super) fn is(&mut self, path: &Path, folder: bool) -> Result<bool, SourceError> {
        let Some(rules) = &mut self.rules else {
            return Ok(false);
        };
        let Ok(within) = path.strip_prefix(rules.root) else {
            return Ok(false);
        };
        if rules.tracked.contains(within) {
            return Ok(false);
        }
        let mode = if folder { Mode::DIR } else { Mode::FILE };
        rules
            .match_at(within, mode)
            .map_err(|reason| unreadable(path, &reason))
    }
}

impl<'a> Rules<'a> {
    /// Returns whether a rule matches, and no rule of higher precedence makes an exception. The error says what is wrong.
    fn match_at(&mut self, within: &Path, mode: Mode) -> Result<bool, String> {
        let stack = match self.stack.take() {
            Some(stack) => stack,
            None => self.read()?,
        };
        let stack = self.stack.insert(stack);
        let found = stack.at_path(within, Some(mode));
        Ok(found.map_err(|error| chain(&error))?.is_excluded())
    }

    /// Reads the rules that apply everywhere, and prepares to read those in the folders.
    ///
    /// This is what gix does, except for the user's rules: gix reads these only along with everything else that users
    /// configure.
    fn read(&self) -> Result<AttributeStack<'a>, String> {
        let repository = self.repository;
        let configured = repository.config_snapshot();
        let excludes = excludes_file(
            configured.path(SETTING),
            repository.git_dir(),
            self.root,
            self.environment,
        );
        let excludes = excludes.map_err(|error| {
            let reason = chain(&error);
            format!("{reason}; `git config --list --show-origin` shows where the configuration is")
        })?;
        let (mut buffer, parse) = (Vec::new(), ParseIgnore::default());
        let everywhere =
            Search::from_git_dir(repository.common_dir(), excludes, &mut buffer, parse)
                .map_err(|error| chain(&error))?;
        let ignore = Ignore::new(
            Search::default(),
            everywhere,
            None,
            Source::default(),
            parse,
        );
        let state = State::IgnoreStack(ignore);
        let case = match configured.boolean("core.ignoreCase") {
            Some(true) => Case::Fold,
            _ => Case::Sensitive,
        };
        let in_index = state.id_mappings_from_index(&self.index, self.index.path_backing(), case);
        let root = repository.workdir().unwrap_or(self.root);
        let stack = Stack::new(root, state, case, buffer, in_index);
        Ok(AttributeStack::new(stack, repository))
    }
}

fn unreadable(path: &Path, reason: &str) -> SourceError {
    SourceError::Url {
        url: path.display().to_string(),
        reason: format!("its ignore rules cannot be read: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, fs};

    use pintle_harness::GitRepo;

    use super::*;
    use crate::{limits::Limits, local::discover};

    #[test]
    fn rules_of_the_user_hold_where_those_of_the_repository_say_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir_all(home.join(".config/git")).unwrap();
        fs::write(
            home.join(".config/git/ignore"),
            "*.secret.yaml\n!*.log\nscratch/\n",
        )
        .unwrap();
        let repository = GitRepo::create(&dir.path().join("repository.git")).unwrap();
        let rules = "*.log\n!shared.secret.yaml\n";
        for (path, text) in [
            (".gitignore", rules),
            ("scratch/known", ""),
            ("known.secret.yaml", ""),
        ] {
            repository.write(path, text).unwrap();
        }
        repository.commit("first").unwrap();
        let root = repository.work().canonicalize().unwrap();
        let (opened, root) = discover(&root, Limits::default()).unwrap();
        let opened = (opened.to_thread_local(), root.clone());
        let user = |name: &str| match name {
            "HOME" => Some(home.clone().into_os_string()),
            "GIT_CONFIG_NOSYSTEM" => Some(OsString::from("1")),
            _ => None,
        };
        let nobody = |name: &str| (name == "GIT_CONFIG_NOSYSTEM").then(|| OsString::from("1"));
        let mut for_user = Ignored::new(Some(&opened), &root, &user).unwrap();
        let mut for_nobody = Ignored::new(Some(&opened), &root, &nobody).unwrap();
        for (path, is_folder, expected) in [
            ("known.secret.yaml", false, (false, false)),
            ("new.secret.yaml", false, (true, false)),
            ("app/new.secret.yaml", false, (true, false)),
            ("app/shared.secret.yaml", false, (false, false)),
            ("app/new.yaml", false, (false, false)),
            ("new.log", false, (true, true)),
            ("scratch", true, (false, false)),
            ("scratch/known", false, (false, false)),
            ("scratch/new", false, (true, false)),
            ("app/scratch", true, (true, false)),
            ("app/scratch", false, (false, false)),
        ] {
            let at = root.join(path);
            let told = (
                for_user.is(&at, is_folder).unwrap(),
                for_nobody.is(&at, is_folder).unwrap(),
            );
            assert_eq!(told, expected, "{path}");
        }
    }

    #[test]
    fn where_git_knows_everything_no_rules_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let repository = GitRepo::create(&dir.path().join("repository.git")).unwrap();
        repository.write("app/a.yaml", "").unwrap();
        repository.commit("first").unwrap();
        let root = repository.work().canonicalize().unwrap();
        let (opened, root) = discover(&root, Limits::default()).unwrap();
        let opened = (opened.to_thread_local(), root.clone());
        let nobody = |name: &str| -> Option<OsString> { panic!("{name} is not needed") };
        let app = root.join("app");
        let mut ignored = Ignored::new(Some(&opened), &app, &nobody).unwrap();
        assert!(!ignored.is(&app.join("a.yaml"), false).unwrap());
    }
}
