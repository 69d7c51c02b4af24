//! The table of templates that Debian's promtool expanded; its output is what is wanted here.

use super::*;

fn query(expr: &str) -> Result<Vec<(Labels, f64)>, String> {
    let element = |i: &str, value| (Labels::from_pairs([("i", i)]), value);
    match expr {
        "q" => Ok(vec![element("103", 3.5), element("101", 1.0), element("102", 2.0)]),
        "nn" => Ok(vec![element("1", f64::NAN)]),
        "ii" => Ok(vec![element("1", f64::INFINITY)]),
        "none" => Ok(Vec::new()),
        other => Err(format!("cannot parse {other:?}")),
    }
}

fn expand(text: &str) -> String {
    let labels =
        Labels::from_pairs([("__name__", "m"), ("instance", "web-1:9100"), ("job", "node")]);
    let around = Surroundings {
        external_labels: Labels::from_pairs([("site", "north")]),
        external_url: "https://pitcrew.example.org/watch/".to_owned(),
    };
    let now = Timestamp(1_643_114_203_000);
    let scope = Scope::new(&labels, 0.1, now, &around, Arc::new(query));
    Template::parse(text).unwrap().expand("X", &scope)
}

#[test]
fn language_as_in_go() {
    for (text, want) in [
        ("plain { text }", "plain { text }"),
        ("{{ $labels.instance }} of {{ $labels.job }}", "web-1:9100 of node"),
        ("{{ .Labels.instance }}", "web-1:9100"),
        ("[{{ $labels.nope }}]", "[]"),
        ("{{ if $labels.nope }}y{{ else }}n{{ end }}", "n"),
        ("[{{ $labels.nope | toUpper }}]", "[]"),
        ("[{{ printf \"%s\" $labels.nope }}]", "[]"),
        ("{{ if eq $labels.nope \"\" }}empty{{ else }}full{{ end }}", "empty"),
        ("[{{ index $labels \"nope\" }}]", "[]"),
        ("{{ or $labels.nope \"dflt\" }}", "dflt"),
        (
            "{{ $value }} {{ 1e21 }} {{ 1000000.0 }} {{ 1e20 }} {{ 0.00001 }} {{ 100.0 }}",
            "0.1 1e+21 1e+06 1e+20 1e-05 100",
        ),
        ("{{ .Value | printf \"%.2f\" }}", "0.10"),
        ("{{ printf \"%s has %g\" $labels.instance $value }}", "web-1:9100 has 0.1"),
        (
            "{{ printf \"%q|%5.1f|%-6s|%08.3f|%x|%d%%|%v|%t|%e|%+d\" \"a\" 3.14159 \"ab\" 3.14159 255 42 1.5 true 12345.678 7 }}",
            "\"a\"|  3.1|ab    |0003.142|ff|42%|1.5|true|1.234568e+04|+7",
        ),
        ("{{ printf \"%d\" $value }}", "%!d(float64=0.1)"),
        ("{{ printf \"%v\" 1e6 }} {{ print 1e6 2.5 \"x\" 3 }}", "1e+06 1e+06 2.5x3"),
        ("{{ if gt $value 5.0 }}hi{{ else if gt $value 0.01 }}mid{{ else }}lo{{ end }}", "mid"),
        (
            "{{ define \"x\" }}Args are: {{ .arg0 }} {{ .arg1 }} {{ .arg2 }}{{ end }}{{ template \"x\" (args \"foo\" \"bar\" 99) }}",
            "Args are: foo bar 99",
        ),
        ("{{ template \"y\" . }}{{ define \"y\" }}v={{ .Value }}{{ end }}", "v=0.1"),
        ("{{ with query \"q\" }}{{ . | sortByLabel \"i\" | first | value }}{{ end }}", "1"),
        (
            "{{ range query \"q\" | sortByLabel \"i\" }}{{ .Labels.i }}:{{ .Value }} {{ end }}",
            "101:1 102:2 103:3.5 ",
        ),
        (
            "{{ range $i, $v := query \"q\" | sortByLabel \"i\" }}{{ $i }}={{ label \"i\" $v }} {{ end }}",
            "0=101 1=102 2=103 ",
        ),
        (
            "{{ range $i, $e := query \"q\" | sortByLabel \"i\" }}{{ if $i }}, {{ end }}{{ .Value }}{{ end }}",
            "1, 2, 3.5",
        ),
        (
            "{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}",
            "__name__=m;instance=web-1:9100;job=node;",
        ),
        ("{{ with query \"none\" }}x{{ else }}empty{{ end }}", "empty"),
        ("{{ range query \"none\" }}x{{ else }}empty{{ end }}", "empty"),
        ("{{ (index (query \"q\" | sortByLabel \"i\") 1).Labels.i }}", "102"),
        ("{{ $x := \"a\" }}{{ if true }}{{ $x = \"b\" }}{{ end }}{{ $x }}", "b"),
        ("{{ $x := \"a\" }}{{ if true }}{{ $x := \"b\" }}{{ end }}{{ $x }}", "a"),
        ("{{ with $x := query \"q\" }}{{ len $x }}{{ end }}", "3"),
        ("a  {{- \" b \" -}}  c", "a b c"),
        ("a{{/* c {{ if */}}b {{- /* d */ -}} c", "abc"),
        (
            "{{ if and (eq $labels.job \"node\") (not (match \"^x\" $labels.instance)) }}ok{{ end }}",
            "ok",
        ),
        ("{{ if eq $labels.job \"a\" \"node\" }}ok{{ end }}", "ok"),
        ("{{ if and false (first (query \"none\")) }}a{{ else }}b{{ end }}", "b"),
        ("{{ \"a\" | printf \"%s-%s\" \"b\" }}", "b-a"),
        ("{{ `a\\nb` }}|{{ \"q\\\"\\u00e9\" }}", "a\\nb|q\"é"),
        ("{{ len $labels }} {{ slice \"abcdef\" 1 3 }}", "3 bc"),
        ("{{ $labels }}", "map[__name__:m instance:web-1:9100 job:node]"),
        ("{{ if gt (query \"nn\" | first | value) 1.0 }}a{{ else }}b{{ end }}", "a"),
        ("{{ if lt (query \"nn\" | first | value) 1.0 }}a{{ else }}b{{ end }}", "b"),
        ("{{ query \"ii\" | first | value }}", "+Inf"),
        (
            "{{ range query \"q\" | sortByLabel \"i\" }}{{ if eq .Labels.i \"102\" }}{{ continue }}{{ end }}{{ .Labels.i }} {{ end }}",
            "101 103 ",
        ),
        ("{{ block \"t\" . }}in {{ .Value }}{{ end }}", "in 0.1"),
        ("{{ range query \"q\" | sortByLabel \"i\" }}{{ $.Value }} {{ end }}", "0.1 0.1 0.1 "),
        (
            "{{ with $labels }}{{ .job }}{{ with .instance }}/{{ . }}{{ end }}{{ end }}",
            "node/web-1:9100",
        ),
        ("{{ \"<a&b>\" }}", "<a&b>"),
        (
            "{{ range query \"q\" | sortByLabel \"i\" -}}\n  - {{ .Labels.i }}\n{{ end -}}\nend",
            "- 101\n- 102\n- 103\nend",
        ),
        ("{{ \"}}\" }}{{ if true }}{{ '}' }}{{ end }}", "}}125"),
    ] {
        assert_eq!(expand(text), want, "{text}");
    }
}

