#include "isthmus/batches/sparse_kernels.hpp"

#include <algorithm>

#include "isthmus/core/bfloat16.hpp"
#include "isthmus/core/chunks.hpp"
#include "isthmus/nn/activation_functions.hpp"

namespace isthmus {

namespace {

constexpr int kGroup = 4;  // columns decoded at once: they share each load of the row
constexpr index_t kGroupFloats = round_up(kGroup, kLineFloats);
constexpr index_t kStrip = 32;  // cells of a row that are decoded before the way back

// Columns of one row whose errors are known but not yet propagated to the row: dH += error W.
struct Decoded {
    float* hidden_error = nullptr;
    const float* weights[kGroup];
    float error[kGroup];
    int columns = 0;
};

// Weights of cells that all count 1, which the compiler leaves out.
struct Ones {
    constexpr float operator[](index_t) const { return 1.0f; }
    constexpr Ones operator+(index_t) const { return {}; }
};

// Calls body with the weights of a batch's cells.
template <class Body>
void with_weights(const Batch& batch, const Body& body) {
    if (batch.weight()) {
        body(batch.weight());
    } else {
        body(Ones{});
    }
}

// The errors of G columns' values z, which take the place of the targets; and their loss.
template <int G, class Weights>
ISTHMUS_INLINE void measure_errors(float* z, const DecodeRule& rule, float* target, Weights weight,
                                   float* error, double& squared_error) {
    if (rule.activation == Activation::identity) {
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g) {
            const float difference = z[g] - target[g];
            squared_error += double{difference} * difference * double{weight[g]};
            error[g] = 2.0f * difference * weight[g];
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
            squared_error += double{difference} * difference * double{weight[g]};
            error[g] = 2.0f * difference * slope[g] * weight[g];
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

template <int G, class Weights>
void decode_group(Decoded& before, const float* h, float* dh, index_t width,
                  const std::int32_t* columns, ConstMatrixView w, const DecodeRule& rule,
                  float* target, Weights cell_weight, double& squared_error) {
    const float* weights[G];
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) weights[g] = w.row(columns[g]);
    alignas(64) float z[kGroupFloats] = {};
    with_count<kGroup + 1>(before.columns + 1, [&](auto count) {
        multiply_group<decltype(count)::value - 1, G>(before, h, weights, width, z);
    });
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) z[g] += rule.bias[columns[g]];
    measure_errors<G>(z, rule, target, cell_weight, before.error, squared_error);
    before.hidden_error = dh;
    before.columns = G;
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) before.weights[g] = weights[g];
}

// z[i] = h . row columns[i] of w, in fours: where fewer are left, the last one is taken again, as a
// branch on their number would be guessed wrong too often.
void multiply_columns(const half_t* h, ConstHalfView w, const std::int32_t* columns, index_t count,
                      float* z) {
    const index_t width = w.width();
    for (index_t i = 0; i < count; i += kGroup) {
        const half_t* weights[kGroup];
#pragma GCC unroll 8
        for (int g = 0; g < kGroup; ++g) weights[g] = w.row(columns[std::min(i + g, count - 1)]);
        HalfDot dots[kGroup];
        index_t p = 0;
        for (; p + kPairHalves <= width; p += kPairHalves) {
            const HalfDot::Operand hidden(load_pair(h + p));
#pragma GCC unroll 8
            for (int g = 0; g < kGroup; ++g) dots[g].add(hidden, load_pair(weights[g] + p));
        }
        if (p < width) {
#pragma GCC unroll 8
            for (int g = 0; g < kGroup; ++g) dots[g].add_last(h + p, weights[g] + p);
        }
        const Floats sums[kGroup] = {dots[0].lanes(), dots[1].lanes(), dots[2].lanes(),
                                     dots[3].lanes()};
        std::fill_n(z + i, kGroup, 0.0f);
        add_sums(sums, z + i);
    }
}

// Replaces a strip's targets by errors; returns its loss.
template <class Weights>
double measure_strip(float* z, const DecodeRule& rule, const std::int32_t* columns, index_t count,
                     float* target, Weights weight) {
    for (index_t i = 0; i < count; ++i) z[i] += rule.bias[columns[i]];
    alignas(64) float slope[kStrip];
    if (rule.activation != Activation::identity) {
        for (index_t i = 0; i < count; i += kLanes) {
            const Floats before = load(z + i);
            const Floats after = activate(rule.activation, before);
            store(slope + i, derivative(rule.activation, before, after));
            store(z + i, after);
        }
    } else {
        std::fill_n(slope, count, 1.0f);
    }
    double squared_error = 0.0;
    for (index_t i = 0; i < count; ++i) {
        const float difference = z[i] - target[i];
        squared_error += double{difference} * difference * double{weight[i]};
        target[i] = 2.0f * difference * slope[i] * weight[i];
    }
    return squared_error;
}

// dh += the sum of error[i] x row columns[i] of w.
void add_columns(ConstHalfView w, const std::int32_t* columns, const float* error, index_t count,
                 float* dh) {
    for_each_chunk(w.width(), [&](index_t offset, auto vectors) {
        Floats sums[decltype(vectors)::value];
        load_vectors(dh + offset, sums);
        add_rows(sums, error, 0, count, [&](index_t i) { return w.row(columns[i]) + offset; });
        store_vectors(sums, dh + offset);
    });
}

}  // namespace

