//! What can go wrong, and what follows from it.
//!
//! Every failure carries a [`ErrorKind`]. One match per question turns the kind into a rule: may it be tried
//! again ([`ErrorKind::retry`]), what should the user do ([`ErrorKind::remedy`]), which code does the process
//! exit with ([`ErrorKind::exit_code`]). Call sites choose a kind and never a retry or an exit code. The remedy of a kind is general;
//! where a call site knows the very step that helps, it says that one instead ([`Error::advise`]).
//!
//! Messages are lowercase fragments without a final stop; a document's content, a key or a connection string
//! never stands in one.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// The result of everything below `cli`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure happened: the key of every rule that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The command line asks for something that does not exist or does not fit together.
    Usage,
    /// An earlier run of the job did not finish, and the user did not say what to do about it.
    Unfinished,
    /// A setting is wrong, a source is missing or unreadable, a target cannot be written, or either is not what
    /// the checkpoint says.
    Configuration,
    /// The target or the source refused who we say we are.
    Authentication,
    /// The input is damaged: truncated, or not in the format it claims. All before the damage was moved.
    InvalidInput,
    /// Documents were refused and no `--max-rejects` allows it.
    Rejects,
    /// `verify` found that source and target differ.
    Differences,
    /// The other side cannot be reached right now.
    Unavailable,
    /// The other side did not answer in time.
    Timeout,
    /// The other side said to slow down.
    Throttled,
    /// Two writers met on one document; a second try is expected to pass.
    Conflict,
    /// The lane that a request was cut for exists no more (a partition split); its documents are routed again.
    LaneClosed,
    /// The disk is full.
    StorageFull,
    /// Another run holds this job.
    Held,
    /// Reading or writing failed in a way that no other kind names.
    Io,
    /// A rule of our own code was broken.
    Internal,
}

/// Whether a failed request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Never: the same request would fail again.
    Never,
    /// After a delay that doubles from the first to the last, with jitter, at most `attempts` times.
    Backoff {
        /// Delay before the second attempt.
        first: Duration,
        /// The delay grows no further than this.
        last: Duration,
        /// Attempts in all, the first included.
        attempts: u32,
    },
    /// When the other side said so; it is not counted as an attempt.
    WhenTold,
    /// At once, after its documents have been given to the lanes that exist now.
    Reroute,
}

impl ErrorKind {
    /// May a request that failed so be sent again? The list is kept narrow: what is not known to pass later stops the run,
    /// which is resumable.
    pub fn retry(self) -> Retry {
        match self {
            // Ten attempts from 50 ms to 10 s wait about 17 s in all: longer than a fail-over of a
            // partition, shorter than a user's patience; the run then stops and can be resumed.
            ErrorKind::Unavailable | ErrorKind::Timeout => Retry::Backoff {
                first: Duration::from_millis(50),
                last: Duration::from_secs(10),
                attempts: 10,
            },
            // A write conflict is over in milliseconds.
            ErrorKind::Conflict => Retry::Backoff {
                first: Duration::from_millis(10),
                last: Duration::from_secs(1),
                attempts: 10,
            },
            ErrorKind::Throttled => Retry::WhenTold,
            ErrorKind::LaneClosed => Retry::Reroute,
            ErrorKind::Usage
            | ErrorKind::Unfinished
            | ErrorKind::Configuration
            | ErrorKind::Authentication
            | ErrorKind::InvalidInput
            | ErrorKind::Rejects
            | ErrorKind::Differences
            | ErrorKind::StorageFull
            | ErrorKind::Held
            | ErrorKind::Io
            | ErrorKind::Internal => Retry::Never,
        }
    }

