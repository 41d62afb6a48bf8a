"""Embed a corpus on a Ray cluster with Ray Data.

One task reads the texts and yields one row per shard. Actors on all nodes encode a row each and
write its shard; the driver writes the manifest. All nodes must reach the model and the output: use
object storage or a shared file system. The texts are read on one node, which must reach them.

A row is a whole shard, so that neither the order in which tasks end nor a repeated task changes a
shard. If a worker or a node ends, Ray runs its task again, and the new task finds the shard
complete or writes the same bytes again.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestvec.bulk.embedding import EmbeddedCorpus, counted, fit_codec
from nestvec.bulk.job import EmbedSettings, Job, start_job
from nestvec.bulk.shard import ShardFormat, embed_shard, finished_shard, write_shard
from nestvec.bulk.store import locked_store, store_at
from nestvec.bulk.texts import ShardTexts, TextSource, split_texts
from nestvec.errors import DataError, ModelError, NestvecError, first_line, require
from nestvec.sources.manifest import Shard
from nestvec.types import Encoder, OnProgress, begin_step

if TYPE_CHECKING:
    import pyarrow as pa

_REACHABLE_S = 10.0

LoadModel = Callable[[], Encoder]
"""Loads the model; sent to each worker, so a module-level function or a partial of one."""


def embed_on_ray(  # noqa: PLR0913 - all but four arguments are keyword-only
    load: LoadModel,
    source: TextSource,
    out: Path | str,
    settings: EmbedSettings,
    *,
    address: str,
    model: Encoder | None = None,
    on_progress: OnProgress | None = None,
) -> EmbeddedCorpus:
    """Embed texts on a Ray cluster; the shards are those of ``embed_corpus``.

    Vectors are equal up to rounding, and bytes are equal if the processors, the libraries and the
    number of threads are.

    Args:
        load: Loads the model, here and on each worker.
        source: The texts.
        out: As in ``embed_corpus``; reachable from all nodes.
        settings: How to embed the texts.
        address: Address of the cluster, as in ``ray.init``.
        model: The model, if it is already loaded here.
        on_progress: As in ``embed_corpus``.

    Raises:
        InvalidArgument: As ``embed_corpus``.
        DataError: As ``embed_corpus``.
        ModelError: If the model cannot encode texts, or the cluster cannot be reached or fails.
        MissingExtra: If ``ray`` is not installed.
    """
    require("ray.data", extra="ray")
    with source.opened() as corpus, locked_store(out, settings.kind) as store:
        texts, model = counted(corpus), model or load()
        job = start_job(store, model, texts, settings)
        fit_codec(job, model, texts, on_progress)
        if job.needs_codec and texts.length:  # a single shard, whose own vectors fit the codec
            only = next(split_texts(texts, settings.shard_rows))
            job.fit(embed_shard(model, only, settings.kind)[0])
        begin_step(on_progress, "embed texts", "texts")
        encoded = done = 0
        if texts.length:
            for record in _records(job, load, source, str(out), address):
                shard = Shard(**record["shard"])
                job.add(shard)
                done += shard.rows
                encoded += shard.rows if record["encoded"] else 0
                if on_progress is not None:
                    on_progress(done, job.manifest.total)
        return EmbeddedCorpus(store.place, job.finish(), encoded)


def read_texts(_: pa.Table, source: TextSource, shard_rows: int) -> Iterator[pa.Table]:
    """Yield the texts of each shard as a table of one row."""
    arrow = require("pyarrow", extra="ray")
    with source.opened() as corpus:
        for each in split_texts(corpus, shard_rows):
            columns = {"number": [each.number], "ids": [each.ids], "texts": [each.texts]}
            yield arrow.table(columns)


class ShardWorker:
    """An actor that encodes one shard per call with a model that it loads once."""

    def __init__(
        self, load: LoadModel, out: str, form: ShardFormat, checksums: Mapping[str, str]
    ) -> None:
        """Load the model and connect to the output.

        Args:
            load: Loads the model.
            out: As in ``embed_corpus``.
            form: How to store the vectors.
            checksums: The checksums of complete shards that the manifest records, by file.
        """
        self._model = load()
        self._store = store_at(out, form.kind)
        self._form, self._checksums = form, checksums

    def __call__(self, row: pa.Table) -> pa.Table:
        """Write the shard of one row, unless it is complete, and return its record."""
        arrow = require("pyarrow", extra="ray")
        number, ids, texts = (row[name][0].as_py() for name in ("number", "ids", "texts"))
        try:
            shard, encoded = self._shard(ShardTexts(number, ids, texts))
            record = {"shard": asdict(shard), "encoded": encoded}
        except NestvecError as error:  # as a value: Ray would wrap the error in a traceback
            record = {"error": str(error)}
        return arrow.table({"record": [json.dumps(record)]})

    def _shard(self, texts: ShardTexts) -> tuple[Shard, bool]:
        checksum = self._checksums.get(texts.file)
        finished = finished_shard(self._store, texts, self._form.run, sha256=checksum)
        if finished is not None:
            return finished, False
        embeddings, truncated = embed_shard(self._model, texts, self._form.kind)
        return write_shard(self._store, texts, embeddings, self._form, truncated=truncated), True


def _records(
    job: Job, load: LoadModel, source: TextSource, out: str, address: str
) -> Iterator[dict[str, Any]]:
    """Yield the record of each shard in order of completion."""
    checksums = {shard.file: shard.sha256 for shard in job.manifest.shards}
    with _connected(address) as (ray, data):
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        read = data.from_items([{"item": 0}]).map_batches(
            read_texts,
            fn_kwargs={"source": source, "shard_rows": job.manifest.shard_rows},
            batch_format="pyarrow",
            num_cpus=0,
        )
        # Ray Data restarts an actor that ends, and runs its task again.
        written = read.map_batches(
            ShardWorker,
            fn_constructor_args=(load, out, job.form, checksums),
            batch_size=1,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(min_size=1, max_size=max(1, gpus or cpus)),
            **({"num_gpus": 1} if gpus else {"num_cpus": 1}),
        )
        for row in written.iter_rows():
            record: dict[str, Any] = json.loads(row["record"])
            if "error" in record:
                raise DataError(job.store.place, f"a worker failed: {record['error']}")
            yield record


@contextmanager
def _connected(address: str) -> Iterator[tuple[Any, Any]]:
    """Connect to a cluster, and make each row of Ray Data a block of its own.

    Raises:
        ModelError: If the cluster cannot be reached, or fails.
    """
    ray, data = require("ray", extra="ray"), require("ray.data", extra="ray")
    connected = ray.is_initialized()
    try:
        if not connected:
            _check_reachable(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = data.DataContext.get_current()
        before = context.target_max_block_size, context.enable_progress_bars
        context.target_max_block_size, context.enable_progress_bars = 1, False
        try:
            yield ray, data
        finally:
            context.target_max_block_size, context.enable_progress_bars = before
    except (ray.exceptions.RayError, OSError, ValueError) as error:
        if isinstance(error, NestvecError):
            raise
        problem = f"the Ray cluster at {address} cannot be used ({first_line(error)})"
        raise ModelError(f"{problem}. Check that it runs, and that nodes have nestvec.") from error
    finally:
        if not connected:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Check that a server listens at ``host:port``; Ray itself would try for minutes.

    Raises:
        OSError: If none does.
    """
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdigit():  # not "auto", and not a URL
        socket.create_connection((host, int(port)), timeout=_REACHABLE_S).close()
