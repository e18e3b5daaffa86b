use super::problem::{FieldError, Problem, Refusal};
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

/// The largest body, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;

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
    match body.take()?.into_bytes_limit(BODY_LIMIT).await {
        Err(ReadBodyError::PayloadTooLarge) => {
            let detail = format!("the body is larger than {BODY_LIMIT} bytes");
            Err(Refusal::TooLarge(Json(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))).into())
        }
        read => Ok(read?),
    }
}

fn read<T: Type + DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let malformed = |error: serde_json::Error| {
        let detail = format!("the body is not JSON: {error}");
        Refusal::Malformed(Json(Problem::new(StatusCode::BAD_REQUEST, detail)))
    };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path(), error.inner());
        // A type is found wrong before the rest is looked at; what is not JSON at all is malformed all the same.
        match serde_json::from_slice::<IgnoredAny>(bytes) {
            Ok(_) => wrong_shape(pointer, error.inner()),
            Err(error) => malformed(error),
        }
    })?;
    json.end().map_err(malformed)?;
    // serde would also take the fields of an object from an array, in their order.
    let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
    if !is_object && !matches!(T::schema_ref(), MetaSchemaRef::Inline(schema) if schema.ty == "array") {
        let detail = "the body must be an object".to_owned();
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail.clone());
        return Err(Refusal::Wrong(Json(problem.with_errors(vec![FieldError { pointer: String::new(), detail }]))));
    }
    Ok(value)
}

fn wrong_shape(pointer: String, error: &serde_json::Error) -> Refusal {
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{pointer}: {error}"));
    Refusal::Wrong(Json(problem.with_errors(vec![FieldError { pointer, detail: error.to_string() }])))
}

/// The JSON pointer of an error. serde reports a missing field at the object that lacks it.
fn pointer(path: &serde_path_to_error::Path, error: &serde_json::Error) -> String {
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
    let message = error.to_string();
    if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        pointer.push('/');
        pointer.push_str(field);
    }
    pointer
}
