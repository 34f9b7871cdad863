"""Opening files: what is not a readable model file is refused, whatever it is instead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeinfer._ffi import ffi, lib
from tests.core.c_api import NULL, ok, refused
from tests.core.programs import chain


def open_(path: Path | str) -> tuple[int, object]:
    model = ffi.new("ei_model **")
    code = lib().ei_model_open(os.fsencode(path), model)
    return code, model[0]


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.edge"
    path.write_bytes(chain().write())
    return path


def test_a_file_is_opened_and_closed_any_number_of_times(model_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    for _ in range(100):
        code, model = open_(model_path)
        ok(code)
        assert lib().ei_model_program_count(model) == 1
        lib().ei_model_close(model)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    code, model = open_(tmp_path / "nowhere.edge")
    refused(code, "EI_ERROR_FILE", "nowhere.edge'", "cannot be opened", "No such file")
    assert model == NULL


def test_a_folder_is_refused(tmp_path: Path) -> None:
    refused(open_(tmp_path)[0], "EI_ERROR_FILE", "is not a regular file")


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.edge")
    refused(open_(tmp_path / "pipe.edge")[0], "EI_ERROR_FILE", "is not a regular file")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.edge").touch()
    refused(open_(tmp_path / "empty.edge")[0], "EI_ERROR_FORMAT", "the file is empty")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_refused(model_path: Path) -> None:
    model_path.chmod(0)
    refused(open_(model_path)[0], "EI_ERROR_FILE", "cannot be opened", "Permission denied")


def test_an_error_in_the_file_comes_with_its_path(model_path: Path) -> None:
    data = bytearray(model_path.read_bytes())
    data[-1] ^= 1
    model_path.write_bytes(data)
    refused(open_(model_path)[0], "EI_ERROR_CHECKSUM", f"'{model_path}'"[-40:], "metadata")
    model_path.write_bytes(data[:100])
    refused(open_(model_path)[0], "EI_ERROR_FORMAT", "truncated")


def test_a_file_may_be_replaced_by_renaming_while_it_is_open(model_path: Path) -> None:
    code, model = open_(model_path)
    ok(code)
    new = model_path.with_suffix(".new")
    new.write_bytes(b"something else")
    new.replace(model_path)
    text, size = ffi.new("const char **"), ffi.new("size_t *")
    ok(lib().ei_model_metadata(model, text, size))
    assert bytes(ffi.buffer(text[0], size[0])) == b'{"made":"by hand"}'
    lib().ei_model_close(model)
