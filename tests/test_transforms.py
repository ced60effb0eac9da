"""Transforms by name, in the package, published, in folders and on the hub, with cards."""

import importlib
import re
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from command_lines import without_network
from fits import fit_record, heldout, record_of
from sites import site
from world import ROOT, folder, normal, run, table

import glocal
from glocal import LinearTransform
from glocal.errors import DataWarning, FileError, ParameterError
from glocal.files import file_sha256
from glocal.transform import check_rows, push_to_hub, save_pretrained
from glocal.transform.card import card
from glocal.transform.catalogue import pull
from glocal.transform.record import Source

pytestmark = pytest.mark.usefixtures("cache", "here")
P = 6


def planted(seed: int = 0, **parts) -> LinearTransform:
    """A random transform."""
    weights = np.random.default_rng(seed).normal(size=(P, P)).astype("f4")
    return LinearTransform(weights, None, 0.4, 1.5, record_of(**parts))


def content(seed: int = 0) -> bytes:
    """The bytes of a file of the random transform of a seed, which is written as ``made.npz``."""
    planted(seed).save("made.npz")
    return Path("made.npz").read_bytes()


@pytest.fixture
def library(tmp_path, monkeypatch):
    """huggingface_hub with an empty cache and a token, which tries again without a pause."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return pytest.importorskip("huggingface_hub")


# the box


BOX = "clip-vit-b-32"
BOXES = (BOX, "clip-vit-b-32-centred")


def test_the_box_has_a_transform_with_its_card(tmp_path):
    """`glocal.pretrained` loads the transform by either spelling, and its card states what the file
    does.
    """
    transform = glocal.pretrained(BOX)
    same = LinearTransform.from_pretrained("clip_ViT-B/32")
    assert np.array_equal(transform.weights, same.weights)
    file = pull(BOX)
    rows = transform.record.rows  # by which raw rows and rows of other networks are recognised
    assert rows.normalize
    assert len(rows.columns) >= 4
    save_pretrained(transform, tmp_path)
    assert Path("README.md").read_bytes() == file.with_name("README.md").read_bytes()
    assert sum(path.stat().st_size for path in file.parent.iterdir()) < 700_000


@pytest.fixture(scope="module")
def maker(data_dir):
    """benchmarks/pretrained.py, and the data of the transforms in the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        patch.setenv("GLOCAL_DATA_DIR", str(data_dir))
        module = importlib.import_module("pretrained")
        yield module, module.data()


@pytest.mark.data
@pytest.mark.parametrize("name", BOXES)
def test_the_box_gives_the_numbers_of_its_card(maker, name):
    """Agreement and neighbours kept are those of the card, and texts and BLIP cause a warning."""
    module, data = maker
    transform = glocal.pretrained(name)
    text = pull(name).with_name("README.md").read_text("utf-8")
    scores = module.measured(transform, data)
    for score in (scores, *scores["others"].values()):
        for key in {"agreement", "original", "neighbours_kept", "shot"} & {*score}:
            assert f"{score[key]:.3f}" in text
    check_rows(transform, data.local_features)
    for folder_name in ("things/words/clip-vit-b32", "things/features/blip"):
        other = glocal.Features.load(module.workbench.real_data() / folder_name)
        with pytest.warns(DataWarning, match="columns"):
            check_rows(replace(transform), other)


@pytest.mark.data
@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", BOXES)
def test_the_box_is_made_again(maker, name):
    """`make pretrained` gives the transform of the package and the numbers in its record."""
    module, data = maker
    repeated_fit = module.made(data, name)
    box = glocal.pretrained(name)
    assert np.abs(repeated_fit.weights - box.weights).max() < 0.01 * np.abs(box.weights).max()
    promised, repeated = (
        transform.record.fit.heldout.model_dump() for transform in (box, repeated_fit)
    )
    assert repeated == pytest.approx(promised, abs=0.002)


# pull


# a name, the exit code, and a noun of the message
NAMES = """
results/transfrom.npz | 1 | transfrom.npz
results/transfrom | 2 | hf://results/transfrom
./no.npz | 1 | no.npz
ViT-B/32 | 2 | clip-vit-b-32
clip_ViT-L-14 | 2 | clip_ViT-L/14/visual
clip-vit-b32 | 2 | clip-vit-b-32
clip_RN50 | 1 | glocal transforms pull clip_RN50
LONG | 2 | xxx
"""


@table("name, code, noun", NAMES.replace("LONG", "x" * 300))
def test_no_other_name_than_hf_leaves_the_machine(name, code, noun):
    """A mistyped file, a bare OWNER/NAME and a published name cause no request."""
    np.save("x.npy", np.ones((3, P)))
    with without_network() as connect:
        with pytest.raises(ParameterError if code == "2" else FileError, match=noun):
            glocal.pretrained(name)
        assert noun in run("apply", name, "x.npy", "--out", "z.npy").error(int(code))
    connect.assert_not_called()


