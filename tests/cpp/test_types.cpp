#include "isthmus/types.hpp"

#include <cstdint>
#include <vector>

#include "check.hpp"

using isthmus::index_t;
using isthmus::Matrix;

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

}  // namespace

int main() {
    a_matrix_is_on_huge_pages_if_it_half_fills_them();
    return check::result();
}
