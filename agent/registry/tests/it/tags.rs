//! Lists of tags: long ones, and those that have no end.

use pintle_registry::{RegistryError, Repository};
use serde_json::json;

use crate::{
    hostile::ANONYMOUS,
    lies::{Answer, Asked, Liar, endless, ok, with},
    support::{registry, said},
};

async fn tags(liar: &Liar) -> Result<Vec<String>, RegistryError> {
    let repository: Repository = format!("{}/x", liar.address()).parse().unwrap();
    registry().tags(&repository, &ANONYMOUS).await
}

/// Answers with so many tags of so many, those after the last one of the page before, whatever number was asked for.
fn page(asked: &Asked, size: u32, of: u32) -> Answer {
    let start: u32 = match asked.line.split_once("last=") {
        Some((_, last)) => last.parse().unwrap(),
        None => 0,
    };
    let end = of.min(start + size);
    let tags: Vec<_> = (start..end).map(|number| format!("1.0.{number}")).collect();
    let answer = ok(json!({"name": "x", "tags": tags}).to_string());
    if end == of {
        return answer;
    }
    let next = format!("</v2/x/tags/list?n={size}&last={end}>; rel=\"next\"");
    with(answer, "link", &next)
}

#[tokio::test]
async fn a_long_list_may_come_in_short_pages() {
    let liar = Liar::start(|asked: &Asked| page(asked, 50, 10_000)).await;
    let tags = tags(&liar).await.unwrap();
    assert_eq!(tags.len(), 10_000);
    assert_eq!(tags.last().map(String::as_str), Some("1.0.9999"));
}

#[tokio::test]
async fn a_list_goes_on_whatever_other_links_there_are() {
    let liar = Liar::start(|asked: &Asked| {
        let mut answer = page(asked, 50, 200);
        if let Some(next) = answer.headers_mut().remove("link") {
            answer = with(answer, "link", "<https://cdn.example.com>; rel=preconnect");
            answer.headers_mut().append("link", next);
        }
        answer
    })
    .await;
    assert_eq!(tags(&liar).await.unwrap().len(), 200);

    let liar =
        Liar::start(|asked: &Asked| with(page(asked, 50, 50), "link", "/next; rel=next")).await;
    let error = tags(&liar).await.unwrap_err();
    insta::assert_snapshot!(said(&error, &liar.address()), @r#"cannot list the tags of `REGISTRY/x`: the list of tags cannot be understood: the next page is not known, because the `Link` header is not as in RFC 8288; expected `<URL>; rel="next"`, or no such header on the last page"#);
}

#[tokio::test]
async fn a_long_list_may_come_at_once_with_much_that_is_no_version() {
    let liar = Liar::start(|_: &Asked| {
        let signature = |number: u32| format!("sha256-{number:064}.sig");
        let tags: Vec<_> = (0..20_000)
            .flat_map(|number| [format!("1.0.{number}"), signature(number)])
            .collect();
        ok(json!({"name": "x", "tags": tags}).to_string())
    })
    .await;
    let tags = tags(&liar).await.unwrap();
    assert_eq!(tags.len(), 20_000);
    assert!(tags.iter().all(|tag| tag.starts_with("1.0.")));
}

#[tokio::test]
async fn a_list_without_end() {
    let answers: [fn(&Asked) -> Answer; 3] = [
        |asked| page(asked, 1, u32::MAX),
        |_| {
            let tags = vec!["\"1\""; 100_001].join(",");
            ok(format!(r#"{{"tags":[{tags}]}}"#))
        },
        |_| endless(),
    ];
    let mut all = Vec::new();
    for answer in answers {
        let liar = Liar::start(answer).await;
        let error = tags(&liar).await.unwrap_err();
        assert!(!error.is_retryable());
        all.push(said(&error, &liar.address()));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot list the tags of `REGISTRY/x`: the list of tags goes on after 2000 pages, and no more are read; name the tag itself, or a digest, in place of a range
    cannot list the tags of `REGISTRY/x`: the list of tags goes on after 100000 versions, and no more are read; name the tag itself, or a digest, in place of a range
    cannot list the tags of `REGISTRY/x`: the list of tags goes on after 33554432 bytes, and no more are read; name the tag itself, or a digest, in place of a range
    ");
}
