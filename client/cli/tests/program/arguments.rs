// SPDX-License-Identifier: Apache-2.0
//! What `code_mode run` gives a script, and what it takes from the command line and configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pretty_assertions::assert_eq;

use super::support::{Fixture, program};

#[test]
fn arguments_and_input_reach_the_script() {
    let fixture = Fixture::new();
    fixture.file(
        "a.js",
        "text(args);\ntext(input);\ntext(globalThis.args.length)",
    );
    let arguments = [
        "run",
        "a.js",
        "one",
        "--input",
        "{\"__proto__\": [1]}",
        "--",
        "--two",
    ];
    let outcome = fixture.run(&arguments);
    assert_eq!(
        outcome.stdout, "[\"one\",\"--two\"]\n{\"__proto__\":[1]}\n2\n",
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_fence_around_a_script_that_is_given_something_is_taken_off() {
    let fixture = Fixture::new();
    fixture.file("a.md", "```ts\ntext(args as string[]);\nnope;\n```\n");
    let outcome = fixture.run(&["run", "a.md", "one"]);
    assert_eq!(outcome.stdout, "[\"one\"]\n", "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("exec_main.mjs:3:1"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn without_them_there_are_no_arguments_and_no_input() {
    let outcome = Fixture::new().run(&["run", "-e", "text([args.length, typeof input])"]);
    assert_eq!(outcome.stdout, "[0,\"undefined\"]\n", "{}", outcome.stderr);
}

#[test]
fn input_comes_from_files_and_standard_input_too() {
    let fixture = Fixture::new();
    fixture.file("in.json", "[1, 2]\n");
    let code = "text(input)";
    let outcome = fixture.run(&["run", "-e", code, "--input", "@in.json"]);
    assert_eq!(outcome.stdout, "[1,2]\n", "{}", outcome.stderr);
    let outcome = fixture.run_with_input(&["run", "-e", code, "--input", "@-"], "{\"a\": 1}");
    assert_eq!(outcome.stdout, "{\"a\":1}\n", "{}", outcome.stderr);
}

#[test]
fn a_script_may_declare_these_names_itself() {
    let fixture = Fixture::new();
    fixture.file(
        "a.js",
        "const args = 1; let input = 2;\nfunction f() { return args + input; }\ntext(f());",
    );
    assert_eq!(fixture.run(&["run", "a.js", "x"]).stdout, "3\n");
}

#[test]
fn places_in_errors_are_those_of_the_file() {
    let fixture = Fixture::new();
    fixture.file("a.js", "args; throw new Error('here');");
    let outcome = fixture.run(&["run", "a.js", "x"]);
    assert!(
        outcome.stderr.contains("exec_main.mjs:1:13"),
        "{}",
        outcome.stderr
    );
    fixture.file(
        "b.js",
        "#!/usr/bin/env -S code_mode run\nargs; throw new Error('here');",
    );
    let outcome = fixture.run(&["run", "b.js", "x"]);
    assert!(
        outcome.stderr.contains("exec_main.mjs:2:13"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_file_can_be_a_program() {
    let fixture = Fixture::new();
    let text = format!(
        "#!{} run\ntext('args: ' + args.join(' '));\n",
        program().display()
    );
    let path = fixture.file("hello", &text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let inner = fixture.command(&["a", "b"]);
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "./hello a b"])
        .current_dir(fixture.folder.path());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "args: a b\n",
        "{stderr}"
    );
}

#[test]
fn tools_of_several_files_can_be_called() {
    let fixture = Fixture::new();
    fixture.tools(&[("one", "echo 1")]);
    fs::rename(
        fixture.folder.path().join("tools.json"),
        fixture.folder.path().join("one.json"),
    )
    .unwrap();
    fixture.tools(&[("two", "echo 2")]);
    let code = "text([await tools.one(), await tools.two()])";
    let outcome = fixture.run(&[
        "run",
        "-e",
        code,
        "--tools",
        "one.json",
        "--tools",
        "tools.json",
    ]);
    assert_eq!(outcome.stdout, "[1,2]\n", "{}", outcome.stderr);
}

#[test]
fn a_limit_ends_a_script() {
    let code = "for (;;);";
    let outcome = Fixture::new().run(&["run", "-e", code, "--limit", "cpu-time=200ms"]);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("CPU time"), "{}", outcome.stderr);
}

#[test]
fn images_are_saved() {
    let fixture = Fixture::new();
    let code = "image('data:image/png;base64,AAEC'); image('data:image/jpeg;base64,AAEC')";
    let outcome = fixture.run(&["run", "-e", code, "--images", "pictures", "--json"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    let folder = fixture.folder.path().join("pictures");
    for name in ["image-1.png", "image-2.jpg"] {
        assert_eq!(fs::read(folder.join(name)).unwrap(), [0, 1, 2], "{name}");
        assert!(outcome.stdout.contains(name), "{}", outcome.stdout);
    }
    fixture.file("taken", "");
    let outcome = fixture.run(&["run", "-e", code, "--images", "taken"]);
    assert_eq!(outcome.status, Some(2));
    assert!(
        outcome.stderr.contains("failed to save image 1"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_configuration_gives_defaults_and_the_help_says_so() {
    let fixture = Fixture::new();
    fixture.tools(&[("one", "echo 1")]);
    fixture.file(
        "code_mode.toml",
        "tools = ['tools.json']\ntimeout = '500ms'\n",
    );
    let user = fixture.folder.path().join(".config/code_mode");
    fs::create_dir_all(&user).unwrap();
    fs::write(
        user.join("config.toml"),
        "timeout = '1h'\nstore = 'kept.json'\n",
    )
    .unwrap();
    let outcome = fixture.run(&["run", "-e", "store('n', await tools.one()); for (;;);"]);
    assert_eq!(outcome.stderr, "-e was terminated: timed out after 500ms\n");
    assert!(user.join("kept.json").is_file());
    let help = fixture.run(&["run", "--help"]).stdout;
    let help: String = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("[now 500ms, from"), "{help}");
    assert!(help.contains("/code_mode.toml]"), "{help}");
    assert!(help.contains("kept.json, from"), "{help}");
    assert!(
        help.contains("code_mode_host, from CODE_MODE_HOST]"),
        "{help}"
    );
}

#[test]
fn a_broken_configuration_is_shown_with_its_place_and_the_help_still_comes() {
    let fixture = Fixture::new();
    fixture.file("code_mode.toml", "timeout = 'soon'\n");
    let outcome = fixture.run(&["run", "-e", "1"]);
    assert_eq!(outcome.status, Some(2));
    assert!(
        outcome.stderr.contains("line 1, column 11"),
        "{}",
        outcome.stderr
    );
    assert_eq!(fixture.run(&["run", "--help"]).status, Some(0));
}

#[test]
fn quiet_and_verbose_say_less_and_more() {
    let fixture = Fixture::new();
    fixture.tools(&[("echo", "cat")]);
    let code = "notify('half'); text(await tools.echo([1]))";
    let base = ["run", "-e", code, "--tools", "tools.json"];
    let quiet = fixture.run(&[&base[..], &["-q"]].concat());
    assert_eq!(
        (quiet.stdout.as_str(), quiet.stderr.as_str()),
        ("[1]\n", "")
    );
    let verbose = fixture.run(&[&base[..], &["-v"]].concat());
    assert_eq!(verbose.stdout, "[1]\n");
    assert!(
        verbose.stderr.contains("[notify] half\n"),
        "{}",
        verbose.stderr
    );
    assert!(
        verbose.stderr.contains("] echo [1]\n"),
        "{}",
        verbose.stderr
    );
    assert!(
        verbose.stderr.contains("] echo done ("),
        "{}",
        verbose.stderr
    );
}

#[test]
fn colours_are_used_when_they_are_asked_for() {
    let fixture = Fixture::new();
    let code = "throw new Error('x')";
    let plain = fixture.run(&["run", "-e", code]);
    assert!(!plain.stderr.contains('\u{1b}'), "{}", plain.stderr);
    let coloured = fixture.run(&["run", "-e", code, "--color", "always"]);
    assert!(coloured.stderr.contains('\u{1b}'), "{}", coloured.stderr);
}
