//! Who is asking: the signature of a request with the account's master key.
//!
//! A client signs `verb \n resource type \n resource link \n date \n \n` with HMAC-SHA256. Verb, type and date are in lower case, the
//! link is the path as it was before it was encoded for a URL, and keeps its case. Of a list the type is its last word and the
//! link its parent; of a single resource the link is the whole path. Of a path by resource ids only the last id is signed, in lower case.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The key that every emulator of Cosmos DB has; published, and no secret.
pub const WELL_KNOWN_KEY: &str =
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

/// Checks signatures.
#[derive(Clone)]
pub(super) struct Authority {
    key: Hmac<Sha256>,
}

impl Authority {
    /// An authority for the well-known key.
    pub(super) fn new() -> Self {
        let key = STANDARD.decode(WELL_KNOWN_KEY).unwrap_or_default();
        // HMAC takes keys of any length; there is nothing that could fail.
        let key = Hmac::new_from_slice(&key).unwrap_or_else(|_| Hmac::new(&Default::default()));
        Self { key }
    }

    /// Whether `authorization` (as the header has it) signs this request. `path` is decoded, `date` as the header has it. `by_ids` says that the
    /// path names its resources by their resource ids.
    pub(super) fn accepts(
        &self,
        authorization: &str,
        verb: &str,
        path: &str,
        date: &str,
        by_ids: bool,
    ) -> bool {
        let token = decode(authorization);
        let mut parts = token.splitn(3, '&');
        let (Some("type=master"), Some("ver=1.0"), Some(signature)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        // Some clients leave the plus of base64 as it is, and decoding made it a plus or a space.
        let signature = signature.strip_prefix("sig=").unwrap_or_default().replace(' ', "+");
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        let (kind, link) = resource(path);
        let is_signed = |link: &str| {
            let text =
                format!("{}\n{kind}\n{link}\n{}\n\n", verb.to_ascii_lowercase(), date.to_ascii_lowercase());
            self.key.clone().chain_update(text).verify_slice(&signature).is_ok()
        };
        // Offers have no names. Some clients sign their path all the same.
        let by_ids = by_ids || kind == "offers";
        is_signed(link) || by_ids && is_signed(&last_id(link))
    }
}

fn last_id(link: &str) -> String {
    link.rsplit('/').next().unwrap_or(link).to_ascii_lowercase()
}

/// The type and the link of a path: of a list its name and its parent, of one resource its parent's name and the whole path.
fn resource(path: &str) -> (&str, &str) {
    let path = path.trim_matches('/');
    let names: Vec<&str> = path.split('/').collect();
    if names.len().is_multiple_of(2) {
        return (names[names.len() - 2], path);
    }
    path.rsplit_once('/').map_or((path, ""), |(link, kind)| (kind, link))
}

/// Undoes the percent-encoding of a URL.
pub(super) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                out.push(decoded);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Microsoft's page on access control of Cosmos DB resources.
    #[test]
    fn the_documented_example_is_accepted() {
        let key = "dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw==";
        let key = Hmac::new_from_slice(&STANDARD.decode(key).unwrap()).unwrap();
        let token = "type%3dmaster%26ver%3d1.0%26sig%3dc09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu%2bc%2bc%3d";
        let date = "Thu, 27 Apr 2017 00:51:12 GMT";
        let authority = Authority { key };
        assert!(authority.accepts(token, "GET", "/dbs/ToDoList", date, false));
        assert!(!authority.accepts(token, "GET", "/dbs/todolist", date, false));
        assert!(!authority.accepts(token, "PUT", "/dbs/ToDoList", date, false));
        assert!(!authority.accepts("nonsense", "GET", "/dbs/ToDoList", date, false));
    }

    #[test]
    fn a_path_is_a_list_or_one_resource() {
        assert_eq!(resource("/"), ("", ""));
        assert_eq!(resource("/dbs"), ("dbs", ""));
        assert_eq!(resource("/dbs/a/colls"), ("colls", "dbs/a"));
        assert_eq!(resource("/dbs/a/colls/b"), ("colls", "dbs/a/colls/b"));
        assert_eq!(resource("/dbs/a/colls/b/docs"), ("docs", "dbs/a/colls/b"));
    }

    #[test]
    fn what_is_no_encoding_stays() {
        assert_eq!(decode("a%20b%2Fc%zz%e"), "a b/c%zz%e");
    }
}
