"""Videos out and in."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from neuraltex.capture.video import probe_video, read_video
from neuraltex.capture.video_writer import VideoWriter, write_video
from neuraltex.errors import InputError

HEIGHT, WIDTH, COUNT = 46, 62, 7


def smooth_frames(count: int = COUNT, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Gradients whose brightness tells the frame and whose axes tell rows from columns."""
    rows, columns = np.mgrid[0:height, 0:width]
    frames = [np.stack([40 + 3 * columns, 60 + 2 * rows, np.full_like(rows, 30 * i + 20)], -1) for i in range(count)]
    return np.stack(frames).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_video_round_trip(tmp_path: Path, suffix: str):
    frames = smooth_frames()
    path = tmp_path / "deep" / f"v.{suffix}"
    write_video(path, frames, 12.5)
    info = probe_video(path)
    assert (info.width, info.height, info.fps, info.rotation_deg) == (WIDTH, HEIGHT, 12.5, 0)
    assert info.num_frames == COUNT
    video = read_video(path)
    assert video.frames.shape == frames.shape
    assert video.num_frames == COUNT
    np.testing.assert_allclose(video.seconds, np.arange(COUNT) / 12.5, atol=2e-3)
    error = video.frames.astype(float) - frames
    # Measured: 0.9 mean, 6 at most, of which chroma at half resolution is the most.
    assert np.abs(error).mean() < 1.5
    assert np.abs(error).max() <= 9
    assert list((tmp_path / "deep").iterdir()) == [path]


def test_saturated_colours_survive_the_colour_matrix(tmp_path: Path):
    # A BT.601/BT.709 mix-up shifts pure green by about 40 of 255.
    patches = np.zeros((3, 16, 48, 3), np.uint8)
    patches[:, :, :16, 0] = patches[:, :, 16:32, 1] = patches[:, :, 32:, 2] = 200
    write_video(tmp_path / "v.mp4", patches, 10)
    got = read_video(tmp_path / "v.mp4").frames
    for x in (8, 24, 40):
        # Measured: 3.
        assert np.abs(got[1, 8, x].astype(int) - patches[1, 8, x]).max() <= 6


def test_odd_sizes_repeat_the_last_row_and_column(tmp_path: Path):
    frames = smooth_frames(3, 31, 45)
    write_video(tmp_path / "v.mp4", torch.from_numpy(frames), 10)
    got = read_video(tmp_path / "v.mp4").frames
    assert got.shape == (3, 32, 46, 3)
    assert np.abs(got[:, :31, :45].astype(float) - frames).mean() < 1.5
    assert np.abs(got[:, 31, :45].astype(float) - frames[:, 30]).mean() < 3


def test_frames_can_be_picked_and_shrunk(tmp_path: Path):
    write_video(tmp_path / "v.mp4", smooth_frames(), 10)
    every = read_video(tmp_path / "v.mp4", every=3, max_size=31)
    assert every.frames.shape == (3, 23, 31, 3)
    assert (every.indices, every.num_frames) == ((0, 3, 6), COUNT)
    assert [round((int(f[5, 5, 2]) - 20) / 30) for f in every.frames] == [0, 3, 6]
    kept = read_video(tmp_path / "v.mp4", keep=[5, 1])
    assert kept.indices == (1, 5)
    assert [round((int(f[5, 5, 2]) - 20) / 30) for f in kept.frames] == [1, 5]


def copy_packets(source_path: Path, sink_path: Path, **options: str) -> None:
    """The same pictures in a new container, not encoded anew."""
    with av.open(str(source_path)) as source, av.open(str(sink_path), "w", options=options) as sink:
        stream = source.streams.video[0]
        copied = sink.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copied
                sink.mux(packet)


def rotated_video(path: Path, degrees: int) -> None:
    """A video whose header asks players to turn it, as phones write them."""
    write_video(path.with_name("plain.mp4"), smooth_frames(), 10)
    copy_packets(path.with_name("plain.mp4"), path)
    # The track header's 3x3 matrix (16.16 fixed point) begins 52 bytes after its version in version 0.
    content = bytearray(path.read_bytes())
    start = content.find(b"tkhd") + 4 + 40
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    for i, value in ((0, cosine), (1, sine), (3, -sine), (4, cosine)):
        content[start + 4 * i : start + 4 * i + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(content)


@pytest.mark.parametrize(("clockwise", "turns"), [(0, 0), (90, 3), (180, 2), (270, 1)])
def test_rotation_of_phone_videos(tmp_path: Path, clockwise: int, turns: int):
    rotated_video(tmp_path / "v.mp4", clockwise)
    upright = np.rot90(smooth_frames(), turns, axes=(1, 2))  # numpy turns counter-clockwise
    info = probe_video(tmp_path / "v.mp4")
    assert (info.width, info.height) == (upright.shape[2], upright.shape[1])
    got = read_video(tmp_path / "v.mp4").frames
    assert np.abs(got.astype(float) - upright).mean() < 1.5


def test_a_folder_of_png_files_is_exact(tmp_path: Path):
    frames = torch.from_numpy(smooth_frames(3, 31, 45)).float() / 255
    write_video(tmp_path / "out", frames, 10)
    names = sorted(entry.name for entry in (tmp_path / "out").iterdir())
    assert names == ["000000.png", "000001.png", "000002.png"]
    for i, name in enumerate(names):
        with Image.open(tmp_path / "out" / name) as image:
            assert (np.asarray(image) == smooth_frames(3, 31, 45)[i]).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    with pytest.raises(InputError, match=r"out: exists already; remove it"):
        write_video(tmp_path / "out", frames, 10)


@pytest.mark.parametrize("name", ["v.mp4", "out"])
def test_nothing_is_left_when_rendering_fails(tmp_path: Path, name: str):
    def render():
        with VideoWriter(tmp_path / name, 10) as writer:
            writer.write(smooth_frames(1)[0])
            raise KeyError("rendering failed")

    with pytest.raises(KeyError):
        render()
    with pytest.raises(ValueError, match=r"frames: expected at least one"):
        write_video(tmp_path / name, [], 10)
    with pytest.raises(ValueError, match=r"frame: expected the size of the first one"):
        write_video(tmp_path / name, [np.zeros((4, 6, 3)), np.zeros((6, 4, 3))], 10)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"v.gif: .gif is no video format .* use .mp4"):
        VideoWriter(tmp_path / "v.gif", 10)
    with pytest.raises(ValueError, match=r"^fps"):
        VideoWriter(tmp_path / "v.mp4", 0)
    with pytest.raises(ValueError, match=r"frame: expected the shape \[H, W, 3\], got \[4, 6\]"):
        write_video(tmp_path / "v.mp4", [np.zeros((4, 6))], 10)
    with pytest.raises(ValueError, match=r"frame: expected uint8 or floating-point, got int64"):
        write_video(tmp_path / "v.mp4", [np.zeros((4, 6, 3), np.int64)], 10)
    with pytest.raises(ValueError, match=r"^every"):
        read_video(tmp_path / "v.mp4", every=0)


