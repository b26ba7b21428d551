"""`poolctl scenarios`: list, show, copy."""

from __future__ import annotations

from pathlib import Path

from command import poolctl

SHIPPED = {"bursty", "batch", "low_concurrency"}


def names(text: str) -> set[str]:
    return {line.split()[0] for line in text.split("\n\n")[0].splitlines() if not line.startswith(" ")}


def test_the_shipped_scenarios_are_listed_anywhere(tmp_path: Path) -> None:
    result = poolctl("scenarios", cwd=tmp_path)
    assert (result.code, result.err) == (0, "")
    assert names(result.out) >= SHIPPED
    assert poolctl("scenarios", "list", cwd=tmp_path).out == result.out


def test_a_scenario_of_ones_own_hides_the_shipped_one_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "bursty.py").write_text('"""My own burst."""\n')
    result = poolctl("scenarios", cwd=tmp_path)
    assert "My own burst." in result.out
    assert "scenarios/bursty.py\n" in result.out
    assert names(result.out) >= SHIPPED


def test_a_scenario_with_a_syntax_error_is_listed_and_the_others_too(tmp_path: Path) -> None:
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "broken.py").write_text("def x(:\n")
    result = poolctl("scenarios", cwd=tmp_path)
    assert result.code == 0
    assert "(cannot be read: invalid syntax" in result.out
    assert names(result.out) >= {*SHIPPED, "broken"}


def test_a_scenario_is_shown_as_it_is_written(tmp_path: Path) -> None:
    shown = poolctl("scenarios", "show", "bursty", cwd=tmp_path)
    assert shown.code == 0
    compile(shown.out, "bursty", "exec")
    (tmp_path / "mine.py").write_text("# mine\n")
    assert poolctl("scenarios", "show", "mine.py", cwd=tmp_path).out == "# mine\n"


def test_an_unknown_scenario_names_the_nearest(tmp_path: Path) -> None:
    for command in (["scenarios", "show", "brusty"], ["scenarios", "copy", "brusty"], ["loadtest", "brusty"]):
        result = poolctl(*command, cwd=tmp_path)
        assert (result.code, result.out) == (2, "")
        assert result.errors[0] == "error: there is no scenario 'brusty'"
        assert "did you mean bursty?" in result.errors[1]


def test_a_copy_is_the_file_and_is_found_by_name(tmp_path: Path) -> None:
    result = poolctl("scenarios", "copy", "bursty", cwd=tmp_path)
    assert (result.code, result.out) == (0, "scenarios/bursty.py\n")
    assert (tmp_path / "scenarios/bursty.py").read_text() == poolctl("scenarios", "show", "bursty", cwd=tmp_path).out


def test_a_copy_goes_where_it_is_told(tmp_path: Path) -> None:
    assert poolctl("scenarios", "copy", "bursty", "load/mine.py", cwd=tmp_path).out == "load/mine.py\n"
    assert poolctl("scenarios", "copy", "batch", "load", cwd=tmp_path).out == "load/batch.py\n"
    assert {path.name for path in (tmp_path / "load").iterdir()} == {"mine.py", "batch.py"}


def test_a_copy_does_not_overwrite_without_force(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("# mine\n")
    result = poolctl("scenarios", "copy", "bursty", "mine.py", cwd=tmp_path)
    assert (result.code, result.errors) == (2, ["error: mine.py is already there", "hint: --force overwrites it"])
    assert mine.read_text() == "# mine\n"
    assert poolctl("scenarios", "copy", "bursty", "mine.py", "--force", cwd=tmp_path).code == 0
    assert mine.read_text() != "# mine\n"


def test_a_copy_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = poolctl("scenarios", "copy", "bursty", "file/mine.py", cwd=tmp_path)
    assert result.code == 2
    assert result.errors[0].startswith("error: cannot write file")
