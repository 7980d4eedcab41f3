"""Tasklets that talk through channels: a line of stations, each of which adds something to what passes through.

    python examples/channels.py

A channel is a rendezvous: `send` waits until somebody receives, `receive` until somebody sends. `balance` is the number
of tasklets that wait to send, or, below zero, to receive. A loop over a channel receives until `StopIteration` is sent.
"""

from __future__ import annotations

import itertools

import overlapped

STATIONS = 1000
PARCELS = 10


def station(incoming: overlapped.Channel[int], outgoing: overlapped.Channel[int]) -> None:
    for parcel in incoming:
        outgoing.send(parcel + 1)
    outgoing.send_exception(StopIteration)


def loading(first: overlapped.Channel[int]) -> None:
    for parcel in range(PARCELS):
        first.send(parcel)
    first.send_exception(StopIteration)


def main() -> None:
    channels: list[overlapped.Channel[int]] = [overlapped.Channel() for _ in range(STATIONS + 1)]
    for incoming, outgoing in itertools.pairwise(channels):
        overlapped.spawn(station, incoming, outgoing)

    overlapped.sleep(0)  # The others run, until each waits.
    if channels[0].balance != -1:
        raise SystemExit("the first station does not wait to receive")

    overlapped.spawn(loading, channels[0])
    arrived = list(channels[-1])
    if arrived != [parcel + STATIONS for parcel in range(PARCELS)]:
        raise SystemExit(f"the parcels arrived as {arrived}")
    print(f"channels: {PARCELS} parcels went through {STATIONS} stations, {PARCELS * (STATIONS + 1)} hand-overs")


main()
