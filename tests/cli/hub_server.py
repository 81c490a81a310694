"""A hub on 127.0.0.1 that misbehaves on request, and the storage server that it redirects to."""

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers with `handle(request)`; notes (method, path, Authorization, Range) of each request."""

    daemon_threads = True

    def __init__(self, handle):
        self.requests = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.requests.append((self.command, unquote(self.path), self.headers.get("Authorization"),
                                        self.headers.get("Range")))
                try:
                    handle(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

            def answer(self, status, body=b"", headers=None, claimed=None, pace=None):
                """`claimed`: another length than the body's; `pace`: seconds between pieces."""
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) if claimed is None else claimed))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                step = len(body) if pace is None else 4096
                for at in range(0, len(body), max(step, 1)):
                    self.wfile.write(body[at:at + step])
                    time.sleep(pace or 0)
                if claimed is not None and claimed != len(body):
                    self.close_connection = True

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that hangs up is no error here."""

    def close(self):
        self.shutdown()
        self.server_close()


class Hub:
    """A model `org/name` with `files` (bytes by name); those in `large` are redirected to the storage server."""

    def __init__(self):
        self.files = {"config.json": b"{}", "tokenizer.json": b'{"a": 1}', "model.safetensors": b"w" * 300_000,
                      "pytorch_model.bin": b"pickle", "README.md": b"read me", "original/x.safetensors": b"x",
                      "consolidated.safetensors": b"the same once more"}
        self.large = {"model.safetensors"}
        self.token = None         # required, when set
        self.status = {}          # by path's beginning: status to answer with, and how often
        self.location = None      # of the storage, when it is another
        self.headers = {}         # to add to the answers for files
        self.index_changes = {}   # to the answer of the API
        self.blobs = True         # whether the API says sizes and digests
        self.cut = []             # lengths of the next answers of the storage: shorter than announced
        self.wrong = 0            # how many answers of the storage have wrong bytes
        self.ranges = "right"     # or "ignored", "refused" (416), "shifted"
        self.delay = 0.0          # before the storage's bytes
        self.pace = None          # seconds between pieces of the storage's answer
        self.storage = Server(self.serve_storage)
        self.hub = Server(self.serve_hub)
        self.url = self.hub.url

    def close(self):
        self.storage.close()
        self.hub.close()

    def digest(self, name):
        content = self.files[name]
        return hashlib.sha256(content).hexdigest() if name in self.large else git_sha1(content)

    def index(self):
        siblings = []
        for name, content in self.files.items():
            entry = {"rfilename": name}
            if self.blobs:
                entry.update(size=len(content), blobId=git_sha1(content))
                if name in self.large:
                    entry["lfs"] = {"sha256": self.digest(name), "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        return {"id": "org/name", "sha": COMMIT, "siblings": siblings, **self.index_changes}

    def planned_status(self, path):
        for start, (status, times) in self.status.items():
            if path.startswith(start) and times > 0:
                self.status[start] = (status, times - 1)
                return status
        return None

    def serve_hub(self, request):
        path = unquote(urlsplit(request.path).path)
        status = self.planned_status(path)
        if status is None and self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            status = 401
        if status is not None:
            headers = {"X-Error-Code": "RevisionNotFound"} if status == 404 and "/revision/" in path else {}
            request.answer(status, b"no", headers)
            return
        if path.startswith("/api/models/org/name/revision/"):
            request.answer(200, json.dumps(self.index()).encode())
            return
        match = re.fullmatch(rf"/org/name/resolve/{COMMIT}/(.+)", path)
        if not match or match[1] not in self.files:
            request.answer(404, b"no")
            return
        name = match[1]
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{self.digest(name)}"', **self.headers}
        if name in self.large:
            location = self.location or f"{self.storage.url}/store/{name}?signature=1"
            headers.update({"X-Linked-Etag": f'"{self.digest(name)}"', "Location": location,
                            "X-Linked-Size": str(len(self.files[name]))})
            request.answer(302, b"Found", headers)
        else:
            request.answer(200, self.files[name], headers)

    def serve_storage(self, request):
        path = urlsplit(request.path).path
        status = self.planned_status(path)
        if status is not None:
            request.answer(status, b"no")
            return
        content = self.files[path.rsplit("/", 1)[1]]
        if self.wrong > 0:
            self.wrong -= 1
            content = b"?" + content[1:]
        time.sleep(self.delay)
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "")
        start, status, headers = 0, 200, {}
        if wanted and self.ranges == "refused":
            request.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        if wanted and self.ranges != "ignored":
            start, status = int(wanted[1]), 206
            said = start + (1 if self.ranges == "shifted" else 0)
            headers["Content-Range"] = f"bytes {said}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        cut = self.cut.pop(0) if self.cut else len(body)
        request.answer(status, body[:cut], headers, claimed=len(body), pace=self.pace)
