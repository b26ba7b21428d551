"""Every rule speaks when it should, is silent when it should, and has a manual.

The cases of a rule are in `<slug>.py` beside this file: FIRES and QUIET are the arguments of `synthesis.write_run`.
"""

import importlib.util
from pathlib import Path

import pytest
from synthesis import write_run

from poolctl.analysis import findings
from poolctl.analysis.leases import tables
from poolctl.analysis.rule import MANUAL_PARTS
from poolctl.analysis.summary import target_of
from poolctl.analysis.view import View, looked_around
from poolctl.errors import UsageError

HERE = Path(__file__).parent
CODES = list(findings.REGISTRY)


def cases(code):
    path = HERE / f"{findings.REGISTRY[code].RULE.slug.replace('-', '_')}.py"
    spec = importlib.util.spec_from_file_location(f"cases_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def found(code, tmp_path, arguments):
    run = write_run(tmp_path, **arguments)
    made = tables(run)
    return list(findings.REGISTRY[code].check(View(made, target_of(made), **looked_around(run.path))))


@pytest.mark.parametrize("code", CODES)
def test_a_rule_speaks_with_numbers_a_threshold_and_advice(code, tmp_path):
    module = cases(code)
    spoken = found(code, tmp_path, module.FIRES)
    assert len(spoken) == 1
    finding = spoken[0]
    rule = findings.REGISTRY[code].RULE
    assert (finding.code, finding.slug) == (code, rule.slug)
    assert finding.severity.value == module.SEVERITY
    assert module.SAYS in finding.title
    assert any(character.isdigit() for character in " ".join(finding.evidence))
    assert finding.advice
    assert finding.confidence in ("low", "medium", "high")


@pytest.mark.parametrize("code", CODES)
def test_a_rule_is_silent_where_nothing_is_wrong(code, tmp_path):
    assert found(code, tmp_path, cases(code).QUIET) == []


@pytest.mark.parametrize("code", CODES)
def test_a_rule_is_silent_about_a_run_without_leases(code, tmp_path):
    assert found(code, tmp_path, {"duration": 10.0}) == []


@pytest.mark.parametrize("code", CODES)
def test_a_manual_has_its_four_parts_in_order(code):
    text = findings.manual(code)
    lines = text.splitlines()
    assert lines[0].endswith(".")
    assert [line for line in lines if line in MANUAL_PARTS] == list(MANUAL_PARTS)
    for part in MANUAL_PARTS:
        assert lines[lines.index(part) + 1].startswith("    ")


def test_every_rule_has_one_registry_line_and_every_case_a_rule():
    files = {path.stem for path in (Path(findings.__file__).parent / "rules").glob("*.py")} - {"__init__"}
    assert {module.__name__.rpartition(".")[2] for module in findings.REGISTRY.values()} == files
    assert {module.RULE.slug.replace("-", "_") for module in findings.REGISTRY.values()} == files
    assert {path.stem for path in HERE.glob("*.py")} - {"test_rules"} == files
    assert [module.RULE.code for module in findings.REGISTRY.values()] == CODES == sorted(CODES)


def test_a_manual_is_found_by_its_code_in_any_case():
    assert findings.manual("pc101") == findings.manual("PC101")
    with pytest.raises(UsageError, match="no rule 'PC999'"):
        findings.manual("PC999")


def test_findings_come_with_the_worst_first(tmp_path):
    arguments = dict(cases("PC201").FIRES)
    made = tables(write_run(tmp_path, **arguments))
    spoken = findings.find(View(made, target_of(made)))
    ranks = [finding.severity.rank for finding in spoken]
    assert len(spoken) > 1
    assert ranks == sorted(ranks, reverse=True)


def test_a_blocked_loop_names_who_ran_not_who_waited(tmp_path):
    [finding] = found("PC602", tmp_path, cases("PC602").FIRES)
    assert finding.sites == ["app.py:7 works"]
