"""Matrix products of the nested loss, by the faster of PyTorch's two libraries.

PyTorch multiplies float32 matrices on a CPU with MKL. MKL uses AVX-512 only on processors of
Intel; on others, oneDNN is up to twice as fast. The choice depends on the processor alone, so that
the same machine always computes the same result.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_CPU_INFO = Path("/proc/cpuinfo")


def add_product(total: Tensor, left: Tensor, right: Tensor, *, overwrite: bool = False) -> None:
    """Add a product to a matrix, or replace the matrix by the product.

    Args:
        total: [n, m]; may be a part of a larger matrix.
        left: [n, d].
        right: [d, m], of the type of ``left``, which may be lower than that of ``total``.
        overwrite: Whether to ignore the values of ``total``.
    """
    import torch

    by_onednn = left.dtype == torch.float32 and left.device.type == "cpu" and prefers_onednn()
    if left.dtype == total.dtype and not by_onednn:
        total.addmm_(left, right, beta=0 if overwrite else 1)
        return
    product = _multiply(left, right) if by_onednn else left @ right
    if overwrite:
        total.copy_(product)
    else:
        total += product


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    import torch

    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        left.contiguous(), right.T.contiguous(), None, "none", [], ""
    )
    return product


@cache
def prefers_onednn() -> bool:
    """Return whether oneDNN multiplies float32 matrices faster than MKL on this processor."""
    import torch

    backend: Any = torch.backends.mkldnn
    has_operator = backend.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if not has_operator or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    return _CPU_INFO.exists() and "GenuineIntel" not in _CPU_INFO.read_text(errors="replace")
