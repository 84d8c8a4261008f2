"""A camera that speaks RTSP (RFC 2326) and sends JPEGs as RTP (RFC 2435) in the same connection."""

import contextlib
import itertools
import socketserver
import struct
import threading
import time
from collections.abc import Iterator, Sequence

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 26\r\na=control:track\r\n"
)


def parts(jpeg: bytes) -> tuple[bytes, bytes]:
    """The two quantisation tables and the scan of a baseline JPEG of 4:2:0."""
    tables, place = b"", 2
    while True:
        marker, length = jpeg[place + 1], struct.unpack_from(">H", jpeg, place + 2)[0]
        if marker == 0xDB:
            segment = jpeg[place + 4 : place + 2 + length]
            tables += b"".join(segment[i + 1 : i + 65] for i in range(0, len(segment), 65))
        place += 2 + length
        if marker == 0xDA:
            return tables, jpeg[place:-2]


def packets(jpeg: bytes, width: int, height: int, number: int, sequence: Iterator[int]) -> Iterator[bytes]:
    tables, scan = parts(jpeg)
    for offset in range(0, len(scan), 1000):
        piece = scan[offset : offset + 1000]
        last = offset + 1000 >= len(scan)
        rtp = struct.pack(">BBHII", 0x80, 26 | last << 7, next(sequence) & 0xFFFF, number * 3600, 1)
        head = struct.pack(">I", offset) + bytes([1, 255, width // 8, height // 8])
        if offset == 0:
            head += struct.pack(">BBH", 0, 0, len(tables)) + tables
        data = rtp + head + piece
        yield struct.pack(">BBH", 0x24, 0, len(data)) + data


@contextlib.contextmanager
def running(jpegs: Sequence[bytes], width: int, height: int) -> Iterator[str]:
    """Give the address of a camera that sends the pictures at 25 a second, once a connection, then hangs up."""

    class Camera(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline().decode():
                headers = {}
                while header := self.rfile.readline().decode().strip():
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                method = line.split()[0]
                answer, body = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n", ""
                if method == "DESCRIBE":
                    body = SDP
                    answer += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
                elif method == "SETUP":
                    assert "TCP" in headers["transport"]
                    answer += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
                self.wfile.write(f"{answer}\r\n{body}".encode())
                if method == "PLAY":
                    sequence = itertools.count()
                    for number, jpeg in enumerate(jpegs):
                        self.wfile.write(b"".join(packets(jpeg, width, height, number, sequence)))
                        time.sleep(0.04)
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Whoever hung up had seen enough."""

    with Server(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"rtsp://user:secret@127.0.0.1:{server.server_address[1]}/live"
        server.shutdown()
