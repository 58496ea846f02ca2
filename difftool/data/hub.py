"""Data sets from the Hugging Face hub, or local copies of them, loaded by `datasets`."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from difftool.data.pictures import Pictures
from difftool.errors import DifftoolError, missing
from difftool.files.reading import open_picture


class Hub(Pictures):
    """Pictures from a data set on the Hugging Face hub, with their classes if it has any.

    Options: `name` on the hub, as `user/set`; `split`; `path`, a local copy to read instead: a
    folder written by `save_to_disk`, or one of parquet files; `image` and `label`, the columns
    (none: found by type); `size`, the side in pixels to crop to; `grey`, one channel. Raises
    `DifftoolError` if `datasets` is not installed, the hub cannot be reached, or there is no
    such data set, split or column.
    """

    def __init__(
        self,
        name: str,
        split: str = "train",
        path: Path | None = None,
        image: str | None = None,
        label: str | None = None,
        size: int | None = None,
        grey: bool | None = None,
    ):
        if path is None:
            self.title = name
        else:
            self.title = str(path)
        self.folder = _folder(path)
        self.rows = _open(name, split, path)
        image, label = _columns(self.rows.features, self.title, image, label)
        self.image = image
        from datasets import Image

        labels, classes = None, None
        if label is not None:
            labels = torch.tensor(self.rows[label][:])
            classes = getattr(self.rows.features[label], "num_classes", int(labels.max()) + 1)
        self.rows = self.rows.select_columns([image]).cast_column(image, Image(decode=False))
        super().__init__(len(self.rows), labels, classes, size, grey)

    def open(self, i: int) -> Any:
        cell = self.rows[i][self.image]
        if cell["bytes"] is not None:
            return open_picture(BytesIO(cell["bytes"]))
        file = Path(cell["path"]).resolve()
        if not file.is_relative_to(self.folder):
            raise DifftoolError(f"its file {cell['path']!r:.80} is not in {self.folder}")
        return open_picture(file)

    def name(self, i: int) -> str:
        return f"picture {i} of {self.title}"


def mnist(split: str = "train", path: Path | None = None, size: int | None = None) -> Hub:
    """MNIST, 60,000 gray pictures of handwritten digits, 28x28, ten classes.

    Options: `split`, train or test; `path`, a local copy; `size`, e.g. 32 for U-Nets with many
    levels. Source: LeCun et al. 1998.
    """
    return Hub("ylecun/mnist", split, path, size=size, grey=True)


def cifar10(split: str = "train", path: Path | None = None, size: int | None = None) -> Hub:
    """CIFAR-10, 50,000 pictures of 32x32 in ten classes.

    Options: `split`, train or test; `path`, a local copy; `size`. Source: Krizhevsky 2009.
    """
    return Hub("uoft-cs/cifar10", split, path, size=size)


def lsun_bedrooms(split: str = "train", path: Path | None = None, size: int = 64) -> Hub:
    """LSUN bedrooms, photographs cropped to squares of `size` pixels, no classes.

    Options: `split`; `path`, a local copy; `size`. Source: Yu et al. 2015, arXiv 1506.03365.
    """
    return Hub("pcuenq/lsun-bedrooms", split, path, size=size)


def _folder(path: Path | None) -> Path:
    """The folder that the files of a data set lie in."""
    if path is not None:
        return Path(path).resolve()
    try:
        from datasets.config import HF_CACHE_HOME
    except ImportError:
        return Path.cwd()  # what is missing is said by `_open`
    return Path(HF_CACHE_HOME).resolve()


def _open(name: str, split: str, path: Path | None) -> Any:
    try:
        from datasets import DatasetDict, load_dataset, load_from_disk
    except ImportError:
        raise missing("a data set from the hub", "datasets", "data") from None
    copy = "or give a local copy, path=FOLDER (written by save_to_disk, or of parquet files)"
    if path is not None and not Path(path).is_dir():
        raise DifftoolError(f"there is no folder {path} with a copy of {name}")
    try:
        if path is None:
            return load_dataset(name, split=split)
        saved = any(
            (Path(path) / file).exists() for file in ("dataset_dict.json", "state.json")
        )
        if not saved:
            return load_dataset(str(path), split=split)
        rows = load_from_disk(str(path))
        if isinstance(rows, DatasetDict):
            return rows[split]
        own = str(rows.split or "train")
        if split != own:
            raise DifftoolError(f"{path} has only the split {own!r}, not {split!r}")
        return rows
    except DifftoolError:
        raise
    except KeyError:
        raise DifftoolError(f"{path} has no split {split!r}") from None
    except Exception as error:  # any error of the network or a file format
        reason = " ".join(str(error).split())[:200]
        if path:
            where = f"cannot read {path}, the copy of {name}"
        else:
            where = f"cannot load {name} from the hub"
        raise DifftoolError(f"{where} ({reason}); check that it exists, {copy}") from None


def _columns(
    features: Any, title: str, image: str | None, label: str | None
) -> tuple[str, str | None]:
    """The columns of pictures and classes, by name or by type."""
    from datasets import ClassLabel, Image

    for name in filter(None, (image, label)):
        if name not in features:
            raise DifftoolError(f"{title} has no column {name!r}; it has {', '.join(features)}")
    image = image or next(
        (name for name, kind in features.items() if isinstance(kind, Image)), None
    )
    label = label or next(
        (name for name, kind in features.items() if isinstance(kind, ClassLabel)), None
    )
    if image is None:
        raise DifftoolError(f"{title} has no column of pictures; it has {', '.join(features)}")
    return image, label
