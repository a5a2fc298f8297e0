//! What CEL does with a JSON value.

use std::any::Any;
use std::sync::OnceLock;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator as CelIterator, Sizer};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelNull, CelString, CelUInt, LIST_TYPE, MAP_TYPE, Type,
};
use cel::common::value::{CowVal, StaticVal, Val};

use super::super::fuel;
use super::{BYTES_PER_WALKED, Json, Kind, WALKED_PER_UNIT};

static NULL: CelNull = CelNull;
static TRUE: CelBool = CelBool::TRUE;
static FALSE: CelBool = CelBool::FALSE;

impl Json {
    /// The value as CEL takes it.
    pub fn value(&self) -> CowVal<'static, 'static> {
        match self.kind() {
            Kind::Null => CowVal::Borrowed(&NULL),
            Kind::Bool => CowVal::Borrowed(if self.text() == b"true" { &TRUE } else { &FALSE }),
            Kind::Number => number(self.text()),
            Kind::Text => CowVal::owned(CelString::from(self.characters().into_owned())),
            Kind::List => CowVal::owned(JsonList { json: self.clone(), lent: OnceLock::new() }),
            Kind::Map => CowVal::owned(JsonMap { json: self.clone(), lent: OnceLock::new() }),
        }
    }

    /// The same, paid for.
    pub(crate) fn taken(&self) -> Result<CowVal<'static, 'static>, ExecutionError> {
        fuel::take_text(self.text_len())?;
        Ok(self.value())
    }

    fn text_len(&self) -> usize {
        if self.kind() == Kind::Text { self.text().len() } else { 0 }
    }

    fn equals(&self, other: &dyn Val) -> bool {
        fuel::take_text(self.text_len()).is_ok() && self.value().equals(other)
    }

    /// Takes what walking over all members or elements costs: names are read and sorted.
    fn pay_for_walk(&self) -> bool {
        let nodes = u64::from(self.node().next - self.place);
        fuel::take(if self.kind() == Kind::Map { nodes } else { nodes / WALKED_PER_UNIT as u64 })
    }

    /// Takes what walking over an object's names costs, whatever its members hold.
    pub(crate) fn pay_for_names(&self) -> bool {
        let cost = |(name, _)| 2 + self.written(name).len() / BYTES_PER_WALKED;
        fuel::take(self.member_places().map(cost).sum::<usize>() as u64)
    }
}

/// A whole number is an `int`, above its range a `uint`; any other a `double`.
fn number(text: &[u8]) -> CowVal<'static, 'static> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    if let Ok(value) = text.parse::<i64>() {
        return CowVal::owned(CelInt::from(value));
    }
    match text.parse::<u64>() {
        Ok(value) => CowVal::owned(CelUInt::from(value)),
        Err(_) => CowVal::owned(CelDouble::from(text.parse::<f64>().unwrap_or(f64::NAN))),
    }
}

/// Values that are lent to the evaluator one after the other: made when the first of a block is asked for, and kept,
/// because what is lent must stand still.
#[derive(Debug)]
struct Block {
    values: Vec<Box<dyn Val>>,
    /// The element behind the last of these.
    following: Option<u32>,
    next: OnceLock<Option<Box<Block>>>,
}

/// The values of the first block; each further one is twice as long.
const FIRST_BLOCK: usize = 8;

/// A JSON array.
#[derive(Debug)]
pub(crate) struct JsonList {
    json: Json,
    lent: OnceLock<Option<Box<Block>>>,
}

/// A JSON object.
#[derive(Debug)]
pub(crate) struct JsonMap {
    json: Json,
    lent: OnceLock<Vec<Box<dyn Val>>>,
}

impl JsonList {
    /// The array as it stands in its document.
    pub(crate) fn json(&self) -> &Json {
        &self.json
    }
}

impl JsonMap {
    /// The object as it stands in its document.
    pub(crate) fn json(&self) -> &Json {
        &self.json
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
        let mut own = self.json.elements();
        if let Some(other) = other.downcast_ref::<Self>() {
            let mut other = other.json.elements();
            return all_equal(&mut own, || other.next().map(|element| element.value()));
        }
        other.downcast_ref::<CelList<'_>>().is_some_and(|other| {
            let mut other = other.inner().iter();
            all_equal(&mut own, || other.next().map(|element| CowVal::Borrowed(element.as_ref())))
        })
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(Self { json: self.json.clone(), lent: OnceLock::new() })
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

