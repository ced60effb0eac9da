"""The points of a sweep: a row for each setting on each fold, with its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import joblib
from typing_extensions import TypedDict

from glocal.aligner.driver import Run
from glocal.aligner.exact import Unfitted
from glocal.aligner.folds import Fold
from glocal.aligner.heldout import FoldScorer, scaled_identity
from glocal.aligner.settings import ObjectiveSettings
from glocal.aligner.store import FoldProblem, Outcome
from glocal.errors import ClusterError, GLocalError, ParameterError, import_optional
from glocal.jsonlines import write_rows
from glocal.scores import ORIGINAL
from glocal.transform import LinearTransform

SCORES = ("agreement", "loss", "neighbours_kept")
KEPT_CENTRED = "neighbours_kept_centred"
"""The neighbours kept of the rows with the origin of the fit, scored only if that is moved."""


class Point(TypedDict, total=False):
    """A row of ``points.jsonl``: a fold, a setting, its scores, and how its fit ended."""

    fold: int
    method: str
    lmbda: float | None
    mix: float | None
    alpha: float | None
    tau: float | None
    eta: float
    agreement: float | None
    loss: float | None
    neighbours_kept: float | None
    n_heldout: int
    n_images: int
    objective: float | None
    status: str | None
    gap: float | None
    evaluations: int
    reason: str
    lambda_max: float
    neighbours_kept_centred: float
    seconds: float


Progress = Callable[[Point, int, int], None]
"""Called with a point, the number of finished points, and their total."""


class _Order(NamedTuple):
    """Where a point stands in ``points.jsonl``."""

    eta: float
    path: int
    fold: int
    position: int


class Points:
    """The rows of a sweep, in a file if there is one."""

    def __init__(
        self,
        folds: Sequence[Fold],
        paths: Sequence[Sequence[ObjectiveSettings]],
        total: int,
        file: Path | None,
        progress: Progress | None,
    ) -> None:
        self._scorers = [FoldScorer([fold]) for fold in folds]
        self._total = total
        self._file = file
        self._progress = progress
        self._positions: dict[ObjectiveSettings, tuple[int, int]] = {}
        for path_number, path in enumerate(paths):
            for position, settings in enumerate(path):
                self._positions[settings] = (path_number, position)
        self._points: list[tuple[_Order, Point]] = []
        for fold_number, fold in enumerate(folds):
            self._add_original(fold_number, fold)

    def _add_original(self, fold_number: int, fold: Fold) -> None:
        """Score the original features on a fold, with which fits are compared."""
        point = self._unscored(fold_number, None, None)
        baseline = scaled_identity(fold.data, 0)
        self._score(point, baseline)
        point["status"] = "converged"
        point["seconds"] = 0.0
        before_all = _Order(eta=-1.0, path=-1, fold=fold_number, position=0)
        self._points.append((before_all, point))

    def add(
        self, fold_number: int, settings: ObjectiveSettings, outcome: Outcome, eta: float | None
    ) -> None:
        """Score a fit, and add its row."""
        point = self._unscored(fold_number, settings, eta)
        if isinstance(outcome, Unfitted):
            point["status"] = outcome.status
            point["reason"] = outcome.reason
            point["evaluations"] = outcome.evaluations
            if outcome.lambda_max is not None:
                point["lambda_max"] = outcome.lambda_max
        else:
            report = outcome.report
            point["objective"] = report.objective
            point["status"] = report.status
            point["gap"] = report.gap
            point["evaluations"] = report.evaluations
            self._score(point, outcome.transform)
        point["seconds"] = outcome.seconds
        path_number, position = self._positions[settings]
        order = _Order(
            eta=eta or 0.0,
            path=path_number,
            fold=fold_number,
            position=position,
        )
        self._points.append((order, point))
        if self._progress is not None:
            self._progress(point, len(self._points), self._total)

    def write(self) -> None:
        """Write the rows so far."""
        if self._file is not None:
            write_rows(self._file, self.by_path())

    def by_path(self) -> list[Point]:
        """The rows path by path, the original features first."""
        ordered = sorted(self._points, key=itemgetter(0))
        return [point for _, point in ordered]

    def _unscored(
        self, fold_number: int, settings: ObjectiveSettings | None, eta: float | None
    ) -> Point:
        """The row of a setting, None for the original features, without scores."""
        scorer = self._scorers[fold_number]
        point = Point(
            fold=fold_number,
            method=ORIGINAL,
            lmbda=None,
            mix=None,
            alpha=None,
            tau=None,
        )
        if settings is not None:
            parameters = settings.parameters
            point["method"] = settings.method
            point["lmbda"] = parameters["lmbda"]
            point["mix"] = parameters["mix"]
            point["alpha"] = parameters["alpha"]
            point["tau"] = parameters["tau"]
        if eta is not None:
            point["eta"] = eta
        point["agreement"] = None
        point["loss"] = None
        point["neighbours_kept"] = None
        point["n_heldout"] = len(scorer.answers)
        point["n_images"] = len(scorer.images[0])
        point["objective"] = None
        point["status"] = None
        point["gap"] = None
        point["evaluations"] = 0
        return point

    def _score(self, point: Point, transform: LinearTransform) -> None:
        """Score a transform on what the fold of a point holds out."""
        scorer = self._scorers[point["fold"]]
        credit, loss = scorer.credit_and_loss([transform])
        Z = [transform.map_rows(images) for images in scorer.images]
        kept = scorer.kept(Z)
        point["agreement"] = scorer.mean(credit)
        point["loss"] = loss
        point["neighbours_kept"] = float(kept.mean())
        if scorer.is_centred:
            kept_centred = scorer.kept(Z, centred=True)
            point["neighbours_kept_centred"] = float(kept_centred.mean())


@contextmanager
def runner(jobs: int, scheduler: str | None, problems: Sequence[FoldProblem]) -> Iterator[Run]:
    """Run paths in this process, in several, or on a Dask cluster, which gets each problem once."""
    with ExitStack() as stack:
        if scheduler is None:
            backend = joblib.parallel_config(n_jobs=jobs)
        else:
            client = _dask_client(scheduler, stack)
            backend = joblib.parallel_config(backend="dask", client=client, scatter=[*problems])
        stack.enter_context(backend)
        # problems are no memory maps in other processes, since compiled passes write to them
        parallel = joblib.Parallel(return_as="generator_unordered", max_nbytes=None)

        def run(function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Any:
            delayed = joblib.delayed(function)
            return parallel(delayed(*each) for each in arguments)

        try:
            yield run
        except Exception as error:
            if isinstance(error, GLocalError):
                raise
            is_lost = bool(scheduler) or isinstance(error, BrokenProcessPool)
            if not is_lost:
                raise
            raise ClusterError(
                f"the processes that ran the paths were lost ({type(error).__name__}). Finished "
                "paths are kept: continue with `resume=True`."
            ) from error


def _dask_client(scheduler: str, stack: ExitStack) -> Any:
    """A client of the Dask cluster at an address or of a scheduler file, closed with the stack."""
    distributed = import_optional("distributed", "`scheduler`")
    argument = "address"
    if Path(scheduler).is_file():
        argument = "scheduler_file"
    options = {argument: scheduler}
    try:
        unopened = distributed.Client(**options, timeout=10)
        client = stack.enter_context(unopened)
    except (OSError, ValueError, TypeError) as error:
        raise ParameterError(
            f"no Dask scheduler answers at {scheduler}. Give the address that it prints when it "
            "starts, e.g. tcp://10.0.0.1:8786, or its scheduler file."
        ) from error
    if client.amm.running():  # it would leave one copy of the inputs, lost with its worker
        client.amm.stop()
        stack.callback(client.amm.start)
    return client
