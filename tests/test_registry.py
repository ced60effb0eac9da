"""Published files: downloaded once, verified, and never half; all against a server of this process."""

import contextlib
import dataclasses
import hashlib
import http.server
import json
import os
import re
import shutil
import sys
import threading

import numpy as np
import pytest

from glocal.cli.app import execute
from glocal.data.datasets import FILES, RemoteFile, cache_folder, fetch, fetch_address
from glocal.errors import DataWarning, FileError, MissingDependencyError, ParameterError
from glocal.files import array_sha256
from glocal.transform import LinearTransform, published

CONTENT = bytes(range(256)) * 1024
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@contextlib.contextmanager
def serving(content=CONTENT, status=200, promised=None):
    """A server on this machine: (address, list of the paths asked for); `promised` is its Content-Length."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) if promised is None else promised))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            """Silence."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache of these tests; no proxy of the environment is asked."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLOCAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def register(monkeypatch):
    """A function that registers one made-up file at an address."""

    def add(url, **changes):
        entry = RemoteFile(
            "made/up", "made/up.bin", f"{url}/up.bin", f"sha256:{SHA256}", len(CONTENT), "bytes", "none", "nobody"
        )
        monkeypatch.setitem(FILES, "made/up", dataclasses.replace(entry, **changes))

    return add


