//! Holds every answer and frame to the OpenAPI document that the node serves.
//!
//! Schemas are made strict before use: an object that lists properties may have no others. So a field that
//! the document does not know is a fault, as one of the wrong type is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail, ensure};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// The served document, with its schemas compiled when first used.
pub struct OpenApi {
    document: Value,
    strict: Value,
    compiled: Mutex<BTreeMap<String, std::sync::Arc<Validator>>>,
}

impl fmt::Debug for OpenApi {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OpenApi").finish_non_exhaustive()
    }
}

impl OpenApi {
    /// Takes a document and makes its schemas strict.
    ///
    /// # Errors
    /// Fails where it is no OpenAPI 3.1 document.
    pub fn new(document: Value) -> Result<Self> {
        let version = document["openapi"].as_str().unwrap_or("none");
        ensure!(version.starts_with("3.1"), "OpenAPI {version}, not 3.1");
        ensure!(document["paths"].is_object(), "the document has no paths");
        let strict = strict_components(&document);
        Ok(Self { document, strict, compiled: Mutex::new(BTreeMap::new()) })
    }

    /// The document itself.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Holds an answer to the document: route, status, content type and body must be declared.
    ///
    /// # Errors
    /// Fails with what is not declared or does not match.
    pub fn check_answer(&self, method: &str, path: &str, status: u16, kind: &str, body: &[u8]) -> Result<()> {
        let what = format!("{method} {path} → {status}");
        let (template, item) = self.route(path).with_context(|| format!("{what}: route not declared"))?;
        let operation = &item[method.to_ascii_lowercase()];
        ensure!(operation.is_object(), "{what}: method not declared for {template}");
        let pointer = status.to_string();
        let answer = self.resolve(&operation["responses"][&pointer]);
        ensure!(answer.is_object(), "{what}: status not declared");
        let declared = answer["content"].as_object().cloned().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or("").trim();
        if declared.is_empty() {
            ensure!(body.is_empty() || status == 426, "{what}: a body, but no content declared");
            return Ok(());
        }
        let media =
            declared.get(kind).with_context(|| format!("{what}: content type {kind:?} not declared"))?;
        if kind.ends_with("json") && media["schema"].is_object() {
            let body: Value =
                serde_json::from_slice(body).with_context(|| format!("{what}: body is no JSON"))?;
            self.check(&format!("{method} {template} {status}"), &media["schema"], &body)
                .with_context(|| what.clone())?;
        }
        Ok(())
    }

    /// Holds a value to a schema among the components.
    ///
    /// # Errors
    /// Fails where the schema is missing or the value does not match it.
    pub fn check_component(&self, name: &str, value: &Value) -> Result<()> {
        ensure!(self.strict["schemas"][name].is_object(), "no component schema {name}");
        self.check(name, &json!({ "$ref": format!("#/components/schemas/{name}") }), value)
    }

    fn check(&self, key: &str, schema: &Value, value: &Value) -> Result<()> {
        let validator = self.validator(key, schema)?;
        let faults: Vec<String> = validator
            .iter_errors(value)
            .take(5)
            .map(|error| format!("at {:?}: {error}", error.instance_path().to_string()))
            .collect();
        if faults.is_empty() {
            return Ok(());
        }
        let shown: String = value.to_string().chars().take(600).collect();
        bail!("{key} does not match its schema: {}\n  {shown}", faults.join("; "))
    }

    fn validator(&self, key: &str, schema: &Value) -> Result<std::sync::Arc<Validator>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(validator) = compiled.get(key) {
            return Ok(validator.clone());
        }
        let mut root = strict(schema, &self.document);
        root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        root["components"] = self.strict.clone();
        let validator =
            jsonschema::validator_for(&root).map_err(|error| anyhow::anyhow!("{key}: {error}"))?;
        let validator = std::sync::Arc::new(validator);
        compiled.insert(key.to_owned(), validator.clone());
        Ok(validator)
    }

    /// The declared route that a path belongs to; one without parameters wins.
    fn route(&self, path: &str) -> Option<(&str, &Value)> {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let fits = |template: &str| {
            let (ours, theirs): (Vec<&str>, Vec<&str>) =
                (path.split('/').collect(), template.split('/').collect());
            ours.len() == theirs.len()
                && ours.iter().zip(&theirs).all(|(one, other)| one == other || other.starts_with('{'))
        };
        let routes = self.document["paths"].as_object()?.iter();
        let fitting = routes.filter(|(template, _)| fits(template));
        fitting
            .min_by_key(|(template, _)| template.matches('{').count())
            .map(|(name, item)| (name.as_str(), item))
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let pointer = value["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
        pointer.and_then(|pointer| self.document.pointer(pointer)).unwrap_or(value)
    }
}

/// The component schemas, each made strict.
fn strict_components(document: &Value) -> Value {
    let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    let schemas: Map<String, Value> =
        schemas.iter().map(|(name, schema)| (name.clone(), strict(schema, document))).collect();
    json!({ "schemas": schemas })
}

/// Forbids what a schema does not list; parts of an `allOf` are forbidden together, not one by one.
fn strict(schema: &Value, document: &Value) -> Value {
    let Some(object) = schema.as_object() else { return schema.clone() };
    let mut out = walk(object, &|part| strict(part, document));
    if let Some(parts) = object.get("allOf").and_then(Value::as_array) {
        out.insert("allOf".to_owned(), parts.iter().map(|part| open(part, document)).collect());
    }
    let lists = object.contains_key("properties") || object.contains_key("allOf");
    let decided = object.contains_key("additionalProperties") || object.contains_key("unevaluatedProperties");
    if lists && !decided {
        out.insert("unevaluatedProperties".to_owned(), json!(false));
    }
    Value::Object(out)
}

/// A part of an `allOf`: written out where it is a reference, and open at its own top.
fn open(schema: &Value, document: &Value) -> Value {
    let pointer = schema["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
    let target = pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema);
    let Some(object) = target.as_object() else { return target.clone() };
    let mut out = walk(object, &|part| strict(part, document));
    for union in ["allOf", "oneOf", "anyOf"] {
        if let Some(parts) = object.get(union).and_then(Value::as_array) {
            out.insert(union.to_owned(), parts.iter().map(|part| open(part, document)).collect());
        }
    }
    Value::Object(out)
}

/// Applies a change to every schema directly inside one.
fn walk(object: &Map<String, Value>, change: &dyn Fn(&Value) -> Value) -> Map<String, Value> {
    let each = |value: &Value| match value {
        Value::Object(inner) => {
            Value::Object(inner.iter().map(|(name, part)| (name.clone(), change(part))).collect())
        }
        other => other.clone(),
    };
    let list = |value: &Value| match value {
        Value::Array(parts) => parts.iter().map(change).collect(),
        other => other.clone(),
    };
    let changed = |name: &str, value: &Value| match name {
        "properties" | "$defs" => each(value),
        "oneOf" | "anyOf" | "allOf" | "prefixItems" => list(value),
        "items" | "additionalProperties" | "not" => change(value),
        _ => value.clone(),
    };
    object.iter().map(|(name, value)| (name.clone(), changed(name, value))).collect()
}

#[cfg(test)]
mod tests;