    /// What generally helps, in one sentence.
    pub fn remedy(self) -> &'static str {
        match self {
            ErrorKind::Usage => "see `docferry --help`",
            ErrorKind::Unfinished => "add --resume to go on from there, or --restart to begin anew",
            ErrorKind::Configuration => {
                "correct what the message names; `docferry show` prints every setting with its origin"
            }
            ErrorKind::Authentication => "check the key or the sign-in and run again with --resume",
            ErrorKind::InvalidInput => "mend or replace the input",
            ErrorKind::Rejects => "`docferry rejects list JOB` prints them; --max-rejects allows some",
            ErrorKind::Differences => "run the migration again, or look at the documents that differ",
            ErrorKind::Unavailable | ErrorKind::Timeout => {
                "when the other side answers again, run the same command with --resume"
            }
            ErrorKind::Throttled | ErrorKind::Conflict | ErrorKind::LaneClosed => {
                "run the same command with --resume"
            }
            ErrorKind::StorageFull => "free some space and run the same command with --resume",
            ErrorKind::Held => "wait until the other run has ended, or stop it",
            ErrorKind::Io => "see the cause; if it has passed, run the same command with --resume",
            ErrorKind::Internal => {
                "this is a defect of docferry: please report it; the run can be continued with --resume"
            }
        }
    }

    /// The process's exit code, after the conventions of `sysexits.h`.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Usage | ErrorKind::Unfinished => 64,
            ErrorKind::InvalidInput | ErrorKind::Rejects | ErrorKind::Differences => 65,
            ErrorKind::Internal => 70,
            ErrorKind::Held => 73,
            ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::Throttled
            | ErrorKind::Conflict
            | ErrorKind::LaneClosed
            | ErrorKind::StorageFull
            | ErrorKind::Io => 75,
            ErrorKind::Configuration | ErrorKind::Authentication => 78,
        }
    }
}

/// A failure: its kind, what was being done, on what, and why.
///
/// Prints as one line, `operation: message (name: value, …): cause`. What to do next is not part of it ([`Error::remedy`]).
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    message: String,
    context: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
    remedy: Option<Box<str>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of `operation` (a gerund phrase such as "opening the source").
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            operation,
            message: message.into(),
            context: Vec::new(),
            retry_after: None,
            remedy: None,
            source: None,
        }
    }

    /// A failed system call. A full disk is told from the rest, because the user's next step differs.
    pub fn io(operation: &'static str, cause: std::io::Error) -> Self {
        Self::new(Self::kind_of_io(&cause), operation, "").caused_by(cause)
    }

    /// A rule of our own code that was broken.
    pub fn internal(operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, operation, message)
    }

    /// A wrong setting.
    pub fn configuration(operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Configuration, operation, message)
    }

    /// The kind that a failed system call has.
    pub fn kind_of_io(cause: &std::io::Error) -> ErrorKind {
        use std::io::ErrorKind as Io;
        match cause.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::StorageFull,
            _ => ErrorKind::Io,
        }
    }

    /// Adds a name and a value that locate the failure.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.context.push((name, value.to_string()));
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// Replaces the kind, where a caller knows more than the callee did.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets when the other side wants to see the request again.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Says what to do next, where that is more than the kind knows.
    #[must_use]
    pub fn advise(mut self, remedy: impl Into<Box<str>>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// One sentence that tells the user what to do next.
    pub fn remedy(&self) -> &str {
        self.remedy.as_deref().unwrap_or_else(|| self.kind.remedy())
    }

    /// The kind, from which every rule follows.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// When the other side wants to see the request again, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        for (i, (name, value)) in self.context.iter().enumerate() {
            write!(f, "{}{name}: {value}", if i == 0 { " (" } else { ", " })?;
        }
        if !self.context.is_empty() {
            f.write_str(")")?;
        }
        let mut cause = self.source();
        while let Some(inner) = cause {
            write!(f, ": {inner}")?;
            cause = inner.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failed_calls() {
        let full = Error::io("writing", std::io::Error::from(std::io::ErrorKind::StorageFull));
        let other = Error::io("writing", std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((full.kind(), full.kind().exit_code()), (ErrorKind::StorageFull, 75));
        assert_eq!(other.kind(), ErrorKind::Io);
    }

    #[test]
    fn prints_as_one_line_with_context_and_cause() {
        let cause = std::io::Error::other("disk on fire");
        let error = Error::io("opening the source", cause).with("path", "a.jsonl").with("attempt", 2);
        assert_eq!(error.to_string(), "opening the source (path: a.jsonl, attempt: 2): disk on fire");
    }
}
