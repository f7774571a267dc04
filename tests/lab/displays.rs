//! Whatever a member prints, nothing that shows it does more than show it.

use std::fs;

use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{read, write};

use crate::browser::Page;

/// What a member can print to do harm: to a terminal, to a page, to a ticket, to whoever reads.
fn hostile() -> Vec<String> {
    let long = "x".repeat(1 << 20);
    [
        "\u{1b}[2J\u{1b}]0;owned\u{7}\u{1b}[31mred",
        "\u{1b}]8;;http://evil.test\u{1b}\\link\u{1b}]8;;\u{1b}\\",
        "\u{9b}31mC1 \u{90}q\u{9c} \u{85}next",
        "a\rb\u{8}\u{7f}\u{b}\u{c}\u{0e}\u{0f}",
        "\u{202e}txet\u{202c} \u{2066}isolated\u{2069} \u{200f}",
        "a\u{2028}b\u{2029}c\u{feff}",
        "</pre><script>document.title = 'owned'</script><img src=http://evil.test/x onerror=alert(1)>",
        "<a href=\"javascript:alert(1)\">x</a> ]]> --> &lt;b&gt; <style>*{display:none}</style>",
        "```\n# owned\n[x](javascript:alert(1)) | a | b |\n```` ~~~ <img src=x>",
        "error: \u{1b}[1mnot what it seems",
        &long,
    ]
    .map(str::to_owned)
    .into()
}

/// Characters that a terminal obeys, or that show something else than what is there.
fn acts(c: char) -> bool {
    c.is_control() && c != '\n'
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn what_members_print_is_only_shown_by_every_command() {
    let desk = Desk::new();
    write(
        &desk.path("here.toml"),
        "name = \"here\"\n\n[[members]]\nname = \"here\"\nlocal = true\n",
    );
    let mut steps = String::new();
    for (i, text) in hostile().iter().enumerate() {
        let file = desk.path(&format!("said-{i}"));
        fs::write(&file, text).unwrap();
        let path = file.display();
        // On both streams, as a result, as a failure that the playbook has, and in what it says itself.
        steps.push_str(&format!(
            "local r = exec {{ member = 'here', argv = {{ '/bin/sh', '-c', 'cat {path}; cat {path} >&2' }}, effect = 'read' }}
             local said = r.stdout:sub(1, 3000)
             section(said:gsub('[^%w]', '') == '' and 'plain' or 's{i}', function() log.warn(said) end)
             try(exec, {{ member = 'here', argv = {{ '/bin/sh', '-c', 'cat {path} >&2; exit 3' }}, effect = 'read' }})\n"
        ));
    }
    let last = desk.path("said-9");
    steps.push_str(&format!(
        "exec {{ member = 'here', argv = {{ '/bin/sh', '-c', 'cat {} >&2; exit 3' }}, effect = 'once' }}\n",
        last.display()
    ));
    let text = format!("return {{ api = 1, run = function()\n{steps}end }}\n");
    write(&desk.path("site.lua"), &text);
    let run = ["run", "site.lua", "--cluster", "here.toml", "--verbose"];
    let commands: [&[&str]; 10] = [
        &run,
        &["run", "site.lua", "--cluster", "here.toml", "--json"],
        &["show", "site-1"],
        &["show", "site-1", "--steps"],
        &["show", "site-1", "--json", "--steps"],
        &["runs"],
        &["watch", "site-1"],
        &["watch", "site-1", "--verbose"],
        &["report", "site-1", "--format", "markdown", "-o", "-"],
        &["resume", "site-1"],
    ];
    for args in commands {
        let ran = desk.run(args);
        for printed in [&ran.stdout, &ran.stderr] {
            let wrong = printed.char_indices().find(|(_, c)| acts(*c));
            let around =
                wrong.map(|(at, _)| printed[..at].chars().rev().take(80).collect::<String>());
            assert_eq!(wrong, None, "{args:?}: behind {around:?}");
        }
        assert!(ran.stdout.len() < 4 << 20, "{args:?}: {}", ran.stdout.len());
        assert!(matches!(ran.code, Some(0 | 4)), "{args:?}: {ran:?}");
    }
    let _ = desk.run(&["report", "site-1"]).exits(0);
    let file = desk.path("site-1.html");
    let html = read(&file);
    assert!(!html.contains("<script"));
    assert!(!html.contains(|c| acts(c) && c != '\t'));
    let mut page = Page::open(&file);
    let strange = "document.querySelectorAll('script, img, iframe, object, a[href^=\"javascript:\"], [onerror]').length";
    assert_eq!(page.eval(strange), 0);
    assert_eq!(page.eval("document.title"), "site-1: held");
    assert_eq!(page.complaints(&file), Vec::<String>::new());
}
