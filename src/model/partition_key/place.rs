//! The space of effective partition keys and how a key's values are hashed into it.

use super::definition::{Kind, Version};
use super::hash::{murmur_32, murmur_128};
use super::{Component, PartitionKey, PartitionKeyDefinition};
use std::cmp::Ordering;
use std::fmt;

/// A place in the space that a container's partitions divide: an ordered string of bytes, written in capital hexadecimal digits. The empty
/// one is the lowest.
#[derive(Clone)]
pub struct Epk(Held);

/// The bytes of a place: a hash lies here itself, because there is one for every document.
#[derive(Clone)]
enum Held {
    Hash([u8; 16]),
    Any(Vec<u8>),
}

/// A marker stands before each value that is hashed, so that `1`, `"1"` and `true` differ.
mod marker {
    pub(super) const UNDEFINED: u8 = 0;
    pub(super) const NULL: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const TRUE: u8 = 3;
    pub(super) const NUMBER: u8 = 5;
    pub(super) const STRING: u8 = 8;
}

/// Version 1 looks at so many UTF-16 units of a string, and keeps about as many of the bytes of those.
const V1_STRING: usize = 100;

impl Epk {
    /// A place by its bytes.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Held::Any(bytes.into()))
    }

    /// A place by its hexadecimal digits, of either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
        let pairs = text.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?));
        bytes.collect::<Option<Vec<_>>>().map(Self::from_bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Held::Hash(hash) => hash,
            Held::Any(bytes) => bytes,
        }
    }

    /// The place below which `share` (between 0 and 1) of the space lies.
    pub(super) fn at_share(definition: &PartitionKeyDefinition, share: f64) -> Self {
        if (definition.kind, definition.version) == (Kind::Hash, Version::V1) {
            let mut place = Vec::new();
            write_ordered_number((share * f64::from(u32::MAX)).floor(), &mut place);
            return Self::from_bytes(place);
        }
        let mut place = [0; 16];
        place[..8].copy_from_slice(&((share * (1u64 << 62) as f64) as u64).to_be_bytes());
        Self(Held::Hash(place))
    }

    pub(super) fn of(key: &PartitionKey<'_>, definition: &PartitionKeyDefinition) -> Self {
        let mut hashed = Vec::with_capacity(64);
        match (definition.kind, definition.version) {
            (Kind::MultiHash, _) => {
                let mut place = Vec::with_capacity(16 * key.components.len());
                for component in &key.components {
                    hashed.clear();
                    write_v2(component, &mut hashed);
                    place.extend_from_slice(&masked(&hashed));
                }
                Self::from_bytes(place)
            }
            (Kind::Hash, Version::V2) => {
                key.components.iter().for_each(|component| write_v2(component, &mut hashed));
                Self(Held::Hash(masked(&hashed)))
            }
            (Kind::Hash, Version::V1) => Self::from_bytes(v1(&key.components)),
        }
    }
}

impl fmt::Display for Epk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Epk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Default for Epk {
    fn default() -> Self {
        Self::from_bytes([])
    }
}

impl PartialEq for Epk {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Epk {}

impl PartialOrd for Epk {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Epk {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

fn write_v2(component: &Component<'_>, out: &mut Vec<u8>) {
    write_hashed(component, out, 0xff);
}

/// What is hashed of a value: its marker, of a number the eight bytes of the double, of a string its UTF-8 and an end mark.
fn write_hashed(component: &Component<'_>, out: &mut Vec<u8>, end: u8) {
    match component {
        Component::Undefined => out.push(marker::UNDEFINED),
        Component::Null => out.push(marker::NULL),
        Component::Bool(false) => out.push(marker::FALSE),
        Component::Bool(true) => out.push(marker::TRUE),
        Component::Number(number) => {
            out.push(marker::NUMBER);
            // Plus zero, because -0 and 0 are one key.
            out.extend_from_slice(&(number + 0.0).to_le_bytes());
        }
        Component::Text(text) => {
            out.push(marker::STRING);
            out.extend_from_slice(text.as_bytes());
            out.push(end);
        }
    }
}

/// The hash of 128 bits, highest byte first. The two highest bits are zero: `FF` is above every place.
fn masked(hashed: &[u8]) -> [u8; 16] {
    let (low, high) = murmur_128(hashed);
    let mut place = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    place[0] &= 0x3f;
    place
}

/// Version 1: the hash of 32 bits as a number, then the values, all in a form in which the order of bytes is the order of values.
fn v1(components: &[Component<'_>]) -> Vec<u8> {
    let components: Vec<_> = components.iter().map(shortened).collect();
    let mut hashed = Vec::with_capacity(64);
    components.iter().for_each(|component| write_hashed(component, &mut hashed, 0));
    let mut place = Vec::with_capacity(128);
    write_ordered(&Component::Number(f64::from(murmur_32(&hashed))), &mut place);
    components.iter().for_each(|component| write_ordered(component, &mut place));
    place
}

/// The cut is by UTF-16 units. One that falls between the halves of a surrogate pair leaves U+FFFD in place of the first half, because that is
/// what the service's own encoder makes of it.
fn shortened<'a>(component: &'a Component<'_>) -> Component<'a> {
    let Component::Text(text) = component else { return component.clone() };
    let mut units = 0;
    for (at, character) in text.char_indices() {
        if units == V1_STRING {
            return Component::Text(text[..at].into());
        }
        units += character.len_utf16();
        if units > V1_STRING {
            return Component::Text(format!("{}\u{fffd}", &text[..at]).into());
        }
    }
    Component::Text(text.as_ref().into())
}

fn write_ordered(component: &Component<'_>, out: &mut Vec<u8>) {
    match component {
        Component::Undefined => out.push(marker::UNDEFINED),
        Component::Null => out.push(marker::NULL),
        Component::Bool(false) => out.push(marker::FALSE),
        Component::Bool(true) => out.push(marker::TRUE),
        Component::Number(number) => write_ordered_number(*number + 0.0, out),
        Component::Text(text) => {
            out.push(marker::STRING);
            let bytes = text.as_bytes();
            let is_short = bytes.len() <= V1_STRING;
            // One more than it was, so that zero is free to be the end. What is too long even so is cut and has no end.
            let kept = if is_short { bytes.len() } else { V1_STRING + 1 };
            out.extend(bytes[..kept].iter().map(|byte| byte.wrapping_add(u8::from(*byte < 0xff))));
            if is_short {
                out.push(0);
            }
        }
    }
}

/// The double's bits, negative numbers turned over, highest first: eight of them, then seven at a time with a lowest bit that says
/// whether more follow.
fn write_ordered_number(number: f64, out: &mut Vec<u8>) {
    const SIGN: u64 = 1 << 63;
    let bits = number.to_bits();
    let mut rest = if bits & SIGN == 0 { bits ^ SIGN } else { (!bits).wrapping_add(1) };
    out.push(marker::NUMBER);
    out.push((rest >> 56) as u8);
    rest <<= 8;
    let mut held = None;
    while rest != 0 || held.is_none() {
        if let Some(byte) = held {
            out.push(byte | 1);
        }
        held = Some((rest >> 56) as u8 & 0xfe);
        rest <<= 7;
    }
    out.push(held.unwrap_or_default());
}
