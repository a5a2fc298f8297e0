//! A payload as CEL sees it: parsed once, shared, and walked without copies.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator as CelIterator, Sizer};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelNull, CelString, CelUInt, LIST_TYPE, MAP_TYPE, Type,
};
use cel::common::value::{CowVal, StaticVal, Val};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::fuel;

/// A JSON value. Lists and maps are shared, so that the evaluator's copies cost nothing.
#[derive(Debug)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(CelBool),
    /// A whole number.
    Int(CelInt),
    /// A whole number above `i64`.
    UInt(CelUInt),
    /// Any other number.
    Double(CelDouble),
    /// A string.
    Text(CelString<'static>),
    /// An array.
    List(JsonList),
    /// An object.
    Map(JsonMap),
}

/// A JSON array.
#[derive(Debug, Clone)]
pub struct JsonList(Arc<Vec<Json>>);

/// A JSON object: members in the order of their names, each name once.
#[derive(Debug, Clone)]
pub struct JsonMap(Arc<Vec<(CelString<'static>, Json)>>);

static NULL: CelNull = CelNull;

impl Json {
    /// Reads a payload; `None` when it is not JSON.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// The value as CEL takes it.
    pub fn value(&self) -> &(dyn Val + 'static) {
        match self {
            Self::Null => &NULL,
            Self::Bool(value) => value,
            Self::Int(value) => value,
            Self::UInt(value) => value,
            Self::Double(value) => value,
            Self::Text(value) => value,
            Self::List(value) => value,
            Self::Map(value) => value,
        }
    }

    /// The same, paid for.
    pub(crate) fn taken<'b>(&'b self) -> Result<CowVal<'b, 'static>, ExecutionError> {
        fuel::take_text(self.text_len())?;
        Ok(CowVal::Borrowed(self.value()))
    }

    fn text_len(&self) -> usize {
        if let Self::Text(text) = self { text.inner().len() } else { 0 }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or_else(|_| Json::UInt(value.into()), |value| Json::Int(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Double(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(Json::List(JsonList(Arc::new(elements))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members: Vec<(CelString<'static>, Json)> = Vec::new();
        while let Some((name, value)) = access.next_entry::<String, Json>()? {
            members.push((name.into(), value));
        }
        // Of members with the same name the last one counts, as in JSON.parse.
        members.reverse();
        members.sort_by(|a, b| a.0.inner().cmp(b.0.inner()));
        members.dedup_by(|a, b| a.0 == b.0);
        Ok(Json::Map(JsonMap(Arc::new(members))))
    }
}

impl StaticVal for JsonList {}

impl Val for JsonList {
    fn get_type(&self) -> &Type {
        &LIST_TYPE
    }

    fn cel_type() -> &'static Type {
        static LIST: Type = LIST_TYPE;
        &LIST
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)> {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)> {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let same = |a: &Json, b: &dyn Val| fuel::take_text(a.text_len()).is_ok() && a.value().equals(b);
        if let Some(other) = other.downcast_ref::<Self>() {
            return self.0.len() == other.0.len()
                && self.0.iter().zip(other.0.iter()).all(|(a, b)| same(a, b.value()));
        }
        other.downcast_ref::<CelList<'_>>().is_some_and(|other| {
            self.0.len() == other.inner().len()
                && self.0.iter().zip(other.inner()).all(|(a, b)| same(a, b.as_ref()))
        })
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl Container for JsonList {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        for element in self.0.iter() {
            fuel::take_text(element.text_len())?;
            if element.value().equals(value) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Indexer for JsonList {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError> {
        let place = if let Some(int) = index.downcast_ref::<CelInt>() {
            usize::try_from(*int.inner()).ok()
        } else if let Some(uint) = index.downcast_ref::<CelUInt>() {
            usize::try_from(*uint.inner()).ok()
        } else {
            let got = index.get_type().name().to_owned();
            return Err(ExecutionError::UnexpectedType { got, want: "int".to_owned() });
        };
        let element = place.and_then(|place| self.0.get(place));
        element.ok_or_else(|| ExecutionError::IndexOutOfBounds(cel::Value::Null))?.taken()
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        self.get(index).map(CowVal::into_owned)
    }
}

impl Sizer for JsonList {
    fn size(&self) -> CelInt {
        i64::try_from(self.0.len()).unwrap_or(i64::MAX).into()
    }
}

impl Iterable for JsonList {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Elements(self.0.iter().map(|element| (element.value(), element.text_len()))))
    }
}

/// Lends out elements as long as they can be paid for; an evaluation that ends early for that counts as erring.
struct Elements<I>(I);

impl<'b, 'v, I: Iterator<Item = (&'b (dyn Val + 'static), usize)>> CelIterator<'b, 'v> for Elements<I> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        let (value, text) = self.0.next()?;
        if fuel::take_element(text) { Some(value) } else { None }
    }
}

impl JsonMap {
    fn find(&self, key: &dyn Val) -> Option<&Json> {
        let key = key.downcast_ref::<CelString<'_>>()?;
        let place = self.0.binary_search_by(|(name, _)| name.inner().cmp(key.inner())).ok()?;
        Some(&self.0[place].1)
    }
}

impl StaticVal for JsonMap {}

impl Val for JsonMap {
    fn get_type(&self) -> &Type {
        &MAP_TYPE
    }

    fn cel_type() -> &'static Type {
        static MAP: Type = MAP_TYPE;
        &MAP
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)> {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)> {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let (other, size) = if let Some(other) = other.downcast_ref::<Self>() {
            (other as &dyn Indexer, other.0.len())
        } else if let Some(other) = other.downcast_ref::<CelMap<'_>>() {
            (other as &dyn Indexer, other.inner().len())
        } else {
            return false;
        };
        self.0.len() == size
            && self.0.iter().all(|(name, value)| {
                fuel::take_text(value.text_len()).is_ok()
                    && other.get(name).is_ok_and(|other| value.value().equals(other.as_ref()))
            })
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl Container for JsonMap {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.find(key).is_some())
    }
}

impl Indexer for JsonMap {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError> {
        self.find(key).ok_or_else(|| ExecutionError::no_such_key("member"))?.taken()
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        self.get(key).map(CowVal::into_owned)
    }
}

impl Sizer for JsonMap {
    fn size(&self) -> CelInt {
        i64::try_from(self.0.len()).unwrap_or(i64::MAX).into()
    }
}

impl Iterable for JsonMap {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Elements(self.0.iter().map(|(name, _)| (name as &dyn Val, name.inner().len()))))
    }
}
