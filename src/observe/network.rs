//! Bytes that went over the network, as the interfaces count them: all but the loopback.
//!
//! They are those of the process's network namespace, so in a container of the container alone, and on a machine of everyone on it. A packet that passes a bridge
//! and a card counts at both.

use super::kernel;
use std::path::Path;

/// Bytes since the interfaces came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// The traffic until now.
pub(super) fn read(root: &Path) -> Option<Traffic> {
    parse(&kernel::text(&root.join("proc/self/net/dev"))?)
}

fn parse(text: &str) -> Option<Traffic> {
    let interfaces = text.lines().filter_map(|line| line.split_once(':'));
    let mut all: Option<Traffic> = None;
    for (_, counts) in interfaces.filter(|(name, _)| name.trim() != "lo") {
        let mut counts = counts.split_ascii_whitespace().map(str::parse::<u64>);
        let (received, sent) = (counts.next()?.ok()?, counts.nth(7)?.ok()?);
        let before = all.unwrap_or_default();
        all = Some(Traffic {
            received: before.received.wrapping_add(received),
            sent: before.sent.wrapping_add(sent),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::kernel::tests::tree;
    use proptest::prelude::*;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 84075184439 15475461    0    0    0     0          0         0 84075184439 15475461    0    0    0     0       0          0
  ifb0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0: 1161544292   55113    0    0    0     0          0         0  6102583   47776    0    0    0     0       0          0
eth0.7:100 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0
";

    #[test]
    fn all_interfaces_but_the_loopback_are_added_up() {
        let root = tree(&[("proc/self/net/dev", DEV)]);
        assert_eq!(read(root.path()), Some(Traffic { received: 1_161_544_392, sent: 6_102_603 }));
        assert_eq!(read(&root.path().join("nowhere")), None);
        let alone = DEV.lines().take(3).collect::<Vec<_>>().join("\n");
        assert_eq!(parse(&alone), None, "where there is only the loopback there is no network");
        assert_eq!(parse("eth0: 1 2 3"), None);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".*", line in "[a-z0-9: -]{0,60}") {
            let _ = (parse(&text), parse(&line));
        }
    }
}
