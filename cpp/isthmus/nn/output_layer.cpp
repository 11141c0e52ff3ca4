#include "isthmus/nn/output_layer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "isthmus/core/parallel.hpp"
#include "isthmus/core/simd.hpp"
#include "isthmus/nn/activation_functions.hpp"
#include "isthmus/nn/dense.hpp"

namespace isthmus {

namespace {

// A part is cut into blocks. A block's weights, their state and a batch's logits of it should stay
// in a core's cache.
constexpr index_t kMostBlockColumns = 256;

// The logit of padding, where there is no item.
constexpr float kNothing = -std::numeric_limits<float>::infinity();

index_t lines_of(index_t items) { return (items + kLineFloats - 1) / kLineFloats; }

index_t blocks_of(index_t items, index_t parts) {
    const index_t filled = std::min(parts, lines_of(items));
    const index_t per_part =
        (items + filled * kMostBlockColumns - 1) / (filled * kMostBlockColumns);
    return filled * per_part;
}

float greatest_lane(Floats values) {
    float top = values[0];
    for (index_t lane = 1; lane < kLanes; ++lane) top = std::max(top, values[lane]);
    return top;
}

// Adds base, whose padding is kNothing, to the logits; returns the greatest.
float add_base(const float* base, float* logits, index_t width) {
    Floats top = broadcast(kNothing);
    for (index_t c = 0; c < width; c += kLanes) {
        const Floats z = load(logits + c) + load(base + c);
        store(logits + c, z);
        top = max(top, z);
    }
    return greatest_lane(top);
}

// Replaces logits by exp(logit - top), padding by 0; returns their sum.
float exponentiate(float top, float* logits, index_t width) {
    Floats sums = {};
    for (index_t c = 0; c < width; c += kLanes) {
        const Floats z = load(logits + c);
        const Floats term = select(z == kNothing, Floats{}, exp(z - top));
        store(logits + c, term);
        sums += term;
    }
    return sum(sums);
}

// Returns the sum of log(1 + exp(z)) over a row of a block. It is max(z, 0) plus log(1 +
// exp(-|z|)); the latter are multiplied before the logarithm (at most 2^68 in a lane), so that a
// row takes few logarithms.
float sum_softplus(const float* logits, index_t width) {
    Floats product = broadcast(1.0f), sums = {};
    for (index_t c = 0; c < width; c += kLanes) {
        const Floats z = load(logits + c);
        sums += max(z, Floats{});
        product *= 1.0f + exp(select(z > 0.0f, -z, z));
    }
    float total = sum(sums);
    for (index_t lane = 0; lane < kLanes; ++lane) total += std::log(product[lane]);
    return total;
}

// What an item's logit costs whether or not the row has it; in the softmax it is shared by all.
double other_term(Likelihood likelihood, double z) {
    switch (likelihood) {
        case Likelihood::bernoulli: return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z)));
        case Likelihood::gaussian: return 0.5 * z * z;
        case Likelihood::multinomial: break;
    }
    return 0.0;
}

float sum_half_squares(const float* logits, index_t width) {
    Floats sums = {};
    for (index_t c = 0; c < width; c += kLanes) {
        const Floats z = load(logits + c);
        sums += select(z == kNothing, Floats{}, 0.5f * z * z);
    }
    return sum(sums);
}

// A row's items, in ascending order, and their weights, or null where all are 1.
struct RowItems {
    const std::int32_t *begin, *end;
    const float* weights;

    double total() const {
        if (!weights) return static_cast<double>(end - begin);
        return std::accumulate(weights, weights + (end - begin), 0.0);
    }
};

RowItems items_of(const OutputLayer::Task& task, index_t row) {
    const index_t* start = task.matrix->indptr + task.ids[row];
    const float* values = task.matrix->values;
    return {task.matrix->indices + start[0], task.matrix->indices + start[1],
            values ? values + start[0] : nullptr};
}

// Calls body(place in the block, weight) for those of a row's items that are in it.
template <class Body>
void for_each_own(RowItems items, Range block, Body&& body) {
    for (const std::int32_t* i = std::lower_bound(items.begin, items.end, block.begin);
         i < items.end && *i < block.end; ++i) {
        body(*i - block.begin, items.weights ? items.weights[i - items.begin] : 1.0f);
    }
}

}  // namespace

double log_total(const RowShare& all) { return double{all.top} + std::log(all.total); }

