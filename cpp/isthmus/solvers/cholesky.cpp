#include "isthmus/solvers/cholesky.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <vector>

#include "isthmus/core/parallel.hpp"
#include "isthmus/nn/dense.hpp"

namespace isthmus {

namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr index_t kBlock = 256;  // pivots eliminated at once
constexpr index_t kTile = 256;   // rows of the matrix updated by one piece of work

// A pivot below this share of its original diagonal is rounding error.
constexpr double kLeastPivot = 1e-6;

// L^-1 and the inverse L^-T L^-1 of a small block L L^T, by Cholesky in double precision;
// `diagonal` is what the matrix's was at first.
void invert_block(MatrixView a, index_t begin, index_t size, const std::vector<float>& diagonal,
                  MatrixView root, MatrixView inverse) {
    RowMajor block(size, size);
    for (index_t i = 0; i < size; ++i) {
        for (index_t j = 0; j <= i; ++j) block(i, j) = a.row(begin + i)[begin + j];
    }
    const Eigen::LLT<RowMajor, Eigen::Lower> cholesky(block);
    if (cholesky.info() != Eigen::Success) throw NotPositiveDefinite();
    for (index_t i = 0; i < size; ++i) {
        const double pivot = cholesky.matrixLLT()(i, i);
        if (!(pivot * pivot > kLeastPivot * diagonal[static_cast<std::size_t>(begin + i)])) {
            throw NotPositiveDefinite();
        }
    }
    const RowMajor half = cholesky.matrixL().solve(RowMajor::Identity(size, size));
    const RowMajor whole = half.transpose() * half;
    for (index_t i = 0; i < size; ++i) {
        for (index_t j = 0; j < size; ++j) {
            root.row(i)[j] = static_cast<float>(half(i, j));
            inverse.row(i)[j] = static_cast<float>(whole(i, j));
        }
    }
}

constexpr int kMaxIterations = 200;
constexpr double kTolerance = 1e-5;

// Solves in the smaller of the two equivalent systems: k x k, or cells x cells.
Eigen::VectorXd solve(const RowMajor& h, const Eigen::VectorXd& t, double penalty) {
    const bool dual = h.rows() < h.cols();
    const Eigen::Index size = std::min(h.rows(), h.cols());
    RowMajor gram = RowMajor::Identity(size, size) * penalty;
    if (dual) {
        gram.noalias() += h * h.transpose();
    } else {
        gram.noalias() += h.transpose() * h;
    }
    const Eigen::LLT<RowMajor> cholesky(gram);
    if (cholesky.info() != Eigen::Success) {
        throw std::invalid_argument(
            "a regression on the codes is singular: regularization must be greater than 0.");
    }
    if (dual) return h.transpose() * cholesky.solve(t);
    return cholesky.solve(h.transpose() * t);
}

}  // namespace

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
                MatrixView updated = rows_of(a, {first, last});
                updated.cols = last;
                subtract_product_transposed(rows_of(half, {first, last}), rows_of(half, {0, last}),
                                            updated);
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

void fit_ridge(ConstMatrixView codes, const CsrView& cells, double penalty,
               const ColumnPrior& prior, int num_threads, MatrixView weights, float* intercepts) {
    const index_t k = codes.cols;
    const double root = std::sqrt(prior.level_penalty);
    parallel_for(cells.rows, num_threads, [&](index_t column) {
        const index_t begin = cells.indptr[column];
        const index_t count = cells.row_nnz(column);
        if (count == 0) {
            std::fill_n(weights.row(column), weights.cols, 0.0f);
            intercepts[column] = 0.0f;
            return;
        }
        // Regress the difference from the mean column. The penalty of its level equals that many
        // further cells at the centre with a difference of 0: a last row of that weight.
        RowMajor h(count + 1, k);
        Eigen::VectorXd t(count + 1);
        for (index_t i = 0; i < count; ++i) {
            const float* code = codes.row(cells.indices[begin + i]);
            double expected = prior.bias[0];
            for (index_t j = 0; j < k; ++j) {
                h(i, j) = double{code[j]} - prior.center[j];
                expected += double{prior.weights.row(0)[j]} * code[j];
            }
            t(i) = cells.values[begin + i] - expected;
        }
        // The level itself has no further penalty: centre both sides, and add the means at the end.
        const double total = static_cast<double>(count) + prior.level_penalty;
        const Eigen::RowVectorXd mean_code = h.topRows(count).colwise().sum() / total;
        const double mean_target = t.head(count).sum() / total;
        h.topRows(count).rowwise() -= mean_code;
        t.head(count).array() -= mean_target;
        h.row(count) = -root * mean_code;
        t(count) = -root * mean_target;
        const Eigen::VectorXd w = solve(h, t, penalty);
        double intercept = prior.bias[0] + mean_target - mean_code.dot(w);
        for (index_t j = 0; j < k; ++j) {
            weights.row(column)[j] = static_cast<float>(prior.weights.row(0)[j] + w(j));
            intercept -= w(j) * prior.center[j];
        }
        intercepts[column] = static_cast<float>(intercept);
    });
}

