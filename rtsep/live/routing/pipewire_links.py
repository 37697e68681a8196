"""PipeWire's graph by way of ``pw-link``: which port is linked with which, by the nodes' own names.

JACK's names for devices are made of what people read, and are not good enough: a card's loudspeaker and its microphone
are often described alike, and are one JACK client then, in which a monitor can lie where the microphone is looked for.
"""

from __future__ import annotations

import subprocess

from rtsep.errors import RtsepError


def ports(node: str, kind: str) -> list[str]:
    """Full names of the node's ports, first channel first; kind: "input" or "output" (of a sink: its monitor)."""
    return [line.strip() for line in pw_link(f"--{kind}").splitlines() if line.strip().startswith(f"{node}:")]


def links(node: str) -> set[tuple[str, str]]:
    """(from, to) of every link that begins or ends at the node, full names of ports."""
    found, port = set(), ""
    for line in pw_link("--links").splitlines():
        text = line.strip()
        if text.startswith(("|->", "|<-")):
            other = text[3:].strip()
            found.add((port, other) if text.startswith("|->") else (other, port))
        else:
            port = text
    return {link for link in found if any(end.startswith(f"{node}:") for end in link)}


def lead(source: str, client: str, sink: str, alone: bool = False) -> bool:
    """Link ``source`` to the inputs of ``client``, and its outputs to ``sink``; whether all of them are linked now.

    alone: away with every other link of the client. A source of fewer channels feeds the last one to the rest.
    """
    heard, into = ports(source, "output"), ports(client, "input")
    heard += heard[-1:] * (len(into) - len(heard))
    before = set(zip(heard, into, strict=False))
    behind = set(zip(ports(client, "output"), ports(sink, "input"), strict=False))
    wanted, there = before | behind, links(client)
    for link in there - wanted if alone else ():
        pw_link("--disconnect", *link)
    for link in wanted - there:
        pw_link(*link)
    return bool(before and behind) and wanted <= links(client)


def pw_link(*arguments: str) -> str:
    """What it prints. Raises RtsepError when it does not answer; that a port is gone is no error."""
    try:
        return subprocess.run(["pw-link", *arguments], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RtsepError(f"pw-link did not answer ({error}); is PipeWire alive?") from None