#[test]
fn functions_as_in_prometheus() {
    for (text, want) in [
        ("{{ 1048576.0 | humanize }} {{ humanize1024 1048576.0 }}", "1.049M 1Mi"),
        ("{{ humanizeDuration 135 }} {{ humanizePercentage 0.959 }}", "2m 15s 95.9%"),
        ("{{ humanizeTimestamp 1643114203 }}", "2022-01-25 12:36:43 +0000 UTC"),
        ("{{ 1643114203.5 | toTime }}", "2022-01-25 12:36:43.5 +0000 UTC"),
        ("{{ toDuration 90 }} {{ now }}", "1m30s 1.643114203e+09"),
        ("{{ parseDuration \"1h30m\" }} {{ humanize \"1500\" }}", "5400 1.5k"),
        (
            "{{ title \"this part\" }} {{ toUpper \"is testing\" }} {{ toLower \"THE STRINGS\" }}",
            "This Part IS TESTING the strings",
        ),
        (
            "{{ stripPort \"[::1]:6006\" }} {{ stripPort \"127.0.0.1\" }} {{ stripPort \"a.b:1\" }}",
            "::1 127.0.0.1 a.b",
        ),
        (
            "{{ stripDomain \"a.b.c:80\" }} {{ stripDomain \"10.0.0.1:80\" }} {{ stripDomain \"a.b\" }}",
            "a:80 10.0.0.1:80 a",
        ),
        ("{{ $labels.instance | reReplaceAll \"(.*):.*\" \"$1\" | toUpper }}", "WEB-1"),
        ("{{ match \"web-\\\\d\" $labels.instance }}", "true"),
        ("{{ urlQueryEscape \"a b&c\" }}", "a+b%26c"),
        ("{{ graphLink \"up == 0\" }}", "/graph?g0.expr=up+%3D%3D+0&g0.tab=0"),
        ("{{ tableLink \"up\" }}", "/graph?g0.expr=up&g0.tab=1"),
        (
            "{{ externalURL }} {{ pathPrefix }} {{ $externalURL }} {{ $externalLabels.site }}",
            "https://pitcrew.example.org/watch/ /watch https://pitcrew.example.org/watch/ north",
        ),
        ("{{ safeHtml \"<b>\" }}{{ query \"q\" | first | strvalue }}", "<b>"),
    ] {
        assert_eq!(expand(text), want, "{text}");
    }
}

