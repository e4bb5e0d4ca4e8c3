//! Services, Ingresses, Routes of `OpenShift` and the Gateway API.

use std::fmt;

use pintle_sdk::{Assessment, Status};

use crate::generic;
use crate::object::{Condition, Conditions, Malformed, Object};
use crate::settings::Settings;
use crate::verdict::{Now, Verdict, counted, degraded, healthy, progressing};

/// Reasons of the Gateway API why something is not accepted, which end by themselves or when another object appears.
/// <https://gateway-api.sigs.k8s.io/reference/spec/>
const WAITING: [&str; 7] = [
    "AddressNotAssigned",
    "NoMatchingParent",
    "NoValidCACertificate",
    "NotReconciled",
    "Pending",
    "TargetNotFound",
    "Waiting",
];

/// Reasons of the Gateway API for which something is not programmed until its spec changes. With any other reason it is
/// progressing: `NoResources` while the pods of the data plane start, `AddressNotAssigned`, and whatever an implementation
/// calls it.
const WRONG: [&str; 3] = ["AddressNotUsable", "Invalid", "ListenersNotValid"];

/// Judges a Service. Only a load balancer has something to wait for.
///
/// <https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer>
pub(crate) fn service(object: Object, settings: &Settings, now: Now) -> Verdict {
    if let Some(failed) = object.conditions()?.truth("LoadBalancerPortsError") {
        return Ok(generic::failed(object, failed.changed, now, &failed.why()));
    }
    match object.text("/spec/type").unwrap_or("ClusterIP") {
        "LoadBalancer" => {
            if object
                .text("/spec/clusterIP")
                .unwrap_or_default()
                .is_empty()
            {
                return Ok(progressing("has no cluster IP yet"));
            }
            if !settings.wait_for_load_balancer {
                return Ok(healthy(
                    "is a load balancer whose address the settings do not wait for",
                ));
            }
            Ok(match addresses(object).as_slice() {
                [] => progressing("has no load balancer address yet"),
                addresses => healthy(format!("is reached at {}", addresses.join(", "))),
            })
        }
        kind => Ok(healthy(format!("is of type {kind}"))),
    }
}

/// Judges an Ingress by the address that its controller writes, if it has one to write.
pub(crate) fn ingress(object: Object, settings: &Settings) -> Assessment {
    match addresses(object).as_slice() {
        [] if settings.wait_for_ingress_address => progressing("has no address yet"),
        [] => healthy("has no address, which the settings do not wait for"),
        addresses => healthy(format!("is reached at {}", addresses.join(", "))),
    }
}

fn addresses(object: Object<'_>) -> Vec<&str> {
    let ingress = object.items("/status/loadBalancer/ingress");
    ingress
        .filter_map(|it| it.text("/hostname").or_else(|| it.text("/ip")))
        .collect()
}

/// Judges a Route of `OpenShift`. Each router that has looked at it has to admit it. A router that does not may still do so
/// later, such as when another Route gives up the host.
///
/// <https://github.com/openshift/api/blob/master/route/v1/types.go>
pub(crate) fn openshift_route(object: Object) -> Verdict {
    let mut routers = 0_u32;
    for (index, router) in object.items("/status/ingress").enumerate() {
        routers += 1;
        let conditions = router
            .conditions_at("/conditions")
            .map_err(|it| within(&it, "ingress", index))?;
        let name = router.text("/routerName").unwrap_or("without a name");
        match conditions.get("Admitted") {
            Some(admitted) if admitted.is_true() => {}
            Some(refused) => return Ok(progressing(format!("router {name}: {}", refused.why()))),
            None => {
                return Ok(progressing(format!(
                    "router {name} has not admitted it yet"
                )));
            }
        }
    }
    Ok(if routers == 0 {
        progressing("no router has admitted it yet")
    } else {
        healthy(format!("is admitted by {}", counted(routers, "router")))
    })
}

/// Judges a `GatewayClass` by whether its controller accepts it.
pub(crate) fn gateway_class(object: Object) -> Verdict {
    Ok(
        expect(&object.conditions()?, object.generation(), &["Accepted"])
            .unwrap_or_else(|| healthy("is accepted by its controller")),
    )
}

