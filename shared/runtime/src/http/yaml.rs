use poem::endpoint::make_sync;
use poem::{Endpoint, Response};

/// Answers with a JSON document as YAML. It is made of the text: the numbers in poem-openapi's own YAML are spoilt by the
/// form in which serde_json keeps them exact.
pub(super) fn yaml_of(json: &str) -> impl Endpoint<Output = Response> + 'static {
    let document: serde_yaml_ng::Value = serde_yaml_ng::from_str(json).expect("JSON is YAML");
    let text = serde_yaml_ng::to_string(&document).expect("what was YAML is YAML again");
    make_sync(move |_| Response::builder().content_type("application/yaml").body(text.clone()))
}
