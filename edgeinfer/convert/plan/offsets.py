"""Offsets of buffers in the arena: buffers that are alive at the same time must not overlap."""

from __future__ import annotations

from edgeinfer.budget import align_up
from edgeinfer.convert.program import Buffer

ALIGNMENT = 64
"""Offsets are multiples of a cache line, the widest vector register and the weight tile."""


def place_buffers(buffers: list[Buffer]) -> int:
    """Give every buffer its offset; return the highest end."""
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: (-b.bytes, b.first_step)):
        offset = 0
        for other in sorted(placed, key=lambda b: b.offset):
            if other.first_step <= buffer.last_step and buffer.first_step <= other.last_step:
                if other.offset >= offset + buffer.bytes:
                    break
                offset = max(offset, align_up(other.offset + other.bytes, ALIGNMENT))
        buffer.offset = offset
        placed.append(buffer)
    return max((buffer.offset + buffer.bytes for buffer in buffers), default=0)
