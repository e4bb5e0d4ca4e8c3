//! The functions for certificates, and the pair of a certificate and its key that they return.

use std::{any::Any, net::IpAddr};

use pintle_gotemplate::{
    Args, Call, Function, FunctionError, Kind, List, Map, Named, Object, Text, Type, Value, print,
};

use super::{
    error::KeyError,
    key::PrivateKey,
    parse::{self, Authority},
    pem,
    x509::{self, Request, Signer, Validity},
};
use crate::{
    Outcome, Powers, Secrets, dates,
    go::base,
    random::{Stream, digest},
};

/// The size of RSA keys for certificates in bits.
const KEY_BITS: u64 = 2048;

/// sprig's `certificate`: a certificate and its private key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Certificate {
    cert: Text,
    key: Text,
}

static NAMED: Named = Named {
    name: "sprig.certificate",
    kind: Kind::Struct,
    underlying: None,
    methods: &[],
};

const CERTIFICATE: Type = Type::Named(&NAMED);

impl Object for Certificate {
    fn go_type(&self) -> Type {
        CERTIFICATE
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        match name {
            b"Cert" => Some(self.cert.clone().into()),
            b"Key" => Some(self.key.clone().into()),
            _ => None,
        }
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("Cert", self.cert.clone().into()),
            ("Key", self.key.clone().into()),
        ]
    }

    fn to_plain(&self) -> Value {
        self.fields().into_iter().collect::<Map>().into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

const NAME: Type = Type::String;
const NAMES: Type = Type::ANY_SLICE;
const KEY: Type = Type::String;
const DAYS: Type = Type::INT;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("genCA", &[NAME, DAYS], |call, args| {
        authority(call, args, None)
    }),
    Function::new("genCAWithKey", &[NAME, DAYS, KEY], |call, args| {
        let key = key(args, 2)?;
        authority(call, args, Some(key))
    }),
    Function::new(
        "genSelfSignedCert",
        &[NAME, NAMES, NAMES, DAYS],
        |call, args| self_signed(call, args, None),
    ),
    Function::new(
        "genSelfSignedCertWithKey",
        &[NAME, NAMES, NAMES, DAYS, KEY],
        |call, args| {
            let key = key(args, 4)?;
            self_signed(call, args, Some(key))
        },
    ),
    Function::new(
        "genSignedCert",
        &[NAME, NAMES, NAMES, DAYS, CERTIFICATE],
        |call, args| signed(call, args, None),
    ),
    Function::new(
        "genSignedCertWithKey",
        &[NAME, NAMES, NAMES, DAYS, CERTIFICATE, KEY],
        |call, args| {
            let key = key(args, 5)?;
            signed(call, args, Some(key))
        },
    ),
    Function::new("buildCustomCert", &[KEY, KEY], custom),
];

/// Returns the key that a caller provides.
fn key(args: Args<'_>, index: usize) -> Result<PrivateKey, FunctionError> {
    PrivateKey::from_pem(args.text(index)?)
        .map_err(|error| FunctionError::new(format_args!("parsing private key: {error}")))
}

fn authority(call: &mut dyn Call, args: Args<'_>, key: Option<PrivateKey>) -> Outcome {
    let request = Request {
        common_name: args.text(0)?.to_vec(),
        addresses: Vec::new(),
        names: Vec::new(),
        validity: validity(call, args.int(1)?)?,
        is_authority: true,
    };
    certificate(call, &request, key, None)
}

fn self_signed(call: &mut dyn Call, args: Args<'_>, key: Option<PrivateKey>) -> Outcome {
    let request = request(call, args)?;
    certificate(call, &request, key, None)
}

fn signed(call: &mut dyn Call, args: Args<'_>, key: Option<PrivateKey>) -> Outcome {
    let Certificate {
        cert,
        key: signer_key,
    } = args.object(4)?;
    let block =
        pem::decode(cert).ok_or_else(|| FunctionError::new("unable to decode certificate"))?;
    let authority = parse::certificate(&block.bytes).map_err(|error| {
        FunctionError::new(format_args!(
            "error parsing certificate: decodedSignerCert.Bytes: {error}"
        ))
    })?;
    let signer_key = PrivateKey::from_pem(signer_key).map_err(unreadable)?;
    let request = request(call, args)?;
    certificate(call, &request, key, Some((&authority, &signer_key)))
}