template <class View>
void encode_block(const Batch& batch, index_t block, Range rows, View v, MatrixView h) {
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
            add_rows(sums, inputs, cells.begin, cells.input_end,
                     [&](index_t i) { return v.row(columns[i]) + offset; });
            store_vectors(sums, hidden);
        }
    });
}

void encode_rows(const Batch& batch, Range rows, Range blocks, ConstMatrixView v, MatrixView h) {
    for (index_t r = rows.begin; r < rows.end; ++r) std::fill_n(h.row(r), h.width(), 0.0f);
    for (index_t b = blocks.begin; b < blocks.end; ++b) encode_block(batch, b, rows, v, h);
}

void encode_rows(const Batch& batch, Range rows, ConstMatrixView v, MatrixView h) {
    encode_rows(batch, rows, {0, batch.layout().blocks()}, v, h);
}

namespace {

template <class Weights>
void decode_rows(Batch& batch, index_t block, Range rows, ConstMatrixView w, const DecodeRule& rule,
                 ConstMatrixView h, MatrixView dh, Weights weights, double* squared_error) {
    const index_t width = h.width();
    Decoded before;
    for (index_t r = rows.begin; r < rows.end; ++r) {
        const Batch::Segment cells = batch.segment(block, r);
        double loss = 0.0;
        for (index_t i = cells.begin; i < cells.end;) {
            with_count<kGroup>(cells.end - i, [&](auto group) {
                constexpr int G = decltype(group)::value;
                decode_group<G>(before, h.row(r), dh.row(r), width, batch.column() + i, w, rule,
                                batch.error() + i, weights + i, loss);
                i += G;
            });
        }
        squared_error[r] += loss;
    }
    with_count<kGroup + 1>(before.columns + 1, [&](auto count) {
        multiply_group<decltype(count)::value - 1, 0>(before, nullptr, nullptr, width, nullptr);
    });
}

// Half as many bytes: a strip's weights are still in the first-level cache when its errors are
// known.
template <class Weights>
void decode_rows(Batch& batch, index_t block, Range rows, ConstHalfView w, const DecodeRule& rule,
                 ConstHalfView h, MatrixView dh, Weights weights, double* squared_error) {
    for (index_t r = rows.begin; r < rows.end; ++r) {
        const Batch::Segment cells = batch.segment(block, r);
        for (index_t i = cells.begin; i < cells.end; i += kStrip) {
            const index_t count = std::min(kStrip, cells.end - i);
            const std::int32_t* columns = batch.column() + i;
            alignas(64) float z[kStrip] = {};
            multiply_columns(h.row(r), w, columns, count, z);
            float* error = batch.error() + i;
            squared_error[r] += measure_strip(z, rule, columns, count, error, weights + i);
            add_columns(w, columns, error, count, dh.row(r));
        }
    }
}

}  // namespace

void decode_block(Batch& batch, index_t block, Range rows, ConstMatrixView w,
                  const DecodeRule& rule, ConstMatrixView h, MatrixView dh, double* squared_error) {
    with_weights(batch, [&](auto weights) {
        decode_rows(batch, block, rows, w, rule, h, dh, weights, squared_error);
    });
}

void decode_block(Batch& batch, index_t block, Range rows, ConstHalfView w, const DecodeRule& rule,
                  ConstHalfView h, MatrixView dh, double* squared_error) {
    with_weights(batch, [&](auto weights) {
        decode_rows(batch, block, rows, w, rule, h, dh, weights, squared_error);
    });
}

template void encode_block(const Batch&, index_t, Range, ConstMatrixView, MatrixView);
template void encode_block(const Batch&, index_t, Range, ConstHalfView, MatrixView);

}  // namespace isthmus
