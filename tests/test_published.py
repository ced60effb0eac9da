"""Published features and answers are fetched as files that the commands take as they are."""

import json
import os

import pytest
from made_registry import COMMIT, real_things, things
from world import matrix, normal, run

from glocal import Answers, Features, join
from glocal.data.sources.fetch import cache_folder, fetch
from glocal.data.sources.registry import published
from glocal.errors import DataWarning, FileError

NAMES = "bat1,bat2,camera1,camera,chicken,hot dog,iceman,ice".split(",")
COLLECTED = [3, 1, 0, 2, 7, 6, 5, 4]
OBJECTS = matrix("0 1 2; 3 7 2; 6 7 0; 4 2 3", int)
X = normal(8, 5).astype("f4")
FILES = things(NAMES, OBJECTS, COLLECTED, net=X)
MANIFEST = "things/manifest-cc0"


def asked(server):
    """The names of the files that a server was asked for."""
    return sorted(path.removeprefix(f"/{COMMIT}/") for path in server.asked)


def test_features_become_a_folder_with_names_and_a_record(publish, tmp_path):
    """The rows are the bytes that were published, their names those of the manifest without its
    byte order mark, and the record says what is known and what is not. Only the two files are asked
    for, once, and `--out` copies the folder.
    """
    with publish(FILES, net={"model": "openclip:Net:openai", "layer": "visual"}) as server:
        path = fetch("features/net")
        copy = run("data fetch features/net --out", tmp_path).out.strip()
        assert asked(server) == ["features/net", MANIFEST]
    assert (path / "features.npy").read_bytes() == FILES["features/net"]
    assert copy == str(tmp_path / "features/net")
    features = Features.load(copy)
    assert features.names == tuple(sorted(NAMES))
    assert features.network["model"] == "openclip:Net:openai"
    record = json.loads((path / "record.json").read_text("utf-8"))
    assert (record["rows"], record["width"]) == X.shape
    origin = record["published"]
    assert origin["network"] == "owner/features/net"
    assert origin["commit"] == COMMIT
    assert origin["known_by"] == "its name"
    assert origin["model"] == "openclip:Net:openai"
    assert "not compared" in origin["extract_rows"]
    assert origin["not_stated"] == ["licence", "preprocessing"]


def test_answers_are_made_ready_once(publish):
    """They are in the order of the ids, with their names, and join with features by name. They are
    made anew if they are damaged or a part changes, but nothing is downloaded twice.
    """
    parts = ["things/answers", "things/sortindex", "things/unique-id"]
    with publish(FILES) as server:
        path = fetch("things/answers")
        answers = Answers.load(path)
        assert answers.objects.tolist() == OBJECTS.tolist()
        assert answers.names == tuple(NAMES)
        time = path.stat().st_mtime_ns
        path.write_bytes(path.read_bytes()[:-30])
        assert Answers.load(fetch("things/answers")).objects.tolist() == OBJECTS.tolist()
        assert path.stat().st_mtime_ns != time
        assert asked(server) == parts
        (cache_folder() / published()["things/answers"].downloaded).unlink()
        rows = join(Features.load(fetch("features/net")), answers).answers.objects
        assert [sorted(NAMES)[row] for row in rows[1]] == [NAMES[row] for row in OBJECTS[1]]
    renamed = FILES | {"things/unique-id": "\n".join([*NAMES[:-1], "icecube"]).encode()}
    with publish(renamed):
        assert Answers.load(fetch("things/answers")).names[-1] == "icecube"


@pytest.mark.parametrize(
    "change, files",
    [
        ({"checksum": f"git:{40 * '0'}"}, FILES),
        ({"rows": 9}, FILES),
        ({}, FILES | {MANIFEST: b"text1\nbat1\nbat2"}),
    ],
)
def test_a_wrong_byte_or_number_of_rows_is_refused(publish, cache, change, files):
    """Features are refused if a byte differs, or the rows are not as many as registered or named,
    and no folder looks complete.
    """
    with publish(files, net=change), pytest.raises(FileError):
        fetch("features/net")
    assert not (cache / "features/net/record.json").exists()


def test_another_width_is_recorded_and_warned_of_once(publish):
    """If the content is right, the width of the file counts."""
    with publish(FILES, net={"width": 6}):
        with pytest.warns(DataWarning, match="5 columns and not 6") as warned:
            path = fetch("features/net")
        assert len(warned) == 1
    assert json.loads((path / "record.json").read_text("utf-8"))["width"] == 5


def test_the_published_features_are_eight_files_of_one_commit():
    """All are of one commit, and their rows are named by the manifest of that commit."""
    entries = [entry for entry in published().values() if entry.kind == "features"]
    assert len(entries) == 8
    facts = {(entry.rows, *entry.parts, entry.names_column, entry.commit) for entry in entries}
    assert facts == {(1854, MANIFEST, "text1", published()[MANIFEST].commit)}
    by_width = [entry.name for entry in entries if entry.known_by == "the width"]
    assert by_width == ["features/siglip-so400m-14-384"]


@pytest.mark.data
@pytest.mark.parametrize(
    "name, at_hand", [("clip-vit-b-32", "clip-vit-b32"), ("blip-base", "blip")]
)
def test_published_features_are_those_at_hand(data_dir, publish, name, at_hand):
    """The real files are fetched byte for byte, and their ids are those that glocal registers."""
    checksum = published()[f"features/{name}"].checksum
    at_hand = data_dir / "things" / "features" / at_hand
    with publish(real_things(data_dir)):
        assert published()[f"features/{name}"].checksum == checksum
        path = fetch(f"features/{name}")
    assert (path / "features.npy").read_bytes() == (at_hand / "features.npy").read_bytes()
    names = (at_hand / "file_names.txt").read_text("utf-8").replace(".jpg", "").split()
    assert Features.load(path).names == tuple(names)


@pytest.mark.nightly
@pytest.mark.skipif(not os.environ.get("GLOCAL_DOWNLOADS"), reason="downloads 3.8 MB")
def test_the_publisher_still_has_the_files(tmp_path, monkeypatch):
    """With GLOCAL_DOWNLOADS=1, published features are downloaded from their publisher."""
    monkeypatch.setenv("GLOCAL_CACHE", str(tmp_path))
    features = Features.load(fetch("features/cvcl"))
    assert len(features) == 1854
    assert features.dimensions == 512


@pytest.mark.data
@pytest.mark.nightly
def test_a_published_network_needs_two_commands(data_dir, publish, here):
    """Fetched and fitted as docs/other-networks.md says, CLIP agrees with people in .533 of the
    held-out answers, and keeps .90 of its neighbours.
    """
    features, answers = "features/clip-vit-b-32", "things/answers"
    with publish(real_things(data_dir)):
        assert run(f"data fetch {features} {answers} --out data").code == 0
    inputs = f"--features data/{features} --answers data/{answers}.npz"
    heldout = json.loads(run(f"fit {inputs} --keep 0.9 --out t.npz --json").out)["heldout"]
    assert heldout["agreement"] == pytest.approx(0.533, abs=0.002)
    assert heldout["neighbours_kept"] == pytest.approx(0.9, abs=0.005)
