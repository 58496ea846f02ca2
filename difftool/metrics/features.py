"""Feature networks, which map pictures to vectors before they are compared.

A feature network is any function from pictures (B, C, H, W) in [-1, 1] to vectors (B, D).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from difftool.errors import DifftoolError, missing
from difftool.errors.validation import check_options, check_side
from difftool.files.writing import digest

INCEPTION = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
DIGEST = (
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # SHA-256 of that file
)


class Features:
    """A feature network: `features(x)` is (B, D) for pictures x (B, C, H, W) in [-1, 1].

    net: gets pictures with `channels` (none: any) and `size` (none: unchanged), rescaled from
    [-1, 1] to [low, high]. Gray pictures are repeated for networks with three channels. Raises
    `DifftoolError` for pictures that do not fit, and for outputs that are not vectors.
    """

    def __init__(
        self,
        net: Callable[[Tensor], Tensor],
        channels: int | None = None,
        size: tuple[int, int] | None = None,
        low: float = -1.0,
        high: float = 1.0,
    ):
        check_options(low < high, "a feature network takes low < high", low=low, high=high)
        self.net, self.channels, self.size, self.low, self.high = net, channels, size, low, high

    def __call__(self, x: Tensor) -> Tensor:
        if x.ndim != 4:
            raise DifftoolError(
                f"a feature network takes pictures (B, C, H, W), got samples of shape {tuple(x.shape[1:])}"
            )
        if self.channels == 3 and x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if self.channels not in (None, x.shape[1]):
            raise DifftoolError(
                f"the feature network takes {self.channels} channels, the pictures have {x.shape[1]}"
            )
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            x = F.interpolate(
                x, self.size, mode="bilinear", antialias=True, align_corners=False
            )
        x = self.low + (x.clamp(-1, 1) + 1) * ((self.high - self.low) / 2)
        out = self.net(x)
        if out.ndim < 2 or len(out) != len(x):
            raise DifftoolError(
                f"the feature network returned shape {tuple(out.shape)} for {len(x)} pictures, expected vectors"
            )
        return out.flatten(1).float()


def onnx(path: Path, low: float = -1.0, high: float = 1.0, size: int | None = None) -> Features:
    """Any network in an ONNX file, run by onnxruntime.

    Its only input must be pictures (B, C, H, W) in float32 with dynamic B; its first output is
    the features. Pictures are scaled to H and W if the file fixes them. Options: `path`; `low`
    and `high`, the values of black and white that the network expects; `size`, the side in
    pixels to scale pictures to if the file does not fix it. Raises `DifftoolError` for files
    that cannot be read and for other inputs.
    """
    try:
        import onnxruntime
    except ImportError:
        raise missing("a feature network in a file", "onnxruntime", "metrics") from None
    if not Path(path).is_file():
        raise DifftoolError(f"there is no file {path}")
    try:
        session = onnxruntime.InferenceSession(
            str(path), providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # onnxruntime has its own errors
        raise DifftoolError(
            f"{path} is not a network in ONNX format: {' '.join(str(error).split())[:200]}"
        ) from None
    first, *others = session.get_inputs()
    shape = first.shape
    check_side(size)
    if others or len(shape) != 4 or isinstance(shape[0], int) or first.type != "tensor(float)":
        raise DifftoolError(
            f"{path} takes {first.type} of shape {shape}{' and other inputs' * bool(others)}; export it with one "
            f"input, pictures (B, C, H, W) in float32, B dynamic"
        )
    channels, height, width = (n if isinstance(n, int) else None for n in shape[1:])
    fixed = None
    if height and width:
        fixed = height, width
    elif size is not None:
        fixed = size, size

    def net(x: Tensor) -> Tensor:
        try:
            return torch.from_numpy(session.run(None, {first.name: x.cpu().numpy()})[0])
        except Exception as error:  # onnxruntime has its own errors
            reason = " ".join(str(error).split())[:200]
            raise DifftoolError(
                f"{path} does not take pictures of shape {tuple(x.shape[1:])}: {reason}"
            ) from None

    return Features(net, channels, fixed, low, high)


def inception(path: Path | None = None) -> Features:
    """The standard Inception network of FID, from torch-fidelity: 2048 features, size 299.

    Option: `path`, a local copy of the weights, `weights-inception-2015-12-05-6726825d.pth`
    (default: downloaded). The file is opened only if its SHA-256 is that of the published one.
    Not tested with the real weights, for lack of network access. Sources: Szegedy et al. 2015,
    arXiv 1512.00567; Heusel et al. 2017, arXiv 1706.08500.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise missing("the standard Inception", "torch-fidelity", "inception") from None
    if path is None:
        file = _downloaded()
    else:
        file = Path(path)
    if not file.is_file():
        raise DifftoolError(f"there is no file {file}; download {INCEPTION}")
    if digest(file) != DIGEST:
        raise DifftoolError(
            f"{file} does not hold the published Inception weights; download {INCEPTION}"
        )
    net = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file)
    ).eval()
    return Features(
        lambda x: _without_grad(net, x.round().to(torch.uint8)), 3, None, 0.0, 255.0
    )


def _downloaded() -> Path:
    file = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION.rpartition("/")[2]
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(
                INCEPTION, str(file), hash_prefix=DIGEST, progress=False
            )
        except (OSError, RuntimeError) as error:
            raise DifftoolError(
                f"{INCEPTION} cannot be downloaded ({error}); give a local copy, as in inception:path=FILE"
            ) from None
    return file


@torch.no_grad()
def _without_grad(net: Any, x: Tensor) -> Tensor:
    return net.to(x.device)(x)[0]