void fit_softmax(ConstMatrixView codes, const CsrView& cells, const std::uint8_t* level,
                 index_t levels, double penalty, const ColumnPrior& prior, int num_threads,
                 MatrixView weights, MatrixView bias) {
    const index_t hidden = codes.cols;
    parallel_for(cells.rows, num_threads, [&](index_t column) {
        const index_t begin = cells.indptr[column];
        const index_t count = cells.indptr[column + 1] - begin;
        Eigen::MatrixXd x(count, hidden + 1);
        Eigen::MatrixXd target = Eigen::MatrixXd::Zero(count, levels);
        Eigen::MatrixXd expected(count, levels);  // the mean column's logits
        for (index_t i = 0; i < count; ++i) {
            const float* code = codes.row(cells.indices[begin + i]);
            for (index_t j = 0; j < hidden; ++j) x(i, j) = double{code[j]} - prior.center[j];
            x(i, hidden) = 1.0;
            for (index_t k = 0; k < levels; ++k) {
                expected(i, k) = prior.bias[k];
                for (index_t j = 0; j < hidden; ++j) {
                    expected(i, k) += double{prior.weights.row(k)[j]} * code[j];
                }
            }
            target(i, level[begin + i]) = 1.0;
        }
        Eigen::VectorXd ridge = Eigen::VectorXd::Constant(hidden + 1, penalty);
        ridge(hidden) = prior.level_penalty;
        Eigen::MatrixXd bound = 0.5 * (x.transpose() * x);
        bound.diagonal() += ridge;
        const Eigen::LLT<Eigen::MatrixXd> cholesky(bound);
        if (cholesky.info() != Eigen::Success) {
            throw std::invalid_argument(
                "a softmax regression on the codes is singular: raise regularization.");
        }
        // differences from the mean column: weights, and the levels at the centre
        Eigen::MatrixXd theta = Eigen::MatrixXd::Zero(hidden + 1, levels);
        for (int iteration = 0; iteration < kMaxIterations; ++iteration) {
            Eigen::MatrixXd p = expected + x * theta;
            for (index_t i = 0; i < count; ++i) {
                p.row(i).array() -= p.row(i).maxCoeff();
                p.row(i) = p.row(i).array().exp();
                p.row(i) /= p.row(i).sum();
            }
            const Eigen::MatrixXd gradient =
                x.transpose() * (target - p) - ridge.asDiagonal() * theta;
            const Eigen::MatrixXd step = cholesky.solve(gradient);
            theta += step;
            if (step.cwiseAbs().maxCoeff() < kTolerance) break;
        }
        for (index_t k = 0; k < levels; ++k) {
            double level_bias = prior.bias[k] + theta(hidden, k);
            for (index_t j = 0; j < hidden; ++j) {
                weights.row(column * levels + k)[j] =
                    static_cast<float>(prior.weights.row(k)[j] + theta(j, k));
                level_bias -= theta(j, k) * prior.center[j];
            }
            bias.row(column)[k] = static_cast<float>(level_bias);
        }
    });
}

}  // namespace isthmus
