"""Open a page in a real browser, with a script in it that goes through it and posts what it saw."""

import queue
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update")
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


def visit(page: Path, script: Path, profile: Path) -> str:
    """Open a page in a browser and return what it posts; in real time, since decoding is too.

    Args:
        page: is changed: the script is put into it.
        script: JavaScript that posts to `ADDRESS`.
        profile: empty folder.
    """
    assert CHROMIUM, "This test needs a browser: install chromium (make browser)."
    posted: queue.Queue[str] = queue.Queue()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code = script.read_text().replace("ADDRESS", f"http://127.0.0.1:{server.server_port}/")
        page.write_text(page.read_text().replace("</body>", f"<script>{code}</script></body>"))
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", page.as_uri()]
        command += [f"--user-data-dir={profile}", "--remote-debugging-port=0", *QUIET]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            try:
                return posted.get(timeout=120)
            finally:
                run.terminate()
                server.shutdown()
