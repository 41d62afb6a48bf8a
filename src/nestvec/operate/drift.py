"""Detect that the model of an index, or its documents, have changed since the index was built.

The model is compared with the canaries of the index: texts with the vectors that it returned
before. Sampled documents are compared with the calibration of the codes. Nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from nestvec.codec.codec import MAX_MISFIT
from nestvec.engines.canaries import Canaries
from nestvec.engines.engine import Engine
from nestvec.errors import InvalidArgument, ModelError, ModelMismatch
from nestvec.index.canaries import fresh_encoder
from nestvec.index.model import IndexModel, load_recorded_model
from nestvec.models.api.address import is_api_name, without_address
from nestvec.models.api.costs import api_encoder
from nestvec.models.encoding import embed
from nestvec.models.paired import stores_documents
from nestvec.operate.drift_report import CalibrationCheck, CanaryCheck, CodecFit
from nestvec.operate.live.database import LiveDatabase
from nestvec.operate.live.indexes import LiveIndex
from nestvec.types import Encoder, OperatingPoint
from nestvec.wording import count_text

MIN_COSINE = 0.999
"""Default of the lowest cosine of a canary that passes.

all-MiniLM-L6-v2 on 30 abstracts of SciFact (``benchmarks/results/canary_cosines.json``): another
batch size and storing float16 lower the cosine by 3e-8, and bfloat16 instead of float32 by at most
8e-5. A prompt ("passage: ") lowers it by up to 5e-3, and random noise of 1 % of the standard
deviation of each tensor of weights by up to 1.1e-3. Answers of an API to one text also differ:
pairs of vectors that users of OpenAI published differ by about 3e-5 (of 3,072 values) to 3e-4 (of
1,536 values) per value, which lowers the cosine by at most 1e-4 (half the squared distance). Users
report larger differences for some APIs: these need a lower limit.
"""
_SAMPLED = 2_000  # documents whose values are compared with the calibration


@dataclass(frozen=True)
class DriftOptions:
    """What is compared.

    Attributes:
        canaries: True to encode the canaries, also with an API model, which the texts are then
            sent to; False to encode nothing; None to encode them unless the model is an API model.
        min_cosine: The lowest cosine of a canary that passes.
        seed: Seed of the sample of documents.
    """

    canaries: bool | None = None
    min_cosine: float = MIN_COSINE
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the limit.

        Raises:
            InvalidArgument: If ``min_cosine`` is not above 0 and at most 1.
        """
        if not 0 < self.min_cosine <= 1:
            problem = f"min_cosine={self.min_cosine:g} is not above 0 and at most 1."
            raise InvalidArgument(f"{problem} Example: {MIN_COSINE}.")


class IndexDrift(NamedTuple):
    """How an index differs from its earlier state.

    Attributes:
        canaries: The model; None for a table of other programs, which records no model.
        calibration: The documents; None without calibrated codes.
    """

    canaries: CanaryCheck | None
    calibration: CalibrationCheck | None


def check_drift(live: LiveDatabase, options: DriftOptions) -> IndexDrift:
    """Compare the model and the documents of an index with its earlier state.

    Raises:
        InvalidArgument: If canaries are requested for a table.
        ModelError: As ``check_canaries``.
    """
    if isinstance(live, LiveIndex):
        point = live.path.point or live.engine.manifest.point
        return IndexDrift(
            check_canaries(live.engine, live.model, options),
            check_calibration(live.engine, point, options),
        )
    if options.canaries:
        problem = f"{live.place} is a table of other programs, which has no canaries."
        raise InvalidArgument(f"{problem} Omit --canaries.")
    return IndexDrift(None, None)


def check_canaries(engine: Engine, model: IndexModel, options: DriftOptions) -> CanaryCheck:
    """Encode the canaries of an index again, and compare them with the recorded vectors.

    Args:
        engine: The index.
        model: Its model, which is loaded here unless it is loaded already.
        options: Whether texts may be sent to an API, and the limit.

    Raises:
        ModelError: If ``options.canaries`` is True and the model cannot encode the texts.
    """
    canaries, name = engine.manifest.canaries, engine.manifest.encoding_model.name
    shown = without_address(name)
    skipped = _reason_to_skip(engine, options)
    if canaries is None or skipped:
        return _not_encoded(shown, canaries, skipped, options)
    try:
        encoder, noted = _load(engine, model)
        check_destination(encoder, name)
        return _encode(encoder, canaries, shown, options, noted=noted)
    except ModelError as error:
        if options.canaries:
            raise
        return _not_encoded(shown, canaries, f"not compared: {error}", options)


