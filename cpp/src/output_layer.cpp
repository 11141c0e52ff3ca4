#include "isthmus/output_layer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "isthmus/activations.hpp"
#include "isthmus/dense.hpp"
#include "isthmus/parallel.hpp"

namespace isthmus {

namespace {

// Items are cut into slices of blocks: a slice is what one worker owns during the step. A block's
// weights, their state and a batch's logits of it should stay in a core's cache.
constexpr index_t kSlices = 8;
constexpr index_t kMostBlockColumns = 256;

// A logit that no item has.
constexpr float kNothing = -std::numeric_limits<float>::infinity();

index_t blocks_of(index_t items) {
    const index_t slices = std::min(kSlices, (items + kLineFloats - 1) / kLineFloats);
    const index_t per_slice =
        (items + slices * kMostBlockColumns - 1) / (slices * kMostBlockColumns);
    return slices * per_slice;
}

template <class View>
View rows_of(View m, ColumnRange rows) {
    return {m.row(rows.begin), rows.size(), m.cols, m.stride};
}

// The sum of log(1 + exp(z)) over a row of a block, whose padding is kNothing: of what exceeds
// max(z, 0) the product is taken first, of at most 2^68 in a lane, so that a row has few
// logarithms.
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

}  // namespace

Likelihood likelihood_from_name(const std::string& name) {
    if (name == "multinomial") return Likelihood::multinomial;
    if (name == "bernoulli") return Likelihood::bernoulli;
    if (name == "gaussian") return Likelihood::gaussian;
    throw std::invalid_argument("unknown likelihood '" + name +
                                "': choose multinomial, bernoulli or gaussian");
}

OutputLayer::OutputLayer(Likelihood likelihood, index_t items, index_t units, index_t batch_rows)
    : likelihood_(likelihood),
      batch_rows_(batch_rows),
      widest_(std::min(kMostBlockColumns, round_up(items, kLineFloats))) {
    for (index_t s = 0; s < kSlices; ++s) {
        parts_.emplace_back(batch_rows_, units);
        gradient_.emplace_back(widest_, units);
    }
    log_total_.resize(static_cast<std::size_t>(batch_rows_));
}

ColumnRange OutputLayer::block(index_t b) const {
    return {b * block_columns_, std::min((b + 1) * block_columns_, items_)};
}

double OutputLayer::score(const Task& task, int num_threads) {
    items_ = task.items;
    block_columns_ = round_up((items_ + blocks_of(items_) - 1) / blocks_of(items_), kLineFloats);
    blocks_ = (items_ + block_columns_ - 1) / block_columns_;
    while (static_cast<index_t>(logits_.size()) < blocks_) {
        logits_.emplace_back(batch_rows_, widest_);
    }
    block_top_.resize(static_cast<std::size_t>(blocks_ * batch_rows_));
    block_sum_.resize(block_top_.size());
    parallel_for(blocks_, num_threads, [&](index_t b) { score_block(task, b); });

    double total = 0.0;
    for (index_t r = 0; r < task.h.rows; ++r) {
        const double of_row = total_of(r);
        const CsrView& matrix = *task.matrix;
        const index_t begin = matrix.indptr[task.ids[r]], end = matrix.indptr[task.ids[r] + 1];
        if (likelihood_ != Likelihood::multinomial) total += of_row;
        for (index_t i = begin; i < end; ++i) {
            const index_t item = matrix.indices[i];
            const index_t b = item / block_columns_;
            const double z = logits_[static_cast<std::size_t>(b)].row(r)[item - b * block_columns_];
            switch (likelihood_) {
                case Likelihood::multinomial: total += of_row - z; break;
                case Likelihood::bernoulli: total -= z; break;
                case Likelihood::gaussian: total += 0.5 - z; break;
            }
        }
    }
    return total;
}

// A block's logits and, while they are in the cache, its share of what a row's likelihood needs.
void OutputLayer::score_block(const Task& task, index_t b) {
    const ColumnRange own = block(b);
    MatrixView z = logits_[static_cast<std::size_t>(b)].view();
    z.cols = own.size();
    multiply_rows_transposed(task.h, rows_of(ConstMatrixView(task.weights->weights->view()), own),
                             0, task.h.rows, z);
    const float* bias = task.bias->weights->row(0) + own.begin;
    alignas(64) float base[kMostBlockColumns];
    for (index_t c = 0; c < z.cols; ++c) {
        base[c] = bias[c] + (task.log_weight ? task.log_weight[own.begin + c] : 0.0f);
    }
    for (index_t r = 0; r < task.h.rows; ++r) {
        float* logit = z.row(r);
        for (index_t c = 0; c < z.cols; ++c) logit[c] += base[c];
        for (index_t c = z.cols; c < z.width(); ++c) logit[c] = kNothing;
        sum_row(r, logit, z.cols, b);
    }
}

void OutputLayer::sum_row(index_t row, float* logits, index_t cols, index_t b) {
    const auto at = static_cast<std::size_t>(b * batch_rows_ + row);
    const index_t width = round_up(cols, kLineFloats);
    if (likelihood_ == Likelihood::bernoulli) {
        block_sum_[at] = sum_softplus(logits, width);
        return;
    }
    float top = logits[0];
    for (index_t c = 0; c < cols; ++c) top = logits[c] > top ? logits[c] : top;
    block_top_[at] = top;
    Floats sums = {};
    for (index_t c = 0; c < width; c += kLanes) {
        const Floats z = load(logits + c);
        const Floats term = likelihood_ == Likelihood::gaussian ? 0.5f * z * z : exp(z - top);
        sums += select(z == kNothing, Floats{}, term);
    }
    block_sum_[at] = sum(sums);
}

// The blocks' shares together: the logarithm of the softmax's denominator, or what a likelihood
// would be without any one.
double OutputLayer::total_of(index_t row) {
    const auto at = [&](index_t b) { return static_cast<std::size_t>(b * batch_rows_ + row); };
    double total = 0.0;
    if (likelihood_ != Likelihood::multinomial) {
        for (index_t b = 0; b < blocks_; ++b) total += double{block_sum_[at(b)]};
        return total;
    }
    float top = block_top_[at(0)];
    for (index_t b = 1; b < blocks_; ++b) top = std::max(top, block_top_[at(b)]);
    for (index_t b = 0; b < blocks_; ++b) {
        total += double{block_sum_[at(b)]} * std::exp(double{block_top_[at(b)]} - double{top});
    }
    const double log_total = double{top} + std::log(total);
    log_total_[static_cast<std::size_t>(row)] = static_cast<float>(log_total);
    return log_total;
}

void OutputLayer::step(const Task& task, const StepOptions& options) {
    const index_t rows = task.h.rows;
    const TrainedMatrix weights = task.weights->view();
    parallel_for(kSlices, options.num_threads, [&](index_t slice) {
        MatrixView dh = parts_[static_cast<std::size_t>(slice)].view();
        dh.rows = rows;
        for (index_t r = 0; r < rows; ++r) std::fill_n(dh.row(r), dh.width(), 0.0f);
        for (index_t b = blocks_ * slice / kSlices; b < blocks_ * (slice + 1) / kSlices; ++b) {
            const ColumnRange own = block(b);
            MatrixView errors = logits_[static_cast<std::size_t>(b)].view();
            errors.rows = rows;
            errors.cols = own.size();
            alignas(64) float bias_gradient[kMostBlockColumns] = {};
            errors_of_block(task, b, errors, bias_gradient);
            add_product(errors, rows_of(weights.weights, own), dh);
            MatrixView gradient = gradient_[static_cast<std::size_t>(slice)].view();
            gradient.rows = own.size();
            multiply_columns(errors, task.h, rows, 0, task.h.cols, gradient);
            task.weights->step(gradient.data, own.begin * gradient.stride,
                               own.size() * gradient.stride, options.decay, options.optimizer,
                               options.rate, options.step);
            task.bias->step(bias_gradient, own.begin, errors.width(), 0.0f, options.optimizer,
                            options.rate, options.step);
        }
    });
}

// Turns a block's logits into the gradient of the mean over the rows, in place, and sums it over
// them.
void OutputLayer::errors_of_block(const Task& task, index_t b, MatrixView errors,
                                  float* bias_gradient) {
    const ColumnRange own = block(b);
    const float share = 1.0f / static_cast<float>(task.h.rows);
    for (index_t r = 0; r < task.h.rows; ++r) {
        const std::int32_t* begin = task.matrix->indices + task.matrix->indptr[task.ids[r]];
        const std::int32_t* end = task.matrix->indices + task.matrix->indptr[task.ids[r] + 1];
        const float scale = share * static_cast<float>(end - begin);
        const float log_total = log_total_[static_cast<std::size_t>(r)];
        float* error = errors.row(r);
        for (index_t c = 0; c < errors.width(); c += kLanes) {
            const Floats z = load(error + c);
            switch (likelihood_) {
                case Likelihood::multinomial: store(error + c, scale * exp(z - log_total)); break;
                case Likelihood::bernoulli: store(error + c, share * sigmoid(z)); break;
                case Likelihood::gaussian: store(error + c, share * z); break;
            }
        }
        std::fill(error + errors.cols, error + errors.width(), 0.0f);
        for (const std::int32_t* i = std::lower_bound(begin, end, own.begin);
             i < end && *i < own.end; ++i) {
            error[*i - own.begin] -= share;
        }
        for (index_t c = 0; c < errors.width(); c += kLanes) {
            store(bias_gradient + c, load(bias_gradient + c) + load(error + c));
        }
    }
}

}  // namespace isthmus
