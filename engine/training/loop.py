"""The training run: draws pairs, steps, averages, measures, and survives being stopped."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from engine.errors import EngineError
from engine.network.two_stream import TrainOutputs, TwoStreamNet
from engine.output.files import unwritable
from engine.training.checkpoint import (
    BEST_NAME,
    AveragedWeights,
    RunState,
    load_checkpoint,
    save_checkpoint,
    save_weights,
)
from engine.training.faces import FaceRecord
from engine.training.judge import FixedPairs, draw_fixed_pairs, measure
from engine.training.layout import lay_channels_last
from engine.training.losses import classification_loss, patch_loss, similarity_loss
from engine.training.pairs import Batch, PairRecipe, PairStream
from engine.training.precision import mixed_precision
from engine.training.schedule import Schedule


@dataclass(frozen=True)
class RunSettings:
    """One run. Times in seconds; ``similarity`` switches SSPSL on (needs a projection head)."""

    directory: Path
    schedule: Schedule
    pairs: int = 16  # a batch holds as many real faces and as many forgeries
    seed: int = 20231106
    weight_decay: float = 0.02
    head_rate: float = 3.0  # learning rate of what starts from random numbers, over that of the streams
    averaging: float = 0.998
    clip: float = 5.0
    patch_weight: float = 1.0
    cell_weight: float = 1.0
    forged_weight: float = 6.0  # of a forged cell against a real one, of which there are six for each
    similarity: bool = False
    workers: int = 1
    threads: int = 2
    validation_pairs: int = 60  # per method
    measure_every_s: float = 1500.0
    save_every_s: float = 300.0
    log_every: int = 50  # steps


class TrainingRun:
    """A run in a folder: ``last.pt`` to resume from, ``best.pt`` to ship, ``log.jsonl`` to read."""

    def __init__(
        self,
        network: TwoStreamNet,
        train: list[FaceRecord],
        val: list[FaceRecord],
        recipe: PairRecipe,
        run: RunSettings,
    ) -> None:
        torch.set_num_threads(run.threads)
        torch.manual_seed(run.seed)
        run.directory.mkdir(parents=True, exist_ok=True)
        self._run = run
        self._network = lay_channels_last(network).train()
        self._optimizer = torch.optim.AdamW(
            _parameter_groups(network, run.weight_decay, run.head_rate), lr=run.schedule.peak
        )
        self._averaged = AveragedWeights(network, run.averaging)
        self._state = load_checkpoint(run.directory, network, self._averaged, self._optimizer)
        # Judged under full degradation and in the picture's own light whatever is trained on, so that figures
        # of all runs compare.
        judged = replace(recipe, degradation=1.0, scene=0.0)
        self._fixed: FixedPairs = draw_fixed_pairs(val, judged, run.validation_pairs, run.seed)
        # Another seed after each resumption: the same pairs again would be no new data.
        self._stream = PairStream(train, recipe, run.pairs, run.seed + self._state.step)

    @property
    def network(self) -> TwoStreamNet:
        """The network that is being trained."""
        return self._network

    @property
    def state(self) -> RunState:
        """Steps, images, best figures and the curve so far."""
        return self._state

    def execute(self, on_log: Callable[[dict[str, float]], None] = lambda _: None) -> RunState:
        """Train until the schedule ends, or a file named ``stop`` appears in the folder.

        Raises Unavailable (OUTPUT_FAILED) where the folder cannot be written to, FloatingPointError for a
        loss that is not finite, and what kept a pair from being made, from whichever process.
        """
        loader = self._loader()
        saved = measured = started = time.monotonic()
        before = self._state.seconds
        sums: dict[str, float] = {}
        counted = 0
        for batch in loader:
            if self._state.step >= self._run.schedule.total or (self._run.directory / "stop").exists():
                break
            if isinstance(batch, EngineError):
                raise batch
            for name, value in self._step(batch).items():
                sums[name] = sums.get(name, 0.0) + value
            counted += 1
            now = time.monotonic()
            self._state.seconds = before + now - started
            if self._state.step % self._run.log_every == 0:
                self._log({k: v / counted for k, v in sums.items()}, on_log)
                sums, counted = {}, 0
            if now - measured > self._run.measure_every_s:
                self._measure(on_log)
                measured = time.monotonic()
            if now - saved > self._run.save_every_s:
                self._save()
                saved = time.monotonic()
        self._measure(on_log)
        self._save()
        return self._state

    def _loader(self) -> DataLoader[Batch | EngineError]:
        if not self._run.workers:
            return DataLoader(self._stream, batch_size=None)
        # Spawned, not forked: OpenCV's thread pool does not survive a fork and waits for ever.
        return DataLoader(
            self._stream,
            batch_size=None,
            num_workers=self._run.workers,
            prefetch_factor=4,
            multiprocessing_context="spawn",
        )

    def _step(self, batch: Batch) -> dict[str, float]:
        images, labels, patches = batch
        for group in self._optimizer.param_groups:
            group["lr"] = self._run.schedule.rate(self._state.step) * group["rate_factor"]
        pictures = (images.float() / 255.0).contiguous(memory_format=torch.channels_last)
        with mixed_precision():
            outputs: TrainOutputs = self._network.forward_train(pictures)
        terms = self._losses(outputs, labels, patches)
        total = torch.stack(list(terms.values())).sum()
        if not bool(torch.isfinite(total)):
            raise FloatingPointError(f"loss is not finite at step {self._state.step}: {terms}")
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._run.clip)
        self._optimizer.step()
        self._state.step += 1
        self._state.images += len(labels)
        self._averaged.update(self._network, self._state.step)
        return {name: float(value.detach()) for name, value in terms.items()}

    def _losses(self, outputs: TrainOutputs, labels: Tensor, patches: Tensor) -> dict[str, Tensor]:
        terms = {
            "class": classification_loss(outputs.logits, labels),
            "patch": self._run.patch_weight
            * patch_loss(outputs.patch_logits, patches, self._run.forged_weight),
        }
        if outputs.cell_logits is not None:
            coarse = functional.adaptive_avg_pool2d(patches[:, None], outputs.cell_logits.shape[-1])[:, 0]
            terms["cells"] = self._run.cell_weight * patch_loss(
                outputs.cell_logits, coarse, self._run.forged_weight
            )
        if self._run.similarity and outputs.projection is not None:
            similarity = similarity_loss(outputs.patch_logits, outputs.projection, labels, patches)
            if similarity is not None:
                terms["similarity"] = similarity.segmentation
                terms["projection"] = similarity.projection
        return terms

    def _measure(self, on_log: Callable[[dict[str, float]], None]) -> None:
        """Judge the averaged weights; keep those of the highest AUC over all methods as ``best.pt``."""
        kept = {k: v.clone() for k, v in self._network.state_dict().items()}
        self._network.load_state_dict(self._averaged.tensors)
        figures = measure(self._network, self._fixed)
        self._network.load_state_dict(kept)
        self._log(figures, on_log)
        self._state.curve.append({"step": float(self._state.step), "seconds": self._state.seconds, **figures})
        if figures["auc"] > self._state.best:
            self._state.best, self._state.best_step = figures["auc"], self._state.step
            # Before the weights themselves: a run that is killed in between finds them in its checkpoint. The
            # other way round it would forget that they are the best, and overwrite them with worse ones.
            self._save()
            save_weights(self._run.directory / BEST_NAME, self._averaged.tensors)

    def _save(self) -> None:
        save_checkpoint(self._run.directory, self._network, self._averaged, self._optimizer, self._state)

    def _log(self, figures: dict[str, float], on_log: Callable[[dict[str, float]], None]) -> None:
        line = {"step": float(self._state.step), "seconds": round(self._state.seconds, 1), **figures}
        place = self._run.directory / "log.jsonl"
        try:
            with place.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as fault:
            raise unwritable(place, fault.strerror or str(fault)) from fault
        on_log(line)


def _parameter_groups(network: TwoStreamNet, decay: float, head_rate: float) -> list[dict[str, object]]:
    """Two groups for the streams and two for the rest; norms, biases and scalars are not decayed."""
    groups: list[dict[str, object]] = []
    for in_streams, factor in ((True, 1.0), (False, head_rate)):
        chosen = [
            parameter
            for name, parameter in network.named_parameters()
            if parameter.requires_grad and name.startswith(("rgb.", "noise.")) == in_streams
        ]
        matrices, vectors = [p for p in chosen if p.ndim > 1], [p for p in chosen if p.ndim <= 1]
        groups.append({"params": matrices, "weight_decay": decay, "rate_factor": factor})
        groups.append({"params": vectors, "weight_decay": 0.0, "rate_factor": factor})
    return groups
