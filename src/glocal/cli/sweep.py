"""``glocal sweep``."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.aligner.settings import DataOptions, ProfileOptions, SolverOptions
from glocal.cli.answers import AnswersFile
from glocal.cli.command import changed, takes
from glocal.cli.features import FeaturesPath
from glocal.cli.output import AsJson, is_live, progress_bar, put, put_json, put_table, say
from glocal.data.features import Features
from glocal.data.labels import load_labels
from glocal.errors import ParameterError
from glocal.extras import needed
from glocal.files import writable_target
from glocal.report.figures import FORMATS, front_figure, save_figure
from glocal.sweep.options import SweepOptions

_POINT = {
    "fold": "fold", "method": "method", "lmbda": "λ", "alpha": "α", "tau": "τ", "eta": "η",
    "accuracy_cosine": "agreement", "neighbours_kept": "kept", "loss": "loss", "evaluations": "evals",
}  # fmt: skip


@takes(SolverOptions, DataOptions, ProfileOptions, SweepOptions, without=("eta", "squared"))
def sweep(
    features: FeaturesPath,
    answers: AnswersFile,
    out: Annotated[Path, typer.Option("--out", help="Folder of the sweep.")],
    local_features: Annotated[
        Path | None,
        typer.Option("--local-features", help="Local images, folded like the objects; method glocal needs them."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", help="Arm that walks the grid, several times for several, or all. [default: the grid's]"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep in --out; repeat nothing.")] = False,
    keep_transforms: Annotated[
        bool, typer.Option("--keep-transforms/--no-keep-transforms", help="Write the transform of every point.")
    ] = True,
    downstream: Annotated[
        Path | None, typer.Option("--downstream", help="Features of labelled images to score every point on.")
    ] = None,
    downstream_labels: Annotated[
        Path | None, typer.Option("--downstream-labels", help="Class of each of their rows, .npy or one a line.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Dask cluster to run on: its address, or its scheduler file.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="Draw the front too: a .png, .pdf or .svg file.")
    ] = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Fit and score all arms on object folds; choose one setting and refit it on all objects.

    The paper's grid is built in too; its learning rates belong to solver minibatch, the exact solver has none.

    Example: glocal sweep --features features.npy --triplets triplets.npy --local-features local.npy --out sweep
    """
    if figure is not None:
        writable_target(figure, what="--figure", endings=FORMATS)
        for module in ("altair", "vl_convert"):
            needed(module, "--figure")
    loaded = Features.load(features)
    joined = answers.to_fit(loaded)
    local = None if local_features is None else Features.load(local_features)
    if (downstream is None) != (downstream_labels is None):
        raise ParameterError("--downstream and --downstream-labels go together; one of them is missing.")
    labelled = None
    if downstream is not None and downstream_labels is not None:
        images = Features.load(downstream)
        labelled = (images, load_labels(downstream_labels, len(images)))
    from glocal.aligner.chosen import warn_unused
    from glocal.aligner.profile import profile_of
    from glocal.sweep import Sweep

    warn_unused(changed(sweep, options), profile_of(options["profile"], solver=options["solver"]).solver)
    search = Sweep(**options, method=method)
    with _live_table() as progress, _named_again(out):
        search.fit(
            loaded, joined.triplets, local_features=local, downstream=labelled, out=out, resume=resume,
            keep_transforms=keep_transforms, scheduler=scheduler, progress=progress,
        )  # fmt: skip
    if figure is not None:
        save_figure(front_figure(out), figure)
    for line in _not_fitted(search.results_):
        say(line)
    if options["exchange"] is None and search.rule_ != options["select"]:
        say(search.reason_)
    unconverged = int((~search.results_["converged"].astype(bool)).sum())
    if "eta" in search.results_:
        ended = search.results_["status"].value_counts()
        say(
            f"of {len(search.results_)} points the stopping rule ended {ended.get('stalled', 0)}, "
            f"{ended.get('budget', 0)} spent their epochs, {ended.get('diverged', 0)} diverged; how far the optima lie "
            "below is not measured."
        )
    elif unconverged:
        say(f"warning: {unconverged} of {len(search.results_)} points are not converged; see points.jsonl.")
    if as_json:
        put_json({
            "points": len(search.results_), "evaluations": int(search.results_["evaluations"].sum()),
            "unconverged": unconverged, "best": search.best_, "rule": search.rule_, "reason": search.reason_,
            "n_dropped": joined.n_dropped,
            "out": str(out),
        })  # fmt: skip
        return
    _show(search, out)


@contextlib.contextmanager
def _named_again(out: Path) -> Iterator[None]:
    """Say where the points of an interrupted sweep are."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"finished points are kept in {out}.")
        raise


def _not_fitted(results: Any) -> Iterator[str]:
    """A sentence for every arm of which points lie at or beyond λ_max."""
    if "lambda_max" not in results:
        return
    trivial = results[results["lambda_max"].notna()]
    for method, points in trivial.groupby("method", sort=False):
        least, most = points["lambda_max"].min(), points["lambda_max"].max()
        yield (
            f"{method} at λ {', '.join(f'{value:g}' for value in sorted(points['lmbda'].unique()))} is not fitted on "
            f"every fold: from λ_max = {least:.3g} to {most:.3g} on, its optimum is W = 0."
        )


def _show(search: Any, out: Path) -> None:
    def mean(line: Any, metric: str) -> str:
        return f"{line[metric]:.3f} ± {line[metric + '_se']:.3f}"

    mixed = search.means_["mix"].nunique() > 1 or search.best_["mix"] != 1
    shown = [name for name in ("alpha", "lmbda", "tau", "mix", "eta") if name in search.front_]
    shown = [name for name in shown if name != "mix" or mixed]
    metrics = {"accuracy_cosine": "agreement", "neighbours_kept": "neighbours kept", "loss": "loss (nats)"}
    metrics |= {"accuracy_1nn": "1-NN downstream"} if "accuracy_1nn" in search.front_ else {}
    rows = []
    for _, line in search.front_.iterrows():
        setting = [str(line["method"]), *(_number(line[name]) for name in shown)]
        scores = [mean(line, metric) for metric in metrics]
        rows.append([*setting, *scores, "<- chosen" if line["chosen"] else ""])
    put_table(["front", *shown, *metrics.values(), ""], rows)
    put("", "means over folds ± standard error, on held-out objects and held-out local images")
    put(f"chosen: {search.reason_}")
    put(f"written to {out}: transform.npz (refitted on all objects), front.csv, means.csv, points.jsonl")


def _number(value: Any) -> str:
    return "" if value is None or math.isnan(value) else f"{value:g}"


@contextlib.contextmanager
def _live_table() -> Iterator[Callable[[dict[str, Any], int, int], None]]:
    """The last points as they are finished above a bar: live on a terminal, a line for every tenth elsewhere."""
    if not is_live():
        with progress_bar("points", lines=True) as tell:
            yield lambda row, done, total: tell(done, total)
        return
    from rich.console import Group
    from rich.table import Table

    from glocal.cli.live import bar, move, shown

    latest: deque[dict[str, Any]] = deque(maxlen=12)
    progress, task = bar("sweep", None, "points")
    with shown(progress) as show:

        def add(row: dict[str, Any], done: int, total: int) -> None:
            latest.append(row)
            columns = {key: head for key, head in _POINT.items() if key != "eta" or "eta" in row}
            table = Table(*columns.values())
            for line in latest:
                table.add_row(*(f"{line[c]:.3g}" if isinstance(line[c], float) else str(line[c]) for c in columns))
            move(progress, task, done, total, None)
            show(Group(table, progress))

        yield add