/// Judges a Gateway itself and each of its listeners.
///
/// <https://gateway-api.sigs.k8s.io/geps/gep-1364/>
pub(crate) fn gateway(object: Object) -> Verdict {
    const KINDS: [&str; 2] = ["Accepted", "Programmed"];
    let conditions = object.conditions()?;
    let own = expect(&conditions, object.generation(), &KINDS);
    let mut listeners = 0_u32;
    let mut wrong = Vec::new();
    for (index, listener) in object.items("/status/listeners").enumerate() {
        listeners += 1;
        let conditions = listener
            .conditions_at("/conditions")
            .map_err(|it| within(&it, "listeners", index))?;
        let name = listener.text("/name").unwrap_or("without a name");
        wrong.extend(unmet_listener(name, &conditions, object.generation()));
    }
    // This condition exists only if the Gateway itself names something, such as its certificate as a client.
    if conditions.untruth("ResolvedRefs").is_some() {
        wrong.extend(expect(&conditions, object.generation(), &["ResolvedRefs"]));
    }
    let blames_its_listeners = || {
        KINDS
            .iter()
            .filter_map(|kind| conditions.untruth(kind))
            .all(blames_listeners)
    };
    Ok(match (own, worst(wrong)) {
        // Invalid listeners are no worse than the listeners themselves, which may only be waiting for a certificate.
        (Some(own), Some(listener))
            if own.status == Status::Degraded
                && listener.status == Status::Progressing
                && blames_its_listeners() =>
        {
            listener
        }
        (Some(unmet), _) | (None, Some(unmet)) => unmet,
        (None, None) => healthy(format!(
            "is programmed with {}",
            counted(listeners, "listener")
        )),
    })
}

/// Returns whether a Gateway's condition says no more than that its listeners are not as they should be.
fn blames_listeners(condition: &Condition) -> bool {
    condition.reason == "ListenersNotValid"
        || (condition.kind == "Programmed" && condition.reason == "Invalid")
}

/// Returns what a listener still lacks, if anything.
///
/// An unresolved reference takes precedence over its consequences: without its certificate, a listener is `Invalid` as well,
/// and some implementations do not accept it for the same reason.
fn unmet_listener(
    name: &str,
    conditions: &Conditions,
    generation: Option<i64>,
) -> Option<Assessment> {
    let unresolved = conditions.untruth("ResolvedRefs");
    let refused = conditions
        .untruth("Accepted")
        .filter(|it| unresolved.is_none_or(|refs| refs.reason != it.reason));
    let wrong = refused
        .or(unresolved)
        .or_else(|| conditions.untruth("Programmed"))?;
    Some(match wrong.outdated(generation) {
        Some(outdated) => progressing(format!("listener {name}: {outdated}")),
        None => unmet(&format!("listener {name}"), wrong),
    })
}

/// Judges a route of any protocol. Each parent that its spec names has to accept it. Other answers are about parents that it
/// named before.
///
/// <https://gateway-api.sigs.k8s.io/geps/gep-1364/>
pub(crate) fn route(object: Object) -> Verdict {
    let namespace = object.text("/metadata/namespace").unwrap_or_default();
    let mut answers = Vec::new();
    for (index, answer) in object.items("/status/parents").enumerate() {
        let conditions = answer
            .conditions_at("/conditions")
            .map_err(|it| within(&it, "parents", index))?;
        if let Some(parent) = answer.object("/parentRef") {
            answers.push((Reference::read(parent, namespace), conditions));
        }
    }
    let mut parents = 0_u32;
    let mut wrong = Vec::new();
    for parent in object.items("/spec/parentRefs") {
        parents += 1;
        let parent = Reference::read(parent, namespace);
        let mut is_answered = false;
        for (_, conditions) in answers.iter().filter(|(answered, _)| *answered == parent) {
            is_answered = true;
            wrong.extend(unmet_parent(&parent, conditions, object.generation()));
        }
        if !is_answered {
            wrong.push(progressing(format!(
                "parent {parent} has not accepted it yet"
            )));
        }
    }
    Ok(match (worst(wrong), parents) {
        (Some(unmet), _) => unmet,
        (None, 0) => healthy("names no parent"),
        (None, _) => healthy(format!("is accepted by {}", counted(parents, "parent"))),
    })
}

/// Returns what a parent's answer still lacks, if anything.
fn unmet_parent(
    parent: &Reference,
    conditions: &Conditions,
    generation: Option<i64>,
) -> Option<Assessment> {
    if conditions
        .iter()
        .any(|it| it.outdated(generation).is_some())
    {
        return Some(progressing(format!(
            "parent {parent} has not observed its latest generation"
        )));
    }
    let wrong = ["Accepted", "ResolvedRefs"]
        .into_iter()
        .find_map(|kind| conditions.untruth(kind));
    if let Some(wrong) = wrong {
        return Some(unmet(&format!("parent {parent}"), wrong));
    }
    let is_accepted = conditions.truth("Accepted").is_some();
    (!is_accepted).then(|| progressing(format!("parent {parent} has not accepted it yet")))
}

