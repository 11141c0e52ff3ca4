#include "isthmus/models/vae.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "isthmus/batches/column_steps.hpp"
#include "isthmus/batches/sparse_kernels.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/nn/dense.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 128;
constexpr index_t kWeightRowsPerPiece = 64;
constexpr index_t kScoredRowsPerPiece = 64;
constexpr index_t kShareFloats = 3;       // of a row and slice
constexpr index_t kLeastPartItems = 256;  // of a slice's output layer

RowTransform unit_rows(const SplitRows* split = nullptr) {
    RowTransform transform;
    transform.unit_rows = true;
    transform.row_total = split ? split->ones : nullptr;
    return transform;
}

// Layers after the first, from the activations of the first, for rows [begin, end). Calls
// multiply(l, inputs, out) for the product with hidden layer l's weights, and code(before, after)
// to fill in z from the code's means and log-variances.
template <class Multiply, class Code>
void forward_rows(const MultinomialAutoencoder& model, std::vector<Matrix>& before,
                  std::vector<Matrix>& after, index_t begin, index_t end, const Multiply& multiply,
                  const Code& code) {
    const MultinomialShape& shape = model.shape;
    for (index_t l = 0; l < shape.layers(); ++l) {
        const auto at = static_cast<std::size_t>(l);
        Matrix& z = before[at];
        Matrix& h = after[at];
        const float* bias = l == 0 ? model.encoder_bias.row(0) : model.hidden[at - 1].bias.row(0);
        if (l > 0) multiply(at - 1, std::as_const(after[at - 1]).view(), z.view());
        if (shape.is_code(l)) {
            for (index_t r = begin; r < end; ++r) add_row(bias, z.row(r), z.width());
            code(std::as_const(z), h);
            continue;
        }
        for (index_t r = begin; r < end; ++r) {
            activate_row(shape.activation, bias, z.row(r), h.row(r), z.cols());
        }
    }
}

// The same outside of training, where a code is its mean.
void forward_means(const MultinomialAutoencoder& model, std::vector<Matrix>& before,
                   std::vector<Matrix>& after, index_t begin, index_t end) {
    forward_rows(
        model, before, after, begin, end,
        [&](std::size_t layer, ConstMatrixView inputs, MatrixView out) {
            multiply_rows(inputs, model.hidden[layer].weights.view(), begin, end, out);
        },
        [&](const Matrix& code, Matrix& z) {
            for (index_t r = begin; r < end; ++r) {
                std::copy_n(code.row(r), model.shape.latent, z.row(r));
            }
        });
}

std::vector<LayerStack::Size> sizes(const MultinomialShape& shape) {
    std::vector<LayerStack::Size> layers;
    for (index_t l = 0; l < shape.layers(); ++l) {
        layers.push_back({shape.units(l), shape.outputs(l)});
    }
    return layers;
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
                                               int num_threads, const InputShare& share)
    : LayerStack(shape_.inputs, sizes(shape_), seed, num_threads, share),
      shape(std::move(shape_)) {}

