//! Parsed flags as `config` wants them: texts that know whether they came from a flag or from its twin in the environment.

use super::{JobFlags, Migrate};
use crate::config::asked::{Asked, Given};
use crate::config::job::Begin;
use crate::model::settings::Origin;
use clap::ArgMatches;
use clap::parser::ValueSource;

/// What the command line asks of a job. `matches` is the command's own, where clap notes the sources.
pub(super) fn asked(flags: &JobFlags, matches: &ArgMatches) -> Asked {
    let source = Source(matches);
    let scaling = &flags.scaling;
    let pace = [
        ("max_rejects", source.given("max_rejects", flags.max_rejects.as_ref())),
        ("max_rate", source.given("max_rate", flags.max_rate)),
        ("profile", source.given("auto_scaling_profile", scaling.auto_scaling_profile.as_ref())),
        ("auto_scaling", source.auto_scaling(scaling.auto_scaling, scaling.no_auto_scaling)),
        ("readers", source.given("readers", scaling.readers)),
        ("transformers", source.given("transformers", scaling.transformers)),
        ("requests_in_flight", source.given("requests_in_flight", scaling.requests_in_flight)),
        ("batch_documents", source.given("batch_documents", scaling.batch_documents)),
    ];
    let switches = [
        ("policy", source.given("scaling_policy", scaling.scaling_policy.as_ref())),
        ("preset", source.given("scaling_preset", scaling.scaling_preset.as_ref())),
        ("stop_at_target", source.given("stop_at_target", scaling.stop_at_target.then_some(true))),
        ("cold_start", source.given("cold_start", scaling.cold_start.then_some(true))),
    ];
    let target = [("max_ru", source.given("max_ru", flags.max_ru.as_ref()))];
    // The state folder always has a value, of which the built-in one is no wish.
    let state = matches.get_one::<std::path::PathBuf>("state").filter(|_| !source.is_default("state"));
    Asked {
        strategy: source.given("strategy", flags.strategy.as_ref()),
        from: source.given("from", flags.from.as_ref()),
        to: source.given("to", flags.to.as_ref()),
        job: source.given("job", flags.job.as_ref()),
        state: source.given("state", state.map(|path| path.display())),
        begin: Begin::Start,
        overwrite: false,
        run: pace.into_iter().filter_map(|(name, given)| Some((name, given?))).collect(),
        scaling: switches.into_iter().filter_map(|(name, given)| Some((name, given?))).collect(),
        target: target.into_iter().filter_map(|(name, given)| Some((name, given?))).collect(),
    }
}

/// The same for `migrate`, which may continue or replace.
pub(super) fn asked_to_migrate(flags: &Migrate, matches: &ArgMatches) -> Asked {
    let begin = match (flags.resume, flags.restart) {
        (true, _) => Begin::Resume,
        (_, true) => Begin::Restart,
        _ => Begin::Start,
    };
    let mut asked = asked(&flags.job, matches);
    let source = Source(matches);
    let more = [
        ("limit", source.given("limit", flags.limit)),
        ("verify", source.given("verify", flags.verify.then_some(true))),
    ];
    asked.run.extend(more.into_iter().filter_map(|(name, given)| Some((name, given?))));
    Asked { begin, overwrite: flags.overwrite, ..asked }
}

/// What a variable says of a flag without a value. An empty one says nothing.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "t" | "y" => Ok(true),
        "" | "0" | "false" | "no" | "off" | "f" | "n" => Ok(false),
        _ => Err("must be true or false (or 1, 0, yes, no, on, off)".to_owned()),
    }
}

struct Source<'a>(&'a ArgMatches);

impl Source<'_> {
    fn given(&self, id: &str, value: Option<impl ToString>) -> Option<Given> {
        value.map(|value| Given { text: value.to_string(), origin: self.origin(id) })
    }

    /// A flag wins over a variable that says the opposite, the later of two flags over the earlier, and off over on where two
    /// variables contradict each other.
    fn auto_scaling(&self, on: bool, off: bool) -> Option<Given> {
        let place = |id: &str| self.0.index_of(id).filter(|_| self.is_flag(id));
        let is_off = off && (!on || place("no_auto_scaling") >= place("auto_scaling"));
        let is_variable = self.0.value_source("auto_scaling") == Some(ValueSource::EnvVariable);
        let mut said = self.0.get_raw("auto_scaling").into_iter().flatten();
        let says_off = is_variable && said.any(|text| !text.is_empty());
        match (on, is_off) {
            (_, true) => self.given("no_auto_scaling", Some("false")),
            (true, false) => self.given("auto_scaling", Some("true")),
            (false, false) => self.given("auto_scaling", says_off.then_some("false")),
        }
    }

    fn origin(&self, id: &str) -> Origin {
        match self.0.value_source(id) {
            Some(ValueSource::EnvVariable) => {
                Origin::Environment(format!("DOCFERRY_{}", id.to_ascii_uppercase()))
            }
            _ => Origin::Flag(format!("--{}", id.replace('_', "-"))),
        }
    }

    fn is_flag(&self, id: &str) -> bool {
        self.0.value_source(id) == Some(ValueSource::CommandLine)
    }

    fn is_default(&self, id: &str) -> bool {
        self.0.value_source(id) == Some(ValueSource::DefaultValue)
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use clap::{CommandFactory, FromArgMatches};

    fn asked(line: &str) -> String {
        let matches = Cli::command().try_get_matches_from(line.split(' ')).unwrap();
        let cli = Cli::from_arg_matches(&matches).unwrap();
        let Command::Migrate(flags) = cli.command else { panic!("migrate") };
        let asked = super::asked_to_migrate(&flags, matches.subcommand().unwrap().1);
        let state = asked.state.map(|given| format!(" {} {}", given.text, given.origin)).unwrap_or_default();
        let run: Vec<String> = asked
            .run
            .iter()
            .chain(&asked.scaling)
            .map(|(name, given)| format!("{name}={} {}", given.text, given.origin))
            .collect();
        format!("{:?}{state} {}", asked.begin, run.join(", "))
    }

    #[test]
    fn flags_become_settings_of_the_run() {
        assert_eq!(asked("docferry migrate"), "Start ");
        assert_eq!(
            asked("docferry --state s migrate --resume --readers 3 --max-rejects 1% --no-auto-scaling"),
            "Resume s flag --state max_rejects=1% flag --max-rejects, auto_scaling=false flag --no-auto-scaling, readers=3 flag --readers"
        );
        assert_eq!(
            asked("docferry migrate --limit 5 --verify"),
            "Start limit=5 flag --limit, verify=true flag --verify"
        );
        assert_eq!(
            asked("docferry migrate --state t --no-auto-scaling --auto-scaling"),
            "Start t flag --state auto_scaling=true flag --auto-scaling"
        );
        assert_eq!(
            asked(
                "docferry migrate --scaling-policy hybrid --scaling-preset testing --stop-at-target --cold-start"
            ),
            "Start policy=hybrid flag --scaling-policy, preset=testing flag --scaling-preset, stop_at_target=true flag --stop-at-target, cold_start=true flag --cold-start"
        );
        assert_eq!(
            asked("docferry migrate --auto-scaling --no-auto-scaling"),
            "Start auto_scaling=false flag --no-auto-scaling"
        );
    }
}