/// Each as Debian's promtool expands it.
#[test]
fn edges_as_in_promtool() {
    for (text, want) in [
        ("{{ humanizeTimestamp 0.9999 }}", "1970-01-01 00:00:00.999 +0000 UTC"),
        ("{{ toTime 0.0015 }}", "1970-01-01 00:00:00.001 +0000 UTC"),
        ("{{ title \"o'neil x-y_z\" }}", "O'Neil X-Y_z"),
        ("{{ stripDomain \"[fe80::1%eth0]:9\" }}", "[fe80::1%eth0]:9"),
        ("{{ reReplaceAll \"\\\\w+\" \"<$0>\" \"\u{e9} a\" }}", "\u{e9} <a>"),
        ("{{ html 5 \"<\" }}{{ html \"<a href='x'>\" }}", "5&lt;&lt;a href=&#39;x&#39;&gt;"),
        ("{{ urlquery \"a b\" \"c&d\" }}", "a+bc%26d"),
        (
            "{{ printf \"%.2f|%8.1f|%-6.1f|\" (query \"ii\" | first | value) (query \"ii\" | first | value) (query \"nn\" | first | value) }}",
            "+Inf|    +Inf|NaN   |",
        ),
        ("{{ printf \"%T %T %T\" 1.5 \"a\" $labels }}", "float64 string map[string]string"),
        ("{{ printf \"5%\" }}", "5%!(NOVERB)"),
    ] {
        assert_eq!(expand(text), want, "{text}");
    }
    for text in ["{{ toTime \"Inf\" }}", "{{ eq 1 }}"] {
        assert!(expand(text).starts_with("<error expanding template"), "{text}");
    }
}

