#include "isthmus/models/content_trainer.hpp"

#include <algorithm>
#include <utility>

#include "isthmus/core/parallel.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/core/simd.hpp"
#include "isthmus/nn/activation_functions.hpp"
#include "isthmus/nn/dense.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 32;
constexpr index_t kColumnsPerPiece = 64;

// The number of slices of the output's blocks; each sums and updates on its own.
constexpr index_t kSlices = 8;

// A logit whose sigmoid and softplus are 0.
constexpr float kNothing = -1e4f;

void through_sigmoid(const Matrix& after, Matrix& error, index_t begin, index_t end) {
    for (index_t r = begin; r < end; ++r) {
        through_activation(Activation::sigmoid, after.row(r), after.row(r), nullptr, error.row(r),
                           error.width());
    }
}

}  // namespace

ContentTrainer::ContentTrainer(ContentNetwork& model, index_t rows, ContentOptions options)
    : model_(model),
      options_(options),
      layout_(ColumnLayout::in_order(model.shape.inputs)),
      batch_rows_(std::min(options.batch_size, std::max<index_t>(rows, 1))),
      codes_(batch_rows_, model.shape.latent),
      block_loss_(static_cast<std::size_t>(layout_.blocks())) {
    const ContentShape& shape = model.shape;
    for (index_t l = 0; l < shape.layers(); ++l) {
        before_.emplace_back(batch_rows_, shape.units(l));
        after_.emplace_back(batch_rows_, shape.outputs(l));
        work_.push_back(make_work(l));
    }
    for (index_t b = 0; b < layout_.blocks(); ++b) {
        errors_.emplace_back(batch_rows_, layout_.block(b).size());
    }
    const index_t block = layout_.block(0).size();
    for (index_t s = 0; s < std::min(kSlices, layout_.blocks()); ++s) {
        SliceWork& slice = slices_.emplace_back();
        slice.d_top = Matrix(batch_rows_, shape.outputs(0));
        slice.weight_gradient = Matrix(block, shape.units(0));
        if (shape.is_code(0)) slice.own_decoder_gradient = Matrix(block, shape.latent);
        slice.decoder_bias_gradient = Matrix(1, block);
    }
}

ContentTrainer::LayerWork ContentTrainer::make_work(index_t l) const {
    const ContentShape& shape = model_.shape;
    ContentLayer& layer = model_.layers[static_cast<std::size_t>(l)];
    const OptimizerKind kind = options_.optimizer.kind;
    LayerWork work;
    work.error = Matrix(batch_rows_, shape.units(l));
    work.d_top = Matrix(batch_rows_, shape.outputs(l));
    work.weights = Parameter(layer.weights, kind);
    work.bias = Parameter(layer.bias, kind);
    work.decoder_bias = Parameter(layer.decoder_bias, kind);
    work.bias_gradient = Matrix(1, shape.units(l));
    if (shape.is_code(l)) work.own_decoder = Parameter(layer.own_decoder, kind);
    if (l == 0) return work;
    const index_t inputs = shape.inputs_of(l);
    work.decoded = Matrix(batch_rows_, inputs);
    work.weight_gradient = Matrix(inputs, shape.units(l));
    work.decoder_bias_gradient = Matrix(1, inputs);
    if (shape.is_code(l)) work.own_decoder_gradient = Matrix(inputs, shape.latent);
    return work;
}

ContentResult ContentTrainer::run_epoch(const CsrView& matrix, const CodeTarget& target,
                                        index_t epoch, float rate, const Poll& poll) {
    const CorruptionPlan corruption{
        options_.corruption > 0.0f ? Corruption::mask : Corruption::none, options_.corruption,
        options_.seed, static_cast<std::uint32_t>(epoch)};
    ContentResult result;
    const auto train = [&](const EpochBatch& batch) {
        batch_.assemble(matrix, batch.ids, batch.count, layout_, {}, corruption,
                        options_.num_threads);
        ++step_;
        forward(batch);
        const double reconstruction = output_errors(matrix, batch.ids);
        const double divergence = codes_.divergence(batch.count);
        const double apart = distance(target, batch.ids);
        batch.require_finite(reconstruction + divergence + apart);
        backward(target, batch.ids);
        const OptimizerStep step(options_.optimizer, rate, step_, options_.regularization);
        for (index_t l = model_.shape.layers(); l-- > 1;) update_layer(l, step);
        update_first(step);
        result.reconstruction += reconstruction;
        result.divergence += divergence;
        result.distance += apart;
        result.rows += batch.count;
    };
    train_in_batches(shuffled(filled_rows(matrix), options_.seed, epoch), batch_rows_, epoch,
                     options_.num_threads, poll, train);
    return result;
}

