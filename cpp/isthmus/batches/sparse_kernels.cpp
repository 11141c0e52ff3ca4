#include "isthmus/batches/sparse_kernels.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "isthmus/core/chunks.hpp"
#include "isthmus/nn/activation_functions.hpp"
#include "isthmus/nn/optimizer_policies.hpp"

namespace isthmus {

namespace {

constexpr int kGroup = 4;           // columns decoded at once: they share each load of the row
constexpr index_t kCellsAhead = 8;  // how far catching up looks ahead
constexpr index_t kGroupFloats = round_up(kGroup, kLineFloats);

// Columns of one row whose errors are known but not yet propagated to the row: dH += error W.
struct Decoded {
    float* hidden_error = nullptr;
    const float* weights[kGroup];
    float error[kGroup];
    int columns = 0;
};

// The errors of G columns' values z, which take the place of the targets; and their loss.
template <int G>
ISTHMUS_INLINE void measure_errors(float* z, const DecodeRule& rule, float* target, float* error,
                                   double& squared_error) {
    if (rule.activation == Activation::identity) {
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g) {
            const float difference = z[g] - target[g];
            squared_error += double{difference} * difference;
            error[g] = 2.0f * difference;
        }
    } else {
        alignas(64) float slope[kGroupFloats];
        for (int at = 0; at < kGroup; at += kLanes) {
            const Floats before = load(z + at);
            const Floats after = activate(rule.activation, before);
            store(slope + at, derivative(rule.activation, before, after));
            store(z + at, after);
        }
        for (int g = 0; g < G; ++g) {
            const float difference = z[g] - target[g];
            squared_error += double{difference} * difference;
            error[g] = 2.0f * difference * slope[g];
        }
    }
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) target[g] = error[g];
}

// Dot products of G columns with a row and, in the same loop, the way back of the P columns before
// them: the former wait for the second-level cache, the latter find their weights in the first.
template <int P, int G>
ISTHMUS_INLINE void multiply_group(const Decoded& before, const float* h,
                                   const float* const* weights, index_t width, float* z) {
    Floats sums[G > 0 ? G : 1] = {};
    float* const dh = before.hidden_error;
    // copies, which no store to dh can change
    const float* back[P > 0 ? P : 1];
    Floats error[P > 0 ? P : 1];
#pragma GCC unroll 8
    for (int g = 0; g < P; ++g) {
        back[g] = before.weights[g];
        error[g] = broadcast(before.error[g]);
    }
    for (index_t p = 0; p < width; p += kLanes) {
        if constexpr (G > 0) {
            const Floats hidden = load(h + p);
#pragma GCC unroll 8
            for (int g = 0; g < G; ++g) {
                sums[g] = multiply_add(hidden, load(weights[g] + p), sums[g]);
            }
        }
        if constexpr (P > 0) {
            Floats d = load(dh + p);
#pragma GCC unroll 8
            for (int g = 0; g < P; ++g) d = multiply_add(error[g], load(back[g] + p), d);
            store(dh + p, d);
        }
    }
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) z[g] = sum(sums[g]);
}

template <int G>
void decode_group(Decoded& before, const float* h, float* dh, index_t width,
                  const std::int32_t* columns, ConstMatrixView w, const DecodeRule& rule,
                  float* target, double& squared_error) {
    const float* weights[G];
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) weights[g] = w.row(columns[g]);
    alignas(64) float z[kGroupFloats] = {};
    with_count<kGroup + 1>(before.columns + 1, [&](auto count) {
        multiply_group<decltype(count)::value - 1, G>(before, h, weights, width, z);
    });
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) z[g] += rule.bias[columns[g]];
    measure_errors<G>(z, rule, target, before.error, squared_error);
    before.hidden_error = dh;
    before.columns = G;
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) before.weights[g] = weights[g];
}

// Prefetches what a step of a column reads: rare columns come from memory, in an order that the
// processor cannot foresee.
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

