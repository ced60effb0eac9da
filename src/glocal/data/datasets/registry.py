"""The files that `fetch` knows: where each is published, its checksum, its licence and whom to cite.

Each is pinned to a commit of the repository that publishes it, so its content cannot change. A checksum is ``sha256:``
of the content or, where only the repository's own listing was at hand, ``git:``, the object id under which git stores
it: sha1 of ``blob SIZE``, a zero byte and the content.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class RemoteFile:
    """One downloadable file.

    Parameters
    ----------
    name : str
        What `fetch` is asked for.
    path : str
        Where it lies below the cache or the output folder.
    url : str
        http or https.
    checksum : str or None
        ``sha256:`` or ``git:`` and hexadecimal digits; None is fetched as unverified, and said so.
    size : int or None
        Bytes; None where it was not at hand.
    what, licence, citation : str
        Content with its format and order; the terms its publisher states; the paper.
    warning : str or None
        What is known to be wrong with it, in one sentence.
    """

    name: str
    path: str
    url: str
    checksum: str | None
    size: int | None
    what: str
    licence: str
    citation: str
    warning: str | None = None


_GLOCAL = (
    "Muttenthaler et al. (2023), Improving neural network representations using human similarity judgments, NeurIPS"
)
_THINGS = (
    "Hebart, Zheng, Pereira & Baker (2020), Revealing the multidimensional mental representations, Nat. Hum. Behav."
)
_VICE = "Muttenthaler et al. (2022), VICE: Variational interpretable concept embeddings, NeurIPS"
_REPOSITORIES = {
    "glocal": "LukasMut/gLocal/635fdaa5b36e810f626125104fb9eb11ea89a75d",
    "behavior": "florianmahner/gpt-behavior/4a8bd2fe526a7ba0b568e3b3569e6338100a8abd",
    "vice": "LukasMut/VICE/f484c1446459c12c15deb2df1476f53969ad6f4d",
    "features": "ViCCo-Group/semantic_features_gpt_3/3b132af668bc61706b944dcfd6b01672d3a49c34",
}
# model and layer: dimensions, bytes, checksum
_TRANSFORMS: dict[str, tuple[int | None, int | None, str]] = {
    "OpenCLIP_ViT-L-14_laion2b_s32b_b82k/visual": (
        768,
        2_200_626,
        "sha256:38ac3e412c0b42fcdc1e545383ca6c1363472809b2611d0e4f4bf8d5878f7365",
    ),
    "OpenCLIP_ViT-L-14_laion400m_e32/visual": (
        768,
        2_198_001,
        "sha256:1c34c877528ea375836a2f1a8b8559070a3eadf5a5f8064bb970c1526751a915",
    ),
    "alexnet/classifier.4": (None, None, "git:b7e20ab6dab94923e422be6cbc950ff7063dd88d"),
    "clip_RN50/visual": (
        1024,
        3_930_470,
        "sha256:81fc831f60c43ded3508f36803e48d105560fb4992bbbe7b1db1745c83af1c4b",
    ),
    "clip_ViT-L/14/visual": (
        768,
        2_195_315,
        "sha256:4d9f969b1cac5334e87c93a6743a50e0f7d38cb41d7e8fb701584bc29d2fe25a",
    ),
    "dino-vit-base-p16/norm": (
        768,
        2_204_195,
        "sha256:2bcb2d77346fbaec29326edc54bc03060145ecbb1fb5d80c3c7733241a71dd69",
    ),
    "dino-vit-base-p8/norm": (
        768,
        2_202_295,
        "sha256:583ff8178d769e687f7444be935e444e831bf501c8c5343debe69b57cef660cc",
    ),
    "dinov2-vit-base-p14/norm": (
        768,
        2_204_195,
        "sha256:2bcb2d77346fbaec29326edc54bc03060145ecbb1fb5d80c3c7733241a71dd69",
    ),
    "dinov2-vit-large-p14/norm": (
        1024,
        3_907_196,
        "sha256:b3da393252d7d8407a745762b06863333793e002970d2a143f121f75e626d694",
    ),
    "resnet18/avgpool": (
        512,
        977_954,
        "sha256:7a2bb20c8662eff5b3c0e27e5614b56be782479ec99d26d1ffd01a01777d7d3c",
    ),
    "resnet50/avgpool": (None, None, "git:44b7deffc1c4c36abe904af8251f6976cb44aff0"),
    "vgg16/classifier.3": (None, None, "git:07ed28a0996b1bde01852bb4599b0f4567ec64ba"),
}
_WRONG = {
    "dinov2-vit-base-p14/norm": "transforms/dinov2-vit-base-p14/norm is the wrong file as published: its content is "
    "that of transforms/dino-vit-base-p16/norm, so do not apply it to features of DINOv2."
}


def _url(repository: str, path: str) -> str:
    return f"https://raw.githubusercontent.com/{_REPOSITORIES[repository]}/{quote(path)}"


def _transform(layer: str) -> RemoteFile:
    dimensions, size, checksum = _TRANSFORMS[layer]
    path = f"transforms/{layer}/transform.npz"
    what = f"the authors' transform of {layer}" + (f", {dimensions} dimensions" if dimensions else "")
    return RemoteFile(
        f"transforms/{layer}", path, _url("glocal", path), checksum, size, what, "MIT", _GLOCAL, _WRONG.get(layer)
    )


def _things(
    name: str, repository: str, source: str, checksum: str, size: int | None, what: str, licence: str, citation: str
) -> RemoteFile:
    suffix = "." + source.rpartition(".")[2] if "." in source else ".txt"
    return RemoteFile(
        f"things/{name}", f"things/{name}{suffix}", _url(repository, source), checksum, size, what, licence, citation
    )


_ANSWERS = (
    "of the 1.46 million human odd-one-out answers on THINGS: text, odd one last, objects in collection order "
    "(pass --order things/sortindex.txt)"
)
_ENTRIES = [
    *(_transform(layer) for layer in _TRANSFORMS),
    _things(
        "triplets-train90",
        "behavior",
        "data/behavior_triplets_train90.txt",
        "git:38e8ccada803b727dd60664dde8e8c683ccaf9f2",
        None,
        f"the 90 % for training {_ANSWERS}",
        "CC BY 4.0 (as THINGS states)",
        _THINGS,
    ),
    _things(
        "triplets-test10",
        "behavior",
        "data/behavior_triplets_test10.txt",
        "sha256:3d99c59ba4793d7ccee4e3dccfce926a9ab9af5b515d30fb8a5e5541dc440617",
        1_930_206,
        f"the 10 % for testing (146,168) {_ANSWERS}",
        "CC BY 4.0 (as THINGS states)",
        _THINGS,
    ),
    _things(
        "repeated-answers",
        "vice",
        "data/test_triplets.csv",
        "sha256:f2593378408f54fb047b2f9be040e2773be8f24118bc171d46c2c6a6da79afd4",
        376_170,
        "20,000 answers to 1,000 repeated triplets: three objects (1-based, collection order), which of the three is "
        "the odd one (1 to 3), and the person",
        "CC BY 4.0 (as THINGS states); repository GPL-3.0",
        _THINGS,
    ),
    _things(
        "sortindex",
        "vice",
        "data/sortindex",
        "sha256:37720adbfbdc9637c1be642ed296c3bc2afbe1d2831418b7a9f941bc03d65a08",
        8_159,
        "the sort index of the 1,854 objects, for --order",
        "GPL-3.0 (repository)",
        _VICE,
    ),
    _things(
        "unique-id",
        "features",
        "data/things/unique_id.txt",
        "sha256:e2e59d02197e89776034938e7a73940a0823cacac4b6084b56b1d8959816ff76",
        15_201,
        "the names of the 1,854 objects in alphabetical order, for --object-ids",
        "none stated",
        _THINGS,
    ),
    _things(
        "categories27",
        "vice",
        "data/category_mat_manual.tsv",
        "sha256:9f4f9a4626f23064dad9a7547ffa1e3a0a6b1fe23281d74cb394ee0367f53af4",
        100_398,
        "1,854 objects in 27 superordinate categories, 0 or 1, a heading first",
        "GPL-3.0 (repository)",
        _THINGS,
    ),
    _things(
        "spose-66d",
        "features",
        "data/things/spose_embedding_66d_sorted.txt",
        "sha256:6a485922fe22c10b2eb920140198488451d44ac6de0c6be5e8ee8eec8a2007cc",
        3_303_874,
        "the SPoSE embedding of the 1,854 objects in 66 dimensions, text",
        "none stated",
        _THINGS,
    ),
]
FILES: dict[str, RemoteFile] = {entry.name: entry for entry in _ENTRIES}
