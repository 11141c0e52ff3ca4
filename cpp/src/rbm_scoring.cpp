#include "isthmus/rbm_scoring.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <stdexcept>

#include "isthmus/parallel.hpp"
#include "isthmus/scoring.hpp"
#include "isthmus/softmax.hpp"

namespace isthmus {

namespace {

constexpr index_t kPairs = 1024;
constexpr int kMaxIterations = 200;
constexpr double kTolerance = 1e-5;
constexpr double kBiasPenalty = 0.1;  // a level that a new column never had stays possible

float score(const ExpectedRatings& ratings, index_t row, index_t column, float* p) {
    const auto levels = static_cast<index_t>(ratings.values.size());
    level_probabilities(ratings.weights.view(), column * levels, ratings.bias.row(column), levels,
                        ratings.codes.row(row), p);
    return expected_value(p, ratings.values.data(), levels);
}

}  // namespace

void score_pairs(const ExpectedRatings& ratings, const std::int32_t* queries,
                 const std::int32_t* candidates, index_t count, int num_threads, float* out) {
    const std::int32_t* rows = ratings.queries_are_rows ? queries : candidates;
    const std::int32_t* columns = ratings.queries_are_rows ? candidates : queries;
    parallel_ranges(count, kPairs, num_threads, [&](index_t begin, index_t end) {
        Matrix p(1, static_cast<index_t>(ratings.values.size()));
        for (index_t i = begin; i < end; ++i)
            out[i] = score(ratings, rows[i], columns[i], p.data());
    });
}

void top_k(const ExpectedRatings& ratings, const CsrView& seen, index_t n, int num_threads,
           std::int32_t* items, float* scores) {
    const auto score_tile = [&](index_t begin, index_t first, MatrixView tile) {
        Matrix p(1, static_cast<index_t>(ratings.values.size()));
        for (index_t c = 0; c < tile.cols; ++c) {
            for (index_t q = 0; q < tile.rows; ++q) {
                tile.row(q)[c] = ratings.queries_are_rows
                                     ? score(ratings, begin + q, first + c, p.data())
                                     : score(ratings, first + c, begin + q, p.data());
            }
        }
    };
    top_k(ratings.queries(), ratings.candidates(), score_tile, seen, n, num_threads, items, scores);
}

void fit_columns(ConstMatrixView codes, const LevelRows& cells, index_t levels, double penalty,
                 int num_threads, MatrixView weights, MatrixView bias) {
    const index_t hidden = codes.cols;
    parallel_for(cells.rows, num_threads, [&](index_t column) {
        const index_t begin = cells.indptr[column];
        const index_t count = cells.indptr[column + 1] - begin;
        Eigen::MatrixXd x(count, hidden + 1);
        Eigen::MatrixXd target = Eigen::MatrixXd::Zero(count, levels);
        for (index_t i = 0; i < count; ++i) {
            const float* code = codes.row(cells.indices[begin + i]);
            for (index_t j = 0; j < hidden; ++j) x(i, j) = code[j];
            x(i, hidden) = 1.0;
            target(i, cells.levels[begin + i]) = 1.0;
        }
        Eigen::VectorXd ridge = Eigen::VectorXd::Constant(hidden + 1, penalty);
        ridge(hidden) = kBiasPenalty;
        Eigen::MatrixXd bound = 0.5 * (x.transpose() * x);
        bound.diagonal() += ridge;
        const Eigen::LLT<Eigen::MatrixXd> cholesky(bound);
        if (cholesky.info() != Eigen::Success) {
            throw std::invalid_argument("a softmax regression on the codes is singular");
        }
        Eigen::MatrixXd theta = Eigen::MatrixXd::Zero(hidden + 1, levels);
        for (int iteration = 0; iteration < kMaxIterations; ++iteration) {
            Eigen::MatrixXd p = x * theta;
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
            for (index_t j = 0; j < hidden; ++j) {
                weights.row(column * levels + k)[j] = static_cast<float>(theta(j, k));
            }
            bias.row(column)[k] = static_cast<float>(theta(hidden, k));
        }
    });
}

}  // namespace isthmus
