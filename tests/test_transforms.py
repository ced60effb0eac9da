"""Transforms by name, address and repository: brought here once, compared ever after, verified and described."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sites import PROXIES, site

from glocal.cli.app import execute
from glocal.data.datasets.download import fetch_address
from glocal.data.datasets.registry import FILES, RemoteFile
from glocal.data.features import Features
from glocal.errors import FileError, ParameterError
from glocal.files import array_sha256, file_sha256
from glocal.transform import LinearTransform, published
from glocal.transform.card import card
from glocal.transform.pull import pull, push
from glocal.transform.verification import verify

P = 6
W = np.random.default_rng(0).normal(size=(P, P)).astype(np.float32)


def planted(seed: int = 0, meta: dict | None = None) -> LinearTransform:
    """A random transform."""
    weights = np.random.default_rng(seed).normal(size=(P, P)).astype(np.float32)
    return LinearTransform(weights, None, mean=0.4, std=1.5, meta=meta or {})


def content(folder, seed: int = 0) -> bytes:
    """The bytes of a transform file."""
    path = folder / f"planted-{seed}.npz"
    planted(seed).save(path)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache of these tests; neither proxies, mirrors nor hubs of the environment are asked."""
    for name in (*PROXIES, "GLOCAL_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("GLOCAL_OFFLINE", raising=False)
    monkeypatch.setenv("GLOCAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(cache):
    """The files of the cache, but for locks."""
    return [path for path in cache.rglob("*") if path.is_file() and not path.name.endswith(".lock")]


# addresses


def test_a_checksum_is_recorded_at_first_use_and_compared_ever_after(tmp_path, cache):
    """The second pull asks nobody; a changed file is refused when asked again, and taken when its sha256 is stated."""
    first, second = content(tmp_path), content(tmp_path, 1)
    with site({"/t.npz": first}) as (url, server):
        found = pull(f"{url}/t.npz")
        assert (found.verified, found.downloaded) == (False, True)
        again = pull(f"{url}/t.npz")
        assert (again.verified, again.downloaded, again.sha256) == (True, False, found.sha256)
        assert server.asked == ["/t.npz"]
        server.files["/t.npz"] = second
        with pytest.raises(FileError, match="not the one that was stated or first fetched"):
            pull(f"{url}/t.npz", refresh=True)
        assert found.path.read_bytes() == first
        (tmp_path / "new.npz").write_bytes(second)
        new = file_sha256(tmp_path / "new.npz")
        assert pull(f"{url}/t.npz", refresh=True, sha256=new).sha256 == new
        assert pull(f"{url}/t.npz").sha256 == new


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path):
    """A cached file that no longer has its recorded checksum is not served."""
    with site({"/t.npz": content(tmp_path)}) as (url, server):
        found = pull(f"{url}/t.npz")
        found.path.write_bytes(b"damaged")
        assert pull(f"{url}/t.npz").sha256 == found.sha256
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (404, "the server answers 404"),
        (500, "the server answers 500"),
        ("stall", "timed out"),
        ("truncate", "cannot fetch"),
        ("circle", "redirects"),
        ("nowhere", "Invalid IPv6 URL"),
    ],
)
def test_what_a_server_does_wrong_is_said_and_nothing_kept(tmp_path, cache, behaviour, said):
    """Each fault of a server is one sentence with the address, and the cache stays empty."""
    with site({"/t.npz": content(tmp_path)}, behaviour) as (url, _):
        with pytest.raises(FileError, match=said) as caught:
            fetch_address(f"{url}/t.npz", timeout=0.5)
        assert "\n" not in str(caught.value)
        assert f"{url}/t.npz" in str(caught.value)
    assert kept(cache) == []


def test_a_corrupt_file_does_not_pass_for_the_recorded_one(tmp_path, cache):
    """One flipped bit is refused where a checksum is known, and the file that was there stays."""
    with site({"/t.npz": content(tmp_path)}) as (url, server):
        found = pull(f"{url}/t.npz")
        server.behaviour = "corrupt"
        with pytest.raises(FileError, match="nothing was kept"):
            pull(f"{url}/t.npz", refresh=True)
        assert file_sha256(found.path) == found.sha256


