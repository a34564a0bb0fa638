"""``fakesieve train``: trains lv-compact on real faces and the forgeries made from them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from engine.build.checkpoint import load_torch_file
from engine.errors import BundleInvalid
from engine.network.two_stream import TwoStreamNet
from engine.network.variants import build_lv_compact, initialise_from_imagenet
from engine.results import RejectReason
from engine.training.allocator import keep_heap
from engine.training.checkpoint import load_weights
from engine.training.face_space import fit_face_space
from engine.training.faces import LANDMARKS_NAME, FaceRecord
from engine.training.forge import ForgeryMethod
from engine.training.index import INDEX_NAME, SPLITS
from engine.training.loop import RunSettings, TrainingRun
from engine.training.pairs import PairRecipe
from engine.training.prepare import read_split
from engine.training.redraw import fit_redrawer
from engine.training.schedule import Schedule
from engine.training.starts import note_start

_REDRAWER = "redraw.pt"


def build_start(seed: int, imagenet: Path | None, weights: Path | None, *, similarity: bool) -> TwoStreamNet:
    """Return the network that a run begins with; the same seed gives the same random weights."""
    torch.manual_seed(seed)
    network = build_lv_compact(projection=similarity)
    if imagenet is not None:
        _start_from_imagenet(network, imagenet)
    if weights is not None:
        load_weights(network, weights)
    return network


def _start_from_imagenet(network: TwoStreamNet, imagenet: Path) -> None:
    load_torch_file(imagenet)  # refuses what torch cannot read
    try:
        initialise_from_imagenet(network, imagenet)
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as fault:
        seen, hint = (
            f"{imagenet} holds no weights of EfficientNet-Lite0",
            "see docs/howto/train.md, Where to start",
        )
        raise BundleInvalid(RejectReason.MODEL_INVALID, seen, hint) from fault


def _prepare_recipe(
    network: TwoStreamNet,
    faces: list[FaceRecord],
    settings: RunSettings,
    imagenet: Path | None,
    redrawn: float,
) -> PairRecipe:
    """Return how pairs of the network's size are made, with what is fitted once for a run.

    ``redrawn`` is the share of forgeries that a network draws, which is trained here if there is none yet.
    """
    out, seed = settings.directory, settings.seed
    redrawer = out / _REDRAWER
    if redrawn and imagenet is not None:
        fit_redrawer(faces, imagenet, redrawer, seed, on_log=_print_line)
    recipe = PairRecipe(
        size=network.sizes.input_px,
        grid=network.sizes.grid,
        face_space=fit_face_space(faces, out / "faces.npz", seed),
        redrawer=redrawer if redrawer.exists() else None,
    )
    return recipe.with_share(ForgeryMethod.REDRAWN, redrawn)


def _execute(run: TrainingRun, settings: RunSettings) -> None:
    try:
        run.execute(_print_line)
    except FloatingPointError as fault:
        hint = f"give a lower --rate than {settings.schedule.peak}; the run goes on from what it saved last"
        raise BundleInvalid(RejectReason.MODEL_INVALID, str(fault), hint) from fault


def _print_line(figures: dict[str, float]) -> None:
    typer.echo(json.dumps(figures), err=True)


def train(
    data: Annotated[Path, typer.Argument(help="Folder with index.csv, landmarks68.npz and the pictures.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the run; a run found there is resumed.")],
    imagenet: Annotated[
        Path | None,
        typer.Option(help="EfficientNet-Lite0 weights to start from, and to draw forgeries by."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="lv-compact weights to start from.")] = None,
    steps: Annotated[int, typer.Option(help="Last step of the run.", min=0)] = 20_000,
    cooldown: Annotated[
        int, typer.Option(help="Steps at the end over which the rate falls to 0.", min=0)
    ] = 1_000,
    rate: Annotated[
        float, typer.Option(help="Learning rate between warm-up and cool-down.", min=1e-9)
    ] = 4e-4,
    pairs: Annotated[int, typer.Option(help="Real faces per step, each with one forgery.", min=1)] = 16,
    threads: Annotated[int, typer.Option(help="Threads of the network.", min=1)] = 2,
    workers: Annotated[int, typer.Option(help="Processes that make pairs; 0: none but this one.", min=0)] = 1,
    similarity: Annotated[bool, typer.Option("--similarity", help="Add patch similarity learning.")] = False,
    degradation: Annotated[
        float, typer.Option(help="Share of degraded pairs: 0 none, 1 most.", min=0.0, max=1.0)
    ] = 1.0,
    redrawn: Annotated[
        float,
        typer.Option(
            help="Share of forgeries that a network draws; it needs --imagenet once.", min=0.0, max=0.99
        ),
    ] = 0.0,
    scene: Annotated[
        float, typer.Option(help="Share of pairs in other light or tilted.", min=0.0, max=1.0)
    ] = 0.0,
    averaging: Annotated[
        float, typer.Option(help="Weight of the past in the averaged weights.", min=0.0, max=1.0)
    ] = 0.998,
    seed: Annotated[int, typer.Option(help="Seed of pairs, weights and order.", min=0)] = 20231106,
) -> None:
    """Train until the last step, or until a file named ``stop`` appears in the run's folder."""
    if redrawn and imagenet is None and not (out / _REDRAWER).exists():
        raise typer.BadParameter("--redrawn needs --imagenet, by whose features the faces are drawn")
    if cooldown > steps:
        raise typer.BadParameter(f"--cooldown {cooldown} is longer than the run of --steps {steps}")
    keep_heap()
    split = {name: read_split(data, out / "boxes.npz", name) for name in SPLITS}
    network = build_start(seed, imagenet, weights, similarity=similarity)
    settings = RunSettings(
        directory=out,
        schedule=Schedule(peak=rate, warmup=200, total=steps, cooldown=cooldown),
        pairs=pairs,
        seed=seed,
        averaging=averaging,
        similarity=similarity,
        workers=workers,
        threads=threads,
    )
    recipe = _prepare_recipe(network, split["train"], settings, imagenet, redrawn)
    recipe = replace(recipe, degradation=degradation, scene=scene)
    run = TrainingRun(network, split["train"], split["val"], recipe, settings)
    given = {"imagenet": imagenet, "weights": weights, "index": data / INDEX_NAME}
    fitted = {"landmarks": data / LANDMARKS_NAME, "boxes": out / "boxes.npz"}
    note_start(settings, recipe, run.state.step, given | fitted)
    _execute(run, settings)