def check_calibration(
    engine: Engine, point: OperatingPoint, options: DriftOptions
) -> CalibrationCheck | None:
    """Compare sampled documents with the calibration of the codes.

    Returns:
        None if no representation of the point is calibrated, or the index has no documents.
    """
    keys = {stage.representation for stage in point.stages}
    codecs = [codec for key, codec in engine.manifest.codecs.items() if key in keys]
    ids = sorted(engine.ids()) if codecs else []
    drawn = np.random.default_rng(options.seed).permutation(len(ids))[:_SAMPLED]
    vectors = engine.vectors([ids[row] for row in np.sort(drawn)])
    counted = [(codec, codec.count_misfit(vectors)) for codec in codecs if len(vectors)]
    fits = tuple(
        CodecFit(codec.dim, codec.precision, misfit / (len(vectors) * codec.dim))
        for codec, misfit in counted
        if misfit is not None
    )
    if not fits:
        return None
    return CalibrationCheck(len(vectors), fits, engine.stats().outside, MAX_MISFIT)


def check_destination(encoder: Encoder, recorded: str) -> None:
    """Check that texts of an index go to no other API model than the recorded one.

    Raises:
        ModelError: If the encoder is an API model, and the index records another one.
    """
    api = api_encoder(encoder)
    if api is not None and api.info.name != recorded:
        problem = f"the index records {recorded}, and the texts would be sent to {api.info.name}."
        raise ModelError(f"{problem} Pass the recorded model, or no model.")


def _reason_to_skip(engine: Engine, options: DriftOptions) -> str:
    canaries, model = engine.manifest.canaries, engine.manifest.encoding_model
    if canaries is None:
        return f"none are stored. Store some: nestvec index canaries {engine.place}"
    if options.canaries is False:
        return "not compared: --no-canaries"
    if is_api_name(model.name) and not options.canaries:
        texts = count_text(len(canaries.texts), "text")
        return f"not compared. To send {texts} to {without_address(model.name)}, add --canaries"
    return ""


def _load(engine: Engine, model: IndexModel) -> tuple[Encoder, str]:
    """Load the model, also if it is not the recorded one; then also return what differs."""
    try:
        return _fresh(model.encoder, engine.place), ""
    except ModelMismatch:
        # The model of documents alone, because a pair compares its models with the recorded ones.
        alone = replace(engine.manifest.encoding_model, query_model=None)
        encoder = load_recorded_model(alone, engine.place)
        return _fresh(encoder, engine.place), "its files have changed since the index was built"


def _fresh(encoder: Encoder, place: str) -> Encoder:
    if stores_documents(encoder):
        problem = f"{encoder.info.name} contains vectors, so it cannot encode texts."
        remedy = f"Record the model that made the vectors: nestvec index model {place} MODEL"
        raise ModelError(f"{problem} {remedy}")
    return fresh_encoder(encoder)


def _encode(
    encoder: Encoder, canaries: Canaries, shown: str, options: DriftOptions, *, noted: str
) -> CanaryCheck:
    texts = canaries.texts
    ids = [f"canary {number}" for number in range(len(texts))]
    full_dim = canaries.vectors.shape[1]
    if encoder.info.full_dim == full_dim:
        cosines = canaries.cosines(embed(encoder, ids, texts, kind="document"))
    else:  # vectors of another width have nothing in common with the recorded ones
        cosines = np.zeros(len(texts))
        noted = f"it has {encoder.info.full_dim} dims now, and had {full_dim}"
    return CanaryCheck(
        shown,
        len(texts),
        canaries.recorded_at,
        "",
        float(cosines.min()),
        float(cosines.mean()),
        options.min_cosine,
        noted,
    )


def _not_encoded(
    shown: str, canaries: Canaries | None, skipped: str, options: DriftOptions
) -> CanaryCheck:
    n, day = (0, "") if canaries is None else (len(canaries.texts), canaries.recorded_at)
    return CanaryCheck(shown, n, day, skipped, None, None, options.min_cosine)