def test_a_length_that_is_no_number_is_not_believed(tmp_path):
    """A server that states no number of bytes is read to the end."""
    data = content(tmp_path)
    with site({"/t.npz": data}, "unmeasured") as (url, _):
        assert fetch_address(f"{url}/t.npz").path.read_bytes() == data


@pytest.mark.parametrize("end", ["a/%2e%2e", "x%00y.npz", "n" * 300 + ".npz", "%0A%1B31m.npz"])
def test_the_name_of_a_file_in_the_cache_is_plain(tmp_path, cache, end):
    """Whatever an address ends in, the file lies in its own folder of the cache under letters, digits and dots."""
    with site({f"/{end}": content(tmp_path), "/a/..": content(tmp_path)}) as (url, _):
        path = fetch_address(f"{url}/{end}").path
    assert path.parent.parent == cache / "addresses"
    assert path.name.replace(".", "").replace("_", "").isalnum()


def test_a_redirect_is_followed(tmp_path):
    """A file that has moved is fetched from where it is."""
    data = content(tmp_path)
    with site({"/t.npz": data, "/moved/t.npz": data}, "redirect") as (url, _):
        assert pull(f"{url}/t.npz").path.read_bytes() == data


def test_a_file_without_end_is_not_taken(tmp_path, cache):
    """More bytes than a file may have are refused by the promised length alone."""
    files = {"/t.npz": bytes(1 << 20)}
    with site(files, "endless") as (url, _), pytest.raises(FileError, match=f"larger than {4 << 30} bytes"):
        pull(f"{url}/t.npz")
    assert kept(cache) == []


def test_no_server_is_asked_offline(tmp_path, monkeypatch):
    """Offline the cache is served and everything else is one sentence, by the option and by the environment."""
    with site({"/t.npz": content(tmp_path), "/u.npz": b""}) as (url, server):
        pull(f"{url}/t.npz")
        server.asked.clear()
        assert not pull(f"{url}/t.npz", offline=True).downloaded
        with pytest.raises(FileError, match="nothing is downloaded offline"):
            pull(f"{url}/u.npz", offline=True)
        monkeypatch.setenv("GLOCAL_OFFLINE", "1")
        with pytest.raises(FileError, match="nothing is downloaded offline"):
            pull("clip_RN50/visual")
        assert server.asked == []


def test_files_and_folders_are_transforms_too(tmp_path):
    """A path, a folder with transform.npz and an address of file: give the same transform, checked if asked."""
    planted().save(tmp_path / "transform.npz")
    digest = file_sha256(tmp_path / "transform.npz")
    for name in (tmp_path / "transform.npz", tmp_path, (tmp_path / "transform.npz").as_uri()):
        assert pull(name, sha256=digest).sha256 == digest
    with pytest.raises(FileError, match=f"has sha256 {digest}, not {'0' * 64}"):
        pull(tmp_path, sha256="0" * 64)
    with pytest.raises(ParameterError, match="64 hexadecimal digits"):
        pull((tmp_path / "transform.npz").as_uri(), sha256="0")
    with pytest.raises(ParameterError, match="allowed are those of http, https and file"):
        pull("ftp://example.org/t.npz")


# the registry


def registered(monkeypatch, data: bytes, digest: str, name: str = "transforms/made-net/up") -> None:
    entry = RemoteFile(
        name, "made/up.npz", "http://127.0.0.1:9/up.npz", f"sha256:{digest}", len(data), "made", "MIT", "x"
    )
    monkeypatch.setitem(FILES, name, entry)


