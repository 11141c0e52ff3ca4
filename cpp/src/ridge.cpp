#include "isthmus/ridge.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "isthmus/parallel.hpp"

namespace isthmus {

namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

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
        // What the column is beside the mean column. The penalty of its level is as many further
        // cells at the centre, where the mean column is right: a last row, of that weight.
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
        // The level itself has no further penalty: centre both sides, and give the means back.
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

}  // namespace isthmus
