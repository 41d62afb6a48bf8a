"""``nestvec verify``: check a certificate, with or without its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli.console import print_json, print_wrapped
from nestvec.cli.models import ModelChoice, load_encoder, model_options
from nestvec.cli.options import JsonOption
from nestvec.cli.runs import add_own_scores
from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.operate.certificate import Certificate
    from nestvec.operate.verification import CertificateCheck

_Certificate = Annotated[
    Path, typer.Argument(help="Certificate that 'nestvec plan --certificate' wrote.")
]
_Curve = Annotated[
    Path | None,
    typer.Option(help="Curve of the certificate, to compare all scores and to choose again."),
]
_OwnScores = Annotated[
    Path | None,
    typer.Option(
        "--scores",
        metavar="FILE",
        help="Your own scores, if the certificate was written with 'nestvec plan --scores'.",
    ),
]
_Data = Annotated[
    Path | None,
    typer.Option(help="Data set of the certificate, to compare its content by sha256."),
]
_Subset = Annotated[
    str | None,
    typer.Option(help="Name of one set of a repository of the hub that contains several."),
]
_Queries = Annotated[
    Path | None,
    typer.Option(help="Query log of the certificate, if --data is a corpus without queries."),
]
_Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Model folder, Hugging Face hub id or vectors of the certificate, to compare the "
        "sha256. No text is encoded.",
    ),
]
_DIFFERENT = 1
_OPTIONS = ("adapter", "query_prompt", "document_prompt", "trust_remote_code", "models")


@model_options(*_OPTIONS, "query_model", "same_space")
def verify(
    certificate: _Certificate,
    *,
    curve: _Curve = None,
    scores: _OwnScores = None,
    data: _Data = None,
    subset: _Subset = None,
    queries: _Queries = None,
    model: _Model = None,
    choice: ModelChoice,
    as_json: JsonOption = False,
) -> None:
    """Check that the statement of a certificate follows from its scores.

    The split, means, bound and verdict are computed again. No texts are needed. The exit code is 0
    if the certificate is valid, 1 if a value differs, and 2 if a file cannot be read.

    Example: nestvec verify certificate.json --data scifact
    """
    from nestvec.curve.curve import Curve
    from nestvec.operate.certificate import Certificate
    from nestvec.operate.verification import verify_certificate

    if curve is None and scores is not None:
        raise InvalidArgument("--scores needs a curve. Add --curve CURVE.")
    if data is None and (queries is not None or subset is not None):
        raise InvalidArgument("--queries and --subset need a data set. Add --data DATASET.")
    if model is None and choice != ModelChoice():
        raise InvalidArgument("Options of the model need a model. Add --model MODEL.")
    loaded = Certificate.load(certificate)
    metric = loaded.record.goal.metric
    check = verify_certificate(
        loaded,
        curve=None if curve is None else add_own_scores(Curve.load(curve), scores, metric),
        data=None if data is None else _load(data, loaded, queries, subset),
        model=None if model is None else load_encoder(model, choice).info,
    )
    if as_json:
        print_json({"statement": loaded.statement.to_json(), **check.to_json()})
    else:
        for line in _lines(loaded, check):
            print_wrapped(line)
    if not check.valid:
        raise typer.Exit(_DIFFERENT)


def _lines(certificate: Certificate, check: CertificateCheck) -> Iterator[str]:
    stated = certificate.statement
    if not check.valid:
        yield "DIFFERENT: the certificate does not match."
        yield from (f"- {each}." for each in check.differences)
        return
    yield f"VALID: {stated.text}."
    data, model = certificate.dataset, certificate.model
    yield f"model: {model.identity}"
    yield f"data: {data.get('name')}, {data.get('split')}"
    yield f"checked: {', '.join(check.checked)}"
    if check.not_checked:
        options = ", ".join(f"--{name}" for name in check.not_checked)
        yield f"not checked: {', '.join(check.not_checked)} (pass {options})"
    yield from stated.covers
    order = "" if "curve" in check.checked else " and that the test had the stated order, "
    order = order and f"{order}which only --curve shows"
    yield (
        f"The numbers follow from the scores. The check does not show that the scores were "
        f"measured honestly{order}. To check the scores, measure again."
    )


def _load(
    place: Path, certificate: Certificate, queries: Path | None, subset: str | None
) -> RetrievalSet:
    """Load the data set as ``nestvec evaluate`` did: labeled, a query log, or generated queries."""
    from nestvec.data.corpus import load_corpus
    from nestvec.data.made_queries import make_queries
    from nestvec.data.retrieval import load_dataset, load_query_log
    from nestvec.operate.verification import recorded_hashes

    recorded_hashes(certificate)  # raises before a long reading if there are none
    evidence, split = certificate.dataset.get("evidence"), certificate.dataset.get("split")
    if queries is not None:
        return load_query_log(place, queries)
    if evidence == "made queries":
        source: Any = split  # make_queries checks the value
        return make_queries(load_corpus(place), source=source, name=place.resolve().name)
    labeled = None if evidence == "agreement" else split
    return load_dataset(place, split=labeled, subset=subset)
