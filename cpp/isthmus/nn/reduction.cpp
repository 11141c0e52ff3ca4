#include "isthmus/nn/reduction.hpp"

#include "isthmus/core/parallel.hpp"
#include "isthmus/nn/dense.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 16;

}  // namespace

void sum_parts(std::vector<Matrix>& parts, index_t rows, Matrix& sums, const Reduction& reduce,
               int num_threads) {
    std::vector<MatrixView> shares;
    if (reduce.by_slices) {
        for (Matrix& part : parts)
            shares.push_back({part.data(), rows, sums.width(), part.stride()});
    } else {
        parallel_ranges(rows, kRowsPerPiece, num_threads, [&](index_t begin, index_t end) {
            for (index_t r = begin; r < end; ++r) sum_rows(parts, r, sums.row(r), sums.width());
        });
    }
    if (reduce) reduce.add({sums.data(), rows, sums.cols(), sums.stride()}, shares);
}

}  // namespace isthmus
