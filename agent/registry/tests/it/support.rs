//! What the tests share.

use std::error::Error;

use bytes::Bytes;
use oci_client::client::{ClientConfig, ClientProtocol};
use pintle_registry::{Credentials, Options, Reference, Registry};

/// A renderer that does nothing.
pub(crate) fn component() -> Bytes {
    let text = r#"(component
        (import "pintle:types/log@1.0.0" (instance (export "log" (func (param "text" string)))))
        (instance $i)
        (export "pintle:types/plugin@1.0.0" (instance $i))
        (export "pintle:renderer/renderer@1.0.0" (instance $i)))"#;
    wat::parse_str(text).unwrap().into()
}

/// The same with a custom section of so many bytes.
pub(crate) fn large_component(size: u32) -> Bytes {
    let mut bytes = component().to_vec();
    bytes.push(0);
    // LEB128, always five bytes.
    let mut rest = size + 2;
    for _ in 0..4 {
        bytes.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    bytes.push(rest.to_le_bytes()[0]);
    bytes.extend([1, b'x']);
    bytes.extend((0..size).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]));
    bytes.into()
}

pub(crate) fn reference(registry: &str, rest: &str) -> Reference {
    format!("{registry}/{rest}").parse().unwrap()
}

pub(crate) fn registry() -> Registry {
    Registry::new(Options::default()).unwrap()
}

/// The error with all its causes, and `REGISTRY` for the server's address.
pub(crate) fn said(error: &dyn Error, address: &str) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    let text: Vec<_> = chain.map(ToString::to_string).collect();
    text.join(": ").replace(address, "REGISTRY")
}

/// What a failed pull says.
pub(crate) async fn failed_pull(
    registry: &Registry,
    reference: &Reference,
    credentials: &Credentials,
) -> String {
    let error = registry.pull(reference, credentials).await.unwrap_err();
    said(&error, reference.registry())
}

/// An independent client for registries on loopback without TLS.
pub(crate) fn independent() -> oci_client::Client {
    oci_client::Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    })
}

pub(crate) fn independent_reference(reference: &Reference) -> oci_client::Reference {
    reference.to_string().parse().unwrap()
}
