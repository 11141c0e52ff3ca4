"""Forked processes, and systems that do not start threads: each case in a process of its own."""

import os
import subprocess
import sys
import textwrap

import pytest

from isthmus import build_info

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or build_info()["threads_backend"] == "serial",
    reason="needs fork() and threads",
)

TOOLS = """
import ctypes, hashlib, os, signal, sys, threading, warnings

def other_user():
    '''Open a parallel region of GNU OpenMP's, as another library would.'''
    runtime = ctypes.CDLL("libgomp.so.1")
    seen = set()
    work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: seen.add(threading.get_native_id()))
    runtime.GOMP_parallel(work, None, ctypes.c_uint(3), ctypes.c_uint(0))
    assert len(seen) == 3
    return len(seen)

def train(num_threads):
    '''Return a digest of a model's weights and predictions.'''
    from isthmus import AutoRec, synthetic_ratings
    ratings = synthetic_ratings(300, 200, 6_000, random_state=0)
    model = AutoRec(hidden_units=(20,), epochs=2, random_state=0, num_threads=num_threads)
    predictions = model.fit(ratings).predict(ratings.user_ids[:200], ratings.item_ids[:200])
    return hashlib.sha256(model.decoder_weights_.tobytes() + predictions.tobytes()).hexdigest()

def count_threads():
    return len(os.listdir("/proc/self/task"))

def most_threads(work):
    '''Return how many threads it started.'''
    before = count_threads()
    counts, over = [], threading.Event()
    def count():
        while not over.is_set():
            counts.append(count_threads())
    counter = threading.Thread(target=count)
    counter.start()
    for _ in range(20):
        work()
    over.set()
    counter.join()
    return max(counts) - before - 1  # without the one that counts

def in_child(work):
    '''Return what work() returns in a forked process, as text.'''
    source, target = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(target, str(work()).encode())
        finally:
            os._exit(0)
    os.close(target)
    with open(source) as file:
        result = file.read()
    os.waitpid(pid, 0)
    return result
"""


