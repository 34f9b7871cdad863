"""Train, export and quantise the digits example: everything in this folder, from nothing.

1. Splits scikit-learn's 1,797 handwritten digits (8x8, 0..16) into 1,347 training images and 450
   held-out ones, and writes the held-out ones to ``heldout.npz``.
2. Trains a small convolutional network on the training images (under a minute on one core).
3. Folds the batch normalisation into the convolutions and exports ``digits_float.onnx``.
4. Quantises it to INT8 with onnxruntime, calibrated on training images, as ``digits_int8.onnx``.
5. Scores both files over the held-out images with onnxruntime and prints the result.

The held-out images are looked at in step 5 only: they choose neither weights nor scales, and
training always runs its full number of epochs.

Install (development time only; a device needs none of this)::

    pip install torch==2.13.0 scikit-learn onnx onnxruntime

``python train.py`` rebuilds the folder; ``python train.py --score`` only repeats step 5, for which
numpy and onnxruntime are enough.

Split, initial weights, batches and augmentation are seeded, and torch runs on one thread. On one
machine with one set of versions, two runs give the same files. Another CPU or another torch may
round differently in training, so there expect the same accuracy to within an image or two, not
the same weights.
"""

import argparse
from collections import OrderedDict
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
HELDOUT_IMAGES = 450
SPLIT_SEED = 0  # apart from --seed, so that every training run is judged on the same images
BATCH = 32
PEAK_LEARNING_RATE = 4e-3
OPSET = 17


def load_split():
    """Return ``(train_images, train_labels, heldout_images, heldout_labels)``.

    Images are uint8 ``[n, 8, 8]`` with values 0..16, labels uint8 ``[n]``. Every digit has the same
    share of both parts.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    train_images, heldout_images, train_labels, heldout_labels = train_test_split(
        digits.images.astype(np.uint8),
        digits.target.astype(np.uint8),
        test_size=HELDOUT_IMAGES,
        stratify=digits.target,
        random_state=SPLIT_SEED,
    )
    return train_images, train_labels, heldout_images, heldout_labels


def to_input(images):
    """Turn uint8 images ``[n, 8, 8]`` (0..16) into model input: float32 ``[n, 1, 8, 8]``, 0..1."""
    return images[:, None].astype(np.float32) / np.float32(16)


def build_network():
    """Return the untrained network: the usual parts of a device CNN.

    ==========  =============================================  ==========
    stem        3x3 convolution, 1 -> 24                       24 x 8 x 8
    widen       3x3 depthwise, 1x1 pointwise 24 -> 48          48 x 8 x 8
    pool        2x2 max pool                                   48 x 4 x 4
    residual    x + (3x3 depthwise, 1x1 pointwise 48 -> 48)    48 x 4 x 4
    reduce      3x3 depthwise stride 2, 1x1 pointwise -> 64    64 x 2 x 2
    mean        global average pool                            64
    classify    fully connected, 64 -> 10                      10 logits
    ==========  =============================================  ==========

    A ReLU follows each convolution, except that the residual block has its last one after the sum.
    With the batch normalisation folded, 8,778 weights and biases are left. The names above lead the
    names of the tensors in the ONNX files.
    """
    from torch import nn

    def convolution(inputs, outputs, kernel, stride=1, groups=1):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def separable(inputs, outputs, stride=1):
        return nn.Sequential(
            OrderedDict(
                depthwise=convolution(inputs, inputs, 3, stride, groups=inputs),
                relu=nn.ReLU(),
                pointwise=convolution(inputs, outputs, 1),
            )
        )

    class Residual(nn.Module):
        def __init__(self, branch):
            super().__init__()
            self.branch = branch

        def forward(self, x):
            return x + self.branch(x)

    return nn.Sequential(
        OrderedDict(
            stem=convolution(1, 24, 3),
            stem_relu=nn.ReLU(),
            widen=separable(24, 48),
            widen_relu=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            residual=Residual(separable(48, 48)),
            residual_relu=nn.ReLU(),
            reduce=separable(48, 64, stride=2),
            reduce_relu=nn.ReLU(),
            mean=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classify=nn.Linear(64, 10),
        )
    )


def augment(images, generator):
    """Rotate, scale, shear and shift each image by a small random amount (bilinear, zeros around).

    Standard deviations: 0.1 in each entry of the 2x2 matrix, half a pixel in each direction.
    """
    import torch
    from torch.nn import functional

    spread = torch.tensor([[0.1, 0.1, 0.125], [0.1, 0.1, 0.125]])
    noise = torch.randn(len(images), 2, 3, generator=generator)
    grid = functional.affine_grid(torch.eye(2, 3) + spread * noise, images.shape, False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(images, labels, epochs, seed, log=print):
    """Return the network trained on uint8 ``images`` and ``labels``, in evaluation mode."""
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # a sum split over threads rounds differently with their number
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(seed)

    x = torch.from_numpy(to_input(images))
    y = torch.from_numpy(labels.astype(np.int64))
    network = build_network()
    steps = len(x) // BATCH
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=PEAK_LEARNING_RATE, total_steps=epochs * steps
    )
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(x), generator=generator)
        total = 0.0
        for step in range(steps):
            batch = order[step * BATCH : (step + 1) * BATCH]
            logits = network(augment(x[batch], generator))
            loss = functional.cross_entropy(logits, y[batch], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        if epoch % 10 == 0 or epoch == epochs:
            log(f"epoch {epoch:3d} of {epochs}: loss {total / steps:.4f}")
    return network.eval()


def fold_batch_norm(module):
    """Fold every (convolution, batch normalisation) pair of an evaluation-mode network, in place.

    What is left of a pair is one convolution with a bias, computing the same function.
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for name, child in module.named_children():
        parts = list(child.children())
        if [type(part) for part in parts] == [nn.Conv2d, nn.BatchNorm2d]:
            setattr(module, name, fuse_conv_bn_eval(*parts))
        else:
            fold_batch_norm(child)