/// Whether two lists hold the same, looking no further than the first difference.
fn all_equal<'b, 'v: 'b>(
    own: &mut impl Iterator<Item = Json>,
    mut other: impl FnMut() -> Option<CowVal<'b, 'v>>,
) -> bool {
    loop {
        match (own.next(), other()) {
            (Some(own), Some(other)) if own.equals(other.as_ref()) => {}
            (own, other) => return own.is_none() && other.is_none(),
        }
    }
}

impl Container for JsonList {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        for element in self.json.elements() {
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
        let element = place.and_then(|place| self.json.element(place));
        let missing =
            || ExecutionError::IndexOutOfBounds(cel::Value::try_from(index).unwrap_or(cel::Value::Null));
        element.ok_or_else(missing)?.taken()
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        self.get(index).map(CowVal::into_owned)
    }
}

impl Sizer for JsonList {
    fn size(&self) -> CelInt {
        size(&self.json)
    }
}

fn size(json: &Json) -> CelInt {
    let size = if json.pay_for_walk() { json.len() } else { 0 };
    i64::try_from(size).unwrap_or(i64::MAX).into()
}

impl Iterable for JsonList {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        let next = self.json.element_places().next();
        Box::new(Elements { block: &self.lent, length: FIRST_BLOCK, index: 0, json: &self.json, next })
    }
}

/// Lends out elements as long as they can be paid for; an evaluation that ends early for that counts as erring.
struct Elements<'b> {
    block: &'b OnceLock<Option<Box<Block>>>,
    length: usize,
    index: usize,
    json: &'b Json,
    /// The element at which the next block begins.
    next: Option<u32>,
}

impl<'b, 'v> CelIterator<'b, 'v> for Elements<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        let (json, first, length) = (self.json, self.next, self.length);
        let block = self.block.get_or_init(|| {
            let mut places = json.places_from(first?).take(length + 1);
            let values =
                places.by_ref().take(length).map(|place| json.at(place).value().into_owned()).collect();
            Some(Box::new(Block { values, following: places.next(), next: OnceLock::new() }))
        });
        let block = block.as_deref()?;
        let Some(value) = block.values.get(self.index) else {
            self.block = &block.next;
            self.next = block.following;
            self.length *= 2;
            self.index = 0;
            return self.next();
        };
        self.index += 1;
        lend(value.as_ref())
    }
}

fn lend<'b, 'v>(value: &'b (dyn Val + 'static)) -> Option<&'b (dyn Val + 'v)> {
    let text = value.downcast_ref::<CelString<'_>>().map_or(0, |text| text.inner().len());
    if fuel::take_element(text) { Some(value) } else { None }
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
        let (other, count) = if let Some(other) = other.downcast_ref::<Self>() {
            (other as &dyn Indexer, if other.json.pay_for_walk() { other.json.len() } else { 0 })
        } else if let Some(other) = other.downcast_ref::<CelMap<'_>>() {
            (other as &dyn Indexer, other.inner().len())
        } else {
            return false;
        };
        self.json.pay_for_walk()
            && self.json.len() == count
            && self.json.members().all(|(name, value)| {
                fuel::take_text(name.text().len()).is_ok()
                    && other.get(&*name.value()).is_ok_and(|other| value.equals(other.as_ref()))
            })
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(Self { json: self.json.clone(), lent: OnceLock::new() })
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl JsonMap {
    fn find(&self, key: &dyn Val) -> Option<Json> {
        self.json.member(key.downcast_ref::<CelString<'_>>()?.inner())
    }
}

impl Container for JsonMap {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.find(key).is_some())
    }
}

impl Indexer for JsonMap {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError> {
        let missing = || {
            let name = key.downcast_ref::<CelString<'_>>().map_or("member", |name| name.inner());
            ExecutionError::no_such_key(name)
        };
        self.find(key).ok_or_else(missing)?.taken()
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        self.get(key).map(CowVal::into_owned)
    }
}

impl Sizer for JsonMap {
    fn size(&self) -> CelInt {
        size(&self.json)
    }
}

impl Iterable for JsonMap {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        let names = self.lent.get_or_init(|| {
            let paid = self.json.pay_for_walk();
            let names = self.json.members().filter(|_| paid);
            names.map(|(name, _)| name.value().into_owned()).collect()
        });
        Box::new(Names(names.iter()))
    }
}

struct Names<'b>(std::slice::Iter<'b, Box<dyn Val>>);

impl<'b, 'v> CelIterator<'b, 'v> for Names<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        lend(self.0.next()?.as_ref())
    }
}