MultinomialTrainer::MultinomialTrainer(MultinomialAutoencoder& model, index_t rows,
                                       MultinomialOptions options)
    : model_(model),
      options_(std::move(options)),
      slices_(by_slices() ? options_.share.slices : std::vector<Range>{{0, model.shape.inputs}}),
      layout_(ColumnLayout::in_order(slices_, model.shape.inputs)),
      batch_rows_(std::min(options_.batch_size, std::max<index_t>(rows, 1))),
      codes_(batch_rows_, model.shape.latent),
      log_totals_(static_cast<std::size_t>(batch_rows_)),
      row_loss_(static_cast<std::size_t>(batch_rows_)),
      trained_(model, options_.optimizer.kind) {
    const MultinomialShape& shape = model.shape;
    const index_t codes = model.decoder.cols();
    for (const Range items : slices_) {
        const index_t parts = by_slices() ? std::clamp(items.size() / kLeastPartItems, index_t{1},
                                                       OutputLayer::kParts)
                                          : OutputLayer::kParts;
        outputs_.emplace_back(options_.likelihood, items.size(), codes, batch_rows_,
                              options_.precision, parts);
    }
    if (is_split()) {
        for (std::size_t s = 0; s < slices_.size(); ++s) {
            partial_.emplace_back(batch_rows_, std::max(shape.units(0), codes));
        }
        summed_error_.emplace_back(batch_rows_, codes);
        if (all_slices() > 1) shares_ = Matrix(batch_rows_, kShareFloats * all_slices());
    }
    const OptimizerKind kind = options_.optimizer.kind;
    for (index_t l = 0; l < shape.layers(); ++l) {
        before_.emplace_back(batch_rows_, shape.units(l));
        after_.emplace_back(batch_rows_, shape.outputs(l));
        error_.emplace_back(batch_rows_, shape.units(l));
    }
    for (std::size_t layer = 0; layer < model.hidden.size(); ++layer) {
        const Matrix& weights = model.hidden[layer].weights;
        products_.emplace_back(batch_rows_, weights.rows(), weights.cols(), options_.precision);
        const index_t units = weights.rows();
        for (index_t begin = 0; begin < units; begin += kWeightRowsPerPiece) {
            weight_pieces_.push_back({layer, begin, std::min(begin + kWeightRowsPerPiece, units)});
        }
    }
    if (options_.sampled_items > 0) {
        using Axis = SampledParameter::Axis;
        sampling_.reset(new Sampling{{shape.inputs, options_.sampled_items},
                                     {trained_.encoder, Axis::rows, kind},
                                     {trained_.decoder, Axis::rows, kind},
                                     {trained_.decoder_bias, Axis::columns, kind}});
    }
}

MultinomialResult MultinomialTrainer::run_epoch(const CsrView& matrix, index_t epoch, float rate,
                                                const std::function<float(index_t)>& beta,
                                                const Poll& poll, const SplitRows* split) {
    MultinomialResult result;
    Items all{&trained_.encoder, &trained_.decoder, &trained_.decoder_bias, &matrix};
    all.split = split;
    const auto train = [&](const EpochBatch& batch) {
        const float weight = beta ? beta(step_) : 0.0f;
        ++step_;
        step(sampling_ ? gather_sample(matrix, batch) : all, batch, weight, rate, result);
        if (sampling_) scatter_sample();
    };
    train_in_batches(shuffled(split ? split->filled : filled_rows(matrix), options_.seed, epoch),
                     batch_rows_, epoch, options_.num_threads, poll, train);
    return result;
}

MultinomialTrainer::Items MultinomialTrainer::gather_sample(const CsrView& matrix,
                                                            const EpochBatch& batch) {
    const Philox draw(options_.seed, Stream::negatives, static_cast<std::uint32_t>(batch.epoch));
    Sampling& s = *sampling_;
    const int threads = options_.num_threads;
    s.items.choose(matrix, batch.ids, batch.count, draw, static_cast<std::uint32_t>(batch.number));
    layout_ = ColumnLayout::in_order(s.items.size());
    return {
        &s.encoder.gather(s.items.items(), threads), &s.decoder.gather(s.items.items(), threads),
        &s.decoder_bias.gather(s.items.items(), threads), &s.items.rows(), s.items.log_weight()};
}

void MultinomialTrainer::scatter_sample() {
    Sampling& s = *sampling_;
    for (SampledParameter* parameter : {&s.encoder, &s.decoder, &s.decoder_bias}) {
        parameter->scatter(s.items.items(), options_.num_threads);
    }
}