PUBLISHED = "transforms/clip_RN50/visual"


@pytest.mark.parametrize("name", ["clip_RN50/visual", "clip_RN50", PUBLISHED])
def test_a_published_transform_is_pulled_by_model_and_layer(publish, name):
    """The name of thingsvision, and that of the model alone, stand for the registered file, which
    is loaded by its name once it was pulled; a damaged file is refused.
    """
    files = {PUBLISHED: content()}
    changes = {"path": f"{PUBLISHED}.npz", "checksum": f"sha256:{file_sha256('made.npz')}"}
    with publish(files, visual=changes):
        path = pull(name)
        assert np.array_equal(glocal.pretrained(name).weights, planted().weights)
        path.write_bytes(b"damaged")
        with pytest.raises(FileError, match="pull"):
            glocal.pretrained(name)


def test_the_hub_is_pulled_from(library, monkeypatch):
    """hf://OWNER/NAME is pulled in the revision of its name, unless GLOCAL_OFFLINE is set, which
    allows only what was pulled before.
    """
    monkeypatch.setenv("GLOCAL_OFFLINE", "No")
    path = "/me/aligned/resolve/{}/transform.npz"
    with site({path.format("main"): content(0), path.format("v2"): content(1)}) as (url, _):
        monkeypatch.setenv("HF_ENDPOINT", url)
        for name, seed in (("me/aligned", 0), ("me/aligned@main", 0), ("me/aligned@v2", 1)):
            weights = LinearTransform.from_pretrained(f"hf://{name}").weights
            assert np.array_equal(weights, planted(seed).weights)
    monkeypatch.setenv("GLOCAL_OFFLINE", "1")
    assert np.array_equal(glocal.pretrained("hf://me/aligned").weights, planted().weights)
    with pytest.raises(FileError, match="GLOCAL_OFFLINE"):
        pull("hf://me/other")


@pytest.mark.parametrize("reply", [b"nonsense", 404, None])
def test_whatever_the_hub_does_is_one_sentence(monkeypatch, library, reply):
    """A missing server, bytes that are not HTTP and a repository that does not exist are exit
    code 1 and a sentence with the name.
    """
    content()
    with site({}, reply) as (url, _):
        monkeypatch.setenv("HF_ENDPOINT", url if reply else "http://127.0.0.1:9")
        for line in ("pull hf://a/b", "push made.npz hf://a/b"):
            message = run(f"transforms {line}").error(1)
            assert message.count("\n") == 1
            assert "hf://a/b" in message


PUSH = partial(push_to_hub, planted())


