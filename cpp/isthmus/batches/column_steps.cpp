#include "isthmus/batches/column_steps.hpp"

#include <algorithm>
#include <type_traits>

#include "isthmus/core/chunks.hpp"
#include "isthmus/nn/optimizer_policies.hpp"
#include "isthmus/nn/trained_rows.hpp"

namespace isthmus {

namespace {

// How far catching up looks ahead: for whether a column has to, and for its weights and state.
constexpr index_t kCellsAhead = 8;
constexpr index_t kRowsAhead = 2;

void prefetch_row(const MatrixView& matrix, index_t row) {
    const float* const begin = matrix.row(row);
    for (index_t p = 0; p < matrix.width(); p += kLineFloats) __builtin_prefetch(begin + p, 1);
}

// Prefetches a column's weights and state.
void prefetch_rows(const TrainedMatrix& trained, index_t column) {
    prefetch_row(trained.weights, column);
    for (const MatrixView& state : trained.state) {
        if (state.data) prefetch_row(state, column);
    }
}

// Prefetches the beginning of what a step of a column reads: rare columns come from memory, in an
// order that the processor cannot foresee.
void prefetch(const TrainedMatrix& trained, index_t column) {
    __builtin_prefetch(trained.taken + column);
    __builtin_prefetch(trained.weights.row(column));
    for (const MatrixView& state : trained.state) {
        if (state.data) __builtin_prefetch(state.row(column));
    }
    if (!trained.bias) return;
    __builtin_prefetch(trained.bias + column);
    for (const float* state : trained.bias_state) {
        if (state) __builtin_prefetch(state + column);
    }
}

// Calls body(list, the next column that it will be called for, or the same) for the columns of a
// block that take the batch's step now: those that have a cell or, where none may skip it, all of
// them.
template <class Body>
void for_each_stepping(const ColumnLists& lists, index_t block, Range columns, bool may_skip,
                       Body&& body) {
    const ColumnLists::Lists all = lists.block(block);
    const ColumnLists::List* next = all.begin();
    if (may_skip) {
        while (next != all.end()) {
            const ColumnLists::List& list = *next++;
            body(list, next != all.end() ? next->column : list.column);
        }
        return;
    }
    for (index_t c = columns.begin; c < columns.end; ++c) {
        const index_t following = std::min(c + 1, columns.end - 1);
        if (next != all.end() && next->column == c) {
            body(*next++, following);
        } else {
            body(ColumnLists::List{static_cast<std::int32_t>(c), 0, 0, 0}, following);
        }
    }
}

// Steps one number, as a vector of which one lane counts.
template <class Optimizer>
void step_scalar(const Optimizer& optimizer, float& weight, float gradient, float* const* state,
                 index_t at) {
    Floats s[2] = {};
    for (int i = 0; i < Optimizer::states; ++i) s[i] = broadcast(state[i][at]);
    weight = optimizer.step(broadcast(weight), broadcast(gradient), s)[0];
    for (int i = 0; i < Optimizer::states; ++i) state[i][at] = s[i][0];
}

// Steps N vectors of a row of weights from `at` on, along their gradient and decay.
template <class Optimizer, class Weights, int N>
ISTHMUS_INLINE void step_vectors(const Optimizer& optimizer, const Weights& weights, index_t at,
                                 float decay, const Floats* gradient) {
    Floats w[N], s[N][2];
    weights.template load<Optimizer::states>(at, w, s);
#pragma GCC unroll 2
    for (int j = 0; j < N; ++j) {
        const Floats decayed = multiply_add(decay, w[j], gradient[j]);
        w[j] = optimizer.template step<Weights::kRough>(w[j], decayed, s[j]);
    }
    weights.template store<Optimizer::states>(at, w, s);
}

template <class Weights, class Optimizer, class View>
void update_columns_with(const Optimizer& optimizer, const ColumnLists& lists, index_t block,
                         Range columns, Cells cells, View h, const TrainedMatrix& trained,
                         const OptimizerStep& step) {
    const float decay = step.decay;
    const bool may_skip = trained.taken != nullptr;
    const std::int32_t* rows = lists.row();
    const float* values = cells == Cells::input ? lists.input() : lists.error();

    const auto update_column = [&](const ColumnLists::List& list, index_t offset, auto vectors) {
        constexpr int N = decltype(vectors)::value;
        const index_t c = list.column;
        const index_t end = cells == Cells::input ? list.input_end : list.end;
        if (!may_skip && Optimizer::rests && decay == 0.0f && list.begin == end) return;
        Floats gradient[N] = {};
        add_rows(gradient, values, list.begin, end,
                 [&](index_t i) { return h.row(rows[i]) + offset; });
        // a copy, whose constants stay in registers while weights are stored
        const Optimizer own = optimizer;
        const Weights weights(trained, c, step.noise);
        constexpr int kTogether = Weights::kTogether;
        const auto at = [offset](int j) { return offset + j * kLanes; };
#pragma GCC unroll 8
        for (int j = 0; j + kTogether <= N; j += kTogether) {
            step_vectors<Optimizer, Weights, kTogether>(own, weights, at(j), decay, gradient + j);
        }
        if constexpr (N % kTogether > 0) {
            step_vectors<Optimizer, Weights, 1>(own, weights, at(N - 1), decay, gradient + N - 1);
        }
    };
    if constexpr (Optimizer::states == 0) {
        // a chunk of all the batch's codes stays in the cache while the columns pass by
        for_each_chunk(h.width(), [&](index_t offset, auto vectors) {
            for_each_stepping(lists, block, columns, may_skip, [&](const auto& list, index_t) {
                update_column(list, offset, vectors);
            });
        });
    } else {
        // the state comes from memory: by whole rows, the next while one is at work
        for_each_stepping(lists, block, columns, may_skip, [&](const auto& list, index_t next) {
            prefetch_rows(trained, next);
            for_each_chunk(h.width(), [&](index_t offset, auto vectors) {
                update_column(list, offset, vectors);
            });
        });
    }
    if (trained.bias) {
        for_each_stepping(lists, block, columns, may_skip, [&](const auto& list, index_t) {
            float gradient = 0.0f;
            for (index_t i = list.begin; i < list.end; ++i) gradient += values[i];
            gradient += step.bias_decay * trained.bias[list.column];
            step_scalar(optimizer, trained.bias[list.column], gradient, trained.bias_state,
                        list.column);
        });
    }
    if (!may_skip) return;
    for (const ColumnLists::List& list : lists.block(block)) ++trained.taken[list.column];
}

// Returns whether weights and state are 0, as without a rating from the start: no step moves them.
template <int N>
ISTHMUS_INLINE bool all_zero(const Floats (&weights)[N], const Floats (&state)[N][2], int states) {
    Ints any{};
    for (int j = 0; j < N; ++j) {
        any |= weights[j] != 0.0f;
        for (int i = 0; i < states; ++i) any |= state[j][i] != 0.0f;
    }
    return sum(select(any, broadcast(1.0f), Floats{})) == 0.0f;
}

// Takes the skipped steps [begin, end) of N vectors of weights that share their steps, and decay
// by `decay` of each.
template <class Optimizer, int N>
ISTHMUS_INLINE void take_skipped(Floats (&weights)[N], Floats (&state)[N][2],
                                 const OptimizerStep* begin, const OptimizerStep* end,
                                 float OptimizerStep::* decay) {
    const OptimizerStep* next = begin;
    if constexpr (Optimizer::leaps) {
        if (end - begin > kMostExactSteps) {
            // Short leaps at first, while the last gradients are being forgotten; one without
            // decay, as nothing else moves the weights. The last step is left: that of an epoch's
            // last batch has another decay.
            index_t length = begin->*decay != 0.0f ? kMostExactSteps / 2 : end - next;
            for (; end - next > 1; length *= 4) {
                const Leap leap(next, std::min(length, index_t{end - next - 1}), decay);
                const Optimizer optimizer(leap.step);
                for (int j = 0; j < N; ++j) weights[j] = optimizer.leap(weights[j], state[j], leap);
                next += leap.count;
            }
        }
    }
    for (; next < end; ++next) {
        const Optimizer optimizer(*next);
        for (int j = 0; j < N; ++j) {
            weights[j] = optimizer.step(weights[j], (next->*decay) * weights[j], state[j]);
        }
    }
}

// The skipped steps [begin, end) of one column.
template <class Optimizer, class Weights>
void take_steps(const TrainedMatrix& trained, index_t column, const OptimizerStep* begin,
                const OptimizerStep* end) {
    constexpr int kStates = Optimizer::states;
    for_each_chunk(trained.weights.width(), [&](index_t offset, auto vectors) {
        constexpr int N = decltype(vectors)::value;
        const Weights weights(trained, column, end[-1].noise);
        Floats w[N], s[N][2];
        weights.template load<kStates>(offset, w, s);
        if (all_zero(w, s, kStates)) return;
        take_skipped<Optimizer>(w, s, begin, end, &OptimizerStep::decay);
        weights.template store<kStates>(offset, w, s);
    });
}

template <class Optimizer>
void take_bias_steps(const TrainedMatrix& trained, index_t column, const OptimizerStep* begin,
                     const OptimizerStep* end) {
    constexpr int kStates = Optimizer::states;
    Floats w[1] = {broadcast(trained.bias[column])}, s[1][2];
    for (int i = 0; i < kStates; ++i) s[0][i] = broadcast(trained.bias_state[i][column]);
    take_skipped<Optimizer>(w, s, begin, end, &OptimizerStep::bias_decay);
    trained.bias[column] = w[0][0];
    for (int i = 0; i < kStates; ++i) trained.bias_state[i][column] = s[0][i][0];
}

// Calls body(optimizer's policy, null pointer to the type of the weights' rows).
template <class Body>
void with_types(const TrainedMatrix& trained, const OptimizerStep& step, Body&& body) {
    with_optimizer(step, [&](const auto& optimizer) {
        with_rows(trained, [&](auto* rows) { body(optimizer, rows); });
    });
}

// Lets columns take what they miss of the first `count` steps: body(catch_up), catch_up(column).
template <class Body>
void with_catch_up(const TrainedMatrix& trained, const OptimizerStep* steps, index_t count,
                   Body&& body) {
    if (count == 0) return;
    with_types(trained, *steps, [&](const auto& optimizer, auto* rows) {
        using Optimizer = std::decay_t<decltype(optimizer)>;
        using Weights = std::remove_pointer_t<decltype(rows)>;
        const bool weights_rest = Optimizer::rests && steps->decay == 0.0f;
        const bool biases_rest =
            trained.bias == nullptr || (Optimizer::rests && steps->bias_decay == 0.0f);
        body([&](index_t column) {
            std::int32_t& taken = trained.taken[column];
            if (taken == count) return;
            const OptimizerStep *begin = steps + taken, *end = steps + count;
            if (!weights_rest) take_steps<Optimizer, Weights>(trained, column, begin, end);
            if (!biases_rest) take_bias_steps<Optimizer>(trained, column, begin, end);
            taken = static_cast<std::int32_t>(count);
        });
    });
}

}  // namespace

void update_columns(const ColumnLists& lists, index_t block, Range columns, Cells cells,
                    ConstMatrixView h, const TrainedMatrix& trained, const OptimizerStep& step) {
    with_optimizer(step, [&](const auto& optimizer) {
        update_columns_with<FloatWeights>(optimizer, lists, block, columns, cells, h, trained,
                                          step);
    });
}

void update_columns(const ColumnLists& lists, index_t block, Range columns, Cells cells,
                    ConstHalfView h, const TrainedMatrix& trained, const OptimizerStep& step) {
    with_optimizer(step, [&](const auto& optimizer) {
        update_columns_with<HalfWeights>(optimizer, lists, block, columns, cells, h, trained, step);
    });
}

void catch_up_block(const Batch& batch, index_t block, const TrainedMatrix& trained,
                    const OptimizerStep* steps, index_t count) {
    const index_t begin = batch.segment(block, 0).begin;
    const index_t end = batch.segment(block, batch.rows() - 1).end;
    with_catch_up(trained, steps, count, [&](const auto& catch_up) {
        for (index_t i = begin; i < end; ++i) {
            if (i + kCellsAhead < end) prefetch(trained, batch.column()[i + kCellsAhead]);
            if (i + kRowsAhead < end) {
                const std::int32_t column = batch.column()[i + kRowsAhead];
                if (trained.taken[column] != count) prefetch_rows(trained, column);
            }
            catch_up(batch.column()[i]);
        }
    });
}

void catch_up_columns(Range columns, const TrainedMatrix& trained, const OptimizerStep* steps,
                      index_t count) {
    with_catch_up(trained, steps, count, [&](const auto& catch_up) {
        for (index_t c = columns.begin; c < columns.end; ++c) catch_up(c);
    });
}

}  // namespace isthmus
