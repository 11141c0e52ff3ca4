#include "isthmus/als.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "isthmus/normal_equations.hpp"
#include "isthmus/parallel.hpp"

namespace isthmus {

namespace {

constexpr index_t kPieceWork = index_t{1} << 22;  // multiplications: well above a piece's own cost
constexpr index_t kPollWork = index_t{1} << 31;   // about a tenth of a second of one core

// Rows in the order in which they are taken, long ones first so that none is left over at the end;
// cut into pieces of about equal work, and those into rounds between which `poll` is called.
struct Schedule {
    std::vector<std::int32_t> rows;
    std::vector<index_t> piece_begin;  // pieces + 1
    std::vector<index_t> round_begin;  // rounds + 1, in pieces

    Schedule(const CsrView& cells, index_t unknowns) : rows(static_cast<std::size_t>(cells.rows)) {
        std::iota(rows.begin(), rows.end(), 0);
        std::stable_sort(rows.begin(), rows.end(), [&](std::int32_t a, std::int32_t b) {
            return cells.row_nnz(a) > cells.row_nnz(b);
        });
        piece_begin.push_back(0);
        round_begin.push_back(0);
        index_t piece_work = 0, round_work = 0;
        for (index_t i = 0; i < cells.rows; ++i) {
            const index_t count = cells.row_nnz(rows[static_cast<std::size_t>(i)]);
            if (count > 0) piece_work += (count + unknowns / 3 + 1) * unknowns * unknowns;
            if (piece_work < kPieceWork && i + 1 < cells.rows) continue;
            piece_begin.push_back(i + 1);
            round_work += piece_work;
            piece_work = 0;
            if (round_work < kPollWork && i + 1 < cells.rows) continue;
            round_begin.push_back(static_cast<index_t>(piece_begin.size()) - 1);
            round_work = 0;
        }
    }
};

}  // namespace

double solve_rows(const CsrView& cells, const ConstFactorSide& fixed, float mean,
                  const RidgePenalty& penalty, int num_threads,
                  const std::function<void(index_t)>& poll, const FactorSide& solved) {
    const index_t k = fixed.factors.cols;
    const Schedule schedule(cells, k + 1);
    std::vector<double> squared_error(static_cast<std::size_t>(cells.rows));

    const auto solve_piece = [&](index_t piece) {
        NormalEquations equations(k + 1);
        std::vector<float> unknowns(static_cast<std::size_t>(k + 1));
        std::vector<float> penalties(static_cast<std::size_t>(k + 1));
        for (index_t i = schedule.piece_begin[static_cast<std::size_t>(piece)];
             i < schedule.piece_begin[static_cast<std::size_t>(piece) + 1]; ++i) {
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
            const float scale = penalty.scale(cells.row_nnz(row));
            std::fill_n(penalties.begin(), k, penalty.factors * scale);
            penalties[static_cast<std::size_t>(k)] = penalty.bias * scale;
            if (!equations.solve(penalties.data(), unknowns.data(),
                                 squared_error[static_cast<std::size_t>(row)])) {
                throw std::invalid_argument(
                    "a least-squares problem is singular: raise regularization");
            }
            std::copy_n(unknowns.begin(), k, factors);
            solved.bias[row] = unknowns[static_cast<std::size_t>(k)];
        }
    };

    index_t done = 0;
    for (std::size_t round = 0; round + 1 < schedule.round_begin.size(); ++round) {
        if (poll) poll(done);
        const index_t begin = schedule.round_begin[round];
        const index_t end = schedule.round_begin[round + 1];
        parallel_for(end - begin, num_threads, [&](index_t piece) { solve_piece(begin + piece); });
        for (index_t i = schedule.piece_begin[static_cast<std::size_t>(begin)];
             i < schedule.piece_begin[static_cast<std::size_t>(end)]; ++i) {
            done += cells.row_nnz(schedule.rows[static_cast<std::size_t>(i)]);
        }
    }
    return std::accumulate(squared_error.begin(), squared_error.end(), 0.0);
}

}  // namespace isthmus
