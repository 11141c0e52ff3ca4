#include "isthmus/ridge.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
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
            "a regression on the codes is singular: regularization must be greater than 0");
    }
    if (dual) return h.transpose() * cholesky.solve(t);
    return cholesky.solve(h.transpose() * t);
}

}  // namespace

void fit_ridge(ConstMatrixView codes, const CsrView& cells, double penalty, int num_threads,
               MatrixView weights, float* intercepts) {
    parallel_for(cells.rows, num_threads, [&](index_t column) {
        const index_t begin = cells.indptr[column];
        const index_t count = cells.row_nnz(column);
        if (count == 0) {
            std::fill_n(weights.row(column), weights.cols, 0.0f);
            intercepts[column] = 0.0f;
            return;
        }
        RowMajor h(count, codes.cols);
        Eigen::VectorXd t(count);
        for (index_t i = 0; i < count; ++i) {
            const float* code = codes.row(cells.indices[begin + i]);
            for (index_t j = 0; j < codes.cols; ++j) h(i, j) = code[j];
            t(i) = cells.values[begin + i];
        }
        // An intercept without penalty: centre both sides, and give the means back.
        const Eigen::RowVectorXd mean_code = h.colwise().mean();
        const double mean_target = t.mean();
        h.rowwise() -= mean_code;
        t.array() -= mean_target;
        const Eigen::VectorXd w = solve(h, t, penalty);
        for (index_t j = 0; j < codes.cols; ++j) weights.row(column)[j] = static_cast<float>(w(j));
        intercepts[column] = static_cast<float>(mean_target - mean_code.dot(w));
    });
}

}  // namespace isthmus
