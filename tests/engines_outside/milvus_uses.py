"""Give an index other operating points, again and again, in a process of its own.

    python milvus_uses.py URL ROUNDS DIM DIM

Prints one letter for each change: d for done, r for refused because another process changes it.
"""

import sys

from nestvec.engines.milvus.engine import MilvusEngine
from nestvec.errors import IndexLocked
from nestvec.types import OperatingPoint


def main(url, rounds, *dims):
    engine = MilvusEngine.open(url)
    for number in range(int(rounds)):
        dim = dims[number % len(dims)]
        try:
            engine.use(OperatingPoint.parse(f"{dim}:float16@100>64:float32"))
        except IndexLocked as error:
            assert "another process" in str(error)
            sys.stdout.write("r")
        else:
            sys.stdout.write("d")
    engine.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