@pytest.mark.parametrize("kind", ["http", "file"])
@pytest.mark.parametrize("name", ["made-net/up", "made-net", "transforms/made-net/up"])
def test_a_mirror_is_asked_in_place_of_the_publisher(tmp_path, monkeypatch, kind, name):
    """By model and layer, from a mirror of http or file, with the checksum of the registry."""
    data = content(tmp_path)
    registered(monkeypatch, data, file_sha256(tmp_path / "planted-0.npz"))
    (tmp_path / "mirror/made").mkdir(parents=True)
    (tmp_path / "mirror/made/up.npz").write_bytes(data)
    with site({"/mirror/made/up.npz": data}) as (url, _):
        monkeypatch.setenv("GLOCAL_MIRROR", f"{url if kind == 'http' else tmp_path.as_uri()}/mirror/")
        found = pull(name)
    assert found.verified
    assert np.array_equal(LinearTransform.load(found.path).weights, planted().weights)


def test_a_mirror_cannot_serve_another_file(tmp_path, monkeypatch, cache):
    """What a mirror serves must have the checksum of the registry."""
    registered(monkeypatch, content(tmp_path), file_sha256(tmp_path / "planted-0.npz"))
    with site({"/made/up.npz": content(tmp_path, 1)}) as (url, _):
        monkeypatch.setenv("GLOCAL_MIRROR", url)
        with pytest.raises(FileError, match="not the file that was published"):
            pull("made-net/up")
    assert kept(cache) == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://[::1", "Invalid IPv6 URL"),
        ("file://host/etc/t.npz", "another machine"),
        ("file:///dev/zero", "device or a pipe"),
        ("hf://a/b/../../x.npz", "does not serve"),
    ],
)
def test_an_address_of_nothing_is_one_sentence(address, said):
    """A malformed address, another machine's file, a device and a way out of a repository are refused by name."""
    with pytest.raises((ParameterError, FileError), match=said):
        pull(address, offline=address.startswith("hf"))


def test_an_unknown_model_is_told_with_the_nearest():
    """A name that is neither a path nor published gets the nearest published ones."""
    with pytest.raises(ParameterError, match="Did you mean transforms/clip_ViT-L/14/visual"):
        pull("clip_ViT-L/14/visul")


# the hub


def test_the_hub_is_pulled_from_and_compared(tmp_path, monkeypatch):
    """A repository is downloaded through huggingface_hub; another content at the same place is refused later."""
    pytest.importorskip("huggingface_hub", reason="the hub needs glocal[hub]")
    files = {"/me/aligned/resolve/main/transform.npz": content(tmp_path)}
    with site(files) as (url, _):
        monkeypatch.setenv("HF_ENDPOINT", url)
        found = pull("hf://me/aligned")
        assert not found.verified
        assert np.array_equal(LinearTransform.load(found.path).weights, planted().weights)
        assert pull("https://huggingface.co/me/aligned").verified
        assert pull("hf://me/aligned@main/transform.npz", offline=True).sha256 == found.sha256
        files["/me/aligned/resolve/main/transform.npz"] = content(tmp_path, 1)
        with pytest.raises(FileError, match="recorded when it was first pulled"):
            pull("hf://me/aligned")
        with pytest.raises(FileError, match="hub does not serve hf://me/other@main/transform"):
            pull("hf://me/other")
    with pytest.raises(FileError, match="not in the cache"):
        pull("hf://me/never", offline=True)


