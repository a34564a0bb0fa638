"""A backend that is loaded in a thread of its own while other work goes on."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from engine.arrays import F32, U8
from engine.backends.protocol import Backend, ladder_for
from engine.bundle import ModelBundle


class LateBackend:
    """Stands for a backend on the processor until it is loaded; only who needs an answer of it waits.

    A scan then looks at its input and decodes meanwhile: 85 ms of the first verdict, in which a second core
    had little to do. ``infer``, ``name`` and ``precision`` raise what loading has raised.
    """

    def __init__(self, bundle: ModelBundle, load: Callable[[], Backend]) -> None:
        """Begin to load. ``load`` gives a backend of the bundle with the sizes that suit a processor."""
        self.input_size = bundle.input_size
        self.grid = bundle.grid
        self.ladder = ladder_for(bundle)
        pool = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._loading = pool.submit(load)
        pool.shutdown(wait=False)

    @property
    def name(self) -> str:
        """Return the engine's name once it is loaded."""
        return self._loading.result().name

    @property
    def precision(self) -> str:
        """Return the arithmetic that it computes in once it is loaded."""
        return self._loading.result().precision

    def infer(self, crops: U8) -> tuple[F32, F32 | None]:
        """Score crops as the protocol says."""
        return self._loading.result().infer(crops)
