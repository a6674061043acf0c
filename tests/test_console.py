"""What is printed never ends the work of a tool."""

import errno
import io
import logging
import os
import signal
import subprocess
import sys
import warnings

import pytest
from light_package import LIGHT

from rle_onestage.console import LastingStream, QuietWarnings, is_first_on_machine, lasting_output

TOOL = (
    LIGHT
    + """
import logging, os, sys
from rle_onestage.errors import exits_with_sentence

@exits_with_sentence
def main():
    logging.basicConfig(stream=sys.stdout, level="INFO", format="%(message)s")
    for number in range(3000):
        logging.info("line %d of a name that is no text: %s", number, os.fsdecode(b"bad\\xff.jpg"))
    print("the end")
    open(sys.argv[1], "w").close()
    return 3

sys.exit(main())
"""
)


def run(tmp_path, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-c", TOOL, str(tmp_path / "done")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs
    )


def test_a_reader_that_leaves_does_not_end_the_work(tmp_path):
    tool = run(tmp_path)
    assert tool.stdout.read(4) == b"line"
    tool.stdout.close()
    assert (tool.stderr.read(), tool.wait(60)) == (b"", 3) and (tmp_path / "done").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_what_is_lost_to_a_full_disk_is_an_error(tmp_path):
    with open("/dev/full", "wb") as full:
        tool = subprocess.run(
            [sys.executable, "-c", TOOL, str(tmp_path / "done")], stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert tool.returncode == 2 and (tmp_path / "done").exists()
    assert tool.stderr.startswith(b"error: what was printed is lost (No space left on device)")


def test_names_that_the_terminal_cannot_show(tmp_path):
    tool = run(tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii:strict"})
    printed, complaints = tool.communicate(timeout=60)
    assert complaints == b"" and printed.splitlines()[0] == rb"line 0 of a name that is no text: bad\udcff.jpg"
    assert len(printed.splitlines()) == 3001


class Full(io.StringIO):
    """A file on a disk that is full."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "no space")

    flush = write_through = lambda self: self.write("")


@pytest.mark.parametrize("make", [Full, lambda: closed()])
def test_a_stream_that_takes_no_more(make):
    stream = LastingStream(make())
    assert stream.write("a line\n") == 7
    stream.flush()
    print("another", file=stream)
    stream.writelines(["one\n", "more\n"])


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


def test_the_streams_are_as_before(capsys):
    before = sys.stdout, sys.stderr
    with pytest.raises(KeyError), lasting_output():
        handler = logging.StreamHandler(sys.stdout)
        print("shown")
        raise KeyError
    assert (sys.stdout, sys.stderr) == before
    handler.emit(logging.makeLogRecord({"msg": "later"}))
    assert capsys.readouterr() == ("shown\nlater\n", "")


def test_warnings_are_quiet_within_and_filters_stay():
    quiet = QuietWarnings(message="of no use", category=FutureWarning)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        with quiet:
            with quiet:  # another thread's
                warnings.warn("of no use", FutureWarning, stacklevel=1)
            warnings.warn("Of no use at all", FutureWarning, stacklevel=1)
            warnings.warn("of use", FutureWarning, stacklevel=1)
            warnings.filterwarnings("ignore", message="set by a package that is imported here")
        assert warnings.filters[1:] == before and "imported here" in warnings.filters[0][1].pattern
        warnings.warn("of no use", FutureWarning, stacklevel=1)
    assert [str(each.message) for each in shown] == ["of use", "of no use"]


def test_a_filter_of_the_user_stays():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="of no use", category=FutureWarning)
        before = list(warnings.filters)
        with QuietWarnings(message="of no use", category=FutureWarning):
            pass
        assert warnings.filters == before


CLOSED = """
import os, sys
from rle_onestage.console import open_closed_streams
open_closed_streams()
print("to nowhere"); print("to nowhere", file=sys.stderr); assert sys.stdin.read() == ""
made = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
assert made > 2 and not sys.stdout.isatty()
os.write(made, b"done")
"""


def test_streams_that_are_closed_take_what_is_printed(tmp_path):
    """And the files that are opened later do not get their numbers."""
    command = '"$0" -c "$1" "$2" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", command, sys.executable, CLOSED, str(tmp_path / "made")]).returncode == 0
    assert (tmp_path / "made").read_text() == "done"


IMPORTING = """
import os, signal
from rle_onestage.console import leaving_at_once
with leaving_at_once():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException as error:
        raise ImportError("as compiled modules do") from error
"""


@pytest.mark.parametrize(("rank", "said"), [("", "interrupted\n"), ("1", "")])
def test_ctrl_c_during_imports_is_a_word(rank, said):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], capture_output=True, text=True, env={**os.environ, "LOCAL_RANK": rank}
    )
    assert (done.returncode, done.stderr) == (130, said)


STARTING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[0] = "/usr/bin/rle-onestage"
import rle_onestage
if sys.argv[1] == "main":
    from rle_onestage.cli import main
    try:
        main(["install-detectron2", "--help"])
    except SystemExit:
        pass
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("caught", file=sys.stderr)
"""


@pytest.mark.parametrize(("until", "code", "said"), [("import", -signal.SIGINT, ""), ("main", 0, "caught\n")])
def test_ctrl_c_while_the_command_starts_is_no_traceback(until, code, said):
    done = subprocess.run([sys.executable, "-c", STARTING, until], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize(("rank", "first"), [("", True), ("0", True), ("x", True), ("00", True), ("3", False)])
def test_the_first_process_of_a_machine_prints(monkeypatch, rank, first):
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert is_first_on_machine() is first
