//! A push that a git server reports is fetched at once.

use anyhow::Result;
use hmac::{Hmac, Mac as _};
use pintle_harness::until;
use sha2::Sha256;

use crate::world::{LIMIT, Stage, WEBHOOK_TOKEN, config_map};

fn sign(token: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("HMAC takes any key");
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// Reports a push, and returns the status of the answer.
fn tell(stage: &Stage, body: &str, signature: Option<&str>) -> Result<u16> {
    let url = format!("{}/webhook/generic", stage.agent.webhooks());
    let mut request = reqwest::Client::new().post(url).body(body.to_owned());
    if let Some(signature) = signature {
        request = request.header("X-Signature-256", signature);
    }
    Ok(stage.world.wait(request.send())?.status().as_u16())
}

#[test]
fn a_signed_webhook_starts_a_fetch_and_a_forged_one_is_refused() -> Result<()> {
    let stage = Stage::new("webhook")?;
    // The application's interval is an hour.
    stage.deploy("shop", &[("a.yaml", &config_map("settings", "1"))])?;
    let second = stage
        .repository
        .push_files(&[("a.yaml", &config_map("settings", "2"))], "second")?;
    let url = stage.world.servers.git_http(&stage.repository);
    // A host may know the repository by a name in another case.
    let body = serde_json::json!({ "url": url.to_uppercase() }).to_string();
    // The Secret is watched, so the agent may have started to listen before it has read it.
    until("the webhook is accepted", LIMIT, || {
        assert_ne!(tell(&stage, &body, None)?, 202);
        Ok(
            match tell(&stage, &body, Some(&sign(WEBHOOK_TOKEN, &body)))? {
                202 => Ok(()),
                status => Err(status.to_string()),
            },
        )
    })?;
    stage.ready_at("shop", &second)?;
    assert_eq!(stage.object("ConfigMap", "settings")?["data"]["value"], "2");
    for signature in [
        None,
        Some(sign("another secret", &body)),
        Some("sha256=".to_owned()),
    ] {
        assert_eq!(
            tell(&stage, &body, signature.as_deref())?,
            401,
            "{signature:?}"
        );
    }
    Ok(())
}
