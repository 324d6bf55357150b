#!/usr/bin/env python3
"""Makes the test vectors of docs/protocol.md, from its text alone and with Python's standard library.

Prints tests/protocol/vectors.txt."""

import hashlib
import hmac
import ipaddress
import struct


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


# ChaCha20-Poly1305, RFC 8439.


def chacha_block(key, counter, nonce):
    def rotate(value, bits):
        return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF

    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    start += list(struct.unpack("<8L", key)) + [counter] + list(struct.unpack("<3L", nonce))
    state = list(start)
    columns = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
    diagonals = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for _ in range(10):
        for a, b, c, d in columns + diagonals:
            for x, y, z, bits in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
                state[x] = (state[x] + state[y]) & 0xFFFFFFFF
                state[z] = rotate(state[z] ^ state[x], bits)
    return struct.pack("<16L", *((a + b) & 0xFFFFFFFF for a, b in zip(start, state)))


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at : at + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def seal(key, nonce, plain, additional):
    stream = b"".join(chacha_block(key, n + 1, nonce) for n in range((len(plain) + 63) // 64))
    sealed = bytes(a ^ b for a, b in zip(plain, stream))
    padded = lambda data: data + bytes(-len(data) % 16)
    message = padded(additional) + padded(sealed) + struct.pack("<QQ", len(additional), len(sealed))
    return sealed + poly1305(chacha_block(key, 0, nonce)[:32], message)


assert seal(  # RFC 8439, section 2.8.2
    bytes(range(0x80, 0xA0)),
    bytes.fromhex("070000004041424344454647"),
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    b"sunscreen would be it.",
    bytes.fromhex("50515253c0c1c2c3c4c5c6c7"),
)[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"


# docs/protocol.md, "Changing sequences".


def sequence(secret, door, window, first, last):
    size = last - first + 1
    ports = []
    for n in range(256):
        block = mac(secret, struct.pack(">QB", window, n) + door.encode())
        for (number,) in struct.iter_unpack(">H", block):
            port = first + number % size
            if number < 65536 // size * size and port not in ports:
                ports.append(port)
                if len(ports) == 4:
                    return ports


# docs/protocol.md, "The packet".


def packet(key, nonce, time, seconds, address, door):
    tag = mac(mac(key, b"ketuk 1 tag"), struct.pack(">Q", time // 120))[:8]
    kind, packed = 0, b""
    if address:
        address = ipaddress.ip_address(address)
        kind, packed = address.version, address.packed
    plain = struct.pack(">QLBB16s32s2x", time, seconds, kind, len(door), packed, door.encode())
    return tag + nonce + seal(mac(key, b"ketuk 1 seal"), nonce, plain, tag)


SECRETS = [bytes(range(20)), b"0123456789abcdef", bytes(range(64))]
RANGES = [(20000, 29999), (1, 65535), (1, 39321), (40000, 44095)]
for secret in SECRETS:
    for door, time, (first, last) in zip(
        ["ssh", "nas", "a_door_with_the_longest_name_ther", "ssh"], [0, 59, 1795340357, 20000000000], RANGES
    ):
        window = time // 30
        door = door[:32]
        ports = " ".join(map(str, sequence(secret, door, window, first, last)))
        print("sequence", secret.hex(), door, window, first, last, ports)
# Windows in which a port is drawn twice, first as the third port, then as the fourth.
for window in [59845855, 59846584]:
    ports = " ".join(map(str, sequence(SECRETS[0], "ssh", window, 20000, 24095)))
    print("sequence", SECRETS[0].hex(), "ssh", window, 20000, 24095, ports)
for n, (time, seconds, address, door) in enumerate(
    [
        (1795340357, 0, "", "ssh"),
        (1795340400, 600, "192.0.2.1", "nas"),
        (1795340399, 4294967295, "2001:db8::1", "a_door_with_the_longest_name_th"),
        (20000000000, 1, "", "A"),
    ]
):
    key, nonce = hashlib.sha256(bytes([n])).digest(), bytes(range(n, n + 12))
    print("packet", key.hex(), nonce.hex(), time, seconds, address or "-", door, packet(key, nonce, time, seconds, address, door).hex())
