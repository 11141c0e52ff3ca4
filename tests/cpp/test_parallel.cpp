#include "isthmus/core/parallel.hpp"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "isthmus/core/version.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

using isthmus::index_t;
using isthmus::parallel_for;
using isthmus::parallel_ranges;
using isthmus::with_team;

namespace {

// How often each of `pieces` pieces was done.
std::vector<int> counts_of(index_t pieces, int num_threads) {
    std::vector<std::atomic<int>> done(static_cast<std::size_t>(pieces));
    parallel_for(pieces, num_threads,
                 [&](index_t piece) { ++done[static_cast<std::size_t>(piece)]; });
    return {done.begin(), done.end()};
}

bool every_piece_once(index_t pieces, int num_threads) {
    return counts_of(pieces, num_threads) == std::vector<int>(static_cast<std::size_t>(pieces), 1);
}

// Whether a loop at this place carries out the exception of one of its pieces.
bool carries_exception(int num_threads) {
    try {
        parallel_for(100, num_threads, [](index_t piece) {
            if (piece == 13) throw std::runtime_error("piece 13");
        });
    } catch (const std::runtime_error& error) {
        return error.what() == std::string("piece 13");
    }
    return false;
}

void every_piece_is_done_once() {
    for (const int threads : {1, 2, 3, 8}) {
        for (const index_t pieces : {0, 1, 2, 7, 1000}) CHECK(every_piece_once(pieces, threads));
    }
}

// Subnormal numbers count as 0 in a loop, whoever runs it, and are themselves again after it.
void subnormal_numbers_are_flushed_inside_alone() {
    volatile float tiny = 1e-30f;
    const auto subnormal = [&] { return tiny * 1e-10f; };
    for (const int threads : {1, 2, 5}) {
        std::atomic<int> flushed{0};
        parallel_for(50, threads, [&](index_t) { flushed += subnormal() == 0.0f; });
        CHECK_EQUAL(flushed.load(), 50);
        with_team(threads, [&] { CHECK_EQUAL(subnormal(), 0.0f); });
        CHECK(subnormal() > 0.0f);
    }
}

void ranges_cover_everything_once() {
    for (const index_t count : {0, 1, 15, 16, 17, 160, 161}) {
        std::vector<std::atomic<int>> done(static_cast<std::size_t>(count));
        parallel_ranges(count, 16, 3, [&](index_t begin, index_t end) {
            for (index_t i = begin; i < end; ++i) ++done[static_cast<std::size_t>(i)];
        });
        for (const auto& times : done) CHECK_EQUAL(times.load(), 1);
    }
}

void an_exception_comes_out_and_the_next_loop_works() {
    for (const int threads : {1, 2, 8}) {
        CHECK(carries_exception(threads));
        CHECK(every_piece_once(100, threads));
    }
}

void pieces_may_have_loops_of_their_own() {
    std::vector<std::atomic<int>> done(50);
    parallel_for(10, 4, [&](index_t outer) {
        parallel_for(5, 4,
                     [&](index_t inner) { ++done[static_cast<std::size_t>(outer * 5 + inner)]; });
    });
    for (const auto& times : done) CHECK_EQUAL(times.load(), 1);
    CHECK_THROWS(parallel_for(4, 4,
                              [](index_t) {
                                  parallel_for(4, 4, [](index_t piece) {
                                      if (piece == 3) throw std::out_of_range("");
                                  });
                              }),
                 std::out_of_range);
}

void a_team_does_loop_after_loop() {
    for (const int threads : {1, 2, 4}) {
        std::vector<index_t> sums(3000);
        with_team(threads, [&] {
            for (std::size_t loop = 0; loop < sums.size(); ++loop) {
                std::atomic<index_t> sum{0};
                parallel_for(5, threads,
                             [&](index_t piece) { sum += piece * static_cast<index_t>(loop); });
                sums[loop] = sum;
            }
        });
        for (std::size_t loop = 0; loop < sums.size(); ++loop) {
            CHECK_EQUAL(sums[loop], 10 * static_cast<index_t>(loop));
        }
    }
}

void a_team_wakes_from_its_sleep() {
    with_team(3, [] {
        for (int i = 0; i < 10; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
            CHECK(every_piece_once(20, 3));
        }
    });
}

void a_team_survives_exceptions_and_ends_with_its_own() {
    CHECK_THROWS(with_team(3,
                           [] {
                               for (int i = 0; i < 20; ++i) {
                                   CHECK(carries_exception(3));
                                   CHECK(every_piece_once(50, 3));
                               }
                               throw std::out_of_range("the team's");
                           }),
                 std::out_of_range);
    CHECK(every_piece_once(50, 3));
}

void a_team_within_a_team_is_the_same_one() {
    with_team(2, [] {
        with_team(4, [] { CHECK(every_piece_once(30, 4)); });
        CHECK(every_piece_once(30, 2));
    });
}

void loops_of_two_threads_do_not_meet() {
    std::atomic<int> wrong{0};
    const auto work = [&] {
        for (int i = 0; i < 50; ++i) {
            if (!every_piece_once(40, 2)) ++wrong;
            with_team(3, [&] {
                if (!every_piece_once(40, 3) || !carries_exception(3)) ++wrong;
            });
        }
    };
    std::thread other(work);
    work();
    other.join();
    CHECK_EQUAL(wrong.load(), 0);
}

// Whether so many threads work at a time: each waits in its piece for the others.
bool has_threads(int num_threads) {
    using clock = std::chrono::steady_clock;
    const auto deadline = clock::now() + std::chrono::seconds(20);
    std::atomic<int> arrived{0};
    parallel_for(num_threads, num_threads, [&](index_t) {
        ++arrived;
        while (arrived < num_threads && clock::now() < deadline) std::this_thread::yield();
    });
    return clock::now() < deadline;
}

#if defined(__unix__) || defined(__APPLE__)

// Whether work() is true in a forked process.
template <class Work>
bool holds_in_child(const Work& work) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);  // a child that waits for threads which are not there would wait for ever
        _exit(work() ? 0 : 1);
    }
    int status = -1;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool works() {
    bool right = every_piece_once(100, 4) && carries_exception(4) && has_threads(4);
    with_team(4, [&] { right = right && every_piece_once(100, 4) && has_threads(4); });
    return right;
}

