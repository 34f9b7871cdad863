"""Show how a model runs: for each operation its kernel, precision, work, and the reason.

The kernel is what this machine would run; --tier shows those of another kernel tier that it has.
Reasons are those that conversion noted in the file: what is float32, and why. Files of
older versions have none.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.cli.model_file import read_or_convert
from edgeinfer.errors import InputError
from edgeinfer.printing import format_table, print_json, printable, shortened
from edgeinfer.step_costs import count_node_macs, kernel_tiers, kernels_of, tier_names

if TYPE_CHECKING:
    from edgeinfer.convert.model_file import FileNode, FileProgram, FileTensor, ModelFile

EXAMPLE = "edgeinfer explain model.edge"
_NOT_NOTED = "not noted in the file"
_CONVERSIONS = ("quantize", "dequantize", "requantize")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("model", metavar="MODEL", help=".edge file (or .tflite, .onnx)")
    parser.add_argument("--tier", help="show the kernels of this tier, e.g. scalar")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    model = read_or_convert(Path(args.model))
    tiers = tier_names()
    tier = args.tier or _default_tier()
    if tier not in tiers:
        raise InputError(f"there is no tier {tier!r} on this machine; it has {', '.join(tiers)}")
    report = {
        "model": Path(args.model).name,
        "tier": tier,
        "programs": [_explain(model, i, tier, tiers) for i in range(len(model.programs))],
    }
    if args.json:
        print_json(report)
    else:
        _print_report(report)
    return 0


def _default_tier() -> str:
    from edgeinfer._ffi import check, ffi, lib, text

    chosen = ffi.new("const char **")
    check(lib().ei_tier_default(chosen))
    return text(chosen[0])


def _explain(model: ModelFile, index: int, tier: str, tiers: Sequence[str]) -> dict[str, Any]:
    program = model.programs[index]
    noted = _noted(model.metadata, program) if index == 0 else {}
    steps = [0] * len(program.nodes)
    for step in program.steps:
        steps[step.node] += 1
    versions = {name: kernel_tiers(name) for name in tiers}
    macs = [count_node_macs(node) for node in program.nodes]
    total = sum(macs) or 1
    rows = []
    for i, node in enumerate(program.nodes):
        kernels = {name: _kernel(node, found) for name, found in versions.items()}
        rows.append(
            {
                "operation": i,
                "node": node.name,
                "operator": node.operator,
                "steps": steps[i],
                "kernel": kernels[tier],
                "kernels": kernels,
                "inputs": _dtypes(t for t in node.inputs if t is not None and t.data is None),
                "outputs": _dtypes(node.outputs),
                "weights": _weights(node, macs[i]),
                "macs": macs[i],
                "share": macs[i] / total,
                **noted.get(i, {"source": None, "absorbed": [], "reason": None}),
            }
        )
    return {
        "name": program.name,
        "macs": sum(macs),
        "operations": rows,
        "precisions": _precisions(rows),
    }


def _noted(metadata: dict[str, Any], program: FileProgram) -> dict[int, dict[str, Any]]:
    """What conversion wrote of each operation; nothing of what does not fit the program.

    Metadata is text from a stranger: nothing about it is certain but that it is JSON.
    """
    nodes, reasons = metadata.get("nodes"), metadata.get("reasons")
    if not isinstance(nodes, list) or len(nodes) != len(program.nodes):
        return {}
    listed = reasons if isinstance(reasons, list) else []
    found = {}
    for i, entry in enumerate(nodes):
        if not isinstance(entry, dict) or entry.get("operator") != program.nodes[i].operator:
            continue
        number = entry.get("reason", 0)
        known = type(number) is int and 0 <= number < len(listed)
        absorbed = entry.get("absorbed")
        found[i] = {
            "source": str(entry["source"]) if "source" in entry else None,
            "absorbed": [str(name) for name in absorbed] if isinstance(absorbed, list) else [],
            "reason": str(listed[number]) if known else None,
        }
    return found


def _kernel(node: FileNode, versions: dict[str, str]) -> str:
    return " + ".join(f"{k} {versions[k]}" for k in kernels_of(node, list(versions))) or "memcpy"


def _dtypes(tensors: Any) -> list[str]:
    return list(dict.fromkeys(tensor.dtype for tensor in tensors))


def _weights(node: FileNode, macs: int) -> str | None:
    """The dtype of the constant that a product multiplies with."""
    weights: FileTensor | None = node.inputs[1] if macs and len(node.inputs) > 1 else None
    return None if weights is None or weights.data is None else weights.dtype


def _precisions(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Operations and multiplications by the precision that they compute at."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["operator"] in _CONVERSIONS:
            precision = "conversions"
        else:
            precision = (row["inputs"] or row["outputs"])[0]
        entry = found.setdefault(precision, {"operations": 0, "macs": 0})
        entry["operations"] += 1
        entry["macs"] += row["macs"]
    return found


def _print_report(report: dict[str, Any]) -> None:
    print(f"{printable(report['model'])}, tier {report['tier']}")
    for program in report["programs"]:
        _print_program(program)


def _print_program(program: dict[str, Any]) -> None:
    rows, reasons = [], dict[str, int]()
    for row in program["operations"]:
        why = reasons.setdefault(row["reason"] or _NOT_NOTED, len(reasons) + 1)
        activations = " ".join(row["inputs"]) or "constant"
        if row["outputs"] != row["inputs"]:
            activations += f" -> {' '.join(row['outputs'])}"
        share = f"{100 * row['share']:.1f}" if row["macs"] else ""
        rows.append(
            (
                row["operation"],
                shortened(row["node"], 40),
                row["operator"],
                row["kernel"],
                activations,
                row["weights"] or "",
                f"{row['macs']:,}" if row["macs"] else "",
                share,
                why,
            )
        )
    header = ("", "node", "operator", "kernel", "activations", "weights", "MAC", "%", "why")
    print(f"\nprogram {printable(repr(program['name']))}")
    print(format_table(header, rows, right=(0, 6, 7, 8)))
    print()
    for reason, number in reasons.items():
        print(f"  {number}  {printable(reason)}")
    total = program["macs"] or 1
    parts = [
        f"{name}: {entry['operations']} ({100 * entry['macs'] / total:.1f} % of MAC)"
        if entry["macs"]
        else f"{name}: {entry['operations']}"
        for name, entry in program["precisions"].items()
    ]
    print(f"\n{len(rows)} operations, {program['macs']:,} MAC; {', '.join(parts)}")
