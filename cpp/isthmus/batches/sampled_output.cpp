#include "isthmus/batches/sampled_output.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <utility>

#include "isthmus/core/chunks.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/nn/activation_functions.hpp"
#include "isthmus/nn/optimizer_policies.hpp"

namespace isthmus {

namespace {

constexpr index_t kMostSlices = 16;

alignas(64) constexpr float kLanePlaces[kLineFloats] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                        8, 9, 10, 11, 12, 13, 14, 15};

// Returns whether a step leaves weights without a gradient as they are.
bool rests_without_gradient(const OptimizerStep& step) {
    bool rests = false;
    with_optimizer(
        step, [&](const auto& optimizer) { rests = std::decay_t<decltype(optimizer)>::rests; });
    return rests && step.decay == 0.0f;
}

// Calls body(first place) for the runs of `run` places of which any is touched.
template <class Body>
void for_each_touched(const std::vector<std::uint8_t>& touched, index_t size, index_t run,
                      const Body& body) {
    const std::uint8_t* const first = touched.data();
    for (index_t from = 0; from < size;) {
        const void* found = std::memchr(first + from, 1, static_cast<std::size_t>(size - from));
        if (found == nullptr) return;
        from = (static_cast<const std::uint8_t*>(found) - first) / run * run;
        body(from);
        from += run;
    }
}

// values[i] = h . row item[i] of `weights` + its bias.
void multiply_items(const SampledBatch::Cells& cells, ConstMatrixView weights, const float* bias,
                    const float* h, float* values) {
    const std::int32_t* items = cells.item;
    const index_t size = cells.size;
    for (index_t i = 0; i < size; ++i) values[i] = bias[items[i]];
    for_each_chunk(weights.width(), [&](index_t offset, auto vectors) {
        Floats hidden[decltype(vectors)::value];
        load_vectors(h + offset, hidden);
        index_t i = 0;
        for (; i + 4 <= size; i += 4) {
            Floats products[4];
#pragma GCC unroll 4
            for (int c = 0; c < 4; ++c) {
                products[c] = dot(hidden, weights.row(items[i + c]) + offset);
            }
            add_sums(products, values + i);
        }
        for (; i < size; ++i) values[i] += sum(dot(hidden, weights.row(items[i]) + offset));
    });
}

// to += the sum of values[i] x row item[i] of `weights`.
void add_items(const SampledBatch::Cells& cells, ConstMatrixView weights, const float* values,
               float* to) {
    for_each_chunk(weights.width(), [&](index_t offset, auto vectors) {
        Floats sums[decltype(vectors)::value];
        load_vectors(to + offset, sums);
        for (index_t i = 0; i < cells.size; ++i) {
            add_scaled(sums, values[i], weights.row(cells.item[i]) + offset);
        }
        store_vectors(sums, to + offset);
    });
}

// Fills in the weights of a row's cells in a block, those of negatives being 1; returns them, or
// null where all are 1.
const float* weights_of(const SampledBatch::Cells& cells, float* weights) {
    if (cells.weight == nullptr) return nullptr;
    std::copy_n(cells.weight, cells.positives, weights);
    std::fill(weights + cells.positives, weights + round_up(cells.size, kLanes), 1.0f);
    return weights;
}

// Replaces values, the positives' first, by errors; returns the loss.
template <bool Logistic>
double measure(float* values, const float* weights, index_t positives, index_t size) {
    const auto n_positives = static_cast<float>(positives);
    const auto end = static_cast<float>(size);
    Floats losses = {};
    for (index_t first = 0; first < size; first += kLanes) {
        const Floats z = load(values + first);
        const Floats place = load(kLanePlaces) + static_cast<float>(first);
        const Ints positive = place < n_positives;
        Floats loss, error;
        if constexpr (Logistic) {
            const CrossEntropy found = cross_entropy(select(positive, -z, z));
            loss = found.loss;
            error = select(positive, -found.slope, found.slope);
        } else {
            const Floats difference = z - select(positive, broadcast(1.0f), Floats{});
            loss = difference * difference;
            error = 2.0f * difference;
        }
        if (weights) {
            const Floats weight = load(weights + first);
            loss *= weight;
            error *= weight;
        }
        losses += select(place < end, loss, Floats{});
        store(values + first, error);
    }
    return double{sum(losses)};
}

}  // namespace

// Row items[i] - first of the gradient += factor(i) x units.
template <class Factor>
ISTHMUS_INLINE void SampledOutput::Work::add(const std::int32_t* items, index_t size, index_t first,
                                             const float* units, const Factor& factor) {
    for (index_t i = 0; i < size; ++i) touched[static_cast<std::size_t>(items[i] - first)] = 1;
    for_each_chunk(gradient.width(), [&](index_t offset, auto vectors) {
        Floats row[decltype(vectors)::value];
        load_vectors(units + offset, row);
        for (index_t i = 0; i < size; ++i) {
            Floats sums[decltype(vectors)::value];
            float* at = gradient.row(items[i] - first) + offset;
            load_vectors(at, sums);
#pragma GCC unroll 8
            for (int j = 0; j < decltype(vectors)::value; ++j) {
                sums[j] = multiply_add(factor(i), row[j], sums[j]);
            }
            store_vectors(sums, at);
        }
    });
}

SampledOutput::SampledOutput(const SampledBatch& batch, index_t units, index_t rows, bool logistic)
    : batch_(&batch), logistic_(logistic), slices_(std::min(kMostSlices, batch.blocks())) {
    const index_t items = batch.block_items();
    for (index_t s = 0; s < slices_; ++s) {
        parts_.emplace_back(rows, units);
        work_.push_back({Matrix(1, items), Matrix(1, items), Matrix(items, units), Matrix(1, items),
                         std::vector<std::uint8_t>(static_cast<std::size_t>(items)), 0.0});
    }
}