void a_forked_child_has_threads_of_its_own() {
    CHECK(works());  // so that there is something that the child has not got
    CHECK(holds_in_child(works));
    CHECK(holds_in_child([] { return works() && holds_in_child(works); }));
    CHECK(works());
}

void a_child_forked_within_a_team_has_one_of_its_own() {
#if !defined(__SANITIZE_THREAD__)  // which ends such children
    with_team(3, [] {
        CHECK(every_piece_once(20, 3));
        CHECK(holds_in_child(works));
        CHECK(every_piece_once(20, 3));
    });
#endif
}

int wanted_threads = 0, started_threads = 0;

// Lets this process start no more threads, which root always can.
bool forbid_threads() {
    const rlimit none{0, 0};
    return (getuid() != 0 || setuid(65534) == 0) && setrlimit(RLIMIT_NPROC, &none) == 0;
}

void what_the_system_does_not_start_is_done_without() {
    CHECK(holds_in_child([] {
        isthmus::on_fewer_threads([](int wanted, int started) {
            wanted_threads = wanted;
            started_threads = started;
        });
        if (!forbid_threads()) return true;
        return every_piece_once(100, 4) && wanted_threads == 4 && started_threads == 1;
    }));
    CHECK(holds_in_child([] {
        isthmus::on_fewer_threads([](int, int) { throw std::out_of_range(""); });
        if (!forbid_threads()) return true;
        try {
            every_piece_once(100, 4);
        } catch (const std::out_of_range&) {
            isthmus::on_fewer_threads(nullptr);
            return every_piece_once(100, 4);
        }
        return false;
    }));
}

#endif

}  // namespace

int main() {
    subnormal_numbers_are_flushed_inside_alone();
    every_piece_is_done_once();
    ranges_cover_everything_once();
    an_exception_comes_out_and_the_next_loop_works();
    pieces_may_have_loops_of_their_own();
    a_team_does_loop_after_loop();
    a_team_wakes_from_its_sleep();
    a_team_survives_exceptions_and_ends_with_its_own();
    a_team_within_a_team_is_the_same_one();
    loops_of_two_threads_do_not_meet();
    if (isthmus::threads_backend() != std::string("serial")) {
        CHECK(has_threads(3));
#if defined(__unix__) || defined(__APPLE__)
        a_forked_child_has_threads_of_its_own();
        a_child_forked_within_a_team_has_one_of_its_own();
        what_the_system_does_not_start_is_done_without();
#endif
    }
    return check::result();
}
