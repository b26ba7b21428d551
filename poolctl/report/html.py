"""Report or Comparison -> HTML: one file that needs nothing else, to be opened, sent or printed. Verdict first.

The pictures are drawn by matplotlib, an extra (`poolctl[html]`); the page is readable without script and network.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from poolctl.errors import Exit, UsageError
from poolctl.report import comparison_tables, html_charts, sentences, sizing_tables, tables
from poolctl.report import html_page as page
from poolctl.report.style import Style
from poolctl.trace.comparison import Comparison
from poolctl.trace.report import Finding, Report, Severity

TONES = {Exit.DONE: "good", Exit.GATE_FAILED: "bad", Exit.TARGET: "bad"}
SEVERITIES = {
    Severity.CRITICAL: "bad",
    Severity.ERROR: "bad",
    Severity.WARNING: "doubt",
    Severity.INFO: "accent",
}


def require() -> None:
    """Raise UsageError where the pictures cannot be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("HTML needs matplotlib, which is not installed", "pip install 'poolctl[html]'")


def render(report: Report, style: Style) -> str:
    """Return the run as a page."""
    return render_all([report], style)


def render_all(reports: Sequence[Report], style: Style) -> str:  # noqa: ARG001 - every format has this signature
    """Return one or several runs as one page."""
    require()
    body: list[str] = []
    for number, report in enumerate(reports):
        body += _report(report, f"r{number}-" if number else "")
    titles = ", ".join(dict.fromkeys(report.run.scenario or report.command for report in reports))
    return page.page(f"poolctl: {titles}: {reports[0].verdict}", body)


def render_comparison(comparison: Comparison, style: Style) -> str:  # noqa: ARG001
    """Return the comparison as a page."""
    require()
    tone = _tone(comparison.exit_code)
    body = [page.verdict("poolctl compare", comparison.summary, comparison_tables.facts(comparison), tone)]
    for number, against in enumerate(comparison.scenarios):
        body.append(
            page.section(
                against.scenario,
                page.table(comparison_tables.measures(against)),
                page.picture(html_charts.changes(against, comparison.margin)),
                page.items(comparison_tables.notes(against)),
                about=comparison_tables.heading(against),
                prefix=f"s{number}-",
            )
        )
    body.append(f"<footer>{page.text(comparison_tables.TERMS)}</footer>")
    return page.page(f"poolctl compare: {comparison.verdict}", body)


def _tone(code: int) -> str:
    return TONES.get(Exit(code), "doubt") if code in list(Exit) else "doubt"


def _report(report: Report, prefix: str) -> list[str]:
    sized = report.command == "size"
    overview = sentences.sizing_overview(report) if sized else sentences.overview(report)
    if report.next_step:
        overview = [*overview[:1], ("next", sentences.near(report.next_step)), *overview[1:]]
    kind = f"poolctl {report.command}: {report.verdict}"
    sections = _sizing(report) if sized else [*_times(report), *_why(report), *_sizing(report), *_facts(report)]
    known = [(title, about, [block for block in blocks if block]) for title, about, blocks in sections]
    known = [(title, about, blocks) for title, about, blocks in known if blocks]
    return [
        page.verdict(kind, report.summary, overview, _tone(report.exit_code)),
        page.contents([title for title, _, _ in known], prefix),
        *(page.section(title, *blocks, about=about, prefix=prefix) for title, about, blocks in known),
        f"<footer>Show this run again: <code>{page.text(sentences.again(report))}</code></footer>",
    ]


Section = tuple[str, str, list[str]]
"""Title, a line about it, blocks of HTML. One without blocks is left out."""


def _times(report: Report) -> list[Section]:
    about = "sql: the database's part of the hold; share: of all holding; wait caused: waiting of others meanwhile."
    curve = html_charts.pool_over_time(report)
    return [
        ("Where the time went", f"{sentences.leases(report)}.", [page.table(tables.times(report))]),
        (
            "Who holds the connections",
            about,
            [page.picture(html_charts.hold_by_site(report)), page.table(tables.holding(report))],
        ),
        ("The longest leases", "above the p95 of hold time", [page.table(tables.long_leases(report))]),
        ("What the server says", *_server(report)),
        ("The pool over time", f"{sentences.pool(report)}.", [page.picture(curve) or page.paragraph("No time line.")]),
    ]


def _server(report: Report) -> tuple[str, list[str]]:
    about = "Of leases that are open, wait for a lock, or are waited for." if report.backends else ""
    table = page.table(tables.backends(report)) if report.backends else ""
    blind = [f"cannot be seen: {line}" for line in report.server_blind]
    return about, [table, page.items(blind) if blind else ""]


def _why(report: Report) -> list[Section]:
    findings = [_finding(finding) for finding in tables.by_severity(report)]
    return [
        (f"Why “{report.verdict}”", "", [page.items(report.evidence)]),
        ("Findings", "", findings or [page.paragraph("None.")]),
        ("Objectives", "", [page.table(tables.objectives(report))]),
    ]


def _finding(finding: Finding) -> str:
    evidence = [sentences.near(line) for line in finding.evidence]
    if places := sentences.places(finding):
        evidence.append(f"at {places}")
    return (
        f'<div class="finding" style="--tone: var(--{SEVERITIES[finding.severity]})">'
        f'<h3><span class="badge">{page.text(finding.severity)}</span>{page.text(f"{finding.code} {finding.slug}")}'
        f' <span class="sure">confidence {page.text(finding.confidence)}</span></h3>'
        f"{page.paragraph(sentences.near(finding.title))}{page.items(evidence)}"
        f'<p class="advice">{page.text(sentences.near(finding.advice))}</p></div>'
    )


def _sizing(report: Report) -> list[Section]:
    sizing = report.sizing
    if sizing is None:
        return []
    advice = [page.paragraph(sizing.corrected), page.code(sentences.paste(report)), page.items(sizing.notes)]
    about = f"For {sizing.objective}, confidence {sizing.confidence}: {sizing.reason.rstrip('.')}."
    said = [text for text in (sentences.backtest_sentence(report), sentences.verified_sentence(report)) if text]
    told = ". ".join(f"{text[0].upper()}{text[1:]}" for text in said)
    sizes = [
        page.picture(html_charts.sizing_curve(report)),
        page.table(sizing_tables.predictions(report, whole=True)),
        page.table(sizing_tables.rules_of_thumb(report)),
    ]
    return [
        ("Recommendation", about, advice if any(advice) else [page.paragraph("No settings to paste.")]),
        ("At other sizes", f"{sentences.model(report).capitalize()}.", sizes if sizing.predictions else []),
        ("p95 wait by pool_size and max_overflow", "", [page.table(sizing_tables.grid(report))]),
        ("Predicted beside measured", f"{told}." if told else "", [page.table(sizing_tables.backtest(report))]),
    ]


def _facts(report: Report) -> list[Section]:
    checks = "".join(
        f'<li><span class="{"yes" if check.ok else "no"}">{"✓" if check.ok else "✗"}</span> '
        f"{page.text(sentences.validity(check))}</li>"
        for check in report.validity
    )
    return [
        ("The load generator", "", [page.items(sentences.generator(report))]),
        ("Is this run valid?", "", [f"<ul>{checks}</ul>" if checks else ""]),
        ("Capture", "", [page.items(sentences.capture(report))]),
        ("Other times", "", [page.table(tables.other_times(report))]),
    ]
