#include "isthmus/solvers/als.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "isthmus/core/parallel.hpp"
#include "isthmus/nn/dense.hpp"
#include "isthmus/solvers/normal_equations.hpp"

namespace isthmus {

namespace {

constexpr index_t kPieceWork = index_t{1} << 22;  // multiplications: well above a piece's own cost
constexpr index_t kGramRows = 1024;               // whose products are summed in float32
constexpr index_t kPollWork = index_t{1} << 31;   // about a tenth of a second of one core

// Rows in the order in which they are taken, long ones first so that none is left over at the end;
// cut into pieces of about equal work, and those into rounds between which `poll` is called.
struct Schedule {
    std::vector<std::int32_t> rows;
    std::vector<index_t> piece_begin;  // pieces + 1
    std::vector<index_t> round_begin;  // rounds + 1, in pieces

    // with_empty: whether rows without cells are work as well
    Schedule(const CsrView& cells, index_t unknowns, bool with_empty)
        : rows(static_cast<std::size_t>(cells.rows)) {
        std::iota(rows.begin(), rows.end(), 0);
        std::stable_sort(rows.begin(), rows.end(), [&](std::int32_t a, std::int32_t b) {
            return cells.row_nnz(a) > cells.row_nnz(b);
        });
        piece_begin.push_back(0);
        round_begin.push_back(0);
        index_t piece_work = 0, round_work = 0;
        for (index_t i = 0; i < cells.rows; ++i) {
            const index_t count = cells.row_nnz(rows[static_cast<std::size_t>(i)]);
            if (count > 0 || with_empty)
                piece_work += (count + unknowns / 3 + 1) * unknowns * unknowns;
            if (piece_work < kPieceWork && i + 1 < cells.rows) continue;
            piece_begin.push_back(i + 1);
            round_work += piece_work;
            piece_work = 0;
            if (round_work < kPollWork && i + 1 < cells.rows) continue;
            round_begin.push_back(static_cast<index_t>(piece_begin.size()) - 1);
            round_work = 0;
        }
    }

