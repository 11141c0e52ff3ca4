#pragma once

// A test is a main() that uses these and ends in `return check::result();`. A check that fails says
// where and with what values, and the test goes on. The counts are for one thread.

#include <cmath>
#include <iostream>
#include <limits>

namespace check {

inline int passed = 0;
inline int failed = 0;

// Counts a check, and returns where to write what there is to say about it: nowhere if it passed.
inline std::ostream& record(bool ok, const char* file, int line) {
    static std::ostream nowhere(nullptr);
    ++(ok ? passed : failed);
    if (ok) return nowhere;
    std::cerr.precision(std::numeric_limits<double>::max_digits10);
    return std::cerr << file << ':' << line << ": ";
}

// The program's exit status, after a line with the counts. A test without a check fails.
inline int result() {
    std::cout << passed << " passed, " << failed << " failed\n";
    return failed == 0 && passed > 0 ? 0 : 1;
}

// NaN is close to nothing; infinities of one sign are close.
inline bool close(double a, double b, double tolerance) {
    return a == b || std::abs(a - b) <= tolerance;
}

}  // namespace check

#define CHECK(expression) \
    check::record(static_cast<bool>(expression), __FILE__, __LINE__) << #expression " is false\n"

// |a - b| <= tolerance, all in double.
#define CHECK_CLOSE(a, b, tolerance)                                                     \
    do {                                                                                 \
        const double check_a = static_cast<double>(a), check_b = static_cast<double>(b); \
        check::record(check::close(check_a, check_b, tolerance), __FILE__, __LINE__)     \
            << #a " is " << check_a << ", " #b " is " << check_b << "\n";                \
    } while (false)

// Compares copies: a reference might be to a part of a temporary.
#define CHECK_EQUAL(a, b)                                                 \
    do {                                                                  \
        const auto check_a = (a);                                         \
        const auto check_b = (b);                                         \
        check::record(check_a == check_b, __FILE__, __LINE__)             \
            << #a " is " << check_a << ", " #b " is " << check_b << "\n"; \
    } while (false)

// The expression throws an Exception, or something derived from it.
#define CHECK_THROWS(expression, Exception)                                                \
    do {                                                                                   \
        const char* check_outcome = "nothing";                                             \
        try {                                                                              \
            static_cast<void>(expression);                                                 \
        } catch (const Exception&) {                                                       \
            check_outcome = nullptr;                                                       \
        } catch (...) {                                                                    \
            check_outcome = "something else";                                              \
        }                                                                                  \
        check::record(check_outcome == nullptr, __FILE__, __LINE__) << #expression         \
            " threw " << (check_outcome ? check_outcome : "") << ", not " #Exception "\n"; \
    } while (false)
