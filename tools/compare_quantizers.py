"""Our INT8 and onnxruntime's static quantisation of the same float models, side by side.

Both get the same calibration samples and are judged on others: signal-to-noise ratio of the outputs
against the float model's (onnxruntime's float32), in dB, and how often the largest output is the
same one. onnxruntime quantises to QDQ form with int8 activations and per-channel int8 weights, by
min-max, entropy and percentile; the best of its methods is what ours is held against. Its model
runs without graph optimisations, in which each QDQ pair is computed as it is written: its fused
kernels saturate int16 on x86 without VNNI, and the figures would be the machine's, not the
quantiser's.

    python tools/compare_quantizers.py                      # the five models of real_samples.py
    python tools/compare_quantizers.py kws --samples 200
    python tools/compare_quantizers.py model.onnx --data samples.npz

Needs the environment of `tools/dev.py`, and scikit-image for pictures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import edgeinfer
from edgeinfer.cli.progress import Progress
from edgeinfer.convert import convert
from edgeinfer.convert.frontends import read
from edgeinfer.convert.passes import run_passes
from edgeinfer.printing import format_table, print_json

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.onnx_of_graph import onnx_of_graph
from tools.real_samples import MODEL_FILES, samples_of

METHODS = ("MinMax", "Entropy", "Percentile")


def main(arguments: Sequence[str] | None = None) -> int:
    """Quantise, run, print; 1 where onnxruntime's best is ahead on a model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help=f"{', '.join(MODEL_FILES)}, or a .onnx file"
    )
    parser.add_argument("--data", type=Path, help=".npz or .npy of samples for a .onnx file")
    parser.add_argument("--samples", type=int, default=128, help="for calibration (default 128)")
    parser.add_argument("--judged", type=int, default=256, help="others to judge on (default 256)")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder, Progress() as progress:
        for name in options.models or list(MODEL_FILES):
            path, samples = _model(name, options, Path(folder))
            rows.append(compare(path, samples, options.samples, progress.count))
    if options.json:
        print_json(rows)
    else:
        columns = list(rows[0])
        print(format_table(columns, [[str(row[column]) for column in columns] for row in rows]))
    return int(any(row["ours, dB"] < row["onnxruntime, dB"] for row in rows))


def _model(name: str, options: argparse.Namespace, folder: Path) -> tuple[Path, np.ndarray]:
    count = options.samples + options.judged
    if name in MODEL_FILES:
        return _as_onnx(MODEL_FILES[name], folder), samples_of(name, count)
    if options.data is None:
        raise SystemExit(f"{name} is no network of this tool's; a file needs --data")
    loaded = np.load(options.data)
    samples = loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]
    return Path(name), samples[:count]


def _as_onnx(path: Path, folder: Path) -> Path:
    """The model as a .onnx file, so that both quantisers start from the same one."""
    if path.suffix == ".onnx":
        return path
    graph = read("tflite", path.read_bytes(), path.stem)
    run_passes(graph)
    target = folder / f"{path.stem}.onnx"
    target.write_bytes(onnx_of_graph(graph).SerializeToString())
    return target


def compare(
    path: Path, samples: np.ndarray, count: int, progress: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Quantise with the first `count` samples, judge on the others."""
    import onnxruntime

    used, judged = samples[:count], samples[count:]
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    expected = _outputs(session, judged)
    conversion = convert(path, calibration=used, held_out=0.0, progress=progress)
    with edgeinfer.load(conversion.data) as model:
        ours = np.stack([np.asarray(model.run(x)).reshape(-1) for x in judged])
    theirs = {method: _quantized_outputs(path, used, judged, method) for method in METHODS}
    best = max(METHODS, key=lambda method: sqnr(expected, theirs[method]))
    assert conversion.quantized is not None
    return {
        "model": path.stem,
        "ours, dB": round(sqnr(expected, ours), 1),
        "onnxruntime, dB": round(sqnr(expected, theirs[best]), 1),
        **{f"{method}, dB": round(sqnr(expected, theirs[method]), 1) for method in METHODS},
        "our top-1": f"{_agreement(expected, ours):.1%}",
        "their top-1": f"{_agreement(expected, theirs[best]):.1%}",
        "our method": conversion.quantized.ranges.method,
    }


def sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    """10 log10 of the power of the signal over that of the difference, over all values."""
    noise = float(((expected.astype(np.float64) - found) ** 2).sum())
    return 10 * float(np.log10(float((expected.astype(np.float64) ** 2).sum()) / noise))


def _agreement(expected: np.ndarray, found: np.ndarray) -> float:
    return float((expected.argmax(axis=1) == found.argmax(axis=1)).mean())


def _outputs(session: Any, samples: np.ndarray) -> np.ndarray:
    name = session.get_inputs()[0].name
    return np.stack([session.run(None, {name: x})[0].reshape(-1) for x in samples])


def _quantized_outputs(path: Path, used: np.ndarray, judged: np.ndarray, method: str) -> np.ndarray:
    """The judged samples through onnxruntime's INT8 model."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = onnx.load(path).graph.input[0].name

    class Reader(CalibrationDataReader):
        """Hands the samples to the quantiser one at a time."""

        def __init__(self) -> None:
            self._feeds: Iterator[dict[str, np.ndarray]] = ({name: x} for x in used)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared, target = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, method),
        )
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(
            target.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        return _outputs(session, judged)


if __name__ == "__main__":
    sys.exit(main())