// Calls body(list) for the columns of a block that take the batch's step now: those that have a
// cell or, where none may skip it, all of them.
template <class Body>
void for_each_stepping(const ColumnLists& lists, index_t block, Range columns, bool may_skip,
                       Body&& body) {
    if (may_skip) {
        for (const ColumnLists::List& list : lists.block(block)) body(list);
        return;
    }
    const ColumnLists::Lists all = lists.block(block);
    const ColumnLists::List* next = all.begin();
    for (index_t c = columns.begin; c < columns.end; ++c) {
        if (next != all.end() && next->column == c) {
            body(*next++);
        } else {
            body(ColumnLists::List{static_cast<std::int32_t>(c), 0, 0, 0});
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

template <class Optimizer>
void update_columns_with(const Optimizer& optimizer, const ColumnLists& lists, index_t block,
                         Range columns, Cells cells, ConstMatrixView h,
                         const TrainedMatrix& trained, const OptimizerStep& step) {
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
        for (index_t i = list.begin; i < end; ++i) {
            add_scaled(gradient, values[i], h.row(rows[i]) + offset);
        }
        // a copy, whose constants stay in registers while weights are stored
        const Optimizer own = optimizer;
        float* weights = trained.weights.row(c) + offset;
        float* state[2] = {};
        for (int i = 0; i < Optimizer::states; ++i) state[i] = trained.state[i].row(c) + offset;
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) {
            const index_t p = j * kLanes;
            const Floats decayed = multiply_add(decay, load(weights + p), gradient[j]);
            step_at(own, weights, decayed, state, p);
        }
    };
    if constexpr (Optimizer::states == 0) {
        // a chunk of all the batch's codes stays in the cache while the columns pass by
        for_each_chunk(h.width(), [&](index_t offset, auto vectors) {
            for_each_stepping(lists, block, columns, may_skip,
                              [&](const auto& list) { update_column(list, offset, vectors); });
        });
    } else {
        // the state comes from memory, and is prefetched best by whole rows
        for_each_stepping(lists, block, columns, may_skip, [&](const auto& list) {
            for_each_chunk(h.width(), [&](index_t offset, auto vectors) {
                update_column(list, offset, vectors);
            });
        });
    }
    if (trained.bias) {
        for_each_stepping(lists, block, columns, may_skip, [&](const auto& list) {
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
template <class Optimizer>
void take_steps(const TrainedMatrix& trained, index_t column, const OptimizerStep* begin,
                const OptimizerStep* end) {
    constexpr int kStates = Optimizer::states;
    for_each_chunk(trained.weights.width(), [&](index_t offset, auto vectors) {
        constexpr int N = decltype(vectors)::value;
        float* const weights = trained.weights.row(column) + offset;
        float* state[2] = {};
        for (int i = 0; i < kStates; ++i) state[i] = trained.state[i].row(column) + offset;
        Floats w[N], s[N][2];
        for (int j = 0; j < N; ++j) {
            w[j] = load(weights + j * kLanes);
            for (int i = 0; i < kStates; ++i) s[j][i] = load(state[i] + j * kLanes);
        }
        if (all_zero(w, s, kStates)) return;
        take_skipped<Optimizer>(w, s, begin, end, &OptimizerStep::decay);
        for (int j = 0; j < N; ++j) {
            store(weights + j * kLanes, w[j]);
            for (int i = 0; i < kStates; ++i) store(state[i] + j * kLanes, s[j][i]);
        }
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

// Lets columns take what they miss of the first `count` steps: body(catch_up), catch_up(column).
template <class Body>
void with_catch_up(const TrainedMatrix& trained, const OptimizerStep* steps, index_t count,
                   Body&& body) {
    if (count == 0) return;
    with_optimizer(*steps, [&](const auto& optimizer) {
        using Optimizer = std::decay_t<decltype(optimizer)>;
        const bool weights_rest = Optimizer::rests && steps->decay == 0.0f;
        const bool biases_rest =
            trained.bias == nullptr || (Optimizer::rests && steps->bias_decay == 0.0f);
        body([&](index_t column) {
            std::int32_t& taken = trained.taken[column];
            if (taken == count) return;
            const OptimizerStep *begin = steps + taken, *end = steps + count;
            if (!weights_rest) take_steps<Optimizer>(trained, column, begin, end);
            if (!biases_rest) take_bias_steps<Optimizer>(trained, column, begin, end);
            taken = static_cast<std::int32_t>(count);
        });
    });
}

}  // namespace

void encode_block(const Batch& batch, index_t block, Range rows, ConstMatrixView v, MatrixView h) {
    const std::int32_t* columns = batch.column();
    const float* inputs = batch.input();
    for_each_chunk(h.width(), [&](index_t offset, auto vectors) {
        constexpr int N = decltype(vectors)::value;
        for (index_t r = rows.begin; r < rows.end; ++r) {
            const Batch::Segment cells = batch.segment(block, r);
            if (cells.begin == cells.input_end) continue;
            float* hidden = h.row(r) + offset;
            Floats sums[N];
            load_vectors(hidden, sums);
            for (index_t i = cells.begin; i < cells.input_end; ++i) {
                add_scaled(sums, inputs[i], v.row(columns[i]) + offset);
            }
            store_vectors(sums, hidden);
        }
    });
}

void encode_rows(const Batch& batch, Range rows, ConstMatrixView v, MatrixView h) {
    for (index_t r = rows.begin; r < rows.end; ++r) std::fill_n(h.row(r), h.width(), 0.0f);
    for (index_t b = 0; b < batch.layout().blocks(); ++b) encode_block(batch, b, rows, v, h);
}

void decode_block(Batch& batch, index_t block, Range rows, ConstMatrixView w,
                  const DecodeRule& rule, ConstMatrixView h, MatrixView dh, double* squared_error) {
    const index_t width = h.width();
    Decoded before;
    for (index_t r = rows.begin; r < rows.end; ++r) {
        const Batch::Segment cells = batch.segment(block, r);
        double loss = 0.0;
        for (index_t i = cells.begin; i < cells.end;) {
            with_count<kGroup>(cells.end - i, [&](auto group) {
                constexpr int G = decltype(group)::value;
                decode_group<G>(before, h.row(r), dh.row(r), width, batch.column() + i, w, rule,
                                batch.error() + i, loss);
                i += G;
            });
        }
        squared_error[r] += loss;
    }
    with_count<kGroup + 1>(before.columns + 1, [&](auto count) {
        multiply_group<decltype(count)::value - 1, 0>(before, nullptr, nullptr, width, nullptr);
    });
}

void update_columns(const ColumnLists& lists, index_t block, Range columns, Cells cells,
                    ConstMatrixView h, const TrainedMatrix& trained, const OptimizerStep& step) {
    with_optimizer(step, [&](const auto& optimizer) {
        update_columns_with(optimizer, lists, block, columns, cells, h, trained, step);
    });
}

void catch_up_block(const Batch& batch, index_t block, const TrainedMatrix& trained,
                    const OptimizerStep* steps, index_t count) {
    const index_t begin = batch.segment(block, 0).begin;
    const index_t end = batch.segment(block, batch.rows() - 1).end;
    with_catch_up(trained, steps, count, [&](const auto& catch_up) {
        for (index_t i = begin; i < end; ++i) {
            if (i + kCellsAhead < end) prefetch(trained, batch.column()[i + kCellsAhead]);
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
