#include "isthmus/sampled_output.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <utility>

#include "isthmus/activations.hpp"
#include "isthmus/chunks.hpp"
#include "isthmus/negatives.hpp"
#include "isthmus/parallel.hpp"

namespace isthmus {

namespace {

constexpr index_t kSampledRows = 32;  // that share one array of marks
constexpr index_t kMostSlices = 16;

index_t widest_block(const ColumnLayout& layout) {
    index_t widest = 0;
    for (index_t b = 0; b < layout.blocks(); ++b) widest = std::max(widest, layout.block(b).size());
    return round_up(widest, kLineFloats);
}

alignas(64) constexpr float kLanePlaces[kLineFloats] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                        8, 9, 10, 11, 12, 13, 14, 15};

// Whether weights without gradient and decay stay as they are.
bool rests_without_gradient(const OptimizerStep& step) {
    bool rests = false;
    with_optimizer(
        step, [&](const auto& optimizer) { rests = std::decay_t<decltype(optimizer)>::rests; });
    return rests && step.decay == 0.0f;
}

}  // namespace

SampledOutput::SampledOutput(const ColumnLayout& layout, index_t units, index_t batch_rows,
                             bool logistic)
    : layout_(&layout), logistic_(logistic), slices_(std::min(kMostSlices, layout.blocks())) {
    const auto rows = static_cast<std::size_t>(batch_rows);
    const auto blocks = static_cast<std::size_t>(layout.blocks());
    const index_t widest = widest_block(layout);
    start_.resize(rows + 1);
    bounds_.resize(rows * (blocks + 1));
    positives_.resize(rows * blocks);
    for (index_t s = 0; s < slices_; ++s) {
        parts_.emplace_back(batch_rows, units);
        gradient_.emplace_back(widest, units);
        bias_gradient_.emplace_back(1, widest);
        values_.emplace_back(1, widest);
        loss_.emplace_back(rows);
    }
}

SampledOutput::Segment SampledOutput::segment(index_t block, index_t row) const {
    const index_t blocks = layout_->blocks();
    const index_t first = start_[static_cast<std::size_t>(row)];
    const std::uint32_t* bounds = bounds_.data() + row * (blocks + 1) + block;
    const index_t begin = first + bounds[0];
    return {begin, begin + positives_[static_cast<std::size_t>(row * blocks + block)],
            first + bounds[1]};
}

ColumnRange SampledOutput::slice_blocks(index_t slice) const {
    return {layout_->blocks() * slice / slices_, layout_->blocks() * (slice + 1) / slices_};
}

void SampledOutput::sample(const CsrView& matrix, const std::int32_t* ids, index_t count,
                           index_t negatives, const Philox& draw, int num_threads) {
    rows_ = count;
    std::int64_t total = 0;
    for (index_t r = 0; r < count; ++r) {
        const index_t positives = matrix.row_nnz(ids[r]);
        start_[static_cast<std::size_t>(r)] = total;
        total += positives + std::min(negatives * positives, matrix.cols - positives);
    }
    start_[static_cast<std::size_t>(count)] = total;
    if (item_.size() < static_cast<std::size_t>(total)) {
        item_.resize(static_cast<std::size_t>(total));
        error_.resize(static_cast<std::size_t>(total));
    }
    parallel_ranges(count, kSampledRows, num_threads, [&](index_t begin, index_t end) {
        std::vector<std::uint8_t> marks(static_cast<std::size_t>(matrix.cols));
        std::vector<std::int32_t> drawn;
        for (index_t r = begin; r < end; ++r) {
            sample_row(matrix, ids[r], r, negatives, draw, marks, drawn);
        }
    });
}

