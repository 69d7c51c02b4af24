//! The page's only style sheet, inline, so that the page is one answer.

pub(super) const CSS: &str = "
:root { color-scheme: light dark; --good: #1a7f37; --warn: #9a6700; --bad: #cf222e; --quiet: #6e7781;
  --line: #d0d7de; --soft: #f6f8fa; --text: #1f2328; --ground: #fff; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --warn: #d29922; --bad: #f85149;
  --quiet: #8b949e; --line: #30363d; --soft: #161b22; --text: #e6edf3; --ground: #0d1117; } }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; color: var(--text); background: var(--ground); }
header { padding: 1.1rem 1.5rem; border-left: 10px solid currentColor; background: var(--soft);
  border-bottom: 1px solid var(--line); }
header h1 { margin: 0; font-size: 1.5rem; }
header p { margin: .2rem 0 0; color: var(--text); }
main, footer { padding: 0 1.5rem; max-width: 84rem; }
footer { margin: 2rem 0; color: var(--quiet); }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
small { color: var(--quiet); font-weight: normal; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--quiet); font-size: .85rem; }
th, td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); } .quiet { color: var(--quiet); }
.tag { border: 1px solid currentColor; border-radius: 1em; padding: 0 .55em; font-size: .82rem; white-space: nowrap; }
.none, .note { color: var(--quiet); margin: .2rem 0; }
.story { list-style: none; padding: 0; margin: .6rem 0; }
.story time { color: var(--quiet); font-variant-numeric: tabular-nums; }
meter { width: 6rem; }
a { color: inherit; }
";
