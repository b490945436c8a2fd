"""`lineup serve`: the engine behind HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lineup.cli.lineup_options import question_from_choices, question_options
from lineup.cli.options import batch_option, engine_options
from lineup.cli.tables import say
from lineup.errors import require_extra

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MIB = 2**20


@click.command(short_help="Answer over HTTP, with a page to drop images on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen at; 0 takes a free one.",
)
@click.option(
    "--keys",
    "keys_path",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Who may ask: a file of hashed keys, made by --make-key.  [default: everybody who "
    "reaches the port, and nobody enrols]",
)
@click.option(
    "--make-key", metavar="NAME", help="Add a key to the file of --keys, print it once, and end."
)
@click.option("--may-enroll", is_flag=True, help="The key of --make-key may enrol.")
@click.option(
    "--max-body",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    metavar="MIB",
    help="Largest request.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=64_000_000,
    show_default=True,
    help="Largest image, told before it is decoded.",
)
@click.option(
    "--queue",
    "queue_images",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    metavar="IMAGES",
    help="Images that may wait; one more is answered 429.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="From a request's headers to its answer.",
)
@batch_option
@question_options
@engine_options
def serve(
    *,
    host: str,
    port: int,
    keys_path: Path | None,
    make_key: str | None,
    may_enroll: bool,
    max_body: int,
    max_pixels: int,
    queue_images: int,
    deadline: float,
    batch: int,
    **choices: Any,
) -> None:
    """Answer over HTTP: POST /v1/attribute gives the row of `lineup attribute --json`.

    \b
    lineup serve
    curl --data-binary @image.jpg http://127.0.0.1:8000/v1/attribute

    SIGTERM and Ctrl-C end it when everything that was taken is answered. Logs are JSON lines on
    stderr, without names or content of images. Images are never written to disk.
    """  # noqa: D301 - as in `main.py`
    require_extra("serve", ["prometheus_client", "python_multipart", "starlette", "uvicorn"])
    from lineup.serve.app import ServeOptions, app_from_engine
    from lineup.serve.keys import KeyFile
    from lineup.serve.server import Server, log_to_stderr
    from lineup.stream import StreamOptions

    if may_enroll and make_key is None:
        raise click.UsageError("--may-enroll is about the key of --make-key.")
    if make_key is not None:
        _make_key(keys_path, make_key, may_enroll=may_enroll)
        return
    keys = None if keys_path is None else KeyFile(keys_path)
    question = question_from_choices(choices, scan=StreamOptions(group_images=batch))
    options = ServeOptions(
        max_body_bytes=max_body * MIB,
        max_pixels=max_pixels,
        queue_images=queue_images,
        deadline_seconds=deadline,
        is_local=host in LOOPBACK,
    )
    if keys is None and host not in LOOPBACK:
        say(f"note: whoever reaches {host} may ask; --keys says who may.", err=True)
    log_to_stderr()
    server = Server(host, port, deadline)
    server.serve_app(
        app_from_engine(
            question.open_engine,
            question.options,
            question.scan,
            options,
            keys=keys,
            on_end=server.stop,
        )
    )


def _make_key(path: Path | None, name: str, *, may_enroll: bool) -> None:
    from lineup.serve.keys import make_key

    if path is None:
        raise click.UsageError("--make-key needs --keys FILE, where the key's hash is kept.")
    say(make_key(path, name, may_enroll=may_enroll))