double row_loss(Likelihood likelihood, const RowShare& all, double ones) {
    switch (likelihood) {
        case Likelihood::multinomial: return ones * log_total(all) - all.own;
        case Likelihood::bernoulli: return all.total - all.own;
        case Likelihood::gaussian: break;
    }
    return all.total - all.own + 0.5 * ones;
}

double OutputLayer::Task::ones(index_t row) const {
    return row_ones ? row_ones[ids[row]] : items_of(*this, row).total();
}

Likelihood likelihood_from_name(const std::string& name) {
    if (name == "multinomial") return Likelihood::multinomial;
    if (name == "bernoulli") return Likelihood::bernoulli;
    if (name == "gaussian") return Likelihood::gaussian;
    throw std::invalid_argument("unknown likelihood '" + name +
                                "': choose multinomial, bernoulli or gaussian");
}

OutputLayer::OutputLayer(Likelihood likelihood, index_t items, index_t units, index_t batch_rows,
                         Precision precision, index_t parts)
    : likelihood_(likelihood),
      batch_rows_(batch_rows),
      widest_(std::min(kMostBlockColumns, round_up(items, kLineFloats))) {
    for (index_t part = 0; part < parts; ++part) {
        parts_.emplace_back(batch_rows_, units);
        gradient_.emplace_back(widest_, units);
    }
    if (precision == Precision::float32) return;
    packed_ = std::make_unique<Packed>();
    packed_->codes = PackedWords(batch_rows_, units);
    packed_->panels = PackedPanels(batch_rows_, units);
    for (index_t part = 0; part < parts; ++part) {
        packed_->errors.emplace_back(batch_rows_, widest_);
    }
}

// Blocks' sizes differ by a cache line at most, so that workers have equal shares.
Range OutputLayer::block(index_t b) const {
    const index_t lines = lines_of(items_.size());
    return {items_.begin + lines * b / blocks_ * kLineFloats,
            std::min(items_.begin + lines * (b + 1) / blocks_ * kLineFloats, items_.end)};
}

void OutputLayer::score(const Task& task, int num_threads) {
    items_ = task.items;
    blocks_ = blocks_of(items_.size(), static_cast<index_t>(parts_.size()));
    while (static_cast<index_t>(logits_.size()) < blocks_) {
        logits_.emplace_back(batch_rows_, widest_);
        if (packed_) packed_->weights.emplace_back(widest_, task.h.cols);
    }
    if (packed_) packed_->rows = packed_->codes.pack(task.h);
    block_top_.resize(static_cast<std::size_t>(blocks_ * batch_rows_));
    block_sum_.resize(block_top_.size());
    block_own_.resize(block_top_.size());
    parallel_for(blocks_, num_threads, [&](index_t b) { score_block(task, b); });
}

// A block's logits and, while they are in the cache, its share of what a row's likelihood needs.
void OutputLayer::score_block(const Task& task, index_t b) {
    const Range own = block(b);
    MatrixView z = logits_[static_cast<std::size_t>(b)].view();
    z.cols = own.size();
    multiply_block(task, b, z);
    const float* bias = task.bias->weights->row(0) + own.begin;
    alignas(64) float base[kMostBlockColumns];
    std::fill_n(base, z.width(), kNothing);
    for (index_t c = 0; c < z.cols; ++c) {
        base[c] = bias[c] + (task.log_weight ? task.log_weight[own.begin + c] : 0.0f);
    }
    for (index_t r = 0; r < task.h.rows; ++r) score_row(task, b, r, base, z.row(r));
}

// z = h W^T, for a block's rows of W
void OutputLayer::multiply_block(const Task& task, index_t b, MatrixView z) {
    const ConstMatrixView weights =
        rows_of(ConstMatrixView(task.weights->weights->view()), block(b));
    if (packed_) {
        PackedPanels& panels = packed_->weights[static_cast<std::size_t>(b)];
        panels.pack_transposed(weights);
        multiply(packed_->rows, panels, false, z);
    } else {
        multiply_rows_transposed(task.h, weights, 0, task.h.rows, z);
    }
}