const Matrix& ContentTrainer::top(index_t layer) const {
    const auto next = static_cast<std::size_t>(layer) + 1;
    return next < work_.size() ? work_[next].decoded : after_.back();
}

void ContentTrainer::forward(const EpochBatch& batch) {
    const Philox draw(options_.seed, Stream::latent, static_cast<std::uint32_t>(batch.epoch));
    parallel_ranges(
        batch_.rows(), kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            encode_rows(model_, batch_, begin, end, before_, after_);
            // instead of the means
            codes_.sample(draw, batch.ids, 1.0f, before_.back(), begin, end, after_.back());
            decode(begin, end);
        });
}

// From the top to what the first layer's decoder takes.
void ContentTrainer::decode(index_t begin, index_t end) {
    for (index_t l = model_.shape.layers(); l-- > 1;) {
        const auto at = static_cast<std::size_t>(l);
        const ContentLayer& layer = model_.layers[at];
        Matrix& decoded = work_[at].decoded;
        multiply_rows_transposed(top(l).view(), layer.decoder().view(), begin, end, decoded.view());
        for (index_t r = begin; r < end; ++r) {
            activate_row(Activation::sigmoid, layer.decoder_bias.row(0), decoded.row(r),
                         decoded.row(r), decoded.cols());
        }
    }
}

MatrixView ContentTrainer::errors_of(index_t block) {
    MatrixView errors = errors_[static_cast<std::size_t>(block)].view();
    errors.rows = batch_.rows();
    return errors;
}

// The errors of all logits, and their way back into what the first layer's decoder took, as one
// part for each slice. Returns the cross-entropy.
double ContentTrainer::output_errors(const CsrView& matrix, const std::int32_t* ids) {
    const auto slices = static_cast<index_t>(slices_.size());
    parallel_for(slices, options_.num_threads, [&](index_t s) {
        MatrixView d_top = slices_[static_cast<std::size_t>(s)].d_top.view();
        d_top.rows = batch_.rows();
        for (index_t r = 0; r < d_top.rows; ++r) std::fill_n(d_top.row(r), d_top.width(), 0.0f);
        const ConstMatrixView decoder = std::as_const(model_.layers.front()).decoder().view();
        for (index_t b = layout_.blocks() * s / slices; b < layout_.blocks() * (s + 1) / slices;
             ++b) {
            block_loss_[static_cast<std::size_t>(b)] = output_block(matrix, ids, b);
            add_product(errors_of(b), rows_of(decoder, layout_.block(b)), d_top);
        }
    });
    double total = 0.0;
    for (const double loss : block_loss_) total += loss;
    return total;
}