// Draws a row's negatives and sorts its cells by block, positives first.
void SampledOutput::sample_row(const CsrView& matrix, std::int32_t id, index_t row,
                               index_t negatives, const Philox& draw,
                               std::vector<std::uint8_t>& marks, std::vector<std::int32_t>& drawn) {
    const std::int32_t* own = matrix.indices + matrix.indptr[id];
    const index_t n = matrix.row_nnz(id);
    sample_negatives(draw, static_cast<std::uint32_t>(id), own, n, matrix.cols, negatives * n,
                     marks, drawn);
    const auto blocks = static_cast<std::size_t>(layout_->blocks());
    const auto at = static_cast<std::size_t>(row);
    const auto block_of = [&](std::int32_t item) {
        return static_cast<std::size_t>(layout_->places()[item].block);
    };
    std::uint32_t* next = bounds_.data() + at * (blocks + 1) + 1;  // moves on to the block's end
    std::uint32_t* positives = positives_.data() + at * blocks;
    next[-1] = 0;
    std::fill_n(next, blocks, 0);
    std::fill_n(positives, blocks, 0);
    for (index_t i = 0; i < n; ++i) ++positives[block_of(own[i])];
    for (const std::int32_t item : drawn) ++next[block_of(item)];
    std::uint32_t total = 0;
    for (std::size_t b = 0; b < blocks; ++b) {
        const std::uint32_t size = next[b] + positives[b];
        next[b] = total;
        total += size;
    }
    std::int32_t* items = item_.data() + start_[at];
    for (index_t i = 0; i < n; ++i) items[next[block_of(own[i])]++] = own[i];
    for (const std::int32_t item : drawn) items[next[block_of(item)]++] = item;
}

double SampledOutput::decode(const Parameter& weights, const Parameter& bias, ConstMatrixView h,
                             int num_threads) {
    const ConstMatrixView w = std::as_const(*weights.weights).view();
    const float* b = bias.weights->row(0);
    parallel_for(slices_, num_threads, [&](index_t slice) {
        Matrix& dh = parts_[static_cast<std::size_t>(slice)];
        float* values = values_[static_cast<std::size_t>(slice)].row(0);
        std::vector<double>& loss = loss_[static_cast<std::size_t>(slice)];
        std::fill(loss.begin(), loss.end(), 0.0);
        for (index_t r = 0; r < rows_; ++r) std::fill_n(dh.row(r), dh.width(), 0.0f);
        const ColumnRange blocks = slice_blocks(slice);
        for (index_t block = blocks.begin; block < blocks.end; ++block) {
            for (index_t r = 0; r < rows_; ++r) {
                loss[static_cast<std::size_t>(r)] +=
                    decode_segment(segment(block, r), w, b, h.row(r), dh.row(r), values);
            }
        }
    });
    double total = 0.0;
    for (const std::vector<double>& loss : loss_) {
        total += std::accumulate(loss.begin(), loss.begin() + rows_, 0.0);
    }
    return total;
}

// A row's values, losses and errors in a block, and their way back into the row. `values` has room
// for those of a block.
double SampledOutput::decode_segment(const Segment& cells, ConstMatrixView weights,
                                     const float* bias, const float* h, float* dh, float* values) {
    const index_t size = cells.end - cells.begin;
    const std::int32_t* items = item_.data() + cells.begin;
    if (size == 0) return 0.0;
    for (index_t i = 0; i < size; ++i) values[i] = bias[items[i]];
    for_each_chunk(weights.width(), [&](index_t offset, auto vectors) {
        Floats hidden[decltype(vectors)::value];
        load_vectors(h + offset, hidden);
        for (index_t i = 0; i < size; ++i) {
            values[i] += sum(dot(hidden, weights.row(items[i]) + offset));
        }
    });
    const double loss = measure(values, cells.positives_end - cells.begin, size);
    for_each_chunk(weights.width(), [&](index_t offset, auto vectors) {
        Floats back[decltype(vectors)::value];
        load_vectors(dh + offset, back);
        for (index_t i = 0; i < size; ++i) {
            add_scaled(back, values[i], weights.row(items[i]) + offset);
        }
        store_vectors(back, dh + offset);
    });
    std::copy_n(values, size, error_.data() + cells.begin);
    return loss;
}

