"""Where each array of a safetensors file lies, so that a graph can use it without a copy."""

import json
import struct
from pathlib import Path

from onnx import TensorProto

from engine.errors import BundleInvalid
from engine.results import RejectReason

_DTYPES = {"F32": TensorProto.FLOAT, "I64": TensorProto.INT64}


class SharedWeights:
    """The table of contents of one safetensors file, as external tensors of an ONNX graph beside it."""

    def __init__(self, path: Path) -> None:
        """Read the header alone. Raises BundleInvalid if it is not one."""
        self._file = path.name
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        self._data_start = 8 + length
        self._entries = {name: entry for name, entry in header.items() if name != "__metadata__"}

    def tensor(self, name: str) -> TensorProto:
        """Return a reference to one array. Raises BundleInvalid if the file has none of that name."""
        if name not in self._entries:
            raise BundleInvalid(
                RejectReason.MODEL_INVALID, f"{self._file} has no array {name}", "write the bundle again"
            )
        entry = self._entries[name]
        start, end = entry["data_offsets"]
        tensor = TensorProto(name=name, data_type=_DTYPES[entry["dtype"]], dims=entry["shape"])
        tensor.data_location = TensorProto.EXTERNAL
        places = {"location": self._file, "offset": self._data_start + start, "length": end - start}
        for key, value in places.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor
