#include "isthmus/rbm_scoring.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <stdexcept>
#include <utility>

#include "isthmus/parallel.hpp"
#include "isthmus/softmax.hpp"

namespace isthmus {

namespace {

constexpr int kMaxIterations = 200;
constexpr double kTolerance = 1e-5;

}  // namespace

ExpectedRatings::ExpectedRatings(Matrix codes, Matrix weights, Matrix bias,
                                 std::vector<float> values, bool queries_are_rows)
    : codes_(std::move(codes)),
      weights_(std::move(weights)),
      bias_(std::move(bias)),
      values_(std::move(values)),
      queries_are_rows_(queries_are_rows) {
    const auto levels = static_cast<index_t>(values_.size());
    if (levels < 1 || levels > kMaxLevels || bias_.cols() != levels) {
        throw std::invalid_argument("bias and values must have the same levels");
    }
    if (weights_.rows() != bias_.rows() * levels) {
        throw std::invalid_argument("weights must have a row per column and level");
    }
    if (weights_.cols() != codes_.cols()) {
        throw std::invalid_argument("codes and weights must have the same number of columns");
    }
}

// p: scratch, with room for the levels in whole vectors
float ExpectedRatings::score(index_t query, index_t candidate, float* p) const {
    const index_t row = queries_are_rows_ ? query : candidate;
    const index_t column = queries_are_rows_ ? candidate : query;
    const auto levels = static_cast<index_t>(values_.size());
    level_probabilities(weights_.view(), column * levels, bias_.row(column), levels,
                        codes_.row(row), p);
    return expected_value(p, values_.data(), levels);
}

void ExpectedRatings::tile(ColumnRange own, ColumnRange some, MatrixView out) const {
    Matrix p(1, static_cast<index_t>(values_.size()));
    for (index_t c = 0; c < some.size(); ++c) {
        for (index_t q = 0; q < own.size(); ++q) {
            out.row(q)[c] = score(own.begin + q, some.begin + c, p.data());
        }
    }
}

void ExpectedRatings::list(index_t query, const std::int32_t* candidates, index_t count,
                           float* out) const {
    Matrix p(1, static_cast<index_t>(values_.size()));
    for (index_t i = 0; i < count; ++i) out[i] = score(query, candidates[i], p.data());
}

void fit_columns(ConstMatrixView codes, const LevelRows& cells, index_t levels, double penalty,
                 const ColumnPrior& prior, int num_threads, MatrixView weights, MatrixView bias) {
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
            target(i, cells.levels[begin + i]) = 1.0;
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
        // beside the mean column: weights, and the levels at the centre
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