// One batch: forward, loss, backward, each weight's step.
void MultinomialTrainer::step(const Items& items, const EpochBatch& batch, float beta, float rate,
                              MultinomialResult& result) {
    CorruptionPlan corruption{Corruption::mask, options_.dropout, options_.seed,
                              static_cast<std::uint32_t>(batch.epoch)};
    if (items.split) corruption.columns = options_.share.numbers.data();
    batch_.assemble(*items.matrix, batch.ids, batch.count, layout_, unit_rows(items.split),
                    corruption, options_.num_threads);
    forward(items, batch);
    const OptimizerStep step(options_.optimizer, rate, step_, options_.regularization);
    const double loss = score(items, batch);
    const double kl = codes_.divergence(batch.count);
    batch.require_finite(loss + kl);
    for_each_slice([&](std::size_t s) {
        outputs_[s].step(task(items, batch, s), log_totals_, step, options_.num_threads);
    });
    backward(items, beta, step);
    result.likelihood += loss;
    result.divergence += kl;
    result.rows += batch.count;
}

// Calls body(slice) for each: by one thread each where that gives all of them something to do, and
// otherwise with all threads in it.
template <class Body>
void MultinomialTrainer::for_each_slice(const Body& body) {
    const auto slices = static_cast<index_t>(outputs_.size());
    if (slices >= options_.num_threads) {
        parallel_for(slices, options_.num_threads,
                     [&](index_t s) { body(static_cast<std::size_t>(s)); });
    } else {
        for (std::size_t s = 0; s < outputs_.size(); ++s) body(s);
    }
}

OutputLayer::Task MultinomialTrainer::task(const Items& items, const EpochBatch& batch,
                                           std::size_t slice) {
    MatrixView h = after_.back().view();
    h.rows = batch.count;
    const Range all{0, layout_.cols()};
    return {items.decoder,
            items.decoder_bias,
            items.log_weight,
            sampling_ ? all : slices_[slice],
            items.matrix,
            batch.ids,
            h,
            items.split ? items.split->ones : nullptr};
}

// The batch's negative log likelihood, of all machines' items; and log_totals_.
double MultinomialTrainer::score(const Items& items, const EpochBatch& batch) {
    for_each_slice(
        [&](std::size_t s) { outputs_[s].score(task(items, batch, s), options_.num_threads); });
    const bool gathers = !shares_.empty();
    if (gathers) gather_shares(batch.count, items.split->reduce);
    const Likelihood likelihood = options_.likelihood;
    const auto share = [&](index_t row, index_t slice) {
        return gathers ? gathered_share(row, slice) : outputs_.front().share(row);
    };
    const OutputLayer::Task any = task(items, batch, 0);
    parallel_ranges(
        batch.count, kScoredRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            for (index_t r = begin; r < end; ++r) {
                const auto all =
                    join(likelihood, all_slices(), [&](index_t s) { return share(r, s); });
                const auto at = static_cast<std::size_t>(r);
                if (likelihood == Likelihood::multinomial) {
                    log_totals_[at] = static_cast<float>(log_total(all));
                }
                row_loss_[at] = row_loss(likelihood, all, any.ones(r));
            }
        });
    return std::accumulate(row_loss_.begin(), row_loss_.begin() + batch.count, 0.0);
}

// Brings the shares of all machines together. Each adds its own to zeros of the others: such a sum
// is exact in any order.
void MultinomialTrainer::gather_shares(index_t rows, const Reduction& reduce) {
    const ItemShare& own = options_.share;
    const auto put = [&](index_t r, std::size_t slice) {
        const RowShare share = outputs_[slice].share(r);
        const index_t number = static_cast<index_t>(slice) * own.machines + own.machine;
        float* to = shares_.row(r) + kShareFloats * number;
        to[0] = share.top;
        to[1] = static_cast<float>(share.total);
        to[2] = static_cast<float>(share.own);
    };
    parallel_ranges(rows, kScoredRowsPerPiece, options_.num_threads,
                    [&](index_t begin, index_t end) {
                        for (index_t r = begin; r < end; ++r) {
                            std::fill_n(shares_.row(r), shares_.stride(), 0.0f);
                            for (std::size_t s = 0; s < outputs_.size(); ++s) put(r, s);
                        }
                    });
    reduce.add({shares_.data(), rows, shares_.cols(), shares_.stride()}, {});
}

