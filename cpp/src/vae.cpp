#include "isthmus/vae.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "isthmus/dense.hpp"
#include "isthmus/parallel.hpp"
#include "isthmus/random.hpp"
#include "isthmus/trainer.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 64;
constexpr index_t kColumnsPerPiece = 64;
constexpr index_t kEncodeRows = 512;  // rows encoded at a time outside training

// Items are cut into slices of blocks: a slice is what one worker owns during the output's step. A
// block's weights, their state and a batch's logits of it should stay in a core's cache.
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

MatrixView rows_of(MatrixView m, ColumnRange rows) {
    return {m.row(rows.begin), rows.size(), m.cols, m.stride};
}

ConstMatrixView rows_of(ConstMatrixView m, ColumnRange rows) {
    return {m.row(rows.begin), rows.size(), m.cols, m.stride};
}

void add_bias(const float* bias, float* z, index_t width) {
    for (index_t p = 0; p < width; p += kLanes) store(z + p, load(z + p) + load(bias + p));
}

// Layers after the first, from the activations of the first, for rows [begin, end). Without noise,
// the code is its mean.
void forward_rows(const MultinomialAutoencoder& model, std::vector<Matrix>& before,
                  std::vector<Matrix>& after, const Matrix* noise, index_t begin, index_t end) {
    const MultinomialShape& shape = model.shape;
    for (index_t l = 0; l < shape.layers(); ++l) {
        const auto at = static_cast<std::size_t>(l);
        Matrix& z = before[at];
        Matrix& h = after[at];
        const float* bias = l == 0 ? model.encoder_bias.row(0) : model.hidden[at - 1].bias.row(0);
        if (l > 0) {
            multiply_rows(after[at - 1].view(), model.hidden[at - 1].weights.view(), begin, end,
                          z.view());
        }
        for (index_t r = begin; r < end; ++r) {
            if (!shape.is_code(l)) {
                activate_row(shape.activation, bias, z.row(r), h.row(r), z.cols());
                continue;
            }
            add_bias(bias, z.row(r), z.width());
            const float* mean = z.row(r);
            const float* log_variance = mean + shape.latent;
            for (index_t j = 0; j < shape.latent; ++j) {
                h.row(r)[j] = mean[j];
                if (noise) h.row(r)[j] += noise->row(r)[j] * std::exp(0.5f * log_variance[j]);
            }
        }
    }
}

// The sparse first layer, for rows [begin, end) of an assembled batch.
void encode_rows(const Batch& batch, ConstMatrixView v, index_t begin, index_t end, Matrix& z) {
    for (index_t r = begin; r < end; ++r) std::fill_n(z.row(r), z.width(), 0.0f);
    for (index_t b = 0; b < batch.layout().blocks(); ++b) {
        encode_block(batch, b, {begin, end}, v, z.view());
    }
}

}  // namespace

index_t MultinomialShape::units(index_t layer) const {
    if (is_code(layer)) return 2 * latent;
    const auto at = static_cast<std::size_t>(layer);
    if (at < encoder.size()) return encoder[at];
    return decoder[at - encoder.size() - (latent > 0 ? 1 : 0)];
}

index_t MultinomialShape::outputs(index_t layer) const {
    return is_code(layer) ? latent : units(layer);
}

MultinomialAutoencoder::MultinomialAutoencoder(MultinomialShape shape_, std::uint64_t seed,
                                               int num_threads)
    : shape(std::move(shape_)),
      encoder(shape.inputs, shape.units(0)),
      encoder_bias(1, shape.units(0)),
      decoder(shape.inputs, shape.outputs(shape.layers() - 1)),
      decoder_bias(1, shape.inputs) {
    int layer = 0;
    initialize_uniform(encoder, seed, layer++, num_threads);
    for (index_t l = 1; l < shape.layers(); ++l) {
        hidden.push_back({Matrix(shape.outputs(l - 1), shape.units(l)), Matrix(1, shape.units(l))});
        initialize_uniform(hidden.back().weights, seed, layer++, num_threads);
    }
    initialize_uniform(decoder, seed, layer, num_threads);
}

