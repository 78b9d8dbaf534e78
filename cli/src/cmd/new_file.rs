//! Files that a verb writes: never in the place of another file, and made ready before a node is asked for what it gives only
//! once.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use ::node::{Problem, keys::sync_dir};
use tempfile::{Builder, NamedTempFile};

/// A file that is to be written and was not there before. Until it is, nothing stands under its name, however the program
/// ends.
pub(crate) struct NewFile {
    path: PathBuf,
    into: Into,
}

enum Into {
    /// A nameless neighbour that takes the name once its content is on the disk.
    Neighbour(NamedTempFile),
    /// A device or a pipe: nothing in it can be replaced.
    Device(fs::File),
}

impl NewFile {
    /// Makes sure that the file can be made. Errors: something has this name; the directory takes no file.
    pub(crate) fn ready(path: &Path) -> Result<Self, Problem> {
        Self::with(path, false)
    }

    /// As above, for what only its owner may read.
    pub(crate) fn private(path: &Path) -> Result<Self, Problem> {
        Self::with(path, true)
    }

    fn with(path: &Path, private: bool) -> Result<Self, Problem> {
        let failed = |e: std::io::Error| unwritable(path, &e);
        let into = match fs::metadata(path) {
            Ok(there) if there.is_file() || there.is_dir() => return Err(taken(path)),
            Ok(_) => Into::Device(fs::OpenOptions::new().write(true).open(path).map_err(failed)?),
            Err(_) => {
                let mut builder = Builder::new();
                builder.prefix(".xinqiao-");
                #[cfg(unix)]
                if !private {
                    // As any program makes files: the user's mask takes away what others may not do.
                    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
                }
                Into::Neighbour(builder.tempfile_in(parent(path)).map_err(failed)?)
            }
        };
        Ok(Self { path: path.to_owned(), into })
    }

    /// Writes it whole, onto the disk. Errors: there is no room; something has taken the name meanwhile.
    pub(crate) fn write(self, bytes: &[u8]) -> Result<(), Problem> {
        let Self { path, into } = self;
        let failed = |e: std::io::Error| unwritable(&path, &e);
        match into {
            Into::Device(mut device) => device.write_all(bytes).map_err(failed),
            Into::Neighbour(mut file) => {
                file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
                file.persist_noclobber(&path).map_err(|e| match e.error.kind() {
                    std::io::ErrorKind::AlreadyExists => taken(&path),
                    _ => failed(e.error),
                })?;
                sync_dir(parent(&path)).map_err(failed)
            }
        }
    }
}

/// Writes a new file. Errors: those of [`NewFile`].
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    NewFile::ready(path)?.write(bytes)
}

/// Writes a file that the same command may write again: one that is there already must hold the same.
pub(crate) fn write_once(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    write_all_once(&[(path, bytes)])
}

/// As above, files that belong together: none is written when something else has the name of one of them.
pub(crate) fn write_all_once(files: &[(impl AsRef<Path>, &[u8])]) -> Result<(), Problem> {
    // A device or a pipe has nothing to be compared, and a read of it may never end.
    let same = |path: &Path, bytes: &[u8]| path.is_file() && fs::read(path).is_ok_and(|there| there == bytes);
    let missing = files.iter().filter(|(path, bytes)| !same(path.as_ref(), bytes));
    let ready = missing.map(|(path, bytes)| Ok((NewFile::ready(path.as_ref())?, bytes)));
    for (file, bytes) in ready.collect::<Result<Vec<_>, Problem>>()? {
        file.write(bytes)?;
    }
    Ok(())
}

/// Makes a directory that the operator named, with those above it.
pub(crate) fn directory(path: &Path) -> Result<(), Problem> {
    fs::create_dir_all(path).map_err(|e| unwritable(path, &e))
}

/// The directory in which a path stands.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn taken(path: &Path) -> Problem {
    Problem::new(
        format!("{} exists already", path.display()),
        "name a new file: what is there is not replaced",
        "请另指定新文件：已有的文件不会被覆盖",
    )
}

/// What the operator named cannot be written.
pub(crate) fn unwritable(path: &Path, e: &std::io::Error) -> Problem {
    Problem::new(
        format!("{}: {e}", path.display()),
        "check path, permissions and free space",
        "请检查路径、权限与剩余空间",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_not_replaced_and_one_that_is_not_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("grant");
        drop(NewFile::ready(&at).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let late = NewFile::ready(&at).unwrap();
        NewFile::ready(&at).unwrap().write(b"one").unwrap();
        assert!(late.write(b"two").unwrap_err().what.contains("exists already"));
        assert!(NewFile::private(&at).err().unwrap().what.contains("exists already"));
        assert!(NewFile::ready(dir.path()).err().unwrap().what.contains("exists already"));
        assert!(write_once(&at, b"two").is_err());
        write_once(&at, b"one").unwrap();
        let beside = dir.path().join("entry");
        assert!(write_all_once(&[(&beside, b"entry"), (&at, b"two")]).is_err());
        assert!(!beside.exists(), "what belongs together is written together");
        write_all_once(&[(&beside, b"entry"), (&at, b"one")]).unwrap();
        assert_eq!(fs::read(&beside).unwrap(), b"entry");
        fs::remove_file(&beside).unwrap();
        assert_eq!(fs::read(&at).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(NewFile::ready(&dir.path().join("no/such/place")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_only_its_owner_may_read_is_told_apart() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("accesses");
        NewFile::private(&at).unwrap().write(b"paper").unwrap();
        assert_eq!(fs::metadata(&at).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
