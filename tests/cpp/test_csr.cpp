#include "isthmus/core/csr.hpp"

#include <vector>

#include "check.hpp"
#include "random_data.hpp"

using testing::index_t;
using testing::Sparse;

namespace {

Sparse transposed(const Sparse& sparse, int num_threads) {
    Sparse result;
    result.cols = sparse.rows();
    result.indptr.resize(static_cast<std::size_t>(sparse.cols) + 1);
    result.indices.resize(sparse.indices.size());
    result.values.resize(sparse.values.size());
    transpose(sparse.view(), num_threads, result.indptr.data(), result.indices.data(),
              result.values.data());
    return result;
}

bool same(const Sparse& a, const Sparse& b) {
    return a.cols == b.cols && a.indptr == b.indptr && a.indices == b.indices &&
           a.values == b.values;
}

void a_transpose_holds_the_cells_by_column() {
    const Sparse sparse = testing::random_sparse(40, 70, 1);
    Sparse expected;
    expected.cols = 40;
    for (index_t c = 0; c < 70; ++c) {
        for (index_t r = 0; r < 40; ++r) {
            const auto begin = static_cast<std::size_t>(sparse.indptr[static_cast<std::size_t>(r)]);
            const auto end =
                static_cast<std::size_t>(sparse.indptr[static_cast<std::size_t>(r) + 1]);
            for (std::size_t i = begin; i < end; ++i) {
                if (sparse.indices[i] != c) continue;
                expected.indices.push_back(static_cast<std::int32_t>(r));
                expected.values.push_back(sparse.values[i]);
            }
        }
        expected.indptr.push_back(static_cast<std::int64_t>(expected.indices.size()));
    }
    for (const int threads : {1, 2, 3, 8}) CHECK(same(transposed(sparse, threads), expected));
}

void a_transpose_of_a_transpose_is_the_matrix() {
    const Sparse sparse = testing::random_sparse(100, 30, 2);
    CHECK(same(transposed(transposed(sparse, 3), 4), sparse));
}

void a_matrix_without_cells_has_a_transpose_without_cells() {
    Sparse empty;
    empty.cols = 3;
    empty.indptr = {0, 0, 0};
    CHECK(transposed(empty, 4).indptr == std::vector<std::int64_t>(4, 0));
}

}  // namespace

int main() {
    a_transpose_holds_the_cells_by_column();
    a_transpose_of_a_transpose_is_the_matrix();
    a_matrix_without_cells_has_a_transpose_without_cells();
    return check::result();
}
