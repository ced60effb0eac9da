"""Transforms by name, in the package, published, in folders and on the hub, with cards."""

import http.server
import importlib
import json
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fits import heldout
from sites import PROXIES, site
from world import run

import glocal
from glocal.data.features import Features
from glocal.data.sources import published
from glocal.errors import DataWarning, FileError, ParameterError
from glocal.files import file_sha256
from glocal.transform import LinearTransform, check_rows
from glocal.transform.card import card
from glocal.transform.sharing import pull

P = 6


def planted(seed: int = 0, **meta) -> LinearTransform:
    """A random transform."""
    weights = np.random.default_rng(seed).normal(size=(P, P)).astype(np.float32)
    return LinearTransform(weights, None, mean=0.4, std=1.5, meta=meta)


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Use neither proxies nor caches of the environment."""
    for name in (*PROXIES, "GLOCAL_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLOCAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """huggingface_hub, connected to a server of files on this machine, and the files."""
    library = pytest.importorskip("huggingface_hub")
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    files = {}
    for seed, revision in enumerate(("main", "v2")):
        planted(seed).save(tmp_path / "on-the-hub.npz")
        content = (tmp_path / "on-the-hub.npz").read_bytes()
        files[f"/me/aligned/resolve/{revision}/transform.npz"] = content
    with site(files) as (url, _):
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield library


# the box


BOX = "clip-vit-b-32"
BOXES = (BOX, "clip-vit-b-32-centred")


def test_the_box_has_a_transform_with_its_card(tmp_path):
    """`glocal.pretrained` loads the transform by either spelling, and its card states what the file
    does.
    """
    transform = glocal.pretrained(BOX)
    assert np.array_equal(
        transform.weights, LinearTransform.from_pretrained("clip_ViT-B/32").weights
    )
    assert np.load(pull(BOX))["weights"].dtype == np.float16
    rows = transform.meta["rows"]  # by which raw rows and rows of other networks are recognised
    assert rows["normalised"]
    assert len(rows["columns"]) >= 4
    transform.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == pull(BOX).with_name(
        "README.md"
    ).read_text("utf-8")
    assert sum(path.stat().st_size for path in pull(BOX).parent.iterdir()) < 700_000


@pytest.fixture(scope="module")
def maker(data_dir):
    """benchmarks/pretrained.py, and the data of the transforms in the package."""
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
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
    numbers = [scores["agreement"], scores["original"], scores["kept"]]
    numbers += [
        value
        for score in scores["others"].values()
        for value in (score["kept"], score["original"], score["shot"])
    ]
    assert [score for score in numbers if f"{score:.3f}" not in text] == []
    root = module.workbench.real_data()
    check_rows(transform, data.local_features)
    for other in ("things/words/clip-vit-b32", "things/features/blip"):
        with pytest.warns(DataWarning, match="columns"):
            check_rows(transform, Features.load(root / other))


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
    promised, repeated = (transform.meta["fit"]["heldout"] for transform in (box, repeated_fit))
    assert repeated == pytest.approx(promised, abs=0.002)


# pull


@pytest.fixture
def server(monkeypatch):
    """The addresses of all connections that are tried; none is made."""
    addresses = []
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, lambda self, address: addresses.append(address))
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *address, **options: addresses.append(address)
    )
    return addresses


@pytest.mark.parametrize(
    ("name", "error", "noun"),
    [
        ("results/transfrom.npz", FileError, "transfrom.npz"),
        ("results/transfrom", ParameterError, "hf://results/transfrom"),
        ("./no.npz", FileError, "no.npz"),
        ("ViT-B/32", ParameterError, "clip-vit-b-32"),
        ("clip_ViT-L-14", ParameterError, "clip_ViT-L/14/visual"),
        ("clip-vit-b32", ParameterError, "clip-vit-b-32"),
        ("clip_RN50", FileError, "glocal transforms pull clip_RN50"),
        ("x" * 300, ParameterError, "xxx"),
    ],
)
def test_no_other_name_than_hf_leaves_the_machine(tmp_path, monkeypatch, server, name, error, noun):
    """A mistyped file, a bare OWNER/NAME and a published name cause no request."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones((3, P)))
    with pytest.raises(error, match=noun):
        glocal.pretrained(name)
    code, _, err = run("apply", name, "x.npy", "--out", "z.npy")
    assert (code, noun in err) == (2 if error is ParameterError else 1, True)
    if error is ParameterError:
        with pytest.raises(error, match=noun):
            pull(name)
    assert server == []


