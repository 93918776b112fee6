//! `docferry verify`: does the target hold what the source should have made of it?

use super::{GlobalFlags, dispatch};
use crate::config::asked::Asked;
use crate::config::environment::Environment;
use crate::config::resolve;
use crate::error::ErrorKind;
use crate::model::units::{Count, Counted};
use crate::model::verification::Verification;
use crate::report::json::verification;
use crate::run;
use std::io::{self, Write};

/// Compares and returns the exit code.
pub(super) fn run(
    asked: &Asked,
    global: &GlobalFlags,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let job = resolve(asked, environment)?;
    let found = dispatch::block_on(Box::pin(run::verify(job)))??;
    if global.json {
        writeln!(out, "{:#}", verification(&found))?;
    } else if !global.quiet || !found.equal {
        print(&found, out)?;
    }
    Ok(if found.equal { 0 } else { ErrorKind::Differences.exit_code() })
}

fn print(found: &Verification, out: &mut dyn Write) -> io::Result<()> {
    let content = if found.source_sum == found.target_sum { "equal" } else { "different" };
    let left_out = match (found.dropped, found.rejected) {
        (0, 0) => String::new(),
        (dropped, rejected) => format!(", after {} dropped and {} rejected", Count(dropped), Count(rejected)),
    };
    writeln!(
        out,
        "{}",
        if found.equal { "source and target are equal" } else { "source and target differ" }
    )?;
    writeln!(out, "  source        {}{left_out}", Counted(found.source_documents, "document"))?;
    writeln!(out, "  target        {}", Counted(found.target_documents, "document"))?;
    writeln!(
        out,
        "  content       {content} (sums {:032x} and {:032x})",
        found.source_sum, found.target_sum
    )?;
    for inconsistency in &found.target_inconsistent {
        writeln!(out, "  inconsistent  {inconsistency}")?;
    }
    match found.target_inconsistencies.saturating_sub(found.target_inconsistent.len() as u64) {
        0 => {}
        more => writeln!(out, "  inconsistent  and {} more", Count(more))?,
    }
    if let Some(ambiguity) = found.ambiguity() {
        writeln!(
            out,
            "  ambiguous     {ambiguity},\n                unless the source says duplicates = \"last\""
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_with_counts_and_sums() {
        let found = Verification {
            source_documents: 1_000,
            target_documents: 999,
            source_sum: 5,
            target_sum: 4,
            target_inconsistent: (0..2)
                .map(|row| format!("row {row}: id column is not the document's id"))
                .collect(),
            target_inconsistencies: 12,
            ambiguous: 2,
            equal: false,
            dropped: 3,
            rejected: 0,
        };
        let mut out = Vec::new();
        print(&found, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
    source and target differ
      source        1 000 documents, after 3 dropped and 0 rejected
      target        999 documents
      content       different (sums 00000000000000000000000000000005 and 00000000000000000000000000000004)
      inconsistent  row 0: id column is not the document's id
      inconsistent  row 1: id column is not the document's id
      inconsistent  and 10 more
      ambiguous     2 documents have an id that another partition holds with other content, and which of them the target keeps is a matter of timing,
                    unless the source says duplicates = "last"
    "#);
        assert_eq!(verification(&found)["target_sum"], "00000000000000000000000000000004");
    }
}
