//! Keys, certificates and hashes: Go can read ours, accepts the signatures, and finds the same contents as in its own.

use anyhow::{Result, ensure};
use pintle_helm_tests::{
    oracle::{Expression, Oracle, Request},
    ours,
};
use serde_json::json;

/// Templates that print PEM, and lines with a password followed by its hash.
const TEMPLATES: &[&str] = &[
    r#"{{ genPrivateKey "" }}{{ genPrivateKey "ecdsa" }}{{ genPrivateKey "ed25519" }}"#,
    r#"{{ genPrivateKey "dsa" }}"#,
    r#"{{ with genCA "my authority" 365 }}{{ .Cert }}{{ .Key }}{{ end }}"#,
    r#"{{ with genSelfSignedCert "" nil (list "a.example") 1 }}{{ .Cert }}{{ .Key }}{{ end }}"#,
    r#"{{ $ca := genCA "ca" 3650 }}
       {{- $one := genSignedCert "one.svc" (list "10.0.0.1" "::1" "::ffff:1.2.3.4") (list "one" "*.one.svc") 365 $ca }}
       {{- $two := genSignedCert "ca" nil nil 36500 $ca }}
       {{- range list $ca $one $two }}{{ .Cert }}{{ .Key }}{{ end }}"#,
    // Some of these names have only characters that a PrintableString allows, others do not.
    r#"{{ range list "a b'()+,-./:=?" "*.a" "a&b" "ü" "a@b" "日本" }}
       {{- with genCAWithKey . 10 (genPrivateKey "ecdsa") }}{{ .Cert }}{{ .Key }}{{ end }}{{ end }}"#,
    r#"{{ $ca := genCAWithKey "ca" 10 (genPrivateKey "ed25519") }}
       {{- $one := genSignedCertWithKey "one" nil (list "one") 10 $ca (genPrivateKey "ecdsa") }}
       {{- $two := genSelfSignedCertWithKey "two" (list "fe80::1") nil 10 (genPrivateKey "rsa") }}
       {{- $three := genSignedCert "three" nil nil 0 (buildCustomCert ($ca.Cert | b64enc) ($ca.Key | b64enc)) }}
       {{- range list $ca $one $two $three }}{{ .Cert }}{{ .Key }}{{ end }}"#,
    r#"{{ range list "" "secret" "ünï" (repeat 71 "x") (repeat 72 "y") }}
{{ . }}{{ bcrypt . }}
{{ . }}{{ htpasswd "user" . | replace "user:" "" }}
{{- end }}"#,
];

fn asked(text: String) -> Expression {
    Expression {
        text,
        input: json!({}),
        helpers: String::new(),
    }
}

#[test]
fn go_reads_and_verifies_them() -> Result<()> {
    let mut oracle = Oracle::start()?;
    for text in TEMPLATES {
        let question = asked((*text).to_owned());
        let ours = ours::expression(&ours::engine(), &question).map_err(anyhow::Error::msg)?;
        let helm = oracle.ask_one(Request::Expr(question))?.result();
        let helm = helm.map_err(anyhow::Error::msg)?;
        let mut described = Vec::new();
        for printed in [ours, helm] {
            let keys = Request::Keys(asked(String::from_utf8(printed)?));
            let answer = oracle.ask_one(keys)?.result();
            described.push(answer.map_err(|error| anyhow::anyhow!("{text}: {error}"))?);
        }
        ensure!(!described[0].is_empty(), "{text}: nothing is described");
        let [ours, helm] = [0, 1].map(|index| String::from_utf8_lossy(&described[index]));
        assert_eq!(ours, helm, "{text}");
    }
    Ok(())
}

#[test]
fn helm_decrypts_what_we_encrypt() -> Result<()> {
    let mut oracle = Oracle::start()?;
    for length in [1, 15, 16, 17, 1000] {
        let encrypt = format!(r#"{{{{ encryptAES "pässword" (repeat {length} "x") }}}}"#);
        let encrypted = ours::expression(&ours::engine(), &asked(encrypt));
        let encrypted = String::from_utf8(encrypted.map_err(anyhow::Error::msg)?)?;
        let decrypt = format!(r#"{{{{ decryptAES "pässword" "{encrypted}" }}}}"#);
        let helm = oracle.ask_one(Request::Expr(asked(decrypt)))?.result();
        assert_eq!(helm, Ok("x".repeat(length).into_bytes()));
    }
    Ok(())
}