    // Calls body(first, last) for the pieces of `rows`, and poll(cells done) between the rounds.
    template <class Body>
    void run(const CsrView& cells, int num_threads, const Poll& poll, Body&& body) const {
        index_t done = 0;
        for (std::size_t round = 0; round + 1 < round_begin.size(); ++round) {
            if (poll) poll(done);
            const index_t begin = round_begin[round];
            const index_t end = round_begin[round + 1];
            parallel_for(end - begin, num_threads, [&](index_t piece) {
                const auto at = static_cast<std::size_t>(begin + piece);
                body(piece_begin[at], piece_begin[at + 1]);
            });
            for (index_t i = piece_begin[static_cast<std::size_t>(begin)];
                 i < piece_begin[static_cast<std::size_t>(end)]; ++i) {
                done += cells.row_nnz(rows[static_cast<std::size_t>(i)]);
            }
        }
    }
};

}  // namespace

double solve_rows(const CsrView& cells, const ConstFactorSide& fixed, float mean,
                  const RidgePenalty& penalty, int num_threads, const Poll& poll,
                  const FactorSide& solved) {
    const index_t k = fixed.factors.cols;
    const Schedule schedule(cells, k + 1, false);
    std::vector<double> squared_error(static_cast<std::size_t>(cells.rows));
    schedule.run(cells, num_threads, poll, [&](index_t first, index_t last) {
        NormalEquations equations(k + 1);
        std::vector<float> unknowns(static_cast<std::size_t>(k + 1));
        std::vector<float> penalties(static_cast<std::size_t>(k + 1));
        for (index_t i = first; i < last; ++i) {
            const index_t row = schedule.rows[static_cast<std::size_t>(i)];
            float* factors = solved.factors.row(row);
            if (cells.row_nnz(row) == 0) {
                std::fill_n(factors, k, 0.0f);
                solved.bias[row] = 0.0f;
                continue;
            }
            equations.clear();
            for (index_t c = cells.indptr[row]; c < cells.indptr[row + 1]; ++c) {
                const std::int32_t column = cells.indices[c];
                float* observation = equations.next_row();
                std::memcpy(observation, fixed.factors.row(column),
                            static_cast<std::size_t>(k) * sizeof(float));
                observation[k] = 1.0f;
                observation[k + 1] = cells.values[c] - mean - fixed.bias[column];
            }
            std::fill_n(penalties.begin(), k, penalty.factors * penalty.scale(cells.row_nnz(row)));
            penalties[static_cast<std::size_t>(k)] = penalty.bias;
            if (!equations.solve(penalties.data(), nullptr, unknowns.data(),
                                 squared_error[static_cast<std::size_t>(row)])) {
                throw Singular();
            }
            std::copy_n(unknowns.begin(), k, factors);
            solved.bias[row] = unknowns[static_cast<std::size_t>(k)];
        }
    });
    return std::accumulate(squared_error.begin(), squared_error.end(), 0.0);
}

void factor_gram(ConstMatrixView factors, int num_threads, MatrixView gram) {
    const index_t k = factors.cols;
    const index_t pieces = (factors.rows + kGramRows - 1) / kGramRows;
    std::vector<Matrix> parts(static_cast<std::size_t>(pieces));
    parallel_for(pieces, num_threads, [&](index_t piece) {
        const index_t begin = piece * kGramRows;
        const index_t rows = std::min(kGramRows, factors.rows - begin);
        const ConstMatrixView own = rows_of(factors, {begin, begin + rows});
        Matrix& part = parts[static_cast<std::size_t>(piece)] = Matrix(k, k);
        multiply_columns(own, own, rows, 0, k, part.view());
    });
    for (index_t i = 0; i < k; ++i) {
        for (index_t j = 0; j < k; ++j) {
            double total = 0.0;
            for (const Matrix& part : parts) total += part.row(i)[j];
            gram.row(i)[j] = static_cast<float>(total);
        }
    }
}

double solve_implicit_rows(const CsrView& cells, ConstMatrixView fixed, ConstMatrixView gram,
                           Confidence confidence, float penalty, ConstMatrixView prior,
                           int num_threads, const Poll& poll, MatrixView solved) {
    const index_t k = fixed.cols;
    const Schedule schedule(cells, k, true);
    // Every column counts as a 0 of weight `other`. The rest of a stored cell's cost is that of one
    // more observation, scaled to the remaining weight, and a constant.
    const float extra = std::sqrt(confidence.positive - confidence.other);
    const float target = confidence.positive / extra;
    const double constant = double{target} * target - confidence.positive;
    const std::vector<float> penalties(static_cast<std::size_t>(k), penalty);
    std::vector<double> squared_error(static_cast<std::size_t>(cells.rows));
    schedule.run(cells, num_threads, poll, [&](index_t first, index_t last) {
        NormalEquations equations(k);
        for (index_t i = first; i < last; ++i) {
            const index_t row = schedule.rows[static_cast<std::size_t>(i)];
            equations.start(gram, confidence.other);
            for (index_t c = cells.indptr[row]; c < cells.indptr[row + 1]; ++c) {
                const float* factors = fixed.row(cells.indices[c]);
                float* observation = equations.next_row();
                for (index_t j = 0; j < k; ++j) observation[j] = extra * factors[j];
                observation[k] = target;
            }
            double& error = squared_error[static_cast<std::size_t>(row)];
            if (!equations.solve(penalties.data(), prior.rows > 0 ? prior.row(row) : nullptr,
                                 solved.row(row), error)) {
                throw Singular();
            }
            error -= constant * static_cast<double>(cells.row_nnz(row));
        }
    });
    return std::accumulate(squared_error.begin(), squared_error.end(), 0.0);
}

}  // namespace isthmus
