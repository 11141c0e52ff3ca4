#include "isthmus/core/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>

#if !defined(ISTHMUS_THREADS_SERIAL)
#include <thread>
#include <vector>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#endif
#if defined(ISTHMUS_THREADS_OPENMP)
#include <omp.h>

#include <fstream>
#include <sstream>
#include <string>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace isthmus {

namespace {

constexpr int kSpins = 1000;

}  // namespace

namespace detail {

namespace {

// Makes this thread treat subnormal numbers as 0 until it is destroyed.
class FlushSubnormals {
public:
#if defined(__x86_64__)
    FlushSubnormals() noexcept : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~FlushSubnormals() { _mm_setcsr(before_); }
#elif defined(__aarch64__)
    FlushSubnormals() noexcept {
        __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
        __asm__ volatile("msr fpcr, %0" : : "r"(before_ | (std::uint64_t{1} << 24)));
    }
    ~FlushSubnormals() { __asm__ volatile("msr fpcr, %0" : : "r"(before_)); }
#else
    FlushSubnormals() noexcept = default;
    ~FlushSubnormals() {}
#endif
    FlushSubnormals(const FlushSubnormals&) = delete;
    FlushSubnormals& operator=(const FlushSubnormals&) = delete;

private:
#if defined(__x86_64__)
    unsigned before_;
#elif defined(__aarch64__)
    std::uint64_t before_;
#endif
};

void relax() noexcept {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Waits for ready(): spins for about as long as the gaps between training's loops, then sleeps.
template <class Ready>
void wait_until(std::mutex& mutex, std::condition_variable& changed, const Ready& ready) {
    for (int spin = 0; spin < kSpins; ++spin) {
        if (ready()) return;
        relax();
    }
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, ready);
}

// A leader that starts loops, and workers that help with them.
class Team {
public:
    void run(index_t pieces, PieceCall function, void* context) {
        pieces_ = pieces;
        function_ = function;
        context_ = context;
        error_ = nullptr;
        next_ = 0;
        open_ = true;
        ++loop_;
        notify(loop_started_);
        take_pieces();
        open_ = false;
        wait_until(mutex_, loop_ended_, [this] { return inside_ == 0; });
        if (error_) std::rethrow_exception(error_);
    }

    void serve() noexcept {
        const FlushSubnormals flush;
        std::uint64_t done = 0;
        for (;;) {
            wait_until(mutex_, loop_started_, [&] { return loop_ != done || over_; });
            if (over_) return;
            done = loop_;
            // Whoever is inside may read the loop's fields: the leader waits for it before it
            // changes them. Whoever comes after the loop was closed leaves them alone.
            ++inside_;
            if (open_) take_pieces();
            if (--inside_ == 0) notify(loop_ended_);
        }
    }

    void dismiss() {
        over_ = true;
        notify(loop_started_);
    }

private:
    void take_pieces() noexcept;

    void notify(std::condition_variable& changed) {
        // the empty lock orders the change before a sleeper's last look
        {
            const std::scoped_lock lock(mutex_);
        }
        changed.notify_all();
    }

