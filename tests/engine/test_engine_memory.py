"""Freed memory is kept: large tensors come to lie in pages that are there already."""

import platform
import subprocess
import sys

import pytest

from rle_onestage.engine import memory

# The file alone: the package brings nothing that this needs, and takes seconds to import.
SCRIPT = """
import resource, runpy, sys, torch
keep_freed_memory = runpy.run_path(sys.argv[1])["keep_freed_memory"]

def faults_of_a_large_tensor():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert keep_freed_memory()
first = faults_of_a_large_tensor()
later = [faults_of_a_large_tensor() for _ in range(40)]  # a few until a freed block is wide enough for the next
print(first, max(later[-3:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_further_large_tensors_make_no_page_faults():
    done = subprocess.run([sys.executable, "-c", SCRIPT, memory.__file__], capture_output=True, text=True, check=True)
    first, later = map(int, done.stdout.split())
    assert later < 0.01 * first


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert memory.keep_freed_memory() is False