// dh += errors W; gradient = errors^T h
void OutputLayer::multiply_errors(const Task& task, index_t part, index_t b, ConstMatrixView errors,
                                  MatrixView dh, MatrixView gradient) {
    const ConstMatrixView weights =
        rows_of(ConstMatrixView(task.weights->weights->view()), block(b));
    if (packed_) {
        PackedPanels& panels = packed_->weights[static_cast<std::size_t>(b)];
        PackedWords& words = packed_->errors[static_cast<std::size_t>(part)];
        panels.pack(weights, false);
        multiply(words.pack(errors), panels, true, dh);
        multiply(words.pack_transposed(errors), packed_->panels, false, gradient);
    } else {
        add_product(errors, weights, dh);
        multiply_columns(errors, task.h, errors.rows, 0, task.h.cols, gradient);
    }
}

void OutputLayer::score_row(const Task& task, index_t b, index_t row, const float* base,
                            float* logits) {
    const Range own = block(b);
    const index_t width = round_up(own.size(), kLineFloats);
    const std::size_t place = at(b, row);
    block_top_[place] = add_base(base, logits, width);
    double found = 0.0;
    for_each_own(items_of(task, row), own, [&](index_t c, float weight) {
        const double z = logits[c];
        found += double{weight} * z;
        // the block's sum has the item's other term once
        if (weight != 1.0f) found -= (double{weight} - 1.0) * other_term(likelihood_, z);
    });
    block_own_[place] = found;
    switch (likelihood_) {
        case Likelihood::multinomial:
            block_sum_[place] = exponentiate(block_top_[place], logits, width);
            break;
        case Likelihood::bernoulli: block_sum_[place] = sum_softplus(logits, width); break;
        case Likelihood::gaussian: block_sum_[place] = sum_half_squares(logits, width); break;
    }
}

RowShare OutputLayer::share(index_t row) const {
    return join(likelihood_, blocks_, [&](index_t b) {
        const std::size_t place = at(b, row);
        return RowShare{block_top_[place], double{block_sum_[place]}, block_own_[place]};
    });
}

void OutputLayer::step(const Task& task, const std::vector<float>& log_totals,
                       const OptimizerStep& step, int num_threads) {
    const index_t rows = task.h.rows;
    if (packed_) packed_->panels.pack(task.h, true);
    const auto parts = static_cast<index_t>(parts_.size());
    parallel_for(parts, num_threads, [&](index_t part) {
        MatrixView dh = parts_[static_cast<std::size_t>(part)].view();
        dh.rows = rows;
        for (index_t r = 0; r < rows; ++r) std::fill_n(dh.row(r), dh.width(), 0.0f);
        for (index_t b = blocks_ * part / parts; b < blocks_ * (part + 1) / parts; ++b) {
            const Range own = block(b);
            MatrixView errors = logits_[static_cast<std::size_t>(b)].view();
            errors.rows = rows;
            errors.cols = own.size();
            alignas(64) float bias_gradient[kMostBlockColumns] = {};
            errors_of_block(task, log_totals, b, errors, bias_gradient);
            MatrixView gradient = gradient_[static_cast<std::size_t>(part)].view();
            gradient.rows = own.size();
            multiply_errors(task, part, b, errors, dh, gradient);
            task.weights->step(gradient.data, own.begin * gradient.stride,
                               own.size() * gradient.stride, step);
            task.bias->step(bias_gradient, own.begin, errors.width(), step.with_decay(0.0f));
        }
    });
}

// Turns what is left of a block's logits into the gradient of the mean over the rows, in place, and
// sums it over them.
void OutputLayer::errors_of_block(const Task& task, const std::vector<float>& log_totals, index_t b,
                                  MatrixView errors, float* bias_gradient) {
    const Range own = block(b);
    const index_t width = errors.width();
    const float share_of_row = 1.0f / static_cast<float>(task.h.rows);
    for (index_t r = 0; r < task.h.rows; ++r) {
        const RowItems items = items_of(task, r);
        float* error = errors.row(r);
        float scale = share_of_row;
        if (likelihood_ == Likelihood::multinomial) {
            scale *= static_cast<float>(task.ones(r)) *
                     std::exp(block_top_[at(b, r)] - log_totals[static_cast<std::size_t>(r)]);
        }
        for (index_t c = 0; c < width; c += kLanes) {
            const Floats z = load(error + c);
            store(error + c, scale * (likelihood_ == Likelihood::bernoulli ? sigmoid(z) : z));
        }
        std::fill(error + errors.cols, error + width, 0.0f);
        for_each_own(items, own, [&](index_t c, float weight) {
            if (likelihood_ != Likelihood::multinomial) error[c] *= weight;
            error[c] -= weight * share_of_row;
        });
        add_row(error, bias_gradient, width);
    }
}

}  // namespace isthmus
