#include "isthmus/models/vae.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "isthmus/core/parallel.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/core/simd.hpp"
#include "isthmus/models/autoencoder_trainer.hpp"
#include "isthmus/nn/dense.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 128;
constexpr index_t kWeightRowsPerPiece = 64;

RowTransform unit_rows() {
    RowTransform transform;
    transform.unit_rows = true;
    return transform;
}

// z = mean + noise x deviation, with deviation = exp(log_variance / 2). Outside of training there
// is no noise, and the code is its mean.
void draw_code(const float* mean, index_t latent, const float* noise, float* deviation, float* z) {
    std::copy_n(mean, latent, z);
    if (noise == nullptr) return;
    std::copy_n(mean + latent, latent, deviation);
    for (index_t j = 0; j < latent; j += kLanes) {
        const Floats sigma = exp(0.5f * load(deviation + j));
        store(deviation + j, sigma);
        store(z + j, load(z + j) + load(noise + j) * sigma);
    }
    std::fill(deviation + latent, deviation + round_up(latent, kLineFloats), 0.0f);
}

// Layers after the first, from the activations of the first, for rows [begin, end); with the code's
// noise and, where it goes, its deviation, or null.
void forward_rows(const MultinomialAutoencoder& model, std::vector<Matrix>& before,
                  std::vector<Matrix>& after, const Matrix* noise, Matrix* deviation, index_t begin,
                  index_t end) {
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
            add_row(bias, z.row(r), z.width());
            draw_code(z.row(r), shape.latent, noise ? noise->row(r) : nullptr,
                      deviation ? deviation->row(r) : nullptr, h.row(r));
        }
    }
}

