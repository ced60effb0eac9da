"""Arrays of trials: cblearn's comparisons, PsiZ's rankings, AligNet's soft triplets, the answers of THINGS."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glocal.arrays import read_npy
from glocal.data.answers import Answers
from glocal.data.container import whole
from glocal.data.hdf5 import read_datasets
from glocal.data.importers.trials import MISSING, Imported, Options, Trials, answers_in, drawn, placed
from glocal.data.npz import member_names, read_npz
from glocal.errors import DataError
from glocal.files import PathLike

_QUERIES = ("query", "queries", "triplets", "quadruplets", "data", "X")
_RESPONSES = ("response", "responses", "target", "y")
_HDF5 = (".h5", ".hdf5")


def read_things(path: PathLike, options: Options) -> Imported:
    """Answers of THINGS: the distributed lines of three numbers, or the table of repeated answers.

    The lines count objects in the order of the experiment's collection; the sort index (`order`) maps them.
    """
    if options.odd_column == 2:
        answers = Answers.load(path, base=options.base)
    else:
        answers = Answers.load(path, odd_column=options.odd_column, base=options.base)
    if answers.kind != "odd-one-out":
        raise DataError(f"{path} holds answers of the kind {answers.kind}; those of THINGS are odd-one-out.")
    order = "the file's own" if options.order is None else "through the sort index"
    return Imported(placed(answers, options), {}, {"object order": order})


def read_cblearn(path: PathLike, options: Options) -> Imported:
    """Comparisons of cblearn: rows (i, j, k), i is nearer to j than to k, with a response or none.

    A response is 1 or true where that is so, -1 or false where it is not, 0 where it is undecided; other counts are
    that many answers. Quadruplets (i, j, k, l), i is nearer to j than k is to l, are answers if they share an object.
    """
    query, response = _cblearn_arrays(Path(path))
    if (
        query.ndim != 2
        or query.shape[1] not in (3, 4)
        or query.dtype.kind not in "iuf"
        or (query != np.floor(query)).any()
    ):
        raise DataError(
            f"{path} holds {query.dtype} of shape {query.shape}; comparisons of cblearn are (t, 3) or (t, 4) integers."
        )
    if response is not None and response.dtype.kind not in "biuf":
        raise DataError(f"{path} has responses of {response.dtype}; they must be numbers, or true and false.")
    signs = np.ones(len(query)) if response is None else np.asarray(response, dtype=np.float64)
    if signs.shape != (len(query),) or not np.isfinite(signs).all():
        raise DataError(
            f"{path} has responses of shape {signs.shape}; {len(query)} comparisons need a finite one each."
        )
    if response is not None and np.isin(signs, (0, 1)).all():
        signs = 2 * signs - 1  # as cblearn reads it: these are false and true
    query = query.astype(np.int64)
    apart = np.zeros(len(query), dtype=bool)
    if query.shape[1] == 4:
        query, apart = _with_shared_object(query)
    weights = np.abs(signs)
    trials = Trials(
        "anchor",
        query[~apart],
        np.select([signs > 0, signs < 0], [1, 2], MISSING)[~apart],
        weights=None if (weights[weights > 0] == 1).all() else weights[~apart],
    )
    result = answers_in(trials, options, {"responses": "none" if response is None else "yes"})
    if apart.any():
        result.dropped["pairs that share no object"] = int(apart.sum())
    return result


def read_psiz(path: PathLike, options: Options) -> Imported:
    """Rankings of PsiZ: `stimulus_set` holds the query, what was selected in order, and the rest; -1 fills up.

    Of a ranking the first choice is read, which is one among all references, of trials with the most frequent number of
    references. With ``base=1`` objects count from 1 and 0 fills up, as newer versions do.
    """
    optional = ("n_select", "is_ranked", "agent_id", "weight", "rt_ms")
    found = _members(Path(path), ("stimulus_set",), optional)
    shown = found["stimulus_set"]
    shown = shown.reshape(-1, shown.shape[-1]) if shown.ndim == 3 else shown
    if shown.ndim != 2 or shown.dtype.kind not in "iu" or shown.shape[1] < 3:
        raise DataError(f"{path}: stimulus_set holds {shown.dtype} of shape {shown.shape}; it must be (t, 3 or more).")
    t, shown = len(shown), shown.astype(np.int64) - options.base
    for name in found.keys() - {"stimulus_set"}:
        if found[name].size not in (1, t) or found[name].dtype.kind not in "biuf":
            raise DataError(
                f"{path}: {name} holds {found[name].dtype} of shape {found[name].shape}; "
                f"{t} trials need one number each."
            )
    lists = {name: np.broadcast_to(found[name].reshape(-1), t) for name in optional if name in found}
    if "agent_id" in lists and not lists["agent_id"].any():  # as PsiZ writes it where nothing is known
        del lists["agent_id"]
    if "rt_ms" in lists and (lists["rt_ms"] < 0).all():
        del lists["rt_ms"]
    n_select = lists.get("n_select", np.ones(t, dtype=np.int64)).astype(np.int64)
    ranked = lists.get("is_ranked", np.ones(t, dtype=bool)).astype(bool) | (n_select == 1)
    n_reference = (shown >= 0).sum(axis=1) - 1
    whole = (n_reference >= 2) & (n_select >= 1) & (n_select <= n_reference) & (shown[:, 0] >= 0)
    if not (whole & ranked).any():
        raise DataError(f"{path} has no trial with a query, two references or more, and a first choice among them.")
    n = int(np.bincount(n_reference[whole & ranked]).argmax())
    good = whole & ranked & (n_reference == n)
    seconds = lists["rt_ms"][good] / 1e3 if "rt_ms" in lists else None
    weights = lists["weight"][good].astype(np.float64) if "weight" in lists else None
    answers = Answers(
        shown[good, : n + 1],
        None if weights is None or (weights == 1).all() else weights,
        kind="anchor" if n == 2 else "nearest-of-n",
        person=lists["agent_id"][good] if "agent_id" in lists else None,
        seconds=None if seconds is None else np.where(seconds < 0, np.nan, seconds),
    )
    dropped = {
        "an object is missing": int((~whole).sum()),
        "several selected, none of them first": int((whole & ~ranked).sum()),
        f"another number of references than {n}": int((whole & ranked & ~good).sum()),
    }
    return Imported(
        placed(answers, options),
        {reason: number for reason, number in dropped.items() if number},
        {"trials": int(good.sum()), "read": "the first choice of each ranking"},
    )


def read_alignet(path: PathLike, options: Options) -> Imported:
    """AligNet's triplets with the similarities s01, s02 and s12 of their pairs, as soft odd-one-out answers.

    The weights of a triplet's three answers are softmax(s), the target of AligNet's own losses.
    """
    found = _members(Path(path), ("similarities",), ("indices", "filenames"))
    if len(found) == 1:
        raise DataError(f"{path} has similarities, but neither indices nor filenames of the pictures.")
    similarities = found["similarities"]
    shown = found.get("indices", found.get("filenames"))
    assert shown is not None
    if similarities.shape != shown.shape or shown.shape[1:] != (3,) or not len(shown) or similarities.dtype.kind != "f":
        raise DataError(
            f"{path} has similarities of shape {similarities.shape} and pictures of shape {shown.shape}; both must be "
            "(t, 3), three pictures and the similarities of their three pairs, of one triplet or more."
        )
    rows = drawn(len(shown), max(1, options.limit // 3), options.seed)
    _, first, member = np.unique(shown[rows], return_index=True, return_inverse=True)
    names = [str(label) for label in found.get("filenames", shown)[rows].reshape(-1)[first]]
    scores = similarities[rows].astype(np.float64)
    finite = np.isfinite(scores).all(axis=1)
    scores = np.exp(scores[finite] - scores[finite].max(axis=1, keepdims=True))
    objects = member.reshape(-1, 3)[finite]
    answers = Answers.from_array(objects, counts=scores / scores.sum(axis=1, keepdims=True), names=names)
    dropped = {
        "triplets beyond the limit": len(shown) - len(rows),
        "similarities that are not finite": int((~finite).sum()),
    }
    return Imported(
        answers, {reason: n for reason, n in dropped.items() if n}, {"weights": "softmax of s01, s02 and s12"}
    )


def _members(path: Path, required: Sequence[str], optional: Sequence[str]) -> dict[str, np.ndarray]:
    fix = f"It must hold arrays named {', '.join(required)}."
    if path.suffix.lower() in _HDF5:
        return read_datasets(path, what="answers", fix=fix, required=required, optional=optional)
    return read_npz(path, what="answers", fix=fix, required=required, optional=optional)


def _cblearn_arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    if path.suffix.lower() == ".npy":
        return np.array(read_npy(path, what="answers")), None
    with whole(path, ".npz archive", "Write it with numpy.savez.", what="answers"), zipfile.ZipFile(path) as archive:
        held = member_names(archive)
    if "coords" in held:  # a sparse tensor: a response for each place (i, j, k)
        found = _members(path, ("coords", "data"), ())
        return found["coords"].T, found["data"]
    query = next((name for name in _QUERIES if name in held), "query")
    response = next((name for name in _RESPONSES if name in held), None)
    found = _members(path, (query,), [response] if response else [])
    return found[query], found[response] if response else None


def _with_shared_object(query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quadruplets (i, j, k, l) as (shared, i or j, k or l), and which of them share no object."""
    found, shares = query[:, :3].copy(), np.zeros(len(query), dtype=bool)
    for p, other in ((0, 1), (1, 0)):
        for q, another in ((2, 3), (3, 2)):
            rows = ~shares & (query[:, p] == query[:, q])
            found[rows] = query[np.ix_(rows, [p, other, another])]
            shares |= rows
    return found, ~shares