def sentence(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


# fetch


def test_a_file_is_fetched_verified_and_not_asked_for_again(register, cache):
    """The first fetch downloads what the server has; the second asks the server nothing, nor does it need one."""
    with serving() as (url, asked):
        register(url)
        seen = []
        first = fetch("made/up", progress=lambda n, total: seen.append((n, total)))
        again = fetch("made/up")
        assert asked == ["/up.bin"]
    assert first.path.read_bytes() == CONTENT
    assert (first.path, first.sha256, first.verified, first.downloaded) == (cache / "made/up.bin", SHA256, True, True)
    assert again == dataclasses.replace(first, downloaded=False)
    assert fetch("made/up") == again
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [n for n, _ in seen] == sorted(n for n, _ in seen)
    assert files_below(cache) == [first.path]
    assert first.path.stat().st_mode & 0o777 == 0o644


def test_another_content_is_refused_and_nothing_kept(register, cache):
    """A file with another checksum is one sentence with both, and neither it nor a piece of it stays."""
    wrong = CONTENT[::-1]
    with serving(wrong) as (url, _):
        register(url)
        with pytest.raises(FileError, match="not the file that was published") as caught:
            fetch("made/up")
    message = sentence(caught)
    assert hashlib.sha256(wrong).hexdigest() in message
    assert SHA256 in message
    assert f"put it at {cache / 'made/up.bin'}" in message
    assert files_below(cache) == []


@pytest.mark.parametrize("checksum", [f"sha256:{SHA256}", None])
def test_a_truncated_download_is_refused(register, cache, checksum):
    """Fewer bytes than the server promised are an error, with a checksum or without, and nothing stays."""
    with serving(CONTENT[:1000], promised=len(CONTENT)) as (url, _):
        register(url, checksum=checksum, size=None)
        with pytest.raises(FileError, match="made/up") as caught:
            fetch("made/up")
    assert f"put it at {cache / 'made/up.bin'}" in sentence(caught)
    assert files_below(cache) == []


def test_a_short_file_is_refused_by_its_size_alone(register, cache):
    """Where no checksum is known, another size than registered is still an error."""
    with serving(CONTENT[:-1]) as (url, _):
        register(url, checksum=None)
        with pytest.raises(FileError, match=f"{len(CONTENT) - 1} bytes"):
            fetch("made/up")
    assert files_below(cache) == []


def test_a_server_that_is_gone_is_one_sentence(register, cache):
    """No connection: the sentence names the address, the cause, and where to put the file by hand."""
    with serving() as (url, _):
        register(url)
    with pytest.raises(FileError, match="Connection refused") as caught:
        fetch("made/up")
    message = sentence(caught)
    assert f"{url}/up.bin" in message
    assert f"put it at {cache / 'made/up.bin'}" in message
    (cache / "made/up.bin").write_bytes(CONTENT)
    assert not fetch("made/up").downloaded


def test_an_answer_of_the_server_is_told(register, cache):
    """A 404 is told as such."""
    with serving(b"", status=404) as (url, _):
        register(url)
        with pytest.raises(FileError, match="the server answers 404 Not Found") as caught:
            fetch("made/up")
    sentence(caught)
    assert files_below(cache) == []


@pytest.mark.parametrize(("status", "said"), [(206, "answers 206 Partial Content"), (200, "is empty as")])
def test_a_part_and_nothing_are_not_kept(register, cache, status, said):
    """Part of a file, and an empty one, are refused also where no checksum is known."""
    with serving(CONTENT if status == 206 else b"", status=status) as (url, _):
        register(url, checksum=None, size=None)
        with pytest.raises(FileError, match=said):
            fetch("made/up")
    assert files_below(cache) == []


def test_passwords_in_addresses_are_not_shown(register, cache, monkeypatch):
    """A user and a password before the server of a mirror or an address stand in no message."""
    register("http://unused")
    monkeypatch.setenv("GLOCAL_MIRROR", "http://ann:secret@127.0.0.1:1")
    for bring in (lambda: fetch("made/up"), lambda: fetch_address("http://ann:secret@127.0.0.1:1/x")):
        with pytest.raises(FileError, match=r"from http://127\.0\.0\.1:1/") as caught:
            bring()
        assert "secret" not in str(caught.value)


def test_a_pipe_in_the_cache_is_refused(register, cache):
    """A pipe under the name of a file is one sentence; writing to it would wait for a reader for ever."""
    register("http://unused")
    (cache / "made").mkdir(parents=True)
    os.mkfifo(cache / "made/up.bin")
    with pytest.raises(FileError, match="is a device or a pipe; made/up is kept there as a file"):
        fetch("made/up")


def test_a_damaged_file_in_the_cache_is_replaced(register, cache):
    """A cached file with another content is downloaded again."""
    (cache / "made").mkdir(parents=True)
    (cache / "made/up.bin").write_bytes(CONTENT[:-1] + b"x")
    with serving() as (url, asked):
        register(url)
        assert fetch("made/up").downloaded
        assert len(asked) == 1
    assert (cache / "made/up.bin").read_bytes() == CONTENT


def test_without_a_checksum_it_says_unverified_and_the_sha256(register):
    """An entry without a checksum warns in one sentence that holds the sha256 computed here."""
    with serving() as (url, _):
        register(url, checksum=None, size=None)
        with pytest.warns(DataWarning, match=f"unverified.*{SHA256}"):
            done = fetch("made/up")
    assert not done.verified


def test_a_git_object_id_verifies(register):
    """``git:`` is the id that git gives the content: of "hello" and a newline a known one."""
    with serving(b"hello\n") as (url, _):
        register(url, checksum="git:ce013625030ba8dba906f756967f9e9ca394464a", size=None)
        assert fetch("made/up").verified
        register(url, checksum="git:ce013625030ba8dba906f756967f9e9ca394464b", size=None)
        with pytest.raises(FileError, match="not the file that was published"):
            fetch("made/up")


def test_the_proxy_of_the_environment_is_asked(register, monkeypatch):
    """With http_proxy set, the request for another host goes to the proxy."""
    with serving() as (url, asked):
        register("http://files.invalid")
        monkeypatch.setenv("http_proxy", url)
        assert fetch("made/up").downloaded
        assert asked == ["http://files.invalid/up.bin"]


def test_out_gets_a_copy(register, tmp_path, cache):
    """With `out` the path is a copy below it, and the cache has the file too; a file that was there is replaced."""
    out = tmp_path / "out"
    (out / "made").mkdir(parents=True)
    (out / "made/up.bin").write_bytes(b"old")
    with serving() as (url, _):
        register(url)
        done = fetch("made/up", out=out)
    assert done.path == out / "made/up.bin"
    assert done.path.read_bytes() == (cache / "made/up.bin").read_bytes() == CONTENT
    assert len(files_below(out)) == 1


def test_a_cache_that_is_a_file_is_one_sentence(register, tmp_path):
    """A cache that cannot be a folder is said, before anything is asked for."""
    (tmp_path / "file").write_text("x")
    with serving() as (url, asked):
        register(url)
        with pytest.raises(FileError) as caught:
            fetch("made/up", cache=tmp_path / "file")
        assert asked == []
    sentence(caught)


def test_an_unknown_name_gets_a_suggestion():
    """A mistyped name is one sentence with the nearest names; one far from all lists all."""
    with pytest.raises(ParameterError, match="Did you mean things/sortindex") as caught:
        fetch("things/sortindx")
    sentence(caught)
    with pytest.raises(ParameterError, match="Allowed are transforms/"):
        fetch("0")


def test_without_requests_the_sentence_names_it(register, monkeypatch):
    """Without requests the error says how to install it."""
    register("http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(MissingDependencyError, match="pip install requests"):
        fetch("made/up")


def test_the_cache_is_named_by_the_environment_or_the_system(cache, monkeypatch):
    """GLOCAL_CACHE names the cache, or else its former name GLOCAL_CACHE_DIR; without them it is the system's."""
    monkeypatch.setenv("GLOCAL_CACHE_DIR", str(cache.parent / "former"))
    assert cache_folder() == cache
    monkeypatch.delenv("GLOCAL_CACHE")
    assert cache_folder() == cache.parent / "former"
    monkeypatch.delenv("GLOCAL_CACHE_DIR")
    assert cache_folder().name == "glocal"


# the registry


def test_every_entry_is_pinned_and_complete():
    """Each entry is at a commit, over https, with a well-formed checksum, a licence and a citation; paths differ."""
    assert len({entry.path for entry in FILES.values()}) == len(FILES)
    for name, entry in FILES.items():
        assert entry.name == name
        assert re.fullmatch(r"https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/[0-9a-f]{40}/[\w./-]+", entry.url)
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", entry.checksum)
        assert entry.checksum.startswith("git:") or entry.size > 0
        assert all([entry.what, entry.licence, entry.citation])


def test_files_with_one_checksum_say_so():
    """Two names for one content: the one that is wrong carries a warning."""
    seen = {}
    for entry in FILES.values():
        seen.setdefault(entry.checksum, []).append(entry)
    twice = [entries for entries in seen.values() if len(entries) > 1]
    assert [[entry.name for entry in entries] for entries in twice] == [
        ["transforms/dino-vit-base-p16/norm", "transforms/dinov2-vit-base-p14/norm"]
    ]
    assert twice[0][0].warning is None
    assert "wrong file" in twice[0][1].warning


@pytest.mark.data
def test_registered_checksums_are_those_of_the_files(data_dir, cache):
    """Files that are at hand, put into the cache, are taken as what was published, and the wrong one is said."""
    at_hand = {
        "things/triplets-test10": "things/triplets_collection_order.txt",
        "things/unique-id": "things/unique_id.txt",
        "things/categories27": "things/categories27.tsv",
        **{
            f"transforms/{name}": f"transforms/{name}/transform.npz"
            for name in ("clip_ViT-L/14/visual", "dino-vit-base-p16/norm", "resnet18/avgpool")
        },
        "transforms/dinov2-vit-base-p14/norm": "transforms/dinov2-vit-base-p14/norm/transform.npz",
    }
    for name, file in at_hand.items():
        target = cache / FILES[name].path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data_dir / file, target)
        expected = pytest.warns(DataWarning, match="wrong file") if "dinov2" in name else contextlib.nullcontext()
        with expected:
            done = fetch(name)
        assert done.verified
        assert not done.downloaded


# wrong transforms, when loaded

W = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)