// Turns a segment's values, whose first are the positives', into its errors, and gives its loss.
double SampledOutput::measure(float* values, index_t positives, index_t size) const {
    const auto n_positives = static_cast<float>(positives);
    const auto end = static_cast<float>(size);
    Floats losses = {};
    for (index_t first = 0; first < size; first += kLanes) {
        const Floats z = load(values + first);
        const Floats place = load(kLanePlaces) + static_cast<float>(first);
        const Ints positive = place < n_positives;
        const Floats target = select(positive, broadcast(1.0f), Floats{});
        const Floats difference = (logistic_ ? sigmoid(z) : z) - target;
        const Floats loss = logistic_ ? softplus(select(positive, -z, z)) : difference * difference;
        losses += select(place < end, loss, Floats{});
        store(values + first, logistic_ ? difference : 2.0f * difference);
    }
    return double{sum(losses)};
}

void SampledOutput::step(Parameter& weights, Parameter& bias, ConstMatrixView h,
                         const Encoded* encoded, const OptimizerStep& step, int num_threads) {
    const bool rests = rests_without_gradient(step);
    parallel_for(slices_, num_threads, [&](index_t slice) {
        MatrixView gradient = gradient_[static_cast<std::size_t>(slice)].view();
        float* bias_gradient = bias_gradient_[static_cast<std::size_t>(slice)].row(0);
        std::vector<std::uint8_t> touched(static_cast<std::size_t>(gradient.rows));
        const ColumnRange blocks = slice_blocks(slice);
        for (index_t block = blocks.begin; block < blocks.end; ++block) {
            const ColumnRange own = layout_->block(block);
            std::fill(touched.begin(), touched.end(), rests ? 0 : 1);
            std::fill_n(bias_gradient, round_up(own.size(), kLineFloats), 0.0f);
            add_gradients(block, h, encoded, gradient, bias_gradient, touched.data());
            for (index_t c = 0; c < own.size(); ++c) {
                if (!touched[static_cast<std::size_t>(c)]) continue;
                weights.step(gradient.row(c), (own.begin + c) * gradient.stride, gradient.width(),
                             step);
                std::fill_n(gradient.row(c), gradient.width(), 0.0f);
            }
            bias.step(bias_gradient, own.begin, round_up(own.size(), kLineFloats),
                      step.with_decay(0.0f));
        }
    });
}

// Gradients of a block's weights and biases, and a mark for each item that has any.
void SampledOutput::add_gradients(index_t block, ConstMatrixView h, const Encoded* encoded,
                                  MatrixView weights, float* bias, std::uint8_t* touched) const {
    const index_t first = layout_->block(block).begin;
    // weights' rows += factors times a row of units
    const auto add_outer = [&](const std::int32_t* items, const float* factors, index_t size,
                               const float* units) {
        for_each_chunk(weights.width(), [&](index_t offset, auto vectors) {
            Floats row[decltype(vectors)::value];
            load_vectors(units + offset, row);
            for (index_t i = 0; i < size; ++i) {
                Floats sums[decltype(vectors)::value];
                float* at = weights.row(items[i] - first) + offset;
                load_vectors(at, sums);
#pragma GCC unroll 8
                for (int j = 0; j < decltype(vectors)::value; ++j) sums[j] += factors[i] * row[j];
                store_vectors(sums, at);
            }
        });
    };
    for (index_t r = 0; r < rows_; ++r) {
        const Segment cells = segment(block, r);
        const std::int32_t* items = item_.data() + cells.begin;
        const float* errors = error_.data() + cells.begin;
        const index_t size = cells.end - cells.begin;
        for (index_t i = 0; i < size; ++i) {
            bias[items[i] - first] += errors[i];
            touched[items[i] - first] = 1;
        }
        add_outer(items, errors, size, h.row(r));
        if (encoded == nullptr) continue;
        const Batch::Segment inputs = encoded->batch->segment(block, r);
        add_outer(encoded->batch->column() + inputs.begin, encoded->batch->input() + inputs.begin,
                  inputs.input_end - inputs.begin, encoded->error.row(r));
    }
}

}  // namespace isthmus
