#!/usr/bin/env bash
# faiss-cpu 1.15.1 (wheel for Linux x86-64), with numpy 2.4.6 and threadpoolctl 3.6.0
#
# The wheel bundles OpenBLAS 0.3.15, which was released in May 2021. NumPy bundles 0.3.31 in the same
# process. OpenBLAS chooses its kernels by the model of the processor, and knows no model that was
# released later: on an AMD processor of the Zen 5 family with AVX-512, FAISS's copy chose the
# kernels for Barcelona (of 2007, SSE2), while NumPy's copy chose those for SkylakeX. Flat searches of
# many queries and k-means of FAISS use these kernels. OPENBLAS_CORETYPE=Haswell selects kernels with
# AVX2 in both copies; FAISS's own kernels for scalar and product quantizers are not affected.
#
# Expected: a BLAS that knows the processors of its time, as in NumPy.
# Seen:     openblas 0.3.15 in faiss, 0.3.31 in numpy

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet faiss-cpu==1.15.1 numpy==2.4.6 threadpoolctl==3.6.0
"$folder/venv/bin/python" - <<'PYTHON'
import faiss
import numpy as np
from threadpoolctl import threadpool_info

index = faiss.IndexFlatIP(64)
index.add(np.eye(64, dtype=np.float32))
index.search(np.ones((600, 64), dtype=np.float32), 1)
found = {
    "numpy" if "numpy" in each["filepath"] else "faiss": each
    for each in threadpool_info()
    if each["internal_api"] == "openblas"
}
for name, each in sorted(found.items()):
    print(name, "openblas", each["version"], each.get("architecture"))
assert found["faiss"]["version"] == "0.3.15", "faiss bundles another OpenBLAS now"
assert found["numpy"]["version"].startswith("0.3.31"), "numpy bundles another OpenBLAS"
PYTHON
