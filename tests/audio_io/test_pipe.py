"""Standard input to standard output while it comes in."""

from __future__ import annotations

import os
import struct
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtsep.audio_io.raw import KINDS, RawFormat, parse_raw
from rtsep.errors import InputError
from tests.program import assert_one_sentence, command, environment, names, rtsep, spawn, write
from tests.recordings import identity_model, noisy

pytestmark = pytest.mark.long  # programs, started over and over


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("kind", KINDS)
def test_samples_survive_the_way_to_bytes_and_back(kind):
    form, sound = RawFormat(kind, 48000, 2), np.random.default_rng(1).uniform(-1, 1, (999, 2)).astype(np.float32)
    data = form.encode(sound)
    assert len(data) == 999 * form.frame
    back = form.decode(data)
    assert np.abs(back - sound).max() <= (0 if kind[0] == "f" else 1 / (1 << min(23, 8 * KINDS[kind][0] - 1)))
    assert form.encode(back) == data
    if kind[0] != "f":
        assert np.abs(form.decode(form.encode(2 * sound))).max() <= 1  # clipped, not wrapped


@pytest.mark.parametrize("text", ["s16le", "s16le:48000", "s15le:48000:1", "s16le:fast:1", "s16le:48000:1:2", "a:b:c"])
def test_raw_that_is_none(text):
    with pytest.raises(InputError, match="KIND:RATE:CHANNELS"):
        parse_raw(text)


def test_wav_through_a_pipe_is_the_file_that_would_be_written(here, model):
    content = bytearray(write("in.wav", 2.0, 44100).read_bytes())
    content += b"LIST" + struct.pack("<I", 4) + b"INFO"
    content[4:8] = struct.pack("<I", len(content) - 8)
    assert rtsep("denoise", "in.wav", "-o", "file.wav", "--model", model).exit_code == 0
    done = spawn("denoise", "-", "--model", model, input=bytes(content))
    assert (done.returncode, done.stderr) == (0, b"")
    Path("pipe.wav").write_bytes(done.stdout)
    assert np.array_equal(soundfile.read("pipe.wav", dtype="int16")[0], soundfile.read("file.wav", dtype="int16")[0])
    assert len(done.stdout) == len(content) and done.stdout.endswith(b"INFO")


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF])
def test_a_wav_of_unknown_length_ends_with_its_input(here, model, length):
    content = bytearray(write("in.wav").read_bytes())
    content[40:44] = struct.pack("<I", length)
    done = spawn("denoise", "-", "-o", "-", "--strength", "0", "--model", model, input=bytes(content))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout[44:] == content[44:]
    assert done.stdout[40:44] == b"\xff" * 4


def test_an_input_that_is_cut_is_flushed_and_said_to_be(here, model):
    content = write("in.wav", 2.0).read_bytes()
    for options, code in (((), 1), (("--salvage",), 0)):
        done = spawn("denoise", "-", "--strength", "0", "--model", model, *options, input=content[:20_001])
        assert done.returncode == code
        assert b"cut off after 0.6 s" in done.stderr
        assert done.stdout == content[:20_000]


@pytest.mark.parametrize(("text", "width"), [("s16le:48000:2", 4), ("f32le:16000:1", 4)])
def test_sound_without_a_header(here, model, text, width):
    form = parse_raw(text)
    sound = noisy(form.sample_rate, form.channels, 1.0)
    done = spawn("denoise", "-", "--raw", text, "--strength", "0", "--model", model, input=form.encode(sound))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == form.encode(sound)
    # and to a file, which has a header
    options = ("-o", "out.wav", "--strength", "0", "--model", model)
    assert spawn("denoise", "-", "--raw", text, *options, input=form.encode(sound)).returncode == 0
    assert np.array_equal(soundfile.read("out.wav", dtype="float32", always_2d=True)[0], form.decode(done.stdout))


def test_other_files_are_read_to_their_end_first(here, model):
    content = write("in.flac").read_bytes()
    done = spawn("denoise", "-", "--model", model, input=content)
    assert (done.returncode, done.stderr) == (0, b"")
    Path("out.wav").write_bytes(done.stdout)
    assert soundfile.info("out.wav").frames == 16000
    assert names(here) == ["in.flac", "out.wav"]


def test_sound_comes_out_while_it_goes_in(model):
    """Every 10 ms in, as an encoder that works in real time would; what is out lags by the model's window only."""
    form = parse_raw("f32le:48000:1")
    data = form.encode(noisy(48000, 1, 3.0))
    words = command("denoise", "-", "--raw", "f32le:48000:1", "--strength", "0", "--model", model)
    program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), bufsize=0)
    assert program.stdin is not None and program.stdout is not None
    got = bytearray()
    reader = threading.Thread(target=lambda: [got.extend(piece) for piece in iter(lambda: _piece(program), b"")])
    reader.start()
    block = 480 * 4
    for at in range(0, len(data), block):
        program.stdin.write(data[at : at + block])
        wanted = at + block - 512 * 4  # the latency of the model is half of that
        deadline = time.monotonic() + 120  # a program that waits for the end of its input never gets there
        while len(got) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(got) >= wanted, at
    program.stdin.close()
    reader.join(60)
    assert program.wait(60) == 0
    assert bytes(got) == data


def _piece(program: subprocess.Popen[bytes]) -> bytes:
    assert program.stdout is not None
    return os.read(program.stdout.fileno(), 1 << 16)


def test_what_cannot_be_is_one_sentence(here, model):
    write("in.wav")
    assert_one_sentence(rtsep("denoise", "in.wav", "--raw", "s16le:48000:1", "--model", model), "name - as the file")
    loud = RawFormat("f32le", 16000, 1).encode(noisy() * np.float32(32768))
    done = spawn("denoise", "-", "--raw", "f32le:16000:1", "--model", model, input=loud)
    assert done.returncode == 2 and b"full scale is 1" in done.stderr
    done = spawn("denoise", "-", "--raw", "s16le:100:1", "--model", model, input=bytes(1000))
    assert done.returncode == 2 and b"100" in done.stderr
    done = spawn("denoise", "-", "--model", model, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert_one_sentence(done, "standard input is empty")