// KL of N(mean, deviation^2) from N(0, I); the log-variances follow the means.
double divergence_of(const float* mean, const float* deviation, index_t latent) {
    double total = 0.0;
    for (index_t j = 0; j < latent; ++j) {
        total += double{mean[j] * mean[j] + deviation[j] * deviation[j] - 1.0f - mean[latent + j]};
    }
    return 0.5 * total;
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
      output_(options.likelihood, model.shape.inputs, model.decoder.cols(), batch_rows_) {
    const MultinomialShape& shape = model.shape;
    const OptimizerKind kind = options_.optimizer.kind;
    encoder_ = Parameter(model.encoder, kind);
    encoder_bias_ = Parameter(model.encoder_bias, kind);
    decoder_ = Parameter(model.decoder, kind);
    decoder_bias_ = Parameter(model.decoder_bias, kind);
    bias_gradient_.emplace_back(1, shape.units(0));
    for (DenseLayer& layer : model.hidden) {
        hidden_.emplace_back(layer.weights, kind);
        hidden_bias_.emplace_back(layer.bias, kind);
        hidden_gradient_.emplace_back(layer.weights.rows(), layer.weights.cols());
        bias_gradient_.emplace_back(1, layer.bias.cols());
    }
    for (index_t l = 0; l < shape.layers(); ++l) {
        before_.emplace_back(batch_rows_, shape.units(l));
        after_.emplace_back(batch_rows_, shape.outputs(l));
        error_.emplace_back(batch_rows_, shape.units(l));
    }
    if (shape.latent > 0) {
        noise_ = Matrix(batch_rows_, shape.latent);
        deviation_ = Matrix(batch_rows_, shape.latent);
        divergence_.resize(static_cast<std::size_t>(batch_rows_));
    }
    for (std::size_t layer = 0; layer < model.hidden.size(); ++layer) {
        const index_t units = model.hidden[layer].weights.rows();
        for (index_t begin = 0; begin < units; begin += kWeightRowsPerPiece) {
            weight_pieces_.push_back({layer, begin, std::min(begin + kWeightRowsPerPiece, units)});
        }
    }
    if (options_.sampled_items > 0) {
        using Axis = SampledParameter::Axis;
        sampling_.reset(new Sampling{{shape.inputs, options_.sampled_items},
                                     {encoder_, Axis::rows, kind},
                                     {decoder_, Axis::rows, kind},
                                     {decoder_bias_, Axis::columns, kind}});
    }
}

MultinomialResult MultinomialTrainer::run_epoch(const CsrView& matrix, index_t epoch, float rate,
                                                const std::function<float(index_t)>& beta,
                                                const std::function<void(index_t)>& poll) {
    std::vector<std::int32_t> order = filled_rows(matrix);
    shuffle(order, options_.seed, static_cast<std::uint32_t>(epoch));
    const auto rows = static_cast<index_t>(order.size());
    MultinomialResult result;
    with_team(options_.num_threads, [&] {
        for (index_t begin = 0; begin < rows; begin += batch_rows_) {
            if (poll) poll(begin);
            const index_t count = std::min(batch_rows_, rows - begin);
            const std::int32_t* ids = order.data() + begin;
            const index_t batch = begin / batch_rows_;
            const float weight = beta ? beta(step_) : 0.0f;
            ++step_;
            const Items items =
                sampling_ ? gather_sample(matrix, ids, count, epoch, batch) : all_items(matrix);
            step(items, ids, count, epoch, weight, rate, result);
            if (sampling_) scatter_sample();
        }
    });
    return result;
}

MultinomialTrainer::Items MultinomialTrainer::all_items(const CsrView& matrix) {
    return {&encoder_, &decoder_, &decoder_bias_, &matrix, nullptr};
}

MultinomialTrainer::Items MultinomialTrainer::gather_sample(const CsrView& matrix,
                                                            const std::int32_t* ids, index_t count,
                                                            index_t epoch, index_t batch) {
    const Philox draw(options_.seed, Stream::negatives, static_cast<std::uint32_t>(epoch));
    Sampling& s = *sampling_;
    const int threads = options_.num_threads;
    s.items.choose(matrix, ids, count, draw, static_cast<std::uint32_t>(batch));
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
void MultinomialTrainer::step(const Items& items, const std::int32_t* ids, index_t count,
                              index_t epoch, float beta, float rate, MultinomialResult& result) {
    const CorruptionPlan corruption{Corruption::mask, options_.dropout, options_.seed,
                                    static_cast<std::uint32_t>(epoch)};
    batch_.assemble(*items.matrix, ids, count, layout_, unit_rows(), corruption,
                    options_.num_threads);
    forward(items, ids, epoch);
    MatrixView h = after_.back().view();
    h.rows = count;
    const OutputLayer::Task task{
        items.decoder, items.decoder_bias, items.log_weight, layout_.cols(), items.matrix, ids, h};
    const OptimizerStep step(options_.optimizer, rate, step_, options_.regularization);
    const double loss = output_.score(task, options_.num_threads);
    const double kl = divergence_.empty()
                          ? 0.0
                          : std::accumulate(divergence_.begin(), divergence_.begin() + count, 0.0);
    if (!std::isfinite(loss + kl)) throw Diverged(epoch, result.rows / batch_rows_);
    output_.step(task, step, options_.num_threads);
    backward(items, beta, step);
    result.likelihood += loss;
    result.divergence += kl;
    result.rows += count;
}

void MultinomialTrainer::forward(const Items& items, const std::int32_t* ids, index_t epoch) {
    const ConstMatrixView v = std::as_const(*items.encoder->weights).view();
    const Philox draw(options_.seed, Stream::latent, static_cast<std::uint32_t>(epoch));
    const index_t latent = model_.shape.latent;
    parallel_ranges(batch_.rows(), kRowsPerPiece, options_.num_threads,
                    [&](index_t begin, index_t end) {
                        encode_rows(batch_, {begin, end}, v, before_.front().view());
                        if (latent == 0) {
                            forward_rows(model_, before_, after_, nullptr, nullptr, begin, end);
                            return;
                        }
                        for (index_t r = begin; r < end; ++r) {
                            draw.normals(static_cast<std::uint32_t>(ids[r]), latent, noise_.row(r));
                            for (index_t j = 0; j < latent; ++j) noise_.row(r)[j] *= options_.noise;
                        }
                        forward_rows(model_, before_, after_, &noise_, &deviation_, begin, end);
                        const Matrix& code = before_[model_.shape.encoder.size()];
                        for (index_t r = begin; r < end; ++r) {
                            divergence_[static_cast<std::size_t>(r)] =
                                divergence_of(code.row(r), deviation_.row(r), latent);
                        }
                    });
}

void MultinomialTrainer::backward(const Items& items, float beta, const OptimizerStep& step) {
    const index_t rows = batch_.rows();
    const index_t layers = model_.shape.layers();
    for (index_t l = layers; l-- > 0;) propagate_error(l, beta / static_cast<float>(rows));
    for (std::size_t l = 0; l < error_.size(); ++l) {
        sum_columns(error_[l].view(), rows, bias_gradient_[l].row(0));
        (l == 0 ? encoder_bias_ : hidden_bias_[l - 1])
            .step(bias_gradient_[l], step.with_decay(0.0f));
    }
    const ConstMatrixView error = std::as_const(error_.front()).view();
    const TrainedMatrix encoder = items.encoder->view();
    // all in one loop, so that no worker waits for the others between layers
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
    Matrix& gradient = hidden_gradient_[piece.layer];
    const ConstMatrixView error = std::as_const(error_[piece.layer + 1]).view();
    ConstMatrixView inputs = std::as_const(after_[piece.layer]).view();
    inputs.data += piece.begin;
    inputs.cols = piece.end - piece.begin;
    MatrixView out = gradient.view();
    out.data += piece.begin * out.stride;
    out.rows = inputs.cols;
    multiply_columns(inputs, error, batch_.rows(), 0, error.cols, out);
    hidden_[piece.layer].step(out.data, piece.begin * out.stride, out.rows * out.stride, step);
}

// The gradient with respect to what a layer computes, from that of the layer after it; kl weighs
// the divergence's.
void MultinomialTrainer::propagate_error(index_t layer, float kl) {
    const MultinomialShape& shape = model_.shape;
    const auto at = static_cast<std::size_t>(layer);
    Matrix& error = error_[at];
    const auto through_code = [&](index_t r) {
        const float* mean = before_[at].row(r);
        const float* sigma = deviation_.row(r);
        float* e = error.row(r);
        for (index_t j = 0; j < shape.latent; ++j) {
            e[shape.latent + j] = e[j] * noise_.row(r)[j] * 0.5f * sigma[j] +
                                  kl * 0.5f * (sigma[j] * sigma[j] - 1.0f);
            e[j] += kl * mean[j];
        }
    };
    parallel_ranges(
        batch_.rows(), kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            if (layer == shape.layers() - 1) {
                const std::vector<Matrix>& parts = output_.error_parts();
                const index_t width = parts.front().width();
                for (index_t r = begin; r < end; ++r) sum_rows(parts, r, error.row(r), width);
            } else {
                // the next layer's error was taken through its activation; into the outputs of this
                MatrixView into = error.view();
                into.cols = shape.outputs(layer);
                multiply_rows_transposed(error_[at + 1].view(), model_.hidden[at].weights.view(),
                                         begin, end, into);
            }
            for (index_t r = begin; r < end; ++r) {
                if (shape.is_code(layer)) {
                    through_code(r);
                } else {
                    through_activation(shape.activation, before_[at].row(r), after_[at].row(r),
                                       nullptr, error.row(r), error.width());
                }
            }
        });
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
        forward_rows(model, before, after, nullptr, nullptr, begin, end);
    };
    encode_in_batches(matrix, unit_rows(), kRowsPerPiece, num_threads, after.back(), codes, encode);
}

}  // namespace isthmus
