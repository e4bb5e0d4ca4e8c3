//! Which service account an application's requests are made as.

use std::collections::BTreeSet;

use pintle_cluster::ServiceAccount;
use pintle_core::names::ApplicationName;

/// The value that stands for all namespaces.
const ANY: &str = "*";
/// The maximum length of a service account's name.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>
const NAME_LIMIT: usize = 253;

/// Why there is no account to make an application's requests as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAccount {
    #[error(
        "in whose name is it to be applied? Set `serviceAccountName` to a service account in this namespace; the agent has no \
         --default-service-account"
    )]
    NoDefault,
    #[error(
        "in whose name is it to be applied? Set `serviceAccountName` to a service account in this namespace; the agent's default, \
         {default}, is only for namespaces that it was started with --trust-namespace for"
    )]
    NotTrusted { default: String },
    #[error(
        "`serviceAccountName`: `{0}` is no name of a service account: expected lowercase letters, digits, `-` and `.`; it is always \
         one in this namespace"
    )]
    Name(String),
}

/// Why the agent's default account cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--default-service-account {0}: expected NAME, or NAMESPACE/NAME")]
pub(crate) struct ParseDefaultError(String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Default {
    /// The account of this name in each application's own namespace.
    Own(String),
    /// One account for all applications that may use it.
    Shared(ServiceAccount),
}

/// Decides which service account each application uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accounts {
    default: Option<Default>,
    trusted: BTreeSet<String>,
}

impl Accounts {
    /// Parses what the agent was started with. Applications in `trusted` namespaces may use a default account that is in another
    /// namespace.
    pub(crate) fn new(
        default: Option<&str>,
        trusted: impl IntoIterator<Item = String>,
    ) -> Result<Self, ParseDefaultError> {
        let parse = |text: &str| match text.split_once('/') {
            None if is_name(text) => Ok(Default::Own(text.to_owned())),
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Default::Shared(ServiceAccount::new(namespace, name)))
            }
            _ => Err(ParseDefaultError(text.to_owned())),
        };
        Ok(Self {
            default: default.map(parse).transpose()?,
            trusted: trusted.into_iter().collect(),
        })
    }

    /// Returns the service account that an application's requests are made as: the account in its own namespace that it names, or
    /// the default one.
    pub(crate) fn of(
        &self,
        application: &ApplicationName,
        named: Option<&str>,
    ) -> Result<ServiceAccount, NoAccount> {
        let namespace = &application.namespace;
        match (named, &self.default) {
            // A colon would name an account in another namespace, or no account at all.
            (Some(name), _) if !is_name(name) => Err(NoAccount::Name(name.to_owned())),
            (Some(name), _) => Ok(ServiceAccount::new(namespace, name)),
            (None, Some(Default::Own(name))) => Ok(ServiceAccount::new(namespace, name)),
            (None, Some(Default::Shared(account))) => {
                let is_trusted = account.namespace == *namespace
                    || self.trusted.contains(namespace)
                    || self.trusted.contains(ANY);
                if !is_trusted {
                    let default = format!("{}/{}", account.namespace, account.name);
                    return Err(NoAccount::NotTrusted { default });
                }
                Ok(account.clone())
            }
            (None, None) => Err(NoAccount::NoDefault),
        }
    }
}

/// Returns whether a text is a DNS subdomain. A DNS label is one, too.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        part.bytes().all(|byte| plain(byte) || byte == b'-')
            && part.bytes().next().is_some_and(plain)
            && part.bytes().last().is_some_and(plain)
    };
    text.len() <= NAME_LIMIT && text.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(accounts: &Accounts, namespace: &str, named: Option<&str>) -> String {
        match accounts.of(&ApplicationName::new(namespace, "web"), named) {
            Ok(account) => account.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn without_a_default_an_application_names_its_account_or_is_refused() {
        let accounts = Accounts::new(None, []).unwrap();
        assert_eq!(
            said(&accounts, "shop", Some("deployer")),
            "system:serviceaccount:shop:deployer"
        );
        insta::assert_snapshot!(said(&accounts, "shop", None), @"in whose name is it to be applied? Set `serviceAccountName` to a service account in this namespace; the agent has no --default-service-account");
    }

    #[test]
    fn nobody_gets_the_account_of_another_namespace_by_its_name() {
        let accounts = Accounts::new(None, []).unwrap();
        insta::assert_snapshot!(said(&accounts, "shop", Some("victim:deployer")), @"`serviceAccountName`: `victim:deployer` is no name of a service account: expected lowercase letters, digits, `-` and `.`; it is always one in this namespace");
        for name in [
            "",
            "victim/deployer",
            "a\nb",
            "A",
            "-a",
            "a.",
            "a..b",
            "ä",
            &"a".repeat(254),
        ] {
            let error = accounts.of(&ApplicationName::new("shop", "web"), Some(name));
            assert_eq!(error, Err(NoAccount::Name(name.to_owned())));
        }
    }

    #[test]
    fn a_default_without_a_namespace_is_in_each_applications_own() {
        let accounts = Accounts::new(Some("deployer"), []).unwrap();
        assert_eq!(
            said(&accounts, "shop", None),
            "system:serviceaccount:shop:deployer"
        );
        assert_eq!(
            said(&accounts, "shop", Some("other")),
            "system:serviceaccount:shop:other"
        );
    }

    #[test]
    fn a_default_of_another_namespace_is_for_trusted_ones() {
        let shared = "pintle-system/pintle-applier";
        let accounts = Accounts::new(Some(shared), ["ops".to_owned()]).unwrap();
        let applier = "system:serviceaccount:pintle-system:pintle-applier";
        assert_eq!(said(&accounts, "pintle-system", None), applier);
        assert_eq!(said(&accounts, "ops", None), applier);
        insta::assert_snapshot!(said(&accounts, "shop", None), @"in whose name is it to be applied? Set `serviceAccountName` to a service account in this namespace; the agent's default, pintle-system/pintle-applier, is only for namespaces that it was started with --trust-namespace for");
        let all = Accounts::new(Some(shared), ["*".to_owned()]).unwrap();
        assert_eq!(said(&all, "shop", None), applier);
        assert_eq!(
            said(&all, "shop", Some("deployer")),
            "system:serviceaccount:shop:deployer"
        );
    }

    #[test]
    fn a_default_that_is_none_is_refused() {
        for bad in ["", "/", "a/", "/a", "a/b/c", "a:b"] {
            assert!(Accounts::new(Some(bad), []).is_err(), "{bad}");
        }
    }
}
