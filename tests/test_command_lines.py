"""Every command with every option: no network is used unless it is needed, and wrong
values end well.
"""

import random
from pathlib import Path

import command_lines
import pytest

pytest.importorskip("PIL")
pytest.importorskip("torch")
pytest.importorskip("altair")

CASES = 300
LINES = command_lines.COMMANDS | command_lines.COLLECT
NEED_ANSWERS = ("collect export", "collect report")  # a new study has none


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder with all files that the command lines read."""
    folder = tmp_path_factory.mktemp("source")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("GLOCAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        command_lines.write_files(folder)
        yield folder


def test_every_command_has_a_right_command_line():
    """Every command has a right command line, so that none is left out of the tests below."""
    assert {*command_lines.parameters()} <= {*LINES}


@pytest.mark.nightly
@pytest.mark.timeout(1200)  # the demo fits and draws
@pytest.mark.parametrize("name", LINES)
def test_no_command_needs_a_network(name, source, tmp_path, monkeypatch, as_a_user):
    """All commands except downloads succeed without trying to open a connection."""
    if name not in command_lines.parameters():
        pytest.skip("glocal-collect is not installed")
    folder = tmp_path / "copy"
    command_lines.copy(source, folder)
    monkeypatch.chdir(folder)
    line = LINES[name].replace(" --dry-run", "")
    with command_lines.without_network() as addresses:
        result = command_lines.run([*name.split(), *line.split()])
    assert result.code == (name in NEED_ANSWERS), result.err
    assert addresses == []


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_wrong_values_of_options_end_in_one_sentence(source, tmp_path, as_a_user):
    """A sample of wrong values of all options ends with exit code 0, 1 or 2, at most one JSON
    object, and no traceback.
    """
    lines = command_lines.cases(each=5)
    failures = {}
    for words in random.Random(0).sample(lines, CASES):
        failure = command_lines.try_case(words, source, Path(tmp_path) / "scratch")
        if failure is not None:
            failures[" ".join(words)] = failure
    assert failures == {}
