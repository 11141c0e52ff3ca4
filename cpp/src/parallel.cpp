#include "isthmus/parallel.hpp"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>

#if defined(ISTHMUS_THREADS_STD)
#include <system_error>
#include <thread>
#include <vector>
#endif
#if defined(ISTHMUS_THREADS_OPENMP) && (defined(__unix__) || defined(__APPLE__))
#include <pthread.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace isthmus {

namespace detail {

namespace {

// Has this thread take subnormal numbers for 0 while it lives.
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
#endif
}

// Waits for ready(), awake for about as long as the gaps between training's loops, then asleep.
template <class Ready>
void wait_until(std::mutex& mutex, std::condition_variable& changed, const Ready& ready) {
    for (int spin = 0; spin < 1000; ++spin) {
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
std::exception_ptr lead(Team& team, Call body, void* context) noexcept {
    std::exception_ptr error;
    current_team = &team;
    try {
        body(context);
    } catch (...) {
        error = std::current_exception();
    }
    current_team = nullptr;
    team.dismiss();
    return error;
}

#if defined(ISTHMUS_THREADS_OPENMP)

std::atomic<bool> forked_after_use{false};

// GNU OpenMP's pool does not survive fork(): a child that entered a parallel region would wait for
// threads that are not there. The child is told here, and goes on alone.
void watch_for_fork() {
#if defined(__unix__) || defined(__APPLE__)
    static const int registered = pthread_atfork(nullptr, nullptr, [] { forked_after_use = true; });
    (void)registered;
#endif
}

void run_region(int threads, Call body, void* context) {
    watch_for_fork();
    Team team;
    std::exception_ptr error;
#pragma omp parallel num_threads(threads)
    {
        bool leads = false;
#pragma omp master
        leads = true;
        if (leads) {
            error = lead(team, body, context);
        } else {
            team.serve();
        }
    }
    if (error) std::rethrow_exception(error);
}

bool can_share(int threads) { return threads > 1 && !forked_after_use; }

#elif defined(ISTHMUS_THREADS_STD)

void run_region(int threads, Call body, void* context) {
    Team team;
    std::vector<std::thread> workers;
    try {
        for (int i = 1; i < threads; ++i) workers.emplace_back([&team] { team.serve(); });
    } catch (const std::system_error&) {
        // the system has no more threads: those that started are enough
    }
    const std::exception_ptr error = lead(team, body, context);
    for (std::thread& worker : workers) worker.join();
    if (error) std::rethrow_exception(error);
}

bool can_share(int threads) { return threads > 1; }

#else

void run_region(int, Call body, void* context) { body(context); }

bool can_share(int) { return false; }

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

}  // namespace isthmus
