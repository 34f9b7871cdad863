"""Matrix products of ggml, llama.cpp's library: its quantised weights by float32, by ctypes.

The shared libraries are those that `pip install llama-cpp-python` builds, or those of a folder: a
build of llama.cpp with BUILD_SHARED_LIBS has them in build/bin. Nothing else of either is used.

Weights are stored as llama.cpp stores a model's: in the first kind of memory that takes them, of
accelerators, then of the CPU's extra ones, where ggml repacks them for its faster kernels, then in
its plain form. A product is one graph that is built beforehand and computed again and again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import c_bool, c_char_p, c_int, c_int64, c_size_t, c_void_p
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

TYPES = {"f32": 0, "q4_0": 2, "q4_K": 12, "mxfp4": 39, "nvfp4": 40}
"""ggml_type, by ggml's names. Files hold these numbers, so they stay."""

_CPU, _ACCELERATOR = 0, 3  # ggml_backend_dev_type, of which all between are GPUs
_LIBRARY = "libggml.so"
_DISTINCT_ROWS = 64
_LEAST_COSINE = 0.97  # of products by four-bit weights with those by the floats they were made of


@ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)
def _say_nothing(level: int, text: bytes, data: int | None) -> None:
    """For ggml's log, which has a line for every matrix."""


class _InitParams(ctypes.Structure):
    _fields_ = (("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool))


_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "ggml_backend_alloc_ctx_tensors": (c_void_p, [c_void_p, c_void_p]),
    "ggml_backend_alloc_ctx_tensors_from_buft": (c_void_p, [c_void_p, c_void_p]),
    "ggml_backend_buffer_free": (None, [c_void_p]),
    "ggml_backend_buft_name": (c_char_p, [c_void_p]),
    "ggml_backend_dev_backend_reg": (c_void_p, [c_void_p]),
    "ggml_backend_dev_buffer_type": (c_void_p, [c_void_p]),
    "ggml_backend_dev_by_type": (c_void_p, [c_int]),
    "ggml_backend_dev_count": (c_size_t, []),
    "ggml_backend_dev_get": (c_void_p, [c_size_t]),
    "ggml_backend_dev_init": (c_void_p, [c_void_p, c_char_p]),
    "ggml_backend_dev_type": (c_int, [c_void_p]),
    "ggml_backend_free": (None, [c_void_p]),
    "ggml_backend_graph_compute": (c_int, [c_void_p, c_void_p]),
    "ggml_backend_load_all_from_path": (None, [c_char_p]),
    "ggml_backend_reg_get_proc_address": (c_void_p, [c_void_p, c_char_p]),
    "ggml_backend_supports_op": (c_bool, [c_void_p, c_void_p]),
    "ggml_backend_tensor_get": (None, [c_void_p, c_void_p, c_size_t, c_size_t]),
    "ggml_backend_tensor_set": (None, [c_void_p, c_void_p, c_size_t, c_size_t]),
    "ggml_build_forward_expand": (None, [c_void_p, c_void_p]),
    "ggml_free": (None, [c_void_p]),
    "ggml_graph_overhead": (c_size_t, []),
    "ggml_init": (c_void_p, [_InitParams]),
    "ggml_log_set": (None, [c_void_p, c_void_p]),
    "ggml_mul_mat": (c_void_p, [c_void_p, c_void_p, c_void_p]),
    "ggml_nbytes": (c_size_t, [c_void_p]),
    "ggml_new_graph": (c_void_p, [c_void_p]),
    "ggml_new_tensor_2d": (c_void_p, [c_void_p, c_int, c_int64, c_int64]),
    "ggml_quantize_chunk": (
        c_size_t,
        [c_int, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p],
    ),
    "ggml_tensor_overhead": (c_size_t, []),
    "ggml_version": (c_char_p, []),
}


def installed_folder() -> Path:
    """Where llama-cpp-python has ggml's libraries.

    Raises
    ------
    ImportError
        It is not installed.
    """
    spec = find_spec("llama_cpp")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place) / "lib"
        if (folder / _LIBRARY).exists():
            return folder
    raise ImportError("no ggml: pip install llama-cpp-python, or name a folder with libggml.so")


