"""Page: one self-contained HTML file, its style, and the blocks it is made of.

In: titles, texts, tables, SVG. Out: HTML in which every text is escaped; nothing is loaded from anywhere and there is
no script. Knows no report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from poolctl.report.tables import Table

TONES = {"good", "bad", "doubt", "mark"}
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that HTML does not allow, not even escaped."""

STYLE = """
:root { color-scheme: light dark; --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  --page: #f6f7f9; --card: #fff; --ink: #1b1f24; --soft: #59636e; --line: #d9dee4; --accent: #0b63ce;
  --good: #1a7f37; --bad: #c62828; --doubt: #a86400; --held: #2f6fde; --wait: #c05c00; --code: #f1f3f6; }
@media (prefers-color-scheme: dark) { :root { --page: #0f1318; --card: #171c23; --ink: #e6e9ed; --soft: #9aa5b1;
  --line: #2f3843; --accent: #6cb0ff; --good: #4cc270; --bad: #ff6b63; --doubt: #e5a43b; --held: #6aa2ff;
  --wait: #f0954a; --code: #10151b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 var(--sans); }
main { max-width: 1120px; margin: 0 auto; padding: 20px 16px 48px; }
header.verdict { background: var(--card); border: 1px solid var(--line); border-left: 6px solid var(--tone);
  border-radius: 8px; padding: 18px 22px; margin-bottom: 16px; }
header.verdict h1 { font-size: 21px; line-height: 1.35; margin: 0 0 10px; }
header.verdict p.kind { color: var(--tone); font-size: 13px; font-weight: 700; letter-spacing: .04em; margin: 0 0 4px;
  text-transform: uppercase; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
nav { color: var(--soft); font-size: 13px; margin: 0 2px 16px; } nav a { margin-right: 14px; white-space: nowrap; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 22px 18px;
  margin-bottom: 16px; }
h2 { font-size: 17px; margin: 2px 0 6px; } h3 { font-size: 15px; margin: 0 0 4px; }
section > p { break-after: avoid; color: var(--soft); margin: 0 0 10px; }
.wide { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { padding: 5px 9px; text-align: right; vertical-align: top; white-space: nowrap;
  font-variant-numeric: tabular-nums; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-size: 12.5px; font-weight: 600; } tbody tr:last-child td { border-bottom: 0; }
th.text, td.text { text-align: left; white-space: normal; overflow-wrap: break-word; min-width: 7em; }
th.text { white-space: nowrap; } td.text:nth-child(2), td.text:last-child { min-width: 14em; }
td.text:nth-child(2):last-child { min-width: 7em; }
tr.good td:first-child { box-shadow: inset 3px 0 var(--good); } tr.good td:last-child { color: var(--good); }
tr.bad td:first-child { box-shadow: inset 3px 0 var(--bad); } tr.bad td:last-child { color: var(--bad); }
tr.doubt td:first-child { box-shadow: inset 3px 0 var(--doubt); } tr.doubt td:last-child { color: var(--doubt); }
tr.mark td:first-child { box-shadow: inset 3px 0 var(--accent); }
figure { margin: 10px 0 4px; overflow-x: auto; }
figure svg { display: block; width: 100%; min-width: 640px; height: auto; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 6px; font: 13px/1.5 var(--mono);
  margin: 10px 0; overflow-x: auto; padding: 10px 14px; }
code { font-family: var(--mono); font-size: .93em; }
ul { margin: 6px 0; padding-left: 20px; } li { margin: 2px 0; overflow-wrap: anywhere; }
.finding { border-left: 4px solid var(--tone); margin: 12px 0; padding: 2px 0 2px 14px; }
.finding .badge { border: 1px solid var(--tone); border-radius: 10px; color: var(--tone); font-size: 12px;
  font-weight: 600; margin-right: 6px; padding: 1px 8px; }
.finding .sure { color: var(--soft); font-weight: 400; } .finding p { margin: 4px 0; }
.finding .advice { font-weight: 600; } .yes { color: var(--good); } .no { color: var(--bad); font-weight: 600; }
footer { color: var(--soft); font-size: 13px; padding: 0 4px; }
@media print { :root { --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc; --accent: #0b63ce;
    --good: #1a7f37; --bad: #c62828; --doubt: #a86400; --held: #2f6fde; --wait: #c05c00; --code: #f5f5f5; }
  body { font-size: 11px; } main { max-width: none; padding: 0; } nav { display: none; }
  section, header.verdict { border-radius: 0; padding: 8px 12px; } table { font-size: 10px; } th { font-size: 9px; }
  th, td { padding: 3px 5px; } tr, figure, .finding, pre { break-inside: avoid; } h2 { break-after: avoid; }
  .wide, figure { overflow: visible; } figure svg { min-width: 0; } * { print-color-adjust: exact; } }
"""