std::vector<Matrix*> MultinomialAutoencoder::parameters() {
    std::vector<Matrix*> all = {&encoder, &encoder_bias, &decoder, &decoder_bias};
    for (DenseLayer& layer : hidden) {
        all.push_back(&layer.weights);
        all.push_back(&layer.bias);
    }
    return all;
}

MultinomialTrainer::MultinomialTrainer(MultinomialAutoencoder& model, index_t rows,
                                       MultinomialOptions options)
    : model_(model),
      options_(options),
      layout_(ColumnLayout::in_order(model.shape.inputs)),
      batch_rows_(std::min(options.batch_size, std::max<index_t>(rows, 1))),
      blocks_(blocks_of(model.shape.inputs)) {
    const MultinomialShape& shape = model.shape;
    block_columns_ = round_up((shape.inputs + blocks_ - 1) / blocks_, kLineFloats);
    blocks_ = (shape.inputs + block_columns_ - 1) / block_columns_;
    const auto parameter = [this](Matrix& weights) {
        return Parameter(weights, options_.optimizer.kind);
    };
    encoder_ = parameter(model.encoder);
    encoder_bias_ = parameter(model.encoder_bias);
    decoder_ = parameter(model.decoder);
    decoder_bias_ = parameter(model.decoder_bias);
    bias_gradient_.emplace_back(1, shape.units(0));
    for (DenseLayer& layer : model.hidden) {
        hidden_.push_back(parameter(layer.weights));
        hidden_bias_.push_back(parameter(layer.bias));
        hidden_gradient_.emplace_back(layer.weights.rows(), layer.weights.cols());
        bias_gradient_.emplace_back(1, layer.bias.cols());
    }
    for (index_t l = 0; l < shape.layers(); ++l) {
        before_.emplace_back(batch_rows_, shape.units(l));
        after_.emplace_back(batch_rows_, shape.outputs(l));
        error_.emplace_back(batch_rows_, shape.units(l));
    }
    if (shape.latent > 0) noise_ = Matrix(batch_rows_, shape.latent);
    const index_t last = shape.outputs(shape.layers() - 1);
    for (index_t s = 0; s < kSlices; ++s) {
        partial_.emplace_back(batch_rows_, last);
        gradient_.emplace_back(block_columns_, last);
    }
    for (index_t b = 0; b < blocks_; ++b) logits_.emplace_back(batch_rows_, block_columns_);
    block_top_.resize(static_cast<std::size_t>(blocks_ * batch_rows_));
    block_sum_.resize(block_top_.size());
    log_total_.resize(static_cast<std::size_t>(batch_rows_));
}

MultinomialResult MultinomialTrainer::run_epoch(const CsrView& matrix, index_t epoch, float rate,
                                                const std::function<float(index_t)>& beta,
                                                const std::function<void(index_t)>& poll) {
    std::vector<std::int32_t> order = filled_rows(matrix);
    shuffle(order, options_.seed, static_cast<std::uint32_t>(epoch));
    const auto rows = static_cast<index_t>(order.size());
    const CorruptionPlan corruption{Corruption::mask, options_.dropout, options_.seed,
                                    static_cast<std::uint32_t>(epoch)};
    MultinomialResult result;
    with_team(options_.num_threads, [&] {
        for (index_t begin = 0; begin < rows; begin += batch_rows_) {
            if (poll) poll(begin);
            const index_t count = std::min(batch_rows_, rows - begin);
            const std::int32_t* ids = order.data() + begin;
            batch_.assemble(matrix, ids, count, layout_, {}, corruption, options_.num_threads);
            const float weight = beta ? beta(step_) : 0.0f;
            ++step_;
            forward(ids, epoch);
            score();
            const double loss = likelihood(matrix, ids);
            const double kl = divergence();
            if (!std::isfinite(loss + kl)) throw Diverged(epoch, begin / batch_rows_);
            output_step(matrix, ids, rate);
            backward(weight, rate);
            result.likelihood += loss;
            result.divergence += kl;
            result.rows += count;
        }
    });
    return result;
}