/// Structs, open maps, times and nothing, each as Debian's promtool expands it.
#[test]
fn values_as_in_promtool() {
    let first = "(query \"q\" | sortByLabel \"i\" | first)";
    for (text, want) in [
        ("{{ (args \"a\").arg5 }} {{ (args).arg0 }} {{ args }}", "<no value> <no value> map[]"),
        ("{{ index (args \"a\") \"arg9\" }}", "<no value>"),
        (
            "{{ define \"x\" }}<{{ . }} {{ .arg0 }}>{{ end }}{{ template \"x\" }}",
            "<<no value> <no value>>",
        ),
        ("{{ define \"x\" }}{{ if . }}y{{ else }}n{{ end }}{{ end }}{{ template \"x\" }}", "n"),
        (
            "{{ define \"a\" }}1{{ end }}{{ define \"b\" }}{{ template \"a\" }}2{{ end }}{{ template \"b\" }}",
            "12",
        ),
        ("{{ if (args \"a\").arg5 }}y{{ else }}n{{ end }} {{ or (args \"a\").arg5 \"z\" }}", "n z"),
        ("{{ eq (args \"a\").arg5 \"\" }}", "false"),
        ("{{ print nil }} {{ print (args \"a\").arg5 }}", "<nil> <nil>"),
        ("{{ printf \"%v %s\" (args \"a\").arg5 nil }}", "<nil> %!s(<nil>)"),
        ("{{ args \"a\" 1 2.5 }} {{ len (args \"a\" \"b\") }}", "map[arg0:a arg1:1 arg2:2.5] 2"),
        ("{{ range $k, $v := args \"a\" \"b\" }}{{ $k }}={{ $v }};{{ end }}", "arg0=a;arg1=b;"),
        ("{{ printf \"%s\" $externalLabels }}", "map[site:north]"),
        ("{{ printf \"%q\" $externalLabels }}", "map[\"site\":\"north\"]"),
        ("{{ printf \"%#v\" $externalLabels }}", "map[string]string{\"site\":\"north\"}"),
        ("{{ printf \"%d\" $externalLabels }}", "map[%!d(string=site):%!d(string=north)]"),
        ("{{ printf \"%x\" $externalLabels }}", "map[73697465:6e6f727468]"),
        ("{{ printf \"%q\" (args \"a\" 65) }}", "map[\"arg0\":\"a\" \"arg1\":'A']"),
        (
            "{{ printf \"%s\" (args \"a\" 1 2.5) }}",
            "map[arg0:a arg1:%!s(int=1) arg2:%!s(float64=2.5)]",
        ),
        (
            "{{ html $externalLabels }} {{ urlquery $externalLabels }}",
            "map[site:north] map%5Bsite%3Anorth%5D",
        ),
        ("{{ print $externalLabels 1 2 \"a\" }}", "map[site:north] 1 2a"),
        (
            "{{ . }}",
            "{map[__name__:m instance:web-1:9100 job:node] map[site:north] https://pitcrew.example.org/watch/ 0.1}",
        ),
        (
            "{{ (toTime 0).Year }} {{ (toTime 1643114203).Format \"2006-01-02 15:04\" }}",
            "1970 2022-01-25 12:36",
        ),
        (
            "{{ with toTime 1643114203 }}{{ .Weekday }} {{ .Month }} {{ .YearDay }} {{ .Unix }}{{ end }}",
            "Tuesday January 25 1643114203",
        ),
        ("{{ printf \"%s\" (toTime 1643114203.5) }}", "2022-01-25 12:36:43.5 +0000 UTC"),
        ("{{ printf \"%T\" (toTime 0) }} {{ (toTime 0).IsZero }}", "*time.Time false"),
        (
            "{{ (toDuration 90).Minutes }} {{ printf \"%v %d\" (toDuration 90) (toDuration 1) }}",
            "1.5 1m30s 1000000000",
        ),
        ("{{ (toTime 1643114203).Truncate 60000000000 }}", "2022-01-25 12:36:00 +0000 UTC"),
        ("{{ (toTime 0.5).Nanosecond }} {{ (toTime 0).Location }}", "500000000 UTC"),
        ("{{ html nil }}", "&lt;no value&gt;"),
        ("{{ printf \"%f %g\" 1 2 }}", "%!f(int=1) %!g(int=2)"),
    ] {
        assert_eq!(expand(text), want, "{text}");
    }
    for (text, want) in [
        ("{{ FIRST }}", "{map[i:101] 1}"),
        ("{{ printf \"%s\" FIRST }}", "&{map[i:101] %!s(float64=1)}"),
        ("{{ printf \"%+v\" FIRST }}", "&{Labels:map[i:101] Value:1}"),
        ("{{ FIRST.Labels.nope }}|{{ FIRST.Value }}", "|1"),
        ("{{ index (query \"q\" | sortByLabel \"i\") 0 }}", "{map[i:101] 1}"),
    ] {
        assert_eq!(expand(&text.replace("FIRST", first)), want, "{text}");
    }
    for (text, cause) in [
        ("{{ .Nope }}", "can't evaluate field Nope in type struct { Labels"),
        ("{{ if .Nope }}x{{ end }}", "can't evaluate field Nope"),
        ("{{ (query \"q\" | first).Nope }}", "can't evaluate field Nope in type *template.sample"),
        ("{{ $value.Nope }}", "can't evaluate field Nope in type float64"),
        ("{{ (toTime 0).Nope }}", "can't evaluate field Nope in type *time.Time"),
        ("{{ (humanizeTimestamp 1).Year }}", "can't evaluate field Year in type string"),
        ("{{ range . }}x{{ end }}", "range can't iterate over"),
        ("{{ index (query \"q\") 7 }}", "index out of range: 7"),
        ("{{ toUpper (args \"a\").arg5 }}", "error calling toUpper"),
        ("{{ eq $labels $labels }}", "error calling eq"),
        ("{{ humanize $labels.nope }}", "error calling humanize"),
        ("{{ toUpper 5 }}", "error calling toUpper"),
        ("{{ len . }}", "error calling len"),
    ] {
        let got = expand(text);
        assert!(
            got.starts_with("<error expanding template") && got.contains(cause),
            "{text}: {got}"
        );
    }
}