    index_t pieces_ = 0;
    PieceCall function_ = nullptr;
    void* context_ = nullptr;
    std::exception_ptr error_;
    std::atomic<index_t> next_{0};
    std::atomic<std::uint64_t> loop_{0};
    std::atomic<int> inside_{0};
    std::atomic<bool> open_{false};
    std::atomic<bool> over_{false};
    std::mutex mutex_;
    std::condition_variable loop_started_, loop_ended_;
};

thread_local Team* current_team = nullptr;  // of the leader
thread_local bool in_piece = false;         // whose own loops are to be serial

void Team::take_pieces() noexcept {
    in_piece = true;
    for (;;) {
        const index_t piece = next_.fetch_add(1, std::memory_order_relaxed);
        if (piece >= pieces_) break;
        try {
            function_(context_, piece);
        } catch (...) {
            const std::scoped_lock lock(mutex_);
            if (!error_) error_ = std::current_exception();
            next_ = pieces_;
        }
    }
    in_piece = false;
}

// The leader's part of a region: nothing may leave it but through the returned exception.
template <class Body>
std::exception_ptr lead(Team& team, const Body& body) noexcept {
    std::exception_ptr error;
    current_team = &team;
    try {
        body();
    } catch (...) {
        error = std::current_exception();
    }
    current_team = nullptr;
    team.dismiss();
    return error;
}

std::atomic<FewerThreads> fewer_threads{nullptr};

#if !defined(ISTHMUS_THREADS_SERIAL)

// More than a few threads a processor only take memory: results do not depend on their number.
int most_threads() {
    static const int most = std::max(16, 4 * static_cast<int>(std::thread::hardware_concurrency()));
    return most;
}

// Starts `count` threads, or fewer where the system has no more.
template <class Work>
std::vector<std::thread> start_threads(int count, const Work& work) {
    std::vector<std::thread> threads;
    try {
        threads.reserve(static_cast<std::size_t>(count));
        for (int i = 0; i < count; ++i) threads.emplace_back(work);
    } catch (const std::exception&) {
        // a limit on threads or memory: those that started are enough
    }
    return threads;
}

void run_on_std_threads(int threads, Call body, void* context) {
    Team team;
    std::vector<std::thread> workers = start_threads(threads - 1, [&team] { team.serve(); });
    const std::exception_ptr error = lead(team, [&] {
        const int started = static_cast<int>(workers.size()) + 1;
        const FewerThreads report = fewer_threads;
        if (started < threads && report != nullptr) report(threads, started);
        body(context);
    });
    for (std::thread& worker : workers) worker.join();
    if (error) std::rethrow_exception(error);
}

#endif

#if defined(ISTHMUS_THREADS_OPENMP)

// Asks Linux whether this process was forked and has not called exec since.
bool came_from_fork() {
    constexpr unsigned long kForkedWithoutExec = 0x40;  // PF_FORKNOEXEC
    std::ifstream file("/proc/self/stat");
    std::string text;
    std::getline(file, text, '\0');
    // after the program's name, which may hold anything
    std::istringstream fields(text.substr(text.rfind(')') + 1));
    std::string state, parent, group, session, terminal, terminal_group;
    unsigned long flags = 0;
    fields >> state >> parent >> group >> session >> terminal >> terminal_group >> flags;
    return (flags & kForkedWithoutExec) != 0;
}

// In a forked process GNU OpenMP may believe in threads that the fork left behind, of whichever
// library opened a parallel region before, and a region that waits for them never ends.
std::atomic<bool> forked{came_from_fork()};

// The largest team that this thread, which has a pool of its own, was found able to start.
thread_local int startable = 1;

// Finds out whether the system starts a team, by starting it: GNU OpenMP ends the process where it
// does not. Asked once for each larger team. It cannot know of what is used up between this and the
// region, by other processes too, nor of an OMP_STACKSIZE beyond the usual stack's.
bool can_start(int threads) {
    if (threads <= startable) return true;
    std::mutex gate;  // holds those that started until all have
    std::vector<std::thread> probes;
    {
        const std::scoped_lock closed(gate);
        probes = start_threads(threads - 1, [&gate] { const std::scoped_lock passed(gate); });
    }
    for (std::thread& probe : probes) probe.join();
    if (static_cast<int>(probes.size()) < threads - 1) return false;
    startable = threads;
    return true;
}

void run_on_openmp(int threads, Call body, void* context) {
    Team team;
    std::exception_ptr error;
#pragma omp parallel num_threads(threads)
    {
        bool leads = false;
#pragma omp master
        leads = true;
        if (leads) {
            error = lead(team, [&] { body(context); });
        } else {
            team.serve();
        }
    }
    if (error) std::rethrow_exception(error);
}

#endif

#if !defined(ISTHMUS_THREADS_SERIAL) && (defined(__unix__) || defined(__APPLE__))

// Ends the OpenMP threads of the thread that forks, so that whoever uses OpenMP in the child starts
// with none. Threads of other threads are left alone: the child does not have those either, but
// nobody there waits for them. GNU OpenMP refuses inside a region, as in a callback that forks.
void before_fork() {
#if defined(ISTHMUS_THREADS_OPENMP) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 9
    if (!forked) omp_pause_resource_all(omp_pause_soft);
    startable = 1;
#endif
}

// A child has nobody else of the team that it may have been forked in.
void in_child() {
#if defined(ISTHMUS_THREADS_OPENMP)
    forked = true;
#endif
    current_team = nullptr;
    in_piece = false;
}

// From when the library is loaded: others may use OpenMP and fork before the first region here.
[[maybe_unused]] const int watching = pthread_atfork(&before_fork, nullptr, &in_child);

#endif

void run_region(int threads, Call body, void* context) {
#if defined(ISTHMUS_THREADS_SERIAL)
    (void)threads;
    body(context);
#else
    threads = std::min(threads, most_threads());
#if defined(ISTHMUS_THREADS_OPENMP)
    if (!forked && can_start(threads)) {
        run_on_openmp(threads, body, context);
        return;
    }
#endif
    run_on_std_threads(threads, body, context);
#endif
}

#if defined(ISTHMUS_THREADS_SERIAL)
bool can_share(int) { return false; }
#else
bool can_share(int threads) { return threads > 1; }
#endif

}  // namespace

void run_with_team(int num_threads, Call body, void* context) {
    const FlushSubnormals flush;
    if (current_team != nullptr || in_piece || !can_share(num_threads)) {
        body(context);
    } else {
        run_region(num_threads, body, context);
    }
}

void run_pieces(index_t pieces, int num_threads, PieceCall function, void* context) {
    if (current_team != nullptr && !in_piece && pieces > 1) {
        current_team->run(pieces, function, context);
        return;
    }
    const FlushSubnormals flush;
    const int threads = static_cast<int>(pieces < num_threads ? pieces : num_threads);
    if (in_piece || current_team != nullptr || !can_share(threads)) {
        for (index_t piece = 0; piece < pieces; ++piece) function(context, piece);
        return;
    }
    with_team(threads, [&] { current_team->run(pieces, function, context); });
}

}  // namespace detail

// Spins for about as long as a few rows take; then whoever is waited for may need the processor.
void wait_for(const std::atomic<index_t>& count, index_t least) {
    for (int spin = 0; count.load(std::memory_order_acquire) < least; ++spin) {
        if (spin < kSpins) {
            detail::relax();
        } else {
#if !defined(ISTHMUS_THREADS_SERIAL)
            std::this_thread::yield();
#endif
        }
    }
}

void on_fewer_threads(FewerThreads report) { detail::fewer_threads = report; }

}  // namespace isthmus