/// Judges a policy of the Gateway API, or of one of its implementations, by the objects that it applies to, each of which
/// answers for itself. Returns `None` if none has answered; there may be none yet.
///
/// <https://gateway-api.sigs.k8s.io/geps/gep-713/>
pub(crate) fn policy(object: Object) -> Result<Option<Assessment>, Malformed> {
    let namespace = object.text("/metadata/namespace").unwrap_or_default();
    let mut accepted = 0_u32;
    let mut wrong = Vec::new();
    for (index, answer) in object.items("/status/ancestors").enumerate() {
        let Some(ancestor) = answer.object("/ancestorRef") else {
            continue;
        };
        let ancestor = Reference::read(ancestor, namespace);
        let conditions = answer
            .conditions_at("/conditions")
            .map_err(|it| within(&it, "ancestors", index))?;
        accepted += u32::from(conditions.truth("Accepted").is_some());
        wrong.extend(unmet_ancestor(&ancestor, &conditions, object.generation()));
    }
    Ok(worst(wrong).or_else(|| {
        (accepted > 0).then(|| healthy(format!("is accepted by {}", counted(accepted, "ancestor"))))
    }))
}

/// Returns what an answer to a policy still lacks, if anything. Implementations add conditions of their own, about which
/// nothing is known.
fn unmet_ancestor(
    ancestor: &Reference,
    conditions: &Conditions,
    generation: Option<i64>,
) -> Option<Assessment> {
    let answers: Vec<&Condition> = ["Accepted", "ResolvedRefs"]
        .into_iter()
        .filter_map(|kind| conditions.get(kind))
        .collect();
    if answers.iter().any(|it| it.outdated(generation).is_some()) {
        return Some(progressing(format!(
            "ancestor {ancestor} has not observed its latest generation"
        )));
    }
    let wrong = answers.into_iter().find(|it| !it.is_true())?;
    Some(unmet(&format!("ancestor {ancestor}"), wrong))
}

/// A parent of a route or an ancestor of a policy, with the API's defaults for omitted fields: a controller need not repeat the
/// spec's words.
///
/// <https://gateway-api.sigs.k8s.io/reference/spec/#parentreference>
#[derive(PartialEq, Eq)]
struct Reference<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    /// The section name; empty for the parent as a whole.
    section: &'a str,
    port: Option<i64>,
}

impl<'a> Reference<'a> {
    /// Reads a reference in an object of a namespace.
    fn read(reference: Object<'a>, namespace: &'a str) -> Self {
        Self {
            // An empty group is not an omitted one: it is the group of Services.
            group: reference
                .text("/group")
                .unwrap_or("gateway.networking.k8s.io"),
            kind: reference.text("/kind").unwrap_or("Gateway"),
            namespace: reference
                .text("/namespace")
                .filter(|namespace| !namespace.is_empty())
                .unwrap_or(namespace),
            name: reference.text("/name").unwrap_or_default(),
            section: reference.text("/sectionName").unwrap_or_default(),
            port: reference.int("/port").filter(|port| *port != 0),
        }
    }
}

/// Formats a reference, such as `edge section https`.
impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() {
            "without a name"
        } else {
            self.name
        };
        f.write_str(name)?;
        if !self.section.is_empty() {
            write!(f, " section {}", self.section)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, " port {port}"))
    }
}

/// Returns the assessment of the first condition that does not hold.
fn expect(conditions: &Conditions, generation: Option<i64>, kinds: &[&str]) -> Option<Assessment> {
    kinds.iter().find_map(|kind| {
        let Some(condition) = conditions.get(kind) else {
            return Some(progressing(format!("has no condition {kind} yet")));
        };
        match condition.outdated(generation) {
            Some(outdated) => Some(progressing(outdated)),
            None if condition.is_true() => None,
            None => Some(unmet("", condition)),
        }
    })
}

/// Returns the first assessment that is degraded, or else the first one.
fn worst(unmet: Vec<Assessment>) -> Option<Assessment> {
    let degraded = unmet.iter().position(|it| it.status == Status::Degraded);
    unmet.into_iter().nth(degraded.unwrap_or(0))
}

/// Returns the assessment of a condition that does not hold: degraded, unless it waits for something that may be on its way.
fn unmet(what: &str, condition: &Condition) -> Assessment {
    let text = if what.is_empty() {
        condition.why()
    } else {
        format!("{what}: {}", condition.why())
    };
    let waits = !condition.is("False")
        || match condition.kind {
            "ResolvedRefs" => true,
            "Programmed" => !WRONG.contains(&condition.reason),
            _ => WAITING.contains(&condition.reason),
        };
    if waits {
        progressing(text)
    } else {
        degraded(text)
    }
}

fn within(inner: &Malformed, list: &str, index: usize) -> Malformed {
    Malformed {
        pointer: format!("/status/{list}/{index}{}", inner.pointer),
        expected: inner.expected,
    }
}
