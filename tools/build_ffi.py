"""Write `edgeinfer/_cdefs.py`: the public C header as cffi's out-of-line ABI module.

The header is the only description of the C API, so the declarations are cut out of it rather than
written again. Parsing C takes tens of milliseconds; done here, at build time, importing edgeinfer
does not pay for it. setup.py calls this; by hand: ``python tools/build_ffi.py DESTINATION.py``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HEADER = Path(__file__).resolve().parents[1] / "csrc" / "include" / "edgeinfer.h"


def declarations(header: str) -> str:
    """The C declarations of the header, without preprocessor lines, comments and linkage."""
    statuses = re.findall(r"\bX\((EI_\w+),\s*(\d+),", header)
    enumerators = ", ".join(f"{name} = {value}" for name, value in statuses)
    body = re.sub(r"#define EI_STATUS_LIST.*?\n(?! +X)", "\n", header, flags=re.DOTALL)
    body = re.sub(r"typedef enum ei_status \{.*?\}", f"typedef enum ei_status {{{enumerators}}}",
                  body, count=1, flags=re.DOTALL)  # fmt: skip
    body = re.sub(r"#ifdef __cplusplus\n.*?#endif\n", "", body, flags=re.DOTALL)
    body = re.sub(r"^#.*$|//.*$", "", body, flags=re.MULTILINE)
    return body.replace("EI_API ", "")


def write_module(destination: Path) -> None:
    """Generate the module at `destination`, which must be named `_cdefs.py`."""
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(declarations(HEADER.read_text(encoding="utf-8")))
    ffi.set_source("edgeinfer._cdefs", None)
    ffi.emit_python_code(str(destination))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    write_module(Path(sys.argv[1]))