def test_the_registry_of_other_files_names_no_transform():
    """Published files that are no transforms are neither pulled nor suggested."""
    with pytest.raises(ParameterError) as caught:
        pull("things/unique-id")
    assert "transforms/" not in str(caught.value)
    assert "mean things/" not in str(caught.value)


@pytest.mark.parametrize("name", ["clip_RN50/visual", "clip_RN50", "transforms/clip_RN50/visual"])
def test_a_published_transform_is_fetched_by_model_and_layer(tmp_path, monkeypatch, name):
    """The name of thingsvision, and that of the model alone, stand for the registered file of that
    layer.
    """
    planted().save(tmp_path / "t.npz")
    key = "transforms/clip_RN50/visual"
    with site({"/t.npz": (tmp_path / "t.npz").read_bytes()}) as (url, server):
        monkeypatch.setitem(published(), key, replace(published()[key], url=f"{url}/t.npz"))
        with pytest.raises(FileError, match="visual"):  # this is not the published file
            pull(name)
    assert "/t.npz" in server.asked


def test_a_published_transform_is_loaded_once_it_was_pulled(monkeypatch, tmp_path):
    """A transform in the cache is loaded by its name in Python, and a damaged file
    there is refused.
    """
    planted().save(tmp_path / "t.npz")
    entry = published()["transforms/clip_RN50/visual"]
    checksum = f"sha256:{file_sha256(tmp_path / 't.npz')}"
    with site({"/t.npz": (tmp_path / "t.npz").read_bytes()}) as (url, _):
        entry = replace(entry, checksum=checksum, url=f"{url}/t.npz")
        monkeypatch.setitem(published(), "transforms/clip_RN50/visual", entry)
        path = pull("clip_RN50")
    assert np.array_equal(glocal.pretrained("clip_RN50").weights, planted().weights)
    path.write_bytes(b"damaged")
    with pytest.raises(FileError, match="pull"):
        glocal.pretrained("clip_RN50")


@pytest.mark.parametrize("value", [None, "", "0", "false", "No"])
def test_the_hub_is_pulled_from(hub, monkeypatch, value):
    """hf://OWNER/NAME is pulled in the revision of its name, unless GLOCAL_OFFLINE is set, which
    allows only what was pulled before.
    """
    if value is not None:
        monkeypatch.setenv("GLOCAL_OFFLINE", value)
    for name, seed in (("me/aligned", 0), ("me/aligned@main", 0), ("me/aligned@v2", 1)):
        weights = LinearTransform.from_pretrained(f"hf://{name}").weights
        assert np.array_equal(weights, planted(seed).weights)
    monkeypatch.setenv("GLOCAL_OFFLINE", "1")
    assert np.array_equal(glocal.pretrained("hf://me/aligned").weights, planted().weights)


def test_what_the_hub_refuses_is_one_sentence(hub, monkeypatch):
    """A missing repository, for pull and push, and a hub that GLOCAL_OFFLINE forbids are one
    sentence each.
    """
    for ask in (lambda: pull("hf://me/other"), lambda: planted().push_to_hub("me/other")):
        with pytest.raises(FileError, match="hf://me/other"):
            ask()
    monkeypatch.setenv("GLOCAL_OFFLINE", "1")
    with pytest.raises(FileError, match="GLOCAL_OFFLINE"):
        pull("hf://me/aligned")