// Calls body(slice, its blocks) for every slice of the blocks.
template <class Body>
void SampledOutput::for_each_slice(int num_threads, const Body& body) const {
    parallel_for(slices_, num_threads, [&](index_t slice) {
        const Range blocks{batch_->blocks() * slice / slices_,
                           batch_->blocks() * (slice + 1) / slices_};
        body(static_cast<std::size_t>(slice), blocks);
    });
}

double SampledOutput::decode(Parameter& weights, Parameter& bias, ConstMatrixView h,
                             const OptimizerStep* step, int num_threads) {
    const auto cells = static_cast<std::size_t>(batch_->cells());
    if (step == nullptr && error_.size() < cells) error_.resize(cells);
    const ConstMatrixView w = std::as_const(*weights.weights).view();
    const index_t rows = batch_->rows();
    for_each_slice(num_threads, [&](std::size_t slice, Range blocks) {
        Matrix& dh = parts_[slice];
        Work& work = work_[slice];
        float* values = work.values.row(0);
        work.loss = 0.0;
        for (index_t r = 0; r < rows; ++r) std::fill_n(dh.row(r), dh.width(), 0.0f);
        for (index_t block = blocks.begin; block < blocks.end; ++block) {
            batch_->for_each_of_block(block, [&](const SampledBatch::Cells& own) {
                const index_t r = own.row;
                multiply_items(own, w, bias.weights->row(0), h.row(r), values);
                const float* cell_weights = weights_of(own, work.weights.row(0));
                work.loss += logistic_
                                 ? measure<true>(values, cell_weights, own.positives, own.size)
                                 : measure<false>(values, cell_weights, own.positives, own.size);
                add_items(own, w, values, dh.row(r));
                if (step) {
                    add_output(block, own, h.row(r), values, work);
                } else {
                    std::copy_n(values, own.size, error_.data() + own.first);
                }
            });
            if (step) step_block(block, weights, &bias, *step, work);
        }
    });
    return std::accumulate(work_.begin(), work_.end(), 0.0,
                           [](double loss, const Work& work) { return loss + work.loss; });
}

void SampledOutput::step(Parameter& weights, Parameter& bias, ConstMatrixView h,
                         ConstMatrixView input_error, const OptimizerStep& step, int num_threads) {
    for_each_slice(num_threads, [&](std::size_t slice, Range blocks) {
        Work& work = work_[slice];
        for (index_t block = blocks.begin; block < blocks.end; ++block) {
            batch_->for_each_of_block(block, [&](const SampledBatch::Cells& own) {
                add_output(block, own, h.row(own.row), error_.data() + own.first, work);
                add_input(block, own, input_error.row(own.row), work);
            });
            step_block(block, weights, &bias, step, work);
        }
    });
}

void SampledOutput::step_inputs(Parameter& weights, ConstMatrixView input_error,
                                const OptimizerStep& step, int num_threads) {
    for_each_slice(num_threads, [&](std::size_t slice, Range blocks) {
        for (index_t block = blocks.begin; block < blocks.end; ++block) {
            batch_->for_each_of_block(block, [&](const SampledBatch::Cells& own) {
                add_input(block, own, input_error.row(own.row), work_[slice]);
            });
            step_block(block, weights, nullptr, step, work_[slice]);
        }
    });
}

// A row's part of the gradients of a block's weights and biases.
void SampledOutput::add_output(index_t block, const SampledBatch::Cells& cells, const float* h,
                               const float* errors, Work& work) const {
    const index_t first = batch_->block(block).begin;
    float* bias = work.bias_gradient.row(0);
    for (index_t i = 0; i < cells.size; ++i) bias[cells.item[i] - first] += errors[i];
    work.add(cells.item, cells.size, first, h, [&](index_t i) { return errors[i]; });
}

// A row's part of the gradient of a block's weights that encode.
void SampledOutput::add_input(index_t block, const SampledBatch::Cells& cells, const float* error,
                              Work& work) const {
    const float input = batch_->input();
    work.add(cells.item, cells.inputs, batch_->block(block).begin, error,
             [&](index_t) { return input; });
}

// Steps along the work's gradients, which are zeros afterwards.
void SampledOutput::step_block(index_t block, Parameter& weights, Parameter* bias,
                               const OptimizerStep& step, Work& work) const {
    const OptimizerStep bias_step = step.with_decay(0.0f);
    const bool weights_rest = rests_without_gradient(step);
    const bool bias_rests = bias == nullptr || rests_without_gradient(bias_step);
    if (weights_rest && bias_rests && !batch_->has_cells(block)) return;

    const Range items = batch_->block(block);
    const auto step_item = [&](index_t i) {
        float* gradient = work.gradient.row(i);
        const index_t width = work.gradient.width();
        weights.step(gradient, (items.begin + i) * work.gradient.stride(), width, step);
        std::fill_n(gradient, width, 0.0f);
    };
    if (weights_rest) {
        for_each_touched(work.touched, items.size(), 1, step_item);
    } else {
        for (index_t i = 0; i < items.size(); ++i) step_item(i);
    }
    const auto step_biases = [&](index_t first, index_t size) {
        float* gradient = work.bias_gradient.row(0) + first;
        bias->step(gradient, items.begin + first, size, bias_step);
        std::fill_n(gradient, size, 0.0f);
    };
    if (bias && bias_rests) {
        for_each_touched(work.touched, items.size(), kLineFloats,
                         [&](index_t first) { step_biases(first, kLineFloats); });
    } else if (bias) {
        step_biases(0, round_up(items.size(), kLineFloats));
    }
    std::fill_n(work.touched.data(), items.size(), std::uint8_t{0});
}

}  // namespace isthmus
