#include "isthmus/models/ease.hpp"

#include <algorithm>
#include <vector>

#include "isthmus/core/parallel.hpp"

namespace isthmus {

void gram_matrix(const CsrView& rows, const CsrView& columns, float lambda, int num_threads,
                 MatrixView gram) {
    parallel_for(columns.rows, num_threads, [&](index_t item) {
        float* sums = gram.row(item);
        std::fill_n(sums, item + 1, 0.0f);
        for (index_t i = columns.indptr[item]; i < columns.indptr[item + 1]; ++i) {
            const index_t user = columns.indices[i];
            const float value = columns.values[i];
            for (index_t j = rows.indptr[user]; j < rows.indptr[user + 1]; ++j) {
                if (rows.indices[j] > item) break;
                sums[rows.indices[j]] += value * rows.values[j];
            }
        }
        sums[item] += lambda;
    });
}

void ease_weights(MatrixView p, int num_threads) {
    std::vector<float> factor(static_cast<std::size_t>(p.rows));
    for (index_t j = 0; j < p.rows; ++j) factor[static_cast<std::size_t>(j)] = -1.0f / p.row(j)[j];
    parallel_ranges(p.rows, 64, num_threads, [&](index_t begin, index_t end) {
        for (index_t i = begin; i < end; ++i) {
            float* row = p.row(i);
            for (index_t j = 0; j < p.cols; ++j) row[j] *= factor[static_cast<std::size_t>(j)];
            row[i] = 0.0f;
        }
    });
}

}  // namespace isthmus
