//! Windows that slide, and what waits beside them.

use super::*;

#[test]
fn a_window_slides_and_begins_nothing_over_its_budget() {
    let body = r#"
        local r = window({ "m1", "m2", "m3", "m4" }, function(m)
            demo.act { member = m, n = 1 }
            demo.act { member = m, n = 2 }
        end, { limit = 2 })
        return #r
    "#;
    let (trace, outcome) = play(load(body).unwrap(), m2_fails);
    insta::assert_snapshot!(format!("{}\n{}", trace.join("\n"), shown(&outcome)));
}

#[test]
fn a_window_continues_once_its_failures_count_no_more() {
    let body = r#"
        local r = window({ "m1", "m2", "m3" }, function(m)
            demo.act { member = m }
            return m .. "!"
        end, {
            limit = 1,
            over = function(failures)
                demo.act { list = { failures[1].label, failures[1].message } }
                return {}
            end,
        })
        return { r[1].value, r[2].error.message, r[3].value }
    "#;
    let (trace, outcome) = play(load(body).unwrap(), m2_fails);
    insta::assert_snapshot!(format!("{}\n{}", trace.join("\n"), shown(&outcome)));
}

#[test]
fn what_waits_in_a_window_has_none_of_its_places() {
    let body = r#"
        local busy, most = 0, 0
        local r = window({ "m1", "m2", "m3" }, function(m, _, waits)
            waits(function() demo.act { member = m, n = 1 } end)
            busy = busy + 1
            most = math.max(most, busy)
            demo.act { member = m, n = 2 }
            busy = busy - 1
        end, { limit = 1, budget = 1 })
        return { r[1].ok, r[2].error.message, r[3].ok, most }
    "#;
    let (trace, outcome) = play(load(body).unwrap(), m2_fails);
    // All wait at once; one after the other goes on, and one that failed while it waited had no place to leave.
    let asked = |text: &str| trace.iter().position(|line| line.contains(text)).unwrap();
    assert!(asked("m3/demo.act#1") < asked("m1/demo.act#2"), "{trace:?}");
    assert_eq!(outcome.unwrap(), json!([true, "it broke", true, 1]));
}

#[test]
fn a_window_over_its_budget_does_not_wait_for_what_waits() {
    let body = r#"
        local r = window({ "m1", "m2", "m3" }, function(m, _, waits)
            if m == "m1" then
                waits(function() demo.act { member = m, n = 1 } end)
                return m
            end
            error(m .. " is odd")
        end, { limit = 1, over = function(failures)
            demo.act { list = { failures[1].label } }
            return {}
        end })
        return { r[1].value, r[2].error.message, r[3].error.message }
    "#;
    let (trace, outcome) = play(load(body).unwrap(), yes);
    let acts = trace.iter().filter(|line| line.contains("demo.act#"));
    assert_eq!(acts.count(), 3, "{trace:?}");
    let outcome = outcome.unwrap().to_string();
    assert!(
        outcome.contains("m2 is odd") && outcome.contains("m3 is odd"),
        "{outcome}"
    );
}

#[test]
fn what_is_over_the_budget_may_be_looked_at_side_by_side() {
    let over = |over: &str| {
        let body = format!(
            r#"
        local r = window({{ "m1", "m2" }}, function(m, _, waits)
            if m == "m1" then
                waits(function() demo.act {{ member = m, n = 1 }} end)
                return m
            end
            error(m .. " is odd")
        end, {{ over = function(failures)
            {over}
        end }})
        local after = parallel({{ "m3" }}, function(m) return m end)
        return {{ r[1].value, r[2].error.message, after[1] }}
    "#
        );
        play(load(&body).unwrap(), yes)
    };
    let (_, outcome) = over(
        "parallel({ \"m3\" }, function(m) demo.act { member = m, n = 2 } end)
        return {}",
    );
    let outcome = outcome.unwrap().to_string();
    assert!(
        outcome.contains(r#""m1""#) && outcome.contains(r#""m3""#),
        "{outcome}"
    );
    let (trace, outcome) = over("return nil");
    let why = outcome.unwrap_err().to_string();
    assert!(
        why.contains("over returned nil, no list of failures"),
        "{why}"
    );
    assert!(trace.iter().any(|line| line.contains("m1")), "{trace:?}");
}

#[test]
fn waiting_in_a_window_is_for_its_items_alone() {
    for (body, why) in [
        (
            "waits(function() waits(function() end) end)",
            "one thing at a time",
        ),
        (
            "parallel({ 1, 2 }, function() waits(function() end) end)",
            "one thing at a time",
        ),
        (
            "table.sort({ 2, 1 }, function() waits(function() end) end)",
            "waits",
        ),
    ] {
        let body = format!(
            "local r = window({{ 1 }}, function(_, _, waits) {body} end, {{ budget = 1 }})\nreturn r[1].error.message"
        );
        let (_, outcome) = play(load(&body).unwrap(), yes);
        let said = outcome.unwrap().to_string();
        assert!(said.contains(why), "{said}");
    }
}
