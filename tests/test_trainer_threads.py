from trainer import threads


def test_threads_wait_a_moment_before_they_sleep() -> None:
    environ: dict[str, str] = {}
    threads.settle(environ, 3)
    assert environ["OMP_NUM_THREADS"] == environ["MKL_NUM_THREADS"] == "3"
    assert environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert 0 < int(environ["GOMP_SPINCOUNT"]) <= 10_000


def test_a_persons_own_choice_of_waiting_stays() -> None:
    environ = {"OMP_WAIT_POLICY": "ACTIVE"}
    threads.settle(environ, 2)
    assert environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in environ
