#pragma once
// Threads: the only file that starts any.
//
// They come from OpenMP or std::thread, as the core was built. A core built for OpenMP uses
// std::thread where GNU OpenMP would hang or end the process: after a fork, and where the system
// does not start all the threads that are wanted.
//
// Work is cut into pieces that do not depend on the number of threads; threads take pieces as they
// come free and share nothing else. A sum over pieces is made afterwards, in the pieces' order, so
// every result is the same to the bit at any thread count.
//
// Training enters one parallel region per epoch, with_team; the many short loops inside wake its
// threads, which wait a few microseconds awake and then asleep. A region per loop would leave the
// waiting to OpenMP's runtime, which by default spins for milliseconds: measured with other
// programs on the same cores, that made training five times slower.
//
// Inside, numbers below the least normal one, 1e-38, count as 0: processors take a hundred times as
// long for them, and saturated units and weights that decay produce them by the million.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>

#include "isthmus/core/types.hpp"

namespace isthmus {

namespace detail {

using Call = void (*)(void* context);
using PieceCall = void (*)(void* context, index_t piece);

void run_with_team(int num_threads, Call body, void* context);
void run_pieces(index_t pieces, int num_threads, PieceCall function, void* context);

template <class Body>
void* erase(Body& body) {
    return const_cast<void*>(static_cast<const void*>(std::addressof(body)));
}

}  // namespace detail

// Called now and then by long work, on the thread that started it, with how much is done. It may
// throw, which ends the work.
using Poll = std::function<void(index_t)>;

// Sets the function to call, on the leading thread, whenever the system starts fewer threads than a
// team asked for. It may throw; nullptr calls nothing.
using FewerThreads = void (*)(int wanted, int started);
void on_fewer_threads(FewerThreads report);

// Calls body() on this thread, with num_threads - 1 others (or as many as the system starts) ready
// to share the loops inside. Rethrows body's exception. Works in a forked process too; one forked
// inside body() may start teams of its own and must not return.
template <class Body>
void with_team(int num_threads, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    detail::run_with_team(
        num_threads, [](void* context) { (*static_cast<Plain*>(context))(); }, detail::erase(body));
}

// Calls body(piece) for piece in [0, pieces), with the current team or, without one, a team of
// num_threads for this loop alone. Pieces start in order, so one may wait for an earlier one.
// Inside another loop's piece it runs serially. Rethrows the first exception of a piece once every
// thread has left the loop.
template <class Body>
void parallel_for(index_t pieces, int num_threads, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    detail::run_pieces(
        pieces, num_threads,
        [](void* context, index_t piece) { (*static_cast<Plain*>(context))(piece); },
        detail::erase(body));
}

// Waits, in a piece, until an earlier piece has raised the count to `least`.
void wait_for(const std::atomic<index_t>& count, index_t least);

// Cuts [0, count) into pieces of `grain` and calls body(begin, end) on each.
template <class Body>
void parallel_ranges(index_t count, index_t grain, int num_threads, Body&& body) {
    const index_t pieces = (count + grain - 1) / grain;
    parallel_for(pieces, num_threads, [&](index_t piece) {
        const index_t begin = piece * grain;
        const index_t end = begin + grain < count ? begin + grain : count;
        body(begin, end);
    });
}

}  // namespace isthmus