def faststart(path: Path) -> bytes:
    """The same video with its index in front, as web sites serve it."""
    fast = Path(f"{path}.fast.mp4")
    copy_packets(path, fast, movflags="faststart")
    return fast.read_bytes()


def test_broken_videos(tmp_path: Path):
    path = tmp_path / "v.mp4"
    with pytest.raises(InputError, match=r"v.mp4: the video does not exist"):
        read_video(path)
    path.write_text("hello\n" * 100)
    with pytest.raises(InputError, match=r"v.mp4: could not be decoded as a video .* convert it to H.264"):
        read_video(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"v.mp4: could not be decoded as a video"):
        read_video(path)
    write_video(path, smooth_frames(), 10)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"v.mp4: could not be decoded as a video"):
        read_video(path)
    path.write_bytes(content)
    front = faststart(path)
    path.write_bytes(front[:-5])
    with pytest.raises(InputError, match=r"v.mp4: the video is cut off: 1 of 7 frames lie beyond .*download it again"):
        read_video(path)
    with pytest.raises(InputError, match=r"is a folder, a video file was expected"):
        read_video(tmp_path)


def test_sound_is_no_video(tmp_path: Path):
    with av.open(str(tmp_path / "a.mp4"), "w") as sink:
        stream = sink.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            sink.mux(packet)
    with pytest.raises(InputError, match=r"a.mp4: holds no video stream"):
        read_video(tmp_path / "a.mp4")


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_fuzz_videos(tmp_path: Path, data: st.DataObject):
    path = tmp_path / "v.mp4"
    if not path.exists():
        write_video(path, smooth_frames(3), 10)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content)))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content[:at] + data.draw(st.binary(max_size=8)) + content[at + data.draw(st.integers(0, 8)) :])
    try:
        read_video(broken)
    except InputError as error:
        assert str(broken) in str(error)


@pytest.mark.parametrize(("suffix", "codec"), [("mov", "prores"), ("webm", "vp9")])
def test_alpha_survives(tmp_path: Path, suffix: str, codec: str):
    frames = np.concatenate([smooth_frames(), np.full((COUNT, HEIGHT, WIDTH, 1), 255, np.uint8)], axis=3)
    frames[:, :20, :, 3], frames[:, 20:30, :, 3] = 0, 128
    path = tmp_path / f"v.{suffix}"
    write_video(path, frames, 10, alpha=True)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == codec
        decoder = stream.codec_context
        if codec == "vp9":  # FFmpeg's own decoder passes over alpha
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        found = [f.to_ndarray(format="rgba") for packet in container.demux(stream) for f in decoder.decode(packet)]
    assert len(found) == COUNT
    alpha = np.stack(found)[..., 3].astype(int)
    # Measured: 1 of 255 away from the edges.
    for rows, value in ((slice(2, 18), 0), (slice(22, 28), 128), (slice(32, 44), 255)):
        assert np.abs(alpha[:, rows] - value).max() <= 3
    colour = np.stack(found)[..., :3].astype(int) - frames[..., :3]
    assert np.abs(colour[:, 32:]).mean() < 2.5  # measured 1.5


def test_alpha_as_png_files_is_exact(tmp_path: Path):
    frames = np.random.default_rng(0).integers(0, 256, (2, 9, 7, 4), dtype=np.uint8)
    write_video(tmp_path / "frames", frames, 10, alpha=True)
    assert (np.asarray(Image.open(tmp_path / "frames" / "000001.png")) == frames[1]).all()


def test_formats_without_alpha_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"\.mp4 is no video format that can be written with alpha"):
        write_video(tmp_path / "v.mp4", np.zeros((1, 8, 8, 4), np.uint8), 10, alpha=True)
    with pytest.raises(ValueError, match=r"expected the shape \[H, W, 4\]"):
        write_video(tmp_path / "v.mov", smooth_frames(1), 10, alpha=True)
    assert not list(tmp_path.iterdir())
