"""Pages in a headless browser, where one is installed, with node and the packages of projects/web_demo."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
WEB_DEMO = HERE.parent / "projects" / "web_demo"
ORT_FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PUPPETEER = "puppeteer-core/lib/esm/puppeteer/puppeteer-core.js"


def node_modules():
    """The folder of ``npm install onnxruntime-web puppeteer-core``; skips the test without it or without a browser."""
    folders = [WEB_DEMO / "node_modules", *map(Path, filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep)))]
    there = [each for each in folders if (each / PUPPETEER).is_file() and (each / "onnxruntime-web").is_dir()]
    if not there or not shutil.which("node") or not browser():
        pytest.skip("needs a Chromium, node, and npm install onnxruntime-web puppeteer-core in projects/web_demo")
    return there[0]


def browser():
    """Path of a Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def copy_runtime(folder):
    """Put onnxruntime-web's files into a folder of a page."""
    for name in ORT_FILES:
        shutil.copy(node_modules() / "onnxruntime-web" / "dist" / name, folder)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


def seen_on(folder, page, expression):
    """What an expression gives on a page of a folder, once ``document.body.dataset.done`` is set there.

    Args:
        folder: whose files are served on this machine.
        page: its name, and a query.
        expression: of JavaScript, whose value is JSON.
    """
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{page}"
        command = ["node", str(HERE / "browser.mjs"), str(node_modules() / PUPPETEER), browser(), address, expression]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=500)
        finally:
            server.shutdown()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
