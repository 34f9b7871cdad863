"""A custom operator in Python: keep the peaks of a heat map.

Detectors that answer in heat maps (CenterNet, key points) end in it: a value stays where it is the
largest of its neighbourhood and at least `threshold`, and becomes 0 elsewhere.

    edgeinfer convert heatmap.onnx --custom-ops peak_filter.py
    edgeinfer run heatmap.edge x.npy --custom-ops peak_filter.py

In a program: ``edgeinfer.load_custom_ops("peak_filter.py")``, or import it.
"""

import edgeinfer


@edgeinfer.custom_op(
    "PeakFilter",
    "void(float32[:, :, :, :], float32[:, :, :, :], float64, int64)",
    attributes={"threshold": 0.5, "radius": 1},
)
def peak_filter(x, y, threshold, radius):
    """Images are NCHW, as in the ONNX model."""
    images, channels, height, width = x.shape
    for n in range(images):
        for c in range(channels):
            for row in range(height):
                for column in range(width):
                    value = x[n, c, row, column]
                    is_peak = value >= threshold
                    for i in range(max(row - radius, 0), min(row + radius + 1, height)):
                        for j in range(max(column - radius, 0), min(column + radius + 1, width)):
                            is_peak = is_peak and x[n, c, i, j] <= value
                    y[n, c, row, column] = value if is_peak else 0.0