class Ggml:
    """The library of a folder.

    Raises
    ------
    OSError
        It cannot be loaded, or lacks a function or a CPU.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        library = ctypes.CDLL(str((folder / _LIBRARY).resolve()))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name, None)
            if function is None:
                raise OSError(f"{folder / _LIBRARY} has no {name}: too old, or too new")
            function.restype, function.argtypes = result, arguments
        self.call: Any = library
        library.ggml_log_set(ctypes.cast(_say_nothing, c_void_p), None)
        if not library.ggml_backend_dev_by_type(_CPU):  # its CPUs are libraries of their own
            library.ggml_backend_load_all_from_path(str(folder).encode())
        self.device = library.ggml_backend_dev_by_type(_CPU)
        if not self.device:
            raise OSError(f"{folder / _LIBRARY} knows no CPU")
        self.version = library.ggml_version().decode()

    def has(self, kind: str) -> bool:
        """Whether it knows a type; asked for one that it does not know, ggml ends the process."""
        names = kind.encode() + b"\0"
        return any(names in path.read_bytes() for path in self._folder.glob("libggml-base.so*"))

    def kinds_of_memory(self) -> Iterator[int]:
        """For weights, in llama.cpp's order."""
        for i in range(self.call.ggml_backend_dev_count()):
            device = self.call.ggml_backend_dev_get(i)
            if self.call.ggml_backend_dev_type(device) == _ACCELERATOR:
                yield self.call.ggml_backend_dev_buffer_type(device)
        found = self.of_the_cpu("ggml_backend_dev_get_extra_bufts", c_void_p, c_void_p)
        extra = found(self.device) if found is not None else None
        for kind in ctypes.cast(extra, ctypes.POINTER(c_void_p)) if extra else ():
            if not kind:
                break
            yield kind
        yield self.call.ggml_backend_dev_buffer_type(self.device)

    def of_the_cpu(self, name: str, result: Any, *arguments: Any) -> Any:
        """A function that only the CPU's part has, None if it does not."""
        registry = self.call.ggml_backend_dev_backend_reg(self.device)
        address = self.call.ggml_backend_reg_get_proc_address(registry, name.encode())
        return ctypes.CFUNCTYPE(result, *arguments)(address) if address else None

    def context(self, tensors: int, graphs: int = 0) -> int:
        """Room for the descriptions of tensors, not for their data."""
        size = tensors * self.call.ggml_tensor_overhead() + graphs * self.call.ggml_graph_overhead()
        made = self.call.ggml_init(_InitParams(size, None, True))
        if not made:
            raise MemoryError(f"ggml has no room for {tensors} tensors")
        return int(made)

    def quantized(self, kind: str, values: np.ndarray) -> np.ndarray:
        """The bytes of float32 [rows, k] in a type, by ggml's own quantiser."""
        rows, k = values.shape
        values = np.ascontiguousarray(values, np.float32)
        room = np.empty(values.nbytes, np.uint8)
        source, target = values.ctypes.data, room.ctypes.data
        size = self.call.ggml_quantize_chunk(TYPES[kind], source, target, 0, rows, k, None)
        return room[:size]


