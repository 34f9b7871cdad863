"""How stored numbers become what a model takes: (x * scale - mean) / std, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Tensor
from edgeinfer.errors import InputError

Layout = Literal["nhwc", "nchw"]


@dataclass(frozen=True)
class Preprocessing:
    """Scaling of calibration samples.

    Attributes
    ----------
    scale : factor of stored numbers; None is 1 for arrays, and 1/255 for images, whose pixels then
        are 0 to 1.
    mean, std : subtracted and divided by, after the factor: one number, or one per channel.
    layout : where the input has its channels; None to tell from its shape.
    """

    scale: float | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        if self.std is not None and not all(np.isfinite(s) and s > 0 for s in self.std):
            raise InputError(f"std is {list(self.std)}; every one must be above 0")
        if self.scale is not None and not (np.isfinite(self.scale) and self.scale > 0):
            raise InputError(f"scale is {self.scale}; it must be above 0")

    def applied(self, array: npt.NDArray[Any], tensor: Tensor) -> npt.NDArray[np.float32]:
        """An array of the input's shape, as float32, scaled."""
        with np.errstate(over="ignore", invalid="ignore"):  # checked afterwards
            values = np.asarray(array, np.float32)
            if self.scale is not None:
                values = values * np.float32(self.scale)
            if self.mean is not None:
                values = values - self._per_channel(self.mean, "mean", tensor)
            if self.std is not None:
                values = values / self._per_channel(self.std, "std", tensor)
        return np.ascontiguousarray(values)

    def channel_axis(self, tensor: Tensor) -> int:
        """The axis of the input's channels.

        Raises
        ------
        InputError
            It cannot be told from the shape, and `layout` does not say it.
        """
        rank = len(tensor.shape)
        if self.layout is not None:
            return rank - 1 if self.layout == "nhwc" else 1
        if rank != 4:
            return rank - 1
        for usual in ((1, 3), (4,)):  # four channels are rare, four pixels are not
            last, second = tensor.shape[3] in usual, tensor.shape[1] in usual
            if last != second:
                return 3 if last else 1
            if last:
                break
        raise InputError(
            f"input {tensor.name!r} {list(tensor.shape)} does not tell where its channels are; "
            "say layout nhwc or nchw"
        )

    def _per_channel(
        self, values: Sequence[float], what: str, tensor: Tensor
    ) -> npt.NDArray[np.float32]:
        numbers = np.asarray(values, np.float32).reshape(-1)
        if numbers.size == 1:
            return numbers.reshape(())
        axis = self.channel_axis(tensor)
        if axis >= len(tensor.shape) or tensor.shape[axis] != numbers.size:
            raise InputError(
                f"{what} has {numbers.size} numbers, and input {tensor.name!r} "
                f"{list(tensor.shape)} has {tensor.shape[axis]} channels"
            )
        return numbers.reshape([-1 if i == axis else 1 for i in range(len(tensor.shape))])
