#!/usr/bin/env python3
"""The line between a phone and a router: two TAP devices, and what one sends comes out of the other, later or not at all.
(netem does the same, but not every kernel has it.)

usage: line.py PHONE_NAMESPACE DEVICE ROUTER_NAMESPACE DEVICE

Each line on standard input is the delay there and back, in ms, and the loss each way, in percent: `300 5`. It answers
`ok`. Loss is drawn from a fixed seed."""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP_NO_PI = 0x1002
CLONE_NEWNET = 0x40000000
# Most frames under way: a browser sends some dozens.
FRAMES = 10_000


def tap(namespace, device):
    """A TAP device that is in another network namespace."""
    with open(namespace, encoding="ascii") as there:
        if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TAP_NO_PI))
    return end


def main():
    phone, phone_device, router, router_device = sys.argv[1:]
    ends = [tap(phone, phone_device), tap(router, router_device)]
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    delay_s, loss, chance = 0.0, 0.0, random.Random(17)
    waiting, number = [], 0
    print("ok", flush=True)
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, frame = heapq.heappop(waiting)
            try:
                os.write(to, frame)
            except OSError:
                # The device is down: the frame is lost.
                pass
        until = waiting[0][0] - now if waiting else None
        ready, _, _ = select.select([*ends, sys.stdin], [], [], until)
        for source in ready:
            if source is sys.stdin:
                line = sys.stdin.readline()
                if not line:
                    return
                delay_ms, percent = map(float, line.split())
                delay_s, loss = delay_ms / 2000, percent / 100
                print("ok", flush=True)
                continue
            try:
                frame = os.read(source, 65536)
            except OSError:
                continue
            if chance.random() >= loss and len(waiting) < FRAMES:
                number += 1
                heapq.heappush(waiting, (time.monotonic() + delay_s, number, other[source], frame))


main()
