//! Which account, and the key to it.
//!
//! A key comes from the environment alone, so that no file, flag, listing or process table holds it. Each of `COSMOS_ENDPOINT`, `COSMOS_KEY` and
//! `COSMOS_CONNECTION_STRING` has a twin with `_FILE` behind it (a path, as container platforms mount secrets), a form with `AZURE_` before
//! it, and with Cosmos on both sides one with `SOURCE_` or `TARGET_` before it, which wins.
//!
//! An account that the command line names is the one that is used. Where a strategy names one and a variable another, neither wins: a
//! variable left from another day would send documents elsewhere, and a person who has just set one would not see it ignored. So that is refused, and both are named.

use crate::model::settings::Section;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt;

/// Which end of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Source,
    Target,
}

/// A key, which prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a key into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The key itself, for the one who signs with it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// One that is reached over the network.
    Remote {
        /// Its address.
        endpoint: String,
        /// Its key, if the environment holds one.
        key: Option<Secret>,
    },
    /// The local endpoint, which the run starts by itself.
    Local,
}

/// The word for the local endpoint.
const LOCAL: &str = "emulator";

impl Account {
    /// The account for a person: its host, without a key.
    pub fn name(&self) -> String {
        match self {
            Account::Local => LOCAL.to_owned(),
            Account::Remote { endpoint, .. } => {
                let host = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, host)| host);
                let host = host.trim_end_matches('/').to_ascii_lowercase();
                let host = host.strip_suffix(":443").unwrap_or(&host);
                // Two names for one machine: whoever asks whether two ends are the same must not be told otherwise.
                match host.strip_prefix("localhost").or_else(|| host.strip_prefix("[::1]")) {
                    Some(port) if port.is_empty() || port.starts_with(':') => format!("127.0.0.1{port}"),
                    _ => host.to_owned(),
                }
            }
        }
    }

    /// Whether it is on this machine, where resource ids are counted up and so are not one in the world.
    pub(super) fn is_on_this_machine(&self) -> bool {
        self.name() == LOCAL || self.name().starts_with("127.")
    }
}

/// An account as the settings name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    /// A name, an address, or the word for the local endpoint.
    pub(super) text: &'a str,
    /// It stands on the command line, which wins over the environment.
    pub(super) is_flag: bool,
}

/// What the environment says.
#[derive(Default)]
struct Found {
    /// The address, and the variable that it comes from.
    endpoint: Option<(String, String)>,
    key: Option<Secret>,
    /// The address inside the connection string that the key came from.
    key_endpoint: Option<String>,
}

/// The account that the settings name, or else the environment.
pub(super) fn read(section: &mut Section, role: Role, named: Option<Named<'_>>) -> Option<Account> {
    if named.is_some_and(|named| named.text == LOCAL) {
        return Some(Account::Local);
    }
    let found = from_environment(section, role)?;
    let endpoint = match endpoint(named, found.endpoint) {
        Ok(endpoint) => endpoint,
        Err(message) => {
            section.problem("endpoint", message);
            return None;
        }
    };
    let account = Account::Remote { endpoint, key: found.key };
    let of_key = match found.key_endpoint.map(|endpoint| address(&endpoint)).transpose() {
        Ok(of_key) => of_key.map(|endpoint| Account::Remote { endpoint, key: None }),
        Err(message) => {
            section.problem("endpoint", format!("AccountEndpoint of the connection string {message}"));
            return None;
        }
    };
    if let Some(of_key) = of_key
        && of_key.name() != account.name()
    {
        let message = format!("is {}, but the connection string is of {}", account.name(), of_key.name());
        section.problem("endpoint", message);
        return None;
    }
    Some(account)
}

/// The address, of what the settings and the environment say.
fn endpoint(named: Option<Named<'_>>, found: Option<(String, String)>) -> Result<String, String> {
    let of_environment = |(endpoint, variable): (String, String)| match address(&endpoint) {
        Ok(endpoint) => Ok((endpoint, variable)),
        Err(message) => Err(format!("environment {variable} {message}")),
    };
    let Some(named) = named else {
        let missing = || "is missing; name the account here or in COSMOS_ENDPOINT".to_owned();
        return of_environment(found.ok_or_else(missing)?).map(|(endpoint, _)| endpoint);
    };
    let endpoint = address(named.text)?;
    let Some(found) = found.filter(|_| !named.is_flag) else { return Ok(endpoint) };
    let (other, variable) = of_environment(found)?;
    let name = |endpoint: &String| Account::Remote { endpoint: endpoint.clone(), key: None }.name();
    if name(&endpoint) == name(&other) {
        return Ok(endpoint);
    }
    Err(format!(
        "is {}, but environment {variable} names {}; unset the variable, or correct one of the two",
        name(&endpoint),
        name(&other)
    ))
}

