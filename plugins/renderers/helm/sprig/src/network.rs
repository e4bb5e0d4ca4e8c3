//! URLs, and the network that a render does not have.

use pintle_gotemplate::{Args, Call, Function, FunctionError, Map, Type, Value};
use pintle_gourl::{Url, UserInfo};

use crate::Outcome;

pub(crate) const FUNCTIONS: &[Function] = &[
    // Helm without --enable-dns returns the same.
    Function::new("getHostByName", &[Type::String], |_, _| Ok("".into())),
    Function::new("urlParse", &[Type::String], parse),
    Function::new("urlJoin", &[Type::ANY_MAP], join),
];

fn parse(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let url = Url::parse(args.text(0)?)
        .map_err(|error| FunctionError::new(format_args!("unable to parse url: {error}")))?;
    let userinfo = url.user.as_ref().map(UserInfo::to_text).unwrap_or_default();
    let hostname = url.hostname().to_vec();
    let parts = [
        ("scheme", url.scheme),
        ("host", url.host),
        ("hostname", hostname),
        ("path", url.path),
        ("query", url.query),
        ("opaque", url.opaque),
        ("fragment", url.fragment),
        ("userinfo", userinfo),
    ];
    let parts = parts
        .into_iter()
        .map(|(name, part)| (name, Value::string(part)));
    Ok(parts.collect::<Map>().into())
}

fn join(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let parts = args.map(0)?;
    let part = |key: &str| text_or_empty(parts, key);
    let mut url = Url {
        scheme: part("scheme")?,
        host: part("host")?,
        path: part("path")?,
        query: part("query")?,
        opaque: part("opaque")?,
        fragment: part("fragment")?,
        ..Url::default()
    };
    let userinfo = part("userinfo")?;
    if !userinfo.is_empty() {
        let with_user = [b"proto://", &userinfo[..], b"@host"].concat();
        let parsed = Url::parse(&with_user).map_err(|error| {
            FunctionError::new(format_args!("unable to parse userinfo in dict: {error}"))
        })?;
        url.user = parsed.user;
    }
    Ok(Value::string(url.to_text()))
}

fn text_or_empty(parts: &Map, key: &str) -> Result<Vec<u8>, FunctionError> {
    match parts.get(key.as_bytes()) {
        None => Ok(Vec::new()),
        Some(Value::Nil) => Err(crate::go::panic::nil_dereference()),
        Some(Value::String(text)) => Ok(text.to_vec()),
        Some(other) => Err(FunctionError::new(format_args!(
            "unable to parse {key} key, must be of type string, but {} found",
            other.kind()
        ))),
    }
}
