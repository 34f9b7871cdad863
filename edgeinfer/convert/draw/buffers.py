"""What drawings and tables say about the buffers of a plan: names, lives, who touches them."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.convert.model_file import FileBuffer, FileProgram, FileTensor
from edgeinfer.printing import printable

PALETTE = ("#8fb8de", "#a8d5a2", "#d9c2e9", "#f4d58d", "#9fd8d3", "#e3b7a0", "#c3cbd6")
INPUT_COLOUR, OUTPUT_COLOUR, PEAK_COLOUR = "#f6a04d", "#ef7f7b", "#c62828"


def short_name(name: str, limit: int = 28) -> str:
    """The telling end of a source model's tensor name: TFLite joins many with ";" and "/"."""
    name = printable(name)
    tail = "/".join(name.split(";")[0].strip("/").split("/")[-2:]) or name
    return tail if len(tail) <= limit else "…" + tail[1 - limit :]


def buffer_names(program: FileProgram, buffer: int) -> list[str]:
    """Names of the tensors that lie in a buffer."""
    return [printable(tensor.name) for tensor in program.tensors if tensor.buffer == buffer]


def buffer_label(program: FileProgram, buffer: int) -> str:
    """The one name to call a buffer by; the result's, where it is the caller's output."""
    names = buffer_names(program, buffer)
    if not names:
        return ""
    return short_name(names[-1] if program.buffers[buffer].is_output else names[0])


def ring_of(program: FileProgram, buffer: int) -> FileTensor | None:
    """The tensor of a buffer of which fewer rows than it has are held at a time; the largest."""
    rings = [t for t in program.tensors if t.buffer == buffer and t.ring_rows < t.rows]
    return max(rings, key=lambda tensor: tensor.held_bytes, default=None)


@dataclass(frozen=True)
class BufferUses:
    """The steps that read and that write a buffer, ascending."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]

    def next_after(self, step: int) -> int | None:
        """The first step after `step` that touches the buffer."""
        later = [next((s for s in steps if s > step), None) for steps in (self.reads, self.writes)]
        return min((s for s in later if s is not None), default=None)


def buffer_uses(program: FileProgram) -> list[BufferUses]:
    """Which steps touch each buffer."""
    reads: list[list[int]] = [[] for _ in program.buffers]
    writes: list[list[int]] = [[] for _ in program.buffers]
    for step in range(len(program.steps)):
        read, written = touched_by(program, step)
        for buffer in read:
            reads[buffer].append(step)
        for buffer in written:
            writes[buffer].append(step)
    return [BufferUses(tuple(r), tuple(w)) for r, w in zip(reads, writes, strict=True)]


def touched_by(program: FileProgram, step: int) -> tuple[list[int], list[int]]:
    """The buffers that a step reads and those that it writes, each once, in the node's order."""
    node = program.nodes[program.steps[step].node]
    read = [t.buffer for t in node.inputs if t is not None and t.buffer is not None]
    written = [t.buffer for t in node.outputs if t.buffer is not None]
    return list(dict.fromkeys(read)), list(dict.fromkeys(written))


def band_of(program: FileProgram, step: int) -> str:
    """The rows that a step computes, of those that the tensor has: "all 8", "rows 0 to 3 of 8"."""
    record = program.steps[step]
    begin, end = record.row_begin, record.row_end
    total = program.nodes[record.node].outputs[0].rows
    if (begin, end) == (0, total):
        return f"all {total} rows" if total > 1 else "one row"
    rows = f"row {begin}" if end == begin + 1 else f"rows {begin} to {end - 1}"
    return f"{rows} of {total}"


def bytes_in_use(program: FileProgram) -> list[int]:
    """Bytes of the arena that are needed, at each step; what buffers have in common counts once."""
    changes = [0] * (len(program.steps) + 1)
    in_arena = [buffer for buffer in program.buffers if buffer.region == "arena"]
    spans = [(b.first_step, b.last_step, b.bytes) for b in in_arena]
    for a in in_arena:
        for b in in_arena if a.is_input else ():
            if not b.is_input:
                spans.append((*_common_steps(a, b), -_common_bytes(a, b)))
    for first, last, size in spans:
        if first <= last:
            changes[first] += size
            changes[last + 1] -= size
    total, used = 0, []
    for change in changes[:-1]:
        total += change
        used.append(total)
    return used


def _common_steps(a: FileBuffer, b: FileBuffer) -> tuple[int, int]:
    return max(a.first_step, b.first_step), min(a.last_step, b.last_step)


def _common_bytes(a: FileBuffer, b: FileBuffer) -> int:
    """Buffers lie in bytes of a graph input that have been read; no others meet."""
    return max(0, min(a.offset + a.bytes, b.offset + b.bytes) - max(a.offset, b.offset))


@dataclass(frozen=True)
class Box:
    """A buffer as it is drawn: steps to the right, bytes upwards."""

    label: str
    title: str
    colour: str
    is_ring: bool
    first_step: int
    last_step: int
    offset: int
    bytes: int


def boxes(program: FileProgram) -> list[Box]:
    """The buffers of the arena as SVG and PNG show them."""
    found = []
    for index, buffer in enumerate(program.buffers):
        if buffer.region != "arena":
            continue
        if buffer.is_input:
            colour = INPUT_COLOUR
        elif buffer.is_output:
            colour = OUTPUT_COLOUR
        else:
            colour = PALETTE[index % len(PALETTE)]
        ring = ring_of(program, index)
        title = (
            f"{', '.join(buffer_names(program, index))}\n"
            f"{buffer.bytes:,} bytes at {buffer.offset:,}\n"
            f"steps {buffer.first_step} to {buffer.last_step}"
        )
        if ring:
            title += f"\nring: {ring.ring_rows} of {ring.rows} rows held"
        life = (buffer.first_step, buffer.last_step)
        label = buffer_label(program, index)
        place = (*life, buffer.offset, buffer.bytes)
        found.append(Box(label, title, colour, ring is not None, *place))
    return found