void MultinomialTrainer::forward(const std::int32_t* ids, index_t epoch) {
    const ConstMatrixView v = std::as_const(model_.encoder).view();
    const Philox draw(options_.seed, Stream::latent, static_cast<std::uint32_t>(epoch));
    parallel_ranges(
        batch_.rows(), kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            encode_rows(batch_, v, begin, end, before_.front());
            for (index_t r = begin; r < end && !noise_.empty(); ++r) {
                for (index_t j = 0; j < noise_.cols(); ++j) {
                    noise_.row(r)[j] = draw.normal(static_cast<std::uint32_t>(ids[r]),
                                                   static_cast<std::uint32_t>(j));
                }
            }
            forward_rows(model_, before_, after_, noise_.empty() ? nullptr : &noise_, begin, end);
        });
}

// All logits, a block of items at a time, and each block's share of the softmax's denominator while
// the block is in the cache.
void MultinomialTrainer::score() {
    const index_t rows = batch_.rows();
    const index_t items = model_.shape.inputs;
    MatrixView h = after_.back().view();
    h.rows = rows;
    parallel_for(blocks_, options_.num_threads, [&](index_t b) {
        const ColumnRange own{b * block_columns_, std::min((b + 1) * block_columns_, items)};
        MatrixView z = logits_[static_cast<std::size_t>(b)].view();
        z.cols = own.size();
        multiply_rows_transposed(h, rows_of(std::as_const(model_.decoder).view(), own), 0, rows, z);
        const float* bias = model_.decoder_bias.row(0) + own.begin;
        for (index_t r = 0; r < rows; ++r) {
            float* logit = z.row(r);
            float top = logit[0] + bias[0];
            for (index_t c = 0; c < z.cols; ++c) {
                logit[c] += bias[c];
                top = logit[c] > top ? logit[c] : top;
            }
            for (index_t c = z.cols; c < z.width(); ++c) logit[c] = kNothing;
            Floats sums = {};
            for (index_t c = 0; c < z.width(); c += kLanes) {
                const Floats e = exp(load(logit + c) - top);
                sums += select(load(logit + c) > kNothing, e, Floats{});
            }
            const auto at = static_cast<std::size_t>(b * batch_rows_ + r);
            block_top_[at] = top;
            block_sum_[at] = sum(sums);
        }
    });
}

// - sum of log softmax over the rows' items; fills log_total_.
double MultinomialTrainer::likelihood(const CsrView& matrix, const std::int32_t* ids) {
    double total = 0.0;
    for (index_t r = 0; r < batch_.rows(); ++r) {
        float top = block_top_[static_cast<std::size_t>(r)];
        for (index_t b = 1; b < blocks_; ++b) {
            top = std::max(top, block_top_[static_cast<std::size_t>(b * batch_rows_ + r)]);
        }
        double denominator = 0.0;
        for (index_t b = 0; b < blocks_; ++b) {
            const auto at = static_cast<std::size_t>(b * batch_rows_ + r);
            denominator += double{block_sum_[at]} * std::exp(double{block_top_[at]} - double{top});
        }
        const double log_total = double{top} + std::log(denominator);
        log_total_[static_cast<std::size_t>(r)] = static_cast<float>(log_total);
        for (index_t i = matrix.indptr[ids[r]]; i < matrix.indptr[ids[r] + 1]; ++i) {
            const index_t item = matrix.indices[i];
            const index_t block = item / block_columns_;
            total += log_total - double{logits_[static_cast<std::size_t>(block)].row(
                                     r)[item - block * block_columns_]};
        }
    }
    return total;
}