@pytest.fixture
def wrong(monkeypatch):
    """Make W the transform of ``right-net`` that was published as ``other-net`` too."""
    known = published.WrongTransform((5, 5), fitted_on="right-net", published_as="other-net")
    monkeypatch.setitem(published.WRONG, array_sha256(W), known)


@pytest.mark.parametrize("file", ["other-net/norm/transform.npz", "mine.npz", "other-net.safetensors"])
def test_a_wrong_transform_is_said_when_it_is_loaded(wrong, tmp_path, file):
    """Content published under a wrong name warns in one sentence when loaded, in any format, and still loads."""
    if file.endswith(".safetensors"):
        pytest.importorskip("safetensors", reason="the format needs glocal[io]")
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    LinearTransform(W, None, 0.0, 1.0).save(path)
    with pytest.warns(DataWarning, match=r"the transform of right-net.*published as other-net") as caught:
        loaded = LinearTransform.load(path)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert np.array_equal(loaded.weights, W)


def test_the_same_content_under_its_right_name_is_fine(wrong, tmp_path, monkeypatch):
    """Below a folder of the model it was fitted on, also seen from inside, it loads without a word."""
    folder = tmp_path / "right-net"
    folder.mkdir()
    LinearTransform(W, None, 0.0, 1.0).save(folder / "transform.npz")
    LinearTransform.load(folder / "transform.npz")
    monkeypatch.chdir(folder)
    LinearTransform.load("transform.npz")


