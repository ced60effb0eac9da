"""`glocal suite template`: a file that parses, names every task of the paper, and runs where its data are."""

import re
import shlex

import numpy as np
import pytest
import typer

from glocal.cli.app import app, execute
from glocal.data.answers import Answers
from glocal.data.sources import breeds
from glocal.data.world import simulated_world
from glocal.results import read_rows
from glocal.suite import Plan
from glocal.suite.template import template

MODEL = "clip_ViT-L/14"
FEW_SHOT = {"entity13", "entity30", "living17", "nonliving26", "cifar100", "cifar100-coarse", "dtd", "sun397"}
ANOMALY = {
    "cifar10", "cifar100", "cifar100-coarse", "cifar100-shift", "cifar10-against-cifar100", "dtd", "flowers102",
    "imagenet30", "entity13", "entity30", "living17", "nonliving26",
}  # fmt: skip


@pytest.fixture
def written(tmp_path):
    """The file of the template in a folder of its own."""
    assert execute(["suite", "template", "paper", "--model", MODEL, "--out", str(tmp_path / "my.toml")]) == 0
    return tmp_path / "my.toml"


def named(plan, kind):
    """The names of the tasks of a kind, without it."""
    return {task.name.removeprefix(f"{kind}-") for task in plan.tasks if task.kind == kind}


def test_the_template_names_every_task_and_arm(written):
    """The suite holds the few-shot, anomaly, agreement and structure tasks of the paper, and its arms."""
    plan = Plan.load(written)
    assert [arm.name for arm in plan.arms] == ["original", "naive", "global", "glocal", "published"]
    assert named(plan, "few-shot") == FEW_SHOT
    both = {name for name in named(plan, "anomaly") if not name.endswith("leave-one-out")}
    assert both == ANOMALY
    assert {task.kind for task in plan.tasks} >= {"odd-one-out", "rsa", "structure"}
    assert plan.networks[0].name == "clip_ViT-L-14"


def test_only_published_models_have_a_published_arm():
    """A model without a published transform has the other arms, and a name of its own for its folder."""
    text = template("paper", "timm:vit_tiny_patch16_224")
    assert "published" not in text
    assert '[networks."timm-vit_tiny_patch16_224"]' in text
    assert not re.search(r"@[A-Z_]+@", text)


def test_the_commands_in_it_are_commands_and_make_its_files(written):
    """Each line of the comments parses as a command line, and what extract writes is what the tasks read."""
    lines = [line[4:] for line in written.read_text().splitlines() if line.startswith("#   ")]
    commands = [shlex.split(line) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]
    made = set()
    for words in commands:
        if words[0] != "glocal":
            assert words[0] == "awk"
            continue
        command, rest = typer.main.get_command(app), words[1:]
        while hasattr(command, "commands"):
            command, rest = command.commands[rest[0]], rest[1:]
        given = command.make_context("glocal", rest)
        if words[1] == "extract":
            made.add(str(given.params["out"]))
            assert given.params["model"] == MODEL
    network = "clip_ViT-L-14"
    read = {text.replace("{network}", network) for task in Plan.load(written).tasks for text in task.files}
    assert {path.split("/labels")[0] for path in read if path.startswith(network)} <= made


def make_things(folder, network):
    """A simulated world under the names of THINGS."""
    world = simulated_world(
        n_superordinate=3, n_category=3, n_object=3, n_local=40, n_triplets=3000, dimensions=24, seed=1
    )
    names = [f"thing{number:02d}" for number in range(len(world.objects))]
    (folder / "things").mkdir()
    lines = {"unique-id.txt": names, "categories27.tsv": ["\t".join("ab"), *("1\t0" for _ in names)]}
    for name, text in lines.items():
        (folder / "things" / name).write_text("\n".join(text) + "\n")
    answers = Answers(world.triplets.objects, kind="odd-one-out", names=tuple(names))
    answers.save(folder / "things" / "answers.npz")
    repeated = np.repeat(world.triplets.objects[:30], 4, axis=0)
    Answers(repeated, kind="odd-one-out", names=tuple(names)).save(folder / "things" / "repeated.npz")
    rdm = 1 - np.corrcoef(world.objects.matrix[:12])
    np.save(folder / "things" / "rdm48.npy", (rdm + rdm.T) / 2 * (1 - np.eye(12)))
    (folder / "things" / "rdm48_index.txt").write_text("\n".join(map(str, range(12))))
    for part, features in (("things", world.objects), ("local", world.local)):
        (folder / network / part).mkdir(parents=True)
        np.save(folder / network / part / "features.npy", features.matrix)
    (folder / network / "things" / "file_names.txt").write_text("\n".join(f"{name}.jpg" for name in names))


