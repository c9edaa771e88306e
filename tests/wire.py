"""A proxy between a browser and the server that keeps every byte which the server sends."""

from __future__ import annotations

import socket
import threading


class Wire:
    """Listens on `address` for the server at `host`:`port`. Plain HTTP only; ask for no compression, to read it."""

    def __init__(self, host: str, port: int):
        self._server = (host, port)
        self._lock, self._sent = threading.Lock(), bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def taken(self) -> str:
        """What the server has sent since the last call."""
        with self._lock:
            text, self._sent = self._sent.decode("utf-8", "replace"), bytearray()
        return text

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listener.accept()
                server = socket.create_connection(self._server)
            except OSError:
                return
            threading.Thread(target=self._pump, args=(browser, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, browser, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, kept: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if kept:
                    with self._lock:
                        self._sent += data
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                end.close()
