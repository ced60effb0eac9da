"""A registry of published features and answers, whose files a server on this machine serves."""

import contextlib
import hashlib
import io
import json

import numpy as np
from sites import site

from glocal.data.sources import registry

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_SHARED = {"repository": "local", "what": "a test", "licence": "none stated", "citation": "nobody"}
_ANSWERS = {
    "kind": "answers",
    "path": "things/answers.npz",
    "downloaded": "things/triplets-train90.txt",
    "order": "things/sortindex",
    "ids": "things/unique-id",
}


def git_id(content):
    """The id of a content in git, as a checksum."""
    return f"git:{hashlib.sha1(b'blob %d%c' % (len(content), 0) + content).hexdigest()}"


def npy(matrix):
    """The bytes of a ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, matrix)
    return stream.getvalue()


def things(names, objects, collected, **features):
    """The published files of answers about objects, and of features with rows in code-point order.

    `names` are in alphabetical order, and `collected` has the place of each in the order of the
    collection, in which the answers number the objects.
    """
    manifest = ["text1,image1", *(f"{name},cc0/{name}.jpg" for name in sorted(names))]
    lines = {
        "things/answers": [" ".join(map(str, row)) for row in np.asarray(collected)[objects]],
        "things/sortindex": map(str, collected),
        "things/unique-id": names,
    }
    files = {name: "\n".join(rows).encode() for name, rows in lines.items()}
    files["things/manifest-cc0"] = "\r\n".join(manifest).encode("utf-8-sig")
    return files | {f"features/{name}": npy(matrix) for name, matrix in features.items()}


def real_things(data_dir):
    """The published files at hand by name; the answers are the test part, and the manifest is made
    from the names.
    """
    root = data_dir / "things"
    names = (root / "features/clip-vit-b32/file_names.txt").read_text("utf-8").split()
    lines = ["text1,image1", *(f"{name.removesuffix('.jpg')},cc0/{name}" for name in names)]
    at_hand = {
        "things/answers": "triplets_collection_order.txt",
        "things/sortindex": "sortindex.txt",
        "things/unique-id": "unique_id.txt",
        "features/clip-vit-b-32": "features/clip-vit-b32/features.npy",
        "features/blip-base": "features/blip/features.npy",
    }
    files = {name: (root / file).read_bytes() for name, file in at_hand.items()}
    return files | {"things/manifest-cc0": "\r\n".join(lines).encode("utf-8-sig")}


@contextlib.contextmanager
def published_site(folder, monkeypatch, files, **changes):
    """Serve files and publish them in a registry in which `changes` of entries are made; yields
    the server.
    """
    served = {f"/{COMMIT}/{name}": content for name, content in files.items()}
    with site(served) as (url, server):
        parts = [
            '[citations]\nnobody = "Nobody (2000)"',
            f'[repositories]\nlocal = "{url}/{COMMIT}"',
            *(_entry(name, content, changes) for name, content in files.items()),
        ]
        (folder / "files.toml").write_text("\n".join(parts), "utf-8")
        monkeypatch.setattr(registry, "REGISTRY", folder / "files.toml")
        registry.published.cache_clear()
        yield server
    registry.published.cache_clear()


def _entry(name, content, changes):
    facts = {**_SHARED, "name": name, "source": name, "path": name, "checksum": git_id(content)}
    if name == "things/answers":
        facts |= _ANSWERS
    if name.startswith("features/"):
        rows, width = np.load(io.BytesIO(content)).shape
        facts |= {"kind": "features", "names": "things/manifest-cc0", "names_column": "text1"}
        facts["downloaded"] = f"{name}/features.npy"
        facts |= {"rows": rows, "width": width, "network": f"owner/{name}", "known_by": "its name"}
    facts |= changes.get(name.rpartition("/")[2].replace("-", "_"), {})
    return "\n".join(["[[file]]", *(f"{key} = {json.dumps(fact)}" for key, fact in facts.items())])
