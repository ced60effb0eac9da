"""`glocal data check` and its --fix: files mended beside the originals, which stay as they are; what fit says."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.world import simulated_world
from glocal.errors import DataWarning


def run(*arguments):
    return execute([str(argument) for argument in arguments])


def checked(capsys, *arguments):
    code = run("data", "check", *arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def folder(tmp_path):
    """Features with names, answers about them in the order of a list of the objects, and local images."""
    world = simulated_world(n_superordinate=5, n_category=6, n_object=5, n_local=150, n_triplets=6000, seed=2)
    rows = np.random.default_rng(0).permutation(len(world.objects))
    np.save(tmp_path / "features.npy", world.objects.matrix[rows])
    (tmp_path / "file_names.txt").write_text("".join(f"images/{name}.jpg\n" for name in world.objects.names))
    (tmp_path / "ids.txt").write_text("\n".join(world.objects.names))
    np.save(tmp_path / "triplets.npy", world.triplets.relabel(np.argsort(rows))[0].objects)
    np.save(tmp_path / "local.npy", world.local.matrix)
    return tmp_path


def given(folder, triplets="triplets.npy", features="features.npy"):
    return (
        "--features", folder / features, "--object-ids", folder / "ids.txt", "--triplets", folder / triplets,
        "--local-features", folder / "local.npy",
    )  # fmt: skip


def test_every_finding_has_evidence_a_consequence_and_a_fix(folder, capsys):
    """The JSON of a finding holds numbers, what follows, what to do, and whether a rule can mend it."""
    np.save(folder / "turned.npy", np.load(folder / "triplets.npy")[:, [2, 0, 1]])
    code, told = checked(capsys, *given(folder, "turned.npy"))
    assert code == 0
    (finding,) = (each for each in told["findings"] if each["severity"] == "warning")
    assert finding["check"] == "odd column"
    assert finding["evidence"]["otherwise"] > finding["evidence"]["agreement"]
    assert "the odd one is among the alike" in finding["consequence"]
    assert "--odd-column" in finding["fix"]
    assert finding["mendable"] is True
    assert run("data", "check", *given(folder, "turned.npy")) == 0
    assert "--fix can mend it" in capsys.readouterr().out


def test_fix_writes_beside_the_original(folder, capsys):
    """Three faults at once are mended into new files that are clean; the originals keep every byte."""
    X = np.append(np.load(folder / "features.npy"), np.zeros((150, 4), "f4"), axis=1)
    X[5] = np.nan
    np.save(folder / "features.npy", X)
    np.save(folder / "local.npy", np.append(np.load(folder / "local.npy"), np.ones((150, 4), "f4"), axis=1))
    np.save(folder / "turned.npy", np.load(folder / "triplets.npy")[:, [2, 0, 1]])
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    code, told = checked(capsys, *given(folder, "turned.npy"), "--fix")
    assert code == 0
    assert [each["check"] for each in told["mended"]] == ["finite", "constant", "odd column"]
    assert [each["severity"] for each in told["left"] if each["severity"] != "note"] == []
    names = ["features.fixed.npy", "file_names.fixed.txt", "local.fixed.npy", "turned.fixed.npy"]
    assert [path.rsplit("/", 1)[-1] for path in told["written"]] == names
    assert {name: (folder / name).read_bytes() for name in before} == before
    mended = Features.load(folder / "features.fixed.npy")
    assert mended.names == tuple(np.delete(Features.load(folder / "features.npy").names, 5))
    assert mended.matrix.shape == (149, X.shape[1] - 4)
    code, again = checked(capsys, *given(folder, "turned.fixed.npy", "features.fixed.npy")[:-2])
    assert code == 0
    assert again["warnings"] == again["errors"] == 0


def test_fix_leaves_unusable_answers_out(folder, capsys):
    """Answers that repeat an object, which nothing reads, are left out of the mended file."""
    objects = np.load(folder / "triplets.npy")
    np.savetxt(folder / "t.txt", np.append(objects, [[1, 1, 2], [3, 4, 3]], axis=0), fmt="%d")
    assert run("data", "check", *given(folder, "t.txt")) == 1
    assert "repeats an object (2 such triplets)" in capsys.readouterr().out
    code, told = checked(capsys, *given(folder, "t.txt"), "--fix")
    assert code == 0
    assert [each["check"] for each in told["mended"]] == ["triplets"]
    assert (Answers.load(folder / "t.fixed.txt").objects == objects).all()


def test_what_no_rule_can_mend_is_said(folder, capsys):
    """Centred features are named and left; nothing is written, and that is said."""
    X = np.load(folder / "features.npy")
    np.save(folder / "features.npy", X - X.mean(axis=0))
    assert run("data", "check", "--features", folder / "features.npy", "--fix") == 0
    out = capsys.readouterr().out
    assert "not mended: standardized" in out
    assert "nothing is written: no rule mends what was found" in out
    assert not list(folder.glob("*.fixed.*"))


def test_heldout_answers_that_were_trained_on_are_an_error(folder, capsys):
    """Held-out answers among those to train on exit with 1, and --fix leaves them out of the latter."""
    objects = np.load(folder / "triplets.npy")
    np.save(folder / "heldout.npy", objects[:100])
    arguments = (*given(folder), "--heldout", folder / "heldout.npy")
    code, told = checked(capsys, *arguments)
    assert code == 1
    assert told["findings"][0]["check"] == "leakage"
    code, told = checked(capsys, *arguments, "--fix")
    assert code == 0
    left = {tuple(sorted(row)) for row in np.load(folder / "triplets.fixed.npy").tolist()}
    assert not left & {tuple(sorted(row)) for row in objects[:100].tolist()}


def test_names_that_are_not_as_many_as_the_rows_are_said(folder, capsys):
    """A file of names with a line too many is a warning beside the file and an error of the folder."""
    (folder / "file_names.txt").write_text((folder / "file_names.txt").read_text() + "images/more.jpg\n")
    code, told = checked(capsys, "--features", folder / "features.npy")
    assert (code, [each["check"] for each in told["findings"]]) == (0, ["names"])
    code, told = checked(capsys, "--features", folder)
    assert (code, [each["check"] for each in told["findings"]]) == (1, ["unreadable"])


def test_fit_says_that_the_answers_index_another_list(folder, tmp_path):
    """`fit` tries other readings of the list, as the check does, and warns with the one that agrees better."""
    ids = (folder / "ids.txt").read_text().split()
    (folder / "ids.txt").write_text("\n".join(reversed(ids)))
    arguments = ("fit", *given(folder)[:-2], "--out", tmp_path / "t.npz", "--tol", "0.1")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert run(*arguments) == 0
    found = [str(one.message) for one in said if issubclass(one.category, DataWarning)]
    assert any("the list of objects runs backwards" in one or "sorted by the characters" in one for one in found), found


def test_fix_replaces_nothing(folder, capsys):
    """A mended file that stands there is kept unless it is the same; two sources of one mended name are refused."""
    np.save(folder / "turned.npy", np.load(folder / "triplets.npy")[:, [2, 0, 1]])
    mended = folder / "turned.fixed.npy"
    mended.write_bytes(b"mine")
    assert run("data", "check", *given(folder, "turned.npy"), "--fix") == 1
    assert "turned.fixed.npy exists with another content, and is not replaced. Move it away" in capsys.readouterr().err
    assert mended.read_bytes() == b"mine"
    mended.unlink()
    for _ in range(2):
        assert run("data", "check", *given(folder, "turned.npy"), "--fix") == 0
    assert len(np.load(mended)) == len(np.load(folder / "triplets.npy"))


def test_rows_that_are_all_equal_are_findings(tmp_path, capsys):
    """Features without a column that varies are diagnosed like others."""
    np.save(tmp_path / "f.npy", np.tile(np.arange(5.0), (40, 1)))
    _, told = checked(capsys, "--features", tmp_path / "f.npy")
    assert "constant" in [each["check"] for each in told["findings"]]
