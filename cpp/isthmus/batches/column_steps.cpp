#include "isthmus/batches/column_steps.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "isthmus/core/chunks.hpp"
#include "isthmus/nn/optimizer_policies.hpp"
#include "isthmus/nn/skipped_steps.hpp"
#include "isthmus/nn/trained_rows.hpp"

namespace isthmus {

namespace {

// How many cells ahead catching up asks whether a column has to.
constexpr index_t kCellsAhead = 8;
// How many columns wait to catch up together, and their weights to come from memory.
constexpr index_t kWaiting = 16;

// Prefetches the beginning of what a step of a column reads: rare columns come from memory, in an
// order that the processor cannot foresee.
ISTHMUS_INLINE void prefetch(const TrainedMatrix& trained, index_t column) {
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

// Calls body(list, the column that it will be called for `ahead` calls later, or a nearer one) for
// the columns of a block that take the batch's step now: those that have a cell or, where none may
// skip it, all of them.
template <class Body>
void for_each_stepping(const ColumnLists& lists, index_t block, Range columns, bool may_skip,
                       index_t ahead, Body&& body) {
    const ColumnLists::Lists all = lists.block(block);
    const ColumnLists::List* next = all.begin();
    if (may_skip) {
        for (; next != all.end(); ++next) {
            body(*next, next[std::min(ahead, index_t{all.end() - next - 1})].column);
        }
        return;
    }
    for (index_t c = columns.begin; c < columns.end; ++c) {
        const index_t later = std::min(c + ahead, columns.end - 1);
        if (next != all.end() && next->column == c) {
            body(*next++, later);
        } else {
            body(ColumnLists::List{static_cast<std::int32_t>(c), 0, 0, 0}, later);
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
                         Range columns, Range upcoming, Cells cells, View h,
                         const TrainedMatrix& trained, const OptimizerStep& step) {
    constexpr bool kStateless = Optimizer::states == 0;
    const float decay = step.decay;
    const bool may_skip = trained.taken != nullptr;
    const std::int32_t* rows = lists.row();
    const float* values = cells == Cells::input ? lists.input() : lists.error();

    const auto for_each = [&](index_t ahead, const auto& body) {
        for_each_stepping(lists, block, columns, may_skip, ahead, body);
    };
    // `later`: the column that is stepped soon; `next`: one whose weights are read after the block.
    const auto update_column = [&](const ColumnLists::List& list, index_t later, index_t next,
                                   index_t offset, auto vectors) {
        constexpr int N = decltype(vectors)::value;
        const index_t end = cells == Cells::input ? list.input_end : list.end;
        if (!may_skip && Optimizer::rests && decay == 0.0f && list.begin == end) return;
        Floats gradient[N] = {};
        add_rows(gradient, values, list.begin, end,
                 [&](index_t i) { return h.row(rows[i]) + offset; });
        // a copy, whose constants stay in registers while weights are stored
        const Optimizer own = optimizer;
        const auto row = [&](index_t column) { return Weights(trained, column, step.noise); };
        const Weights weights = row(list.column), ahead = row(later), after = row(next);
        const auto step_at = [&](int j, auto together) {
            constexpr int M = decltype(together)::value;
            const index_t at = offset + j * kLanes;
            // a few lines at a time: many at once would hold up what is read now
            if constexpr (!kStateless) ahead.prefetch(at);
            after.prefetch_weights(at);
            step_vectors<Optimizer, Weights, M>(own, weights, at, decay, gradient + j);
        };
        constexpr int kTogether = Weights::kTogether;
#pragma GCC unroll 8
        for (int j = 0; j + kTogether <= N; j += kTogether) {
            step_at(j, std::integral_constant<int, kTogether>{});
        }
        if constexpr (N % kTogether > 0) step_at(N - 1, std::integral_constant<int, 1>{});
    };
    const auto pass = [&](index_t ahead, const auto& update) {
        index_t next = upcoming.begin;
        for_each(ahead, [&](const ColumnLists::List& list, index_t later) {
            update(list, later, next < upcoming.end ? next++ : index_t{list.column});
        });
    };
    if constexpr (kStateless) {
        // a chunk of all the batch's codes stays in the cache while the columns pass by
        for_each_chunk(h.width(), [&](index_t offset, auto vectors) {
            pass(0, [&](const auto& list, index_t later, index_t next) {
                update_column(list, later, next, offset, vectors);
            });
        });
    } else {
        // the state comes from memory: by whole rows, a chunk or more ahead
        const index_t ahead = std::max(kChunkFloats / h.width(), index_t{1});
        pass(ahead, [&](const auto& list, index_t later, index_t next) {
            for_each_chunk(h.width(), [&](index_t offset, auto vectors) {
                update_column(list, later, next, offset, vectors);
            });
        });
    }
    if (trained.bias) {
        for_each(0, [&](const auto& list, index_t) {
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

// A column, and how many steps it had taken before those that it skipped.
struct Skipper {
    std::int32_t column, taken;
};

// Columns that catch up together.
struct Skippers {
    const Skipper* first;
    index_t size;
    const OptimizerStep* steps;
    index_t count;

    const Skipper* begin() const { return first; }
    const Skipper* end() const { return first + size; }
    Skippers part(index_t from, index_t most) const {
        return {first + from, std::min(most, size - from), steps, count};
    }
    std::int32_t fewest_taken() const {
        const auto less = [](const Skipper& a, const Skipper& b) { return a.taken < b.taken; };
        return std::min_element(begin(), end(), less)->taken;
    }
    CatchUp goal(float OptimizerStep::* decay) const { return {steps, count, decay}; }
};

// Rows of N vectors, as many at a time as make a chunk.
template <class Optimizer, class Weights, int N>
void take_steps_of_narrow(const TrainedMatrix& trained, const Skippers& skippers) {
    constexpr int kStates = Optimizer::states;
    constexpr int kColumns = kChunkVectors / N;
    const std::uint32_t noise = skippers.steps[skippers.count - 1].noise;
    for (index_t from = 0; from < skippers.size; from += kColumns) {
        const Skippers own = skippers.part(from, kColumns);
        Floats w[kColumns * N], s[kColumns * N][2];
        TakenByRow taken[kColumns * N];
        for (index_t c = 0; c < kColumns; ++c) {
            const Skipper& skipper = own.first[std::min(c, own.size - 1)];
            Floats wc[N], sc[N][2];
            Weights(trained, skipper.column, noise).template load<kStates>(0, wc, sc);
            for (int j = 0; j < N; ++j) {
                w[c * N + j] = wc[j];
                for (int i = 0; i < kStates; ++i) s[c * N + j][i] = sc[j][i];
                taken[c * N + j] = {skipper.taken};
            }
        }
        if (all_zero(w, s, kStates)) continue;
        take_skipped<Optimizer>(w, s, taken, own.fewest_taken(), own.goal(&OptimizerStep::decay));
        for (index_t c = 0; c < own.size; ++c) {
            Floats wc[N], sc[N][2];
            for (int j = 0; j < N; ++j) {
                wc[j] = w[c * N + j];
                for (int i = 0; i < kStates; ++i) sc[j][i] = s[c * N + j][i];
            }
            Weights(trained, own.first[c].column, noise).template store<kStates>(0, wc, sc);
        }
    }
}

// Rows one by one; the next comes from memory while one is at work.
template <class Optimizer, class Weights>
void take_steps_of_wide(const TrainedMatrix& trained, const Skippers& skippers) {
    constexpr int kStates = Optimizer::states;
    const CatchUp goal = skippers.goal(&OptimizerStep::decay);
    const std::uint32_t noise = skippers.steps[skippers.count - 1].noise;
    for (const Skipper& own : skippers) {
        const Skipper& next = &own + 1 == skippers.end() ? own : *(&own + 1);
        const Weights weights(trained, own.column, noise), ahead(trained, next.column, noise);
        for_each_chunk(trained.weights.width(), [&](index_t offset, auto vectors) {
            constexpr int N = decltype(vectors)::value;
            for (int j = 0; j < N; j += Weights::kTogether) ahead.prefetch(offset + j * kLanes);
            Floats w[N], s[N][2];
            weights.template load<kStates>(offset, w, s);
            if (all_zero(w, s, kStates)) return;
            TakenByRow taken[N];
            std::fill_n(taken, N, TakenByRow{own.taken});
            take_skipped<Optimizer>(w, s, taken, own.taken, goal);
            weights.template store<kStates>(offset, w, s);
        });
    }
}

template <class Optimizer, class Weights>
void take_steps(const TrainedMatrix& trained, const Skippers& skippers) {
    constexpr int kNarrow = kChunkVectors / 2;
    const index_t vectors = trained.weights.width() / kLanes;
    if (vectors > kNarrow) {
        take_steps_of_wide<Optimizer, Weights>(trained, skippers);
    } else {
        with_count<kNarrow>(vectors, [&](auto count) {
            take_steps_of_narrow<Optimizer, Weights, decltype(count)::value>(trained, skippers);
        });
    }
}

// A bias is a lane of a vector.
template <class Optimizer>
void take_bias_steps(const TrainedMatrix& trained, const Skippers& skippers) {
    constexpr int kStates = Optimizer::states;
    for (index_t from = 0; from < skippers.size; from += kLanes) {
        const Skippers own = skippers.part(from, kLanes);
        Floats w[1], s[1][2];
        TakenByLane taken[1];
        for (index_t l = 0; l < kLanes; ++l) {
            const Skipper& skipper = own.first[std::min(l, own.size - 1)];
            w[0][l] = trained.bias[skipper.column];
            for (int i = 0; i < kStates; ++i) s[0][i][l] = trained.bias_state[i][skipper.column];
            taken[0].taken[l] = skipper.taken;
        }
        take_skipped<Optimizer>(w, s, taken, own.fewest_taken(),
                                own.goal(&OptimizerStep::bias_decay));
        for (index_t l = 0; l < own.size; ++l) {
            const index_t column = own.first[l].column;
            trained.bias[column] = w[0][l];
            for (int i = 0; i < kStates; ++i) trained.bias_state[i][column] = s[0][i][l];
        }
    }
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
        // those that leap apart, as they have more to do
        struct Waiting {
            Skipper skippers[kWaiting];
            index_t size = 0;
        } waiting[2];
        const auto take_all = [&](Waiting& group) {
            const Skippers skippers{group.skippers, std::exchange(group.size, 0), steps, count};
            if (skippers.size == 0) return;
            if (!weights_rest) take_steps<Optimizer, Weights>(trained, skippers);
            if (!biases_rest) take_bias_steps<Optimizer>(trained, skippers);
        };
        body([&](index_t column) {
            const std::int32_t taken = trained.taken[column];
            if (taken == count) return;
            prefetch(trained, column);
            Waiting& group = waiting[are_leapt(count - taken)];
            group.skippers[group.size++] = {static_cast<std::int32_t>(column), taken};
            trained.taken[column] = static_cast<std::int32_t>(count);
            if (group.size == kWaiting) take_all(group);
        });
        for (Waiting& group : waiting) take_all(group);
    });
}

}  // namespace

void update_columns(const ColumnLists& lists, index_t block, Range columns, Cells cells,
                    ConstMatrixView h, const TrainedMatrix& trained, const OptimizerStep& step,
                    Range upcoming) {
    with_optimizer(step, [&](const auto& optimizer) {
        update_columns_with<FloatWeights>(optimizer, lists, block, columns, upcoming, cells, h,
                                          trained, step);
    });
}

void update_columns(const ColumnLists& lists, index_t block, Range columns, Cells cells,
                    ConstHalfView h, const TrainedMatrix& trained, const OptimizerStep& step,
                    Range upcoming) {
    with_optimizer(step, [&](const auto& optimizer) {
        update_columns_with<HalfWeights>(optimizer, lists, block, columns, upcoming, cells, h,
                                         trained, step);
    });
}

void catch_up_block(const Batch& batch, index_t block, const TrainedMatrix& trained,
                    const OptimizerStep* steps, index_t count) {
    const index_t begin = batch.segment(block, 0).begin;
    const index_t end = batch.segment(block, batch.rows() - 1).end;
    with_catch_up(trained, steps, count, [&](const auto& catch_up) {
        for (index_t i = begin; i < end; ++i) {
            if (i + kCellsAhead < end) {
                __builtin_prefetch(trained.taken + batch.column()[i + kCellsAhead]);
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
