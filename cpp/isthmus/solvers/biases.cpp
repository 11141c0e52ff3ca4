#include "isthmus/solvers/biases.hpp"

#include <algorithm>
#include <vector>

#include "isthmus/core/parallel.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 256;

// Makes biases 0 on average, but those of lines without cells, and returns what that took.
template <class HasCells>
double center(index_t lines, const HasCells& has_cells, double* bias) {
    double sum = 0.0, filled = 0.0;
    for (index_t i = 0; i < lines; ++i) {
        if (!has_cells(i)) continue;
        sum += bias[i];
        filled += 1.0;
    }
    if (filled == 0.0) return 0.0;
    const double average = sum / filled;
    for (index_t i = 0; i < lines; ++i) {
        if (has_cells(i)) bias[i] -= average;
    }
    return average;
}

double fit_row_bias(const CsrView& matrix, index_t r, double mean, const double* column_bias,
                    double damping) {
    double sum = 0.0;
    for (index_t i = matrix.indptr[r]; i < matrix.indptr[r + 1]; ++i) {
        const double expected = mean + (column_bias ? column_bias[matrix.indices[i]] : 0.0);
        sum += double{matrix.values[i]} - expected;
    }
    const auto cells = static_cast<double>(matrix.row_nnz(r));
    return cells > 0 ? sum / (cells + damping) : 0.0;
}

}  // namespace

void fit_row_biases(const CsrView& matrix, double mean, const double* column_bias, double damping,
                    int num_threads, double* bias) {
    parallel_ranges(matrix.rows, kRowsPerPiece, num_threads, [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r) {
            bias[r] = fit_row_bias(matrix, r, mean, column_bias, damping);
        }
    });
}

void sum_residuals(const CsrView& matrix, double mean, const double* column_bias,
                   const std::int32_t* slice_of, int num_threads, double* sums) {
    parallel_ranges(matrix.rows, kRowsPerPiece, num_threads, [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r) {
            for (index_t i = matrix.indptr[r]; i < matrix.indptr[r + 1]; ++i) {
                const std::int32_t column = matrix.indices[i];
                sums[slice_of[column] * matrix.rows + r] +=
                    double{matrix.values[i]} - (mean + column_bias[column]);
            }
        }
    });
}

void sum_left_out(const CsrView& matrix, double mean, const BiasView& row, const BiasView& column,
                  const std::int32_t* slice_of, double* row_moments, double* column_moments) {
    const auto add = [](double value, double* moments) {
        moments[0] += value;
        moments[1] += value * value;
    };
    for (index_t r = 0; r < matrix.rows; ++r) {  // one thread, as for the columns of fit_biases
        for (index_t i = matrix.indptr[r]; i < matrix.indptr[r + 1]; ++i) {
            const std::int32_t c = matrix.indices[i];
            const double left = double{matrix.values[i]} - mean - row.bias[r] - column.bias[c];
            add(left * column.factor[c] + row.bias[r],
                row_moments + 2 * (slice_of[c] * matrix.rows + r));
            add(left * row.factor[r] + column.bias[c], column_moments + 2 * index_t{c});
        }
    }
}

double fit_biases(const CsrView& matrix, double mean, double row_damping, double column_damping,
                  index_t sweeps, double* row_bias, double* column_bias) {
    const auto cols = static_cast<std::size_t>(matrix.cols);
    std::vector<double> cells(cols), sums(cols);
    for (index_t i = 0; i < matrix.nnz(); ++i) {
        cells[static_cast<std::size_t>(matrix.indices[matrix.indptr[0] + i])] += 1.0;
    }
    const auto row_has_cells = [&](index_t r) { return matrix.row_nnz(r) > 0; };
    const auto column_has_cells = [&](index_t c) { return cells[static_cast<std::size_t>(c)] > 0; };
    for (index_t sweep = 0; sweep < sweeps; ++sweep) {
        mean += center(matrix.rows, row_has_cells, row_bias);
        mean += center(matrix.cols, column_has_cells, column_bias);
        std::fill(sums.begin(), sums.end(), 0.0);
        // one thread, so that sums do not depend on their number
        for (index_t r = 0; r < matrix.rows; ++r) {
            row_bias[r] = fit_row_bias(matrix, r, mean, column_bias, row_damping);
            const double expected = mean + row_bias[r];
            for (index_t i = matrix.indptr[r]; i < matrix.indptr[r + 1]; ++i) {
                sums[static_cast<std::size_t>(matrix.indices[i])] +=
                    double{matrix.values[i]} - expected;
            }
        }
        for (std::size_t c = 0; c < cols; ++c) {
            column_bias[c] = cells[c] > 0 ? sums[c] / (cells[c] + column_damping) : 0.0;
        }
    }
    return mean;
}

}  // namespace isthmus
