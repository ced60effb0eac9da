"""Every command has a right command line, and no network is used unless it is needed."""

import command_lines
import pytest

pytest.importorskip("PIL")
pytest.importorskip("torch")
pytest.importorskip("altair")

NEED_ANSWERS = ("collect export", "collect report")  # a new study has none


def test_every_command_has_a_right_command_line():
    """Every command has a right command line, so that none is left out of the tests below."""
    assert {*command_lines.parameters()} <= {*command_lines.COMMANDS}


@pytest.mark.nightly
@pytest.mark.timeout(1200)  # the demo fits and draws
@pytest.mark.parametrize("name", command_lines.COMMANDS)
def test_no_command_needs_a_network(name, command_files, tmp_path, monkeypatch):
    """All commands except downloads succeed without trying to open a connection."""
    if name not in command_lines.parameters():
        pytest.skip("glocal-collect is not installed")
    command_lines.copy(command_files, tmp_path)
    monkeypatch.chdir(tmp_path)
    with command_lines.without_network() as tries:
        ended = command_lines.run(f"{name} {command_lines.COMMANDS[name]}")
    assert ended.code == (name in NEED_ANSWERS), ended.err
    tries.assert_not_called()