class _Broken(http.server.BaseHTTPRequestHandler):
    """Sends what its server has: bytes that are not HTTP, or a status, a target and a body."""

    def do_GET(self):
        reply = self.server.reply
        if isinstance(reply, bytes):
            self.wfile.write(reply)
            return
        status, target, body = reply
        self.send_response(status)
        if target:
            self.send_header("Location", target)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_POST = do_GET

    def log_message(self, *_):
        """Silence."""


@pytest.mark.parametrize(
    "reply",
    [None, b"nonsense", (302, "/again", b""), (200, None, b"[1]"), (200, None, b'{"a": 1}')],
    ids=["nobody", "no-http", "circle", "list", "object"],
)
def test_whatever_the_hub_does_is_one_sentence(tmp_path, monkeypatch, reply):
    """A missing server, bytes that are not HTTP, circular redirections and unexpected JSON are exit
    code 1 and a sentence with the name.

    The library pauses before it tries again, so the test does not let it pause.
    """
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    planted().save(tmp_path / "t.npz")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Broken) as broken:
        broken.daemon_threads = True
        broken.reply = reply
        thread = threading.Thread(target=broken.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        port = 9 if reply is None else broken.server_port
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        for command in (["pull", "hf://a/b"], ["push", tmp_path / "t.npz", "hf://a/b"]):
            code, _, err = run("transforms", *command)
            assert (code, "hf://a/b" in err) == (1, True), err
            assert len(err.splitlines()) == 1
            assert not pauses
        broken.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("make", "error", "noun"),
    [
        (lambda: pull("missing.npz"), FileError, "missing.npz"),
        (lambda: planted().push_to_hub("hf://me/aligned@main"), ParameterError, "OWNER/NAME"),
        (lambda: pull("hf://a/b/../../x"), ParameterError, "hf"),
        (lambda: planted().push_to_hub("aligned"), ParameterError, "OWNER/NAME"),
        (
            lambda: planted().push_to_hub("me/aligned", licence="mit\nextra: x"),
            ParameterError,
            "licence",
        ),
        (lambda: card(planted(card={"base_model": "a b"})), ParameterError, "a b"),
        (lambda: card(planted(card={"datasets": ["x\ny"]})), ParameterError, "repository"),
    ],
)
def test_what_is_no_name_is_refused(make, error, noun):
    """An unknown name is refused with the nearest names, and only identifiers enter the front
    matter of a card.
    """
    with pytest.raises(error, match=noun):
        make()


# push


def test_a_transform_is_pushed_with_its_card(hub, monkeypatch):
    """The hub gets the transform and its card in one commit, whose name is returned."""
    seen = {}
    monkeypatch.setattr(
        hub.HfApi, "create_repo", lambda self, name, **options: seen.update(created=(name, options))
    )

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        seen.update(to=repo_id, files=sorted(path.name for path in Path(folder_path).iterdir()))
        return type("Commit", (), {"oid": "d" * 40})()

    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    assert (
        planted().push_to_hub("me/aligned", private=True, licence="mit")
        == f"hf://me/aligned@{'d' * 40}"
    )
    assert seen["created"] == ("me/aligned", {"exist_ok": True, "private": True})
    assert (seen["to"], seen["files"]) == ("me/aligned", ["README.md", "transform.npz"])


def test_a_second_push_to_the_hub_keeps_the_licence(hub, monkeypatch, tmp_path):
    """The card in the repository is read before it is replaced, so that the licence stays."""
    planted().save_pretrained(tmp_path, licence="mit")
    previous = str(tmp_path / "README.md")
    cards = []

    def upload_folder(self, *, folder_path, **options):
        cards.append((Path(folder_path) / "README.md").read_text("utf-8"))
        return type("Commit", (), {"oid": "d" * 40})()

    monkeypatch.setattr(hub, "hf_hub_download", lambda *name, **options: previous)
    monkeypatch.setattr(hub.HfApi, "create_repo", lambda self, name, **options: None)
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    planted().push_to_hub("me/aligned")
    planted().push_to_hub("me/aligned", licence="cc0-1.0")
    assert 'license: "mit"' in cards[0]
    assert 'license: "cc0-1.0"' in cards[1]


