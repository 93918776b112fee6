//! `docferry init NAME`: a strategy file that works as it is and says what can be changed.

use crate::error::{Error, ErrorKind};
use crate::model::shell::word;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

const STARTER: &str = include_str!("init.toml");
const OPERATION: &str = "writing a strategy";

/// Writes the file and says what to do with it.
pub(super) fn run(name: &str, out: &mut dyn Write) -> anyhow::Result<u8> {
    let stem = name.strip_suffix(".toml").unwrap_or(name);
    if stem.is_empty() {
        return Err(Error::new(ErrorKind::Usage, OPERATION, "the name is empty").into());
    }
    if stem.contains(char::is_control) {
        // It would end a comment of the file that names the file.
        return Err(Error::new(ErrorKind::Usage, OPERATION, "the name holds a control character").into());
    }
    let path = PathBuf::from(format!("{stem}.toml"));
    let shown = path.display().to_string();
    // `create_new` looks and creates in one step: a file that appears meanwhile is not overwritten either.
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|cause| {
        let (message, advice) = match cause.kind() {
            std::io::ErrorKind::AlreadyExists => {
                ("there is such a file already, and it stays as it is", "choose another name")
            }
            _ => ("cannot be created", "see the cause, or choose another name"),
        };
        Error::configuration(OPERATION, message).with("path", &shown).caused_by(cause).advise(advice)
    })?;
    file.write_all(starter(&shown).as_bytes())
        .map_err(|cause| Error::io(OPERATION, cause).with("path", &shown))?;
    let pasted = word(&shown);
    writeln!(
        out,
        "wrote {shown}\nnext: docferry show --strategy {pasted}\nthen: docferry migrate --strategy {pasted}"
    )?;
    Ok(0)
}

fn starter(path: &str) -> String {
    STARTER.replace("{PATH}", &word(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::asked::{Asked, Given};
    use crate::config::environment::Environment;
    use crate::config::resolve;

    #[test]
    fn the_file_loads_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("first").display().to_string();
        let mut out = Vec::new();
        assert_eq!(run(&path, &mut out).unwrap(), 0);
        let file = format!("{path}.toml");
        assert!(String::from_utf8(out).unwrap().starts_with(&format!("wrote {file}\nnext: ")));
        let error = run(&file, &mut Vec::new()).unwrap_err();
        assert_eq!(error.downcast_ref::<Error>().unwrap().kind(), ErrorKind::Configuration);
        let asked = Asked { strategy: Some(Given::flag("--strategy", &file)), ..Asked::default() };
        let job = resolve(&asked, &Environment::of(&[], 4)).unwrap();
        assert_eq!(job.name, "first");
        assert!(STARTER.lines().any(|line| line.starts_with("about = \"")), "a line for `list`");
    }

    #[test]
    fn every_commented_setting_loads_too() {
        let text: String = STARTER
            .lines()
            .map(|line| match line.strip_prefix("#: ") {
                Some(setting) => format!("{setting}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.toml");
        std::fs::write(&file, text).unwrap();
        let asked = Asked {
            strategy: Some(Given::flag("--strategy", file.display().to_string())),
            ..Asked::default()
        };
        resolve(&asked, &Environment::of(&[], 4)).unwrap();
    }
}
