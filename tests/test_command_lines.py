"""Every command has a right command line, and no network is used unless it is needed."""

import command_lines
import pytest

pytest.importorskip("PIL")
pytest.importorskip("torch")
pytest.importorskip("altair")

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
