"""The windows of convolutions and pools: what SAME and VALID mean in rows and columns."""

from __future__ import annotations

from dataclasses import dataclass

from .operation import Operation, Unsupported

SAME, VALID = 0, 1


@dataclass(frozen=True)
class Window:
    """A window over an image: all pairs are (h, w); pads are (top, left, bottom, right)."""

    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    size: tuple[int, int]  # of the output


def extent(kernel: int, dilation: int) -> int:
    """Rows that a dilated kernel spans."""
    return (kernel - 1) * dilation + 1


def same_pads(size: int, span: int, stride: int) -> tuple[int, int]:
    """Rows before and after that give ceil(size / stride) rows; an odd one goes after."""
    out = -(-size // stride)
    total = max((out - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


def window(
    op: Operation, image: tuple[int, int], kernel: tuple[int, int], *, has_dilations: bool
) -> Window:
    """The window of an operator whose options have Padding, StrideH, StrideW (and dilations)."""
    strides = _positive(op, ("StrideH", "StrideW"))
    dilations = (1, 1)
    if has_dilations:
        dilations = _positive(op, ("DilationHFactor", "DilationWFactor"))
    spans = (extent(kernel[0], dilations[0]), extent(kernel[1], dilations[1]))
    if op.dilated is not None:
        dilations, pads = op.dilated.dilations, op.dilated.pads
        spans = (extent(kernel[0], dilations[0]), extent(kernel[1], dilations[1]))
    elif padding(op) == SAME:
        top, bottom = same_pads(image[0], spans[0], strides[0])
        left, right = same_pads(image[1], spans[1], strides[1])
        pads = (top, left, bottom, right)
    else:
        pads = (0, 0, 0, 0)
    size = (
        (image[0] + pads[0] + pads[2] - spans[0]) // strides[0] + 1,
        (image[1] + pads[1] + pads[3] - spans[1]) // strides[1] + 1,
    )
    if min(size) < 1:
        raise Unsupported(f"its window of {list(spans)} does not fit in {list(image)}")
    return Window(strides, dilations, pads, size)


def padding(op: Operation) -> int:
    """SAME or VALID."""
    value: int = op.options["Padding"]
    if value not in (SAME, VALID):
        raise Unsupported(f"padding {value} is neither SAME (0) nor VALID (1)")
    return value


def _positive(op: Operation, names: tuple[str, str]) -> tuple[int, int]:
    values = (op.options[names[0]], op.options[names[1]])
    for name, value in zip(names, values, strict=True):
        if value < 1:
            raise Unsupported(f"{name} is {value}")
    return values


def filter_size(op: Operation) -> tuple[int, int]:
    """The kernel of a pool."""
    return _positive(op, ("FilterHeight", "FilterWidth"))


def stride_size(op: Operation) -> tuple[int, int]:
    """The strides alone."""
    return _positive(op, ("StrideH", "StrideW"))