def export_float(network, path):
    """Write ``network`` as float32 ONNX: ``image`` [1, 1, 8, 8] in, ``logits`` [1, 10] out."""
    import onnx
    import torch

    torch.onnx.export(
        network,
        (torch.zeros(1, 1, 8, 8),),
        path,
        input_names=["image"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamo=False,  # the newer exporter writes the pool as ReduceMean, Reshape and drops names
    )
    save_clean(onnx.load(path), path)


def quantise(float_path, int8_path, images):
    """Quantise to INT8 QDQ: int8 activations, int8 weights per channel, ranges from ``images``.

    onnxruntime drops each ReLU: its zero point is -128, so that clamping to int8 is the ReLU. Its
    advice to pre-process the model first can be ignored: there is nothing left to fold.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Images(CalibrationDataReader):
        def __init__(self):
            self.inputs = iter(to_input(images))

        def get_next(self):
            image = next(self.inputs, None)
            return None if image is None else {"image": image[None]}

    quantize_static(
        float_path,
        int8_path,
        Images(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    save_clean(onnx.load(int8_path), int8_path)


def save_clean(model, path):
    """Write the model without what the exporter noted about its own run, after checking it.

    Doc strings and metadata can hold source paths and stack traces. Shapes are inferred anew, so
    that every tensor of the file says its type and shape.
    """
    import onnx

    model.ClearField("doc_string")
    model.ClearField("metadata_props")
    model.graph.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    model.graph.name = "digits"
    del model.graph.value_info[:]
    graph = model.graph
    for part in [*graph.node, *graph.initializer, *graph.input, *graph.output]:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def count_correct(path, images, labels):
    """Return how many images the ONNX model at ``path`` gets right in onnxruntime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = [session.run(None, {"image": x[None]})[0][0] for x in to_input(images)]
    return int(np.sum(np.argmax(logits, axis=1) == labels))


def score(folder):
    """Print the held-out accuracy of both models of ``folder``."""
    heldout = np.load(folder / "heldout.npz")
    images, labels = heldout["images"], heldout["labels"]
    for name in ("digits_float.onnx", "digits_int8.onnx"):
        correct = count_correct(folder / name, images, labels)
        size = (folder / name).stat().st_size
        share = correct / len(labels)
        print(f"{name}: {correct} of {len(labels)} right, {share:.2%}; {size:,} bytes")


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="Train, export and quantise the digits example; see the top of this file."
    )
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: this)")
    parser.add_argument("--epochs", type=int, default=80, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything but the split")
    parser.add_argument("--score", action="store_true", help="only score the models in --out")
    arguments = parser.parse_args()
    out = arguments.out
    try:
        if not arguments.score:
            out.mkdir(parents=True, exist_ok=True)
            train_images, train_labels, heldout_images, heldout_labels = load_split()
            np.savez_compressed(out / "heldout.npz", images=heldout_images, labels=heldout_labels)
            network = train(train_images, train_labels, arguments.epochs, arguments.seed)
            fold_batch_norm(network)
            export_float(network, out / "digits_float.onnx")
            quantise(out / "digits_float.onnx", out / "digits_int8.onnx", train_images)
        score(out)
    except ModuleNotFoundError as error:
        parser.exit(1, f"{error}: see the install line at the top of {Path(__file__).name}\n")


if __name__ == "__main__":
    main()
