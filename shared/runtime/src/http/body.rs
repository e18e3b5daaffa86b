use super::problem::{FieldFault, Problem, Refusal};
use bytes::Bytes;
use poem::error::ReadBodyError;
use poem::http::StatusCode;
use poem::{Request, RequestBody, Result};
use poem_openapi::error::ContentTypeError;
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::{DeserializeOwned, IgnoredAny};
use std::time::Duration;

/// The largest body, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A JSON body, read by serde: unlike poem-openapi's own, it keeps numbers exact and names the field at fault.
pub struct JsonBody<T>(pub T);

impl<T: Type> Payload for JsonBody<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        <Json<T> as Payload>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type + DeserializeOwned> ParsePayload for JsonBody<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(_: &Request, body: &mut RequestBody) -> Result<Self> {
        Ok(JsonBody(read(&bytes(body).await?)?))
    }
}

poem_openapi::impl_apirequest_for_payload!(JsonBody<T>, T: Type + DeserializeOwned);

/// A [`JsonBody`] that may be left out.
pub struct OptionalJsonBody<T>(pub Option<T>);

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for OptionalJsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content_type = JsonBody::<T>::CONTENT_TYPE;
        let content = vec![MetaMediaType { content_type, schema: T::schema_ref() }];
        Some(MetaRequest { description: None, content, required: false })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        let bytes = bytes(body).await?;
        if bytes.is_empty() {
            return Ok(OptionalJsonBody(None));
        }
        match request.content_type() {
            Some(declared) if JsonBody::<T>::check_content_type(declared) => Ok(OptionalJsonBody(Some(read(&bytes)?))),
            Some(declared) => Err(ContentTypeError::NotSupported { content_type: declared.to_owned() }.into()),
            None => Err(ContentTypeError::ExpectContentType.into()),
        }
    }
}

async fn bytes(body: &mut RequestBody) -> Result<Bytes> {
    let read = tokio::time::timeout(PATIENCE, body.take()?.into_bytes_limit(BODY_LIMIT)).await;
    let late = |_| {
        let seconds = PATIENCE.as_secs();
        poem::Error::from_string(format!("the body did not come within {seconds} s"), StatusCode::REQUEST_TIMEOUT)
    };
    match read.map_err(late)? {
        Err(ReadBodyError::PayloadTooLarge) => {
            let detail = format!("the body is larger than {BODY_LIMIT} bytes");
            Err(Refusal::TooLarge(Json(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))).into())
        }
        read => Ok(read?),
    }
}

fn read<T: Type + DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let malformed = |why: String| Refusal::Malformed(Json(Problem::new(StatusCode::BAD_REQUEST, why)));
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(format!("the body is not UTF-8: {error}")))?;
    // serde would also take the fields of an object from an array, in their order.
    let is_list = matches!(T::schema_ref(), MetaSchemaRef::Inline(schema) if schema.ty == "array");
    let has_its_shape = is_list || text.trim_start().starts_with('{');
    if has_its_shape && let Ok(body) = serde_json::from_str(text) {
        return Ok(body);
    }
    // What is not JSON is malformed, also where the part that is would be of a wrong type.
    let whole: Result<IgnoredAny, _> = serde_json::from_str(text);
    whole.map_err(|error| malformed(format!("the body is not JSON: {error}")))?;
    if !has_its_shape {
        return Err(wrong(String::new(), FieldFault::WrongType, "must be an object"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| wrong_shape(pointer(error.path()), error.inner()))
}

fn wrong(pointer: String, code: FieldFault, detail: &str) -> Refusal {
    let what = if pointer.is_empty() { "the body" } else { &pointer };
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{what} {detail}"));
    Refusal::Wrong(Json(problem.blaming(pointer, code, detail)))
}

/// serde reports a missing field at the object that lacks it.
fn wrong_shape(pointer: String, error: &serde_json::Error) -> Refusal {
    let message = error.to_string();
    match message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        Some(field) => wrong(format!("{pointer}/{field}"), FieldFault::Missing, "must be given"),
        None => wrong(pointer, FieldFault::WrongType, &format!("cannot be read: {message}")),
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path.iter() {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => pointer.push('?'),
        }
    }
    pointer
}