# cards


META = {
    "fit": {
        "method": "glocal", "alpha": 0.5, "lmbda": 0.3, "tau": 0.1,
        "n_answers": 42520, "n_objects": 1230,
        "heldout": heldout(agreement=0.5612, low=0.55, high=0.57, original=0.488, kept=0.91),
        "provenance": {"data": {"answers": "ab" * 32}},
    },
    "source": {"model": "timm:vit|x", "layer": "visual\n# b"},
}  # fmt: skip


def test_a_card_tells_the_record(tmp_path):
    """The card has the method, answers, scores and licence, and its numpy code equals
    the transform.
    """
    transform = planted(**META, card={"licence": "cc-by-4.0"})
    text = card(transform)
    for fact in (
        "method glocal, alpha 0.5, lmbda 0.3",
        "42520",
        "0.561 [0.550, 0.570]",
        "0.488",
        "ab" * 32,
    ):
        assert fact in text
    assert "\n# b" not in text
    transform.save(tmp_path / "transform.npz")
    code = (
        text.split("```python\n")[2]
        .split("```")[0]
        .replace("transform.npz", str(tmp_path / "transform.npz"))
    )
    names = {"X": np.random.default_rng(1).normal(size=(9, P))}
    exec(code, names)
    np.testing.assert_allclose(names["aligned"], transform(names["X"]), rtol=1e-5)


def test_the_hub_reads_the_front_matter():
    """The hub's library reads base_model, datasets, licence, tags and scores from a card."""
    library = pytest.importorskip("huggingface_hub")
    options = {"licence": "mit", "base_model": "timm/x", "datasets": ["me/answers"]}
    text = card(planted(**META, card=options))
    data = library.ModelCard(text).data
    fields = (data.library_name, data.license, data.base_model, data.datasets)
    assert fields == ("glocal", "mit", "timm/x", ["me/answers"])
    assert "human-similarity" in data.tags
    fields = {result.metric_name: result.metric_value for result in data.eval_results}
    assert fields["agreement on held-out answers"] == 0.5612
    assert fields["neighbours kept of held-out images"] == 0.91


def test_a_card_names_the_unit_that_was_held_out():
    """Scores on held-out questions are not called those of held-out objects."""
    text = card(planted(fit={"heldout": heldout(of="questions")}))
    assert "held-out questions" in text
    assert "held-out objects" not in text
    assert "| held out | questions |" in text


@pytest.mark.parametrize("meta", [{}, {"fit": {"provenance": "x"}}, {"sweep": {}}])
def test_a_record_that_lacks_parts_makes_a_card(meta):
    """A card leaves out what a record lacks, and what does not have our types."""
    assert "None is stated" in card(planted(**meta))


def test_a_card_lets_no_markup_of_a_record_through():
    """HTML, links and images in the names of a record are texts of its card."""
    hostile = "<script>alert(1)</script> ![x](https://a.b/c.png)"
    text = card(
        planted(source={"model": hostile}, scores=[{"task": hostile, "metric": "m", "value": 0.5}])
    )
    assert "<script>" not in text
    assert "](https" not in text
    assert "&lt;script&gt;" in text


def test_a_card_takes_no_end_of_an_interval_for_an_error():
    """Agreement with one end of its interval stands alone."""
    assert "| 0.520 |" in card(planted(fit={"heldout": heldout(high=None)}))


# commands


