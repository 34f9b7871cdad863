"""Programs whose plans are made by hand, so that each shows one thing the format allows.

All tensors have rows of 64 bytes, buffers lie one behind the other, and every buffer lives from the
first step to the last, unless a test says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeinfer.convert.program import Buffer, Operation, Placement, Plan, Program, Step, Value
from edgeinfer.convert.write import write_model

ROWS = 8
SHAPE = (1, ROWS, 4, 16)
ROW_BYTES = 64

TABLE = np.roll(np.arange(256), 7).astype(np.uint8).view(np.int8)
"""A table of lut8 that is a permutation: no two bytes give the same."""


def activation(name: str, rows: int = ROWS) -> Value:
    """int8 [1, rows, 4, 16]."""
    return Value(name, (1, rows, 4, 16), "int8", scale=0.5, zero_point=0)


def lut(x: Value, y: Value) -> Operation:
    """y = TABLE[x]: reads the row that it writes, and may work in place."""
    table = Value("table", (256,), "int8", data=TABLE)
    return Operation("lut8", [x, table], [y], {"reserved": 0}, f"{y.name} of {x.name}")


def largest(a: Value, b: Value, y: Value) -> Operation:
    """y = max(a, b): reads the rows that it writes, and may work in place."""
    return Operation("maximum", [a, b], [y], {"reserved": 0}, f"{y.name} of {a.name}, {b.name}")


def flip(x: Value, y: Value) -> Operation:
    """y = x upside down: does not work in place."""
    params: dict[str, int | float] = {f"begin_{i}": 0 for i in range(6)}
    params |= {f"stride_{i}": 1 for i in range(6)}
    params |= {"begin_1": x.shape[1] - 1, "stride_1": -1}
    return Operation("slice", [x], [y], params, f"{y.name} of {x.name}")


def pool(x: Value, y: Value, kernel: int, stride: int, pad: int) -> Operation:
    """y = the largest of `kernel` rows of x, at each place: reads several rows for one."""
    params: dict[str, int | float] = {"dilation_h": 1, "dilation_w": 1}
    params |= {"kernel_h": kernel, "kernel_w": 1, "stride_h": stride, "stride_w": 1}
    params |= {"pad_top": pad, "pad_left": 0, "clamp_min": -128, "clamp_max": 127}
    return Operation("max_pool2d", [x], [y], params, f"{y.name} of {x.name}")


def drop_rows(x: Value, y: Value) -> Operation:
    """y = the last rows of x: reads rows further on than it writes; does not work in place."""
    params: dict[str, int | float] = {f"begin_{i}": 0 for i in range(6)}
    params |= {f"stride_{i}": 1 for i in range(6)}
    params |= {"begin_1": x.shape[1] - y.shape[1]}
    return Operation("slice", [x], [y], params, f"{y.name} of {x.name}")


def apply_table(x: np.ndarray) -> np.ndarray:
    """What `lut` computes."""
    return TABLE[x.view(np.uint8)]


class Draft:
    """A program and its plan, written down buffer by buffer and step by step."""

    def __init__(
        self, inputs: Sequence[Value], outputs: Sequence[Value], operations: Sequence[Operation]
    ) -> None:
        self.program = Program("main", list(inputs), list(outputs), list(operations))
        self.steps = [Step(i, 0, op.output.rows) for i, op in enumerate(operations)]
        self.buffers: list[Buffer] = []
        self.placements: dict[Value, Placement] = {}
        for value in inputs:
            self.place(value, is_input=True)
        for value in outputs:
            self.place(value, is_output=True)

    def place(
        self,
        *values: Value,
        ring_rows: int | None = None,
        is_input: bool = False,
        is_output: bool = False,
    ) -> Draft:
        """Values at the start of a new buffer; a ring of so many rows, or whole."""
        rows = values[0].rows if ring_rows is None else ring_rows
        end = max((b.offset + b.bytes for b in self.buffers), default=0)
        buffer = Buffer(rows * values[0].row_bytes, 0, 0, -(-end // 64) * 64, is_input, is_output)
        for value in values:
            self.placements[value] = Placement(
                len(self.buffers), 0, value.rows if ring_rows is None else ring_rows
            )
        self.buffers.append(buffer)
        return self

    def put(self, value: Value, beside: Value, offset: int = 0) -> Draft:
        """A value in the buffer of another, so many bytes from its start."""
        other = self.placements[beside]
        rows = value.rows if other.ring_rows == beside.rows else other.ring_rows
        self.placements[value] = Placement(other.buffer, offset, rows)
        return self

    def overlap(self, places: Mapping[Value, tuple[int, int | None]]) -> Draft:
        """A new buffer with values at offsets in bytes; rings of so many rows, or whole."""
        end = max((b.offset + b.bytes for b in self.buffers), default=0)
        buffer = Buffer(0, 0, 0, -(-end // 64) * 64)
        for value, (offset, ring_rows) in places.items():
            rows = value.rows if ring_rows is None else ring_rows
            self.placements[value] = Placement(len(self.buffers), offset, rows)
            buffer.bytes = max(buffer.bytes, offset + rows * value.row_bytes)
        self.buffers.append(buffer)
        return self

    def walk(self, *steps: tuple[int, int, int]) -> Draft:
        """The steps: operation, first row, end of rows."""
        self.steps = [Step(*step) for step in steps]
        return self

    def planned(self) -> tuple[Program, Plan]:
        """What `write_model` takes."""
        for buffer in self.buffers:
            buffer.last_step = len(self.steps) - 1
        end = max(b.offset + b.bytes for b in self.buffers)
        plan = Plan(
            self.program,
            self.program.operations,
            self.buffers,
            self.placements,
            self.steps,
            end,
            peak_step=0,
        )
        return self.program, plan

    def write(self) -> bytes:
        """The file."""
        return write_model([self.planned()], {"made": "by hand"})


def chain() -> Draft:
    """x -> h = lut(x) -> y = max(x, h)."""
    x, h, y = activation("x"), activation("h"), activation("y")
    return Draft([x], [y], [lut(x, h), largest(x, h, y)]).place(h)


def ring(ring_rows: int = 4) -> Draft:
    """The chain, computed two rows at a time through a ring."""
    x, h, y = activation("x"), activation("h"), activation("y")
    draft = Draft([x], [y], [lut(x, h), largest(x, h, y)]).place(h, ring_rows=ring_rows)
    return draft.walk(*((node, r, r + 2) for r in range(0, ROWS, 2) for node in (0, 1)))


def in_place() -> Draft:
    """x -> h = lut(x) -> g = lut(h), in the bytes of h -> y = lut(g), two rows at a time."""
    x, h, g, y = (activation(name) for name in "xhgy")
    draft = Draft([x], [y], [lut(x, h), lut(h, g), lut(g, y)]).place(h).put(g, h)
    return draft.walk(*((node, r, r + 2) for r in range(0, ROWS, 2) for node in (0, 1, 2)))


def concatenation() -> Draft:
    """a = lut(x) and b = lut(z) are the halves of c, which nothing writes; y = flip(c)."""
    half = ROWS // 2
    x, z, a, b = (activation(name, half) for name in "xzab")
    c, y = activation("c"), activation("y")
    draft = Draft([x, z], [y], [lut(x, a), lut(z, b), flip(c, y)]).place(c)
    return draft.put(a, c).put(b, c, half * ROW_BYTES)