double MultinomialTrainer::divergence() const {
    const MultinomialShape& shape = model_.shape;
    if (shape.latent == 0) return 0.0;
    const Matrix& code = before_[shape.encoder.size()];
    double total = 0.0;
    for (index_t r = 0; r < batch_.rows(); ++r) {
        const float* mean = code.row(r);
        const float* log_variance = mean + shape.latent;
        for (index_t j = 0; j < shape.latent; ++j) {
            total += double{mean[j] * mean[j] + std::exp(log_variance[j]) - 1.0f - log_variance[j]};
        }
    }
    return 0.5 * total;
}

// Turns the logits into their errors (n softmax - x) / rows in place, block by block, and with each
// block's errors sums its share of the last layer's and steps the block's weights.
void MultinomialTrainer::output_step(const CsrView& matrix, const std::int32_t* ids, float rate) {
    const index_t rows = batch_.rows();
    const index_t items = model_.shape.inputs;
    const float share = 1.0f / static_cast<float>(rows);
    MatrixView h = after_.back().view();
    h.rows = rows;
    const TrainedMatrix decoder = decoder_.view();
    parallel_for(kSlices, options_.num_threads, [&](index_t slice) {
        const auto own_slice = static_cast<std::size_t>(slice);
        MatrixView dh = partial_[own_slice].view();
        dh.rows = rows;
        for (index_t r = 0; r < rows; ++r) std::fill_n(dh.row(r), dh.width(), 0.0f);
        for (index_t b = blocks_ * slice / kSlices; b < blocks_ * (slice + 1) / kSlices; ++b) {
            const ColumnRange own{b * block_columns_, std::min((b + 1) * block_columns_, items)};
            MatrixView e = logits_[static_cast<std::size_t>(b)].view();
            e.rows = rows;
            e.cols = own.size();
            alignas(64) float bias_gradient[kMostBlockColumns + kLineFloats] = {};
            for (index_t r = 0; r < rows; ++r) {
                const std::int32_t* begin = matrix.indices + matrix.indptr[ids[r]];
                const std::int32_t* end = matrix.indices + matrix.indptr[ids[r] + 1];
                const float scale = share * static_cast<float>(end - begin);
                const float log_total = log_total_[static_cast<std::size_t>(r)];
                float* error = e.row(r);
                for (index_t c = 0; c < e.width(); c += kLanes) {
                    store(error + c, scale * exp(load(error + c) - log_total));
                }
                std::fill(error + e.cols, error + e.width(), 0.0f);
                for (const std::int32_t* i = std::lower_bound(begin, end, own.begin);
                     i < end && *i < own.end; ++i) {
                    error[*i - own.begin] -= share;
                }
                for (index_t c = 0; c < e.width(); c += kLanes) {
                    store(bias_gradient + c, load(bias_gradient + c) + load(error + c));
                }
            }
            add_product(e, rows_of(decoder.weights, own), dh);
            MatrixView gradient = gradient_[own_slice].view();
            gradient.rows = own.size();
            multiply_columns(e, h, rows, 0, h.cols, gradient);
            decoder_.step(gradient.data, own.begin * gradient.stride, own.size() * gradient.stride,
                          options_.regularization, options_.optimizer, rate, step_);
            decoder_bias_.step(bias_gradient, own.begin, e.width(), 0.0f, options_.optimizer, rate,
                               step_);
        }
    });
}

