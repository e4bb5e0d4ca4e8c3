//! Tests the functions as templates call them. `tests/helm` tests what Go reads in the results.

use std::{cell::Cell, rc::Rc};

use num_bigint::BigUint;
use pintle_gotemplate::{FunctionError, Functions, Standalone, State, Value};
use proptest::prelude::*;

use super::{key::PrivateKey, parse, pem, x509::Validity};
use crate::{
    Clock, Powers, Secrets,
    dates::now,
    go::{base, time::Time, zone::Zone},
    tables,
};

const DAY: i64 = 86_400;

/// Returns a render at the given time, in the given template.
fn render(seconds: i64, template: &str) -> Standalone {
    let secrets = Secrets::new(|purpose, length| {
        use sha2::Digest;
        sha2::Sha256::digest(purpose)[..length as usize].to_vec()
    });
    let clock = Clock {
        seconds,
        nanoseconds: 5,
    };
    Standalone {
        state: State::default().with(secrets).with(clock),
        template: template.to_owned(),
        ..Standalone::default()
    }
}

fn call(render: &mut Standalone, name: &str, args: &[Value]) -> Result<Value, FunctionError> {
    name.clone_into(&mut render.function);
    Functions::from_tables(tables()).call(name, render, args)
}

fn text(value: &Value) -> String {
    value.as_text().unwrap().to_str_lossy().into_owned()
}

/// Creates an authority with a key that takes no time to make.
fn authority(render: &mut Standalone) -> Value {
    let key = call(render, "genPrivateKey", &["ecdsa".into()]).unwrap();
    call(render, "genCAWithKey", &["ca".into(), Value::int(365), key]).unwrap()
}

/// Returns the certificate and the key of a pair.
fn parts(pair: &Value) -> [String; 2] {
    let Value::Object(pair) = pair else {
        panic!("{pair:?} is no pair");
    };
    [b"Cert".as_slice(), b"Key"].map(|name| text(&pair.field(name).unwrap()))
}

#[test]
fn a_render_repeats_and_an_edit_elsewhere_changes_nothing() {
    let now = 1_700_000_000;
    let first = parts(&authority(&mut render(now, "a.yaml")));
    assert_eq!(parts(&authority(&mut render(now, "a.yaml"))), first);
    // Days later, after other calls.
    let mut later = render(now + 3 * DAY, "a.yaml");
    call(&mut later, "randAlpha", &[Value::int(3)]).unwrap();
    call(&mut later, "genPrivateKey", &["ed25519".into()]).unwrap();
    assert_eq!(parts(&authority(&mut later)), first);
    assert_ne!(parts(&authority(&mut later)), first, "a second call");
    assert_ne!(
        parts(&authority(&mut render(now, "b.yaml"))),
        first,
        "another template"
    );
}

#[test]
fn a_certificate_is_renewed_with_the_same_key_and_another_number() {
    let [old, old_key] = parts(&authority(&mut render(1_700_000_000, "a.yaml")));
    let [new, new_key] = parts(&authority(&mut render(1_700_000_000 + 200 * DAY, "a.yaml")));
    assert_eq!(old_key, new_key);
    let bytes = |text: &str| pem::decode(text.as_bytes()).unwrap().bytes;
    let serial = |text: &str| {
        let bytes = bytes(text);
        let at = bytes.windows(3).position(|window| window == [2, 1, 2]);
        bytes[at.unwrap() + 3..][..16].to_vec()
    };
    assert_ne!(serial(&old), serial(&new));
    let subject = |text: &str| parse::certificate(&bytes(text)).unwrap();
    assert_eq!(subject(&old), subject(&new));
}

#[test]
fn a_host_that_calculates_makes_the_same_key() {
    let make = |render: &mut Standalone| {
        let args = ["ca".into(), Value::int(365)];
        parts(&call(render, "genCA", &args).unwrap())
    };
    let alone = make(&mut render(0, "t"));
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let mut render = render(0, "t");
    render.state = render
        .state
        .with(Powers::new(move |base, exponent, modulus| {
            count.set(count.get() + 1);
            let [base, exponent, number] = [base, exponent, modulus].map(BigUint::from_bytes_be);
            let digits = base.modpow(&exponent, &number).to_bytes_be();
            // The host returns as many bytes as the modulus has.
            let zeros = vec![0; modulus.len() - digits.len()];
            Some([&zeros[..], &digits].concat())
        }));
    assert_eq!(make(&mut render), alone);
    // At least nine for each of the two primes, and three for the signature.
    assert!(asked.get() >= 21, "{}", asked.get());
}

#[test]
fn an_authority_must_fit_its_key() {
    let mut render = render(0, "t");
    let [cert, key] = parts(&authority(&mut render));
    let [other, _] = parts(&authority(&mut render));
    let encoded = |text: &str| Value::string(base::encode64(text.as_bytes()));
    let mut signed = |cert: &str| {
        let pair = call(
            &mut render,
            "buildCustomCert",
            &[encoded(cert), encoded(&key)],
        )?;
        let key = call(&mut render, "genPrivateKey", &["ed25519".into()])?;
        let names = Value::list(Vec::new());
        let args = ["c".into(), names.clone(), names, Value::int(1), pair, key];
        call(&mut render, "genSignedCertWithKey", &args)
    };
    assert!(signed(&cert).is_ok());
    assert_eq!(
        signed(&other).unwrap_err().to_string(),
        "error creating certificate: x509: provided PrivateKey doesn't match parent's PublicKey"
    );
}

