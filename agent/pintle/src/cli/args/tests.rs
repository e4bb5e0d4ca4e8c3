use clap::{Command, CommandFactory as _, Parser as _, error::ErrorKind};

use super::{Cli, RenderCommand, listed};

#[test]
fn each_command_is_told_by_its_own_words() {
    // The arguments of a command are built only when the command is used, or when everything is built.
    let typed = Cli::command();
    let mut built = Cli::command();
    built.build();
    same_words(&typed, &mut built);
}

fn same_words(typed: &Command, built: &mut Command) {
    let name = typed.get_name();
    let about = |command: &Command| command.get_about().map(ToString::to_string);
    let own = about(typed).unwrap_or_else(|| panic!("{name} says nothing of itself"));
    assert_eq!(about(built).as_deref(), Some(own.as_str()), "{name}");
    assert!(built.get_long_about().is_none(), "{name}");
    let help = built.render_long_help().to_string();
    let words: Vec<&str> = help.split_whitespace().collect();
    let own: Vec<&str> = own.split_whitespace().collect();
    assert!(words.starts_with(&own), "{help}");
    for within in typed.get_subcommands() {
        let built = built.find_subcommand_mut(within.get_name()).unwrap();
        same_words(within, built);
    }
}

#[test]
fn a_filter_that_is_none_is_refused() {
    let with = |filter: &str| Cli::try_parse_from(["pintle", "version", "--log", filter]);
    for filter in ["info", "pintle_cluster=debug,warn", "off"] {
        assert_eq!(with(filter).unwrap().logs.log.as_deref(), Some(filter));
    }
    let refused = with("=[[[").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ValueValidation, "{refused}");
}

#[test]
fn a_seed_that_everybody_knows_is_refused() {
    for known in ["", " \n"] {
        let refused = render(&["--seed", known]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ValueValidation, "{refused}");
        assert!(refused.to_string().contains("PINTLE_SEED"), "{refused}");
    }
    let typed = render(&["--seed", "a secret"]).unwrap();
    assert_eq!(typed.renderer.seed.as_deref(), Some("a secret"));
}

#[test]
fn flags_for_charts_are_those_of_helm() {
    let typed = ["-f", "a.yaml,b.yaml", "--values", "", "-a", "x/v1,y/v1"];
    let typed = render(&typed).unwrap();
    assert_eq!(typed.renderer.helm.listed().values, ["a.yaml", "b.yaml"]);
    assert_eq!(listed(&typed.api_versions), ["x/v1", "y/v1"]);
    // This is not a list for Helm, either.
    let typed = render(&["-s", "a,b"]).unwrap();
    assert_eq!(typed.renderer.helm.show_only, ["a,b"]);
    let refused = render(&["-f", "\"a"]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ValueValidation, "{refused}");
}

fn render(args: &[&str]) -> Result<RenderCommand, clap::Error> {
    let args = [&["pintle", "render"], args].concat();
    match Cli::try_parse_from(args)?.command {
        super::Command::Render(render) => Ok(render),
        other => panic!("{other:?}"),
    }
}
