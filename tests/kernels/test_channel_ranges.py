"""Convolutions and fully connected layers computed in ranges of output channels give the bits of
the scalar kernel that computes them all, on every tier, and touch no other channel."""

from __future__ import annotations

import itertools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cffi import FFI
from hypothesis import given

from edgeinfer.convert.lower import pack
from tests.kernels.conv_cases import Quantization, Window, draw_quantization, draw_window
from tests.kernels.draw import Draw, seeds
from tests.kernels.run_operation import supported_tiers
from tests.requirements import require_c_compiler

FAMILIES = [f"{op}_{x}_s8c" for op in ("conv2d", "fully_connected") for x in ("s8", "s16")]
UNTOUCHED = 77
OUT_CHANNELS = [16, 17, 30, 33, 48, 64, 70, 112, 130]


@dataclass(frozen=True)
class Kernels:
    """The kernels by themselves, and the tiers that this CPU can run."""

    ffi: FFI
    lib: Any
    tiers: list[str]

    def of(self, family: str) -> dict[str, Any]:
        """The versions of a family, by tier."""
        found = {tier: getattr(self.lib, f"ei_{family}_{tier}", None) for tier in self.tiers}
        return {tier: function for tier, function in found.items() if function is not None}


def declarations(header: Path) -> str:
    """Structs and functions of a kernel's header, without function types and inline functions."""
    text = header.read_text()
    structs = re.findall(r"^typedef struct \w+ \{.*?^\} \w+;", text, re.M | re.S)
    functions = re.findall(r"^void \w+\(const ei_\w+_args [^{]*?\);", text, re.M | re.S)
    return "\n".join([*structs, *functions])


