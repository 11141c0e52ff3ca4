#include "isthmus/ease.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
#include <vector>

#include "isthmus/dense.hpp"
#include "isthmus/parallel.hpp"

namespace isthmus {

namespace {

constexpr index_t kBlock = 256;  // pivots eliminated at once
constexpr index_t kTile = 256;   // rows of the matrix updated by one piece of work

// A pivot that has lost all but this share of its diagonal to the ones before is rounding error.
constexpr double kLeastPivot = 1e-6;

using DoubleMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

MatrixView rows_of(MatrixView m, index_t begin, index_t end, index_t cols) {
    return {m.row(begin), end - begin, cols, m.stride};
}

// L^-1 and the inverse L^-T L^-1 of a small block L L^T, by Cholesky in double precision;
// `diagonal` is what the matrix's was at first.
void invert_block(MatrixView a, index_t begin, index_t size, const std::vector<float>& diagonal,
                  MatrixView root, MatrixView inverse) {
    DoubleMatrix block(size, size);
    for (index_t i = 0; i < size; ++i) {
        for (index_t j = 0; j <= i; ++j) block(i, j) = a.row(begin + i)[begin + j];
    }
    const Eigen::LLT<DoubleMatrix, Eigen::Lower> cholesky(block);
    if (cholesky.info() != Eigen::Success) throw NotPositiveDefinite();
    for (index_t i = 0; i < size; ++i) {
        const double pivot = cholesky.matrixLLT()(i, i);
        if (!(pivot * pivot > kLeastPivot * diagonal[static_cast<std::size_t>(begin + i)])) {
            throw NotPositiveDefinite();
        }
    }
    const DoubleMatrix half = cholesky.matrixL().solve(DoubleMatrix::Identity(size, size));
    const DoubleMatrix whole = half.transpose() * half;
    for (index_t i = 0; i < size; ++i) {
        for (index_t j = 0; j < size; ++j) {
            root.row(i)[j] = static_cast<float>(half(i, j));
            inverse.row(i)[j] = static_cast<float>(whole(i, j));
        }
    }
}

}  // namespace

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

// Gauss-Jordan elimination of a symmetric matrix, a block of pivots K at a time:
//     A_ij -= A_iK D A_Kj,  A_iK = A_iK D,  A_KK = -D,  with D = A_KK^-1,
// after which the matrix is minus its inverse. It stays symmetric, so that the lower triangle is
// enough: as many operations as Cholesky and an inverse from it, nearly all of them one product.
// A_iK D A_Kj is W_i W_j^T with W = A_iK L^-T: products with D itself would square the condition.
void invert_positive_definite(MatrixView a, int num_threads, const std::function<void()>& poll) {
    const index_t n = a.rows;
    Matrix panel(n, kBlock), halves(n, kBlock), pivot(kBlock, kBlock), factor(kBlock, kBlock);
    std::vector<float> diagonal(static_cast<std::size_t>(n));
    for (index_t i = 0; i < n; ++i) diagonal[static_cast<std::size_t>(i)] = a.row(i)[i];
    const index_t tiles = (n + kTile - 1) / kTile;
    with_team(num_threads, [&] {
        for (index_t begin = 0; begin < n; begin += kBlock) {
            if (poll) poll();
            const index_t end = std::min(begin + kBlock, n);
            const index_t size = end - begin;
            MatrixView inverse = pivot.view(), root = factor.view();
            inverse.rows = inverse.cols = root.rows = root.cols = size;
            invert_block(a, begin, size, diagonal, root, inverse);
            MatrixView columns = panel.view(), half = halves.view();
            columns.cols = half.cols = size;
            parallel_for(tiles, num_threads, [&](index_t tile) {
                const index_t first = tile * kTile;
                const index_t last = std::min(first + kTile, n);
                for (index_t i = first; i < last; ++i) {
                    float* row = columns.row(i);
                    if (i >= end) {
                        std::copy_n(a.row(i) + begin, size, row);
                    } else if (i < begin) {
                        for (index_t j = 0; j < size; ++j) row[j] = a.row(begin + j)[i];
                    } else {
                        std::fill_n(row, size, 0.0f);  // the pivots' own rows take no update
                    }
                }
                multiply_rows_transposed(columns, root, first, last, half);
                multiply_rows(half, root, first, last, columns);
            });
            // the largest pieces first
            parallel_for(tiles, num_threads, [&](index_t piece) {
                const index_t first = (tiles - 1 - piece) * kTile;
                const index_t last = std::min(first + kTile, n);
                subtract_product_transposed(rows_of(half, first, last, size),
                                            rows_of(half, 0, last, size),
                                            rows_of(a, first, last, last));
            });
            parallel_for(tiles, num_threads, [&](index_t tile) {
                const index_t first = tile * kTile;
                const index_t last = std::min(first + kTile, n);
                for (index_t i = first; i < last; ++i) {
                    const float* row = columns.row(i);
                    if (i >= end) {
                        std::copy_n(row, size, a.row(i) + begin);
                    } else if (i < begin) {
                        for (index_t j = 0; j < size; ++j) a.row(begin + j)[i] = row[j];
                    } else {
                        for (index_t j = 0; j <= i - begin; ++j) {
                            a.row(i)[begin + j] = -inverse.row(i - begin)[j];
                        }
                    }
                }
            });
        }
        parallel_for(tiles, num_threads, [&](index_t tile) {
            for (index_t i = tile * kTile; i < std::min((tile + 1) * kTile, n); ++i) {
                for (index_t j = 0; j <= i; ++j) a.row(i)[j] = -a.row(i)[j];
            }
        });
        // the upper triangle, a tile at a time so that both its sides stay in the cache
        parallel_for(tiles, num_threads, [&](index_t tile) {
            constexpr index_t kSide = 32;
            const index_t last = std::min((tile + 1) * kTile, n);
            for (index_t i0 = tile * kTile; i0 < last; i0 += kSide) {
                for (index_t j0 = i0; j0 < n; j0 += kSide) {
                    for (index_t i = i0; i < std::min(i0 + kSide, last); ++i) {
                        for (index_t j = std::max(j0, i + 1); j < std::min(j0 + kSide, n); ++j) {
                            a.row(i)[j] = a.row(j)[i];
                        }
                    }
                }
            }
        });
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
