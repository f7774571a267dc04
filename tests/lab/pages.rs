//! A report in a browser: it opens, fits, and can be read.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use lockstep_tests::desk::{Desk, held, printed, troubled};
use lockstep_tests::lab::{read, wait_until, write};
use serde_json::json;

use crate::browser::Page;

/// Opens a report at two widths in two schemes: nothing is complained of or fetched, and nothing sticks out.
fn inspect(file: &Path) -> Page {
    let mut page = Page::open(file);
    let mut grounds = Vec::new();
    for width in [400, 1280] {
        for scheme in ["light", "dark"] {
            page.look(width, scheme);
            for open in ["false", "true"] {
                page.eval(&format!(
                    "document.querySelectorAll('details').forEach(d => d.open = {open})"
                ));
                let [wide, room] = ["scrollWidth", "clientWidth"]
                    .map(|of| page.eval(&format!("document.documentElement.{of}")));
                assert_eq!(wide, room, "at {width} px, folds open: {open}");
            }
            let ground = page.eval("getComputedStyle(document.body).backgroundColor");
            grounds.push(ground.as_str().unwrap().to_owned());
        }
    }
    assert_ne!(grounds[0], grounds[1], "dark is another ground than light");
    assert_eq!(grounds[..2], grounds[2..]);
    assert_eq!(page.complaints(file), Vec::<String>::new());
    page
}

#[test]
fn a_report_opens_folds_and_fits() {
    let desk = troubled();
    let _ = desk.run(&["report", "update-1"]).exits(0);
    let file = desk.path("update-1.html");
    drop(inspect(&file));
    // The folds are closed at first, open at a click, and close again.
    let mut page = Page::open(&file);
    page.look(1280, "light");
    assert_eq!(
        page.eval("document.querySelectorAll('details[open]').length"),
        0
    );
    let height = "document.querySelector('details.wave').getBoundingClientRect().height";
    let folded = page.eval(height).as_f64().unwrap();
    let click = "document.querySelector('details.wave > summary').click()";
    page.eval(click);
    assert!(page.eval(height).as_f64().unwrap() > folded + 20.0);
    page.eval(click);
    assert_eq!(page.eval(height).as_f64().unwrap(), folded);
    // It can be read by those who don't see it.
    assert_eq!(page.eval("document.querySelectorAll('h1').length"), 1);
    assert_eq!(
        page.eval("[...document.querySelectorAll('thead th')].every(th => th.scope == 'col')"),
        true
    );
    let named = "document.querySelector('svg').getAttribute('aria-labelledby').split(' ').map(id => document.getElementById(id).textContent).join('\\n')";
    let named = page.eval(named);
    assert!(
        named.as_str().unwrap().contains("Timeline of update-1"),
        "{named}"
    );
    // One row for the cluster and one for each member, and what was held is seen.
    assert_eq!(
        page.eval("document.querySelectorAll('svg text.member').length"),
        4
    );
    assert_eq!(
        page.eval("document.querySelectorAll('svg rect.stuck').length"),
        2
    );
    assert_eq!(
        page.eval("document.querySelectorAll('svg rect.pause').length"),
        2
    );
    for scheme in ["light", "dark"] {
        page.look(1280, scheme);
        assert_eq!(page.eval(CONTRAST), json!([]), "{scheme}");
    }
}

/// Texts whose contrast with what is behind them is less than 4.5.
const CONTRAST: &str = r"(() => {
    const rgb = text => text.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } };
    const faint = [];
    for (const e of document.querySelectorAll('body *')) {
        if (e.closest('svg') || ![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim())) continue;
        const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((a, b) => b - a);
        if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(e.outerHTML.slice(0, 80));
    }
    return faint;
})()";

#[test]
fn a_report_of_fifty_members_fits_too() {
    let desk = Desk::new();
    let _ = desk
        .run(&["update", "--cluster", "twin:50", "--only", "lxd"])
        .exits(0);
    let _ = desk.run(&["report", "update-1"]).exits(0);
    let file = desk.path("update-1.html");
    assert!(fs::metadata(&file).unwrap().len() < 8_000_000);
    let mut page = inspect(&file);
    assert_eq!(
        page.eval("document.querySelectorAll('svg text.member').length"),
        51
    );
}

#[test]
fn a_printed_report_shows_the_steps_and_not_their_transcripts() {
    let desk = held();
    let _ = desk.run(&["report", "site-1"]).exits(0);
    let mut page = Page::open(&desk.path("site-1.html"));
    let seen = |what: &str| format!("document.querySelector('{what}').checkVisibility()");
    let (step, body) = (seen("details.step > summary"), seen("details.step > .body"));
    assert_eq!(page.eval(&step), false, "its wave is folded");
    page.ask("Emulation.setEmulatedMedia", &json!({"media": "print"}));
    assert_eq!(page.eval(&step), true, "a wave is unfolded on paper");
    assert_eq!(page.eval(&body), false, "what a step did stays folded");
    assert_eq!(
        page.eval("getComputedStyle(document.body).backgroundColor"),
        "rgb(255, 255, 255)"
    );
}

