#include "isthmus/models/cdae.hpp"

#include <algorithm>
#include <utility>

#include "isthmus/batches/batch.hpp"
#include "isthmus/batches/column_steps.hpp"
#include "isthmus/batches/sparse_kernels.hpp"
#include "isthmus/core/chunks.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/nn/dense.hpp"
#include "isthmus/nn/epoch.hpp"
#include "isthmus/nn/layers.hpp"

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
      batch_rows_(std::min(options.batch_size, std::max<index_t>(model.shape.users, 1))),
      batch_(SampledBatch::Options{
          model.shape.items, model.shape.units, batch_rows_,
          static_cast<double>(options.cells) / static_cast<double>(model.shape.users),
          options.negatives, options.corruption}),
      before_(batch_rows_, model.shape.units),
      after_(batch_rows_, model.shape.units),
      error_(batch_rows_, model.shape.units),
      output_(batch_, model.shape.units, batch_rows_, model.shape.logistic),
      bias_gradient_(1, model.shape.units) {
    const auto parameter = [this](Matrix& weights) {
        return Parameter(weights, options_.optimizer.kind);
    };
    encoder_ = parameter(model.encoder);
    encoder_bias_ = parameter(model.encoder_bias);
    users_ = parameter(model.users);
    users_.taken.resize(static_cast<std::size_t>(model.shape.users));
    decoder_bias_ = parameter(model.decoder_bias);
    if (!model.shape.tied) decoder_ = parameter(model.decoder);
}

CdaeResult CdaeTrainer::run_epoch(const CsrView& matrix, index_t epoch, float rate,
                                  const Poll& poll) {
    const auto draw = [&](Stream stream) {
        return Philox(options_.seed, stream, static_cast<std::uint32_t>(epoch));
    };
    const Philox negatives = draw(Stream::negatives), mask = draw(Stream::corruption);
    const int threads = options_.num_threads;
    CdaeResult result;
    const auto train = [&](const EpochBatch& batch) {
        batch_.start(matrix, batch.ids, batch.count);
        parallel_ranges(batch.count, kRowsPerPiece, threads, [&](index_t first, index_t last) {
            batch_.sample(matrix, batch.ids, first, last, negatives, mask);
            catch_up(batch.ids, first, last);
            encode(batch.ids, first, last);
        });
        batch_.sort();
        const OptimizerStep step(options_.optimizer, rate, ++step_,
                                 options_.regularization * batch.share);
        const double loss = output_.decode(output(), decoder_bias_, std::as_const(after_).view(),
                                           model_.shape.tied ? nullptr : &step, threads);
        batch.require_finite(loss);
        propagate_error();
        update(batch.ids, step);
        result.loss += loss;
        result.cells += batch_.cells();
    };
    train_in_batches(shuffled(filled_rows(matrix), options_.seed, epoch), batch_rows_, epoch,
                     threads, poll, train, [this] { settle(); });
    return result;
}

// Takes the steps that the users of batch rows [begin, end) missed in other batches.
void CdaeTrainer::catch_up(const std::int32_t* ids, index_t begin, index_t end) {
    for (index_t r = begin; r < end; ++r) {
        catch_up_columns({ids[r], ids[r] + 1}, users_.view(), idle_steps_.data(), idle_steps());
    }
}

// The same for all users.
void CdaeTrainer::settle() {
    parallel_ranges(
        model_.shape.users, kRowsPerPiece, options_.num_threads, [&](index_t begin, index_t end) {
            catch_up_columns({begin, end}, users_.view(), idle_steps_.data(), idle_steps());
        });
    idle_steps_.clear();
    std::fill(users_.taken.begin(), users_.taken.end(), 0);
}

// Codes of batch rows [begin, end).
void CdaeTrainer::encode(const std::int32_t* ids, index_t begin, index_t end) {
    const float input = batch_.input();
    const ConstMatrixView weights = std::as_const(model_.encoder).view();
    for (index_t r = begin; r < end; ++r) {
        const float* own = model_.users.row(ids[r]);
        float* z = before_.row(r);
        for_each_chunk(weights.width(), [&](index_t offset, auto vectors) {
            Floats sums[decltype(vectors)::value];
            load_vectors(own + offset, sums);
            batch_.for_each_of_row(r, [&](const SampledBatch::Cells& cells) {
                for (index_t i = 0; i < cells.inputs; ++i) {
                    add_scaled(sums, input, weights.row(cells.item[i]) + offset);
                }
            });
            store_vectors(sums, z + offset);
        });
        activate_row(model_.shape.activation, model_.encoder_bias.row(0), z, after_.row(r),
                     before_.cols());
    }
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

// Steps the weights that decoding has not moved.
void CdaeTrainer::update(const std::int32_t* ids, const OptimizerStep& step) {
    const ConstMatrixView dz = std::as_const(error_).view();
    if (model_.shape.tied) {
        output_.step(encoder_, decoder_bias_, std::as_const(after_).view(), dz, step,
                     options_.num_threads);
    } else {
        output_.step_inputs(encoder_, dz, step, options_.num_threads);
    }
    idle_steps_.push_back(step.with_decay(0.0f));
    parallel_ranges(batch_.rows(), kRowsPerPiece, options_.num_threads,
                    [&](index_t begin, index_t end) {
                        for (index_t r = begin; r < end; ++r) {
                            users_.step(error_.row(r), ids[r] * model_.users.stride(),
                                        error_.width(), step.with_decay(options_.regularization));
                            users_.taken[static_cast<std::size_t>(ids[r])] =
                                static_cast<std::int32_t>(idle_steps());
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
    encode_in_batches(matrix, {}, kRowsPerPiece, num_threads, after, codes, encode);
}

}  // namespace isthmus