def page(title: str, body: Sequence[str]) -> str:
    """Return the whole document."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def text(said: str) -> str:
    """Return a text that stands in HTML as what it is, also in an attribute."""
    return escape(clean(said))


def clean(said: str) -> str:
    """Return a text without the characters that may not stand in a page."""
    return _FORBIDDEN.sub("�", said)


def verdict(kind: str, summary: str, facts: Iterable[tuple[str, str]], tone: str) -> str:
    """Return the first thing that is read."""
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(said)}</dd>" for name, said in facts)
    return (
        f'<header class="verdict" style="--tone: var(--{tone})"><p class="kind">{text(kind)}</p>'
        f"<h1>{text(summary)}</h1><dl>{rows}</dl></header>"
    )


def contents(titles: Sequence[str], prefix: str = "") -> str:
    """Return links to the sections of these titles."""
    links = " ".join(f'<a href="#{prefix}{anchor(title)}">{text(title)}</a>' for title in titles)
    return f"<nav>{links}</nav>"


def anchor(title: str) -> str:
    """Return the name of a section in an address."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"


def section(title: str, *blocks: str, about: str = "", prefix: str = "") -> str:
    """Return a section; a block that is empty is none."""
    said = f"<p>{text(about)}</p>" if about else ""
    inside = "\n".join(block for block in blocks if block)
    return f'<section id="{prefix}{anchor(title)}"><h2>{text(title)}</h2>{said}\n{inside}</section>'


def table(made: Table) -> str:
    """Return a table with all its columns; empty when it has no rows."""
    if not made.rows:
        return ""
    kinds = [' class="text"' if column.text else "" for column in made.columns]
    head = "".join(f"<th{kind}>{text(column.title)}</th>" for kind, column in zip(kinds, made.columns, strict=True))
    rows = []
    for number, cells in enumerate(made.rows):
        tone = made.tones[number] if number < len(made.tones) else ""
        inside = "".join(f"<td{kind}>{_breakable(text(cell))}</td>" for kind, cell in zip(kinds, cells, strict=True))
        rows.append(f'<tr class="{tone}">{inside}</tr>' if tone in TONES else f"<tr>{inside}</tr>")
    body = "\n".join(rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _breakable(said: str) -> str:
    """A path may break before the file's name, and nowhere else."""
    directory, slash, name = said.rpartition("/")
    return f"{directory}{slash}<wbr>{name}" if slash else said


def items(lines: Iterable[str]) -> str:
    """Return a list of texts; empty when there are none."""
    inside = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f"<ul>{inside}</ul>" if inside else ""


def paragraph(said: str) -> str:
    """Return a paragraph; empty when there is nothing to say."""
    return f"<p>{text(said)}</p>" if said else ""


def code(lines: Sequence[str]) -> str:
    """Return a block to copy; empty without lines."""
    return f"<pre><code>{text(chr(10).join(lines))}</code></pre>" if lines else ""


def picture(svg: str) -> str:
    """Return a figure of an SVG element; empty without one."""
    return f"<figure>{svg}</figure>" if svg else ""