#[test]
fn what_members_print_is_harmless_in_every_form() {
    let desk = held();
    let evil = "</pre><script>document.title = 'owned'</script><img src=http://evil.test/x onerror=alert(1)>\u{1b}[2J\u{7}\u{202e}";
    printed(&desk, evil);
    let steps = desk.run(&["show", "site-1", "--steps"]).exits(0);
    assert!(
        !steps.contains('\u{1b}') && steps.contains("␛[2J␇"),
        "{steps}"
    );
    let _ = desk.run(&["report", "site-1"]).exits(0);
    let file = desk.path("site-1.html");
    let html = read(&file);
    assert!(!html.contains("<script") && !html.contains('\u{1b}'));
    let mut page = Page::open(&file);
    let shown = page.eval("document.body.textContent");
    assert!(
        shown
            .as_str()
            .unwrap()
            .contains("</pre><script>document.title"),
        "it is shown as text"
    );
    assert_eq!(page.eval("document.title"), "site-1: held");
    assert_eq!(page.complaints(&file), Vec::<String>::new());
}

/// What is played on the clusters of a large fleet: a run is done at once, or fails with words that mean something in a page.
const SITE: &str = "return { api = 1, params = { well = { type = 'boolean', default = true } }, run = function(_, p)
    if not p.well then
        error('<script>alert(1)</script>')
    end
end }";

/// Starts a rollout of 2,000 clusters whose first ring has 400, of which 100 failed. Their runs are copies of two, which the
/// rollout finds by their names.
fn large() -> Desk {
    let desk = Desk::new();
    write(&desk.path("site.lua"), SITE);
    let run = ["run", "site.lua", "--cluster", "twin:1"];
    let _ = desk.run(&run).exits(0);
    let failed = desk.run(&[&run[..], &["-p", "well=false"]].concat());
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let mut fleet = String::from(
        "name = \"stores\"\n[[rollout.rings]]\nname = \"early\"\nselect = \"early=true\"\nlimit = 50\nbudget = 100\n\n[[rollout.rings]]\nname = \"rest\"\nlimit = 50\nsoak = \"24h\"\n",
    );
    for i in 0..2000 {
        let name = match i {
            0 => EVIL.to_owned(),
            i => format!("store-{i:04}"),
        };
        let early = i < 400;
        fleet += &format!(
            "[[clusters]]\nname = {name:?}\nfile = \"twin:1\"\nlabels = {{ early = \"{early}\" }}\n"
        );
        if early {
            let from = if i < 100 { "site-2" } else { "site-1" };
            let to = desk.path(&format!("state/runs/rollout-1.{name}"));
            fs::create_dir(&to).unwrap();
            for file in ["journal.jsonl", "events.jsonl"] {
                let from = desk.path("state/runs").join(from).join(file);
                fs::copy(from, to.join(file)).unwrap();
            }
        }
    }
    write(&desk.path("fleet.toml"), &fleet);
    let begun = desk.run(&["fleet", "rollout", "site.lua", "--quiet"]);
    assert_eq!(begun.code, Some(4), "{begun:?}");
    desk
}

/// A cluster's name that has whatever could mean something in a page or an address.
const EVIL: &str = "a<video>&'%41\"?";

#[test]
fn a_report_of_two_thousand_clusters_fits_a_phone() {
    let desk = large();
    let mut watch = desk.command(&["fleet", "report", "--watch", "web"]);
    let mut watch = watch.stdout(Stdio::null()).spawn().unwrap();
    let index = desk.path("web/index.html");
    wait_until("no page is written", || {
        index.exists() && read(&index).matches("href=\"rollout-1.").count() == 500
    });
    // As the page was, it is loaded again by itself.
    let mut page = Page::open(&index);
    page.eval("window.name = 'seen'; document.body.dataset.old = 'yes'");
    wait_until("the page isn't loaded again", || {
        page.eval("document.body?.dataset.old ?? 'no'") == "no"
    });
    assert_eq!(page.complaints(&index), Vec::<String>::new());
    watch.kill().unwrap();
    watch.wait().unwrap();
    // The same page without that stands still to be looked at.
    let _ = desk
        .run(&["fleet", "report", "-o", "web/once.html"])
        .exits(0);
    let once = desk.path("web/once.html");
    let size = fs::metadata(&once).unwrap().len();
    assert!(size < 600_000, "{size}");
    let mut page = inspect(&once);
    assert_eq!(page.eval("document.title"), "rollout-1: held");
    let links = "[...document.querySelectorAll('a')].map(a => decodeURIComponent(new URL(a.href).pathname))";
    let links = page.eval(links);
    let links: Vec<&str> = links
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|l| l.as_str())
        .collect();
    assert_eq!(
        links.len(),
        500,
        "each that was begun, and those that stopped once more"
    );
    for link in links {
        assert!(Path::new(link).exists(), "{link}");
    }
    let named = "document.querySelector('tbody th a').textContent";
    assert_eq!(page.eval(named), EVIL);
    assert_eq!(
        page.eval("document.querySelectorAll('video, script').length"),
        0
    );
    let shown = "document.querySelector('main').textContent.includes('<script>alert(1)</script>')";
    assert_eq!(page.eval(shown), true);
    let bar = "document.querySelector('svg.bar').getAttribute('aria-label')";
    assert_eq!(page.eval(bar), "300 done, 100 failed");
    page.eval("document.querySelectorAll('details').forEach(d => d.open = false)");
    for scheme in ["light", "dark"] {
        page.look(400, scheme);
        assert_eq!(page.eval(CONTRAST), json!([]), "{scheme}");
    }
}
