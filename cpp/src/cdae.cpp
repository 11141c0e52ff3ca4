#include "isthmus/cdae.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "isthmus/autoencoder.hpp"
#include "isthmus/dense.hpp"
#include "isthmus/parallel.hpp"
#include "isthmus/random.hpp"
#include "isthmus/trainer.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 16;

// Codes of batch rows [begin, end).
void encode_rows(const Cdae& model, const Batch& batch, const std::int32_t* ids, index_t begin,
                 index_t end, Matrix& before, Matrix& after) {
    for (index_t r = begin; r < end; ++r) {
        if (ids) {
            std::copy_n(model.users.row(ids[r]), before.width(), before.row(r));
        } else {
            std::fill_n(before.row(r), before.width(), 0.0f);
        }
    }
    for (index_t b = 0; b < batch.layout().blocks(); ++b) {
        encode_block(batch, b, {begin, end}, model.encoder.view(), before.view());
    }
    for (index_t r = begin; r < end; ++r) {
        activate_row(model.shape.activation, model.encoder_bias.row(0), before.row(r), after.row(r),
                     before.cols());
    }
}

}  // namespace

Cdae::Cdae(CdaeShape shape_, std::uint64_t seed, int num_threads)
    : shape(shape_),
      encoder(shape.items, shape.units),
      encoder_bias(1, shape.units),
      users(shape.users, shape.units),
      decoder_bias(1, shape.items) {
    initialize_uniform(encoder, seed, 0, num_threads);
    initialize_uniform(users, seed, 2, num_threads);
    if (!shape.tied) {
        decoder = Matrix(shape.items, shape.units);
        initialize_uniform(decoder, seed, 1, num_threads);
    }
}

std::vector<Matrix*> Cdae::parameters() {
    std::vector<Matrix*> all = {&encoder, &encoder_bias, &users, &decoder_bias};
    if (!shape.tied) all.push_back(&decoder);
    return all;
}

CdaeTrainer::CdaeTrainer(Cdae& model, CdaeOptions options)
    : model_(model),
      options_(options),
      layout_(ColumnLayout::in_order(model.shape.items)),
      batch_rows_(std::min(options.batch_size, std::max<index_t>(model.shape.users, 1))),
      before_(batch_rows_, model.shape.units),
      after_(batch_rows_, model.shape.units),
      error_(batch_rows_, model.shape.units),
      output_(layout_, model.shape.units, batch_rows_, model.shape.logistic),
      bias_gradient_(1, model.shape.units) {
    const auto parameter = [this](Matrix& weights) {
        return Parameter(weights, options_.optimizer.kind);
    };
    encoder_ = parameter(model.encoder);
    encoder_bias_ = parameter(model.encoder_bias);
    users_ = parameter(model.users);
    decoder_bias_ = parameter(model.decoder_bias);
    if (!model.shape.tied) decoder_ = parameter(model.decoder);
}

CdaeResult CdaeTrainer::run_epoch(const CsrView& matrix, index_t epoch, float rate,
                                  const std::function<void(index_t)>& poll) {
    std::vector<std::int32_t> order = filled_rows(matrix);
    shuffle(order, options_.seed, static_cast<std::uint32_t>(epoch));
    const auto rows = static_cast<index_t>(order.size());
    const CorruptionPlan corruption{Corruption::mask, options_.corruption, options_.seed,
                                    static_cast<std::uint32_t>(epoch)};
    const Philox draw(options_.seed, Stream::negatives, static_cast<std::uint32_t>(epoch));
    ones_.resize(static_cast<std::size_t>(matrix.indptr[matrix.rows]), 1.0f);
    CsrView positives = matrix;
    positives.values = ones_.data();
    CdaeResult result;
    with_team(options_.num_threads, [&] {
        for (index_t begin = 0; begin < rows; begin += batch_rows_) {
            if (poll) poll(begin);
            const index_t count = std::min(batch_rows_, rows - begin);
            const std::int32_t* ids = order.data() + begin;
            output_.sample(positives, ids, count, options_.negatives, draw, options_.num_threads);
            batch_.assemble(positives, ids, count, layout_, {}, corruption, options_.num_threads);
            ++step_;
            const double loss = forward(ids);
            if (!std::isfinite(loss)) throw Diverged(epoch, begin / batch_rows_);
            propagate_error();
            update(ids, static_cast<float>(static_cast<double>(count) / static_cast<double>(rows)),
                   rate);
            result.loss += loss;
            result.cells += output_.cells();
        }
    });
    return result;
}

double CdaeTrainer::forward(const std::int32_t* ids) {
    parallel_ranges(batch_.rows(), kRowsPerPiece, options_.num_threads,
                    [&](index_t begin, index_t end) {
                        encode_rows(model_, batch_, ids, begin, end, before_, after_);
                    });
    return output_.decode(output(), decoder_bias_, std::as_const(after_).view(),
                          options_.num_threads);
}

void CdaeTrainer::propagate_error() {
    parallel_ranges(
        batch_.rows(), kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            for (index_t r = begin; r < end; ++r) {
                sum_rows(output_.error_parts(), r, error_.row(r), error_.width());
                through_activation(model_.shape.activation, before_.row(r), after_.row(r), nullptr,
                                   error_.row(r), error_.width());
            }
        });
}

void CdaeTrainer::update(const std::int32_t* ids, float share, float rate) {
    const ConstMatrixView dz = std::as_const(error_).view();
    const OptimizerStep step(options_.optimizer, rate, step_, options_.regularization * share);
    const SampledOutput::Encoded encoded{&batch_, dz};
    output_.step(output(), decoder_bias_, std::as_const(after_).view(),
                 model_.shape.tied ? &encoded : nullptr, step, options_.num_threads);
    if (!model_.shape.tied) {
        parallel_for(layout_.blocks(), options_.num_threads, [&](index_t block) {
            batch_.list_columns(block);
            update_columns(batch_.lists(), layout_.block(block), Cells::input, dz, encoder_.view(),
                           step);
        });
    }
    parallel_ranges(batch_.rows(), kRowsPerPiece, options_.num_threads,
                    [&](index_t begin, index_t end) {
                        for (index_t r = begin; r < end; ++r) {
                            users_.step(error_.row(r), ids[r] * model_.users.stride(),
                                        error_.width(), step.with_decay(options_.regularization));
                        }
                    });
    sum_columns(dz, batch_.rows(), bias_gradient_.row(0));
    encoder_bias_.step(bias_gradient_, step.with_decay(0.0f));
}

void CdaeTrainer::keep_best() { best_.keep(model_.parameters()); }

void CdaeTrainer::restore_best() { best_.restore(model_.parameters()); }

void encode_cdae(const Cdae& model, const CsrView& matrix, bool known, int num_threads,
                 MatrixView codes) {
    const index_t rows = rows_at_once(matrix);
    Matrix before(rows, model.shape.units), after(rows, model.shape.units);
    const auto encode = [&](const Batch& batch, const std::int32_t* ids, index_t begin,
                            index_t end) {
        encode_rows(model, batch, known ? ids : nullptr, begin, end, before, after);
    };
    encode_in_batches(matrix, kRowsPerPiece, num_threads, after, codes, encode);
}

}  // namespace isthmus
