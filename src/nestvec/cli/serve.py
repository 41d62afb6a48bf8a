"""``nestvec serve``: serve an index, a model or both over HTTP."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.console import print_line
from nestvec.cli.models import LOADING, PAIR, ModelChoice, model_options
from nestvec.cli.options import PlanOption, ServeDtypeOption
from nestvec.errors import InvalidArgument, require
from nestvec.wording import percent

if TYPE_CHECKING:
    from socket import socket

    from nestvec.serve.served import Served
    from nestvec.serve.settings import Settings
    from nestvec.serve.shadow import Shadow, ShadowSettings


_Paths = Annotated[
    list[str],
    typer.Argument(
        help="What to serve: an index (folder or URL), a model folder or hub id, one of each, or "
        "the folder that 'nestvec demo' wrote."
    ),
]
_Host = Annotated[str, typer.Option(help="Address to listen on.")]
_Port = Annotated[int, typer.Option(help="Port to listen on; 0 selects a free port.")]
_Name = Annotated[
    str | None,
    typer.Option(
        help="Name of the model in requests and answers.",
        show_default="the name of the folder",
    ),
]
_Tier = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=POINT",
        help="Offer an operating point under a name, such as fast=64:int4. Repeat the option for "
        "several tiers.",
    ),
]
_Curve = Annotated[
    Path | None, typer.Option(help="Curve file that 'nestvec evaluate' wrote, to be shown.")
]
_ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        help="File of API keys that clients must send, one key a line.",
        show_default="the keys in $NESTVEC_API_KEYS",
    ),
]
_Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Allow other computers to connect without an API key."),
]
_Writable = Annotated[
    bool, typer.Option("--writable", help="Allow clients to add and delete documents.")
]
_AllowAnyDimension = Annotated[
    bool,
    typer.Option(
        "--allow-any-dimension",
        help="Allow embeddings of dims that the model was not trained for.",
    ),
]
_DefaultDimensions = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Number of dims of embeddings in responses to requests that name neither dims nor a "
        "tier, for clients that cannot send 'dimensions'.",
        show_default="all dims",
    ),
]
_AllowAnyPoint = Annotated[
    bool,
    typer.Option(
        "--allow-any-point",
        help="Allow searches at operating points that are not tiers. A server that only this "
        "computer can reach always allows them.",
    ),
]
_AcceptTokenIds = Annotated[
    bool,
    typer.Option(
        "--accept-token-ids",
        help="Accept all token ids in the range of the model's vocabulary. Without this option, "
        "token ids must begin and end with the model's special tokens.",
    ),
]
_DecodeTokenIds = Annotated[
    str | None,
    typer.Option(
        metavar="ENCODING",
        help="Decode token ids of requests to text with an encoding of OpenAI, such as "
        "cl100k_base, which LangChain uses by default. Requires tiktoken.",
        show_default="token ids are not decoded",
    ),
]
_AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL",
        help="Web site whose pages may call the API, such as https://example.org. Repeat the "
        "option for several sites.",
    ),
]
_AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST",
        help="Host name under which clients reach the server. Repeat the option for several names.",
    ),
]
_Shadow = Annotated[
    str | None,
    typer.Option(
        metavar="INDEX",
        help="Second index (folder or URL). A share of the searches is sent to this index as "
        "well, in the background, and its results are compared (GET /v1/shadow). Clients always "
        "get the results of the first index.",
    ),
]
_ShadowShare = Annotated[
    float | None,
    typer.Option(
        help="Share of the searches that is sent to --shadow, such as .05.", show_default="0.05"
    ),
]
_ShadowPoint = Annotated[
    str | None,
    typer.Option(
        metavar="POINT",
        help='Operating point of --shadow, such as "64:binary@200>512:int8".',
        show_default="the point of that index",
    ),
]
_ShadowTexts = Annotated[
    bool,
    typer.Option(
        "--shadow-texts",
        help="Keep the texts, filters and result ids of the worst recent queries of --shadow in "
        "memory, and show them in GET /v1/shadow.",
    ),
]


@model_options("adapter", *LOADING, *PAIR, dtype=ServeDtypeOption)
def serve(
    paths: _Paths,
    *,
    host: _Host = "127.0.0.1",
    port: _Port = 8000,
    name: _Name = None,
    tier: _Tier = None,
    curve: _Curve = None,
    plan: PlanOption = None,
    api_key_file: _ApiKeyFile = None,
    insecure: _Insecure = False,
    writable: _Writable = False,
    allow_any_dimension: _AllowAnyDimension = False,
    default_dimensions: _DefaultDimensions = None,
    allow_any_point: _AllowAnyPoint = False,
    accept_token_ids: _AcceptTokenIds = False,
    decode_token_ids: _DecodeTokenIds = None,
    allow_origin: _AllowOrigin = None,
    allow_host: _AllowHost = None,
    shadow: _Shadow = None,
    shadow_share: _ShadowShare = None,
    shadow_point: _ShadowPoint = None,
    shadow_texts: _ShadowTexts = False,
    choice: ModelChoice,
) -> None:
    """Serve an index or a model over HTTP, with an OpenAI-compatible API and a web page.

    Example: nestvec serve nestvec-demo --tier fast=64:int4
    """
    require("fastapi", extra="serve")
    require("uvicorn", extra="serve")
    from nestvec.models.api.address import is_loopback
    from nestvec.serve.running import listen
    from nestvec.serve.served import load_served
    from nestvec.serve.tiers import read_tiers

    settings = replace(
        _access(host, api_key_file, allow_host, allow_origin, insecure=insecure),
        writable=writable,
        allow_any_dimension=allow_any_dimension,
        default_dimensions=default_dimensions,
        allow_any_point=allow_any_point or is_loopback(host),
        accept_token_ids=accept_token_ids,
        decode_token_ids=decode_token_ids,
    )
    tiers = read_tiers(tier or [])
    second = _shadow_settings(shadow, shadow_share, shadow_point, texts=shadow_texts)
    with listen(host, port) as listening:
        served = load_served(
            paths,
            adapter=choice.adapter,
            name=name,
            tiers=tiers,
            curve=curve,
            plan=plan,
            models=choice.models,
            **choice.loading,
        )
        _serve_until_stopped(served, settings, listening, _open_shadow(shadow, served, second))


def _shadow_settings(
    place: str | None, share: float | None, point: str | None, *, texts: bool
) -> ShadowSettings:
    from nestvec.serve.shadow import ShadowSettings
    from nestvec.types import OperatingPoint

    if place is None and (share is not None or point is not None or texts):
        options = "--shadow-share, --shadow-point and --shadow-texts"
        raise InvalidArgument(f"{options} need a second index. Pass --shadow INDEX.")
    parsed = None if point is None else OperatingPoint.parse(point)
    default = ShadowSettings.share
    return ShadowSettings(share=default if share is None else share, point=parsed, texts=texts)


def _open_shadow(place: str | None, served: Served, settings: ShadowSettings) -> Shadow | None:
    from nestvec.serve.shadow import load_shadow

    return None if place is None else load_shadow(place, served, settings)


def _access(
    host: str,
    api_key_file: Path | None,
    allow_host: list[str] | None,
    allow_origin: list[str] | None,
    *,
    insecure: bool,
) -> Settings:
    """Return the settings of who may connect: API keys, accepted host names and web sites."""
    from nestvec.models.api.address import is_loopback
    from nestvec.serve.keys import read_keys
    from nestvec.serve.settings import LOOPBACK_NAMES, Settings, check_binding

    keys = read_keys(api_key_file, os.environ)
    check_binding(host, keys=keys, insecure=insecure)
    restricted = is_loopback(host) or allow_host
    names = (*LOOPBACK_NAMES, *(allow_host or ())) if restricted else ()  # () accepts all
    return Settings(keys=keys, allow_origins=tuple(allow_origin or ()), allow_hosts=names)


def _serve_until_stopped(
    served: Served, settings: Settings, listening: socket, shadow: Shadow | None
) -> None:
    from nestvec.models.prompts import prompts_text, query_model_text
    from nestvec.serve.app import create_app
    from nestvec.serve.logs import log_to
    from nestvec.serve.running import run

    served.warm_up()
    shared = replace(settings, encoders=served.share_processors())
    app = create_app(served, shared, shadow=shadow)
    host, port = listening.getsockname()[:2]
    print_line(f"serving {served.name} at http://{f'[{host}]' if ':' in host else host}:{port}/")
    model = served.model
    if model is not None and model.info.query_model is not None:
        print_line(query_model_text(model.info))
    if model is not None and any(model.info.prompts.values()):
        print_line(prompts_text(model.info))
    if shadow is not None:
        share = f"{percent(shadow.settings.share)} of the searches"
        print_line(f"{share} are also sent to {shadow.place} at {shadow.point}")
    log_to(sys.stderr)
    run(app, listening, patience_s=settings.limits.timeout_s)
