//! Objects that an application renders and does not claim: it was not allowed to write them, or has not reached them.

use super::*;

#[test]
fn what_an_application_may_not_write_it_does_not_claim() {
    let claims = claims(&["a", "b"]);
    render(&claims, "a", "1", &[]);
    render(&claims, "b", "1", &["x", "y"]);
    claims.forbid(&app("b"), [id("x")].iter());
    render(&claims, "b", "1", &["x", "y"]);
    assert_eq!(claimant(&claims, "a", "x"), "nobody");
    assert_eq!(owner(&claims, "a", "shop.b", "x"), Claim::Left);
    assert_eq!(claimant(&claims, "a", "y"), "shop.b");
    let has = |object| claims.has(&app("b"), &id(object));
    assert_eq!(["x", "y", "z"].map(has), [false, true, false]);
    claims.unbar(&app("b"));
    assert_eq!(claimant(&claims, "a", "x"), "shop.b");
}

#[test]
fn what_an_application_comes_to_later_it_claims() {
    let claims = claims(&["a", "b"]);
    let b = app("b");
    render(&claims, "a", "1", &[]);
    render(&claims, "b", "1", &["x", "y"]);
    let claimants = || ["x", "y"].map(|object| claimant(&claims, "a", object));
    claims.bar(&b, [id("x"), id("y")].iter());
    assert_eq!(claimants(), ["nobody", "nobody"]);
    claims.prove(&b, [id("x")].iter());
    assert_eq!(claimants(), ["shop.b", "nobody"]);
    claims.reach(&b, [id("y")].iter());
    assert_eq!(claimants(), ["shop.b", "shop.b"]);
}

#[test]
fn what_was_refused_is_claimed_when_it_was_written_and_not_before() {
    let claims = claims(&["a", "b"]);
    let (b, x) = (app("b"), [id("x")]);
    render(&claims, "a", "1", &[]);
    render(&claims, "b", "1", &["x"]);
    claims.forbid(&b, x.iter());
    claims.bar(&b, x.iter());
    claims.reach(&b, x.iter());
    assert_eq!(claimant(&claims, "a", "x"), "nobody");
    claims.prove(&b, x.iter());
    assert_eq!(claimant(&claims, "a", "x"), "shop.b");
}

#[test]
fn who_has_an_object_keeps_it_although_his_run_has_not_ended() {
    let claims = claims(&["a", "b"]);
    render(&claims, "a", "1", &[]);
    claims.bar(&app("b"), [id("x")].iter());
    render(&claims, "b", "1", &["x"]);
    assert_eq!(owner(&claims, "a", "shop.b", "x"), Claim::Wanted);
    assert_eq!(claimant(&claims, "a", "x"), "nobody", "it is another's");
    // A question from another replica gets the same answer.
    let asked = |owner: Option<&str>| {
        let question = Question {
            by: "shop.a".into(),
            cluster: String::new(),
            objects: vec![Key::of("", &id("x"))],
            source: None,
            owner: owner.map(ToOwned::to_owned),
        };
        let (answer, _) = claims.lock().answer(&question);
        answer.claims.len()
    };
    assert_eq!((asked(Some("shop.b")), asked(None)), (1, 0));
}

#[test]
fn who_is_superseded_again_and_again_comes_to_nothing() {
    let claims = claims(&["a"]);
    let is_too_often = || claims.supersede(&app("a"));
    assert!((0..SUPERSEDED).all(|_| !is_too_often()));
    assert!(is_too_often());
    claims.unbar(&app("a"));
    assert!(!is_too_often());
    assert!(!claims.supersede(&app("b")), "it is not there");
}
