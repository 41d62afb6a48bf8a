"""The devices that PyTorch can use on this computer."""

from __future__ import annotations

import logging
from typing import Any

from nestvec.errors import InvalidArgument, require

_ACCELERATORS = ("cuda", "mps", "xpu", "npu", "hpu")

_logger = logging.getLogger(__name__)


def available_devices() -> tuple[str, ...]:
    """Return the names of all devices, such as ``("cpu", "cuda:0", "cuda:1")``.

    Raises:
        MissingExtra: If PyTorch is not installed.
    """
    torch: Any = require("torch", extra="models")
    found = ["cpu"]
    for kind in _ACCELERATORS:
        count = getattr(getattr(torch, kind, None), "device_count", int)()
        found += [f"{kind}:{number}" for number in range(count)]
    return tuple(found)


def check_device(device: str | None) -> None:
    """Check that a device is available; None leaves the choice to Sentence Transformers.

    A kind without a number, such as "cuda", is available if one device of that kind is.

    Raises:
        InvalidArgument: If the device is unknown or not available.
        MissingExtra: If PyTorch is not installed.
    """
    if device is None or device == "cpu":  # no need to import PyTorch
        return
    available = available_devices()
    if device not in {*available, *(name.partition(":")[0] for name in available)}:
        problem = f"device={device!r} is not available"
        raise InvalidArgument(f"{problem}. Available on this computer: {', '.join(available)}.")


def warn_if_unused(name: str, why: str, *, device: str | None, dtype: str | None) -> None:
    """Warn that a model does not use the given device or dtype.

    Args:
        name: The model.
        why: A sentence that gives the reason.
        device: The device that the caller chose; "cpu" and None need no warning.
        dtype: The dtype that the caller chose; "float32" and None need no warning.
    """
    if device not in (None, "cpu"):
        _logger.warning("device=%r has no effect on %s. %s", device, name, why)
    if dtype not in (None, "float32"):
        _logger.warning("dtype=%r has no effect on %s. %s", dtype, name, why)