fn from_environment(section: &mut Section, role: Role) -> Option<Found> {
    let first = if role == Role::Source { "SOURCE_COSMOS" } else { "TARGET_COSMOS" };
    let mut found = Found::default();
    for prefix in [first, "COSMOS", "AZURE_COSMOS"] {
        let endpoint = variable(section, &format!("{prefix}_ENDPOINT"))?;
        let key = variable(section, &format!("{prefix}_KEY"))?;
        let text = variable(section, &format!("{prefix}_CONNECTION_STRING"))?;
        let part = |name: &str| {
            let parts =
                text.as_deref().unwrap_or_default().split(';').filter_map(|part| part.split_once('='));
            parts
                .filter(|(key, _)| key.trim().eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
                .next()
        };
        if text.is_some() && (part("AccountEndpoint").is_none() || part("AccountKey").is_none()) {
            let message = format!("{prefix}_CONNECTION_STRING must hold AccountEndpoint=...;AccountKey=...");
            section.problem("endpoint", message);
            return None;
        }
        let of_string = part("AccountEndpoint").map(|part| (part, format!("{prefix}_CONNECTION_STRING")));
        found.endpoint =
            found.endpoint.or(endpoint.map(|value| (value, format!("{prefix}_ENDPOINT")))).or(of_string);
        if found.key.is_none() {
            found.key_endpoint = if key.is_none() { part("AccountEndpoint") } else { None };
            let of_string = || Some((part("AccountKey")?, format!("{prefix}_CONNECTION_STRING")));
            let Some((key, variable)) = key.map(|key| (key, format!("{prefix}_KEY"))).or_else(of_string)
            else {
                continue;
            };
            if !is_key(&key) {
                section.problem("endpoint", no_key(section, &variable));
                return None;
            }
            found.key = Some(Secret(key));
        }
    }
    Some(found)
}

/// As the driver reads a key before it signs with it: with its padding or without.
const KEY: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn is_key(text: &str) -> bool {
    !text.is_empty() && KEY.decode(text).is_ok()
}

/// That what a variable holds is no key, without a word of what it holds.
fn no_key(section: &Section, variable: &str) -> String {
    let held = match section.variable(variable) {
        Some(_) => format!("environment {variable} holds"),
        None => format!("the file that environment {variable}_FILE names holds"),
    };
    let part = if variable.ends_with("_STRING") { "an AccountKey" } else { "a key" };
    format!("{held} {part} that is no base64; copy the whole key anew, with the = signs at its end")
}

/// A variable, or the content of the file that its twin names. `None`: that file cannot be read, which has been noted.
fn variable(section: &mut Section, name: &str) -> Option<Option<String>> {
    if let Some(value) = section.variable(name) {
        return Some(Some(value));
    }
    let twin = format!("{name}_FILE");
    let Some(path) = section.variable(&twin) else { return Some(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(Some(text.trim().to_owned())),
        Err(cause) => {
            // Whoever puts the key itself here finds no file of that name, and shall not find the key in a log.
            section.problem(
                "endpoint",
                format!("environment {twin} must name a file, and what it names cannot be read: {cause}"),
            );
            None
        }
    }
}

/// Whether the text may hold a key or a password, put where an address belongs: such a text is never shown.
pub(super) fn may_hold_secret(text: &str) -> bool {
    text.contains([';', '=', '@'])
}

/// The address that is meant: an account's bare name, a host, or an address.
fn address(named: &str) -> Result<String, String> {
    let is_local = |host: &str| {
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        host == "localhost" || host == "[::1]" || host.starts_with("127.")
    };
    let (scheme, rest) = named.split_once("://").map_or((None, named), |(scheme, rest)| (Some(scheme), rest));
    let host = rest.trim_end_matches('/');
    if may_hold_secret(named) {
        return Err(
            "is no address; a connection string belongs in COSMOS_CONNECTION_STRING, a key in COSMOS_KEY"
                .to_owned(),
        );
    }
    if host.is_empty() || host.contains(['/', '?', '#']) || host.contains(char::is_whitespace) {
        return Err(format!(
            "is {named:?}; must be an account's name, or an address such as https://NAME.documents.azure.com"
        ));
    }
    match scheme {
        Some("https") => Ok(format!("https://{host}/")),
        Some("http") if is_local(host) => Ok(format!("http://{host}/")),
        None if is_local(host) => Ok(format!("http://{host}/")),
        None if host.contains(['.', ':']) => Ok(format!("https://{host}/")),
        None => Ok(format!("https://{host}.documents.azure.com/")),
        Some("http") => {
            Err(format!("is {named:?}; a key may not cross a network without encryption, so use https"))
        }
        Some(_) => Err(format!("is {named:?}; must begin with https://")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::{Origin, Variables};
    use std::collections::BTreeMap;

    fn account(named: Option<&str>, role: Role, variables: &[(&str, &str)]) -> Result<Account, String> {
        account_by(named, false, role, variables)
    }

    fn account_by(
        named: Option<&str>,
        is_flag: bool,
        role: Role,
        variables: &[(&str, &str)],
    ) -> Result<Account, String> {
        let map: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let variables = Variables::new(move |name| map.get(name).cloned());
        let mut section = Section::new("target", Origin::BuiltIn, Vec::new()).with_variables(variables);
        let named = named.map(|text| Named { text, is_flag });
        let account = read(&mut section, role, named);
        let problems: Vec<String> = section.finish().1.iter().map(ToString::to_string).collect();
        account.ok_or_else(|| problems.join("; "))
    }

    fn remote(endpoint: &str, key: Option<&str>) -> Account {
        Account::Remote { endpoint: endpoint.to_owned(), key: key.map(Secret::new) }
    }

    #[test]
    fn an_account_has_many_spellings() {
        let named = |named| account(Some(named), Role::Target, &[]).unwrap();
        assert_eq!(named("mine"), remote("https://mine.documents.azure.com/", None));
        assert_eq!(named("https://mine.documents.azure.com:443/").name(), "mine.documents.azure.com");
        assert_eq!(named("Mine.documents.azure.com").name(), named("mine").name());
        assert_eq!(named("127.0.0.1:8081"), remote("http://127.0.0.1:8081/", None));
        assert_eq!(named("http://localhost:8081"), remote("http://localhost:8081/", None));
        assert_eq!(named("emulator"), Account::Local);
        for wrong in ["http://mine.documents.azure.com", "ftp://a", "https://", "https://user@host", "a b"] {
            assert!(account(Some(wrong), Role::Target, &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_environment_fills_what_the_settings_leave_out() {
        let string = "AccountEndpoint=https://c.documents.azure.com:443/;AccountKey=a2V5PQ==;";
        let found = account(None, Role::Source, &[("COSMOS_CONNECTION_STRING", string)]).unwrap();
        assert_eq!(found, remote("https://c.documents.azure.com:443/", Some("a2V5PQ==")));
        let both = [
            ("COSMOS_KEY", "a2V5"),
            ("TARGET_COSMOS_KEY", "dGFyZ2V0"),
            ("AZURE_COSMOS_ENDPOINT", "https://a.b"),
        ];
        assert_eq!(account(None, Role::Target, &both).unwrap(), remote("https://a.b/", Some("dGFyZ2V0")));
        let string = [("COSMOS_CONNECTION_STRING", string)];
        let other = account_by(Some("mine"), true, Role::Source, &string).unwrap_err();
        assert_eq!(
            other,
            "target.endpoint: is mine.documents.azure.com, but the connection string is of c.documents.azure.com"
        );
        assert!(
            account(None, Role::Target, &[])
                .unwrap_err()
                .contains("is missing; name the account here or in COSMOS_ENDPOINT")
        );
    }

    #[test]
    fn a_strategy_and_a_variable_must_name_the_same_account() {
        let variables = [("COSMOS_ENDPOINT", "https://prod.documents.azure.com:443"), ("COSMOS_KEY", "a2V5")];
        let refused = account(Some("mine"), Role::Target, &variables).unwrap_err();
        assert_eq!(
            refused,
            "target.endpoint: is mine.documents.azure.com, but environment COSMOS_ENDPOINT names prod.documents.azure.com; unset the variable, or correct one of the two"
        );
        assert!(account(Some("Prod"), Role::Target, &variables).is_ok(), "spelled in another way");
        let of_flag = account_by(Some("mine"), true, Role::Target, &variables).unwrap();
        assert_eq!(of_flag, remote("https://mine.documents.azure.com/", Some("a2V5")), "a flag wins");
        assert_eq!(account(Some("emulator"), Role::Target, &variables).unwrap(), Account::Local);
        let own = [("TARGET_COSMOS_ENDPOINT", "mine"), variables[0], variables[1]];
        assert!(account(Some("mine"), Role::Target, &own).is_ok(), "the variable of this end counts");
        assert!(account(Some("mine"), Role::Source, &own).is_err(), "and not for the other end");
        let wrong = account(None, Role::Target, &[("COSMOS_ENDPOINT", "ftp://a")]).unwrap_err();
        assert_eq!(
            wrong,
            "target.endpoint: environment COSMOS_ENDPOINT is \"ftp://a\"; must begin with https://"
        );
    }

    #[test]
    fn this_machine_has_one_name() {
        let name = |endpoint: &str| account(Some(endpoint), Role::Target, &[]).unwrap().name();
        assert_eq!(name("localhost:8081"), "127.0.0.1:8081");
        assert_eq!(name("http://[::1]:8081"), "127.0.0.1:8081");
        assert_eq!(name("localhosts.example.org"), "localhosts.example.org");
        assert!(account(Some("emulator"), Role::Target, &[]).unwrap().is_on_this_machine());
        assert!(account(Some("LOCALHOST:1"), Role::Target, &[]).unwrap().is_on_this_machine());
        assert!(!account(Some("mine"), Role::Target, &[]).unwrap().is_on_this_machine());
    }

    #[test]
    fn a_key_may_stand_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a2V5PQ==\n").unwrap();
        let path = file.path().to_str().unwrap();
        let found = account(Some("mine"), Role::Target, &[("COSMOS_KEY_FILE", path)]).unwrap();
        assert_eq!(found, remote("https://mine.documents.azure.com/", Some("a2V5PQ==")));
        let missing = account(Some("mine"), Role::Target, &[("COSMOS_KEY_FILE", "/no/such")]).unwrap_err();
        assert!(missing.contains("environment COSMOS_KEY_FILE must name a file"), "{missing}");
    }

    #[test]
    fn what_is_no_key_is_said_and_not_shown() {
        let refused = |variable: &str, value: &str| {
            let said = account(Some("mine"), Role::Target, &[(variable, value)]).unwrap_err();
            assert!(!said.contains("secret"), "{said}");
            said.strip_suffix(" that is no base64; copy the whole key anew, with the = signs at its end")
                .unwrap_or_else(|| panic!("{said}"))
                .to_owned()
        };
        for secret in ["secret!", "secret-secret_", "secret==secret", "secre"] {
            assert_eq!(refused("COSMOS_KEY", secret), "target.endpoint: environment COSMOS_KEY holds a key");
        }
        let string = "AccountEndpoint=https://mine.documents.azure.com/;AccountKey=secret!";
        assert_eq!(
            refused("AZURE_COSMOS_CONNECTION_STRING", string),
            "target.endpoint: environment AZURE_COSMOS_CONNECTION_STRING holds an AccountKey"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret!\n").unwrap();
        assert_eq!(
            refused("TARGET_COSMOS_KEY_FILE", file.path().to_str().unwrap()),
            "target.endpoint: the file that environment TARGET_COSMOS_KEY_FILE names holds a key"
        );
        // What no one signs with is not looked at, and what the driver takes is taken.
        let both = [("COSMOS_KEY", "secret!"), ("TARGET_COSMOS_KEY", "a2V5PQ")];
        assert!(account(Some("mine"), Role::Target, &both).is_ok());
        assert!(account(Some("emulator"), Role::Target, &both).is_ok());
    }

    #[test]
    fn what_may_be_a_secret_is_not_quoted() {
        let refused = |variable: &str, value: &str| {
            let refused = account(None, Role::Target, &[(variable, value)]).unwrap_err();
            assert!(!refused.contains("secret"), "{refused}");
            refused
        };
        for value in [
            "AccountEndpoint=https://mine.documents.azure.com:443/;AccountKey=secret==;",
            "https://user:secret@mine.documents.azure.com",
            "c2VjcmV0secret/==",
        ] {
            assert_eq!(
                refused("COSMOS_ENDPOINT", value),
                "target.endpoint: environment COSMOS_ENDPOINT is no address; a connection string belongs in COSMOS_CONNECTION_STRING, a key in COSMOS_KEY"
            );
            let named = account(Some(value), Role::Target, &[]).unwrap_err();
            assert!(named.contains("is no address") && !named.contains("secret"), "{named}");
        }
        let string = "AccountEndpoint=https://user:secret@a/;AccountKey=secrets0";
        refused("COSMOS_CONNECTION_STRING", string);
        for value in ["c2VjcmV0secret/==", string, &"secret".repeat(1000), "secret\0"] {
            for variable in
                ["COSMOS_KEY_FILE", "TARGET_COSMOS_CONNECTION_STRING_FILE", "COSMOS_ENDPOINT_FILE"]
            {
                let message = refused(variable, value);
                assert!(message.contains(&format!("environment {variable} must name a file")), "{message}");
            }
        }
        let other = account(Some("mine"), Role::Target, &[("COSMOS_CONNECTION_STRING", string)]).unwrap_err();
        assert!(other.contains("is no address") && !other.contains("secret"), "{other}");
    }

    #[test]
    fn a_key_is_never_printed() {
        let printed = format!("{:?}", remote("https://a/", Some("secret")));
        assert!(printed.contains("***") && !printed.contains("secret"), "{printed}");
    }
}
