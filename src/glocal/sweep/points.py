"""The points of a sweep: a row for each setting on each fold, with its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import joblib

from glocal.aligner.driver import Run
from glocal.aligner.exact import Unfitted
from glocal.aligner.folds import Fold, FoldScorer, scaled_identity
from glocal.aligner.settings import ObjectiveSettings
from glocal.aligner.store import FoldProblem, Outcome
from glocal.errors import ClusterError, GLocalError, ParameterError, import_optional
from glocal.jsonlines import write_rows
from glocal.scores import ORIGINAL
from glocal.sweep.grid import SCORES
from glocal.transform import LinearTransform

Row = dict[str, Any]
"""A point, as ``points.jsonl`` has it: a fold, a setting, its scores, and how its fit ended."""
_OUTCOME = ("objective", "status", "gap", "evaluations")


class Points:
    """The rows of a sweep, in a file if there is one."""

    def __init__(
        self,
        folds: Sequence[Fold],
        paths: Sequence[Sequence[ObjectiveSettings]],
        total: int,
        file: Path | None,
        progress: Callable[[Row, int, int], None] | None,
    ) -> None:
        self._scorers = [FoldScorer([fold]) for fold in folds]
        self._paths = paths
        self._total = total
        self._file = file
        self._progress = progress
        self.rows: list[Row] = []
        for number, fold in enumerate(folds):
            baseline = scaled_identity(fold.data, 0)  # that agreement is compared with
            settings = {"method": ORIGINAL, **dict.fromkeys(("lmbda", "mix", "alpha", "tau"))}
            row = self._row(number, settings) | self._scores(number, baseline)
            ended = {"objective": None, "status": "converged", "gap": None, "evaluations": 0}
            self.rows.append(row | ended | {"seconds": 0.0})

    def add(
        self, number: int, settings: ObjectiveSettings, outcome: Outcome, eta: float | None
    ) -> None:
        """Score a fit, and add its row."""
        rate = {} if eta is None else {"eta": eta}
        row = self._row(number, settings.parameters | rate)
        if isinstance(outcome, Unfitted):
            row |= {"status": outcome.status, "reason": outcome.reason}
            row |= {"evaluations": outcome.evaluations}
            if outcome.lambda_max is not None:
                row |= {"lambda_max": outcome.lambda_max}
        else:
            row |= {name: getattr(outcome.report, name) for name in _OUTCOME}
            row |= self._scores(number, outcome.transform)
        self.rows.append(row | {"seconds": outcome.seconds})
        if self._progress is not None:
            self._progress(self.rows[-1], len(self.rows), self._total)

    def write(self) -> None:
        """Write the rows so far."""
        if self._file is not None:
            write_rows(self._file, self.by_path())

    def by_path(self) -> list[Row]:
        """The rows path by path, the original features first."""
        names = [*self._paths[0][0].parameters]
        numbers = {
            str(settings.parameters): (number, position)
            for number, path in enumerate(self._paths)
            for position, settings in enumerate(path)
        }

        def order(row: Row) -> tuple[float, int, int, int]:
            parameters = {name: row[name] for name in names}
            number, position = numbers.get(str(parameters), (-1, 0))
            eta = row.get("eta", -1.0 if number < 0 else 0.0)
            return eta, number, row["fold"], position

        return sorted(self.rows, key=order)

    def _row(self, number: int, settings: Row) -> Row:
        scorer = self._scorers[number]
        sizes = {"n_heldout": len(scorer.answers), "n_images": len(scorer.images[0])}
        ended = dict.fromkeys(_OUTCOME) | {"evaluations": 0}
        return {"fold": number, **settings, **dict.fromkeys(SCORES), **sizes, **ended}

    def _scores(self, number: int, transform: LinearTransform) -> dict[str, float]:
        """The scores of a transform on what a fold holds out."""
        scorer = self._scorers[number]
        credit, loss = scorer.credit_and_loss([transform])
        Z = [transform.map_rows(images) for images in scorer.images]
        scores = {
            "agreement": scorer.mean(credit),
            "loss": loss,
            "neighbours_kept": float(scorer.kept(Z).mean()),
        }
        if scorer.is_centred:
            scores["neighbours_kept_centred"] = float(scorer.kept(Z, centred=True).mean())
        return scores


@contextmanager
def runner(jobs: int, scheduler: str | None, problems: Sequence[FoldProblem]) -> Iterator[Run]:
    """Run paths in this process, in several, or on a Dask cluster, which gets each problem once."""
    backend: dict[str, Any] = {"n_jobs": jobs}
    with ExitStack() as stack:
        if scheduler is not None:
            client = _dask_client(scheduler, stack)
            backend = {"backend": "dask", "client": client, "scatter": [*problems]}
        stack.enter_context(joblib.parallel_config(**backend))
        # problems are no memory maps in other processes, since compiled passes write to them
        parallel = joblib.Parallel(return_as="generator_unordered", max_nbytes=None)

        def run(function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Any:
            return parallel(joblib.delayed(function)(*each) for each in arguments)

        try:
            yield run
        except Exception as error:
            is_lost = bool(scheduler) or isinstance(error, BrokenProcessPool)
            if isinstance(error, GLocalError) or not is_lost:
                raise
            raise ClusterError(
                f"the processes that ran the paths were lost ({type(error).__name__}). Finished "
                "paths are kept: continue with `resume=True`."
            ) from error


def _dask_client(scheduler: str, stack: ExitStack) -> Any:
    """A client of the Dask cluster at an address or of a scheduler file, closed with the stack."""
    distributed = import_optional("distributed", "`scheduler`")
    argument = "scheduler_file" if Path(scheduler).is_file() else "address"
    try:
        client = stack.enter_context(distributed.Client(**{argument: scheduler}, timeout=10))
    except (OSError, ValueError, TypeError) as error:
        raise ParameterError(
            f"no Dask scheduler answers at {scheduler}. Give the address that it prints when it "
            "starts, e.g. tcp://10.0.0.1:8786, or its scheduler file."
        ) from error
    if client.amm.running():  # it would leave one copy of the inputs, lost with its worker
        client.amm.stop()
        stack.callback(client.amm.start)
    return client