// One block's errors (sigmoid(logit) - x) / rows, and its cross-entropy.
double ContentTrainer::output_block(const CsrView& matrix, const std::int32_t* ids, index_t block) {
    const ContentLayer& layer = model_.layers.front();
    const Range own = layout_.block(block);
    const MatrixView errors = errors_of(block);
    multiply_rows_transposed(top(0).view(), rows_of(layer.decoder().view(), own), 0, errors.rows,
                             errors);
    const float* bias = layer.decoder_bias.row(0) + own.begin;
    const float share = 1.0f / static_cast<float>(errors.rows);
    double total = 0.0;
    for (index_t r = 0; r < errors.rows; ++r) {
        float* error = errors.row(r);
        std::fill(error + errors.cols, error + errors.width(), kNothing);
        const std::int32_t* first = matrix.indices + matrix.indptr[ids[r]];
        const std::int32_t* last = matrix.indices + matrix.indptr[ids[r] + 1];
        first = std::lower_bound(first, last, own.begin);
        last = std::lower_bound(first, last, own.end);
        for (const std::int32_t* i = first; i < last; ++i) {
            const index_t column = *i - own.begin;
            const float logit = error[column] + bias[column];
            total -= double{matrix.values[i - matrix.indices]} * logit;
        }
        Floats losses{};
        for (index_t c = 0; c < errors.width(); c += kLanes) {
            const Floats logit = load(error + c) + load(bias + c);
            losses += softplus(logit);
            store(error + c, share * sigmoid(logit));
        }
        total += double{sum(losses)};
        std::fill(error + errors.cols, error + errors.width(), 0.0f);
        for (const std::int32_t* i = first; i < last; ++i) {
            error[*i - own.begin] -= share * matrix.values[i - matrix.indices];
        }
    }
    return total;
}

// |target - z|^2, summed over the batch's rows.
double ContentTrainer::distance(const CodeTarget& target, const std::int32_t* ids) const {
    double total = 0.0;
    if (target.codes.rows == 0) return total;
    for (index_t r = 0; r < batch_.rows(); ++r) {
        for (index_t j = 0; j < model_.shape.latent; ++j) {
            const double difference = double{after_.back().row(r)[j]} - target.codes.row(ids[r])[j];
            total += difference * difference;
        }
    }
    return total;
}

// Fills d_top and error of every layer: through the decoder from the first layer up, then through
// the encoder back down.
void ContentTrainer::backward(const CodeTarget& target, const std::int32_t* ids) {
    const index_t layers = model_.shape.layers();
    parallel_ranges(
        batch_.rows(), kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            Matrix& first = work_.front().d_top;
            for (index_t r = begin; r < end; ++r) {
                std::fill_n(first.row(r), first.width(), 0.0f);
                for (const SliceWork& slice : slices_) {
                    add_row(slice.d_top.row(r), first.row(r), first.width());
                }
            }
            for (index_t l = 1; l < layers; ++l) {
                const auto at = static_cast<std::size_t>(l);
                through_sigmoid(work_[at].decoded, work_[at - 1].d_top, begin, end);
                multiply_rows(work_[at - 1].d_top.view(), model_.layers[at].decoder().view(), begin,
                              end, work_[at].d_top.view());
            }
            LayerWork& top = work_.back();
            if (model_.shape.is_code(layers - 1)) {
                code_errors(target, ids, begin, end);
            } else {
                for (index_t r = begin; r < end; ++r) {
                    std::copy_n(top.d_top.row(r), top.error.width(), top.error.row(r));
                }
                through_sigmoid(after_.back(), top.error, begin, end);
            }
            for (index_t l = layers; l-- > 1;) {
                const auto at = static_cast<std::size_t>(l);
                Matrix& error = work_[at - 1].error;
                multiply_rows_transposed(work_[at].error.view(), model_.layers[at].weights.view(),
                                         begin, end, error.view());
                through_sigmoid(after_[at - 1], error, begin, end);
            }
        });
}

// The code's error: that of what is decoded, of the target and of the divergence.
void ContentTrainer::code_errors(const CodeTarget& target, const std::int32_t* ids, index_t begin,
                                 index_t end) {
    const index_t latent = model_.shape.latent;
    const float share = 1.0f / static_cast<float>(batch_.rows());
    LayerWork& code = work_.back();
    for (index_t r = begin; r < end; ++r) {
        float* error = code.error.row(r);
        std::copy_n(code.d_top.row(r), latent, error);
        if (target.codes.rows == 0) continue;
        const float* z = after_.back().row(r);
        const float* wanted = target.codes.row(ids[r]);
        for (index_t j = 0; j < latent; ++j) {
            error[j] += share * target.weight * 2.0f * (z[j] - wanted[j]);
        }
    }
    codes_.propagate(before_.back(), share, begin, end, code.error);
}

