"""What a page shows of each arm: ``views/NETWORK-ARM.npz`` beside the scores of a suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glocal._version import __version__
from glocal.data.features import object_name
from glocal.data.labels import load_categories
from glocal.evaluation.view import View, load_view, object_view, save_view
from glocal.files import make_folder
from glocal.suite.cells import content_of, embedding, hash_of
from glocal.suite.plan import NamedArm, Plan
from glocal.suite.sources import Sources
from glocal.transform import LinearTransform
from glocal.transform.files import wrong_name

_SHOWN = (
    "method", "alpha", "lmbda", "mix", "tau", "objective", "converged", "status", "reason", "gap", "evaluations",
)  # fmt: skip
_FORMAT = 2  # a change in what views hold makes kept ones another content


class Views:
    """The views of one network of a suite, computed where the folder does not hold them yet."""

    def __init__(self, folder: Path, plan: Plan, sources: Sources) -> None:
        self._folder = make_folder(folder / "views")
        self._plan, self._sources = plan, sources
        self._categories: tuple[str, ...] | None = None

    def write(self, transforms: dict[str, LinearTransform | None]) -> None:
        """Look at every arm beside the baseline, whose transform is among `transforms` like theirs."""
        plan = self._plan
        arms = sorted(plan.arms, key=lambda arm: arm.name != plan.baseline)
        baseline: View | None = None
        for arm in arms:
            path = self._folder / f"{plan.stems[self._sources.network.name, arm.name]}.npz"
            key = self._key(arm, transforms)
            view = load_view(path) if path.exists() else None
            if view is None or view.meta.get("key") != key:
                view = self._view(arm, transforms, baseline, key)
                save_view(view, path)
            baseline = baseline or view

    def _view(
        self, arm: NamedArm, transforms: dict[str, LinearTransform | None], baseline: View | None, key: str
    ) -> View:
        plan, sources = self._plan, self._sources
        transform = transforms[arm.name]
        return object_view(
            embedding(sources, transform)(sources.objects), self._names(), categories=self._categories_of_objects(),
            baseline=baseline,
            meta={
                "key": key, "network": sources.network.name, "arm": arm.name, "baseline": plan.baseline,
                "split": "heldout", "settings": dict(arm.settings), "fit": _fit(transform), "notes": self._notes(arm),
            },
        )  # fmt: skip

    def _names(self) -> tuple[str, ...]:
        features, ids = self._sources.objects, self._sources.object_ids
        names = features.names or (ids if ids is not None and len(ids) == len(features) else None)
        if names is None:
            return tuple(f"object {row}" for row in range(len(features)))
        return tuple(map(object_name, names))

    def _categories_of_objects(self) -> tuple[str, ...] | None:
        plan, sources = self._plan, self._sources
        if plan.categories is None:
            return None
        if self._categories is None:
            names = self._names()
            ids = sources.object_ids or names
            found = dict(zip(map(object_name, ids), load_categories(sources.path(plan.categories), ids), strict=True))
            self._categories = tuple(str(found.get(name, "other")) for name in names)
        return self._categories

    def _notes(self, arm: NamedArm) -> list[str]:
        """What must be said of a transform that was not fitted here."""
        if arm.fitted or not arm.settings:
            return []
        path = self._sources.path(arm.settings["transform"])
        said = wrong_name(path, LinearTransform.load(path).weights)
        return [] if said is None else [said]

    def _key(self, arm: NamedArm, transforms: dict[str, LinearTransform | None]) -> str:
        plan, sources = self._plan, self._sources
        transform, baseline = transforms[arm.name], transforms[plan.baseline]
        texts = [sources.network.features, *plan.answers.values()]
        texts += [plan.categories] if plan.categories is not None else []
        return hash_of({
            "format": _FORMAT, "version": __version__, "files": [[text, sources.hashes(text)] for text in texts],
            "shown": [sources.network.name, arm.name, plan.baseline, dict(arm.settings), _fit(transform)],
            "notes": self._notes(arm),
            "fold": [plan.seed, plan.folds, plan.fold],
            "transforms": [content_of(transform), content_of(baseline)],
        })  # fmt: skip


def _fit(transform: LinearTransform | None) -> dict[str, Any] | None:
    """How the fit of a transform made by glocal ended."""
    fit = {} if transform is None else transform.meta.get("fit", {})
    return {key: fit.get(key) for key in _SHOWN} if fit else None
