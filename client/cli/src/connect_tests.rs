// SPDX-License-Identifier: Apache-2.0
use super::*;

/// A search that only goes by what the test says.
fn search(option: Option<&str>, variable: Option<&str>) -> HostSearch {
    HostSearch {
        option: option.map(PathBuf::from),
        variable: variable.map(Into::into),
        configured: None,
        program: None,
        folder: "/work".into(),
    }
}

fn args(token: Option<&str>, ca: Option<&str>) -> HostArgs {
    HostArgs {
        host: None,
        host_token_file: token.map(PathBuf::from),
        host_ca_file: ca.map(PathBuf::from),
    }
}

fn configured(host: &str) -> Settings {
    let sourced = |value: &str| {
        Some(Sourced {
            value: PathBuf::from(value),
            file: "/home/config.toml".into(),
        })
    };
    Settings {
        host: sourced(host),
        host_token_file: sourced("/home/token"),
        ..Settings::default()
    }
}

fn address_of(host: Result<Host, SetUpError>) -> AddressConfig {
    match host {
        Ok(Host::Address(config)) => *config,
        Ok(Host::Program(path)) => panic!("{} is no program", path.display()),
        Err(error) => panic!("{}", error.message),
    }
}

fn refusal(host: Result<Host, SetUpError>) -> String {
    match host {
        Ok(host) => panic!("{host:?} is taken"),
        Err(error) => error.message,
    }
}

#[test]
fn an_address_is_taken_with_its_files() {
    let named = search(Some("https://host.example:7000"), None);
    let args = args(Some("token"), Some("/ca.pem"));
    let config = address_of(choose(
        named,
        &args,
        &Settings::default(),
        Path::new("/work"),
    ));
    assert_eq!(config.address.to_string(), "https://host.example:7000");
    assert_eq!(config.token_file, Some("/work/token".into()));
    assert_eq!(config.ca_file, Some("/ca.pem".into()));
    assert!(!config.allow_plain_token);
}

#[test]
fn the_variable_and_the_configuration_name_addresses_too_and_sockets_are_beside_who_names_them() {
    let none = args(None, None);
    let of_variable = choose(
        search(None, Some("unix:host.sock")),
        &none,
        &configured("unix:other.sock"),
        Path::new("/work"),
    );
    let config = address_of(of_variable);
    assert_eq!(config.address.to_string(), "unix:/work/host.sock");
    assert_eq!(config.token_file, None, "it belongs to the configured host");
    let of_file = choose(
        search(None, None),
        &none,
        &configured("unix:other.sock"),
        Path::new("/work"),
    );
    let config = address_of(of_file);
    assert_eq!(config.address.to_string(), "unix:/home/other.sock");
    assert_eq!(config.token_file, Some("/home/token".into()));
}

#[test]
fn what_is_no_address_of_a_host_is_refused_with_the_forms() {
    for named in ["ftp://localhost:7000", "http://localhost", "unix:"] {
        let chosen = choose(
            search(Some(named), None),
            &args(None, None),
            &Settings::default(),
            Path::new("/"),
        );
        let message = refusal(chosen);
        assert!(
            message.starts_with(named) && message.contains("is no address of a host"),
            "{message}"
        );
    }
}

#[test]
fn what_is_said_of_addresses_is_refused_for_programs_and_certificates_without_tls() {
    let none = Settings::default();
    let program = std::env::current_exe().expect("it is known");
    let program = program.to_str().expect("it is UTF-8");
    for (given, option) in [
        (args(Some("token"), None), "--host-token-file"),
        (args(None, Some("ca.pem")), "--host-ca-file"),
    ] {
        let message = refusal(choose(
            search(Some(program), None),
            &given,
            &none,
            Path::new("/"),
        ));
        assert!(message.starts_with(option), "{message}");
        assert!(message.contains("is for hosts at addresses"), "{message}");
    }
    for address in ["http://127.0.0.1:7000", "unix:/run/host"] {
        let given = args(None, Some("ca.pem"));
        let message = refusal(choose(
            search(Some(address), None),
            &given,
            &none,
            Path::new("/"),
        ));
        assert!(message.contains("is for hosts at https://"), "{message}");
    }
    // The configuration's token waits for the configured host; a program needs none.
    let chosen = choose(
        search(Some(program), None),
        &args(None, None),
        &configured("https://host.example:7000"),
        Path::new("/"),
    );
    assert!(matches!(chosen, Ok(Host::Program(_))));
}
