"""A memory plan as a table."""

from __future__ import annotations

from edgeinfer.convert.draw.buffers import buffer_names, short_name
from edgeinfer.convert.draw.peak import explain_peak, peak_sentence
from edgeinfer.convert.model_file import FileProgram
from edgeinfer.printing import format_table


def plan_table(program: FileProgram) -> str:
    """One line per buffer of the arena: bytes, offset, steps, and the tensors that lie there.

    Buffers that are alive where the arena is fullest have a "*" behind their bytes.
    """
    rows = []
    for index, buffer in enumerate(program.buffers):
        kind = "input" if buffer.is_input else "output" if buffer.is_output else ""
        steps = f"{buffer.first_step}..{buffer.last_step}"
        peak = "*" if buffer.first_step <= program.peak_step <= buffer.last_step else ""
        tensors = ", ".join(short_name(name) for name in buffer_names(program, index))
        rows.append((index, buffer.offset, buffer.bytes, peak, steps, kind, tensors))
    table = format_table(("buffer", "offset", "bytes", "", "steps", "", "tensors"), rows)
    return (
        f"program {program.name!r}\n{table}\n\n{explain_peak(program)}\n"
        f"peak: {peak_sentence(program)}"
    )
