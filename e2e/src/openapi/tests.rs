//! Answers that a document allows, and ones with a fault that must be found.

use super::*;

fn api() -> OpenApi {
    let json = |schema: Value| json!({ "content": { "application/json": { "schema": schema } } });
    OpenApi::new(json!({
        "openapi": "3.1.0",
        "paths": {
            "/api/v1/things/{name}": { "get": { "responses": {
                "200": json(json!({ "$ref": "#/components/schemas/Thing" })),
                "404": { "$ref": "#/components/responses/Missing" } } } },
            "/api/v1/things/all": { "get": { "responses": { "200": json(json!({
                "type": "object", "required": ["things"],
                "properties": { "things": { "type": "array", "items": { "$ref": "#/components/schemas/Thing" } } } })) } } },
            "/empty": { "delete": { "responses": { "204": {} } } },
            "/metrics": { "get": { "responses": { "200": { "content": { "text/plain": {} } } } } }
        },
        "components": {
            "responses": { "Missing": json(json!({ "$ref": "#/components/schemas/Problem" })) },
            "schemas": {
                "Problem": { "type": "object", "required": ["detail"], "properties": { "detail": { "type": "string", "minLength": 1 } } },
                "Thing": { "type": "object", "required": ["name"], "properties": {
                    "name": { "type": "string" }, "size": { "type": ["integer", "null"] }, "any": {} } },
                "ThingFrame": { "allOf": [{ "$ref": "#/components/schemas/Thing" }, { "type": "object",
                    "required": ["type"], "properties": { "type": { "const": "thing" } } }] },
                "FeedFrame": { "oneOf": [{ "$ref": "#/components/schemas/ThingFrame" }, { "$ref": "#/components/schemas/Problem" }] }
            }
        }
    }))
    .unwrap()
}

#[test]
fn it_holds_answers_to_the_document() {
    let api = api();
    for (method, path, status, kind, body, fault) in [
        (
            "GET",
            "/api/v1/things/a?x=1",
            200,
            "application/json",
            r#"{"name":"a","size":1,"any":{"x":1}}"#,
            "",
        ),
        (
            "GET",
            "/api/v1/things/a",
            200,
            "application/json; charset=utf-8",
            r#"{"name":"a","size":null}"#,
            "",
        ),
        ("GET", "/api/v1/things/a", 404, "application/json", r#"{"detail":"none"}"#, ""),
        ("GET", "/api/v1/things/all", 200, "application/json", r#"{"things":[{"name":"a"}]}"#, ""),
        ("DELETE", "/empty", 204, "", "", ""),
        ("GET", "/metrics", 200, "text/plain", "a 1", ""),
        ("GET", "/other", 200, "application/json", "{}", "route not declared"),
        ("POST", "/metrics", 200, "text/plain", "", "method not declared"),
        ("GET", "/metrics", 500, "text/plain", "", "status not declared"),
        ("GET", "/metrics", 200, "text/html", "", "not declared"),
        ("DELETE", "/empty", 204, "", "x", "no content declared"),
        ("GET", "/api/v1/things/a", 200, "application/json", "{", "no JSON"),
        ("GET", "/api/v1/things/a", 200, "application/json", r#"{"name":1}"#, "does not match"),
        ("GET", "/api/v1/things/a", 200, "application/json", r#"{"size":1}"#, "does not match"),
        ("GET", "/api/v1/things/a", 200, "application/json", r#"{"name":"a","color":1}"#, "does not match"),
        (
            "GET",
            "/api/v1/things/all",
            200,
            "application/json",
            r#"{"things":[{"name":"a","x":1}]}"#,
            "does not match",
        ),
        ("GET", "/api/v1/things/a", 404, "application/json", r#"{"detail":""}"#, "does not match"),
    ] {
        let result = api.check_answer(method, path, status, kind, body.as_bytes());
        let text = result.map_or_else(|error| format!("{error:#}"), |()| String::new());
        assert_eq!(text.is_empty(), fault.is_empty(), "{method} {path} {status} {body}: {text:?}");
        assert!(text.contains(fault), "{method} {path} {status} {body}: {text:?} lacks {fault:?}");
    }
}

#[test]
fn it_holds_frames_to_their_components() {
    let api = api();
    for (name, value, good) in [
        ("ThingFrame", json!({ "type": "thing", "name": "a" }), true),
        ("FeedFrame", json!({ "type": "thing", "name": "a", "size": 2 }), true),
        ("FeedFrame", json!({ "detail": "x" }), true),
        ("ThingFrame", json!({ "type": "thing" }), false),
        ("ThingFrame", json!({ "type": "other", "name": "a" }), false),
        ("ThingFrame", json!({ "type": "thing", "name": "a", "extra": 1 }), false),
        ("FeedFrame", json!({ "type": "thing", "name": "a", "extra": 1 }), false),
        ("FeedFrame", json!({}), false),
        ("NoFrame", json!({}), false),
    ] {
        assert_eq!(api.check_component(name, &value).is_ok(), good, "{name} {value}");
    }
}

#[test]
fn it_refuses_other_documents() {
    for bad in [json!({}), json!({ "openapi": "3.0.3", "paths": {} }), json!({ "openapi": "3.1.0" })] {
        assert!(OpenApi::new(bad.clone()).is_err(), "{bad}");
    }
}