def test_the_commands_list_pull_and_push(tmp_path):
    """`pull` lists the names, or with a name prints a path, and `push` writes a folder
    and says so.
    """
    listed = json.loads(run("transforms", "pull", "--json")[1])["transforms"]
    assert {BOX, "clip_ViT-L/14/visual", "dino-vit-base-p16/norm"} <= {
        row["name"] for row in listed
    }
    assert [row["name"] for row in listed if row["warning"]] == ["dinov2-vit-base-p14/norm"]
    printed = run("transforms", "pull")[1]
    assert all(row["name"] in printed for row in listed)
    assert max(map(len, printed.splitlines())) <= 100
    planted(source={"model": "some-net", "layer": "a"}).save(tmp_path / "t.npz")
    options = ["--licence", "mit", "--layer", "b"]
    code, out, _ = run("transforms", "push", tmp_path / "t.npz", tmp_path / "me", *options)
    assert (code, "not published" in out) == (0, True)
    source = glocal.pretrained(tmp_path / "me").meta["source"]
    assert source == {"model": "some-net", "layer": "b"}
    code, out, _ = run("transforms", "pull", tmp_path / "me", "--out", tmp_path / "copy.npz")
    assert (code, out) == (0, f"{tmp_path / 'copy.npz'}\n")
    assert (tmp_path / "copy.npz").read_bytes() == (tmp_path / "me/transform.npz").read_bytes()
    assert 'license: "mit"' in (tmp_path / "me/README.md").read_text(encoding="utf-8")


def test_a_pulled_transform_has_the_format_of_its_name(tmp_path):
    """`--out x.safetensors` converts the transform; another ending and the file itself
    are refused.
    """
    pytest.importorskip("safetensors")
    planted().save(tmp_path / "t.npz")
    content = (tmp_path / "t.npz").read_bytes()
    assert (
        run("transforms", "pull", tmp_path / "t.npz", "--out", tmp_path / "x.safetensors")[0] == 0
    )
    assert np.array_equal(
        LinearTransform.load(tmp_path / "x.safetensors").weights, planted().weights
    )
    for out in (tmp_path / "t.txt", tmp_path / "t.npz"):
        assert run("transforms", "pull", tmp_path / "t.npz", "--out", out)[0] == 2
    assert (tmp_path / "t.npz").read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} == {"t.npz", "x.safetensors"}


def test_a_name_without_hf_is_a_folder_that_is_not_published(tmp_path, monkeypatch):
    """`push T OWNER/NAME` writes a folder and says how to publish it, and `--private` and other
    addresses are refused.
    """
    monkeypatch.chdir(tmp_path)
    planted().save("t.npz")
    code, out, _ = run("transforms", "push", "t.npz", "me/aligned")
    assert (code, "hf://me/aligned" in out, "not published" in out) == (0, True, True)
    for options in (["me/other", "--private"], ["s3://bucket/x"]):
        code, _, err = run("transforms", "push", "t.npz", *options)
        assert (code, "OWNER/NAME" in err) == (2, True)
    assert not Path("me/other").exists()


@pytest.mark.parametrize("name", ["README.md", "transform.npz"])
def test_what_glocal_did_not_write_is_not_replaced(tmp_path, name):
    """A card or a transform that glocal did not write ends `push` before anything is written, and
    its own are replaced.
    """
    folder = tmp_path / "project"
    folder.mkdir()
    planted().save(tmp_path / "t.npz")
    if name == "README.md":
        (folder / name).write_text("# Mine\n")
    else:
        np.savez(folder / name, weights=np.eye(P), mean=0.0, std=1.0)
    content = (folder / name).read_bytes()
    code, _, err = run("transforms", "push", tmp_path / "t.npz", folder)
    assert (code, name in err) == (1, True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: content}
    (folder / name).unlink()
    for _ in range(2):
        assert run("transforms", "push", tmp_path / "t.npz", folder)[0] == 0
    assert run("transforms", "push", folder, folder)[0] == 2