def test_the_template_runs_on_made_features_under_its_paths(written, capsys):
    """With tiny features under every path, each task of every arm is scored; without one, it is left out by name."""
    plan, folder = Plan.load(written), written.parent
    network = plan.networks[0].name
    classes = sorted({str(n) for task in breeds().values() for parts in task.values() for part in parts for n in part})
    make_things(folder, network)
    rng = np.random.default_rng(0)
    for name in {text.split("/")[1] for task in plan.tasks for text in task.files if text.startswith("{network}")}:
        if name == "sun397":
            continue
        kinds = classes if name.startswith("imagenet-") else [f"{s}{i}" for s in ("one", "two") for i in range(2)]
        labels = np.resize(kinds, max(24, 3 * len(kinds)))
        place = folder / network / name
        place.mkdir()
        np.save(place / "features.npy", rng.normal(size=(len(labels), 24)))
        (place / "labels.txt").write_text("\n".join(labels))
        (place / "labels_coarse.txt").write_text("\n".join(label[:3] for label in labels))
    text = written.read_text()
    for arm in ("naive", "glocal", "published"):  # one arm that is fitted stands for all
        text = re.sub(rf"\[arms\.{arm}\]\n(.+\n)+", "", text)
    written.write_text(text.replace('kind = "few-shot"', 'kind = "few-shot"\nprobe = "ncm"'))
    out = folder / "out"
    assert execute(["evaluate", "suite", str(written), "--out", str(out), "--skip-missing"]) == 0
    assert "task few-shot-sun397 is left out" in capsys.readouterr().err
    rows = read_rows(out / "rows.jsonl")
    wanted = {(task.name, arm) for task in plan.tasks for arm in ("original", "global")} - {
        ("few-shot-sun397", "original"), ("few-shot-sun397", "global"),
    }  # fmt: skip
    assert {(row["task"], row["transform"]) for row in rows if row["transform"] != "people"} == wanted


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("figure", "--model", "x"), "template is 'figure'; allowed are paper"),
        (("paper", "--model", "a\nb"), "give the name that glocal extract --model takes"),
        (("paper", "--model", " "), "give the name that glocal extract --model takes"),
        (("paper", "--model", "x", "--out", "x.json"), "allowed are .toml"),
    ],
)
def test_what_is_no_template_is_said(words, sentence, capsys):
    """An unknown template, a name of two lines and another extension exit 1 with one sentence."""
    assert execute(["suite", "template", *words]) == 1
    assert sentence in capsys.readouterr().err


def test_the_same_file_is_no_obstacle(written, capsys):
    """The same command ends well where its file is there unchanged; that of another model is refused."""
    words = ["suite", "template", "paper", "--out", str(written), "--model"]
    assert execute([*words, MODEL]) == 0
    assert f"written to {written}" in capsys.readouterr().out
    assert execute([*words, "clip_RN50"]) == 1
    assert "exists" in capsys.readouterr().err


def test_a_file_that_is_there_stays(written, capsys):
    """A suite file that may have been edited is not written over; without --out the text goes to standard output."""
    text = written.read_bytes()
    before = text + b"# mine\n"
    written.write_bytes(before)
    assert execute(["suite", "template", "paper", "--model", MODEL, "--out", str(written)]) == 1
    assert "you may have changed it" in capsys.readouterr().err
    assert written.read_bytes() == before
    assert execute(["suite", "template", "paper", "--model", MODEL]) == 0
    shown = capsys.readouterr().out.splitlines()
    shown = [line.replace("paper.toml", "my.toml") for line in shown]
    assert shown[2:] == text.decode().splitlines()[2:]