def run(script, *, timeout=60, **options):
    """Run a script after TOOLS and return its output; one that hangs fails."""
    process = subprocess.Popen(
        [sys.executable, "-c", TOOLS + textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that its children end with it
        **options,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        pytest.fail(f"it hung:\n{output}")
    if output == "skip\n":
        pytest.skip("the threads of this test's user cannot be limited")
    assert process.returncode == 0, f"exit status {process.returncode}:\n{output}"
    return output


@pytest.fixture
def shared_openmp():
    """Tests with another user of the core's OpenMP runtime."""
    script = "import isthmus; print('/libgomp.so.1' in open('/proc/self/maps').read())"
    if not sys.platform.startswith("linux") or run(script) != "True\n":
        pytest.skip("the core does not use the system's GNU OpenMP")


@pytest.fixture
def counted_threads():
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("threads are counted by /proc")


class TestFork:
    def test_a_child_gets_the_same_bits(self):
        run("""
            expected = train(4)
            for threads in range(1, 6):
                assert in_child(lambda: train(threads)) == expected
            assert train(4) == expected
        """)

    def test_a_child_has_threads(self, counted_threads):
        run("""
            train(3)
            assert in_child(lambda: most_threads(lambda: train(3))) == "2"
        """)

    def test_a_child_of_a_child(self):
        run("""
            expected = train(3)
            assert in_child(lambda: (train(3), in_child(lambda: train(3)))[1]) == expected
        """)

    @pytest.mark.parametrize("early", ["import isthmus", ""])
    def test_another_user_of_openmp_ran_before(self, shared_openmp, early):
        run(f"""
            {early}
            other_user()
            child = in_child(lambda: train(3))  # which imports isthmus if nobody has
            grandchild = in_child(lambda: in_child(lambda: train(3)))
            assert child == grandchild == train(3)
        """)

    def test_another_user_of_openmp_runs_in_the_child(self, shared_openmp):
        run("""
            train(3)
            assert in_child(other_user) == "3"
            assert in_child(other_user) == "3"
            assert train(3) == train(1)
        """)

    def test_import_in_the_child(self):
        run("""
            child = in_child(lambda: train(3))
            assert child == train(3)
        """)

    def test_a_thread_that_trained_forks_and_ends_in_the_child(self):
        run("""
            pids = []
            def work():
                train(3)
                pids.append(os.fork())
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            assert os.waitpid(pids[0], 0)[1] == 0
        """)

    def test_a_thread_forks_while_another_trains(self):
        run("""
            expected, over, wrong = train(3), threading.Event(), []
            def keep_training():
                while not over.is_set():
                    if train(3) != expected:
                        wrong.append("in the parent")
            other = threading.Thread(target=keep_training)
            other.start()
            def fork():
                for _ in range(5):
                    if in_child(lambda: train(3)) != expected:
                        wrong.append("in a child")
            forking = threading.Thread(target=fork)
            forking.start()
            forking.join()
            fork()
            over.set()
            other.join()
            assert not wrong, wrong
        """)

    def test_a_fork_in_the_middle_of_training(self):
        # Python's signal handlers run between two batches, inside the parallel region.
        run("""
            expected, children = train(1), []
            def fork(_, frame):
                if frame.f_code.co_name == "_pass":
                    children.append(in_child(lambda: train(3)))
                signal.setitimer(signal.ITIMER_REAL, 0.003)
            signal.signal(signal.SIGALRM, fork)
            signal.setitimer(signal.ITIMER_REAL, 0.003)
            while len(children) < 5:
                assert train(3) == expected
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert set(children) == {expected}
        """)

    def test_a_thread_forks_while_another_computes_an_attribute(self):
        run("""
            from isthmus import Ratings
            expected, computing, over = train(2), threading.Event(), threading.Event()
            class Values:
                def mean(self, dtype):
                    computing.set()
                    over.wait()
                    return 1.0
                min = max = lambda self: 1.0
            slow = Ratings.__new__(Ratings)
            slow.values = Values()
            other = threading.Thread(target=lambda: slow.mean)
            other.start()
            computing.wait()
            assert in_child(lambda: train(2)) == expected
            over.set()
            other.join()
        """)

    def test_a_pool_of_processes(self):
        run("""
            import multiprocessing
            with multiprocessing.get_context("fork").Pool(2) as pool:
                before = pool.map(train, [2, 3, 4, 5], chunksize=1)
            expected = train(3)
            with multiprocessing.get_context("fork").Pool(2) as pool:
                after = pool.map(train, [2, 3, 4, 5], chunksize=1)
            assert before == after == [expected] * 4
        """)


LIMITS = """
import resource
import isthmus

def limit_threads(threads):
    '''Let this process start all but one of so many threads.'''
    if os.getuid() == 0:  # whom the limit does not bind: become a user without other processes
        try:
            os.setuid(200_000 + os.getpid())
        except OSError:
            sys.exit("skip")
    elif threads > 1:  # this user's other processes count, so that only none can be had for sure
        sys.exit("skip")
    limit = count_threads() + threads - 1
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, resource.getrlimit(resource.RLIMIT_NPROC)[1]))

def warnings_of(work):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    return [(one.category, str(one.message)) for one in caught]
"""


def run_limited(script, **options):
    run(LIMITS + textwrap.dedent(script), **options)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits threads as Linux does")
class TestLimits:
    @pytest.mark.parametrize("allowed", [1, 3])
    def test_fewer_threads_do_the_work_after_one_warning(self, allowed):
        run_limited(f"""
            expected = train(1)
            limit_threads({allowed})
            (category, message), *more = warnings_of(lambda: [train(8), train(8)])
            assert category is RuntimeWarning and not more
            assert message.startswith("The system started only {allowed} of "), message
            assert train(8) == train(1024) == expected
            assert not warnings_of(lambda: train({allowed}))
        """)

    def test_a_team_that_was_started_grows_no_further(self):
        run_limited("""
            expected = train(3)
            limit_threads(3)
            [(_, message)] = warnings_of(lambda: train(6))
            assert message.startswith("The system started only 3 of "), message
            assert train(3) == train(6) == expected
        """)

    def test_a_limit_that_is_gone(self, counted_threads):
        run_limited("""
            soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
            limit_threads(1)
            assert len(warnings_of(lambda: train(4))) == 1
            resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
            assert most_threads(lambda: train(4)) == 3
        """)

    def test_the_warning_as_an_error(self):
        run_limited("""
            limit_threads(1)
            warnings.simplefilter("error")
            try:
                train(4)
            except RuntimeWarning as error:
                assert str(error).startswith("The system started only 1 of 4 threads")
            else:
                assert False, "no warning"
            train(4)
        """)

    def test_a_child_says_so_too(self):
        run_limited("""
            expected = train(4)
            def child():
                limit_threads(1)
                return len(warnings_of(lambda: train(4))), train(4)
            result = in_child(child)
            if result == "":
                sys.exit("skip")
            assert result == str((1, expected))
        """)

    def test_memory_for_stacks(self):
        # 256 MiB a stack: two more threads fit into 600 MiB
        def large_stacks():
            import resource

            _, hard = resource.getrlimit(resource.RLIMIT_STACK)
            resource.setrlimit(resource.RLIMIT_STACK, (2**28, hard))

        run_limited(
            """
            expected = train(1)
            with open("/proc/self/statm") as file:
                size = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + 600 * 2**20,) * 2)
            [(_, message)] = warnings_of(lambda: train(8))
            assert message.startswith("The system started only 3 of "), message
            assert train(8) == expected
            """,
            preexec_fn=large_stacks,
        )


@pytest.mark.parametrize(
    "model",
    [
        'AutoRec(orientation="item", hidden_units=(5,), epochs=1, num_threads=1)',
        'RBM(orientation="item", hidden_units=5, epochs=1, num_threads=1)',
        'BiasedMF(factors=5, epochs=1, optimizer="als", num_threads=1)',
        "CVAE(latent_units=5, epochs=1, num_threads=1)",
        "EASE(num_threads=1)",
    ],
)
def test_a_model_of_one_thread_starts_none(counted_threads, model):
    run(f"""
        from isthmus import AutoRec, BiasedMF, CVAE, EASE, RBM, Ratings, synthetic_ratings
        ratings = synthetic_ratings(300, 200, 6_000, random_state=0)
        model = {model}
        assert most_threads(lambda: model.fit(ratings).recommend(ratings.user_ids[:9], n=3)) == 0
    """)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_the_cpus_that_a_process_is_bound_to():
    run("""
        from isthmus._util.threads import resolve_num_threads
        expected = train(0)
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        assert resolve_num_threads(0) == 1
        assert train(0) == train(5) == expected
    """)