void MultinomialTrainer::backward(float beta, float rate) {
    const MultinomialShape& shape = model_.shape;
    const index_t rows = batch_.rows();
    const int threads = options_.num_threads;
    const float kl = beta / static_cast<float>(rows);
    const index_t layers = shape.layers();
    for (index_t l = layers; l-- > 0;) {
        const auto at = static_cast<std::size_t>(l);
        Matrix& error = error_[at];
        parallel_ranges(rows, kRowsPerPiece, threads, [&](index_t begin, index_t end) {
            if (l == layers - 1) {
                const index_t width = partial_.front().width();
                for (index_t r = begin; r < end; ++r) sum_rows(partial_, r, error.row(r), width);
            } else {
                // the next layer's error was taken through its activation; into the outputs of this
                MatrixView into = error.view();
                into.cols = shape.outputs(l);
                multiply_rows_transposed(error_[at + 1].view(), model_.hidden[at].weights.view(),
                                         begin, end, into);
            }
            for (index_t r = begin; r < end; ++r) {
                if (!shape.is_code(l)) {
                    through_activation(shape.activation, before_[at].row(r), after_[at].row(r),
                                       nullptr, error.row(r), error.width());
                    continue;
                }
                const float* mean = before_[at].row(r);
                float* e = error.row(r);
                for (index_t j = 0; j < shape.latent; ++j) {
                    const float log_variance = mean[shape.latent + j];
                    e[shape.latent + j] =
                        e[j] * noise_.row(r)[j] * 0.5f * std::exp(0.5f * log_variance) +
                        kl * 0.5f * (std::exp(log_variance) - 1.0f);
                    e[j] += kl * mean[j];
                }
            }
        });
    }
    for (index_t l = layers; l-- > 0;) {
        const auto at = static_cast<std::size_t>(l);
        const Matrix& error = error_[at];
        sum_columns(error.view(), rows, bias_gradient_[at].row(0));
        update(l == 0 ? encoder_bias_ : hidden_bias_[at - 1], bias_gradient_[at], 0.0f, rate);
        if (l == 0) continue;
        Matrix& gradient = hidden_gradient_[at - 1];
        parallel_ranges(gradient.cols(), kColumnsPerPiece, threads,
                        [&](index_t begin, index_t end) {
                            multiply_columns(after_[at - 1].view(), error.view(), rows, begin, end,
                                             gradient.view());
                        });
        update(hidden_[at - 1], gradient, options_.regularization, rate);
    }
    const ConstMatrixView error = std::as_const(error_.front()).view();
    const TrainedMatrix encoder = encoder_.view();
    parallel_for(layout_.blocks(), threads, [&](index_t block) {
        batch_.list_columns(block);
        update_block(batch_, block, Cells::input, error, encoder, options_.regularization,
                     options_.optimizer, rate, step_);
    });
}

void MultinomialTrainer::update(Parameter& parameter, const Matrix& gradient, float decay,
                                float rate) {
    constexpr index_t kPiece = 1 << 14;
    parallel_ranges(gradient.size(), kPiece, options_.num_threads, [&](index_t begin, index_t end) {
        parameter.step(gradient.data() + begin, begin, end - begin, decay, options_.optimizer, rate,
                       step_);
    });
}

void MultinomialTrainer::keep_best() { best_.keep(model_.parameters()); }

void MultinomialTrainer::restore_best() { best_.restore(model_.parameters()); }

void encode_multinomial(const MultinomialAutoencoder& model, const CsrView& matrix, int num_threads,
                        MatrixView codes) {
    const MultinomialShape& shape = model.shape;
    const index_t step = std::min(kEncodeRows, std::max<index_t>(matrix.rows, 1));
    const ColumnLayout layout = ColumnLayout::in_order(shape.inputs);
    std::vector<Matrix> before, after;
    for (index_t l = 0; l < shape.layers(); ++l) {
        before.emplace_back(step, shape.units(l));
        after.emplace_back(step, shape.outputs(l));
    }
    Batch batch;
    const auto encode = [&](const std::int32_t*, index_t first, index_t count) {
        parallel_ranges(count, kRowsPerPiece, num_threads, [&](index_t begin, index_t end) {
            encode_rows(batch, model.encoder.view(), begin, end, before.front());
            forward_rows(model, before, after, nullptr, begin, end);
            for (index_t r = begin; r < end; ++r) {
                std::copy_n(after.back().row(r), codes.cols, codes.row(first + r));
            }
        });
    };
    for_each_batch(batch, matrix, step, layout, {}, num_threads, encode);
}

}  // namespace isthmus
