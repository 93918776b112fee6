//! The language of filters: comparisons of fields with constants and with each other.
//!
//! ```text
//! any        = all { "or" all }
//! all        = not { "and" not }
//! not        = "not" not | comparison
//! comparison = operand [ ("==" | "!=" | "<" | "<=" | ">" | ">=") operand | "in" "[" constant { "," constant } "]" ]
//!            | ("exists" | "contains" | "starts_with" | "ends_with") "(" operand { "," operand } ")" | "(" any ")"
//! operand    = field | `field` | "text" | 'text' | number | true | false | null
//! ```
//!
//! A missing field is null. Numbers compare by value, as the decimals that they are, texts by character. Lists and objects are equal where
//! their texts are, white space between tokens aside. Values of different kinds are unequal, and neither is less than the other. An
//! operand alone must be true.

use crate::model::json::{self, Index, compare_numbers, compare_strings, scalar_text};
use crate::transform::draft::Draft;
use crate::transform::names::{NameId, Names};
use std::borrow::Cow;
use std::cmp::Ordering;

/// A compiled filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    Compare(Operand, Comparison, Operand),
    In(Operand, Vec<Operand>),
    Exists(NameId),
    Text(TextTest, Operand, Operand),
    IsTrue(Operand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextTest {
    Contains,
    StartsWith,
    EndsWith,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    Field(NameId),
    /// JSON text.
    Constant(Vec<u8>),
}

impl Expression {
    /// Compiles `text`; the error shows the place with a caret.
    pub(crate) fn compile(text: &str, names: &mut Names) -> Result<Expression, String> {
        let mut parser = Parser { text, at: 0, names };
        parser
            .any()
            .and_then(|expression| {
                parser.spaces();
                match parser.at == text.len() {
                    true => Ok(expression),
                    false => Err("expected and, or, or the end"),
                }
            })
            .map_err(|reason| {
                let column = text[..parser.at].chars().count();
                format!("{reason}\n    {text}\n    {:column$}^", "")
            })
    }

    /// Whether the document passes.
    pub(crate) fn holds(&self, draft: &Draft<'_>) -> bool {
        match self {
            Expression::Or(any) => any.iter().any(|one| one.holds(draft)),
            Expression::And(all) => all.iter().all(|one| one.holds(draft)),
            Expression::Not(inner) => !inner.holds(draft),
            Expression::Compare(left, how, right) => compare(left.text(draft), *how, right.text(draft)),
            Expression::In(left, list) => {
                let left = left.text(draft);
                list.iter().any(|one| compare(left, Comparison::Equal, one.text(draft)))
            }
            Expression::Exists(name) => draft.value(*name).is_some(),
            Expression::Text(test, left, right) => match (text(left.text(draft)), text(right.text(draft))) {
                (Some(left), Some(right)) => match test {
                    TextTest::Contains => left.contains(&*right),
                    TextTest::StartsWith => left.starts_with(&*right),
                    TextTest::EndsWith => left.ends_with(&*right),
                },
                _ => false,
            },
            Expression::IsTrue(operand) => operand.text(draft) == b"true",
        }
    }
}

impl Operand {
    fn text<'t>(&'t self, draft: &'t Draft<'_>) -> &'t [u8] {
        match self {
            Operand::Constant(text) => text,
            Operand::Field(name) => draft.value(*name).unwrap_or(b"null"),
        }
    }
}

/// The characters of a JSON string; nothing for any other kind of value.
fn text(json: &[u8]) -> Option<Cow<'_, str>> {
    json.starts_with(b"\"").then(|| scalar_text(json))
}

