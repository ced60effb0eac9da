"""Transforms by name, published, in folders and on the Hugging Face hub, with a card that says what they are."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from sites import PROXIES, site

import glocal
from glocal.data.features import Features
from glocal.data.sources import published
from glocal.errors import DataWarning, FileError, ParameterError
from glocal.transform import LinearTransform, check_rows
from glocal.transform.sharing import card, pull

P = 6


def planted(seed: int = 0, **meta) -> LinearTransform:
    """A random transform."""
    weights = np.random.default_rng(seed).normal(size=(P, P)).astype(np.float32)
    return LinearTransform(weights, None, mean=0.4, std=1.5, meta=meta)


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Neither proxies, mirrors nor caches of the environment are asked."""
    for name in (*PROXIES, "GLOCAL_MIRROR", "GLOCAL_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLOCAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """huggingface_hub, asking a server of files on this machine, and its files."""
    library, constants = pytest.importorskip("huggingface_hub"), pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    planted().save(tmp_path / "on-the-hub.npz")
    with site({"/me/aligned/resolve/main/transform.npz": (tmp_path / "on-the-hub.npz").read_bytes()}) as (url, _):
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield library


# the box


BOX = "clip-vit-b-32"


def test_the_box_has_a_transform_with_its_card(tmp_path):
    """glocal.pretrained loads it by either spelling; the file is in half precision, and its card is what it tells."""
    transform = glocal.pretrained(BOX)
    assert np.array_equal(transform.weights, LinearTransform.from_pretrained("clip_ViT-B/32").weights)
    assert np.load(pull(BOX))["weights"].dtype == np.float16
    rows = transform.meta["rows"]  # what raw rows and those of other networks are known by
    assert rows["normalised"]
    assert len(rows["columns"]) >= 4
    transform.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == pull(BOX).with_name("README.md").read_text("utf-8")
    assert sum(path.stat().st_size for path in pull(BOX).parent.iterdir()) < 600_000


@pytest.fixture(scope="module")
def maker(data_dir):
    """benchmarks/pretrained.py, and the data of the box."""
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("GLOCAL_DATA_DIR", str(data_dir))
        module = importlib.import_module("pretrained")
    return module, module.data()


@pytest.mark.data
def test_the_box_gives_the_numbers_of_its_card(maker):
    """Agreement and neighbours kept on the data at hand are those of the card; texts and BLIP are warned of."""
    module, data = maker
    transform, card_ = glocal.pretrained(BOX), pull(BOX).with_name("README.md").read_text("utf-8")
    found = module.measured(transform, data)
    numbers = [found["agreement"], found["original"], found["kept"]]
    numbers += [value for one in found["others"].values() for value in (one["kept"], one["original"], one["shot"])]
    assert [one for one in numbers if f"{one:.3f}" not in card_] == []
    root = module.workbench.real_data()
    check_rows(transform, data.local_features)
    for other in ("things/words/clip-vit-b32", "things/features/blip"):
        with pytest.warns(DataWarning, match="columns"):
            check_rows(transform, Features.load(root / other), normalize=True)


@pytest.mark.data
@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_box_is_made_again(maker):
    """`make pretrained` gives the transform of the package and what its record promises."""
    module, data = maker
    made, box = module.made(data), glocal.pretrained(BOX)
    assert np.abs(made.weights - box.weights).max() < 0.02 * np.abs(box.weights).max()
    promised, again = (one.meta["fit"]["keep"]["expected"] for one in (box, made))
    assert again == pytest.approx(promised, abs=0.002)


# pull


@pytest.mark.parametrize("name", ["clip_RN50/visual", "clip_RN50", "transforms/clip_RN50/visual"])
def test_a_published_transform_is_fetched_by_model_and_layer(tmp_path, monkeypatch, name):
    """The name of thingsvision, or of the model alone, is the registered file of that layer."""
    planted().save(tmp_path / "t.npz")
    path = published()["transforms/clip_RN50/visual"].path
    with site({f"/{path}": (tmp_path / "t.npz").read_bytes()}) as (url, server):
        monkeypatch.setenv("GLOCAL_MIRROR", url)
        with pytest.raises(FileError, match="visual"):  # it is not the file that was published
            pull(name)
    assert f"/{path}" in server.asked


def test_the_hub_is_pulled_from(hub):
    """OWNER/NAME is a repository, with or without hf:// and a revision; what the hub refuses is said as its own."""
    for name in ("me/aligned", "hf://me/aligned", "hf://me/aligned@main"):
        assert np.array_equal(LinearTransform.from_pretrained(name).weights, planted().weights)
    for ask in (lambda: pull("me/other"), lambda: planted().push_to_hub("me/other")):
        with pytest.raises(FileError, match="hub refuses me/other"):
            ask()


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: pull("clip_ViT-L-14"), ParameterError, "clip_ViT-L/14/visual"),
        (lambda: pull("clip-vit-b32"), ParameterError, "clip-vit-b-32"),
        (lambda: pull("missing.npz"), FileError, "missing.npz"),
        (lambda: pull("hf://a/b/../../x"), ParameterError, "hf"),
        (lambda: planted().push_to_hub("aligned"), ParameterError, "OWNER/NAME"),
        (lambda: planted().push_to_hub("me/aligned", licence="mit\nextra: x"), ParameterError, "licence"),
        (lambda: card(planted(), base_model="a b"), ParameterError, "a b"),
        (lambda: card(planted(), datasets=["x\ny"]), ParameterError, "repository"),
    ],
)
def test_what_is_no_name_is_refused(make, error, said):
    """What is neither a path nor published gets the nearest names; only identifiers enter the front of a card."""
    with pytest.raises(error, match=said):
        make()