// Steps a layer after the first, whose encoder and decoder share one matrix unless it is the code.
void ContentTrainer::update_layer(index_t l, const OptimizerStep& step) {
    const auto at = static_cast<std::size_t>(l);
    LayerWork& work = work_[at];
    const LayerWork& below = work_[at - 1];
    const bool is_code = model_.shape.is_code(l);
    const index_t rows = batch_.rows();
    parallel_ranges(work.weight_gradient.cols(), kColumnsPerPiece, options_.num_threads,
                    [&](index_t begin, index_t end) {
                        const MatrixView gradient = work.weight_gradient.view();
                        multiply_columns(after_[at - 1].view(), work.error.view(), rows, begin, end,
                                         gradient);
                        if (is_code) return;
                        add_columns(below.d_top.view(), top(l).view(), rows, begin, end, gradient);
                    });
    work.weights.step(work.weight_gradient, step);
    if (is_code) {
        multiply_columns(below.d_top.view(), top(l).view(), rows, 0, model_.shape.latent,
                         work.own_decoder_gradient.view());
        work.own_decoder.step(work.own_decoder_gradient, step);
    }
    sum_columns(work.error.view(), rows, work.bias_gradient.row(0));
    work.bias.step(work.bias_gradient, step.with_decay(0.0f));
    sum_columns(below.d_top.view(), rows, work.decoder_bias_gradient.row(0));
    work.decoder_bias.step(work.decoder_bias_gradient, step.with_decay(0.0f));
}

void ContentTrainer::update_first(const OptimizerStep& step) {
    const auto slices = static_cast<index_t>(slices_.size());
    parallel_for(slices, options_.num_threads, [&](index_t s) {
        for (index_t b = layout_.blocks() * s / slices; b < layout_.blocks() * (s + 1) / slices;
             ++b) {
            update_block(b, slices_[static_cast<std::size_t>(s)], step);
        }
    });
    LayerWork& work = work_.front();
    sum_columns(work.error.view(), batch_.rows(), work.bias_gradient.row(0));
    work.bias.step(work.bias_gradient, step.with_decay(0.0f));
}

// One block of the first layer's weights: the decoder's gradient as a dense product, the encoder's
// on top of it cell by cell, and the step while both are in the cache.
void ContentTrainer::update_block(index_t block, SliceWork& slice, const OptimizerStep& step) {
    LayerWork& work = work_.front();
    const Range own = layout_.block(block);
    const index_t rows = batch_.rows();
    const MatrixView errors = errors_of(block);
    const bool is_code = model_.shape.is_code(0);
    const auto move = [&](Parameter& parameter, const Matrix& gradient) {
        parameter.step(gradient.data(), own.begin * gradient.stride(),
                       own.size() * gradient.stride(), step);
    };
    const auto first_rows = [&](Matrix& matrix) {
        return rows_of(matrix.view(), Range{0, own.size()});
    };
    Matrix& decoder_gradient = is_code ? slice.own_decoder_gradient : slice.weight_gradient;
    multiply_columns(errors, top(0).view(), rows, 0, decoder_gradient.cols(),
                     first_rows(decoder_gradient));
    if (is_code) {
        slice.weight_gradient.fill_zero();
        move(work.own_decoder, decoder_gradient);
    }
    batch_.list_columns(block);
    const index_t width = slice.weight_gradient.width();
    for (const ColumnLists::List& list : batch_.lists().block(block)) {
        float* gradient = slice.weight_gradient.row(list.column - own.begin);
        for (index_t i = list.begin; i < list.input_end; ++i) {
            add_scaled_row(batch_.lists().input()[i], work.error.row(batch_.lists().row()[i]),
                           gradient, width);
        }
    }
    move(work.weights, slice.weight_gradient);
    sum_columns(errors, rows, slice.decoder_bias_gradient.row(0));
    work.decoder_bias.step(slice.decoder_bias_gradient.row(0), own.begin, errors.width(),
                           step.with_decay(0.0f));
}

void ContentTrainer::keep_best() { best_.keep(model_.parameters()); }

void ContentTrainer::restore_best() { best_.restore(model_.parameters()); }

}  // namespace isthmus