#[test]
fn a_failing_template_costs_its_text_only() {
    for (text, cause) in [
        ("{{ if gt $value 1 }}a{{ end }}", "error calling gt: incompatible types for comparison"),
        (
            "{{ query \"none\" | first }}",
            "error calling first: first() called on vector with no elements",
        ),
        (
            "{{ range query \"q\" }}{{ len . }}{{ end }}",
            "error calling len: len of type template.sample",
        ),
        ("{{ query \"sum(\" }}", "error calling query: cannot parse \"sum(\""),
        ("{{ $labels.job.foo }}", "can't evaluate field foo in type string"),
        ("{{ humanize \"many\" }}", "error calling humanize: expected a number, found \"many\""),
        ("{{ template \"nope\" }}", "undefined template: nope"),
        ("{{ toUpper }}", "wrong number of args for toUpper: want 1 got 0"),
        ("{{ range 1000000000 }}{{ end }}", "range iteration budget exhausted"),
        ("{{ range 90000 }}xxxxxxxxxx{{ end }}", "output is longer than 65536 bytes"),
        (
            "{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"r\" }}",
            "recursion limit exceeded",
        ),
        ("{{ reReplaceAll \"(\" \"a\" \"b\" }}", "error calling reReplaceAll"),
        ("{{ range 5000 }}{{ $x := query \"q\" }}{{ end }}", "more than 1000 queries"),
        (
            "{{ $x := \"abcdefgh\" }}{{ range 100 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}",
            "result is longer than 65536 bytes",
        ),
        ("{{ $x := 1 }}{{ range 90000 }}{{ $x = args $x }}{{ end }}", "nested too deep"),
        ("{{ printf \"%1000000000d\" 1 }}", "width or precision is too large"),
        ("{{ printf \"%*d\" 1000000000 1 }}", "width or precision is too large"),
        ("{{ humanizeTimestamp 1e30 }}", "cannot be represented as a time"),
    ] {
        let got = expand(text);
        let start = "<error expanding template: error executing template __alert_X: ";
        assert!(got.starts_with(start) && got.ends_with('>'), "{text}: {got}");
        assert!(got.contains(cause), "{text}: {got}");
    }
}

#[test]
fn wrong_templates_are_refused_when_parsed() {
    for (text, line, cause) in [
        ("a\n{{ nope 1 }}", 2, "function \"nope\" not defined"),
        ("{{ if true }}x", 1, "{{if}} has no {{end}}"),
        ("x{{end}}y{{.Value}}", 1, "unexpected {{end}}"),
        ("\n{{else}}", 2, "unexpected {{else}}"),
        ("{{ $x }}", 1, "undefined variable \"$x\""),
        ("{{ $x = 1 }}", 1, "undefined variable \"$x\""),
        ("{{ if true }}{{ $x := 1 }}{{ end }}\n{{ $x }}", 2, "undefined variable \"$x\""),
        ("{{ define \"a\" }}{{ $labels }}{{ end }}", 1, "undefined variable \"$labels\""),
        ("{{ \"a }}", 1, "unterminated"),
        ("{{ .Value", 1, "unclosed action"),
        ("{{ | }}", 1, ""),
        ("a\n{{ break }}", 2, "outside {{range}}"),
        ("{{ range query \"q\" }}{{ end }}{{ continue }}", 1, "outside {{range}}"),
        ("{{ if (nope) }}{{ end }}", 1, "function \"nope\" not defined"),
        ("{{define \"a\"}}1{{end}}{{define \"a\"}}2{{end}}", 1, "defined twice"),
    ] {
        let error = Template::parse(text).map(drop).unwrap_err();
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.message.contains(cause), "{text}: {error}");
    }
}
