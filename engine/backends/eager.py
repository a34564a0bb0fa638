"""PyTorch as it is, for parity and development: it needs no graph, only the weights."""

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from engine.arrays import F32, U8
from engine.backends.protocol import check_crops, ladder_for
from engine.bundle import WEIGHTS, ModelBundle
from engine.errors import BackendFailed, BundleInvalid
from engine.network.two_stream import TwoStreamNet
from engine.network.variants import BUILDERS
from engine.results import RejectReason


class TorchBackend:
    """Runs the network itself on the CPU, float32. ``threads`` is set for the whole process."""

    def __init__(self, bundle: ModelBundle, *, threads: int, triage: bool = False) -> None:
        """Build the network and load its weights. Raises BundleInvalid if they do not fit."""
        self._net = load_network(bundle).eval()
        self._triage = triage
        torch.set_num_threads(threads)
        self.name = "torch"
        self.precision = "f32"
        self.input_size = bundle.input_size
        self.grid = bundle.grid
        self.ladder = ladder_for(bundle)
        self.version = str(torch.__version__)

    def infer(self, crops: U8) -> tuple[F32, F32 | None]:
        """Score crops as the protocol says."""
        check_crops(crops, self.input_size)
        # torch refuses to wrap read-only memory, such as a slab of the decoder.
        tensor = torch.from_numpy(crops if crops.flags.writeable else crops.copy())
        try:
            with torch.inference_mode():
                if self._triage:
                    return self._net.class_logits(tensor).numpy(), None
                logits, patches = self._net.forward(tensor)
        except RuntimeError as fault:  # what torch raises, out of memory included
            raise BackendFailed(
                RejectReason.ENGINE_UNAVAILABLE,
                f"torch stopped on {len(crops)} crops: {fault}",
                "free memory or use --engine onnxruntime, then try again",
            ) from fault
        return logits.numpy(), patches.numpy()


def load_network(bundle: ModelBundle) -> TwoStreamNet:
    """Build the network of a bundle with its weights. Raises BundleInvalid if they do not fit."""
    build = BUILDERS.get(bundle.network)
    if build is None:
        raise _invalid(bundle, f"network {bundle.network!r} is not one of {', '.join(BUILDERS)}")
    net = build(projection=bundle.has_projection)
    try:
        net.load_state_dict(load(bundle.path(WEIGHTS).read_bytes()))
    except (SafetensorError, RuntimeError) as fault:
        raise _invalid(bundle, f"its weights do not fit: {fault}") from fault
    return net


def _invalid(bundle: ModelBundle, seen: str) -> BundleInvalid:
    return BundleInvalid(
        RejectReason.MODEL_INVALID, f"{bundle.name}: {seen}", "import or train the model again"
    )