@pytest.fixture(scope="module")
def kernels(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """Compiled as CMake does, but with their names visible."""
    compiler = require_c_compiler()
    folder = tmp_path_factory.mktemp("kernels")
    rows = re.findall(
        r'^  "(\w+)\|(.*)\|(.*)"$', (repo_root / "cmake/kernel_tiers.cmake").read_text(), re.M
    )
    flags = {tier: options.split() for tier, _, options in rows}
    tiers = supported_tiers()
    if "avx512vnni" in tiers and "avxvnni" not in tiers:
        flags["avxvnni"] = [*flags["avx512vnni"], "-DEI_AVXVNNI_AS_EVEX=1"]
        tiers.append("avxvnni")
    csrc = repo_root / "csrc"
    objects = []
    sources = [csrc / "kernels" / "packed_tile_scalar.c"]
    for folder_name in (*FAMILIES, "packed_gemm"):
        sources += sorted((csrc / "kernels" / folder_name).glob("*.c"))
    for path in sources:
        tier = path.stem.rpartition("_")[2]
        if tier not in tiers:
            continue
        objects.append(folder / f"{path.stem}.o")
        command = [compiler, "-std=c11", "-O2", "-fPIC", "-ffp-contract=off", *flags[tier]]
        command += ["-I", csrc, "-c", path, "-o", objects[-1]]
        subprocess.run(command, check=True)
    library = folder / "kernels.so"
    subprocess.run([compiler, "-shared", *objects, "-o", library], check=True)
    ffi = FFI()
    for name in (
        "rows",
        "requantize",
        "window",
        "packed_tile",
        *(f"{family}/{family}" for family in FAMILIES),
    ):
        ffi.cdef(declarations(csrc / "kernels" / f"{name}.h"))
    return Kernels(ffi, ffi.dlopen(str(library)), tiers)


def pointer(kernels: Kernels, ctype: str, array: np.ndarray, first: int = 0) -> Any:
    """The address of element `first` of a flat array that outlives the call."""
    return kernels.ffi.cast(ctype, array.ctypes.data + first * array.itemsize)


def rows_of(array: np.ndarray, rows: int, ffi_pointer: Any) -> dict[str, Any]:
    row_bytes = array.nbytes // rows
    return {"base": ffi_pointer, "rows": rows, "ring": rows, "row_bytes": row_bytes}


@dataclass(frozen=True)
class Layer:
    """A convolution, or a fully connected layer where `window` is None."""

    q: Quantization
    x: np.ndarray
    weights: np.ndarray  # packed
    bias: np.ndarray  # packed, the zero point folded in
    multiplier: np.ndarray  # packed
    zero: np.ndarray | None
    window: Window | None
    channels: int
    out_shape: tuple[int, ...]  # of all but channels

    @property
    def family(self) -> str:
        op = "conv2d" if self.window else "fully_connected"
        return f"{op}_{'s8' if self.q.dtype == 'int8' else 's16'}_s8c"

    def compute(self, kernels: Kernels, function: Any, ranges: list[tuple[int, int]]) -> np.ndarray:
        """y, of which only these ranges of channels are computed."""
        y = np.full((*self.out_shape, self.channels), UNTOUCHED, self.q.dtype)
        low, high = self.q.clamp
        rows = int(np.prod(self.out_shape[:-1]))
        wide = "int64_t *" if self.q.dtype == "int16" else "int32_t *"
        for begin, end in ranges:
            fields: dict[str, Any] = {
                "x": rows_of(self.x, self.x.size // self.x[0, 0].size, self.x_base(kernels)),
                "y": rows_of(y, rows, pointer(kernels, "uint8_t *", y, begin)),
                "weights": pointer(
                    kernels, "int8_t *", self.weights, begin // 16 * self.weights[0].size
                ),
                "bias": pointer(kernels, wide, self.bias, begin),
                "multiplier": pointer(kernels, "float *", self.multiplier, begin),
                "y_step": self.channels,
                "requant": [self.q.y_zero_point, low, high],
            }
            if self.window is None:
                fields |= {"vectors": self.x.shape[-2], "k": self.x.shape[-1], "n": end - begin}
            else:
                fields |= {"window": self.c_window(end - begin), "groups": 1}
                if self.zero is not None:
                    fields["zero"] = pointer(kernels, f"{self.q.dtype}_t *", self.zero)
            function(kernels.ffi.new(f"ei_{self.family}_args *", fields), 0, rows)
        return y

    def x_base(self, kernels: Kernels) -> Any:
        return pointer(kernels, "uint8_t *", self.x)

    def c_window(self, channels: int) -> dict[str, int]:
        assert self.window is not None
        (in_h, in_w), (out_h, out_w) = self.window.image, self.window.out
        image = {"in_h": in_h, "in_w": in_w, "in_c": self.x.shape[-1]}
        params = {name: int(value) for name, value in self.window.params().items()}
        return {**image, "out_h": out_h, "out_w": out_w, "out_c": channels, **params}


def draw_layer(draw: Draw) -> Layer:
    q, channels = draw_quantization(draw), draw.choice(OUT_CHANNELS)
    depth = draw.choice([1, 3, 4, 8, 17, 40])
    bias_dtype = "int32" if q.dtype == "int8" else "int64"
    if draw.flag():
        window = draw_window(draw)
        x = q.activation((window.batch, *window.image, depth))
        weights = q.weights((channels, *window.kernel, depth))
        packed = pack.pack_conv2d(weights, 1, window.dilations[1])
        zero = pack.zero_row(x.shape[2], x.shape[3], q.x_zero_point, q.dtype)
        out_shape: tuple[int, ...] = (window.batch, *window.out)
    else:
        window, zero = None, None
        out_shape = (1, draw.integer(1, 3), draw.integer(1, 20))
        x = q.activation((*out_shape, depth))
        weights = q.weights((channels, depth))
        packed = pack.pack_fully_connected(weights)
    bias = pack.fold_zero_point(q.bias(channels), weights, q.x_zero_point, bias_dtype)
    scale = q.rng().uniform(1e-4, 1e-2, channels).astype(np.float32)
    tiles = -(-channels // 16)
    return Layer(
        q, x, packed.reshape(tiles, -1), pack.pack_channels(bias, 1), pack.pack_channels(scale, 1),
        zero, window, channels, out_shape,
    )  # fmt: skip


def draw_ranges(draw: Draw, channels: int) -> list[tuple[int, int]]:
    """Consecutive ranges of whole tiles, all but the last."""
    starts = sorted({16 * draw.integer(0, (channels - 1) // 16) for _ in range(3)} | {0})
    return list(itertools.pairwise([*starts, channels]))


@given(seeds)
def test_ranges_of_channels(kernels: Kernels, seed: int) -> None:
    draw = Draw(seed)
    layer = draw_layer(draw)
    ranges = draw_ranges(draw, layer.channels)
    alone = draw.choice(ranges)
    versions = kernels.of(layer.family)
    expected = layer.compute(kernels, versions["scalar"], [(0, layer.channels)])
    for tier, function in versions.items():
        result = layer.compute(kernels, function, ranges)
        np.testing.assert_array_equal(result, expected, err_msg=f"{tier}: {ranges}")
        only = np.full_like(expected, UNTOUCHED)
        only[..., slice(*alone)] = expected[..., slice(*alone)]
        result = layer.compute(kernels, function, [alone])
        np.testing.assert_array_equal(result, only, err_msg=f"{tier}: only {alone}")