# push


def test_a_transform_is_pushed_with_its_card(hub, monkeypatch):
    """The hub gets transform and card in one commit, and the name of that commit comes back."""
    seen = {}
    monkeypatch.setattr(hub.HfApi, "create_repo", lambda self, name, **options: seen.update(created=(name, options)))

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        seen.update(to=repo_id, files=sorted(path.name for path in Path(folder_path).iterdir()))
        return type("Commit", (), {"oid": "d" * 40})()

    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    assert planted().push_to_hub("me/aligned", private=True, licence="mit") == f"hf://me/aligned@{'d' * 40}"
    assert seen["created"] == ("me/aligned", {"exist_ok": True, "private": True})
    assert (seen["to"], seen["files"]) == ("me/aligned", ["README.md", "transform.npz"])


# cards


META = {
    "fit": {
        "method": "glocal", "alpha": 0.5, "lmbda": 0.3, "tau": 0.1, "n_answers": 42520, "n_objects": 1230,
        "holdout": {"heldout": {
            "accuracy_cosine": 0.5612, "low": 0.55, "high": 0.57, "n": 5362, "original_accuracy_cosine": 0.488,
        }},
        "provenance": {"data": {"answers": "ab" * 32}},
    },
    "source": {"model": "timm:vit|x", "layer": "visual\n# b"},
    "sweep": {"best": {"accuracy_cosine": 0.562, "neighbours_kept": 0.91}},
}  # fmt: skip


def test_a_card_tells_the_record(tmp_path):
    """Method, answers, scores with intervals and licence stand on it, and its numpy code is the transform."""
    transform = planted(**META)
    text = card(transform, licence="cc-by-4.0")
    for said in ("method glocal, alpha 0.5, lmbda 0.3", "42520", "0.561 [0.550, 0.570]", "0.488", "ab" * 32):
        assert said in text
    assert "\n# b" not in text
    transform.save(tmp_path / "transform.npz")
    code = text.split("```python\n")[2].split("```")[0].replace("transform.npz", str(tmp_path / "transform.npz"))
    names = {"X": np.random.default_rng(1).normal(size=(9, P))}
    exec(code, names)
    np.testing.assert_allclose(names["aligned"], transform(names["X"]), rtol=1e-5)


def test_the_hub_reads_the_front_matter():
    """base_model, datasets, library, licence, tags and the scores as model-index are what the hub's library reads."""
    library = pytest.importorskip("huggingface_hub")
    text = card(planted(**META), licence="mit", base_model="timm/x", datasets=["me/answers"])
    data = library.ModelCard(text).data
    found = (data.library_name, data.license, data.base_model, data.datasets)
    assert found == ("glocal", "mit", "timm/x", ["me/answers"])
    assert "human-similarity" in data.tags
    found = {result.metric_name: result.metric_value for result in data.eval_results}
    assert found["agreement on held-out objects"] == 0.5612
    assert found["neighbours kept, mean over folds"] == 0.91


@pytest.mark.parametrize("meta", [{}, {"fit": {"holdout": 7, "provenance": "x"}}, {"sweep": {"best": 5}}])
def test_a_record_that_lacks_parts_makes_a_card(meta):
    """Whatever a record lacks, or holds that is not ours, is left out."""
    assert "None is stated" in card(planted(**meta))


# commands


def test_the_commands_list_pull_and_push(tmp_path, run):
    """`pull` without a name lists, with one prints a path; `push` writes transform and card into a folder."""
    listed = json.loads(run("transforms", "pull", "--json")[1])["transforms"]
    assert {BOX, "clip_ViT-L/14/visual", "dino-vit-base-p16/norm"} <= {one["name"] for one in listed}
    assert [one["name"] for one in listed if one["warning"]] == ["dinov2-vit-base-p14/norm"]
    planted().save(tmp_path / "t.npz")
    assert run("transforms", "push", tmp_path / "t.npz", tmp_path / "shared", "--licence", "mit")[0] == 0
    code, out, _ = run("transforms", "pull", tmp_path / "shared", "--out", tmp_path / "copy.npz")
    assert (code, out) == (0, f"{tmp_path / 'copy.npz'}\n")
    assert np.array_equal(LinearTransform.load(tmp_path / "copy.npz").weights, planted().weights)
    assert 'license: "mit"' in (tmp_path / "shared/README.md").read_text(encoding="utf-8")
    code, _, err = run("transforms", "push", tmp_path / "t.npz", "s3://bucket/x")
    assert code == 2
    assert "OWNER/NAME" in err
