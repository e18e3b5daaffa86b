//! The OpenAPI document as it is served: it tells of access, and has its tags in the order of the routes.

use super::{Access, is_open};
use poem_openapi::{OpenApi, OpenApiService, Webhook};
use serde_yaml_ng::{Mapping, Value};

/// A service's document, as it is served: that of poem-openapi, and how to show who one is.
pub(in crate::http) struct Document {
    pub(in crate::http) json: String,
    pub(in crate::http) yaml: String,
    pub(in crate::http) swagger_ui: String,
}

/// The ways to show who one is. `{}` is to show nothing.
const NOTHING: &str = "{}";
const SCHEMES: &str = r#"
bearer:
  type: http
  scheme: bearer
  description: A JSON Web Token with AUTH=jwt, or an API key with AUTH=api-key.
apiKey:
  type: apiKey
  in: header
  name: X-API-Key
  description: An API key, with AUTH=api-key.
"#;
const BEARER: &str = "{bearer: []}";
const API_KEY: &str = "{apiKey: []}";

impl Document {
    /// The document of this service, with that access.
    pub(in crate::http) fn of<T: OpenApi, W: Webhook>(api: &OpenApiService<T, W>, access: &Access) -> Self {
        let written = api.spec();
        // JSON is YAML, and what reads YAML keeps its order.
        let mut document = parse(&written);
        if let Some(Value::Mapping(paths)) = document.get_mut("paths") {
            for (path, item) in paths {
                if path.as_str().is_some_and(is_open) {
                    continue;
                }
                for (_, operation) in item.as_mapping_mut().into_iter().flatten() {
                    if let Value::Mapping(operation) = operation {
                        operation.insert("security".into(), parse(&requirement(access)));
                    }
                }
            }
        }
        order_tags(&mut document);
        let top = document.as_mapping_mut().expect("an OpenAPI document is an object");
        let components = top.entry("components".into()).or_insert_with(|| Mapping::new().into());
        if let Value::Mapping(components) = components {
            components.insert("securitySchemes".into(), parse(SCHEMES));
        }
        let json = serde_json::to_string_pretty(&document).expect("what was JSON is JSON");
        let yaml = serde_yaml_ng::to_string(&document).expect("what was YAML is YAML");
        let title = document["info"]["title"].as_str().unwrap_or_default();
        // Without an icon of its own the page asks for one that there is not.
        let head = format!("<title>{title}</title><link rel=\"icon\" href=\"data:,\">");
        let swagger_ui = api.swagger_ui_html().replace(&written, &json);
        let swagger_ui = swagger_ui.replacen("<title>Swagger UI</title>", &head, 1);
        Document { json, yaml, swagger_ui }
    }
}

/// poem-openapi sorts the tags by name. In the order of the routes, what a service is there for comes first.
fn order_tags(document: &mut Value) {
    let mut used: Vec<Value> = Vec::new();
    for (_, item) in document["paths"].as_mapping().into_iter().flatten() {
        for (_, operation) in item.as_mapping().into_iter().flatten() {
            used.extend(operation["tags"].as_sequence().into_iter().flatten().cloned());
        }
    }
    if let Some(Value::Sequence(tags)) = document.get_mut("tags") {
        tags.sort_by_key(|tag| used.iter().position(|name| *name == tag["name"]));
    }
}

fn requirement(access: &Access) -> String {
    use super::Ask::{ApiKey, Nothing, Token};
    let ways: &[&str] = match access.ask {
        Nothing => &[NOTHING, BEARER, API_KEY],
        ApiKey(_) => &[BEARER, API_KEY],
        Token(_) => &[BEARER],
    };
    format!("[{}]", ways.join(", "))
}

fn parse(text: &str) -> Value {
    serde_yaml_ng::from_str(text).expect("poem-openapi writes JSON, and no status of a route twice")
}
