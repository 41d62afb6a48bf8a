"""``nestvec serve``: an index, a model or both over HTTP."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.console import say
from nestvec.errors import require

if TYPE_CHECKING:
    from socket import socket

    from nestvec.serve.served import Served
    from nestvec.serve.settings import Settings


def serve(
    paths: Annotated[
        list[str], typer.Argument(help="Index folder, model folder, one of each, or the demo's.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    adapter: Annotated[Path | None, typer.Option(help="Put this behind the model.")] = None,
    name: Annotated[str | None, typer.Option(help="What clients call the model.")] = None,
    tier: Annotated[
        list[str] | None, typer.Option(help="NAME=POINT, as fast=64:int4; may be repeated.")
    ] = None,
    curve: Annotated[Path | None, typer.Option(help="What `nestvec evaluate` wrote.")] = None,
    plan: Annotated[Path | None, typer.Option(help="What `nestvec plan` wrote.")] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="Keys, one a line [those in NESTVEC_API_KEYS].")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen for other machines without a key.")
    ] = False,
    writable: Annotated[bool, typer.Option("--writable", help="Let documents be changed.")] = False,
    allow_any_dimension: Annotated[
        bool, typer.Option("--allow-any-dimension", help="Also dims that were not trained for.")
    ] = False,
    allow_any_point: Annotated[
        bool, typer.Option("--allow-any-point", help="Also points that are no tiers.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Another site whose pages may ask; may be repeated.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name this server is called by; may be repeated.")
    ] = None,
) -> None:
    """Serve an OpenAI-compatible API, and a page to see it all.

    Example: `nestvec serve nestvec-demo --tier fast=64:int4`
    """
    require("fastapi", extra="serve")
    require("uvicorn", extra="serve")
    from nestvec.serve.keys import read_keys
    from nestvec.serve.running import listen
    from nestvec.serve.served import load_served
    from nestvec.serve.settings import LOOPBACK_NAMES, Settings, check_binding, is_loopback
    from nestvec.serve.tiers import read_tiers

    keys = read_keys(api_key_file, os.environ)
    check_binding(host, keys=keys, insecure=insecure)
    local = is_loopback(host)
    settings = Settings(
        keys=keys,
        writable=writable,
        allow_any_dimension=allow_any_dimension,
        allow_any_point=allow_any_point or local,
        allow_origins=tuple(allow_origin or ()),
        allow_hosts=(*LOOPBACK_NAMES, *(allow_host or ())) if local or allow_host else (),
    )
    tiers = read_tiers(tier or [])
    with listen(host, port) as listening:
        served = load_served(paths, adapter=adapter, name=name, tiers=tiers, curve=curve, plan=plan)
        _answer(served, settings, listening)


def _answer(served: Served, settings: Settings, listening: socket) -> None:
    from nestvec.serve.app import create_app
    from nestvec.serve.logs import log_to
    from nestvec.serve.running import run

    served.warm_up()
    app = create_app(served, replace(settings, encoders=served.share_processors()))
    host, port = listening.getsockname()[:2]
    say(f"{served.name} is served at http://{f'[{host}]' if ':' in host else host}:{port}/")
    log_to(sys.stderr)
    run(app, listening, patience_s=settings.limits.timeout_s)