def test_a_transform_is_pushed_with_its_card(tmp_path, monkeypatch):
    """A folder gets the transform and its card; the hub gets the same folder in one commit."""
    hub = pytest.importorskip("huggingface_hub", reason="the hub needs glocal[hub]")
    planted().save(tmp_path / "mine.npz")
    assert push(tmp_path / "mine.npz", str(tmp_path / "out"), licence="mit") == str(tmp_path / "out")
    assert np.array_equal(LinearTransform.load(tmp_path / "out/transform.npz").weights, planted().weights)
    assert "license: mit" in (tmp_path / "out/README.md").read_text(encoding="utf-8")

    seen = {}

    def create_repo(self, repo_id, **options):
        seen["created"] = (repo_id, options)

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        seen["files"] = sorted(path.name for path in type(tmp_path)(folder_path).iterdir())
        seen["repository"] = repo_id
        return type("Commit", (), {"oid": "d" * 40})()

    monkeypatch.setattr(hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    assert push(tmp_path / "mine.npz", "hf://me/aligned", private=True) == f"hf://me/aligned@{'d' * 40}"
    assert seen["created"] == ("me/aligned", {"exist_ok": True, "private": True})
    assert (seen["repository"], seen["files"]) == ("me/aligned", ["README.md", "transform.npz"])
    with pytest.raises(ParameterError, match="must be hf://OWNER/NAME"):
        push(tmp_path / "mine.npz", "hf://aligned")


def test_a_hub_that_refuses_is_one_sentence(tmp_path, monkeypatch):
    """A push to a hub that cannot be reached or refuses says so in one sentence."""
    pytest.importorskip("huggingface_hub", reason="the hub needs glocal[hub]")
    planted().save(tmp_path / "mine.npz")
    with site({}) as (url, _):
        monkeypatch.setenv("HF_ENDPOINT", url)
        with pytest.raises(FileError, match="hub does not serve hf://me/aligned") as caught:
            push(tmp_path / "mine.npz", "hf://me/aligned")
    assert "\n" not in str(caught.value)


# verification


def features(n: int = 40, mean: float = 0.4, std: float = 1.5, p: int = P) -> Features:
    """Features with the statistics of the planted transform."""
    return Features(mean + std * np.random.default_rng(3).normal(size=(n, p)))


def refused(checks) -> list[str]:
    return [check.name for check in checks if check.passed is False]


def test_a_transform_that_fits_is_not_refused(tmp_path):
    """Features of the same dimensions, statistics and model pass every check."""
    planted(meta={"source": {"model": "clip_ViT-L/14", "layer": "visual"}}).save(tmp_path / "t.npz")
    checks = verify(
        tmp_path / "t.npz", features(), model="clip_vit-l-14", layer="visual", sha256=file_sha256(tmp_path / "t.npz")
    )
    assert refused(checks) == []
    assert [check.name for check in checks] == [
        "file",
        "published",
        "dimensions",
        "statistics",
        "data",
        "model",
        "layer",
    ]


@pytest.mark.parametrize(
    ("options", "check", "evidence"),
    [
        ({"features": features(p=4)}, "dimensions", "maps 6 dimensions, the features have 4"),
        ({"features": features(mean=3.0)}, "statistics", "have mean 1.7"),
        ({"features": features(std=0.05)}, "statistics", "another network or layer, or were scaled or normalized"),
        ({"model": "resnet50"}, "model", "of model clip_RN50, the features of resnet50"),
        ({"layer": "layer4"}, "layer", "of layer visual, the features of layer4"),
        ({"sha256": "0" * 64}, "file", "not 000"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_evidence(tmp_path, options, check, evidence):
    """Another width, scale, model, layer or checksum is refused by the check of its name, which shows what it saw."""
    planted(meta={"source": {"model": "clip_RN50", "layer": "visual"}}).save(tmp_path / "t.npz")
    checks = verify(tmp_path / "t.npz", options.pop("features", None), **options)
    assert refused(checks) == [check]
    assert evidence in next(one.evidence for one in checks if one.name == check)


def test_the_features_it_was_fitted_on_are_recognised(tmp_path):
    """The record of the fitted features tells them from others of the same network."""
    X = features()
    told = {"fit": {"provenance": {"data": {"features": array_sha256(X.matrix)}}}}
    planted(meta=told).save(tmp_path / "t.npz")
    (same,) = (check for check in verify(tmp_path / "t.npz", X) if check.name == "data")
    (other,) = (check for check in verify(tmp_path / "t.npz", features(n=41)) if check.name == "data")
    assert (same.passed, other.passed) == (True, None)


def test_a_fit_records_what_made_its_features(tmp_path, capsys):
    """Features beside a record of extract: the transform knows model and layer, and verify compares them."""
    rng = np.random.default_rng(5)
    np.save(tmp_path / "features.npy", rng.normal(size=(30, P)).astype(np.float32))
    record = {"model": "tiny", "layers": {"head": "head"}, "preprocessing": "none"}
    (tmp_path / "record.json").write_text(json.dumps(record), encoding="utf-8")
    np.save(tmp_path / "answers.npy", np.array([rng.permutation(30)[:3] for _ in range(300)]))
    words = [
        "--features",
        tmp_path / "features.npy",
        "--triplets",
        tmp_path / "answers.npy",
        "--out",
        tmp_path / "t.npz",
    ]
    assert execute(["fit", "--method", "global", "--lmbda", "1", *map(str, words)]) == 0
    assert LinearTransform.load(tmp_path / "t.npz").meta["source"] == {
        "model": "tiny", "layer": "head", "preprocessing": "none",
    }  # fmt: skip
    capsys.readouterr()
    verified = ["transforms", "verify", str(tmp_path / "t.npz"), "--features", str(tmp_path / "features.npy"), "--json"]
    assert execute(verified) == 0
    found = {check["name"]: check["passed"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert (found["model"], found["layer"], found["data"], found["statistics"]) == (True, True, True, True)
    assert execute([*verified, "--model", "huge"]) == 1


def test_the_wrong_published_transform_is_refused_under_any_name(tmp_path, monkeypatch):
    """Content published under a wrong name is refused whatever the file is called, unless the model is its own."""
    known = published.WrongTransform((P, P), fitted_on="right-net", published_as="other-net")
    monkeypatch.setitem(published.WRONG, array_sha256(W), known)
    LinearTransform(W, None, 0.0, 1.0).save(tmp_path / "renamed.npz")
    assert refused(verify(tmp_path / "renamed.npz", model="other-net")) == ["published"]
    assert refused(verify(tmp_path / "renamed.npz")) == ["published"]
    assert refused(verify(tmp_path / "renamed.npz", model="right-net")) == []


@pytest.mark.data
def test_the_published_files_are_verified(data_dir):
    """The wrong file of dinov2 is refused, the published one of resnet18 is not."""
    folder = data_dir / "transforms"
    assert refused(verify(folder / "dinov2-vit-base-p14/norm/transform.npz")) == ["published"]
    assert refused(verify(folder / "resnet18/avgpool/transform.npz")) == []


# cards and commands


def test_a_card_tells_the_record(tmp_path):
    """The card has method, answers, scores with intervals and licence, and its numpy code is the transform."""
    held = {"accuracy_cosine": 0.5612, "low": 0.55, "high": 0.57, "n": 5362, "original_accuracy_cosine": 0.488}
    fit = {
        "method": "glocal", "alpha": 0.5, "lmbda": 0.3, "tau": 0.1, "n_triplets": 42520, "n_objects": 1230,
        "holdout": {"heldout": held}, "status": "converged", "reason": "gap below the tolerance",
        "provenance": {"version": "0.1.0", "data": {"triplets": "ab" * 32}},
    }  # fmt: skip
    front = [{"chosen": True, "accuracy_cosine": 0.562, "accuracy_cosine_se": 0.004, "neighbours_kept": 0.91}]
    meta = {"fit": fit, "source": {"model": "clip|x", "layer": "visual"}, "sweep": {"front": front}}
    transform = planted(meta=meta)
    text = card(transform, licence="cc-by-4.0")
    for said in (
        "license: cc-by-4.0", "glocal, alpha 0.5, lmbda 0.3, tau 0.1", "42520 about 1230 objects",
        "0.561 [0.550, 0.570]", "0.488", "0.562 ± 0.004", "0.910", "ab" * 32, "clip\\|x / visual",
    ):  # fmt: skip
        assert said in text
    transform.save(tmp_path / "transform.npz")
    code = (
        text.split("```python\n")[2].split("```")[0].replace('"transform.npz"', repr(str(tmp_path / "transform.npz")))
    )
    names = {"X": features().matrix}
    exec(code, names)
    np.testing.assert_allclose(names["aligned"], transform(features().matrix), rtol=1e-5)


def test_the_commands_list_pull_and_describe(tmp_path, capsys, monkeypatch):
    """`list` has every published transform, or those of a folder; `pull` prints a path; `card` writes Markdown."""
    assert execute(["transforms", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["transforms"]
    assert {"clip_ViT-L/14/visual", "dino-vit-base-p16/norm"} <= {one["name"] for one in listed}
    assert [one["name"] for one in listed if one["warning"]] == ["dinov2-vit-base-p14/norm"]

    planted().save(tmp_path / "transform.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    assert execute(["transforms", "list", str(tmp_path)]) == 0
    assert "LinearTransform(6 dimensions" in capsys.readouterr().out
    assert execute(["transforms", "pull", str(tmp_path), "--out", str(tmp_path / "copy.npz")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'copy.npz'}\n"
    assert execute(["transforms", "card", str(tmp_path / "copy.npz"), "--out", str(tmp_path / "card.md")]) == 0
    assert "None is stated." in (tmp_path / "card.md").read_text(encoding="utf-8")
    assert execute(["transforms", "push", str(tmp_path / "copy.npz"), str(tmp_path / "shared")]) == 0
    assert (tmp_path / "shared/README.md").exists()


def test_a_page_of_an_error_is_no_transform(tmp_path, cache, capsys):
    """What a server says with a friendly page instead of 404 is refused as no transform, and forgotten."""
    with site({"/t.npz": b"<html>not found</html>"}) as (url, server):
        assert execute(["transforms", "pull", f"{url}/t.npz"]) == 1
        assert kept(cache) == []  # else its checksum would refuse the transform ever after
        server.files["/t.npz"] = content(tmp_path)
        assert pull(f"{url}/t.npz").path.read_bytes() == content(tmp_path)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")


def test_a_card_on_standard_output_has_its_lines(tmp_path, capsys):
    """Without --out the lines of the card are lines."""
    planted().save(tmp_path / "t.npz")
    assert execute(["transforms", "card", str(tmp_path / "t.npz")]) == 0
    assert capsys.readouterr().out == card(planted())


@pytest.mark.parametrize(
    "meta",
    [{"fit": 5}, {"source": "x"}, {"fit": {"provenance": 7}}, {"fit": {"n_triplets": 1}},
     {"sweep": {"front": [{"chosen": True, "accuracy_cosine": "q"}]}}],
)  # fmt: skip
def test_a_record_of_other_types_is_one_sentence(tmp_path, capsys, meta):
    """A record that is JSON but not ours is refused by card, and by verify and list where they read it."""
    planted(meta=meta).save(tmp_path / "t.npz")
    for command in ("card", "verify"):
        assert execute(["transforms", command, str(tmp_path / "t.npz")]) in (0, 1)
    assert "record" in capsys.readouterr().err
    assert execute(["transforms", "list", str(tmp_path)]) == 0


def test_a_card_holds_one_line_of_each_name():
    """A licence that is no identifier is refused, and the name of a model cannot begin a line of its own."""
    with pytest.raises(ParameterError, match="identifier"):
        card(planted(), licence="mit\nextra: x")
    text = card(planted(meta={"source": {"model": "a\n# b"}}))
    assert "\n# b" not in text


@pytest.mark.parametrize("place", ["https://example.org/x", "s3://bucket/x"])
def test_nothing_is_pushed_to_an_address(tmp_path, monkeypatch, place):
    """An address that is not of the hub does not become a folder of that name."""
    monkeypatch.chdir(tmp_path)
    planted().save("t.npz")
    with pytest.raises(ParameterError, match="hf://OWNER/NAME"):
        push("t.npz", place)
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]


def test_a_list_of_no_folder_is_an_error(tmp_path, capsys):
    """A folder that is not there is not a folder without transforms."""
    assert execute(["transforms", "list", str(tmp_path / "none")]) == 1
    assert "is not a folder" in capsys.readouterr().err