def test_other_content_is_fine(wrong, tmp_path):
    """A transform that differs in one number is another one."""
    other = W.copy()
    other[0, 0] += 1
    LinearTransform(other, None, 0.0, 1.0).save(tmp_path / "other-net.npz")
    LinearTransform.load(tmp_path / "other-net.npz")


@pytest.mark.data
def test_the_published_wrong_transform_is_recognised(data_dir):
    """The file of dinov2-vit-base-p14 warns; the same file under dino-vit-base-p16 does not."""
    folder = data_dir / "transforms"
    with pytest.warns(DataWarning, match="dino-vit-base-p16, which its authors by mistake published"):
        LinearTransform.load(folder / "dinov2-vit-base-p14" / "norm" / "transform.npz")
    LinearTransform.load(folder / "dino-vit-base-p16" / "norm" / "transform.npz")


# the command line


def test_fetch_prints_the_path_and_talks_on_standard_error(register, capsys, cache):
    """The path alone on standard output; licence and citation on standard error."""
    with serving() as (url, _):
        register(url)
        assert execute(["data", "fetch", "made/up"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{cache / 'made/up.bin'}\n"
    assert said.err == "made/up: downloaded; none; nobody\n"


def test_fetch_json_out_and_cache(register, capsys, tmp_path):
    """--json is one object with a record a file; --out and --cache are obeyed."""
    with serving() as (url, _):
        register(url)
        arguments = ["data", "fetch", "made/up", "--out", tmp_path / "o", "--cache", tmp_path / "c", "--json"]
        assert execute([str(one) for one in arguments]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    (record,) = json.loads(out)["files"]
    assert record == {
        "name": "made/up", "path": str(tmp_path / "o/made/up.bin"), "sha256": SHA256, "verified": True,
        "downloaded": True, "licence": "none", "citation": "nobody",
    }  # fmt: skip
    assert (tmp_path / "c/made/up.bin").is_file()


def test_fetch_errors_are_one_sentence(register, capsys):
    """An unknown name or a server that is gone exits 1 with one sentence; an unknown name stops before any request."""
    with serving() as (url, asked):
        register(url)
        assert execute(["data", "fetch", "made/up", "nonsense"]) == 1
        assert asked == []
    assert execute(["data", "fetch", "made/up"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.partition(":")[0] for line in said.err.splitlines()] == ["error", "error"]


def test_list_says_what_is_cached(register, capsys, cache):
    """`list` has every file with its licence and every image data set with its terms, and asks no server."""
    register("http://127.0.0.1:9")
    (cache / "made").mkdir(parents=True)
    (cache / "made/up.bin").write_bytes(CONTENT)
    assert execute(["data", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cache"] == str(cache)
    files = {entry["name"]: entry for entry in told["files"]}
    assert files.keys() == FILES.keys()
    assert [name for name, entry in files.items() if entry["cached"]] == ["made/up"]
    assert {one["name"] for one in told["image_sets"]} >= {"cifar10", "cifar100", "dtd", "sun397", "flowers102"}
    assert all(one["terms"] for one in told["image_sets"])
    assert execute(["data", "list"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in files)
    assert re.search(r"made/up +0\.262 MB +cached +none", text)
    assert "NOTE: transforms/dinov2-vit-base-p14/norm is the wrong file" in text