#[test]
fn what_is_refused() {
    let mut render = render(0, "t");
    let error = |render: &mut Standalone, name: &str, args: &[Value]| {
        call(render, name, args).unwrap_err().to_string()
    };
    let none = Value::list(Vec::new());
    let key = call(&mut render, "genPrivateKey", &["ecdsa".into()]).unwrap();
    let mut self_signed = |name: &str, addresses: &[&str], names: Vec<Value>, key: &Value| {
        let addresses = addresses.iter().map(|&text| text.into()).collect();
        let args = [
            name.into(),
            Value::list(addresses),
            Value::list(names),
            Value::int(1),
            key.clone(),
        ];
        error(&mut render, "genSelfSignedCertWithKey", &args)
    };
    assert_eq!(
        self_signed("c", &["10.0.0.256"], vec![], &key),
        "error parsing ip: 10.0.0.256"
    );
    assert_eq!(
        self_signed("c", &[], vec![Value::int(7)], &key),
        "error processing alternate dns name: 7 is not a string"
    );
    assert_eq!(
        self_signed("c", &[], vec!["ü".into()], &key),
        "error creating certificate: x509: \"ü\" cannot be encoded as an IA5String"
    );
    assert_eq!(
        self_signed("c", &[], vec![], &"no key".into()),
        "parsing private key: no PEM data in input"
    );
    assert_eq!(
        error(&mut render, "buildCustomCert", &["!".into(), none.clone()]),
        "wrong type for value; expected string; got []interface {}"
    );
    assert_eq!(
        error(&mut render, "buildCustomCert", &["!".into(), "".into()]),
        "unable to decode base64 certificate"
    );
    assert_eq!(
        error(&mut render, "decryptAES", &["p".into(), "YWJj".into()]),
        "the encrypted text has 3 bytes, and an initial vector alone has 16"
    );
    let bare = &mut Standalone::default();
    assert_eq!(
        error(bare, "uuidv4", &[]),
        "this render was given no secret seed, from which random values are derived"
    );
}

#[test]
fn curves_and_forms_of_keys_that_others_write() {
    // Created by OpenSSL: `openssl ecparam -genkey -noout -name secp384r1`, `... secp521r1`, `openssl genpkey`.
    for text in [
        include_str!("testdata/p384.pem"),
        include_str!("testdata/p521.pem"),
        include_str!("testdata/p256-pkcs8.pem"),
        include_str!("testdata/rsa-pkcs8.pem"),
        include_str!("testdata/ed25519.pem"),
    ] {
        let mut render = render(0, "t");
        let args = ["c".into(), Value::int(1), text.into()];
        let [cert, key] = parts(&call(&mut render, "genCAWithKey", &args).unwrap());
        assert!(pem::decode(cert.as_bytes()).is_some());
        let (given, written) = (
            PrivateKey::from_pem(text.as_bytes()),
            PrivateKey::from_pem(key.as_bytes()),
        );
        assert_eq!(
            given.unwrap().public_key_info(),
            written.unwrap().public_key_info()
        );
    }
    let refused = |text: &str| {
        PrivateKey::from_pem(text.as_bytes())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(include_str!("testdata/p224.pem")),
        "parsing EC private key from PEM: keys on the curve P-224 are not supported here; use RSA, ECDSA with P-256, \
         P-384 or P-521, or Ed25519"
    );
    assert_eq!(
        refused("-----BEGIN PGP PRIVATE KEY-----\n-----END PGP PRIVATE KEY-----\n"),
        "invalid private key type PGP PRIVATE KEY"
    );
    assert_eq!(
        refused("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
        "no private key data in PEM block of type CERTIFICATE"
    );
}

proptest! {
    #[test]
    fn a_validity_stays_and_leaves_half_of_it(
        seconds in 1_000_000_000..4_000_000_000i64,
        days in 1..20_000i64,
        phase: u64,
        share in 0.0..1.0f64,
    ) {
        let at = |seconds| Validity::around(&Time::new(seconds, 9, Zone::Utc), days, phase);
        let (from, to) = at(seconds).seconds();
        prop_assert_eq!(to - from, days * DAY);
        prop_assert!(from <= seconds && to - seconds >= days * DAY / 2);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "about there is enough")]
        let later = seconds + ((to - seconds - days * DAY / 2) as f64 * share) as i64 - 1;
        if later >= seconds {
            prop_assert_eq!(at(later), at(seconds));
        }
    }

    #[test]
    fn no_bytes_are_too_odd_for_a_certificate_or_a_key(at: usize, byte: u8, cut: usize) {
        let [cert, key] = parts(&authority(&mut render(0, "t")));
        let damaged = |text: &str| {
            let mut bytes = pem::decode(text.as_bytes()).unwrap().bytes;
            let len = bytes.len();
            bytes[at % len] = byte;
            bytes.truncate(len - cut % 3);
            bytes
        };
        let _ = parse::certificate(&damaged(&cert));
        for kind in ["EC PRIVATE KEY", "RSA PRIVATE KEY", "DSA PRIVATE KEY", "PRIVATE KEY"] {
            if let Ok(key) = PrivateKey::from_pem(pem::encode(kind, &damaged(&key)).as_bytes()) {
                let _ = key.sign(b"message", &Powers::default());
            }
        }
    }

    #[test]
    fn any_days_give_a_certificate_or_an_error(seconds: i64, days: i64) {
        let mut render = render(seconds, "t");
        let key = call(&mut render, "genPrivateKey", &["ed25519".into()]).unwrap();
        prop_assert!(now(&render).is_ok());
        let _ = call(&mut render, "genCAWithKey", &["ca".into(), Value::int(days), key]);
    }
}
