"""Which picture comes next: by a clock that the tests set."""

from __future__ import annotations

import threading

import pytest

from neuraltex.viewer.schedule import (
    MEMORY,
    MOTION_SECONDS,
    REST_SECONDS,
    STEP_SECONDS,
    Job,
    Pace,
    RenderLoop,
    Schedule,
    SupersededError,
)

FULL = 800


class Clock:
    """Seconds by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def learned(seconds_at_full: float) -> Pace:
    pace = Pace(FULL)
    pace.learn(FULL, seconds_at_full)
    return pace


def make(seconds_at_full: float = 1.0) -> tuple[Schedule[str], Clock]:
    clock = Clock()
    return Schedule(learned(seconds_at_full), clock=clock), clock


def taken(schedule: Schedule[str]) -> Job[str]:
    job = schedule.next()
    assert isinstance(job, Job)
    return job


def test_the_newest_camera_wins():
    schedule, _ = make()
    for view in ("first", "second", "third"):
        schedule.ask("me", view)
    job = taken(schedule)
    assert job.view == "third"
    assert not job.refines
    schedule.ask("me", "fourth")  # while the third is rendered
    schedule.done(job, 0.1)
    assert taken(schedule).view == "fourth"


def test_a_picture_at_rest_is_sharpened_in_steps_until_it_is_full():
    schedule, clock = make(seconds_at_full=4.0)
    schedule.ask("me", "view")
    job = taken(schedule)
    sizes = [job.size]
    assert job.size < FULL
    schedule.done(job, 4.0 * (job.size / FULL) ** 2)
    assert schedule.next() == pytest.approx(REST_SECONDS), "not while it may still be moving"
    clock.now += REST_SECONDS
    while isinstance(job := schedule.next(), Job):
        assert job.refines
        sizes.append(job.size)
        schedule.done(job, 4.0 * (job.size / FULL) ** 2)
    assert job == float("inf")
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == FULL
    assert 3 <= len(sizes) <= 5


def test_motion_comes_before_sharpness_and_interrupts_it():
    schedule, clock = make()
    schedule.ask("me", "view")
    schedule.done(taken(schedule), 0.1)
    clock.now += REST_SECONDS
    sharpening = taken(schedule)
    assert sharpening.refines
    assert not schedule.is_superseded(sharpening)
    schedule.ask("you", "elsewhere")
    assert schedule.is_superseded(sharpening), "somebody else moves, and there is one thread"
    moving = taken(schedule)
    assert moving.client == "you"
    assert not schedule.is_superseded(moving), "or nothing would ever be shown"


def test_clients_take_turns():
    schedule, clock = make()
    served = []
    for round_ in range(6):
        schedule.ask("me", f"my {round_}")
        schedule.ask("you", f"your {round_}")
        job = taken(schedule)
        served.append(job.client)
        clock.now += 0.1
        schedule.done(job, 0.1)
    assert sorted(served) == ["me"] * 3 + ["you"] * 3


def test_an_unchanged_camera_asks_for_nothing_and_a_changed_scene_for_everything():
    schedule, clock = make(seconds_at_full=0.01)
    schedule.ask("me", "view")
    job = taken(schedule)
    assert job.size == FULL, "fast enough: no smaller one first"
    schedule.done(job, 0.01)
    clock.now += 1.0
    better = taken(schedule)
    assert (better.size, better.refines) == (FULL, True), "once more at rest, to be encoded well"
    schedule.done(better, 0.01)
    schedule.ask("me", "view")
    assert schedule.next() == float("inf")
    schedule.ask_again()
    assert taken(schedule).view == "view"


def test_who_has_gone_is_forgotten():
    schedule, _ = make()
    schedule.ask("me", "view")
    job = taken(schedule)
    schedule.forget("me")
    schedule.done(job, 0.1)
    assert schedule.next() == float("inf")


def test_the_size_in_motion_follows_what_pictures_take():
    pace = learned(8.0)
    assert pace.expect(FULL) == 8.0
    assert pace.expect(pace.moving()) <= MOTION_SECONDS
    larger = [size for size in pace.sizes if size > pace.moving()]
    assert pace.expect(larger[0]) > MOTION_SECONDS
    assert pace.after(pace.moving()) > pace.moving()
    assert pace.expect(pace.after(pace.moving())) <= STEP_SECONDS
    slow = pace.moving()
    for size in pace.sizes:  # the machine is free again
        for _ in range(8):
            pace.learn(size, 1e-4 * size)
    assert slow < pace.moving() == FULL
    assert learned(1e6).moving() == pace.sizes[0], "never nothing at all"


def test_one_slow_picture_does_not_shrink_the_next():
    pace = Pace(FULL)
    pace.learn(pace.sizes[0], 0.001)
    before = pace.moving()
    pace.learn(pace.sizes[0], 0.003)
    pace.learn(pace.sizes[0], 0.001)
    assert pace.sizes.index(before) - pace.sizes.index(pace.moving()) <= 1


def test_a_size_that_was_slow_once_is_tried_again():
    pace = Pace(FULL)
    small, larger = pace.sizes[2], pace.sizes[3]
    for _ in range(3):
        pace.learn(larger, 10 * MOTION_SECONDS)  # somebody else had the machine
        pace.learn(small, 0.4 * MOTION_SECONDS)
    assert pace.moving() < larger
    for _ in range(MEMORY + 1):
        pace.learn(small, 0.4 * MOTION_SECONDS)
    assert pace.moving() >= larger


def test_a_fixed_size_never_changes():
    pace = Pace(FULL, fixed=True)
    for seconds in (5.0, 50.0):
        assert pace.sizes == (FULL,)
        assert pace.moving() == FULL
        pace.learn(FULL, seconds)
    assert pace.copy().sizes == (FULL,)


def test_unknown_machines_begin_small():
    assert Pace(FULL).moving() == Pace(FULL).sizes[0] == 100


def test_the_loop_shows_the_newest_goes_on_after_errors_and_stops():
    schedule: Schedule[str] = Schedule(Pace(FULL, fixed=True))
    shown: list[str] = []
    failures: list[Exception] = []
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def render(job: Job[str], give_up) -> None:
        begun.set()
        assert go.wait(5.0)
        if job.view == "broken":
            raise ValueError("no such view")
        shown.append(job.view)
        if job.view == "last":
            ended.set()

    loop = RenderLoop(schedule, render, lambda _, error: failures.append(error))
    schedule.ask("me", "broken")
    loop.start()
    assert begun.wait(5.0)
    for view in ("stale", "staler", "last"):
        schedule.ask("me", view)
    go.set()
    assert ended.wait(5.0)
    loop.stop()
    assert shown == ["last"]
    assert [str(error) for error in failures] == ["no such view"]
    assert schedule.wait() is None


def test_a_picture_that_was_given_up_is_made_later():
    schedule, clock = make()
    schedule.ask("me", "view")
    schedule.done(taken(schedule), 0.1)
    clock.now += REST_SECONDS

    def give_up(job: Job[str], superseded) -> None:
        raise SupersededError

    job = taken(schedule)
    RenderLoop(schedule, give_up, lambda *_: pytest.fail("no error")).run(job)
    assert taken(schedule).size == job.size
