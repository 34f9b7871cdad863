"""What a builder needs to know of a tensor: shape, dtype, quantisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Quant:
    """Affine quantisation: real = scale * (q - zero_point).

    Parameters
    ----------
    scale : float or array of float
        One scale, or one per slice along `axis`. Rounded to float32.
    zero_point : int or array of int
        One zero point, or one per slice along `axis`.
    axis : int
        The dimension that `scale` runs along when it has more than one element.
    """

    scale: ArrayLike
    zero_point: ArrayLike = 0
    axis: int = 0

    @property
    def scales(self) -> np.ndarray:
        """The scales as a 1-d float32 array."""
        return np.atleast_1d(np.asarray(self.scale, np.float32))

    @property
    def zero_points(self) -> np.ndarray:
        """The zero points as a 1-d int64 array, as many as there are scales."""
        points = np.atleast_1d(np.asarray(self.zero_point, np.int64))
        return np.broadcast_to(points, self.scales.shape)


@dataclass(frozen=True)
class Spec:
    """Shape, dtype and quantisation of a tensor whose values are given at run time."""

    shape: tuple[int, ...]
    dtype: type | np.dtype = np.int8
    quant: Quant | None = None

    @property
    def quantization(self) -> Quant:
        """The quantisation of a tensor that must have one."""
        if self.quant is None:
            raise ValueError("this tensor needs a quantisation")
        return self.quant
