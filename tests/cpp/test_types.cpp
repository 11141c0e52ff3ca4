#include "isthmus/core/types.hpp"

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"

using isthmus::index_t;
using isthmus::Matrix;
using isthmus::OutOfMemory;

namespace {

constexpr index_t kHugePage = index_t{2} << 20;

// How many of 8 matrices begin where a huge page does.
int on_huge_pages(index_t rows, index_t cols) {
    std::vector<Matrix> matrices;
    int count = 0;
    for (int i = 0; i < 8; ++i) {
        const Matrix& matrix = matrices.emplace_back(rows, cols);
        count += reinterpret_cast<std::uintptr_t>(matrix.data()) % kHugePage == 0 ? 1 : 0;
    }
    return count;
}

void a_matrix_is_on_huge_pages_if_it_half_fills_them() {
#if defined(__linux__)
    CHECK_EQUAL(on_huge_pages(3700, 500), 8);  // 7.5 MiB
    CHECK_EQUAL(on_huge_pages(512, 512), 8);   // 1.03 MiB: a batch's codes
#endif
    CHECK(on_huge_pages(500, 256) < 8);  // 0.52 MiB: each on one of its own would take four times
    CHECK(on_huge_pages(1, 16) < 8);
}

// What is said of a matrix that cannot be.
std::string refusal(index_t rows, index_t cols) {
    try {
        const Matrix matrix(rows, cols);
    } catch (const OutOfMemory& error) {
        return error.what();
    } catch (const std::length_error& error) {
        return error.what();
    }
    return "";
}

void a_matrix_larger_than_memory_is_refused() {
    constexpr index_t most = std::numeric_limits<index_t>::max();
    const std::string said = refusal(index_t{1} << 40, 3);
    CHECK_EQUAL(said.substr(0, 53), "a matrix of 1099511627776 x 3 numbers needs 1.229e+04");
    for (const index_t size : {index_t{1} << 58, index_t{1} << 61, most}) {
        CHECK(refusal(size, size).find("needs") != std::string::npos);
        CHECK(refusal(0, size).find("needs") != std::string::npos);
        CHECK(refusal(size, 1).find("needs") != std::string::npos);
    }
    CHECK(refusal(index_t{1} << 32, index_t{1} << 32).find("needs") != std::string::npos);
    CHECK_EQUAL(refusal(-1, 3), "a matrix has at least 0 rows and columns");
    CHECK_EQUAL(refusal(3, -1), "a matrix has at least 0 rows and columns");
    CHECK_EQUAL(refusal(0, 3), "");
}

}  // namespace

int main() {
    a_matrix_is_on_huge_pages_if_it_half_fills_them();
    a_matrix_larger_than_memory_is_refused();
    return check::result();
}