fn unreadable(error: KeyError) -> FunctionError {
    FunctionError::new(format_args!("error parsing private key: {error}"))
}

/// Returns the request that the first four arguments describe.
fn request(call: &dyn Call, args: Args<'_>) -> Result<Request, FunctionError> {
    Ok(Request {
        common_name: args.text(0)?.to_vec(),
        addresses: addresses(args.list(1)?)?,
        names: names(args.list(2)?)?,
        validity: validity(call, args.int(3)?)?,
        is_authority: false,
    })
}

fn validity(call: &dyn Call, days: i64) -> Result<Validity, FunctionError> {
    let secret = Secrets::fixed(call, "validity")?;
    let phase = secret[..7]
        .iter()
        .fold(0, |phase, &byte| (phase << 8) | u64::from(byte));
    Ok(Validity::around(&dates::now(call)?, days, phase))
}

fn addresses(list: &List) -> Result<Vec<IpAddr>, FunctionError> {
    list.iter()
        .map(|item| {
            let text = item
                .as_text()
                .ok_or_else(|| no_text("error parsing ip", &item))?;
            let text = text.to_str_lossy();
            text.parse()
                .map_err(|_| FunctionError::new(format_args!("error parsing ip: {text}")))
        })
        .collect()
}

fn names(list: &List) -> Result<Vec<Vec<u8>>, FunctionError> {
    list.iter()
        .map(|item| {
            let text = item.as_text();
            let text = text.ok_or_else(|| no_text("error processing alternate dns name", &item))?;
            Ok(text.to_vec())
        })
        .collect()
}

fn no_text(what: &str, item: &Value) -> FunctionError {
    match print::sprintf(b"%v", std::slice::from_ref(item)) {
        Ok(item) => FunctionError::new(format_args!(
            "{what}: {} is not a string",
            item.to_str_lossy()
        )),
        Err(error) => FunctionError::new(error),
    }
}

/// Creates a certificate for the given key or a new one, signed by another certificate or by itself.
fn certificate(
    call: &dyn Call,
    request: &Request,
    key: Option<PrivateKey>,
    signer: Option<(&Authority, &PrivateKey)>,
) -> Outcome {
    let mut stream = Stream::for_call(call, &digest(&[&request.common_name]))?;
    let mut secret = [0; 32];
    stream.fill(&mut secret);
    let powers = Powers::of(call);
    let key = key.unwrap_or_else(|| PrivateKey::rsa(KEY_BITS, &powers, &mut stream));
    let signer = match signer {
        Some((certificate, key)) => Signer {
            certificate: Some(certificate),
            key,
        },
        None => Signer {
            certificate: None,
            key: &key,
        },
    };
    let bytes = x509::sign(request, &key, &signer, &secret, &powers)
        .map_err(|error| FunctionError::new(format_args!("error creating certificate: {error}")))?;
    Ok(Value::object(Certificate {
        cert: pem::encode("CERTIFICATE", &bytes).into(),
        key: key.to_pem().into(),
    }))
}

/// Checks a certificate and a key in base64.
fn custom(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let decoded = |index, what| {
        base::decode64(args.text(index)?)
            .map_err(|_| FunctionError::new(format_args!("unable to decode base64 {what}")))
    };
    let cert = decoded(0, "certificate")?;
    let key = decoded(1, "private key")?;
    let block =
        pem::decode(&cert).ok_or_else(|| FunctionError::new("unable to decode certificate"))?;
    parse::certificate(&block.bytes).map_err(|error| {
        FunctionError::new(format_args!(
            "error parsing certificate: decodedCert.Bytes: {error}"
        ))
    })?;
    PrivateKey::from_pem(&key).map_err(unreadable)?;
    Ok(Value::object(Certificate {
        cert: cert.into(),
        key: key.into(),
    }))
}