RowShare MultinomialTrainer::gathered_share(index_t row, index_t slice) const {
    const float* from = shares_.row(row) + kShareFloats * slice;
    return {from[0], double{from[1]}, double{from[2]}};
}

// Calls body(layer) for each hidden layer after the first.
template <class Body>
void MultinomialTrainer::for_each_hidden(const Body& body) {
    parallel_for(static_cast<index_t>(products_.size()), options_.num_threads,
                 [&](index_t layer) { body(static_cast<std::size_t>(layer)); });
}

// The sums X V of the batch's rows, of all machines' items.
void MultinomialTrainer::encode_slices(ConstMatrixView encoder, const Reduction& reduce) {
    parallel_ranges(
        batch_.rows(), kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            for (index_t s = 0; s < layout_.slices(); ++s) {
                MatrixView sums = partial_[static_cast<std::size_t>(s)].view();
                sums.cols = encoder.cols;
                encode_rows(batch_, {begin, end}, layout_.slice_blocks(s), encoder, sums);
            }
        });
    sum_parts(partial_, batch_.rows(), before_.front(), reduce, options_.num_threads);
}

void MultinomialTrainer::forward(const Items& items, const EpochBatch& batch) {
    const ConstMatrixView v = std::as_const(*items.encoder->weights).view();
    const Philox draw(options_.seed, Stream::latent, static_cast<std::uint32_t>(batch.epoch));
    for_each_hidden([&](std::size_t layer) {
        products_[layer].read_weights(std::as_const(model_.hidden[layer].weights).view());
    });
    if (items.split) encode_slices(v, items.split->reduce);
    parallel_ranges(batch_.rows(), kRowsPerPiece, options_.num_threads,
                    [&](index_t begin, index_t end) {
                        if (!items.split) {
                            encode_rows(batch_, {begin, end}, v, before_.front().view());
                        }
                        forward_rows(
                            model_, before_, after_, begin, end,
                            [&](std::size_t layer, ConstMatrixView inputs, MatrixView out) {
                                products_[layer].forward(inputs, {begin, end}, out);
                            },
                            [&](const Matrix& code, Matrix& z) {
                                codes_.sample(draw, batch.ids, options_.noise, code, begin, end, z);
                            });
                    });
}

void MultinomialTrainer::backward(const Items& items, float beta, const OptimizerStep& step) {
    const index_t rows = batch_.rows();
    const index_t layers = model_.shape.layers();
    const std::vector<Matrix>& of_output = output_error(items);
    for (index_t l = layers; l-- > 0;) {
        propagate_error(l, of_output, beta / static_cast<float>(rows));
    }
    for (std::size_t l = 0; l < error_.size(); ++l) {
        sum_columns(error_[l].view(), rows, trained_.bias_gradient[l].row(0));
        (l == 0 ? trained_.encoder_bias : trained_.hidden_bias[l - 1])
            .step(trained_.bias_gradient[l], step.with_decay(0.0f));
    }
    for_each_hidden([&](std::size_t layer) {
        products_[layer].read_batch(rows_of(after_[layer].view(), {0, rows}),
                                    rows_of(error_[layer + 1].view(), {0, rows}));
    });
    const ConstMatrixView error = std::as_const(error_.front()).view();
    const TrainedMatrix encoder = items.encoder->view();
    // one loop over all layers, so that no thread waits between them
    const auto pieces = static_cast<index_t>(weight_pieces_.size());
    parallel_for(layout_.blocks() + pieces, options_.num_threads, [&](index_t piece) {
        if (piece >= layout_.blocks()) {
            update_weights(weight_pieces_[static_cast<std::size_t>(piece - layout_.blocks())],
                           step);
            return;
        }
        batch_.list_columns(piece);
        update_columns(batch_.lists(), piece, layout_.block(piece), Cells::input, error, encoder,
                       step);
    });
}

