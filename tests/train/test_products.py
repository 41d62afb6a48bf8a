"""Products by both libraries are equal up to rounding, also into parts of a matrix."""

from __future__ import annotations

import pytest
import torch

from nestvec.train import products
from nestvec.train.products import add_product


@pytest.fixture(params=[False, True])
def onednn(request, monkeypatch):
    if request.param and not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(products, "prefers_onednn", lambda: request.param)
    return request.param


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_is_added_to_a_part_of_a_matrix(onednn, overwrite, dtype):
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, generator=generator) for size in ((40, 96), (64, 96)))
    before = torch.full((40, 100), 2.0)
    if overwrite:
        before[:, 7:71] = torch.nan  # as in new memory
    total = before.clone()
    rows, columns = left[:, 5:60].to(dtype), right[:, 5:60].to(dtype).T
    add_product(total[:, 7:71], rows, columns, overwrite=overwrite)
    expected = rows.double() @ columns.double() + (0 if overwrite else 2)
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    assert torch.allclose(total[:, 7:71].double(), expected, atol=tolerance)
    outside = [*range(7), *range(71, 100)]
    assert torch.equal(total[:, outside], before[:, outside])


@pytest.mark.parametrize(
    ("capability", "maker", "expected"),
    [
        ("AVX512", "AuthenticAMD", True),
        ("AVX512", "GenuineIntel", False),
        ("AVX2", "AuthenticAMD", False),
        ("DEFAULT", "AuthenticAMD", False),
    ],
)
def test_onednn_is_preferred_where_mkl_does_not_use_avx512(
    monkeypatch, tmp_path, capability, maker, expected
):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch has no oneDNN")
    (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {maker}\n")
    monkeypatch.setattr(products, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert products.prefers_onednn.__wrapped__() is expected