class Product:
    """Vectors [batch, k] through `layers` matrices, [n, k] or all square.

    Raises
    ------
    ValueError
        ggml does not know the type, or what it computes is not the product.
    """

    def __init__(
        self, ggml: Ggml, kind: str, *, batch: int, k: int, n: int, layers: int, threads: int
    ) -> None:
        if not ggml.has(kind):
            raise ValueError(f"ggml {ggml.version} has no {kind}")
        self._ggml, self._call = ggml, ggml.call
        self._contexts: list[int] = []
        self._buffers: list[int] = []
        self._backend = self._call.ggml_backend_dev_init(ggml.device, None)
        set_threads = ggml.of_the_cpu("ggml_backend_set_n_threads", None, c_void_p, c_int)
        set_threads(self._backend, threads)
        for memory in ggml.kinds_of_memory():
            self._describe(kind, batch, k, n, layers)
            if self._allocate(memory):
                break
            self._release()
        self.memory = self._call.ggml_backend_buft_name(memory).decode()
        rng = np.random.default_rng(0)
        values = (rng.standard_normal((min(n, _DISTINCT_ROWS), k)) / np.sqrt(k)).astype(np.float32)
        repeats = -(-n // len(values))
        rows = ggml.quantized(kind, values).reshape(len(values), -1)
        data = np.ascontiguousarray(np.tile(rows, (repeats, 1))[:n])
        for w in self._weights:
            self._call.ggml_backend_tensor_set(w, data.ctypes.data, 0, data.nbytes)
        self.weight_bytes = layers * data.nbytes
        x = rng.standard_normal((batch, k)).astype(np.float32)
        self._call.ggml_backend_tensor_set(self._x, x.ctypes.data, 0, x.nbytes)
        self.run()
        self._check(x, np.tile(values, (repeats, 1))[:n])

    @property
    def repacked(self) -> bool:
        """Whether the weights lie in a form of the CPU's own."""
        plain = self._call.ggml_backend_dev_buffer_type(self._ggml.device)
        return bool(self.memory != self._call.ggml_backend_buft_name(plain).decode())

    def run(self) -> None:
        """Compute it once more."""
        if self._call.ggml_backend_graph_compute(self._backend, self._graph):
            raise RuntimeError("ggml could not compute the graph")

    def close(self) -> None:
        """Give the memory back."""
        self._release()
        self._call.ggml_backend_free(self._backend)

    def _describe(self, kind: str, batch: int, k: int, n: int, layers: int) -> None:
        call = self._call
        of_weights = self._ggml.context(layers)
        self._weights = [
            call.ggml_new_tensor_2d(of_weights, TYPES[kind], k, n) for _ in range(layers)
        ]
        others = self._ggml.context(1 + layers, graphs=1)
        self._contexts = [of_weights, others]
        current = self._x = call.ggml_new_tensor_2d(others, TYPES["f32"], k, batch)
        self._products = []
        for w in self._weights:
            current = call.ggml_mul_mat(others, w, current)
            self._products.append(current)
        self._graph = call.ggml_new_graph(others)
        call.ggml_build_forward_expand(self._graph, current)

    def _allocate(self, memory: int) -> bool:
        """Memory for all tensors; whether products can be computed from weights in this kind."""
        call = self._call
        of_weights, others = self._contexts
        made = [
            call.ggml_backend_alloc_ctx_tensors_from_buft(of_weights, memory),
            call.ggml_backend_alloc_ctx_tensors(others, self._backend),
        ]
        self._buffers = [buffer for buffer in made if buffer]
        return len(self._buffers) == 2 and all(
            call.ggml_backend_supports_op(self._backend, y) for y in self._products
        )

    def _release(self) -> None:
        for buffer in self._buffers:
            self._call.ggml_backend_buffer_free(buffer)
        for context in self._contexts:
            self._call.ggml_free(context)
        self._buffers, self._contexts = [], []

    def _check(self, x: np.ndarray, weights: np.ndarray) -> None:
        y = np.empty((len(x), len(weights)), np.float32)
        self._call.ggml_backend_tensor_get(self._products[0], y.ctypes.data, 0, y.nbytes)
        expected = x @ weights.T
        cosine = float((y * expected).sum() / np.linalg.norm(y) / np.linalg.norm(expected))
        if not cosine >= _LEAST_COSINE:
            raise ValueError(f"ggml's products have cosine {cosine:.3f} to what they should be")