// The gradient of some rows of a hidden layer's weights, and their step.
void MultinomialTrainer::update_weights(const WeightPiece& piece, const OptimizerStep& step) {
    const Range units{piece.begin, piece.end};
    const MatrixView gradient = trained_.hidden_gradient[piece.layer].view();
    products_[piece.layer].gradient(units, gradient);
    const MatrixView out = rows_of(gradient, units);
    trained_.hidden[piece.layer].step(out.data, piece.begin * out.stride, out.rows * out.stride,
                                      step);
}

// What adds up to the gradient with respect to the last layer's outputs, of all machines' items.
const std::vector<Matrix>& MultinomialTrainer::output_error(const Items& items) {
    if (!items.split) return outputs_.front().error_parts();
    for (std::size_t s = 0; s < outputs_.size(); ++s) {
        parallel_ranges(batch_.rows(), kRowsPerPiece, options_.num_threads,
                        [&](index_t begin, index_t end) {
                            const std::vector<Matrix>& parts = outputs_[s].error_parts();
                            for (index_t r = begin; r < end; ++r) {
                                sum_rows(parts, r, partial_[s].row(r), parts.front().width());
                            }
                        });
    }
    sum_parts(partial_, batch_.rows(), summed_error_.front(), items.split->reduce,
              options_.num_threads);
    return summed_error_;
}

// The gradient with respect to what a layer computes, from that of the layer after it; kl weighs
// the divergence's.
void MultinomialTrainer::propagate_error(index_t layer, const std::vector<Matrix>& output_error,
                                         float kl) {
    const MultinomialShape& shape = model_.shape;
    const auto at = static_cast<std::size_t>(layer);
    Matrix& error = error_[at];
    parallel_ranges(
        batch_.rows(), kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            if (layer == shape.layers() - 1) {
                const index_t width = output_error.front().width();
                for (index_t r = begin; r < end; ++r) {
                    sum_rows(output_error, r, error.row(r), width);
                }
            } else {
                // the next layer's error was taken through its activation; into the outputs of this
                MatrixView into = error.view();
                into.cols = shape.outputs(layer);
                products_[at].backward(error_[at + 1].view(), {begin, end}, into);
            }
            if (shape.is_code(layer)) {
                codes_.propagate(before_[at], kl, begin, end, error);
                return;
            }
            for (index_t r = begin; r < end; ++r) {
                through_activation(shape.activation, before_[at].row(r), after_[at].row(r), nullptr,
                                   error.row(r), error.width());
            }
        });
}

void MultinomialTrainer::encode(const CsrView& matrix, const SplitRows& split, MatrixView codes) {
    const auto encode_batch = [&](const std::int32_t*, index_t first, index_t count) {
        encode_slices(std::as_const(model_.encoder).view(), split.reduce);
        parallel_ranges(count, kRowsPerPiece, options_.num_threads,
                        [&](index_t begin, index_t end) {
                            forward_means(model_, before_, after_, begin, end);
                            for (index_t r = begin; r < end; ++r) {
                                std::copy_n(after_.back().row(r), codes.cols, codes.row(first + r));
                            }
                        });
    };
    for_each_batch(batch_, matrix, batch_rows_, layout_, unit_rows(&split), options_.num_threads,
                   encode_batch);
}

void MultinomialTrainer::keep_best() { best_.keep(model_.parameters()); }

void MultinomialTrainer::restore_best() { best_.restore(model_.parameters()); }

void encode_multinomial(const MultinomialAutoencoder& model, const CsrView& matrix, int num_threads,
                        MatrixView codes) {
    const MultinomialShape& shape = model.shape;
    std::vector<Matrix> before, after;
    for (index_t l = 0; l < shape.layers(); ++l) {
        before.emplace_back(rows_at_once(matrix), shape.units(l));
        after.emplace_back(rows_at_once(matrix), shape.outputs(l));
    }
    const auto encode = [&](const Batch& batch, const std::int32_t*, index_t begin, index_t end) {
        encode_rows(batch, {begin, end}, model.encoder.view(), before.front().view());
        forward_means(model, before, after, begin, end);
    };
    encode_in_batches(matrix, unit_rows(), kRowsPerPiece, num_threads, after.back(), codes, encode);
}

}  // namespace isthmus
