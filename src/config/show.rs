//! Every setting in force on a line of its own, with where it came from.

use super::job::Job;

/// The lines `path = value    (origin)`, the origins aligned.
pub fn show(job: &Job) -> Vec<String> {
    let settings: Vec<(String, &_)> = job
        .resolved
        .iter()
        .map(|setting| (format!("{} = {}", setting.path, setting.value), &setting.origin))
        .collect();
    // A long value must not push every other origin off the screen.
    let width =
        settings.iter().map(|(line, _)| line.chars().count()).filter(|width| *width <= 60).max().unwrap_or(0);
    settings.into_iter().map(|(line, origin)| format!("{line:width$}    ({origin})")).collect()
}