@pytest.mark.parametrize(
    "call, name, noun",
    [
        (LinearTransform.load, BOX, "pretrained"), (pull, "hf://a/b/../../x", "hf"),
        (pull, "things/unique-id", "^(?!.*(transforms|mean things)/)"),
        (PUSH, "hf://me/aligned@main", "OWNER/NAME"), (PUSH, "aligned", "OWNER/NAME"),
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(call, name, noun):
    """An unknown name is refused with the nearest names, of which no published file that is no
    transform is one.
    """
    with pytest.raises((FileError, ParameterError), match=noun):
        call(name)


def test_an_error_of_glocal_during_a_push_is_that_error(library, monkeypatch):
    """What is wrong with the transform or its card is not taken for a failure of the network."""
    monkeypatch.setattr(library, "HfApi", Mock(side_effect=ParameterError("a wrong licence")))
    with pytest.raises(ParameterError, match="a wrong licence"):
        PUSH("me/aligned")


# push


def test_a_transform_is_pushed_with_its_card(library, monkeypatch, tmp_path):
    """The hub gets the transform and its card in one commit, whose name is returned."""
    api = Mock()
    cards = []

    def upload_folder(*, folder_path, **_):
        file, transform = sorted(Path(folder_path).iterdir())
        cards.append(file.read_text("utf-8"))
        assert np.array_equal(LinearTransform.load(transform).weights, planted().weights)
        return Mock(oid="d" * 40)

    api.upload_folder = upload_folder
    monkeypatch.setattr(library, "HfApi", lambda endpoint: api)
    assert PUSH("me/aligned", private=True) == f"hf://me/aligned@{'d' * 40}"
    api.create_repo.assert_called_once_with("me/aligned", exist_ok=True, private=True)
    PUSH("me/aligned", licence="cc0-1.0")
    assert "license:" not in cards[0]
    assert 'license: "cc0-1.0"' in cards[1]


# cards


PARTS = {
    "fit": fit_record(
        method="glocal", alpha=0.5, lmbda=0.3, tau=0.1, n_answers=42520, n_objects=1230,
        provenance={"version": "1", "data": {"answers": "DIGEST"}},
        heldout=heldout(agreement=0.5612, low=0.55, high=0.57, original=0.488),
    ),
    "source": {"model": "timm:vit|x", "layer": "visual\n# b"},
}  # fmt: skip


def test_a_card_tells_the_record():
    """The card has the method, answers and scores, its numpy code equals the transform, and the
    library of the hub reads its front matter.
    """
    options = {"licence": "mit", "base_model": "timm/x", "datasets": ["me/answers"]}
    transform = planted(**PARTS, card=options)
    text = card(transform)
    facts = ["method glocal, alpha 0.5, lmbda 0.3", "42520", "0.561 [0.550, 0.570]", "0.488"]
    assert [fact for fact in (*facts, "DIGEST") if fact not in text] == []
    assert "\n# b" not in text
    transform.save("transform.npz")
    names = {"X": normal(9, P, seed=1)}
    exec(re.findall("```python\n(.*?)```", text, re.DOTALL)[1], names)
    names["file"].close()  # the skip below would keep it open
    np.testing.assert_allclose(names["aligned"], transform(names["X"]), rtol=1e-5)
    save_pretrained(transform, "shared")
    data = pytest.importorskip("huggingface_hub").metadata_load("shared/README.md")
    fields = [data[key] for key in ("library_name", "license", "base_model", "datasets")]
    assert fields == ["glocal", "mit", "timm/x", ["me/answers"]]
    assert "human-similarity" in data["tags"]


HOSTILE = "<script>alert(1)</script> ![x](https://a.b/c.png)"


@pytest.mark.parametrize(
    "parts, words, absent",
    [
        *((parts, "None is stated", "held") for parts in ({}, {"fit": fit_record()})),
        ({"fit": fit_record(heldout=heldout(of="questions"))}, "to questions", "about objects"),
        ({"fit": fit_record(heldout=heldout(high=None))}, "| 0.520 |", "0.520 ["),
        ({"source": {"model": HOSTILE}}, "&lt;script&gt;", "<script>|](https"),
    ],
)  # fmt: skip
def test_a_card_has_what_the_record_has(parts, words, absent):
    """A card leaves out what a record lacks, names the unit that
    was held out, takes no end of an interval for an error, and lets no markup through.
    """
    text = card(planted(**parts))
    assert [part for part in absent.split("|") if part in text or words not in text] == []


# commands


def test_pull_lists_the_names():
    """`pull` without a name lists all names, with their warnings."""
    rows = run("transforms pull --json").json["transforms"]
    listed = {row["name"]: row["warning"] for row in rows}
    assert {BOX, "clip_ViT-L/14/visual", "dino-vit-base-p16/norm"} <= listed.keys()
    assert [name for name in listed if listed[name]] == ["dinov2-vit-base-p14/norm"]
    printed = run("transforms pull").out
    assert [name for name in listed if name not in printed] == []


def test_a_fit_is_shared_in_a_folder_that_is_not_published():
    """`push T OWNER/NAME` writes a folder with a card that tells what its options and the fit do,
    and says how to publish it; `pull` copies its transform, in the format of the name of the copy.
    Other addresses and endings are refused.
    """
    pytest.importorskip("safetensors")
    folder(Path(), t_npz=planted(fit=fit_record(heldout=heldout())))
    options = ("--preprocessing", "resized to 224", "--notes", "Of our pilot.")
    line = "transforms push t.npz me/aligned --licence mit --model-name my-net --layer b"
    pushed = run(line, *options)
    assert "hf://OWNER/NAME" in pushed.out
    assert "not published" in pushed.out
    shared = glocal.pretrained("me/aligned")
    source = Source(model="my-net", layer="b", preprocessing="resized to 224")
    assert shared.record.source == source
    words = ("my-net / b", "resized to 224", "pilot.", "agreement on held-out", 'license: "mit"')
    text = Path("me/aligned/README.md").read_text("utf-8")
    assert [part for part in words if part not in text] == []
    assert run("transforms pull me/aligned --out copy.npz") == (0, "copy.npz\n", "")
    assert Path("copy.npz").read_bytes() == Path("me/aligned/transform.npz").read_bytes()
    assert run("transforms pull t.npz --out x.safetensors").code == 0
    assert np.array_equal(LinearTransform.load("x.safetensors").weights, shared.weights)
    for line, noun in (("push t.npz s3://bucket/x", "OWNER"), ("pull t.npz --out t.txt", "end")):
        assert noun in run(f"transforms {line}").error(2)


@pytest.mark.parametrize("name", ["README.md", "transform.npz"])
def test_what_glocal_did_not_write_is_not_replaced(name):
    """A card or a transform that glocal did not write ends `push` before anything is written; its
    own are replaced.
    """
    foreign = folder(Path("project"), **{name.replace(".", "_"): content(1)}) / name
    assert name in run("transforms push made.npz project").error(1)
    assert list(foreign.parent.iterdir()) == [foreign]
    assert foreign.read_bytes() == content(1)
    foreign.unlink()
    for licence in ("mit", "x"):
        assert run(f"transforms push made.npz project --licence {licence}").code == 0
        assert f'license: "{licence}"' in Path("project/README.md").read_text("utf-8")