fn compare(left: &[u8], how: Comparison, right: &[u8]) -> bool {
    let order = order(left, right);
    match how {
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::Unequal => order != Some(Ordering::Equal),
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

/// How two values stand to each other; nothing where they do not compare.
fn order(left: &[u8], right: &[u8]) -> Option<Ordering> {
    match (left.first()?, right.first()?) {
        (b'"', b'"') => Some(compare_strings(&left[1..left.len() - 1], &right[1..right.len() - 1])),
        (b'-' | b'0'..=b'9', b'-' | b'0'..=b'9') => Some(compare_numbers(left, right)),
        (b'[', b'[') | (b'{', b'{') => {
            (left == right || compacted(left) == compacted(right)).then_some(Ordering::Equal)
        }
        (a, b) if a == b && left == right => Some(Ordering::Equal),
        _ => None,
    }
}

/// The text of a value without the white space between its tokens.
fn compacted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    json::compact(text, &mut out);
    out
}

struct Parser<'t, 'n> {
    text: &'t str,
    at: usize,
    names: &'n mut Names,
}

type Parsed<T> = Result<T, &'static str>;

impl Parser<'_, '_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Passes over `symbol` if it stands next.
    fn symbol(&mut self, symbol: &str) -> bool {
        self.spaces();
        let found = self.rest().starts_with(symbol);
        self.at += if found { symbol.len() } else { 0 };
        found
    }

    /// Passes over the word `word` if it stands next, and alone.
    fn word(&mut self, word: &str) -> bool {
        self.spaces();
        let found = self.name() == Some(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// The name that stands next.
    fn name(&self) -> Option<&str> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
        (end > 0 && !rest.starts_with(|c: char| c.is_ascii_digit())).then(|| &rest[..end])
    }

    fn any(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Or(parts) })
    }

    fn all(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.not()?];
        while self.word("and") {
            parts.push(self.not()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::And(parts) })
    }

    fn not(&mut self) -> Parsed<Expression> {
        match self.word("not") {
            true => Ok(Expression::Not(Box::new(self.not()?))),
            false => self.comparison(),
        }
    }

    fn comparison(&mut self) -> Parsed<Expression> {
        if self.symbol("(") {
            let inner = self.any()?;
            return if self.symbol(")") { Ok(inner) } else { Err("expected )") };
        }
        if let Some(call) = self.call()? {
            return Ok(call);
        }
        let left = self.operand()?;
        let comparisons = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        for (symbol, comparison) in comparisons {
            if self.symbol(symbol) {
                return Ok(Expression::Compare(left, comparison, self.operand()?));
            }
        }
        if self.word("in") {
            return Ok(Expression::In(left, self.list()?));
        }
        if self.symbol("=") {
            self.at -= 1;
            return Err("= does not compare; write ==");
        }
        Ok(Expression::IsTrue(left))
    }

    fn list(&mut self) -> Parsed<Vec<Operand>> {
        if !self.symbol("[") {
            return Err("expected [");
        }
        let mut list = Vec::new();
        while !self.symbol("]") {
            if !list.is_empty() && !self.symbol(",") {
                return Err("expected , or ]");
            }
            list.push(self.operand()?);
        }
        Ok(list)
    }

    fn call(&mut self) -> Parsed<Option<Expression>> {
        self.spaces();
        let functions = ["exists", "contains", "starts_with", "ends_with"];
        let Some(function) = functions.into_iter().find(|function| {
            self.name() == Some(function) && self.rest()[function.len()..].trim_start().starts_with('(')
        }) else {
            return Ok(None);
        };
        self.at += function.len();
        self.symbol("(");
        let first = self.operand()?;
        let call = if function == "exists" {
            match first {
                Operand::Field(name) => Expression::Exists(name),
                Operand::Constant(_) => return Err("exists takes a field"),
            }
        } else {
            if !self.symbol(",") {
                return Err("expected ,");
            }
            let test = match function {
                "contains" => TextTest::Contains,
                "starts_with" => TextTest::StartsWith,
                _ => TextTest::EndsWith,
            };
            Expression::Text(test, first, self.operand()?)
        };
        if self.symbol(")") { Ok(Some(call)) } else { Err("expected )") }
    }

    fn operand(&mut self) -> Parsed<Operand> {
        self.spaces();
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'' | '`')) => self.quoted(quote),
            Some(c) if c == '-' || c.is_ascii_digit() => self.number(),
            _ => {
                let Some(name) = self.name().map(str::to_owned) else {
                    return Err("expected a field, a text or a number");
                };
                if ["and", "or", "not", "in"].contains(&name.as_str()) {
                    return Err("expected a field, a text or a number");
                }
                self.at += name.len();
                Ok(match name.as_str() {
                    "true" | "false" | "null" => Operand::Constant(name.into_bytes()),
                    _ => Operand::Field(self.names.intern(&name)),
                })
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Parsed<Operand> {
        let mut characters = String::new();
        let mut chars = self.rest()[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, 'n')) => characters.push('\n'),
                    Some((_, 't')) => characters.push('\t'),
                    Some((_, other)) => characters.push(other),
                    None => break,
                },
                _ if c == quote => {
                    self.at += at + 2;
                    return Ok(if quote == '`' {
                        Operand::Field(self.names.intern(&characters))
                    } else {
                        let mut text = Vec::new();
                        json::write_string(&mut text, &characters);
                        Operand::Constant(text)
                    });
                }
                _ => characters.push(c),
            }
        }
        Err("this quote is not closed")
    }

    fn number(&mut self) -> Parsed<Operand> {
        let rest = self.rest();
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).unwrap_or(rest.len());
        let text = &rest[..end];
        // Asked in the words of a document, so that a constant may be whatever a field may be.
        if json::index(format!("{{\"n\":{text}}}").as_bytes(), &mut Index::default()).is_err() {
            return Err("this is not a number");
        }
        let constant = Operand::Constant(text.as_bytes().to_vec());
        self.at += end;
        Ok(constant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json::index;
    use crate::transform::draft::DraftMemory;

    fn holds(filter: &str, document: &str) -> bool {
        let mut names = Names::default();
        let expression = Expression::compile(filter, &mut names).unwrap_or_else(|error| panic!("{error}"));
        let (mut found, mut memory) = (Index::default(), DraftMemory::default());
        index(document.as_bytes(), &mut found).unwrap();
        expression.holds(&Draft::begin(document.as_bytes(), &found, &names, &mut memory))
    }

    #[test]
    fn compares_by_value_and_kind() {
        let document = r#"{"status":"open","n":10,"big":9007199254740993,"x":1.50,"ok":true,"nil":null,"US Gross":5,"é":"\u00e9"}"#;
        for filter in [
            "status == 'open'",
            "status != \"closed\"",
            "n > 9.5 and n < 11",
            "n >= 10",
            "x == 1.5",
            "ok",
            "not nil",
            "big != 9007199254740992",
            "missing == null",
            "nil == null",
            "`US Gross` <= 5",
            "status in ['shut', 'open']",
            "exists(nil) and not exists(missing)",
            "contains(status, 'pe')",
            "starts_with(status,'op')",
            "é == 'é'",
            "(n == 1 or n == 10) and ok == true",
            "n != '10'",
            "not (n < '9') and not (n > '9')",
            "ends_with(status, \"en\")",
        ] {
            assert!(holds(filter, document), "{filter}");
            assert!(!holds(&format!("not ({filter})"), document), "not {filter}");
        }
    }

    #[test]
    fn what_is_not_equal_in_the_text_is_not_equal() {
        let document = r#"{"a":123456789012345678901234567890123456789012,"b":123456789012345678901234567890123456789013,
            "c":1e400,"d":1e500,"e":9007199254740992,"f":9007199254740993.0,"g":"\ud800","h":"\ud801",
            "i":[1, {"x" : 2}],"j":[1,{"x":2 }],"k":[1.0,{"x":2}],"l":"\u0061"}"#;
        for filter in [
            "a < b and a != b",
            "c < d and c == 1e400 and d > 1.5E+499",
            "e < f and f == 9007199254740993",
            "g != h and g == g and g < h",
            "i == j and i != k and not (i < j)",
            "l == 'a' and l in ['b', 'a']",
        ] {
            assert!(holds(filter, document), "{filter}");
        }
    }

    #[test]
    fn an_error_points_at_its_place() {
        let fail = |filter: &str| Expression::compile(filter, &mut Names::default()).unwrap_err();
        assert_eq!(
            fail("status != "),
            "expected a field, a text or a number\n    status != \n              ^"
        );
        assert_eq!(fail("a = 1"), "= does not compare; write ==\n    a = 1\n      ^");
        assert_eq!(fail("(a == 1"), "expected )\n    (a == 1\n           ^");
        assert_eq!(fail("é == 'x"), "this quote is not closed\n    é == 'x\n         ^");
        assert_eq!(fail("a == 1 b"), "expected and, or, or the end\n    a == 1 b\n           ^");
        assert_eq!(fail("a == 01"), "this is not a number\n    a == 01\n         ^");
    }
}
