"""Stands in for ``subprocess`` where Python starts a script: a copy of this process runs it, as ``__main__``.

A fork has all that is imported already; a new Python takes five seconds to import the package.
"""

import os
import runpy
import signal
import subprocess
import sys
import tempfile

from engine_kills import Forked

DEVNULL, STDOUT, PIPE = subprocess.DEVNULL, subprocess.STDOUT, subprocess.PIPE


class Popen:
    """A script of Python under way.

    Args:
        command: ``sys.executable``, the script and its arguments.
        stdout: an open file, for errors too.
        env: the whole environment, as for ``subprocess``.
        cwd: folder to work in.
        others: what a fork needs not be told.
    """

    def __init__(self, command, *, stdout, env=None, cwd=None, **others):
        assert command[0] == sys.executable
        self._process = Forked(lambda: run_script(command[1:], env, cwd), stdout.fileno())
        self.pid, self.returncode = self._process.pid, None

    def poll(self):
        """The exit code, None until there is one."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout=300):
        """The exit code."""
        if self.returncode is None:
            self.returncode = self._process.wait(timeout)
        return self.returncode

    def terminate(self):
        """Ask it to end."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self):
        """End it."""
        os.kill(self.pid, signal.SIGKILL)


def run(command, *, stdout=None, capture_output=False, check=False, text=True, **others):
    """As ``subprocess.run``, which has all but scripts of this Python; what a fork prints counts as its errors too."""
    if command[0] != sys.executable:
        return subprocess.run(command, stdout=stdout, capture_output=capture_output, check=check, text=text, **others)
    with tempfile.TemporaryFile("w+") as said:
        code = Popen(command, stdout=stdout or said, **others).wait()
        said.seek(0)
        words = said.read()
    done = subprocess.CompletedProcess(command, code, words, words)
    if check:
        done.check_returncode()
    return done


def run_script(words, env, cwd):
    """What the fork does."""
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)
    sys.argv = [str(word) for word in words]
    sys.path[:0] = [
        os.path.dirname(os.path.abspath(sys.argv[0])),
        *filter(None, os.environ.get("PYTHONPATH", "").split(":")),
    ]
    runpy.run_path(sys.argv[0], run_name="__main__")
