//! What an operation costs: the one place of the emulator's simple model of request units.
//!
//! Fitted to what Microsoft's pages and samples say of documents of 1 KB under the default index: read 1, create 5.5, replace or an
//! upsert over an existing document 10.3, delete 5.5; 100 KB cost ten times as much. The service charges by index terms,
//! consistency and more: figures of a real account differ, and a client must go by `x-ms-request-charge` anyway.

/// What is done, as far as the charge goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charged {
    /// A new document of these properties.
    Create {
        /// At all levels.
        properties: u32,
    },
    /// A document in the place of another.
    Replace {
        /// At all levels, of the new one.
        properties: u32,
    },
    /// A document removed; its own properties.
    Delete {
        /// At all levels.
        properties: u32,
    },
    /// A document read by its id.
    Read,
    /// A page of a query or of a feed: `bytes` are those of all documents that were looked at.
    Page,
    /// Nothing was done, because of a conflict, a precondition, or because there is no such document.
    Refused,
    /// An account, database or container was looked at or changed.
    Metadata,
}

/// The request units of an operation on `bytes` bytes of document, to two digits as the service gives them.
pub(super) fn charge(what: Charged, bytes: usize) -> f64 {
    let kib = bytes as f64 / 1024.0;
    let written = |properties: u32| 4.85 + 0.45 * kib + 0.02 * f64::from(properties);
    let units = match what {
        Charged::Create { properties } | Charged::Delete { properties } => written(properties),
        // The old index terms are taken out and the new ones put in.
        Charged::Replace { properties } => 1.87 * written(properties),
        Charged::Read => 1.0 + 0.1 * (kib - 1.0).max(0.0),
        Charged::Page => 2.3 + 0.04 * kib,
        Charged::Refused => 1.24,
        Charged::Metadata => 1.0,
    };
    (units * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_published_pages_are_met() {
        let near = |what, bytes, expected: f64| {
            let units = charge(what, bytes);
            assert!((units - expected).abs() < 0.1 * expected, "{what:?} of {bytes}: {units}");
        };
        near(Charged::Create { properties: 12 }, 1024, 5.52);
        near(Charged::Replace { properties: 12 }, 1024, 10.29);
        near(Charged::Delete { properties: 12 }, 1024, 5.52);
        near(Charged::Create { properties: 12 }, 100 * 1024, 50.0);
        near(Charged::Read, 1024, 1.0);
        near(Charged::Read, 100 * 1024, 10.0);
    }
}
