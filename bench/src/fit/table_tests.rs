//! Good tables, and one line for each bad one.

use super::*;

const HEAD: &str = "budget_flops,params,tokens,loss,counting\n";

fn standard() -> Words {
    Words { counting: Some(Convention::Standard), group: Vec::new() }
}

fn read(text: &str) -> Table {
    parse("t.csv", text.as_bytes(), &Words::default()).unwrap()
}

#[track_caller]
fn refused(text: &str, words: &Words, expected: &str) {
    assert_eq!(parse("t.csv", text.as_bytes(), words).unwrap_err(), expected);
}

#[test]
fn text_columns_group_and_order_is_kept() {
    let text = "arm,budget_flops,loss,params,tokens,counting,note\n\
                b,6e10,3.5,100,1e8,kaplan,x\n\
                a,6e10,3.25,100,1e8,standard,x\n\
                b,12e10,3,200,1e8,kaplan,x\n";
    let table = read(text);
    assert_eq!(table.warnings, Vec::<String>::new());
    let keys: Vec<_> = table.groups.iter().map(|g| (g.group["arm"].as_str(), g.convention, g.points.len())).collect();
    assert_eq!(keys, [("b", Convention::Kaplan, 2), ("a", Convention::Standard, 1)]);
    assert_eq!(table.groups[0].points[1], Point { flops: 12e10, params: 200.0, tokens: 1e8, loss: 3.0 });
    let columns: Vec<_> = table.groups[0].group.keys().collect();
    assert_eq!(columns, ["arm", "counting", "note"]);
}

#[test]
fn a_flag_gives_the_convention_and_numbers_group_where_asked() {
    let text = "budget_flops,params,tokens,loss,warmup\n6e10,100,1e8,3,10\n6e10,100,1e8,3.5,20\n";
    let words = Words { group: vec!["warmup".into()], ..standard() };
    assert_eq!(parse("t.csv", text.as_bytes(), &words).unwrap().groups.len(), 2);
    let merged = parse("t.csv", text.as_bytes(), &standard()).unwrap();
    assert_eq!((merged.groups.len(), merged.groups[0].points.len()), (1, 2));
    assert_eq!(
        merged.warnings,
        [
            "column warmup holds numbers and is not used; `--group warmup` would make groups of it",
            "t.csv:3: repeats the budget and size of line 2; the lower loss is kept"
        ]
    );
}

#[test]
fn each_bad_table_is_one_line() {
    let none = Words::default();
    refused(
        "",
        &none,
        "t.csv:1: no column budget_flops, params, tokens, loss; needed: budget_flops, params, tokens, loss; found: ",
    );
    refused(HEAD, &none, "t.csv: no rows below the header");
    refused(
        "budget_flops,params,loss,counting\n1,1,1,kaplan\n",
        &none,
        "t.csv:1: no column tokens; needed: budget_flops, params, tokens, loss; found: budget_flops, params, loss, counting",
    );
    refused("budget_flops,params,tokens,loss,loss\n", &none, "t.csv:1:5: a second column loss");
    refused(
        "budget_flops,params,tokens,loss\n1,1,1,1\n",
        &none,
        "t.csv:1: no column counting, and no --counting; a fit must say how FLOPs are counted: \
         standard, kaplan, attention, chinchilla-exact",
    );
    let one = |row: &str| format!("{HEAD}6e10,100,1e8,3,kaplan\n{row}\n");
    refused(&one("6e10,100,1e8,-3,kaplan"), &none, "t.csv:3:4: loss is -3; it must be positive and finite");
    refused(&one("6e10,100,1e8,-inf,kaplan"), &none, "t.csv:3:4: loss is -inf; it must be positive and finite");
    refused(&one("6e10,0,1e8,3,kaplan"), &none, "t.csv:3:2: params is 0; it must be positive and finite");
    refused(&one("NaN,100,1e8,3,kaplan"), &none, "t.csv:3:1: budget_flops is NaN; it must be positive and finite");
    refused(&one("6e10,many,1e8,3,kaplan"), &none, "t.csv:3:2: params is `many`; a number is needed");
    refused(&one("6e10,100,,3,kaplan"), &none, "t.csv:3:3: tokens is ``; a number is needed");
    refused(&one("6e10,100,1e8,3"), &none, "t.csv:3: 4 fields; the header has 5");
    refused(
        &one("6e10,100,1e8,3,Kaplan"),
        &none,
        "t.csv:3:5: counting is `Kaplan`; allowed: standard, kaplan, attention, chinchilla-exact",
    );
    refused(&one("6e10,100,1e8,3,kaplan"), &standard(), "t.csv:2:5: counting is kaplan, and --counting says standard");
    let asked = Words { group: vec!["arm".into()], ..none };
    refused(
        &one("6e10,100,1e8,3,kaplan"),
        &asked,
        "--group arm: t.csv has no such column; found: budget_flops, params, tokens, loss, counting",
    );
    let bytes = [HEAD.as_bytes(), b"6e10,100,1e8,3,\xff\n"].concat();
    assert_eq!(parse("t.csv", &bytes, &Words::default()).unwrap_err(), "t.csv:2: not readable as CSV in UTF-8");
}

#[test]
fn rows_that_a_fit_cannot_use_are_named() {
    let rows = ["NaN", "inf", "", "3.5", "3.4"].map(|loss| format!("6e10,100,1e8,{loss},kaplan\n")).concat();
    let table = read(&format!("{HEAD}{rows}6e10,200,1e8,3.2,kaplan\n"));
    assert_eq!(table.groups[0].points.len(), 3);
    assert_eq!(
        table.warnings,
        [
            "t.csv:6: repeats the budget and size of line 5; the lower loss is kept",
            "t.csv:2: the loss is NaN; the row is left out",
            "t.csv:3: the loss is inf; the row is left out",
            "t.csv:4: the loss is missing; the row is left out",
            "t.csv:7: 6·params·tokens is 2.000 of the budget",
        ]
    );
}

#[test]
fn many_rows_of_a_kind_are_counted() {
    let table = read(&format!("{HEAD}{}6e10,100,1e8,3,kaplan\n", "6e10,100,1e8,NaN,kaplan\n".repeat(9)));
    assert_eq!(table.warnings.len(), NAMED_ROWS + 1);
    assert_eq!(table.warnings[NAMED_ROWS], "… and 4 more rows of this kind");
}

#[test]
fn an_exact_count_is_not_six() {
    let text = "budget_flops,params,tokens,loss,counting\n9e10,100,1e8,3,chinchilla-exact\n";
    assert_eq!(read(text).warnings, Vec::<String>::new());
}
